/*
 * store.h: studies in a database. One thin layer over SQLite and PostgreSQL; all SQL above it is the same for both.
 *
 *   store.c           what both share: opening by name, rows, transactions; store_sqlite.c, store_postgres.c: the two
 *   schema.c          the tables and their version
 *   study.c           a study: made, opened; view.c: all that is known of it, with scores and the list of the best
 *   queue.c           trials: put in, claimed, kept alive, given back, finished
 *   ablate.c          a cell without a gate; study_page.c: a study as a page
 *   propose.c         which trial comes next; trial.c: what it does; work.c: a worker
 *
 *   STUDY ──► store ──► study ──┬── proposal ──► queue ──► claim ──► results ──► finish
 *                               └── view: cells, trials, results, scores
 *
 * Every trial is a row. It waits, runs under a lease with a fencing token, or is done. Whoever holds the token may finish it;
 * a lease that has run out, or whose process is dead, goes back to waiting with a new token, three times at most.
 */
#ifndef CAR_STORE_H
#define CAR_STORE_H

#include "search.h"

/* ---- store.c ------------------------------------------------------------------------------------------ */

typedef enum car_value_kind {
    CAR_VALUE_NULL,
    CAR_VALUE_WHOLE,
    CAR_VALUE_NUMBER,
    CAR_VALUE_TEXT
} car_value_kind;
typedef struct car_value {
    car_value_kind kind;
    int64_t whole;
    double number;
    const char *text; /* borrowed */
} car_value;
car_value car_value_whole(int64_t whole);
car_value car_value_number(double number);  /* NaN becomes NULL */
car_value car_value_text(const char *text); /* NULL becomes NULL */

/* The rows of an answer as text; numbers read back as the very same double. */
typedef struct car_rows_read {
    car_arena *arena;
    int count, columns;
    const char **cells; /* [count][columns]; NULL: no value */
} car_rows_read;
const char *car_row_text(const car_rows_read *rows, int row, int column);
int64_t car_row_whole(const car_rows_read *rows, int row, int column); /* 0 for no value */
double car_row_number(const car_rows_read *rows, int row, int column); /* NaN for no value */
void car_rows_free(car_rows_read *rows);                               /* a zeroed one is legal */

typedef struct car_store car_store;

/* What SQLite and PostgreSQL do differently. */
typedef struct car_store_driver {
    const char *now;         /* SQL: seconds since 1970 by the database's clock */
    const char *begin;       /* a transaction that writes */
    const char *snapshot;    /* one that reads, and sees nothing of what comes meanwhile */
    const char *for_update;  /* behind a SELECT: locks its rows */
    const char *skip_locked; /* ... and passes over locked ones */
    const char *has_table;   /* how many tables have the name $1 */
    const char
        *any_table; /* how many tables there are that are not ours; NULL: others may be there */
    car_status (*open)(car_store *store, bool create, car_error *error);
    void (*close)(car_store *store);
    /* Runs one statement; rows may be NULL. *changed: rows written. */
    car_status (*query)(car_store *store, const char *sql, const car_value *values, int count,
                        car_rows_read *rows, int64_t *changed, car_error *error);
} car_store_driver;
extern const car_store_driver car_store_sqlite, car_store_postgres;

struct car_store {
    const car_allocator *allocator;
    const car_store_driver *driver;
    char *place;  /* FILE.db or postgres://... */
    void *handle; /* NULL: not connected */
    bool away;    /* the last failure was the database's absence: it may be back later */
};

/* Opens FILE.db or postgres://... `create`: tables are made when there are none. CAR_DATA: not a database, another program's,
 * of another version; CAR_USAGE: on a network file system, built without it; CAR_IO. */
car_status car_store_open(const char *place, bool create, const car_allocator *allocator,
                          car_store **store, car_error *error) CAR_CHECK_RESULT;
/* Is it on a server, which may be away for a while? */
bool car_store_is_served(const char *place);
void car_store_close(car_store *store); /* NULL is legal */
/* Connects anew after the database was away. */
car_status car_store_reopen(car_store *store, car_error *error) CAR_CHECK_RESULT;
car_status car_store_query(car_store *store, const char *sql, const car_value *values, int count,
                           car_rows_read *rows, int64_t *changed,
                           car_error *error) CAR_CHECK_RESULT;
car_status car_store_begin(car_store *store, car_error *error) CAR_CHECK_RESULT;
car_status car_store_commit(car_store *store, car_error *error) CAR_CHECK_RESULT;
void car_store_rollback(car_store *store);
/* Commits when `status` is CAR_OK, else rolls back and returns it. */
car_status car_store_end(car_store *store, car_status status, car_error *error) CAR_CHECK_RESULT;
/* store_sqlite.c: is a file system of this statfs type on another machine? */
bool car_store_is_network(long type);

/* ---- schema.c ----------------------------------------------------------------------------------------- */

enum { CAR_STORE_VERSION = 1 };
car_status car_schema_check(car_store *store, bool create, car_error *error) CAR_CHECK_RESULT;

/* ---- study.c ------------------------------------------------------------------------------------------ */

enum { CAR_STUDY_SEEDS = 64, CAR_STUDY_TRIES = 3 };

typedef struct car_study {
    car_store *store; /* borrowed */
    car_arena *arena;
    const char *name;
    car_search_settings settings;
    const char *reference; /* key of the cell that the others are compared with */
} car_study;

/* At most CAR_STUDY_SEEDS cells, no two of one key: CAR_USAGE. */
car_status car_study_check_cells(const car_cell *const *cells, int count,
                                 car_error *error) CAR_CHECK_RESULT;
/* Makes a study whose list starts with `cells`; the first is the reference. CAR_USAGE: the name is taken, two cells have
 * one key. */
car_status car_study_start(car_store *store, const char *name, const car_search_settings *settings,
                           const car_cell *const *cells, int count,
                           car_error *error) CAR_CHECK_RESULT;
/* CAR_USAGE: no study of this name (it tells which there are). */
car_status car_study_open(car_store *store, const char *name, car_study *study,
                          car_error *error) CAR_CHECK_RESULT;
void car_study_close(car_study *study); /* a zeroed one is legal */
/* fingerprint + init: what makes a cell another one. Lives in the arena; NULL: out of memory. */
const char *car_study_key(const car_cell *cell, car_arena *arena);

/* ---- view.c ------------------------------------------------------------------------------------------- */

typedef struct car_study_result {
    int trial; /* in the view's trials */
    const char *task, *setting;
    double accuracy, nats, measure;
    int64_t updates, units, diverged;
} car_study_result;
typedef struct car_study_trial {
    int64_t number, seed, updates, fence, tries;
    const char *key, *kind, *state, *ended, *worker, *proposal, *message;
    double lease, seconds;
    int cell; /* in the view's cells */
    double
        score; /* of this trial alone: min over the tasks of measure / the reference's best; NaN: not all tasks */
    double finished; /* when, by the database's clock; NaN: not yet */
} car_study_trial;
typedef struct car_study_cell {
    const char *key, *name, *text, *parent; /* parent: its key; NULL: the list started with it */
    int64_t first;                          /* trial that brought it */
    int trials, done, dropped_early;        /* dropped_early: by the first filter */
    bool complete;                          /* some trial came through all tasks */
    double best[CAR_SEARCH_TASKS];          /* best measure; NaN: none */
    double accuracy[CAR_SEARCH_TASKS], nats[CAR_SEARCH_TASKS]; /* of that one */
    double ratio[CAR_SEARCH_TASKS];                            /* best / the reference's best */
    double score; /* the least ratio; NaN: not complete */
} car_study_cell;
/* All that is known of a study. */
typedef struct car_study_view {
    car_arena *arena;
    double now;
    int cell_count, trial_count, result_count, listed;
    car_study_cell *cells;     /* in the order in which they came */
    car_study_trial *trials;   /* by number */
    car_study_result *results; /* by trial, in the order of the tasks */
    int *
        list; /* [listed] the best complete cells, the best first: all of them; the search takes the first */
    double reference[CAR_SEARCH_TASKS]; /* best measure of the reference cell; NaN: none yet */
} car_study_view;
car_status car_study_look(const car_study *study, car_study_view *view,
                          car_error *error) CAR_CHECK_RESULT;
/* The same within a transaction that has locked the study. */
car_status car_study_look_within(const car_study *study, car_study_view *view,
                                 car_error *error) CAR_CHECK_RESULT;
void car_study_view_free(car_study_view *view); /* a zeroed one is legal */
/* A cell by name, key or the number of a place on the list; -1: none. */
int car_study_find(const car_study_view *view, const char *name);

/* ---- queue.c ------------------------------------------------------------------------------------------ */

/* A trial to be queued. Texts are borrowed. */
typedef struct car_proposal {
    const char *kind; /* "seed", "mutation", "again", "told" */
    const car_cell *cell;
    const char *parent; /* key or NULL */
    const char *
        settings; /* JSON: {"memory":SETTING|null,"settings":[[SETTING,...],...],"least":[X,...]} */
    uint64_t seed;
} car_proposal;

typedef struct car_claim {
    int64_t number, fence;
    uint64_t seed;
    car_arena *arena;
    const char *key, *text, *proposal, *kind;
} car_claim;
void car_claim_free(car_claim *claim); /* a zeroed one is legal */

/* Puts a trial in, within a transaction; returns its number. */
car_status car_queue_put(const car_study *study, const car_proposal *proposal, int64_t *number,
                         car_error *error) CAR_CHECK_RESULT;
/* Locks the study within a transaction; how many trials it has. */
car_status car_queue_lock(const car_study *study, int64_t *trials,
                          car_error *error) CAR_CHECK_RESULT;
/* Takes the next waiting trial for `lease` seconds; *got false: none waits. Leases that have run out, and those of dead
 * processes of this machine, are put back first. */
car_status car_queue_claim(const car_study *study, const char *worker, double lease, bool *got,
                           car_claim *claim, car_error *error) CAR_CHECK_RESULT;
/* How many wait or run. */
car_status car_queue_open(const car_study *study, int64_t *open, car_error *error) CAR_CHECK_RESULT;
/* Is the trial still ours? If so its lease is longer now. */
car_status car_queue_keep(const car_study *study, const car_claim *claim, double lease, bool *ours,
                          car_error *error) CAR_CHECK_RESULT;
/* Back to waiting; does not count as a try. */
car_status car_queue_return(const car_study *study, const car_claim *claim,
                            car_error *error) CAR_CHECK_RESULT;

typedef struct car_trial_result {
    const char *task;
    double accuracy, nats, measure;
    int64_t updates;
    int units, diverged;
    car_setting_values setting; /* layers 0: not told */
} car_trial_result;
typedef struct car_trial_outcome {
    const char *ended; /* "finished", "memory", a task it was not good enough at, "failed" */
    char message[256]; /* why it failed */
    double seconds;
    int64_t updates;
    int count;
    car_trial_result results[CAR_SEARCH_TASKS + 1];
} car_trial_outcome;
/* All results and the end of a trial, at once. *counted false: the token was another's by now, and nothing was written. */
car_status car_queue_finish(const car_study *study, const car_claim *claim,
                            const car_trial_outcome *outcome, bool *counted,
                            car_error *error) CAR_CHECK_RESULT;
/* This process: machine, name space and number. */
void car_worker_name(char *name, size_t size);

/* ---- propose.c ---------------------------------------------------------------------------------------- */

/* Of the first weights of trial `number`; below 2^52. */
uint64_t car_propose_seed(const car_search_settings *settings, int64_t number);
/* The JSON of a proposal: settings drawn for trial `number`, `count` a task; least NULL: no filter. */
void car_propose_settings(const car_search_settings *settings, int64_t number, int count,
                          bool filtered, const double *least, car_text *text);
typedef enum car_next {
    CAR_NEXT_PUT,  /* a trial has been put in */
    CAR_NEXT_WAIT, /* nothing can be proposed before trials that run have ended */
    CAR_NEXT_END   /* the study has all its trials */
} car_next;
/* Proposes the next trial: a function of the study's seed, the number of the trial and what is known by then. */
car_status car_propose(const car_study *study, car_next *next, car_error *error) CAR_CHECK_RESULT;

/* ---- trial.c ------------------------------------------------------------------------------------------ */

/* The tasks of a study, opened. */
typedef struct car_trial_tasks {
    car_task *memory; /* NULL: no first filter */
    int count;
    car_task *tasks[CAR_SEARCH_TASKS];
} car_trial_tasks;
car_status car_trial_open(const car_search_settings *settings, car_trial_tasks *tasks,
                          car_error *error) CAR_CHECK_RESULT;
void car_trial_close(car_trial_tasks *tasks); /* a zeroed one is legal */
/* Runs a stored row: the same row gives the same bits. Errors of the cell are an outcome ("failed"). */
car_status car_trial_run(const car_search_settings *settings, const car_trial_tasks *tasks,
                         const char *cell_text, const char *proposal, uint64_t seed,
                         const car_run_tick *tick, bool *stopped, car_trial_outcome *outcome,
                         car_error *error) CAR_CHECK_RESULT;

/* ---- ablate.c ----------------------------------------------------------------------------------------- */

enum { CAR_ABLATION_GATES = 16, CAR_ABLATION_SEEDS = 30 };
/* The name of gate `index`; NULL: none. */
const char *car_ablate_gate(const car_cell *cell, int index);
/* CAR_DATA: what is left is no cell. */
car_status car_ablate(const car_cell *cell, int index, car_cell **without,
                      car_error *error) CAR_CHECK_RESULT;
typedef struct car_ablation {
    const char *gate;                                       /* borrowed from the cell */
    bool possible;                                          /* false: what is left is no cell */
    double whole[CAR_SEARCH_TASKS], left[CAR_SEARCH_TASKS]; /* mean accuracy with and without */
    double drop[CAR_SEARCH_TASKS], half[CAR_SEARCH_TASKS];  /* mean and half of its 95 % interval */
} car_ablation;
/* Every gate on every task, `seeds` times (at most CAR_ABLATION_SEEDS). best: a setting a task. ablations
 * [CAR_ABLATION_GATES]. */
car_status car_ablate_all(const car_search_settings *settings, const car_trial_tasks *tasks,
                          const car_cell *cell, const car_setting_values *best, int seeds,
                          const car_run_tick *tick, bool *stopped, car_ablation *ablations,
                          int *count, car_error *error) CAR_CHECK_RESULT;

/* ---- study_page.c ------------------------------------------------------------------------------------- */

/* A study as one HTML file: how it went, who came from whom, the best `cells` as equations, what their gates are worth
 * (ablations of the best one; count 0: none were made). */
car_status car_study_page(const car_study *study, const car_study_view *view, int cells,
                          const car_ablation *ablations, int count, int seeds, car_text *text,
                          car_error *error) CAR_CHECK_RESULT;

/* ---- work.c ------------------------------------------------------------------------------------------- */

typedef struct car_work_options {
    double lease;    /* seconds without a sign of life after which a trial is another's */
    int64_t trials;  /* to do at most; 0: until the study ends */
    double patience; /* seconds to wait for a database that is away; 0: for ever */
    const volatile sig_atomic_t *stop;
    void *context;
    void (*began)(void *context, const car_claim *claim); /* both may be NULL */
    void (*ended)(void *context, const car_claim *claim, const car_trial_outcome *outcome,
                  bool counted);
    void (*away)(void *context, const char *message); /* the database is away */
} car_work_options;
/* Works on trials until there are no more. */
car_status car_work(car_study *study, const car_work_options *options,
                    car_error *error) CAR_CHECK_RESULT;

#endif
