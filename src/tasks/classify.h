/*
 * classify: sequences into classes, whole or step by step. Stands on data and train.
 *
 *   classify_options.c  every setting of `classify train` and of `tag train`, in two tables
 *   classify_data.c     a file -> training and validation part; scaling from the training part alone
 *   classify_train.c    a net from the settings, the loop, resuming; the temperature and the record at its end
 *   classify_folds.c    how good such nets are, by cross-validation
 *   classify_model.c    a trained classifier: its file, and what it makes of sequences
 *   tag_score.c         spans, unknown words, the usual tag
 *   classify_score.c    accuracy, macro-F1, confusion, calibration
 *   augment.c           a training sequence as it might have been too
 *
 *   file ──car_classify_read──► parts ──car_classify_train──► model file ──car_classifier_load──► outputs, scores
 *
 * A number enters the net as (x - mean) / deviation of its channel in the training part; with `differences` the net
 * also reads x[t] - x[t-1] of each channel (0 at the first step), with its own mean and deviation. A model file carries, as
 * metadata: classify.model (JSON: classes, channels, scaling, temperature, majority class), classify.record (JSON: how
 * it was trained); a checkpoint also classify.options and classify.data (JSON: absolute paths and digests).
 */
#ifndef CAR_CLASSIFY_H
#define CAR_CLASSIFY_H

#include "sequences.h"
#include "tasks.h"

/* ---- classify_options.c ------------------------------------------------------------------------------- */

/* What differs between `classify` and `tag`. */
typedef struct car_labelling {
    const char *name;
    const car_setting *settings;
    int count;
    bool text; /* reads tagged text: ids, a class a word */
} car_labelling;

typedef struct car_classify_options {
    const car_labelling *task;
    const char *format, *layout, *id, *step, *value, *label, *labels, *valid, *scaling;
    const char *net, *cell, *direction, *head, *init, *bias_init, *optimizer, *schedule;
    const char *output, *precision, *level;
    int64_t least, channels, hidden, layers, embed, batch, warmup, updates, validate_every,
        patience, seed;
    int64_t threads, shift, shift_channels, folds;
    bool differences;
    double valid_fraction, dropout, rate, final, clip, decay, minutes, epochs, checkpoint_seconds;
    double noise, warp, forget;
} car_classify_options;

extern const car_labelling car_classify_task, car_tag_task;
car_classify_options car_classify_defaults(const car_labelling *task);
car_status car_classify_options_check(const car_classify_options *options,
                                      car_error *error) CAR_CHECK_RESULT;

/* ---- classify_model.c: what is known of a trained classifier ------------------------------------------ */

typedef struct car_classifier {
    const car_allocator *allocator;
    car_arena *arena; /* texts */
    car_model *model;
    bool each; /* a class a step */
    int classes, channels;
    const char **class_names;   /* [classes] */
    const char **channel_names; /* [channels]; NULL: they have none */
    int symbols;                /* text: ids are 0 .. symbols-1; else 0 */
    const char **symbol_names;  /* [symbols] */
    const int32_t *usual; /* [symbols] the class that a word has most often in the training part */
    const char *level;    /* text: what a word becomes (conll.c) */
    bool differences;        /* the net reads them beside the values */
    float *mean, *deviation; /* [inputs]: of the channels, then of their differences */
    double temperature;      /* probabilities are softmax(outputs / temperature) */
    int majority;            /* the most frequent class of the training part */
} car_classifier;

/* CAR_MODEL: damaged, or not a classifier. */
car_status car_classifier_load(const char *path, const car_allocator *allocator,
                               car_classifier *classifier, car_error *error) CAR_CHECK_RESULT;
/* The same from a model in memory, which it takes over (freed on failure too). */
car_status car_classifier_make(car_model *model, const char *origin, const car_allocator *allocator,
                               car_classifier *classifier, car_error *error) CAR_CHECK_RESULT;
void car_classifier_free(car_classifier *classifier); /* a zeroed one is legal */
/* classify.model as JSON. */
void car_classifier_to_json(const car_classifier *classifier, car_text *text);
/* Reads a file as this model needs it: its classes, its channels. The options say the rest. */
car_status car_classifier_read(const car_classifier *classifier, const char *path,
                               car_sequences_options options, const car_allocator *allocator,
                               car_sequences *set, car_error *error) CAR_CHECK_RESULT;

/* Which sequences of a set; index NULL: all of them. */
typedef struct car_part {
    const car_sequences *set;
    int count;
    const int *index; /* [count] */
} car_part;
/* Sequences or, with `each`, steps: how many rows car_classifier_run gives. */
size_t car_part_items(const car_part *part);

/* How many numbers a step the net reads. */
int car_classifier_inputs(const car_classifier *classifier);
/* A step's values [channels], and those of the step before (NULL: it is the first), as the net reads them: [inputs]. */
void car_classifier_scale(const car_classifier *classifier, const float *values,
                          const float *before, float *inputs);
/* The head's raw outputs [items][classes], sequence by sequence, of values that are not yet scaled. */
car_status car_classifier_run(const car_classifier *classifier, const car_part *part, int threads,
                              float *outputs, car_error *error) CAR_CHECK_RESULT;
int car_likeliest(const float *row, int classes);
/* outputs [items][classes] become softmax(outputs / temperature). */
void car_soften(float *outputs, size_t items, int classes, double temperature);

/* ---- classify_score.c --------------------------------------------------------------------------------- */

typedef struct car_class_figures {
    int64_t count, said, right;   /* so many there were; so often it was said; rightly */
    double precision, recall, f1; /* 0 where there is nothing to divide by */
} car_class_figures;

typedef struct car_class_score {
    const car_allocator *allocator;
    int classes;
    int64_t items, right;
    double accuracy, low, high; /* 95 % interval: Wilson; over sequences where steps are counted */
    double macro_f1;            /* mean over the classes that there were */
    double majority; /* accuracy of always saying the most frequent class of the training part */
    double nats;     /* -log probability of the true class, mean */
    double calibration_error;   /* expected calibration error, 10 bins of equal width */
    int64_t *confusion;         /* [true][said] */
    car_class_figures *figures; /* [classes] */
} car_class_score;
/* From probabilities [items][classes]. Items with label -1 are not counted; CAR_DATA when none is left. */
car_status car_class_judge(const car_part *part, const float *probabilities, int classes,
                           int majority, const car_allocator *allocator, car_class_score *score,
                           car_error *error) CAR_CHECK_RESULT;
void car_class_score_free(car_class_score *score); /* a zeroed one is legal */
/* The temperature with the least loss on these outputs (Guo et al. 2017), within 0.05 .. 20. */
double car_class_temperature(const car_part *part, const float *outputs, int classes);

/* Tags that say where spans begin and go on (B-X I-X, also E-X S-X; O: none), judged span by span as conlleval does. */
typedef struct car_span_score {
    bool there; /* some tag has such a form */
    int64_t count, said, right;
    double precision, recall, f1;
    int64_t unknown, unknown_right; /* words that the model has no symbol for */
    double
        usual; /* accuracy of saying of each word its usual class, of unknown ones the most frequent */
} car_span_score;
void car_tag_judge(const car_classifier *classifier, const car_sequences *set,
                   const float *probabilities, car_span_score *score);

/* ---- classify_data.c ---------------------------------------------------------------------------------- */

typedef struct car_classify_data {
    const car_allocator *allocator;
    car_sequences train, valid; /* valid: of --valid; else empty */
    int *order; /* sequences of `train`: those to learn from, then those to validate on */
    car_part learned, judged; /* judged.count 0: no validation */
    car_classifier shape;     /* classes, channels, scaling, majority; no model */
    char *files;              /* JSON for classify.data; NULL: standard input, cannot be resumed */
} car_classify_data;

/* Reads the file and splits it, or reads --valid. `each`: labels are of steps. `known`: a model that is trained
 * further, whose classes and scaling are kept; else NULL. */
car_status car_classify_read(const car_classify_options *options, const char *path, bool each,
                             const car_classifier *known, const car_allocator *allocator,
                             car_classify_data *data, car_error *error) CAR_CHECK_RESULT;
void car_classify_data_free(car_classify_data *data); /* a zeroed one is legal */
/* Puts them in an order that depends on key and epoch alone. */
void car_classify_shuffle(car_random_key key, int64_t epoch, int *order, int count);
/* Fold `fold` of `folds`: judged is every so many-th sequence of each class, learned and scaled by all others.
 * Borrows the sequences. */
car_status car_classify_fold(const car_classify_options *options, const car_classify_data *data,
                             int fold, int folds, car_classify_data *part, car_error *error) CAR_CHECK_RESULT;
void car_classify_fold_free(car_classify_data *part); /* a zeroed one is legal */

/* ---- augment.c ---------------------------------------------------------------------------------------- */

typedef struct car_augmentation {
    double noise, warp;
    int shift, shift_channels;
    uint64_t seed;
} car_augmentation;
/* Sequence `index` in epoch `epoch`: steps x channels scaled values from `in` into out[step * stride + channel];
 * returns its steps, at most `most`. A pure function of its arguments. */
int car_augment(const car_augmentation *how, int64_t epoch, int index, const float *in, int steps,
                int channels, int most, float *out, size_t stride);
/* For a net with `patch`: repeats the last step until there is a multiple of it; returns how many steps there are then. */
int car_fill_patch(float *values, int steps, int channels, int patch, size_t stride);

/* ---- classify_train.c --------------------------------------------------------------------------------- */

typedef struct car_classify_facts {
    int classes, channels, longest, learned, judged, threads, majority;
    const char *net, *majority_name; /* borrowed */
    double majority_share;
    int64_t parameters, updates_per_epoch, updates_done;
} car_classify_facts;

typedef struct car_classify_watch {
    void *context;
    void (*started)(void *context, const car_classify_facts *facts);   /* may be NULL */
    void (*progress)(void *context, const car_fit_progress *progress); /* may be NULL */
    const volatile sig_atomic_t *stop;                                 /* may be NULL */
    const char *version;
    bool native; /* as in car_lm_watch */
} car_classify_watch;

typedef struct car_classify_result {
    car_fit_result fit;
    car_classify_facts facts; /* texts are NULL here */
    double seconds, loss;
    bool saved;
    char output[4000];
    int folds; /* what follows is of a cross-validation with so many; 0: it is */
    /* On the validation part, of the model that was kept; 0 items: no validation. */
    int64_t judged;
    double accuracy, low, high, macro_f1, majority, temperature, error_before, error_after;
} car_classify_result;

/* Does this net give a class a step? CAR_USAGE for a net that cannot classify. */
car_status car_classify_each(const car_classify_options *options, const car_allocator *allocator,
                             bool *each, car_error *error) CAR_CHECK_RESULT;
/* Trains to options->output with a checkpoint at options->output + ".last"; `load`: weights to start from, or NULL. */
car_status car_classify_train(const car_classify_options *options, const car_classify_data *data,
                              const car_model *load, const car_classify_watch *watch,
                              const car_allocator *allocator, car_classify_result *result,
                              car_error *error) CAR_CHECK_RESULT;
/* The temperature for raw outputs [items][classes], which are overwritten (room for twice as many), and the judgement with and
 * without it; the loss becomes result->fit.best_validation. */
car_status car_classify_calibrate(const car_part *part, float *outputs, const car_classifier *shape,
                                  const car_allocator *allocator, car_classify_result *result,
                                  car_error *error) CAR_CHECK_RESULT;
/* Goes on from a checkpoint; what may differ as in car_training_changes. CAR_DATA: the data has changed since. */
car_status car_classify_resume(const char *checkpoint, const car_training_changes *changes,
                               const car_classify_watch *watch, const car_allocator *allocator,
                               car_classify_result *result, car_error *error) CAR_CHECK_RESULT;

/* ---- classify_folds.c --------------------------------------------------------------------------------- */

/* Judges options->folds nets by the sequences that each has not learned from. */
car_status car_classify_cross(const car_classify_options *options, const car_classify_data *data,
                              const car_classify_watch *watch,
                              const car_allocator *allocator, car_classify_result *result,
                              car_error *error) CAR_CHECK_RESULT;

#endif
