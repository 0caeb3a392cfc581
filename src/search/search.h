/*
 * search: cells that come out of other cells by chance (Jozefowicz, Zaremba & Sutskever 2015). Stands on probe and report.
 *
 *   mutate.c    a cell -> another cell that compiles, with its ancestors in comments
 *   strings.c   arithmetic and XML as strings of symbols
 *   roll.c      piano rolls
 *   task.c      the text of a task -> its data
 *   batches.c   its data -> batches to train on, and to be judged by
 *   setting.c   hyper-parameters drawn at random from the paper's lists
 *   run.c       one training: a cell with a setting on a task, and how well it does
 *   settings.c  what is the same for all trials of a study: defaults, ranges, JSON
 *   evaluate.c  a cell with many settings on a task: the best of them, with or without successive halving
 *
 *   task ──► batches ──┐
 *   cell + setting ──► run ──► score ──► the best of several settings
 */
#ifndef CAR_SEARCH_H
#define CAR_SEARCH_H

#include "probe.h"

/* ---- mutate.c ----------------------------------------------------------------------------------------- */

/* No mutant is larger. */
enum { CAR_MUTANT_NODES = 64, CAR_MUTANT_DEPTH = 24, CAR_MUTANT_MATRICES = 12 };

/* Says which cells are no news; `known` NULL: only the parent itself. */
typedef struct car_mutant_filter {
    void *context;
    car_status (*known)(void *context, const struct car_cell *cell, bool *known, car_error *error);
} car_mutant_filter;
/* The mutant number `number` of a parent: a function of parent, seed, number and of what is known. *mutant is NULL when
 * 200 attempts have found nothing new. Its name is `m` and 10 digits of its fingerprint. Cost: below 1 ms. */
car_status car_mutate(const struct car_cell *parent, uint64_t seed, uint64_t number,
                      const car_mutant_filter *filter, car_cell **mutant,
                      car_error *error) CAR_CHECK_RESULT;

/* ---- strings.c ---------------------------------------------------------------------------------------- */

enum { CAR_ARITHMETIC_SYMBOLS = 40, CAR_ARITHMETIC_DIGITS = 8, CAR_XML_SYMBOLS = 29 };

/* Strings one after the other. */
typedef struct car_strings {
    const car_allocator *allocator;
    int32_t *ids;     /* [count] */
    int32_t *counted; /* [count] 1: this symbol is a target, 0: it cannot be known */
    size_t count, capacity;
} car_strings;
/* Strings 0, 1, ... of a set until there are `least` symbols. digits: the longest number, 1 .. CAR_ARITHMETIC_DIGITS. */
car_status car_strings_arithmetic(int digits, uint64_t seed, car_probe_set set, size_t least,
                                  car_strings *strings, car_error *error) CAR_CHECK_RESULT;
car_status car_strings_xml(uint64_t seed, car_probe_set set, size_t least, car_strings *strings,
                           car_error *error) CAR_CHECK_RESULT;
void car_strings_free(car_strings *strings); /* a zeroed one is legal */
/* The character of a symbol, to print it. */
char car_arithmetic_character(int symbol);
char car_xml_character(int symbol);

/* ---- roll.c ------------------------------------------------------------------------------------------- */

enum { CAR_ROLL_PITCHES = 88, CAR_ROLL_LOWEST = 21 };

/* Pieces of music: which of 88 pitches sound at each step. */
typedef struct car_roll {
    const car_allocator *allocator;
    size_t steps;
    int pieces;
    uint64_t (*notes)[2]; /* [steps] bit p: pitch CAR_ROLL_LOWEST + p */
    size_t *begin;        /* [pieces + 1] */
} car_roll;
/* One step a line: MIDI pitches 21 .. 108 in rising order, `-` for silence; an empty line between pieces. CAR_IO; CAR_DATA
 * with the line. */
car_status car_roll_read(const char *path, const car_allocator *allocator, car_roll *roll,
                         car_error *error) CAR_CHECK_RESULT;
car_status car_roll_parse(const char *data, size_t length, const char *origin,
                          const car_allocator *allocator, car_roll *roll,
                          car_error *error) CAR_CHECK_RESULT;
void car_roll_free(car_roll *roll); /* a zeroed one is legal */

/* ---- task.c ------------------------------------------------------------------------------------------- */

typedef struct car_task_options {
    int lanes, steps; /* of an update; tasks of probe have steps of their own */
    int vocabulary;   /* of words, at most */
    int checks;       /* batches to judge by, at most */
    uint64_t seed;    /* of what a task makes up */
} car_task_options;

/* A task with its data. */
typedef struct car_task car_task;

/* `text`: arithmetic[@DIGITS]  xml  words:FILE[,CHECK,TEST]  music:FILE[,CHECK,TEST]  or a task of probe, NAME[@DISTANCE].
 * Of a single file the last tenth is the test, the tenth before it the check. CAR_USAGE, CAR_IO, CAR_DATA. */
car_status car_task_open(const char *text, const car_task_options *options,
                         const car_allocator *allocator, car_task **task,
                         car_error *error) CAR_CHECK_RESULT;
void car_task_free(car_task *task); /* NULL is legal */
/* The text of a task without the folders and all but the first of its files: "words:train.txt". */
void car_task_label(const char *text, char *label, size_t size);
/* What a task's text may be, for help. */
extern const char car_task_help[];

/* What a task consists of: the sets are CAR_PROBE_TRAIN, _CHECK and _TEST. */
typedef enum car_task_kind { CAR_TASK_TEXT, CAR_TASK_ROLL, CAR_TASK_PROBE } car_task_kind;
enum { CAR_TASK_SETS = CAR_PROBE_TEST + 1 };
/* Symbols of a set; counted NULL: all are targets. */
typedef struct car_task_symbols {
    int32_t *ids, *counted; /* [count] */
    size_t count;
} car_task_symbols;
/* Pieces first .. last - 1 of a roll, `lanes` side by side; the state is carried through a group of pieces. */
typedef struct car_task_pieces {
    const car_roll *roll;
    int first, last;
    int64_t batches;
} car_task_pieces;
struct car_task {
    const car_allocator *allocator;
    car_task_options options;
    car_task_kind kind;
    const char *name; /* as the text says, without files */
    char name_room[64];
    car_head_kind head;
    car_head_pool pool;
    bool embeds; /* ids come in */
    int inputs, outputs, steps;
    car_task_symbols symbols[CAR_TASK_SETS];
    car_roll rolls[CAR_TASK_SETS];
    car_task_pieces pieces[CAR_TASK_SETS];
    car_probe_problem problem;
    car_probe_batch *probe;
    /* The batch at hand. */
    void *input, *target; /* [steps][lanes] ids and classes, or [steps][lanes][inputs] values */
    int32_t *mask;        /* [steps][lanes] */
    int32_t *unused;      /* [steps][lanes] */
    int *lengths;         /* [lanes] */
    float *output;        /* [steps][lanes][outputs] */
};

/* The net around a cell: `embed N | CELL N xL | softmax`; where values come in, `project N` stands in place of embed. */
void car_task_net(const car_task *task, const char *cell, int units, int layers, car_text *text);
/* Batches of `steps` steps of these pieces. */
int64_t car_task_piece_batches(const car_task_pieces *pieces, int lanes, int steps);

/* Judgements added up. */
typedef struct car_task_score {
    double right,
        items; /* accuracy is right / items; music: true positives / (all positives and misses) (Bay et al. 2009) */
    double nats;    /* summed over `targets` */
    double targets; /* symbols, or steps of music; 0: the task has no likelihood */
} car_task_score;
double car_task_accuracy(const car_task_score *score);
double car_task_nats(const car_task_score *score); /* a target; NaN: none */
/* What cells are compared by, more is better: accuracy; for music 1 / nats. */
double car_task_measure(const car_task *task, const car_task_score *score);

/* ---- batches.c ---------------------------------------------------------------------------------------- */

/* Batch `index` of a set: updates count on for ever, judging has car_task_batches. What *batch points to is the task's,
 * until the next call. */
int64_t car_task_batches(const car_task *task, car_probe_set set);
void car_task_fill(car_task *task, car_probe_set set, int64_t index, car_batch *batch);
/* Where the head's raw outputs of the batch go, and what they are worth. */
float *car_task_outputs(car_task *task);
void car_task_judge(car_task *task, const car_batch *batch, car_task_score *score);

/* ---- setting.c ---------------------------------------------------------------------------------------- */

/* Hyper-parameters, as the paper counts them: the gradient is the sum over the steps of the mean over the lanes. */
typedef struct car_setting_values {
    double scale; /* weights start as U[-scale / sqrt(units), ...] */
    double rate;
    double clip; /* most norm of the gradient */
    int layers;
} car_setting_values;
/* Setting `number` for a seed, from the paper's lists; `optimizer`: sgd, or adam with rates of its own;
 * `most_layers`: 1 .. 4. */
car_setting_values car_setting_draw(uint64_t seed, uint64_t number, const char *optimizer,
                                    int most_layers);
void car_setting_to_json(const car_setting_values *setting, car_text *text);
/* From outside: CAR_DATA for what is none. */
car_status car_setting_from_json(const car_json *json, car_setting_values *setting,
                                 car_error *error) CAR_CHECK_RESULT;

/* ---- run.c -------------------------------------------------------------------------------------------- */

typedef struct car_run_options {
    const char *optimizer; /* "sgd", "adam" */
    int64_t weights;       /* of the net, about */
    int64_t updates;       /* budget that the rate's schedule is laid over */
    uint64_t seed;         /* of the first weights */
} car_run_options;

/* Called between updates; false: stop. */
typedef struct car_run_tick {
    void *context;
    bool (*goes_on)(void *context);
} car_run_tick;

typedef struct car_run car_run;
car_status car_run_open(car_task *task, const car_cell *cell, const car_setting_values *setting,
                        const car_run_options *options, const car_allocator *allocator,
                        car_run **run, car_error *error) CAR_CHECK_RESULT;
void car_run_free(car_run *run); /* NULL is legal */
/* Trains on up to `updates` updates in all. *stopped: the tick said so. A run that diverges stays where it was. */
car_status car_run_train(car_run *run, int64_t updates, const car_run_tick *tick, bool *stopped,
                         car_error *error) CAR_CHECK_RESULT;
/* Judges the present weights. */
car_status car_run_judge(car_run *run, car_probe_set set, const car_run_tick *tick, bool *stopped,
                         car_task_score *score, car_error *error) CAR_CHECK_RESULT;
int64_t car_run_updates(const car_run *run);
bool car_run_diverged(const car_run *run);
int car_run_units(const car_run *run);

/* ---- settings.c --------------------------------------------------------------------------------------- */

enum { CAR_SEARCH_TASKS = 16, CAR_SEARCH_SETTINGS = 100 };

/* What is the same for all trials. Texts are borrowed. */
typedef struct car_search_settings {
    int task_count;
    const char *tasks[CAR_SEARCH_TASKS];
    const char *optimizer;
    int64_t weights, updates, lanes, steps, layers, checks, vocabulary, seed;
    int64_t settings; /* random ones a task */
    bool halving;
    /* Of a search. */
    int64_t trials, list;   /* how many in all; cells that are mutated */
    int64_t first_settings; /* of the cells that the list starts with, the tuned GRU among them */
    int64_t memory_letters; /* the first filter; 0: none */
    int64_t memory_updates;
    double memory_least; /* share of letters that must be right */
    double least;        /* share of the tuned GRU's best on each task */
    double again;        /* share of the proposals that evaluate a listed cell anew */
} car_search_settings;
car_search_settings car_search_defaults(void);
/* CAR_USAGE names the option. */
car_status car_search_settings_check(const car_search_settings *settings,
                                     car_error *error) CAR_CHECK_RESULT;
void car_search_settings_to_json(const car_search_settings *settings, car_text *text);
/* From a database: CAR_DATA; texts live in the arena. */
car_status car_search_settings_from_json(const char *json, car_arena *arena,
                                         car_search_settings *settings,
                                         car_error *error) CAR_CHECK_RESULT;
car_task_options car_search_task_options(const car_search_settings *settings);

/* Numbers of a setting, one table for defaults, ranges, the command line and JSON. */
typedef struct car_search_number {
    const char *name;
    bool whole;
    size_t offset; /* of an int64_t or a double in car_search_settings */
    double least, most, value;
    bool searches; /* only of a search, not of a comparison */
    const char *help;
} car_search_number;
extern const car_search_number car_search_numbers[];
extern const int car_search_number_count;

/* Mean and half of the 95 % interval of the mean (Student); one value: the half is NaN. */
void car_mean_interval(const double *values, int count, double *mean, double *half);

/* ---- evaluate.c --------------------------------------------------------------------------------------- */

typedef struct car_evaluate_options {
    car_run_options run; /* setting i starts from the weights of seed + i */
    bool halving;        /* after a quarter and after half of the updates the better half goes on */
} car_evaluate_options;

typedef struct car_evaluation {
    car_task_score check;
    double measure;  /* of the best setting on the check set; 0: all diverged */
    int best;        /* that setting */
    int units;       /* of its net */
    int diverged;    /* settings that did */
    int64_t updates; /* of all runs */
    car_run *run;    /* of the best setting; to be freed by the caller */
} car_evaluation;
/* *stopped: the tick said so, and nothing is known. */
car_status car_evaluate(car_task *task, const car_cell *cell, const car_setting_values *settings,
                        int count, const car_evaluate_options *options, const car_run_tick *tick,
                        const car_allocator *allocator, bool *stopped, car_evaluation *evaluation,
                        car_error *error) CAR_CHECK_RESULT;

#endif
