/*
 * probe: tasks with long lags, and studies of which cell learns them at which distance. Stands on train and data.
 *
 *   tasks.c       the table of tasks: paper, criterion, defaults
 *   problem.c     a task at one distance, for one seed: batches [T][B], and how outputs are judged
 *   draws.c       the random numbers of one sequence
 *   arithmetic.c  adding, multiplication                 order.c      temporal order
 *   lag.c         noise-free and noisy lags, two classes  reber.c      embedded and continual Reber strings
 *   recall.c      copy, memorisation                     agreement.c  the cat(s), which ..., was/were
 *   digits.c      images row by row, pixels in a fixed shuffled order
 *   net.c         the net around a cell, and how many units give so many weights
 *   run.c         one training: a cell, a distance, a seed; its checkpoint
 *   study.c       cells x distances x seeds, side by side
 *   study_file.c  a study as study.json, and back
 *
 *   task + distance + seed ──► problem ──► batches ──► run (trainer) ──► record ─┐
 *   cell ──► net ──────────────────────────────────────┘                         ├──► study ──► study.json, table, curves
 *                                                        other runs ──► records ─┘
 *
 * Every sequence is a function of (seed, set, its number) alone, so runs do not depend on each other, on the number
 * of threads, or on where they were interrupted. Definitions and papers: docs/probe.md.
 */
#ifndef CAR_PROBE_H
#define CAR_PROBE_H

#include "data.h"
#include "train.h"

/* ---- draws.c ------------------------------------------------------------------------------------------ */

/* Three sets of sequences that share no random number. */
typedef enum car_probe_set {
    CAR_PROBE_TRAIN,
    CAR_PROBE_CHECK, /* during training: is it solved? */
    CAR_PROBE_TEST   /* looked at once, when a run ends */
} car_probe_set;

/* The numbers of one sequence, in the order in which they are drawn. */
typedef struct car_probe_draws {
    car_random_key key;
    uint64_t sequence, used;
    uint32_t block[4];
} car_probe_draws;
car_probe_draws car_probe_draws_of(uint64_t seed, car_probe_set set, uint64_t sequence);
uint32_t car_probe_draw(car_probe_draws *draws);             /* 32 bits */
int car_probe_draw_below(car_probe_draws *draws, int count); /* 0 .. count-1 */
float car_probe_draw_uniform(car_probe_draws *draws);        /* [0, 1) */
float car_probe_draw_normal(car_probe_draws *draws);         /* mean 0, variance 1 */

/* ---- tasks.c ------------------------------------------------------------------------------------------ */

struct car_probe_problem;

/* Where one sequence of a batch stands. Inputs and targets are zeroed before a task writes them, classes are -1. */
typedef struct car_probe_lane {
    int steps;
    float *input;     /* [steps], `input_stride` floats apart, each [inputs] */
    int32_t *classes; /* softmax: [steps], or [1] with `last`, `class_stride` apart */
    float *values;    /* sigmoid, linear: [steps] or [1], `value_stride` apart, each [outputs] */
    float *truth; /* as `classes` or [1]: what the judge must know besides, if the task says so */
    const float *output; /* for judging: as `values`; probabilities of a softmax or sigmoid head */
    size_t input_stride, class_stride, value_stride;
} car_probe_lane;

/* Judgements added up. An item is a sequence, or a symbol to be recalled. */
typedef struct car_probe_score {
    int64_t items, right;
    double error; /* summed over items; what it is says the task's error_name */
} car_probe_score;
double car_probe_accuracy(const car_probe_score *score); /* right / items */
double car_probe_error(const car_probe_score *score);    /* error / items */

enum { CAR_PROBE_STREAMS = 10, CAR_PROBE_SEEDS = 1000 };

typedef struct car_probe_task {
    const char *name, *summary;
    const char *paper;     /* short, with year */
    const char *criterion; /* of a solved run, in words */
    const char *item;      /* what accuracy counts: "sequences" */
    const char *error_name;
    const char *distance_name;                   /* NULL: the task has no distance */
    int distance_least, distance_most, distance; /* the last: the default */
    car_head_kind head;
    car_head_pool pool;
    bool stream; /* endless sequences; states are carried from update to update */
    bool digits; /* needs images */
    /* Defaults of the settings. */
    int hidden, batch;
    int64_t updates, check_every;
    double rate, clip;
    /* The criterion: of `check` sequences at least this share of the items is right, with a mean error below. Streams:
     * so many steps of CAR_PROBE_STREAMS streams without a wrong one. */
    int check, test;
    double least_accuracy, most_error; /* most_error 0: does not count */
    /* Sizes and constants of a problem. */
    void (*shape)(struct car_probe_problem *problem);
    /* The length of a sequence. */
    int (*length)(const struct car_probe_problem *problem, car_probe_draws *draws);
    /* Writes a sequence of lane->steps steps. */
    void (*make)(const struct car_probe_problem *problem, car_probe_draws *draws,
                 const car_probe_lane *lane);
    void (*judge)(const struct car_probe_problem *problem, const car_probe_lane *lane,
                  car_probe_score *score);
} car_probe_task;

int car_probe_task_count(void);
const car_probe_task *car_probe_task_at(int index);
const car_probe_task *car_probe_task_find(const char *name); /* NULL: none */
/* Is this score good enough, as far as it goes? */
bool car_probe_passes(const car_probe_task *task, const car_probe_score *score);

/* ---- problem.c ---------------------------------------------------------------------------------------- */

/* Images for the digit tasks. */
typedef struct car_probe_digits {
    const car_allocator *allocator;
    car_images train, test; /* test.count 0: none, the held out tenth serves */
    int *order;             /* [rows * columns] the order of the permuted pixels */
    char sha256[65];        /* of all pixels and labels */
} car_probe_digits;
/* digits.c. The test's paths may be NULL, and labels with CSV files. As car_images_read; CAR_DATA too: fewer than 100 images, unlike ones. */
car_status car_probe_digits_read(const char *images, const char *labels, const char *test_images,
                                 const char *test_labels, const car_allocator *allocator,
                                 car_probe_digits *digits, car_error *error) CAR_CHECK_RESULT;
void car_probe_digits_free(car_probe_digits *digits); /* a zeroed one is legal */

/* A task at a distance for a seed. */
typedef struct car_probe_problem {
    const car_probe_task *task;
    int distance;
    uint64_t seed;
    const car_probe_digits *digits;  /* borrowed; NULL: the task needs none */
    int shift; /* images learned from are moved by up to so many pixels each way; 0 until the caller sets it */
    int inputs, outputs, most_steps; /* set by task->shape */
} car_probe_problem;
/* CAR_USAGE: distance out of range, or images are missing. */
car_status car_probe_problem_make(const car_probe_task *task, int distance, uint64_t seed,
                                  const car_probe_digits *digits, car_probe_problem *problem,
                                  car_error *error) CAR_CHECK_RESULT;

/* A batch and its memory, one block. */
typedef struct car_probe_batch {
    int lanes, steps; /* steps: of the batch it holds */
    int *lengths;     /* [lanes] */
    float *input;     /* [steps][lanes][inputs] */
    int32_t *classes; /* softmax: [steps][lanes] or [lanes] */
    float *values;    /* sigmoid, linear: [steps][lanes][outputs] or [lanes][outputs] */
    float *truth;     /* a number a target row */
    float *output;    /* as values */
} car_probe_batch;
car_status car_probe_batch_create(const car_probe_problem *problem, int lanes,
                                  const car_allocator *allocator, car_probe_batch **batch,
                                  car_error *error) CAR_CHECK_RESULT;
/* Sequences first .. first + lanes - 1 of a set. */
void car_probe_fill(const car_probe_problem *problem, car_probe_set set, uint64_t first,
                    car_probe_batch *batch);
/* Zeroes inputs and values and sets classes to -1, for `steps` steps. */
void car_probe_clear(const car_probe_problem *problem, int steps, car_probe_batch *batch);
/* One sequence of a batch. */
car_probe_lane car_probe_lane_of(const car_probe_problem *problem, const car_probe_batch *batch,
                                 int lane);
/* Raw outputs of the head, in batch->output -> probabilities where the head has them. */
void car_probe_activate(const car_probe_problem *problem, car_probe_batch *batch);

/* ---- net.c -------------------------------------------------------------------------------------------- */

/* The net `CELL units | HEAD` for a problem, as a model with first weights; `project units` stands before a cell that
 * uses its input unit by unit. `init`, `bias_init`: as in car_model_options. */
car_status car_probe_model_make(const car_probe_problem *problem, const car_cell *cell, int units,
                                const char *init, const char *bias_init,
                                const car_allocator *allocator, car_model **model,
                                car_error *error) CAR_CHECK_RESULT;
/* The number of units whose weights come nearest to `weights`. */
car_status car_probe_units_for(const car_probe_problem *problem, const car_cell *cell,
                               int64_t weights, const car_allocator *allocator, int *units,
                               car_error *error) CAR_CHECK_RESULT;

/* The same for any net: `count` says how many weights it has with so many units. */
typedef car_status car_probe_count_weights(void *context, int units, const car_allocator *allocator,
                                           int64_t *weights, car_error *error);
car_status car_probe_fit_units(car_probe_count_weights *count, void *context, int64_t weights,
                               const car_allocator *allocator, int *units,
                               car_error *error) CAR_CHECK_RESULT;

/* ---- study.c ------------------------------------------------------------------------------------------ */

/* What is the same for all runs of a study. 0, NULL and clip < 0 stand for the task's default before
 * car_probe_study_begin. */
typedef struct car_probe_settings {
    const char *optimizer, *init, *bias_init; /* NULL: adam; none; none */
    int64_t hidden, weights;                  /* weights > 0: hidden is chosen for each cell */
    int64_t batch, check_every, seed;         /* seed of the first run; the next ones count up */
    int64_t halve_every; /* updates after which the rate is half of what it was, again and again; 0: it stays */
    int64_t shift;       /* digit tasks: most pixels by which an image learned from is moved; 0: none */
    double rate, clip, clip_value, momentum, beta1, beta2, epsilon, decay;
} car_probe_settings;

/* A cell at a distance. */
typedef struct car_probe_arm {
    int cell, distance, hidden;
    int64_t weights;
    const char *net;
} car_probe_arm;

/* What is known of a run. */
typedef struct car_probe_record {
    int64_t updates;
    bool solved;   /* a check passed; training ends there */
    bool diverged; /* training ends there too */
    bool tested;   /* accuracy, error and loss are of the weights after `updates` updates */
    double accuracy, error;             /* on the test set */
    double check_accuracy, check_error; /* of the last check; NaN: none yet */
    double loss;                 /* running mean of the training loss, nats or squared error */
    double seconds, cpu_seconds; /* of training and checks */
} car_probe_record;

typedef struct car_probe_cell {
    const char *name;
    const car_cell *cell;  /* borrowed */
    char sha256[65];       /* of its text */
    const char *bias_init; /* the entries of the settings' that it has parameters for; NULL: none */
} car_probe_cell;

typedef struct car_probe_study {
    const car_allocator *allocator;
    car_arena *arena; /* holds what is pointed to */
    const car_probe_task *task;
    const car_probe_digits *digits; /* borrowed; NULL: none */
    car_probe_settings settings;
    double minutes;       /* the budget that `updates` was fixed from; 0: none */
    int64_t updates;      /* budget of every run; 0: to be measured */
    int64_t most_updates; /* that measuring may give; 0: any */
    bool resumed;         /* study->folder held a study */
    int cell_count, distance_count, seeds;
    car_probe_cell *cells;
    int *distances;
    car_probe_arm *arms;       /* [cell_count][distance_count] */
    car_probe_record *records; /* [cell_count][distance_count][seeds] */
    const char *folder;        /* NULL: nothing is stored */
} car_probe_study;

/* What is asked for; all borrowed. */
typedef struct car_probe_request {
    const car_probe_task *task;
    const car_cell *const *cells;
    const int *distances; /* NULL: the task's default */
    int cell_count, distance_count, seeds;
    car_probe_settings settings;
    double minutes; /* both 0: the task's updates; both given: the smaller budget counts */
    int64_t updates;
    const car_probe_digits *digits;
    const char *folder; /* made if it is not there; a study in it is gone on with */
} car_probe_request;

typedef struct car_probe_progress {
    int runs, done, solved;   /* of the study */
    const car_probe_arm *arm; /* of the run that speaks */
    const char *cell;
    uint64_t seed;
    const car_probe_record *record;
    int64_t updates, updates_done,
        updates_left; /* a run's budget; of all runs in this call; at most */
    bool ended;       /* the run has just ended */
} car_probe_progress;

typedef struct car_probe_watch {
    void *context;
    void (*measured)(void *context,
                     const car_probe_study *study); /* minutes -> updates; may be NULL */
    void (*progress)(void *context,
                     const car_probe_progress *progress); /* by one thread at a time; may be NULL */
    const volatile sig_atomic_t *stop;                    /* may be NULL */
    int threads;                                          /* runs side by side */
    double checkpoint_seconds; /* how often a run is stored, besides its end */
} car_probe_watch;

/* Makes a study, or goes on with the one in request->folder. CAR_USAGE: the folder's study has other settings, a distance
 * or a shift out of range, two cells of one name. CAR_DATA: a cell or the images have changed since. */
car_status car_probe_study_begin(const car_probe_request *request, const car_allocator *allocator,
                                 car_probe_study **study, car_error *error) CAR_CHECK_RESULT;
/* Trains what is not trained yet. *stopped: the signal came; everything is stored then. Results do not depend on the
 * number of threads nor on interruptions. */
car_status car_probe_study_run(car_probe_study *study, const car_probe_watch *watch, bool *stopped,
                               car_error *error) CAR_CHECK_RESULT;
void car_probe_study_free(car_probe_study *study);
const car_probe_record *car_probe_record_of(const car_probe_study *study, int arm, int seed);

/* Mean and spread over the seeds of an arm that have been tested. */
typedef struct car_probe_summary {
    int runs, solved, diverged;
    double accuracy, accuracy_spread, error,
        error_spread;                   /* spread: standard deviation (n - 1); 0 for one run */
    double accuracy_low, accuracy_high; /* of the runs */
    double updates;                     /* median over the solved runs; NaN: none */
    double seconds, cpu_seconds;        /* mean over all runs; on the clock, of the processor */
} car_probe_summary;
car_probe_summary car_probe_summarize(const car_probe_study *study, int arm);

/* ---- study_file.c ------------------------------------------------------------------------------------- */

/* A record as one JSON object, and back (from outside: CAR_MODEL when it is not one). */
void car_probe_record_to_json(const car_probe_record *record, car_text *text);
car_status car_probe_record_from_json(const char *json, const car_allocator *allocator,
                                      car_probe_record *record) CAR_CHECK_RESULT;
/* The study as JSON, with all records; results are under "arms" too. */
void car_probe_study_to_json(const car_probe_study *study, car_text *text);
/* study->folder/study.json, atomically. */
car_status car_probe_study_save(const car_probe_study *study, car_error *error) CAR_CHECK_RESULT;
/* Takes the records of study->folder/study.json over, if there is one (*found), after comparing all settings. */
car_status car_probe_study_load(car_probe_study *study, bool *found,
                                car_error *error) CAR_CHECK_RESULT;

/* ---- run.c -------------------------------------------------------------------------------------------- */

/* What a run shares with those beside it. */
typedef struct car_probe_control {
    void *context;
    /* After every update and check; false: store and return. May be NULL. */
    bool (*tick)(void *context, int64_t updates);
    const char *path; /* of its checkpoint; NULL: none */
    bool resume;      /* go on from the checkpoint if it is there */
    double checkpoint_seconds;
} car_probe_control;
/* Trains one run up to study->updates and tests it, unless it was told to stop. */
car_status car_probe_run(const car_probe_study *study, int arm, int seed,
                         const car_probe_control *control, car_probe_record *record,
                         car_error *error) CAR_CHECK_RESULT;
/* Seconds of an update of this arm, its share of the checks included. */
car_status car_probe_run_cost(const car_probe_study *study, int arm, double *seconds,
                              car_error *error) CAR_CHECK_RESULT;

/* ---- reber.c: the endless stream ---------------------------------------------------------------------- */

/* Where a walk through the grammar of strings stands. */
typedef enum car_walk_place {
    CAR_WALK_BEGIN,
    CAR_WALK_KEY,
    CAR_WALK_INNER,
    CAR_WALK_SAME_KEY,
    CAR_WALK_END
} car_walk_place;
typedef struct car_probe_walk {
    car_probe_draws draws;
    car_walk_place place;
    int key, state, strings; /* T or P; of the inner grammar; inner strings done */
    int symbol;              /* streams: the symbol that is read next */
} car_probe_walk;
/* Streams first, first + 1 ... of a set, for walks[lanes]. */
void car_probe_stream_start(const car_probe_problem *problem, car_probe_set set, uint64_t first,
                            int lanes, car_probe_walk *walks);
/* The next `steps` steps of every stream. */
void car_probe_stream_fill(const car_probe_problem *problem, int steps, car_probe_walk *walks,
                           car_probe_batch *batch);
/* Steps of the lane before the first wrong one. */
int car_probe_stream_right(const car_probe_lane *lane);

/* ---- The generators, for the table -------------------------------------------------------------------- */

/* A word of the agreement task; NULL beyond the last. */
const char *car_probe_agreement_word(int index);
/* The largest difference between a probability and its target, 1 for `class` and 0 else. */
double car_probe_worst_probability(const float *output, int outputs, int class);

typedef void car_probe_shape(car_probe_problem *problem);
typedef int car_probe_length(const car_probe_problem *problem, car_probe_draws *draws);
typedef void car_probe_make(const car_probe_problem *problem, car_probe_draws *draws,
                            const car_probe_lane *lane);
typedef void car_probe_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                             car_probe_score *score);

car_probe_shape car_probe_adding_shape, car_probe_order2_shape, car_probe_order3_shape,
    car_probe_order4_shape, car_probe_lag_shape, car_probe_noisy_shape,
    car_probe_two_sequence_shape, car_probe_reber_shape, car_probe_stream_shape,
    car_probe_copy_shape, car_probe_memorisation_shape, car_probe_agreement_shape,
    car_probe_rows_shape, car_probe_permuted_shape;
car_probe_length car_probe_adding_length, car_probe_order_length, car_probe_lag_length,
    car_probe_noisy_length, car_probe_two_sequence_length, car_probe_reber_length,
    car_probe_whole_length;
car_probe_make car_probe_adding_make, car_probe_multiplication_make, car_probe_order_make,
    car_probe_noise_free_make, car_probe_local_noise_make, car_probe_noisy_make,
    car_probe_two_sequence_make, car_probe_noisy_signal_make, car_probe_noisy_target_make,
    car_probe_reber_make, car_probe_copy_make, car_probe_memorisation_make,
    car_probe_agreement_make, car_probe_rows_make, car_probe_permuted_make;
car_probe_judge car_probe_adding_judge, car_probe_order_judge, car_probe_noise_free_judge,
    car_probe_local_noise_judge, car_probe_noisy_judge, car_probe_two_sequence_judge,
    car_probe_noisy_target_judge, car_probe_reber_judge, car_probe_recall_judge,
    car_probe_class_judge;

#endif
