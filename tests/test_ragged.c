/*
 * test_ragged.c: sequences of unequal length in one batch.
 *
 * A lane's outputs, states and input gradients are those of its sequence run alone, bit for bit; what stands beyond its
 * last step (poisoned here) is neither read nor written; the weights' gradient does not depend on the capacity of the
 * buffers, on empty lanes or on threads, and is the sum over the sequences. First a layer of every cell of the zoo,
 * then nets with every head, then updates.
 */
#include "network_helpers.h"
#include "train.h"
#include <math.h>

enum { LANES = 6, MOST_STEPS = 7 };
static const int LENGTHS[LANES] = {3, 7, 1, 0, 7, 4};
static const car_random_key NUMBERS = {11, CAR_RANDOM_TEST, 0};

static float number_at(uint64_t purpose, size_t index) {
    return 2 * car_random_uniform(NUMBERS, purpose, index) - 1;
}

static float *numbers(uint64_t purpose, size_t count) {
    float *out = car_allocate(NULL, count, sizeof *out);
    for (size_t i = 0; i < count; i++)
        out[i] = number_at(purpose, i);
    return out;
}

/* ---- The order of the rows ---------------------------------------------------------------------------- */

typedef struct placed_rows {
    car_rows rows;
    void *memory;
} placed_rows;

static placed_rows place_rows(int batch, int capacity, int steps, const int *lengths) {
    car_layout layout = {0};
    placed_rows placed;
    car_rows_lay(&placed.rows, batch, capacity, &layout, NULL);
    placed.memory = car_allocate(NULL, layout.size, 1);
    layout = (car_layout){0};
    car_rows_lay(&placed.rows, batch, capacity, &layout, placed.memory);
    car_rows_set(&placed.rows, steps, lengths);
    return placed;
}

static void lanes_are_sorted_and_counted(void **state) {
    (void)state;
    static const int lane[] = {1, 4, 5, 0, 2, 3}, length[] = {7, 7, 4, 3, 1, 0};
    static const int first[] = {0, 5, 9, 13, 16, 18, 20, 22};
    placed_rows placed = place_rows(LANES, MOST_STEPS + 2, MOST_STEPS + 1, LENGTHS);
    const car_rows *rows = &placed.rows;
    assert_int_equal(rows->steps, 7);
    assert_false(rows->even);
    assert_int_equal(car_rows_count(rows), 22);
    assert_memory_equal(rows->lane, lane, sizeof lane);
    assert_memory_equal(rows->length, length, sizeof length);
    assert_memory_equal(rows->first, first, sizeof first);
    assert_int_equal(rows->first[-1], -5);
    car_rows_set(&placed.rows, 3, NULL);
    assert_true(rows->even);
    assert_int_equal(car_rows_count(rows), 3 * LANES);
    static const int equal[LANES] = {2, 2, 2, 2, 2, 2}, none[LANES] = {0};
    car_rows_set(&placed.rows, 5, equal);
    assert_true(rows->even);
    assert_int_equal(rows->steps, 2);
    car_rows_set(&placed.rows, 5, none);
    assert_int_equal(car_rows_count(rows), 0);
    car_release(NULL, placed.memory);
}

/* ---- A layer of every cell ---------------------------------------------------------------------------- */

typedef struct bench {
    struct car_cell *cell;
    car_plan *plan;
    const car_kernels *kernels;
    int padded, row;
    float *weights, *transposed;
} bench;

static bench open_bench(const char *text, const char *name, int units) {
    bench b = {.kernels = car_kernels_of(car_cpu_highest()), .padded = car_padded(units)};
    const car_plan_options options = {.training = true};
    const car_shape input = {units, 1};
    car_error error = {0};
    require(car_cell_compile(text, strlen(text), name, NULL, &b.cell, &error), &error);
    require(car_plan_create(b.cell, input, units, &options, NULL, &b.plan, &error), &error);
    b.row = (int)car_shape_row_stride(input);
    b.weights = car_allocate(NULL, car_plan_weight_floats(b.plan), sizeof(float));
    b.transposed = car_allocate(NULL, car_plan_transposed_floats(b.plan) + 1, sizeof(float));
    for (int p = 0; p < b.cell->parameter_count; p++) {
        size_t count = (size_t)units * (size_t)car_plan_columns(b.plan, p);
        float *logical = numbers(100 + (uint64_t)p, count);
        for (size_t i = 0; i < count; i++)
            logical[i] *= b.cell->parameters[p].kind == CAR_MATRIX ? 0.2f : 0.5f;
        car_plan_pack(b.plan, p, logical, b.weights);
        car_release(NULL, logical);
    }
    const car_weight_copies copies = {.transposed = b.transposed, .input = true};
    car_plan_copy(b.plan, b.kernels, b.weights, &copies, 0, 1);
    return b;
}

static void close_bench(bench *b) {
    car_release(NULL, b->weights);
    car_release(NULL, b->transposed);
    car_plan_free(b->plan);
    car_cell_free(b->cell);
}

/* What one call gives, its rows as the caller counts them, [steps][batch]. */
typedef struct outcome {
    int batch;
    float *y, *dx, *gradient;
    float *state, *state_gradient; /* [states][batch][padded] */
} outcome;

static void free_outcome(outcome *out) {
    car_release(NULL, out->y);
    car_release(NULL, out->dx);
    car_release(NULL, out->gradient);
    car_release(NULL, out->state);
    car_release(NULL, out->state_gradient);
}

/* Lane b of the call is sequence sequences[b], whose numbers depend on (sequence, step) alone. */
typedef struct layer_call {
    int batch, capacity;
    const int *sequences, *lengths;
    bool reverse;
    int threads;
    int input_stride; /* 0: as the input's shape says */
} layer_call;

static void fill_row(float *row, int units, uint64_t purpose, int sequence, int step) {
    for (int k = 0; k < units; k++)
        row[k] = number_at(purpose, (size_t)(sequence * 100 + step) * 1000 + (size_t)k);
}

static size_t caller_row(const car_rows *rows, int step, int k) {
    return (size_t)(step * rows->batch + rows->lane[k]);
}

static outcome run_layer(const bench *b, const layer_call *call, float *gradient) {
    int units = car_plan_units(b->plan), batch = call->batch, states = b->cell->state_count;
    const car_layer_shape shape = {batch, call->capacity, true, call->reverse, call->threads, true};
    void *memory = car_allocate(NULL, car_layer_size(b->plan, &shape), 1);
    car_layer *layer = car_layer_place(b->plan, &shape, b->kernels, memory);
    placed_rows placed = place_rows(batch, call->capacity, call->capacity, call->lengths);
    const car_rows *rows = &placed.rows;
    size_t capacity = (size_t)call->capacity * (size_t)batch, lane_floats = (size_t)b->padded;
    outcome out = {.batch = batch,
                   .y = car_allocate(NULL, capacity * lane_floats, sizeof(float)),
                   .dx = car_allocate(NULL, capacity * (size_t)b->row, sizeof(float)),
                   .state = car_allocate(NULL, (size_t)(states * batch) * lane_floats + 1, 4),
                   .state_gradient =
                       car_allocate(NULL, (size_t)(states * batch) * lane_floats + 1, 4)};
    const size_t stride = (size_t)(call->input_stride ? call->input_stride : b->row);
    const size_t behind = call->input_stride ? stride - (size_t)units : 0; /* the last row */
    float *x = car_allocate(NULL, capacity * stride - behind, sizeof(float));
    float *dx = car_allocate(NULL, capacity * (size_t)b->row, sizeof(float));
    float *dy = car_allocate(NULL, capacity * lane_floats, sizeof(float));
    for (int t = 0; t < rows->steps; t++)
        for (int k = 0; k < car_rows_active(rows, t); k++) {
            int row = rows->first[t] + k, sequence = call->sequences[rows->lane[k]];
            fill_row(x + (size_t)row * stride, units, 1, sequence, t);
            fill_row(dy + (size_t)row * lane_floats, units, 2, sequence, t);
        }
    for (int s = 0; s < states; s++)
        for (int lane = 0; lane < batch; lane++) {
            size_t at = (size_t)lane * lane_floats;
            fill_row(car_layer_start(layer, s) + at, units, 3, call->sequences[lane], s);
            fill_row(car_layer_state_gradient(layer, s) + at, units, 4, call->sequences[lane], s);
        }
    car_layer_forward_rows(layer, rows, x, (int64_t)stride, b->weights);
    for (int t = 0; t < rows->steps; t++)
        for (int k = 0; k < car_rows_active(rows, t); k++)
            memcpy(out.y + caller_row(rows, t, k) * lane_floats,
                   car_layer_output(layer, t) + k * b->padded, lane_floats * sizeof(float));
    car_layer_backward(layer, x, b->weights, b->transposed, dy, dx, gradient, true);
    car_layer_carry(layer);
    for (int t = 0; t < rows->steps; t++)
        for (int k = 0; k < car_rows_active(rows, t); k++)
            memcpy(out.dx + caller_row(rows, t, k) * (size_t)b->row,
                   dx + (size_t)(rows->first[t] + k) * (size_t)b->row,
                   (size_t)b->row * sizeof(float));
    for (int s = 0; s < states; s++) {
        size_t at = (size_t)(s * batch) * lane_floats, bytes = (size_t)batch * lane_floats * 4;
        memcpy(out.state + at, car_layer_start(layer, s), bytes);
        memcpy(out.state_gradient + at, car_layer_state_gradient(layer, s), bytes);
    }
    car_release(NULL, x);
    car_release(NULL, dx);
    car_release(NULL, dy);
    car_release(NULL, placed.memory);
    car_release(NULL, memory);
    return out;
}

/* Lane `a_lane` of a is lane `b_lane` of b, `steps` steps long. */
static void assert_same_lane(const bench *b, const outcome *one, int one_lane, const outcome *other,
                             int other_lane, int steps) {
    size_t padded = (size_t)b->padded, row = (size_t)b->row;
    for (int t = 0; t < steps; t++) {
        size_t p = (size_t)(t * one->batch + one_lane), q = (size_t)(t * other->batch + other_lane);
        assert_memory_equal(one->y + p * padded, other->y + q * padded, padded * sizeof(float));
        assert_memory_equal(one->dx + p * row, other->dx + q * row, row * sizeof(float));
    }
    for (int s = 0; s < b->cell->state_count; s++) {
        size_t p = (size_t)(s * one->batch + one_lane), q = (size_t)(s * other->batch + other_lane);
        assert_memory_equal(one->state + p * padded, other->state + q * padded, padded * 4);
        assert_memory_equal(one->state_gradient + p * padded, other->state_gradient + q * padded,
                            padded * sizeof(float));
    }
}

/* Largest difference of two gradients, relative to the largest value. */
static double difference(const float *a, const float *b, size_t count) {
    double most = 0, size = 1e-30;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)b[i]));
    }
    return most / size;
}

/* The same, bit for bit, from input rows without padding, or from some far apart, where they are only multiplied: one thread and
 * several, forward and in reverse, take these by turns. */
static void check_stride(const bench *b, const layer_call *call, const outcome *wanted,
                         const float *wanted_gradient) {
    const int units = car_plan_units(b->plan);
    const size_t floats = car_plan_weight_floats(b->plan);
    if (!car_plan_only_multiplies_input(b->plan))
        return;
    layer_call strided = *call;
    strided.input_stride = (call->threads > 1) == call->reverse ? units : 3 * units + 1;
    float *gradient = car_allocate(NULL, floats, sizeof(float));
    outcome out = run_layer(b, &strided, gradient);
    for (int lane = 0; lane < call->batch; lane++)
        assert_same_lane(b, wanted, lane, &out, lane, call->lengths[lane]);
    assert_memory_equal(gradient, wanted_gradient, floats * sizeof(float));
    free_outcome(&out);
    car_release(NULL, gradient);
}

static void only_what_multiplies_x_alone_reads_no_padding(void **state) {
    (void)state;
    static const char *const others[] = {
        "cell own(x) -> h\nstate h\nh' = tanh(x + U@h)\n",
        "cell own(x) -> h\nstate h\nh' = tanh(W@x + U@h)*mean(x)\n",
        "cell own(x) -> h\nstate h\nh' = tanh(W@x + U@h) + v*x\n"};
    bench b = open_bench(car_zoo_text("lstm"), "lstm", 19);
    assert_true(car_plan_only_multiplies_input(b.plan));
    close_bench(&b);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        b = open_bench(others[i], "own", 19);
        assert_false(car_plan_only_multiplies_input(b.plan));
        close_bench(&b);
    }
}

static void check_lengths(const char *text, const char *name, int units, const int *lengths,
                          int steps, bool reverse, int threads) {
    static const int sequences[] = {0, 1, 2, 3, 4, 5, 6, 7};
    bench b = open_bench(text, name, units);
    size_t floats = car_plan_weight_floats(b.plan);
    float *gradient = car_allocate(NULL, floats, sizeof(float));
    float *roomy = car_allocate(NULL, floats, sizeof(float));
    float *sum = car_allocate(NULL, floats, sizeof(float));
    const layer_call exact = {LANES, steps, sequences, lengths, reverse, threads, 0};
    outcome all = run_layer(&b, &exact, gradient);
    check_stride(&b, &exact, &all, gradient);
    for (int lane = 0; lane < LANES; lane++) {
        const layer_call alone = {1, steps, &sequences[lane], &lengths[lane], reverse, 1, 0};
        outcome one = run_layer(&b, &alone, sum);
        assert_same_lane(&b, &all, lane, &one, 0, lengths[lane]);
        free_outcome(&one);
    }
    assert_true(difference(gradient, sum, floats) < 1e-5);
    /* more steps than any lane has, empty lanes before, between and behind */
    static const int spread[] = {7, 0, 1, 6, 2, 4, 5, 7};
    const int apart[] = {0, lengths[0], lengths[1], 0, lengths[2], lengths[4], lengths[5], 0};
    const layer_call larger = {8, steps + 4, spread, apart, reverse, 1, 0};
    outcome wide = run_layer(&b, &larger, roomy);
    assert_memory_equal(gradient, roomy, floats * sizeof(float));
    assert_same_lane(&b, &all, 1, &wide, 2, lengths[1]);
    assert_same_lane(&b, &all, 5, &wide, 6, lengths[5]);
    free_outcome(&wide);
    free_outcome(&all);
    car_release(NULL, gradient);
    car_release(NULL, roomy);
    car_release(NULL, sum);
    close_bench(&b);
}

static void check_cell(const char *text, const char *name, int units, bool reverse, int threads) {
    check_lengths(text, name, units, LENGTHS, MOST_STEPS, reverse, threads);
}

/* More rows than one round behind the backward loop holds, and than one stretch of it. */
static void long_sequences_run_as_if_alone(void **state) {
    (void)state;
    static const int lengths[LANES] = {300, 500, 1, 0, 500, 200};
    for (int reverse = 0; reverse < 2; reverse++)
        for (int threads = 1; threads <= 2; threads++) {
            check_lengths(car_zoo_text("lstm"), "lstm", 19, lengths, 500, reverse, threads);
            check_lengths(car_zoo_text("gru-v1"), "gru-v1", 350, lengths, 500, reverse, threads);
            check_lengths(car_zoo_text("layernorm-lstm"), "layernorm-lstm", 130, lengths, 500,
                          reverse, threads);
        }
}

static void every_cell_runs_lanes_as_if_alone(void **state) {
    (void)state;
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo);
    for (int i = 0; i < count; i++)
        for (int reverse = 0; reverse < 2; reverse++)
            for (int threads = 1; threads <= 2; threads++)
                check_cell(zoo[i].text, zoo[i].name, 19, reverse, threads);
}

/* Threads that share the units meet at every step. */
static void threads_that_share_units_run_lanes_as_if_alone(void **state) {
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        check_cell(car_zoo_text("lstm"), "lstm", 231, reverse, 2);
        check_cell(car_zoo_text("gru-v1"), "gru-v1", 260, reverse, 3);
    }
}

/* y of a call whose lane k is sequence k, from the cell's start states: rows of [units], as they lie. */
static float *outputs_of(const bench *b, car_layer *layer, const car_rows *rows, float *x) {
    const size_t row = (size_t)b->row, padded = (size_t)b->padded;
    float *y = car_allocate(NULL, (size_t)car_rows_count(rows) * padded, sizeof(float));
    for (int t = 0; t < rows->steps; t++)
        for (int k = 0; k < car_rows_active(rows, t); k++)
            fill_row(x + (size_t)(rows->first[t] + k) * row, car_plan_units(b->plan), 1,
                     rows->lane[k], t);
    car_layer_reset(layer, -1);
    car_layer_forward_rows(layer, rows, x, car_shape_row_stride(car_plan_input(b->plan)),
                           b->weights);
    for (int t = 0; t < rows->steps; t++)
        memcpy(y + (size_t)rows->first[t] * padded, car_layer_output(layer, t),
               (size_t)car_rows_active(rows, t) * padded * sizeof(float));
    return y;
}

/* What a layer has worked out for one call must not be taken for another whose lanes, steps and memory are the same, but
 * whose lanes end elsewhere. */
static void check_other_lengths(const char *text, const char *name, bool reverse) {
    enum { LANES_HERE = 3, STEPS_HERE = 5 };
    static const int lengths[][LANES_HERE] = {{5, 5, 5}, {5, 1, 3}, {5, 4, 3}, {5, 5, 5}};
    bench b = open_bench(text, name, 19);
    const car_layer_shape shape = {LANES_HERE, STEPS_HERE, false, reverse, 1, false};
    const size_t bytes = car_layer_size(b.plan, &shape);
    void *memory = car_allocate(NULL, bytes, 1);
    car_layer *layer = car_layer_place(b.plan, &shape, b.kernels, memory);
    float *x = car_allocate(NULL, (size_t)(LANES_HERE * STEPS_HERE) * (size_t)b.row, 4);
    placed_rows placed = place_rows(LANES_HERE, STEPS_HERE, STEPS_HERE, lengths[0]);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        car_rows_set(&placed.rows, STEPS_HERE, lengths[i]);
        void *fresh = car_allocate(NULL, bytes, 1);
        float *y = outputs_of(&b, layer, &placed.rows, x);
        float *expected =
            outputs_of(&b, car_layer_place(b.plan, &shape, b.kernels, fresh), &placed.rows, x);
        const size_t rows = (size_t)car_rows_count(&placed.rows);
        assert_memory_equal(y, expected, rows * (size_t)b.padded * sizeof(float));
        car_release(NULL, y);
        car_release(NULL, expected);
        car_release(NULL, fresh);
    }
    car_release(NULL, placed.memory);
    car_release(NULL, x);
    car_release(NULL, memory);
    close_bench(&b);
}

static void a_layer_takes_lanes_of_other_lengths(void **state) {
    (void)state;
    const car_zoo_entry *zoo;
    const int count = car_zoo_entries(&zoo);
    for (int i = 0; i < count; i++)
        for (int reverse = 0; reverse < 2; reverse++)
            check_other_lengths(zoo[i].text, zoo[i].name, reverse);
}

/* A layer that only runs forward keeps some rows at a time of what passes within its steps, and gives what one gives that keeps
 * them all. */
static void check_passing(const char *text, const char *name, bool reverse, int threads) {
    enum { LONG_STEPS = 60 };
    static const int lengths[][LANES] = {{60, 60, 60, 60, 60, 60}, {30, 50, 1, 0, 50, 20}};
    bench b = open_bench(text, name, 231);
    const size_t state_bytes = LANES * (size_t)b.padded * sizeof(float);
    float *x = car_allocate(NULL, (size_t)(LANES * LONG_STEPS) * (size_t)b.row, sizeof(float));
    placed_rows placed = place_rows(LANES, LONG_STEPS, LONG_STEPS, NULL);
    car_layer *layer[2];
    void *memory[2];
    for (int keeps = 0; keeps < 2; keeps++) {
        const car_layer_shape shape = {LANES, LONG_STEPS, keeps, reverse, threads, false};
        memory[keeps] = car_allocate(NULL, car_layer_size(b.plan, &shape), 1);
        layer[keeps] = car_layer_place(b.plan, &shape, b.kernels, memory[keeps]);
    }
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        car_rows_set(&placed.rows, LONG_STEPS, lengths[i]);
        float *y = outputs_of(&b, layer[0], &placed.rows, x);
        float *expected = outputs_of(&b, layer[1], &placed.rows, x);
        const size_t rows = (size_t)car_rows_count(&placed.rows);
        assert_memory_equal(y, expected, rows * (size_t)b.padded * sizeof(float));
        car_layer_carry(layer[0]);
        car_layer_carry(layer[1]);
        for (int s = 0; s < b.cell->state_count; s++)
            assert_memory_equal(car_layer_start(layer[0], s), car_layer_start(layer[1], s),
                                state_bytes);
        car_release(NULL, y);
        car_release(NULL, expected);
    }
    car_release(NULL, memory[0]);
    car_release(NULL, memory[1]);
    car_release(NULL, placed.memory);
    car_release(NULL, x);
    close_bench(&b);
}

static void what_passes_within_a_step_changes_no_output(void **state) {
    (void)state;
    const car_zoo_entry *zoo;
    const int count = car_zoo_entries(&zoo);
    for (int i = 0; i < count; i++)
        for (int reverse = 0; reverse < 2; reverse++)
            for (int threads = 1; threads <= 3; threads++)
                check_passing(zoo[i].text, zoo[i].name, reverse, threads);
}

/* Of a step there are its states alone, however many gates the cell has. */
static void a_long_sequence_costs_its_states(void **state) {
    (void)state;
    enum { SHORT = 600, LONG = 6000, MORE = LANES * (LONG - SHORT) };
    bench b = open_bench(car_zoo_text("lstm"), "lstm", 231);
    car_layer_shape shape = {.batch = LANES, .steps = SHORT, .threads = 2};
    const size_t bytes = car_layer_size(b.plan, &shape), row = (size_t)b.padded * sizeof(float);
    shape.steps = LONG;
    assert_true(car_layer_size(b.plan, &shape) - bytes >= MORE * 2 * row);
    assert_true(car_layer_size(b.plan, &shape) - bytes < MORE * (2 * row + 8 * sizeof(int)));
    close_bench(&b);
}

/* ---- Nets --------------------------------------------------------------------------------------------- */

static const struct {
    const char *net;
    int input_size, output_size;
} nets[] = {
    {"embed 5 | lstm 7 x2 | softmax", 9, 6},
    {"embed 7 | gru 7 x2 residual | softmax tie", 11, 11},
    {"rnn 6 bi | gru 4 bi | linear each", 3, 2},
    {"lstm 5 bi x2 dropout 0.3 | linear last", 4, 2},
    {"gru-v1 18 bi | dense 20 | sigmoid mean dropout 0.5", 3, 5},
    {"embed 20 | lstm-peephole 17 dropout 0.4 | layernorm | softmax", 30, 70},
    {"slstm 6 | project 5 | linear last", 3, 3},
    {"embed 6 | mut2 6 bi | project 6 | softmax last dropout 0.25 tie", 8, 8},
    {"dense 16 residual bi | softmax mean", 32, 3},
    {"lstm 9 | sigmoid each dropout 0.2", 5, 4},
};

typedef struct net_run {
    int batch, steps;
    float *output, *state, *gradient;
    double loss;
    int64_t counted;
} net_run;

static void free_run(net_run *run) {
    free(run->output);
    free(run->state);
    car_release(NULL, run->gradient);
}

static void poison(void *rows, size_t at, size_t width, bool ids) {
    for (size_t k = 0; k < width; k++)
        if (ids)
            ((int32_t *)rows)[at * width + k] = INT32_MAX;
        else
            ((float *)rows)[at * width + k] = NAN;
}

static const float UNTOUCHED = -77.5f;

/* Sequence s of the test stands in lane lanes[s] of the call (-1: not there), with LENGTHS[s] steps; what is not a real step
 * of one is poisoned. */
typedef struct net_call {
    int batch, steps;
    const int *lanes; /* [LANES] */
    const car_random_key *dropout;
    int threads;
} net_call;

static net_run run_net(const car_model *model, const net_call *call) {
    bool ids = starts_with_ids(model), classes = model->net->head == CAR_HEAD_SOFTMAX;
    size_t width = ids ? 1 : (size_t)model->input_size, outputs = (size_t)model->output_size;
    size_t target_width = classes ? 1 : outputs, states;
    int rows = call->steps * call->batch, head_rows = head_rows_of(model, call->steps, call->batch);
    bool pooled = model->net->pool != CAR_POOL_EACH;
    int lengths[16] = {0};
    uint32_t *input = calloc((size_t)rows * width, 4);
    uint32_t *target = calloc((size_t)head_rows * target_width, 4);
    void *whole_input = make_input(model, MOST_STEPS, LANES, NULL);
    void *whole_target = make_target(model, head_rows_of(model, MOST_STEPS, LANES));
    net_run run = {.batch = call->batch, .steps = call->steps};
    run.output = calloc((size_t)head_rows * outputs, sizeof(float));
    for (size_t i = 0; i < (size_t)head_rows * outputs; i++)
        run.output[i] = UNTOUCHED;
    for (int row = 0; row < rows; row++)
        poison(input, (size_t)row, width, ids);
    for (int row = 0; row < head_rows; row++)
        poison(target, (size_t)row, target_width, classes);
    for (int s = 0; s < LANES; s++) {
        if (call->lanes[s] < 0)
            continue;
        lengths[call->lanes[s]] = LENGTHS[s];
        for (int t = 0; t < LENGTHS[s]; t++) {
            size_t to = (size_t)(t * call->batch + call->lanes[s]), from = (size_t)(t * LANES + s);
            memcpy(input + to * width, (uint32_t *)whole_input + from * width, width * 4);
            size_t to_head = pooled ? (size_t)call->lanes[s] : to;
            memcpy(target + to_head * target_width,
                   (uint32_t *)whole_target + (pooled ? (size_t)s : from) * target_width,
                   target_width * 4);
        }
    }
    car_error error = {0};
    placed_stack placed = place_stack(model, call->batch, call->steps, call->threads, true);
    run.gradient = car_allocate(NULL, model->weight_floats, sizeof(float));
    require(car_stack_forward(placed.stack, call->steps, lengths, input, call->dropout, 50, &error),
            &error);
    car_stack_outputs(placed.stack, run.output);
    require(car_stack_loss(placed.stack, target, run.gradient, &run.loss, &run.counted, &error),
            &error);
    car_stack_backward(placed.stack, input, run.gradient);
    car_stack_carry(placed.stack);
    states = car_stack_state_floats(placed.stack);
    run.state = calloc((size_t)call->batch * states + 1, sizeof(float));
    for (int lane = 0; lane < call->batch; lane++)
        car_stack_get_state(placed.stack, lane, run.state + (size_t)lane * states);
    car_release(NULL, placed.memory);
    free(input);
    free(target);
    free(whole_input);
    free(whole_target);
    return run;
}

static size_t states_of(const car_model *model) {
    placed_stack placed = place_stack(model, 1, 1, 1, false);
    size_t floats = car_stack_state_floats(placed.stack);
    car_release(NULL, placed.memory);
    return floats;
}

static void assert_same_sequence(const car_model *model, const net_run *a, int a_lane,
                                 const net_run *b, int b_lane, int length) {
    size_t outputs = (size_t)model->output_size, states = states_of(model);
    int steps = model->net->pool == CAR_POOL_EACH ? length : length > 0;
    for (int t = 0; t < steps; t++)
        assert_memory_equal(a->output + (size_t)(t * a->batch + a_lane) * outputs,
                            b->output + (size_t)(t * b->batch + b_lane) * outputs,
                            outputs * sizeof(float));
    assert_memory_equal(a->state + (size_t)a_lane * states, b->state + (size_t)b_lane * states,
                        states * sizeof(float));
}

static void assert_padding_untouched(const car_model *model, const net_run *run) {
    size_t outputs = (size_t)model->output_size;
    bool pooled = model->net->pool != CAR_POOL_EACH;
    for (int lane = 0; lane < LANES; lane++)
        for (int t = pooled ? LENGTHS[lane] > 0 : LENGTHS[lane]; t < (pooled ? 1 : run->steps); t++)
            for (size_t k = 0; k < outputs; k++)
                assert_true(run->output[(size_t)(t * run->batch + lane) * outputs + k] ==
                            UNTOUCHED);
}

/* Sequence s alone in lane `lane` of a batch. */
static net_run run_alone(const car_model *model, int s, int batch, int lane,
                         const car_random_key *dropout) {
    int lanes[LANES] = {-1, -1, -1, -1, -1, -1};
    lanes[s] = lane;
    return run_net(model, &(net_call){batch, LENGTHS[s] + 1, lanes, dropout, 1});
}

static void check_net(const char *text, int input_size, int output_size) {
    static const int lanes[LANES] = {0, 1, 2, 3, 4, 5}, moved[LANES] = {1, 2, 3, 4, 6, 7};
    const car_random_key key = {5, CAR_RANDOM_DROPOUT, 0};
    car_model *model = make_trainable(make_model(text, input_size, output_size, NULL));
    size_t bytes = model->weight_floats * sizeof(float);
    net_run plain = run_net(model, &(net_call){LANES, MOST_STEPS, lanes, NULL, 1});
    net_run threads = run_net(model, &(net_call){LANES, MOST_STEPS, lanes, NULL, 2});
    net_run roomy = run_net(model, &(net_call){LANES + 2, MOST_STEPS + 3, moved, NULL, 1});
    net_run dropped = run_net(model, &(net_call){LANES, MOST_STEPS, lanes, &key, 2});
    assert_padding_untouched(model, &plain);
    assert_memory_equal(plain.gradient, threads.gradient, bytes);
    assert_memory_equal(plain.gradient, roomy.gradient, bytes);
    assert_true(plain.loss == threads.loss && plain.loss == roomy.loss && isfinite(plain.loss));
    assert_true(plain.counted == roomy.counted);
    for (int s = 0; s < LANES; s++) {
        net_run alone = run_alone(model, s, 1, 0, NULL);
        net_run masked = run_alone(model, s, LANES, s, &key); /* masks belong to (time, lane) */
        assert_same_sequence(model, &plain, s, &alone, 0, LENGTHS[s]);
        assert_same_sequence(model, &plain, s, &threads, s, LENGTHS[s]);
        assert_same_sequence(model, &plain, s, &roomy, moved[s], LENGTHS[s]);
        assert_same_sequence(model, &dropped, s, &masked, s, LENGTHS[s]);
        free_run(&alone);
        free_run(&masked);
    }
    free_run(&plain);
    free_run(&threads);
    free_run(&roomy);
    free_run(&dropped);
    car_model_free(model);
}

static void every_head_sees_real_steps_alone(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        check_net(nets[i].net, nets[i].input_size, nets[i].output_size);
}

static void lengths_out_of_range_are_refused(void **state) {
    (void)state;
    car_model *model = make_model("rnn 3 | linear", 2, 1, NULL);
    placed_stack placed = place_stack(model, 2, 4, 1, false);
    float input[4 * 2 * 2] = {0};
    car_error error = {0};
    const int longer[] = {2, 4}, negative[] = {-1, 2};
    assert_int_equal(car_stack_forward(placed.stack, 3, longer, input, NULL, 0, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "lane 1 is to run 4 steps"));
    assert_int_equal(car_stack_forward(placed.stack, 3, negative, input, NULL, 0, &error),
                     CAR_DATA);
    car_release(NULL, placed.memory);
    car_model_free(model);
}

static void a_bad_id_is_named_by_the_callers_place(void **state) {
    (void)state;
    car_model *model = make_model("embed 3 | rnn 3 | softmax", 5, 4, NULL);
    placed_stack placed = place_stack(model, 3, 2, 1, false);
    const int32_t ids[] = {0, 1, 2, 99, 99, 7};
    const int lengths[] = {1, 1, 2};
    car_error error = {0};
    assert_int_equal(car_stack_forward(placed.stack, 2, lengths, ids, NULL, 0, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "id 7 at step 1, lane 2"));
    car_release(NULL, placed.memory);
    car_model_free(model);
}

/* ---- Updates ------------------------------------------------------------------------------------------ */

/* Updates and an evaluation over ragged batches in a trainer with room for `steps` steps; padding holds poison. */
static car_trainer *train(const car_model *model, int steps, int threads, double *loss) {
    const car_trainer_options options = {
        .batch = LANES, .steps = steps, .threads = threads, .clip_norm = 1, .seed = 9};
    car_trainer *trainer;
    car_error error = {0};
    require(car_trainer_create(model, &options, NULL, &trainer, &error), &error);
    car_step_result result = {0};
    for (int update = 0; update < 4; update++) {
        int32_t input[16 * LANES], target[16 * LANES];
        int lengths[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            lengths[lane] = LENGTHS[(lane + update) % LANES];
            for (int t = 0; t < steps; t++) {
                bool real = t < lengths[lane];
                input[t * LANES + lane] = real ? (t * 3 + lane * 5 + update) % 9 : -1;
                target[t * LANES + lane] = real ? (t * 7 + lane + update) % 6 : 1 << 20;
            }
        }
        const car_batch batch = {.steps = steps,
                                 .reset = update == 2,
                                 .input = input,
                                 .target = target,
                                 .lengths = lengths};
        require(car_trainer_step(trainer, &batch, 0.01f, &result, &error), &error);
        assert_int_equal(result.counted, 22);
        require(car_trainer_evaluate(trainer, &batch, &result, &error), &error);
    }
    *loss = result.loss;
    return trainer;
}

static void updates_do_not_depend_on_padding_or_threads(void **state) {
    (void)state;
    car_model *model =
        make_model("embed 6 | lstm 9 x2 dropout 0.3 | softmax dropout 0.2", 9, 6, NULL);
    double loss[3];
    car_trainer *trainers[] = {train(model, 7, 1, &loss[0]), train(model, 7, 2, &loss[1]),
                               train(model, 12, 1, &loss[2])};
    for (int k = 1; k < 3; k++) {
        assert_memory_equal(trainers[0]->model->weights, trainers[k]->model->weights,
                            trainers[0]->weight_floats * sizeof(float));
        assert_true(loss[0] == loss[k]);
    }
    for (int k = 0; k < 3; k++)
        car_trainer_free(trainers[k]);
    car_model_free(model);
}

static void a_batch_without_steps_is_refused(void **state) {
    (void)state;
    car_model *model = make_model("rnn 3 | linear", 1, 1, NULL);
    const car_trainer_options options = {.batch = 2, .steps = 2, .threads = 1};
    car_trainer *trainer;
    car_error error = {0};
    require(car_trainer_create(model, &options, NULL, &trainer, &error), &error);
    const float zeros[4] = {0};
    const int none[2] = {0};
    const car_batch batch = {.steps = 2, .input = zeros, .target = zeros, .lengths = none};
    assert_int_equal(car_trainer_step(trainer, &batch, 0.1f, NULL, &error), CAR_USAGE);
    assert_int_equal(car_trainer_evaluate(trainer, &batch, NULL, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "without steps"));
    car_trainer_free(trainer);
    car_model_free(model);
}

/* What is not finite is looked for in real rows, and named by the caller's step and lane. */
static void divergence_is_found_in_real_steps(void **state) {
    (void)state;
    car_model *model = make_model("lstm 4 bi | linear last", 1, 1, NULL);
    const car_trainer_options options = {.batch = 3, .steps = 3, .threads = 1};
    car_trainer *trainer;
    car_error error = {0};
    require(car_trainer_create(model, &options, NULL, &trainer, &error), &error);
    const int lengths[] = {1, 0, 3};
    float input[] = {0.5f, NAN, 0.25f, NAN, NAN, 0.5f, NAN, NAN, INFINITY};
    float target[] = {0, NAN, 0};
    const car_batch batch = {.steps = 3, .input = input, .target = target, .lengths = lengths};
    assert_int_equal(car_trainer_step(trainer, &batch, 0.1f, NULL, &error), CAR_DIVERGED);
    assert_non_null(strstr(error.message, "input is inf at time step 3 of 3 (lane 3"));
    input[8] = 3e38f;
    target[2] = 3e38f;
    assert_int_equal(car_trainer_step(trainer, &batch, 0.1f, NULL, &error), CAR_DIVERGED);
    assert_null(strstr(error.message, "nan"));
    car_trainer_free(trainer);
    car_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_are_sorted_and_counted),
        cmocka_unit_test(every_cell_runs_lanes_as_if_alone),
        cmocka_unit_test(long_sequences_run_as_if_alone),
        cmocka_unit_test(threads_that_share_units_run_lanes_as_if_alone),
        cmocka_unit_test(a_layer_takes_lanes_of_other_lengths),
        cmocka_unit_test(what_passes_within_a_step_changes_no_output),
        cmocka_unit_test(a_long_sequence_costs_its_states),
        cmocka_unit_test(every_head_sees_real_steps_alone),
        cmocka_unit_test(lengths_out_of_range_are_refused),
        cmocka_unit_test(a_bad_id_is_named_by_the_callers_place),
        cmocka_unit_test(only_what_multiplies_x_alone_reads_no_padding),
        cmocka_unit_test(updates_do_not_depend_on_padding_or_threads),
        cmocka_unit_test(a_batch_without_steps_is_refused),
        cmocka_unit_test(divergence_is_found_in_real_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
