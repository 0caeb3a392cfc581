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
uint32_t car_probe_draw(car_probe_draws *draws);              /* 32 bits */
int car_probe_draw_below(car_probe_draws *draws, int count);  /* 0 .. count-1 */
float car_probe_draw_uniform(car_probe_draws *draws);         /* [0, 1) */
float car_probe_draw_normal(car_probe_draws *draws);          /* mean 0, variance 1 */

/* ---- tasks.c ------------------------------------------------------------------------------------------ */

struct car_probe_problem;

/* Where one sequence of a batch stands. Inputs and targets are zeroed before a task writes them, classes are -1. */
typedef struct car_probe_lane {
    int steps;
    float *input;        /* [steps], `input_stride` floats apart, each [inputs] */
    int32_t *classes;    /* softmax: [steps], or [1] with `last`, `class_stride` apart */
    float *values;       /* sigmoid, linear: [steps] or [1], `value_stride` apart, each [outputs] */
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

enum { CAR_PROBE_DISTANCES = 16 };

typedef struct car_probe_task {
    const char *name, *summary;
    const char *paper;     /* short, with year */
    const char *criterion; /* of a solved run, in words */
    const char *item;      /* what accuracy counts: "sequences" */
    const char *error_name;
    const char *distance_name; /* NULL: the task has no distance */
    int distance_least, distance_most, distance; /* the last: the default */
    car_head_kind head;
    car_head_pool pool;
    bool stream; /* endless sequences; states are carried from update to update */
    bool digits; /* needs images */
    /* Defaults of the settings. */
    int hidden, batch, unroll; /* unroll: of streams */
    int64_t updates, check_every;
    double rate, clip;
    /* The criterion: `check` sequences of which at least this share of the items is right, with a mean error below. */
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
    car_images train, test;
} car_probe_digits;

/* A task at a distance for a seed. */
typedef struct car_probe_problem {
    const car_probe_task *task;
    int distance;
    uint64_t seed;
    const car_probe_digits *digits; /* borrowed; NULL: the task needs none */
    int inputs, outputs, most_steps; /* set by task->shape */
} car_probe_problem;
/* CAR_USAGE: distance out of range, or images are missing. CAR_DATA: images that do not fit each other. */
car_status car_probe_problem_make(const car_probe_task *task, int distance, uint64_t seed,
                                  const car_probe_digits *digits, car_probe_problem *problem,
                                  car_error *error) CAR_CHECK_RESULT;

/* A batch and its memory, one block. */
typedef struct car_probe_batch {
    int lanes, steps;    /* steps: of the batch it holds */
    int *lengths;        /* [lanes] */
    float *input;        /* [steps][lanes][inputs] */
    int32_t *classes;    /* softmax: [steps][lanes] or [lanes] */
    float *values;       /* sigmoid, linear: [steps][lanes][outputs] or [lanes][outputs] */
    float *output;       /* as values */
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

/* ---- The generators, for the table -------------------------------------------------------------------- */

/* A triple of functions, as in car_probe_task. */
#define CAR_PROBE_GENERATOR(name)                                                                  \
    void car_probe_##name##_shape(car_probe_problem *problem);                                     \
    int car_probe_##name##_length(const car_probe_problem *problem, car_probe_draws *draws);       \
    void car_probe_##name##_make(const car_probe_problem *problem, car_probe_draws *draws,         \
                                 const car_probe_lane *lane);                                      \
    void car_probe_##name##_judge(const car_probe_problem *problem, const car_probe_lane *lane,    \
                                  car_probe_score *score);
CAR_PROBE_GENERATOR(adding)
CAR_PROBE_GENERATOR(multiplication)

#endif
