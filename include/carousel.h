/*
 * carousel.h - recurrent networks whose cells are equations.
 *
 * The only public header. A cell (rnn, lstm, gru, your own) is a few lines of text; it is compiled into
 * packed matrix products and fused elementwise programs, trained, and run a step or a sequence at a time.
 *
 * A complete program (cc program.c $(pkg-config --cflags --libs carousel)):
 *
 *     #include <carousel.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         car_error error;
 *         car_net *net;
 *         car_model *model;
 *         car_session *session;
 *         car_model_options sizes = {.input_size = 3, .output_size = 2, .seed = 1};
 *         float input[3] = {1, 0, -1}, output[2];
 *         if (car_net_parse("lstm 16 | linear", NULL, 0, NULL, &net, &error) ||
 *             car_model_create(net, &sizes, NULL, &model, &error) ||
 *             car_session_create(model, NULL, NULL, &session, &error) ||
 *             car_session_step(session, input, output, &error)) {
 *             fprintf(stderr, "%s\n", error.message);
 *             return (int)error.status;
 *         }
 *         printf("%g %g\n", output[0], output[1]);
 *         car_session_free(session);
 *         car_model_free(model);
 *         car_net_free(net);
 *         return 0;
 *     }
 *
 * Threads:   a car_cell, car_net or car_model is immutable once made and may be shared; a car_session or
 *            car_trainer belongs to one thread at a time. The library keeps no writable globals.
 * Ownership: X_create/X_load/X_compile makes, X_free releases; X_free(NULL) is legal. Text and arrays that
 *            are passed in are copied unless the call says "borrowed".
 * Errors:    calls that can fail return a car_status and fill the caller's car_error (may be NULL) with the
 *            place, the cause and the next step. The library never exits, aborts or prints.
 * Numbers:   float32, row-major. [T][B][n] means T time steps of B lanes of n values, n changing fastest.
 */
#ifndef CAROUSEL_H
#define CAROUSEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAR_API __attribute__((visibility("default")))
#define CAR_CHECK_RESULT __attribute__((warn_unused_result))

/* ---- Status and errors -------------------------------------------------------------------------------- */

/* name, value (pinned: it is also the exit code of the command-line program), text */
#define CAR_STATUS_MAP(X)                                                                          \
    X(OK, 0, "ok")                                                                                 \
    X(FAILED, 1, "failed")                                                                         \
    X(USAGE, 2, "wrong call, option or net text")                                                  \
    X(DATA, 3, "bad input data")                                                                   \
    X(MODEL, 4, "bad model file")                                                                  \
    X(IO, 5, "cannot read or write")                                                               \
    X(MEMORY, 6, "out of memory")                                                                  \
    X(DIVERGED, 7, "training diverged")

typedef enum car_status {
#define X(name, value, text) CAR_##name = value,
    CAR_STATUS_MAP(X)
#undef X
} car_status;

/* line and column count from 1; 0 when there is no place in a text to name. */
typedef struct car_error {
    car_status status;
    int line, column;
    char message[512]; /* one line, names place, cause and next step */
} car_error;

/* "ok", "bad model file", ...; never NULL. */
CAR_API const char *car_status_text(car_status status);

/* Where memory comes from. `allocate` returns NULL when it fails; alignment is a power of two, at most 64.
 * NULL in place of an allocator means the C library's. It must outlive what was made with it. */
typedef struct car_allocator {
    void *context;
    void *(*allocate)(void *context, size_t size, size_t alignment);
    void (*release)(void *context, void *block);
} car_allocator;

/* ---- Cells -------------------------------------------------------------------------------------------- */

/* A compiled cell: its equations as a checked graph, the gradient graph, and a fingerprint. */
typedef struct car_cell car_cell;

/* Compiles the text of a cell (docs/cells.md). `origin` names the text in messages ("my.cell").
 * CAR_DATA with line and column: syntax, unknown name, cycle, unused name, shape. Cost: below 1 ms. */
CAR_API car_status car_cell_compile(const char *text, size_t length, const char *origin,
                                    const car_allocator *allocator, car_cell **cell,
                                    car_error *error) CAR_CHECK_RESULT;
CAR_API void car_cell_free(car_cell *cell);
CAR_API const char *car_cell_name(const car_cell *cell);        /* owned by the cell */
CAR_API const char *car_cell_text(const car_cell *cell);        /* as given */
CAR_API const char *car_cell_fingerprint(const car_cell *cell); /* 32 hex digits; equal for equal maths */

/* Optional: makes machine code of the cell's elementwise programs, with the C compiler of this machine (CC, else `cc`),
 * for the present CPU level. Nets, models and trainers that are made from the cell afterwards use it; the bits are the
 * same as the interpreter's. The result is kept in $XDG_CACHE_HOME/carousel or ~/.cache/carousel (mode 0700, safe with
 * processes at the same time). Programs that are built in need no compiler. Before the cell is shared by threads.
 * CAR_FAILED: no compiler, no folder, CAROUSEL_NATIVE=0 ...; the message says which, and the cell works as before.
 * Cost: about 0.3 s the first time, a few ms after that; the compiler is stopped after 30 s. Never called by the library. */
CAR_API car_status car_cell_compile_native(car_cell *cell, car_error *error);

/* The cells that come with the library: index 0 .. car_zoo_count()-1. Static texts. */
CAR_API int car_zoo_count(void);
CAR_API const char *car_zoo_name(int index); /* NULL beyond the last */
CAR_API const char *car_zoo_text(const char *name); /* NULL: no such cell */

/* ---- Nets --------------------------------------------------------------------------------------------- */

/* A parsed net: `embed 128 | lstm 512 x2 dropout 0.5 | softmax` (docs/nets.md). */
typedef struct car_net car_net;

/* `cells` (may be NULL) are cells of your own that the text may use by name, before those of the zoo.
 * They are copied. CAR_USAGE with the column for a word that does not fit. */
CAR_API car_status car_net_parse(const char *text, const car_cell *const *cells, int cell_count,
                                 const car_allocator *allocator, car_net **net,
                                 car_error *error) CAR_CHECK_RESULT;
CAR_API void car_net_free(car_net *net);
CAR_API const char *car_net_text(const car_net *net);

/* ---- Models ------------------------------------------------------------------------------------------- */

/* A net with sizes and weights. Immutable, may be shared by threads and sessions. */
typedef struct car_model car_model;

typedef struct car_model_options {
    int input_size;  /* ids that `embed` knows (vocabulary), or values a step when there is no embed */
    int output_size; /* classes or raw outputs of the head: `quantile` has one for each level of a target, `gaussian` 2,
                        `studentt` 3, side by side (docs/nets.md) */
    uint64_t seed;
    const char *init;      /* matrices: "uniform" (1/sqrt(n)), "uniform(0.1)", "orthogonal", "walk"; NULL: uniform.
                              Precedence: this > the net's > the cell's > default, for what it names */
    const char *bias_init; /* "bf=1,bo=0": these parameters of every cell; NULL: none */
    const char *precision; /* "f32" or "bf16": of the operands of all matrix products, when it runs and when it is
                              trained; weights are kept, sums and states made in f32 always. NULL: f32.
                              "int8" has to be trained first: car_model_convert */
} car_model_options;

CAR_API car_status car_model_create(const car_net *net, const car_model_options *options,
                                    const car_allocator *allocator, car_model **model,
                                    car_error *error) CAR_CHECK_RESULT;
/* Reads a safetensors file written by car_model_save; every byte is checked. CAR_IO, CAR_MODEL, CAR_MEMORY. */
CAR_API car_status car_model_load(const char *path, const car_allocator *allocator, car_model **model,
                                  car_error *error) CAR_CHECK_RESULT;
/* Written to a sibling file, synced and renamed: a failure leaves an older file as it was. */
CAR_API car_status car_model_save(const car_model *model, const char *path,
                                  car_error *error) CAR_CHECK_RESULT;
/* A copy in another precision ("f32", "bf16", "int8"), with metadata. In int8 each row of a matrix and of the embedding
 * is whole numbers -127..127 times a scale, and nothing else is kept of it: a quarter of the bytes, in memory and in a
 * file. Such a model is run, not trained; converted back, it has the rounded weights. Operands become whole numbers too,
 * by the scale 1/127 where the cell's equations bound them by 1, else by the largest of their row; a state set from
 * outside beyond such a bound counts as the bound in products. CAR_MODEL: a weight is not finite. */
CAR_API car_status car_model_convert(const car_model *model, const char *precision,
                                     const car_allocator *allocator, car_model **copy,
                                     car_error *error) CAR_CHECK_RESULT;
/* car_cell_compile_native for every cell of a model that has been loaded; before it is shared or copied. */
CAR_API car_status car_model_compile_native(car_model *model, car_error *error);
CAR_API void car_model_free(car_model *model);
CAR_API const char *car_model_net(const car_model *model); /* the net's text */
CAR_API const char *car_model_precision(const car_model *model); /* "f32", "bf16" or "int8" */
CAR_API int car_model_input_size(const car_model *model);
CAR_API int car_model_output_size(const car_model *model);
CAR_API int64_t car_model_parameter_count(const car_model *model); /* scalars, padding not counted */
CAR_API size_t car_model_bytes(const car_model *model); /* of memory, for its weights and their copies */
/* Strings kept in the file (vocabulary, training record); NULL: absent. Keys of the library start with "carousel.". */
CAR_API const char *car_model_metadata(const car_model *model, const char *key);
CAR_API car_status car_model_set_metadata(car_model *model, const char *key, const char *value,
                                          car_error *error) CAR_CHECK_RESULT; /* before it is shared */

/* ---- Sessions: running a model ------------------------------------------------------------------------ */

/* The state of `lanes` independent sequences and the buffers to run them. One allocation. */
typedef struct car_session car_session;

typedef struct car_session_options {
    int lanes;   /* sequences side by side; 0: 1 */
    int steps;   /* most steps of one car_session_run; longer runs are cut into chunks; 0: 32 */
    int threads; /* of car_session_run; 0: 1 */
} car_session_options;

/* CAR_USAGE for nets with `bi`, `last` or `mean`: they need the whole sequence. The model is borrowed. */
CAR_API car_status car_session_create(const car_model *model, const car_session_options *options,
                                      const car_allocator *allocator, car_session **session,
                                      car_error *error) CAR_CHECK_RESULT;
CAR_API size_t car_session_bytes(const car_model *model, const car_session_options *options); /* of that; 0: refused */
CAR_API void car_session_free(car_session *session);
/* One step of every lane on the caller's thread: no allocation, lock or system call.
 * input: ids int32 [lanes] when the net starts with embed, else values float [lanes][input_size].
 * output: float [lanes][output_size], the head's raw values (logits for softmax); NULL: nobody asks for them, the head is not run
 * (a prompt of which the last step alone matters). CAR_DATA: an id out of range. */
CAR_API car_status car_session_step(car_session *session, const void *input, float *output,
                                    car_error *error) CAR_CHECK_RESULT;
/* The same for those lanes whose `active` [lanes] is true, and only they are paid for. The others keep their state, their
 * input is not looked at and their output stays as it was. A lane has the bits of a session of its own whatever the
 * others do, so streams may come and go: car_session_reset seats a new one in a lane, car_session_set_state one that
 * was elsewhere; a lane that is no longer active is free. */
CAR_API car_status car_session_step_active(car_session *session, const bool *active,
                                           const void *input, float *output,
                                           car_error *error) CAR_CHECK_RESULT;
/* `steps` steps: input [steps][lanes]..., output [steps][lanes][output_size] or NULL. The same bits as steps single ones. */
CAR_API car_status car_session_run(car_session *session, int steps, const void *input, float *output,
                                   car_error *error) CAR_CHECK_RESULT;
CAR_API void car_session_reset(car_session *session, int lane); /* -1: all lanes; the cell's initial state */
/* The state of a lane as floats, to save, copy or restore: all layers in order, their states in order. */
CAR_API size_t car_session_state_size(const car_session *session); /* floats a lane */
CAR_API void car_session_get_state(const car_session *session, int lane, float *state);
CAR_API void car_session_set_state(car_session *session, int lane, const float *state);

/* ---- Trainers ----------------------------------------------------------------------------------------- */

/* Trains a copy of a model: weights, gradients, moments, carried state. */
typedef struct car_trainer car_trainer;

typedef struct car_trainer_options {
    int batch;             /* lanes */
    int steps;             /* time steps unrolled in one update (truncated BPTT) */
    int threads;           /* 0: all processors, or one for a net too small to share */
    const char *optimizer; /* "sgd", "adam", "adamw", "rmsprop"; NULL: "adam" */
    float momentum;        /* sgd */
    float beta1, beta2;    /* adam; rmsprop uses beta2; 0: 0.9, 0.999 */
    float epsilon;         /* 0: 1e-8 */
    float decay;           /* weight decay */
    float clip_norm;       /* 0: off. Gradient of the mean loss is scaled to this norm when above */
    float clip_value;      /* 0: off */
    uint64_t seed;         /* dropout */
} car_trainer_options;

/* Rows are [steps][batch]. A net with `each` has a target a row, with last/mean one a lane [batch]. Sequences that differ
 * in length cost their real steps: rows beyond a lane's own length are neither read nor counted, `last`, `mean`, `bi`
 * and the carried state go by the lane's own last step, and a lane of length 0 takes no part. */
typedef struct car_batch {
    int steps;          /* <= options.steps; with `patch N` a multiple of N, as all lengths; rows of `each` are steps/N */
    bool reset;         /* start all lanes from the initial state; else go on from the batch before */
    const void *input;  /* ids int32 or values float [steps][batch][input_size]; borrowed during the call */
    const void *target; /* softmax: classes int32 (-1: not counted); others: float [..][output_size], but [..][output_size / n] of
                           heads with n outputs a target */
    const int *lengths; /* [batch] steps of each lane, 0..steps; NULL: all of them; borrowed likewise */
} car_batch;

typedef struct car_step_result {
    double loss;          /* mean over the counted targets: nats for softmax and sigmoid, squared error for linear */
    int64_t counted;      /* targets */
    double gradient_norm; /* before clipping */
    bool clipped;         /* by norm or by value */
} car_step_result;

CAR_API car_status car_trainer_create(const car_model *model, const car_trainer_options *options,
                                      const car_allocator *allocator, car_trainer **trainer,
                                      car_error *error) CAR_CHECK_RESULT;
/* Bytes of memory of such a trainer, its own copy of the model included, which are all that training takes but for the
 * caller's data; 0: refused. */
CAR_API size_t car_trainer_bytes(const car_model *model, const car_trainer_options *options);
CAR_API void car_trainer_free(car_trainer *trainer);
/* One update with learning rate `rate`. CAR_DIVERGED when loss or gradient is not finite: the message names
 * layer, gate and time step, and weights are as before the call. */
CAR_API car_status car_trainer_step(car_trainer *trainer, const car_batch *batch, float rate,
                                    car_step_result *result, car_error *error) CAR_CHECK_RESULT;
/* The loss of a batch with the present weights; no dropout, no update; carried state of its own. */
CAR_API car_status car_trainer_evaluate(car_trainer *trainer, const car_batch *batch,
                                        car_step_result *result, car_error *error) CAR_CHECK_RESULT;
CAR_API const car_model *car_trainer_model(const car_trainer *trainer); /* borrowed; the present weights */
CAR_API int64_t car_trainer_updates(const car_trainer *trainer);        /* done so far */
/* Everything that a bit-exact resume needs (weights, moments, carried state, counters) in one container. */
CAR_API car_status car_trainer_save(const car_trainer *trainer, const char *path,
                                    car_error *error) CAR_CHECK_RESULT;
CAR_API car_status car_trainer_load(const char *path, int threads, const car_allocator *allocator,
                                    car_trainer **trainer, car_error *error) CAR_CHECK_RESULT;

/* ---- The library and the machine ---------------------------------------------------------------------- */

CAR_API const char *car_version(void);
/* "avx512", "avx2" or "baseline": the level that new models, sessions and trainers run at; can be lowered by the
 * environment variable CAROUSEL_CPU. NULL with *error filled when that variable is not understood. */
CAR_API const char *car_cpu_level_name(car_error *error);

#ifdef __cplusplus
}
#endif
#endif
