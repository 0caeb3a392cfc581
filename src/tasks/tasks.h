/*
 * tasks: what a person wants done, made of data and a trainer. Stands on data and train.
 *
 *   settings.c     a table of settings: defaults, check, JSON
 *   training.c     what all tasks that train share: the cell and net that options name, schedules, files as JSON
 *   lm_options.c   every setting of `lm train`, its default and help, in one table; settings <-> JSON
 *   lm_data.c      texts -> vocabulary, training and validation ids; their digests
 *   lm_train.c     a net from the settings, the loop, the record; going on from a checkpoint
 *   lm_model.c     a trained language model: loading, judging a text, scoring lines
 *   lm_pairs.c     minimal pairs: the right one likelier than the wrong one?
 *   lm_sample.c    drawing text from it
 *
 *   texts + options --car_lm_data_read, car_lm_train--> model file --car_lm_load--> judge, score, sample
 *
 * What a model file carries besides weights, as metadata: lm.vocabulary (JSON), lm.record (JSON: how it was
 * trained); a checkpoint also lm.options (JSON) and lm.data (JSON: absolute paths and SHA-256 of the texts).
 */
#ifndef CAR_TASKS_H
#define CAR_TASKS_H

#include "data.h"
#include "train.h"

/* ---- settings.c --------------------------------------------------------------------------------------- */

typedef enum car_setting_kind {
    CAR_SETTING_HEADING, /* `help` is a heading of those that follow */
    CAR_SETTING_INT,     /* int64_t */
    CAR_SETTING_NUMBER,  /* double */
    CAR_SETTING_TEXT,    /* const char *, may be NULL */
    CAR_SETTING_CHOICE,  /* const char *, one of `choices` */
    CAR_SETTING_FLAG     /* bool, false by default */
} car_setting_kind;

typedef struct car_setting {
    const char *name; /* "valid-fraction" */
    car_setting_kind kind;
    size_t offset;                   /* in the struct of options */
    double number, minimum, maximum; /* INT, NUMBER: default and range */
    const char *text;    /* TEXT, CHOICE: default; others: how the default is shown, or NULL */
    const char *choices; /* "byte|char|word" */
    const char *argument, *help;
} car_setting;

void car_settings_defaults(const car_setting *table, int count, void *options);
/* Ranges and choices. CAR_USAGE names the option. */
car_status car_settings_check(const car_setting *table, int count, const void *options,
                              car_error *error) CAR_CHECK_RESULT;
void car_settings_to_json(const car_setting *table, int count, const void *options, car_text *text);
/* The kinds of the values are checked, not yet their ranges; texts live in the arena. CAR_MODEL. */
car_status car_settings_from_json(const car_setting *table, int count, const char *json,
                                  const char *origin, car_arena *arena, void *options,
                                  car_error *error) CAR_CHECK_RESULT;

/* ---- training.c --------------------------------------------------------------------------------------- */

/* The cell that --cell names: NULL in *cell when it is one of the zoo's, else compiled from its file. CAR_USAGE. */
car_status car_own_cell(const char *name, const car_allocator *allocator, car_cell **cell,
                        car_error *error) CAR_CHECK_RESULT;
/* "constant", "step", "plateau", "cosine". */
car_schedule_kind car_schedule_named(const char *name);
/* That a model cannot be written is better known before the training than after it; NULL is fine. */
car_status car_check_output(const char *path, const car_allocator *allocator,
                            car_error *error) CAR_CHECK_RESULT;
/* What a checkpoint says of a file it learned from, {"path": ..., "sha256": ...}; false: not that. Texts as long as entry. */
bool car_file_entry_read(const car_json *entry, const char **path, const char **digest);

/* What may differ when a run goes on; negative: as it was. */
typedef struct car_training_changes {
    double minutes, epochs;
    int64_t updates, threads;
} car_training_changes;

/* ---- lm_options.c ------------------------------------------------------------------------------------- */

typedef struct car_lm_options {
    const char *level, *valid, *net, *cell, *optimizer, *schedule, *init, *bias_init, *output;
    const char *precision;
    int64_t vocabulary, embed, hidden, layers, batch, unroll, warmup, seed, threads, updates;
    int64_t validate_every, patience, plateau;
    double valid_fraction, dropout, rate, momentum, beta1, beta2, epsilon, decay, clip, clip_value;
    double factor, after, final, minutes, epochs, checkpoint_seconds;
} car_lm_options;

extern const car_setting car_lm_settings[];
extern const int car_lm_setting_count;

car_lm_options car_lm_defaults(void);
/* Ranges, choices and combinations. CAR_USAGE names the option. */
car_status car_lm_options_check(const car_lm_options *options, car_error *error) CAR_CHECK_RESULT;
void car_lm_options_to_json(const car_lm_options *options, car_text *text);
/* Checked like any file from outside; texts live in the arena. CAR_MODEL. */
car_status car_lm_options_from_json(const char *json, const char *origin, car_arena *arena,
                                    car_lm_options *options, car_error *error) CAR_CHECK_RESULT;

/* ---- lm_data.c ---------------------------------------------------------------------------------------- */

typedef struct car_lm_data {
    const car_allocator *allocator;
    car_vocabulary *vocabulary;
    car_tokens train, valid; /* valid.count 0: no validation */
    size_t train_bytes, valid_bytes;
    char *files; /* JSON for lm.data; NULL: not from files, cannot be resumed */
} car_lm_data;

/* Reads the texts and what is held out (--valid or the last --valid-fraction). `known`: the vocabulary of a model
 * that is trained further, else NULL to make one from the training part. CAR_DATA: too short, bad UTF-8. */
car_status car_lm_data_read(const car_lm_options *options, const char *const *paths, int count,
                            const car_vocabulary *known, const car_allocator *allocator,
                            car_lm_data *data, car_error *error) CAR_CHECK_RESULT;
/* The same for texts in memory; `valid` may be empty. */
car_status car_lm_data_make(const car_lm_options *options, const char *train, size_t train_length,
                            const char *valid, size_t valid_length, const car_vocabulary *known,
                            const car_allocator *allocator, car_lm_data *data,
                            car_error *error) CAR_CHECK_RESULT;
void car_lm_data_free(car_lm_data *data); /* a zeroed one is legal */

/* ---- lm_train.c --------------------------------------------------------------------------------------- */

/* What is known when training begins. */
typedef struct car_lm_facts {
    car_level level;
    int vocabulary, threads;
    size_t train_tokens, valid_tokens, train_unknown, valid_unknown;
    const char *net; /* borrowed */
    int64_t parameters, updates_per_epoch, updates_done;
    double clip, clip_value; /* thresholds; 0: off */
} car_lm_facts;

typedef struct car_lm_watch {
    void *context;
    void (*started)(void *context, const car_lm_facts *facts);         /* may be NULL */
    void (*progress)(void *context, const car_fit_progress *progress); /* may be NULL */
    const volatile sig_atomic_t *stop;                                 /* may be NULL */
    const char *version; /* of the program, for the record */
    bool native; /* make machine code of cells that are not the zoo's (car_model_compile_native) */
} car_lm_watch;

typedef struct car_lm_result {
    car_fit_result fit;
    car_lm_facts facts;                      /* `net` is NULL here */
    double seconds, tokens_per_second, loss; /* of the training, nats a token */
    char output[4000];                       /* where the model is; "": nowhere */
    bool saved; /* the model file is there (a run that was stopped early may have none yet) */
} car_lm_result;

/* Trains to options->output (NULL: keeps no file) with a checkpoint at options->output + ".last"; `load`: weights
 * to start from (NULL: by the net and the seed; not NULL: its net counts and the options' net is ignored). */
car_status car_lm_train(const car_lm_options *options, const car_lm_data *data,
                        const car_model *load, const car_lm_watch *watch,
                        const car_allocator *allocator, car_lm_result *result,
                        car_error *error) CAR_CHECK_RESULT;

/* Goes on from a checkpoint: its options, texts and state. CAR_DATA: a text has changed since. */
car_status car_lm_resume(const char *checkpoint, const car_training_changes *changes,
                         const car_lm_watch *watch, const car_allocator *allocator,
                         car_lm_result *result, car_error *error) CAR_CHECK_RESULT;

/* ---- lm_model.c --------------------------------------------------------------------------------------- */

typedef struct car_lm {
    const car_allocator *allocator;
    car_model *model;
    car_vocabulary *vocabulary;
} car_lm;
/* CAR_MODEL: damaged, or not a language model. */
car_status car_lm_load(const char *path, const car_allocator *allocator, car_lm *lm,
                       car_error *error) CAR_CHECK_RESULT;
void car_lm_free(car_lm *lm); /* a zeroed one is legal */
/* Lets it run in another precision (car_model_convert). */
car_status car_lm_convert(car_lm *lm, const char *precision, car_error *error) CAR_CHECK_RESULT;

/* Nets that cannot be language models: CAR_USAGE with the reason. */
car_status car_lm_check_net(const struct car_net *net, car_error *error) CAR_CHECK_RESULT;

typedef struct car_lm_score {
    double nats;       /* -log probability, summed over the targets */
    size_t tokens;     /* targets */
    size_t unknown;    /* targets that are <unk> */
    size_t characters; /* that the targets stand for: bytes at byte level, code points else */
    double seconds;
} car_lm_score;

/* How well the model foretells ids[1 .. count-1], each from all before it. One lane is exact; with more the text is
 * cut into that many pieces side by side, which is faster, but each piece starts without memory. */
car_status car_lm_judge(const car_lm *lm, const car_tokens *tokens, int lanes, int threads,
                        car_lm_score *score, car_error *error) CAR_CHECK_RESULT;
/* The same in one lane, by a copy of the model that goes on learning (dynamic evaluation, Krause et al. 2018): each piece
 * of 32 tokens is judged, then an update with Adam at `rate` is made of it. CAR_USAGE: the model is in int8. */
car_status car_lm_judge_learning(const car_lm *lm, const car_tokens *tokens, double rate,
                                 int threads, car_lm_score *score,
                                 car_error *error) CAR_CHECK_RESULT;
/* A line on its own: from the initial state and a line end, its tokens and, with `end`, the line end behind it. */
car_status car_lm_score_line(const car_lm *lm, const char *line, size_t length, bool end,
                             car_lm_score *score, car_error *error) CAR_CHECK_RESULT;

/* ---- lm_pairs.c --------------------------------------------------------------------------------------- */

typedef struct car_lm_line {
    const char *text;
    size_t length;
} car_lm_line;
/* margin: log p(right) - log p(wrong), in nats; above 0 the model prefers the right one.
 * covered: the vocabulary knows every token in which the two differ, and tells them apart. */
typedef struct car_lm_pair {
    double margin;
    bool covered;
} car_lm_pair;

/* `end`: the lines are whole, their line end is judged too; else they are beginnings. */
car_status car_lm_judge_pair(const car_lm *lm, const car_lm_line *right, const car_lm_line *wrong,
                             bool end, car_lm_pair *pair, car_error *error) CAR_CHECK_RESULT;

/* ---- lm_sample.c -------------------------------------------------------------------------------------- */

typedef struct car_lm_sample_options {
    const char *prompt; /* NULL or "": starts after a line end */
    size_t prompt_length;
    double temperature; /* 1: the model's own; 0: always the likeliest token */
    double top_p;   /* 1: off; else only the likeliest tokens that together have this probability */
    int64_t length; /* tokens */
    uint64_t seed;
} car_lm_sample_options;

/* Gives the text piece by piece, whole UTF-8 characters only (bytes that are none become U+FFFD); the prompt is
 * not repeated. <unk> is never drawn. `write` returns false to stop. The same seed gives the same text. */
typedef bool (*car_lm_write)(void *context, const char *text, size_t length);
car_status car_lm_sample(const car_lm *lm, const car_lm_sample_options *options, car_lm_write write,
                         void *context, car_error *error) CAR_CHECK_RESULT;

#endif
