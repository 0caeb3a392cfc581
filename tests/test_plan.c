/*
 * test_plan.c: the scheduled, packed float32 path against the double oracle, and the bit-for-bit promises.
 *
 * Every cell of the zoo, every CPU level of this machine, odd sizes. Forward one step at a time from the float32
 * state; gradients over a short sequence. Then: threads, lanes, chunks of time and direction change no bit.
 */
#include "plan.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct rig {
    struct car_cell *cell;
    car_plan *plan;
    const car_kernels *kernels;
    car_shape input;
    int units, batch, steps, padded, row;
    void *memory;
    car_layer *layer;
    float *weights, *transposed, *gradient;
    float *running;      /* what layers run on: in bf16 a rounded copy, else the weights */
    float *x;            /* [T][B][row] */
    float *dy;           /* [T][B][padded] */
    float *dx;           /* [T][B][row] */
    double **parameters; /* logical */
} rig;

/* What cmocka_unit_test_prestate gives a test; f32 where nothing is given. */
static car_precision precision_of(void **state) {
    return *state ? *(car_precision *)*state : CAR_PRECISION_F32;
}

static void *must(size_t count, size_t size) {
    void *block = car_allocate(NULL, count ? count : 1, size);
    assert_non_null(block);
    return block;
}

static double random_number(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 24) * 2 - 1;
}

static struct car_cell *compile(const char *text, const char *origin) {
    struct car_cell *cell;
    car_error error = {0};
    if (car_cell_compile(text, strlen(text), origin, NULL, &cell, &error) != CAR_OK)
        fail_msg("%s", error.message);
    return cell;
}

static size_t logical_count(const rig *r, int p) {
    return (size_t)r->units * (size_t)car_plan_columns(r->plan, p);
}

static void fill_parameters(rig *r, uint32_t seed) {
    r->parameters = must((size_t)r->cell->parameter_count, sizeof(double *));
    for (int p = 0; p < r->cell->parameter_count; p++) {
        size_t count = logical_count(r, p);
        double scale = r->cell->parameters[p].kind == CAR_MATRIX ? 1 / sqrt(r->units) : 0.5;
        double center = r->cell->parameters[p].kind == CAR_VECTOR ? 1 : 0;
        float *logical = must(count, sizeof(float));
        r->parameters[p] = must(count, sizeof(double));
        for (size_t k = 0; k < count; k++) {
            logical[k] = (float)(center + scale * random_number(&seed));
            r->parameters[p][k] = (double)logical[k];
        }
        car_plan_pack(r->plan, p, logical, r->weights);
        car_release(NULL, logical);
    }
}

static void copy_weights(const rig *r, bool input) {
    const car_weight_copies copies = {.running = r->running == r->weights ? NULL : r->running,
                                      .transposed = r->transposed,
                                      .input = input};
    for (int member = 0; member < 3; member++)
        car_plan_copy(r->plan, r->kernels, r->weights, &copies, member, 3);
}

static void place_layer(rig *r, int batch, int steps, bool reverse, int threads, bool backward) {
    car_layer_shape shape = {batch, steps, backward, reverse, threads, backward};
    size_t size = car_layer_size(r->plan, &shape);
    assert_true(size > 0);
    car_release(NULL, r->memory);
    r->memory = must(1, size);
    r->layer = car_layer_place(r->plan, &shape, r->kernels, r->memory);
}

static void open_rig(rig *r, car_precision precision, struct car_cell *cell,
                     const car_kernels *kernels, car_shape input, int units, int batch, int steps) {
    car_error error = {0};
    car_plan_options options = {.training = true, .precision = precision};
    memset(r, 0, sizeof *r);
    r->cell = cell;
    r->kernels = kernels;
    r->input = input;
    r->units = units;
    r->batch = batch;
    r->steps = steps;
    if (car_plan_create(cell, input, units, &options, NULL, &r->plan, &error) != CAR_OK)
        fail_msg("%s", error.message);
    r->padded = car_padded(units);
    r->row = (int)car_shape_row_stride(input);
    r->weights = must(car_plan_weight_floats(r->plan), sizeof(float));
    r->gradient = must(car_plan_weight_floats(r->plan), sizeof(float));
    r->transposed = must(car_plan_transposed_floats(r->plan), sizeof(float));
    size_t rows = (size_t)steps * (size_t)batch;
    r->x = must(rows * (size_t)r->row, sizeof(float));
    r->dx = must(rows * (size_t)r->row, sizeof(float));
    r->dy = must(rows * (size_t)r->padded, sizeof(float));
    fill_parameters(r, 7);
    uint32_t seed = 99;
    int part = input.size / input.parts, stride = car_shape_part_stride(input);
    for (size_t i = 0; i < rows; i++) {
        for (int k = 0; k < input.size; k++)
            r->x[i * (size_t)r->row + (size_t)(k / part * stride + k % part)] =
                (float)random_number(&seed);
        for (int k = 0; k < units; k++)
            r->dy[i * (size_t)r->padded + (size_t)k] = (float)random_number(&seed);
    }
    r->running = r->weights;
    if (precision != CAR_PRECISION_F32)
        r->running = must(car_plan_running_floats(r->plan), sizeof(float));
    copy_weights(r, true);
    place_layer(r, batch, steps, false, 1, true);
}

static void close_rig(rig *r) {
    for (int p = 0; p < r->cell->parameter_count; p++)
        car_release(NULL, r->parameters[p]);
    car_release(NULL, r->parameters);
    if (r->running != r->weights)
        car_release(NULL, r->running);
    car_release(NULL, r->weights);
    car_release(NULL, r->gradient);
    car_release(NULL, r->transposed);
    car_release(NULL, r->x);
    car_release(NULL, r->dx);
    car_release(NULL, r->dy);
    car_release(NULL, r->memory);
    car_plan_free(r->plan);
}

static double x_at(const rig *r, int t, int b, int k) {
    int part = r->input.size / r->input.parts, stride = car_shape_part_stride(r->input);
    size_t row = (size_t)t * (size_t)r->batch + (size_t)b;
    return (double)r->x[row * (size_t)r->row + (size_t)(k / part * stride + k % part)];
}

static double *lane_input(const rig *r, int b) {
    double *x = must((size_t)r->steps * (size_t)r->input.size, sizeof(double));
    for (int t = 0; t < r->steps; t++)
        for (int k = 0; k < r->input.size; k++)
            x[t * r->input.size + k] = x_at(r, t, b, k);
    return x;
}

static double *initial_states(const rig *r) {
    double *initial = must((size_t)(r->cell->state_count * r->units) + 1, sizeof(double));
    for (int s = 0; s < r->cell->state_count; s++)
        for (int u = 0; u < r->units; u++)
            initial[s * r->units + u] = (double)(float)r->cell->state_init[s].value;
    return initial;
}

/* Largest difference, relative to the largest magnitude (at least 1). */
typedef struct difference {
    double worst, magnitude;
} difference;

static void compare(difference *d, double expected, double found) {
    double error = fabs(expected - found);
    if (!(error <= d->worst))
        d->worst = isnan(error) ? INFINITY : error;
    if (fabs(expected) > d->magnitude)
        d->magnitude = fabs(expected);
}

static double relative(difference d) {
    return d.worst / (d.magnitude > 1 ? d.magnitude : 1);
}

/* ---- Forward: each step from the float32 state before it ---------------------------------------------- */

static double forward_error(rig *r) {
    difference d = {0};
    int states = r->cell->state_count;
    double *initial = initial_states(r), *y = must((size_t)r->units, sizeof(double));
    double *after = must((size_t)(2 * states * r->units) + 1, sizeof(double));
    car_layer_reset(r->layer, -1);
    for (int t = 0; t < r->steps; t++) {
        float *before = must((size_t)(states * r->batch * r->padded) + 1, sizeof(float));
        for (int s = 0; s < states; s++)
            memcpy(before + s * r->batch * r->padded, car_layer_start(r->layer, s),
                   (size_t)(r->batch * r->padded) * sizeof(float));
        car_layer_forward(r->layer, 1, r->x + (size_t)t * (size_t)r->batch * (size_t)r->row,
                          r->running);
        car_layer_carry(r->layer);
        for (int b = 0; b < r->batch; b++) {
            double *x = lane_input(r, b);
            for (int s = 0; s < states; s++)
                for (int u = 0; u < r->units; u++)
                    initial[s * r->units + u] = (double)before[(s * r->batch + b) * r->padded + u];
            car_oracle oracle = {r->cell,
                                 false,
                                 r->units,
                                 r->input.size,
                                 1,
                                 (const double *const *)r->parameters,
                                 x + t * r->input.size,
                                 initial};
            assert_int_equal(car_oracle_forward(&oracle, y, after, NULL, NULL), CAR_OK);
            for (int u = 0; u < r->units; u++)
                compare(&d, y[u], (double)car_layer_output(r->layer, 0)[b * r->padded + u]);
            for (int s = 0; s < states; s++)
                for (int u = 0; u < r->units; u++)
                    compare(&d, after[(states + s) * r->units + u],
                            (double)car_layer_start(r->layer, s)[b * r->padded + u]);
            car_release(NULL, x);
        }
        car_release(NULL, before);
    }
    car_release(NULL, initial);
    car_release(NULL, y);
    car_release(NULL, after);
    return relative(d);
}

/* ---- Gradients over the sequence ---------------------------------------------------------------------- */

static void oracle_lane(const rig *r, int b, double *dx, double *const *dparameters) {
    double *x = lane_input(r, b), *initial = initial_states(r);
    size_t outputs = (size_t)r->steps * (size_t)r->units,
           states = (size_t)(r->cell->state_count * r->units) + 1;
    double *dy = must(outputs, sizeof(double)), *dfinal = must(states, sizeof(double));
    double *dinitial = must(states, sizeof(double));
    for (int t = 0; t < r->steps; t++)
        for (int u = 0; u < r->units; u++)
            dy[t * r->units + u] = (double)r->dy[(t * r->batch + b) * r->padded + u];
    car_oracle oracle = {
        r->cell, false,  r->units, r->input.size, r->steps, (const double *const *)r->parameters,
        x,       initial};
    assert_int_equal(car_oracle_backward(&oracle, dy, dfinal, dx, dinitial, dparameters, NULL),
                     CAR_OK);
    car_release(NULL, x);
    car_release(NULL, initial);
    car_release(NULL, dy);
    car_release(NULL, dfinal);
    car_release(NULL, dinitial);
}

static void compare_input_gradient(const rig *r, difference *d, const double *dx, int b) {
    int part = r->input.size / r->input.parts, stride = car_shape_part_stride(r->input);
    for (int t = 0; t < r->steps; t++)
        for (int k = 0; k < r->input.size; k++)
            compare(d, dx[t * r->input.size + k],
                    (double)r->dx[(t * r->batch + b) * r->row + k / part * stride + k % part]);
}

static double gradient_error(rig *r) {
    difference d = {0};
    int parameters = r->cell->parameter_count;
    double **sum = must((size_t)parameters, sizeof(double *)),
           **lane = must((size_t)parameters, sizeof(double *));
    for (int p = 0; p < parameters; p++) {
        sum[p] = must(logical_count(r, p), sizeof(double));
        lane[p] = must(logical_count(r, p), sizeof(double));
    }
    double *dx = must((size_t)r->steps * (size_t)r->input.size, sizeof(double));
    car_layer_reset(r->layer, -1);
    car_layer_forward(r->layer, r->steps, r->x, r->running);
    car_layer_backward(r->layer, r->x, r->running, r->transposed, r->dy, r->dx, r->gradient, false);
    car_plan_fold_gradient(r->plan, r->gradient);
    for (int b = 0; b < r->batch; b++) {
        oracle_lane(r, b, dx, lane);
        compare_input_gradient(r, &d, dx, b);
        for (int p = 0; p < parameters; p++)
            for (size_t k = 0; k < logical_count(r, p); k++)
                sum[p][k] += lane[p][k];
    }
    for (int p = 0; p < parameters; p++) {
        float *found = must(logical_count(r, p), sizeof(float));
        car_plan_unpack(r->plan, p, r->gradient, found);
        for (size_t k = 0; k < logical_count(r, p); k++)
            compare(&d, sum[p][k], (double)found[k]);
        car_release(NULL, found);
        car_release(NULL, sum[p]);
        car_release(NULL, lane[p]);
    }
    car_release(NULL, sum);
    car_release(NULL, lane);
    car_release(NULL, dx);
    return relative(d);
}

/* Rounding of a sum of K products and of a few dozen operations after it, T steps deep backward. In bf16 each operand
 * is off by 2^-9 of itself, so each of K terms of at most |w| |x| <= 1/sqrt(n) by 2^-8 of that. */
static double bound(const rig *r, car_precision precision, int steps) {
    int terms = r->units + r->input.size;
    double rounding = 6e-8 * (double)(terms + 64);
    if (precision == CAR_PRECISION_BF16)
        rounding += 0x1p-8 * (double)terms / sqrt(r->units);
    return rounding * (double)steps;
}

static void check_cell(car_precision precision, struct car_cell *cell, const car_kernels *kernels,
                       double *worst) {
    static const struct {
        int units, input, parts, batch, steps;
    } cases[] = {{1, 1, 1, 1, 1},   {2, 3, 1, 3, 4},   {15, 7, 1, 2, 3}, {16, 16, 1, 1, 5},
                 {17, 33, 1, 5, 2}, {33, 34, 2, 3, 4}, {64, 1, 1, 7, 3}, {65, 65, 1, 2, 3}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        rig r;
        car_shape input = {cases[k].input, cases[k].parts};
        if (cell->input_is_hidden)
            input = (car_shape){cases[k].units, 1};
        open_rig(&r, precision, cell, kernels, input, cases[k].units, cases[k].batch,
                 cases[k].steps);
        double forward = forward_error(&r), gradient = gradient_error(&r);
        if (!(forward <= bound(&r, precision, 1)))
            fail_msg("%s %s n=%d: forward error %.3g > %.3g\n%s", cell->name, kernels->name,
                     r.units, forward, bound(&r, precision, 1), cell->text);
        if (!(gradient <= bound(&r, precision, 4 * r.steps * r.batch)))
            fail_msg("%s %s n=%d: gradient error %.3g > %.3g\n%s", cell->name, kernels->name,
                     r.units, gradient, bound(&r, precision, 4 * r.steps * r.batch), cell->text);
        worst[0] = forward > worst[0] ? forward : worst[0];
        worst[1] = gradient > worst[1] ? gradient : worst[1];
        close_rig(&r);
    }
}

static void zoo_agrees_with_the_oracle(void **state) {
    (void)state;
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo);
    assert_true(count > 0);
    print_message("%-16s %-9s %12s %12s\n", "cell", "level", "forward", "gradient");
    for (int i = 0; i < count; i++) {
        struct car_cell *cell = compile(zoo[i].text, zoo[i].name);
        for (int level = 0; level < CAR_CPU_LEVELS; level++) {
            const car_kernels *kernels = car_kernels_of((car_cpu_level)level);
            double worst[2] = {0, 0};
            if (!kernels)
                continue;
            check_cell(precision_of(state), cell, kernels, worst);
            print_message("%-16s %-9s %12.3g %12.3g\n", cell->name, kernels->name, worst[0],
                          worst[1]);
        }
        car_cell_free(cell);
    }
}

/* ---- Bit for bit -------------------------------------------------------------------------------------- */

typedef struct bits {
    float *y, *dx, *gradient;
    size_t y_count, dx_count, gradient_count;
} bits;

static bits run_bits(rig *r, bool reverse, int threads) {
    bits out = {.y_count = (size_t)r->steps * (size_t)r->batch * (size_t)r->padded,
                .dx_count = (size_t)r->steps * (size_t)r->batch * (size_t)r->row,
                .gradient_count = car_plan_weight_floats(r->plan)};
    place_layer(r, r->batch, r->steps, reverse, threads, true);
    car_layer_forward(r->layer, r->steps, r->x, r->running);
    out.y = must(out.y_count, sizeof(float));
    memcpy(out.y, car_layer_output(r->layer, 0), out.y_count * sizeof(float));
    car_layer_backward(r->layer, r->x, r->running, r->transposed, r->dy, r->dx, r->gradient, false);
    out.dx = must(out.dx_count, sizeof(float));
    out.gradient = must(out.gradient_count, sizeof(float));
    memcpy(out.dx, r->dx, out.dx_count * sizeof(float));
    memcpy(out.gradient, r->gradient, out.gradient_count * sizeof(float));
    return out;
}

static void free_bits(bits *b) {
    car_release(NULL, b->y);
    car_release(NULL, b->dx);
    car_release(NULL, b->gradient);
}

static void check_threads(void **state, const char *text, const char *name, int units, int input,
                          int batch, int steps) {
    struct car_cell *cell = compile(text, name);
    rig r;
    open_rig(&r, precision_of(state), cell, car_kernels_of(car_cpu_highest()),
             (car_shape){input, 1}, units, batch, steps);
    bits one = run_bits(&r, false, 1);
    for (int threads = 2; threads <= 4; threads++) {
        bits many = run_bits(&r, false, threads);
        assert_memory_equal(one.y, many.y, one.y_count * sizeof(float));
        assert_memory_equal(one.dx, many.dx, one.dx_count * sizeof(float));
        assert_memory_equal(one.gradient, many.gradient, one.gradient_count * sizeof(float));
        free_bits(&many);
    }
    free_bits(&one);
    close_rig(&r);
    car_cell_free(cell);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    static const struct {
        const char *cell;
        int units, input, batch, steps;
    } cases[] = {{"lstm", 260, 40, 3, 4}, {"lstm", 33, 17, 8, 5},
                 {"gru", 300, 20, 6, 3},  {"gru-v1", 330, 24, 5, 3},
                 {"rnn", 600, 8, 4, 3},   {"layernorm-lstm", 40, 16, 5, 3},
                 {"dense", 70, 30, 9, 4}, {"lstm", 250, 9, 1, 3},
                 {"lstm", 330, 20, 9, 3}, {"gru-v1", 420, 7, 2, 3}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        check_threads(state, car_zoo_text(cases[k].cell), cases[k].cell, cases[k].units,
                      cases[k].input, cases[k].batch, cases[k].steps);
}

/* Runs the sequence in pieces of `piece` steps, carrying the state, and compares the outputs. */
static void chunks_change_no_bit(void **state) {
    (void)state;
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo);
    for (int i = 0; i < count; i++) {
        struct car_cell *cell = compile(zoo[i].text, zoo[i].name);
        rig r;
        open_rig(&r, precision_of(state), cell, car_kernels_of(car_cpu_highest()),
                 (car_shape){21, 1}, 21, 3, 7);
        bits whole = run_bits(&r, false, 1);
        for (int piece = 1; piece < 7; piece++) {
            place_layer(&r, 3, piece, false, 1, false);
            for (int t = 0; t < 7; t += piece) {
                int steps = 7 - t < piece ? 7 - t : piece;
                car_layer_forward(r.layer, steps, r.x + (size_t)t * 3 * (size_t)r.row, r.running);
                car_layer_carry(r.layer);
                assert_memory_equal(car_layer_output(r.layer, 0),
                                    whole.y + (size_t)t * 3 * (size_t)r.padded,
                                    (size_t)steps * 3 * (size_t)r.padded * sizeof(float));
            }
        }
        free_bits(&whole);
        close_rig(&r);
        car_cell_free(cell);
    }
}

/* A layer of its own for steps [first, end), with what it needs to go on from a neighbour. */
typedef struct piece {
    int first, end;
    void *memory;
    car_layer *layer;
} piece;

static piece open_piece(const rig *r, int first, int end, int threads) {
    car_layer_shape shape = {r->batch, end - first, true, false, threads, true};
    piece made = {first, end, must(1, car_layer_size(r->plan, &shape)), NULL};
    made.layer = car_layer_place(r->plan, &shape, r->kernels, made.memory);
    return made;
}

static void forward_piece(const rig *r, const piece *of) {
    car_layer_forward(of->layer, of->end - of->first,
                      r->x + (size_t)of->first * (size_t)r->batch * (size_t)r->row, r->running);
    car_layer_carry(of->layer);
}

static void backward_piece(const rig *r, const piece *of, bool goes_on) {
    const size_t row = (size_t)of->first * (size_t)r->batch;
    car_layer_backward(of->layer, r->x + row * (size_t)r->row, r->running, r->transposed,
                       r->dy + row * (size_t)r->padded, r->dx + row * (size_t)r->row, r->gradient,
                       goes_on);
}

/* Two layers, one after the other in time, give the gradients of one. */
static void check_pieces(void **state, const char *name, int units, int batch, int steps, int cut,
                         int threads) {
    struct car_cell *cell = compile(car_zoo_text(name), name);
    rig r;
    open_rig(&r, precision_of(state), cell, car_kernels_of(car_cpu_highest()), (car_shape){21, 1},
             units, batch, steps);
    const size_t state_floats = (size_t)batch * (size_t)r.padded;
    bits whole = run_bits(&r, false, 1);
    piece before = open_piece(&r, 0, cut, threads), after = open_piece(&r, cut, steps, threads);
    forward_piece(&r, &before);
    for (int s = 0; s < cell->state_count; s++)
        memcpy(car_layer_start(after.layer, s), car_layer_start(before.layer, s),
               state_floats * sizeof(float));
    forward_piece(&r, &after);
    backward_piece(&r, &after, false);
    for (int s = 0; s < cell->state_count; s++)
        memcpy(car_layer_state_gradient(before.layer, s), car_layer_state_gradient(after.layer, s),
               state_floats * sizeof(float));
    backward_piece(&r, &before, true);
    assert_memory_equal(r.dx, whole.dx, whole.dx_count * sizeof(float));
    assert_memory_equal(r.gradient, whole.gradient, whole.gradient_count * sizeof(float));
    car_release(NULL, before.memory);
    car_release(NULL, after.memory);
    free_bits(&whole);
    close_rig(&r);
    car_cell_free(cell);
}

/* The sums over rows are chains from the last row to the first: neither pieces nor the rounds and stretches of a long layer show. AMX
 * sums rows in sets of its own. */
static void rounds_change_no_bit_of_a_gradient(void **state) {
    if (precision_of(state) == CAR_PRECISION_BF16 &&
        car_kernels_of(car_cpu_highest())->product_tiles)
        skip();
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo);
    for (int i = 0; i < count; i++)
        for (int cut = 2; cut < 7; cut += 2)
            check_pieces(state, zoo[i].name, 21, 3, 7, cut, 1);
    check_pieces(state, "lstm", 20, 7, 400, 111, 2);
    check_pieces(state, "layernorm-lstm", 12, 4, 450, 200, 3);
    check_pieces(state, "layernorm-lstm", 200, 4, 150, 60, 3);
    check_pieces(state, "gru-v1", 370, 6, 150, 131, 2);
    check_pieces(state, "dense", 300, 5, 200, 20, 2);
}

/* Without dL/dx and dL/d(start state) the weights' gradient is the same, and needs no transposed weights of x. */
static void check_unasked(void **state, struct car_cell *cell, bool reverse) {
    rig r;
    open_rig(&r, precision_of(state), cell, car_kernels_of(car_cpu_highest()), (car_shape){21, 1},
             21, 3, 7);
    bits asked = run_bits(&r, reverse, 1);
    const car_layer_shape shape = {
        .batch = 3, .steps = 7, .backward = true, .reverse = reverse, .threads = 2};
    void *memory = must(1, car_layer_size(r.plan, &shape));
    car_layer *layer = car_layer_place(r.plan, &shape, r.kernels, memory);
    memset(r.transposed, 0, car_plan_transposed_floats(r.plan) * sizeof(float));
    copy_weights(&r, false);
    car_layer_forward(layer, 7, r.x, r.running);
    car_layer_backward(layer, r.x, r.running, r.transposed, r.dy, NULL, r.gradient, false);
    assert_memory_equal(r.gradient, asked.gradient, asked.gradient_count * sizeof(float));
    car_release(NULL, memory);
    free_bits(&asked);
    close_rig(&r);
}

static void what_nobody_asks_for_changes_no_weight(void **state) {
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo);
    for (int i = 0; i < count; i++) {
        struct car_cell *cell = compile(zoo[i].text, zoo[i].name);
        check_unasked(state, cell, false);
        check_unasked(state, cell, true);
        car_cell_free(cell);
    }
}

static void lanes_do_not_see_each_other(void **state) {
    (void)state;
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo);
    for (int i = 0; i < count; i++) {
        struct car_cell *cell = compile(zoo[i].text, zoo[i].name);
        rig r;
        open_rig(&r, precision_of(state), cell, car_kernels_of(car_cpu_highest()),
                 (car_shape){19, 1}, 19, 5, 3);
        bits all = run_bits(&r, false, 1);
        for (int b = 0; b < 5; b++) {
            float x[3][32] = {{0}};
            for (int t = 0; t < 3; t++)
                memcpy(x[t], r.x + (t * 5 + b) * r.row, (size_t)r.row * sizeof(float));
            place_layer(&r, 1, 3, false, 1, false);
            car_layer_forward(r.layer, 3, &x[0][0], r.running);
            for (int t = 0; t < 3; t++)
                assert_memory_equal(car_layer_output(r.layer, 0) + t * r.padded,
                                    all.y + (t * 5 + b) * r.padded,
                                    (size_t)r.padded * sizeof(float));
        }
        free_bits(&all);
        close_rig(&r);
        car_cell_free(cell);
    }
}

static void reverse_rows(const float *from, float *to, int steps, size_t step) {
    for (int t = 0; t < steps; t++)
        memcpy(to + (size_t)t * step, from + (size_t)(steps - 1 - t) * step, step * sizeof(float));
}

static void reverse_is_forward_on_reversed_time(void **state) {
    (void)state;
    struct car_cell *cell = compile(car_zoo_text("gru-v1"), "gru-v1");
    rig r;
    open_rig(&r, precision_of(state), cell, car_kernels_of(car_cpu_highest()), (car_shape){9, 1},
             20, 3, 5);
    bits backwards = run_bits(&r, true, 2);
    float *x = must(backwards.dx_count, sizeof(float)),
          *dy = must(backwards.y_count, sizeof(float));
    memcpy(x, r.x, backwards.dx_count * sizeof(float));
    memcpy(dy, r.dy, backwards.y_count * sizeof(float));
    reverse_rows(x, r.x, 5, 3 * (size_t)r.row);
    reverse_rows(dy, r.dy, 5, 3 * (size_t)r.padded);
    bits forwards = run_bits(&r, false, 1);
    for (int t = 0; t < 5; t++) {
        assert_memory_equal(backwards.y + (size_t)t * 3 * (size_t)r.padded,
                            forwards.y + (size_t)(4 - t) * 3 * (size_t)r.padded,
                            3 * (size_t)r.padded * sizeof(float));
        assert_memory_equal(backwards.dx + (size_t)t * 3 * (size_t)r.row,
                            forwards.dx + (size_t)(4 - t) * 3 * (size_t)r.row,
                            3 * (size_t)r.row * sizeof(float));
    }
    free_bits(&backwards);
    free_bits(&forwards);
    car_release(NULL, x);
    car_release(NULL, dy);
    close_rig(&r);
    car_cell_free(cell);
}

static void padding_stays_zero(void **state) {
    (void)state;
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo);
    for (int i = 0; i < count; i++) {
        struct car_cell *cell = compile(zoo[i].text, zoo[i].name);
        rig r;
        open_rig(&r, precision_of(state), cell, car_kernels_of(car_cpu_highest()),
                 (car_shape){5, 1}, 5, 2, 3);
        bits out = run_bits(&r, false, 1);
        size_t zeros = 0, logical = 0;
        for (size_t k = 0; k < out.y_count; k++)
            if (k % (size_t)r.padded >= 5)
                assert_true(out.y[k] == 0);
        for (size_t k = 0; k < out.gradient_count; k++)
            zeros += out.gradient[k] == 0;
        for (int p = 0; p < cell->parameter_count; p++)
            logical += logical_count(&r, p);
        assert_true(zeros >= out.gradient_count - logical);
        free_bits(&out);
        close_rig(&r);
        car_cell_free(cell);
    }
}

/* ---- Taps, overrides, shared parameters, errors ------------------------------------------------------- */

static void taps_show_values_and_change_nothing(void **state) {
    (void)state;
    struct car_cell *cell = compile(car_zoo_text("lstm"), "lstm");
    const char *names[] = {"f", "c", "o"};
    car_plan_options options = {.tap_count = 3, .taps = names};
    rig r;
    open_rig(&r, precision_of(state), cell, car_kernels_of(car_cpu_highest()), (car_shape){6, 1},
             18, 2, 4);
    bits plain = run_bits(&r, false, 1);
    car_plan *tapped;
    assert_int_equal(car_plan_create(cell, r.input, 18, &options, NULL, &tapped, NULL), CAR_OK);
    car_plan_free(r.plan);
    r.plan = tapped;
    place_layer(&r, 2, 4, false, 1, false);
    car_layer_forward(r.layer, 4, r.x, r.running);
    assert_memory_equal(plain.y, car_layer_output(r.layer, 0), plain.y_count * sizeof(float));
    car_vector_slot f = car_layer_tap(r.layer, 0, 0), c = car_layer_tap(r.layer, 1, 0),
                    o = car_layer_tap(r.layer, 2, 0);
    for (int row = 0; row < 8; row++)
        for (int u = 0; u < 18; u++) {
            int64_t at = u / 16 * f.block_stride + u % 16;
            float gate = f.base[row * f.row_stride + at];
            double h = (double)o.base[row * o.row_stride + at] *
                       tanh((double)c.base[row * c.row_stride + at]);
            assert_true(gate > 0 && gate < 1);
            assert_true(fabs(h - (double)plain.y[row * r.padded + u]) < 1e-6);
        }
    free_bits(&plain);
    close_rig(&r);
    car_cell_free(cell);
}

static void frozen_gate_equals_the_cell_without_it(void **state) {
    (void)state;
    struct car_cell *cell = compile(car_zoo_text("lstm"), "lstm");
    car_override override = {"o", 1};
    car_plan_options options = {.override_count = 1, .overrides = &override};
    rig r;
    open_rig(&r, precision_of(state), cell, car_kernels_of(car_cpu_highest()), (car_shape){6, 1},
             18, 2, 4);
    car_plan *frozen;
    const char *names[] = {"c"};
    options.tap_count = 1;
    options.taps = names;
    assert_int_equal(car_plan_create(cell, r.input, 18, &options, NULL, &frozen, NULL), CAR_OK);
    assert_int_equal(car_plan_weight_floats(frozen), car_plan_weight_floats(r.plan));
    car_plan_free(r.plan);
    r.plan = frozen;
    place_layer(&r, 2, 4, false, 1, false);
    car_layer_forward(r.layer, 4, r.x, r.running);
    car_vector_slot c = car_layer_tap(r.layer, 0, 0);
    for (int row = 0; row < 8; row++)
        for (int u = 0; u < 18; u++)
            assert_true(
                fabs(tanh((double)c.base[row * c.row_stride + u / 16 * c.block_stride + u % 16]) -
                     (double)car_layer_output(r.layer, 0)[row * r.padded + u]) < 1e-6);
    close_rig(&r);
    car_cell_free(cell);
}

/* Where values are replaced a plan makes means of squares and 1/sqrt of them as any other value: the same bits. */
static void check_norm_with_override(void **state, const char *text) {
    struct car_cell *cell = compile(text, "probe");
    const car_override override = {"u", 0};
    const car_plan_options options = {
        .precision = precision_of(state), .override_count = 1, .overrides = &override};
    rig r;
    open_rig(&r, precision_of(state), cell, car_kernels_of(car_cpu_highest()), (car_shape){6, 1},
             18, 3, 5);
    float *zeros = must(18, sizeof(float));
    for (int p = 0; p < cell->parameter_count; p++)
        if (strcmp(cell->parameters[p].name, "b") == 0)
            for (int copy = 0; copy < 2; copy++)
                car_plan_pack(r.plan, p, zeros, copy ? r.weights : r.running);
    bits plain = run_bits(&r, false, 1);
    car_plan_free(r.plan);
    assert_int_equal(car_plan_create(cell, r.input, 18, &options, NULL, &r.plan, NULL), CAR_OK);
    place_layer(&r, 3, 5, false, 1, false);
    car_layer_forward(r.layer, 5, r.x, r.running);
    assert_memory_equal(plain.y, car_layer_output(r.layer, 0), plain.y_count * sizeof(float));
    car_release(NULL, zeros);
    free_bits(&plain);
    close_rig(&r);
    car_cell_free(cell);
}

static void norms_are_the_same_in_a_plan_with_overrides(void **state) {
    check_norm_with_override(
        state, "cell probe(x) -> h\nstate h\nu = tanh(b)\nh' = tanh(layernorm(W@x + U@h) + u)\n");
    check_norm_with_override(state, "cell probe(x) -> h\nstate h\nu = tanh(b)\na = W@x + U@h\n"
                                    "h' = tanh(a*(1/sqrt(mean(a*a) + 0.1)) + 0.1*mean(u*u) + u)\n");
}

/* What a norm divides by is made once a row: its programs neither divide nor take a root. */
static void programs_of_a_norm_do_not_divide(void **state) {
    struct car_cell *cell = compile(car_zoo_text("layernorm-lstm"), "layernorm-lstm");
    const car_plan_options options = {.training = true, .precision = precision_of(state)};
    car_plan *plan;
    car_text text;
    assert_int_equal(car_plan_create(cell, (car_shape){6, 1}, 18, &options, NULL, &plan, NULL),
                     CAR_OK);
    car_text_start(&text, NULL);
    car_plan_explain(plan, &text);
    int inverses = 0;
    for (const char *at = text.data; (at = strstr(at, "1 / sqrt of these")); at++)
        inverses++;
    assert_int_equal(inverses, 5);
    assert_null(strstr(text.data, "= sqrt"));
    assert_null(strstr(text.data, "= divide"));
    car_text_free(&text);
    car_plan_free(plan);
    car_cell_free(cell);
}

/* Cells that stress the schedule: shared parameters, two products of one operand, means, several stages, ... */
static const char *const awkward[] = {
    "cell shared(x) -> h\nstate h, z\nz' = tanh(U@h + W@x)\nh' = tanh(U@z' + U@h + W@x + b)\n",
    "cell twice(x) -> h\nstate h\nh' = tanh(A@h + B@h + W@x)*sigmoid(A@h)\n",
    "cell deep(x) -> y\ny = tanh(W3@tanh(W2@tanh(W1@x + b1) + b2) + b3)\n",
    "cell raw(x) -> y\nstate h\nh' = W@x + U@h + b\ny = h'*h' + V@h'\n",
    "cell used(x) -> h\nstate h\na = W@x + U@h + b\nh' = a*sigmoid(a) - softplus(a)*0.1\n",
    "cell stages(x) -> h\nstate h, c\nr = sigmoid(Wr@x + Ur@h + br)\nc' = tanh(Uc@(r*h) + Wc@x) + "
    "0.5*c\n"
    "q = sigmoid(Uq@c' + Wq@x)\nh' = q*h + (1 - q)*tanh(Uh@(q*c') + bh)\n",
    "cell means(x) -> h\nstate h\na = W@x + U@h\nm = mean(a*a)\nh' = tanh(a/sqrt(m + 0.5))*g + "
    "mean(h)\n",
    "cell norms(x) -> h\nstate h\na = W@x + U@h\nd = a - mean(a)\nv = mean(d*d)\nr = 1/sqrt(v + "
    "0.1)\n"
    "h' = tanh(d*r*g) + 0.1*(1/sqrt(v + 0.2))*d + 0.1*v + 0.1*r\n",
    "cell roots(x) -> h\nstate h, c\na = W@x + U@h\nr = 1/sqrt(mean(a*a) + 0.1)\ny = a*r\n"
    "c' = tanh(g*y + b) + 0.1*y + 0.1*r\nh' = tanh(g*layernorm(c') + k*(g*layernorm(a + c)))\n",
    "cell flat(x) -> y\ny = tanh(g*layernorm(W@x + b) + k)\n",
    "cell squares(x) -> h\nstate h\na = W@x\ns = tanh(a*(1/sqrt(mean(a*a) + 0.1)) + U@h)\nh' = s + "
    "x*(1/sqrt(mean(x*x) + 0.1)) + 0.1*mean(b*b) + 0.1*mean(h*h) + u*mean(s*s)\n",
    "cell early(x) -> h\nstate h\nh' = tanh(layernorm(W@x) + U@h + g*layernorm(h + b))\n",
    "cell diagonal(x) -> h\nstate h, s\ns' = 0.9*s + u*h + W@x\nh' = max(s', v*h) - min(s, 0.3)\n",
    "cell same(x) -> h\nstate h, k\nh' = tanh(W@x + U@h + V@k)\nk' = h'\n",
    "cell order(x) -> h\nstate h, k\nh' = tanh(A@h + B@k + W@x)\nk' = tanh(C@k + D@h + V@x)\n",
    "cell late(x) -> y\nstate h\nh' = tanh(W@x + U@h + b)\ny = exp(0.1*h')*sigmoid(V@h' + bv) + "
    "h\n",
};

static void awkward_cells_agree_with_the_oracle(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof awkward / sizeof *awkward; i++) {
        struct car_cell *cell = compile(awkward[i], "awkward");
        double worst[2] = {0, 0};
        check_cell(precision_of(state), cell, car_kernels_of(car_cpu_highest()), worst);
        check_threads(state, awkward[i], "awkward", 340, cell->input_is_hidden ? 340 : 12, 3, 3);
        car_cell_free(cell);
    }
}

/* ---- Random cells ------------------------------------------------------------------------------------- */

static int choose(uint32_t *seed, int count) {
    return (int)((random_number(seed) * 0.5 + 0.5) * count) % count;
}

/* A random expression over x, the states and what the equations name; every function keeps its values moderate. */
static void write_expression(car_text *text, uint32_t *seed, int depth, int *names) {
    static const char *const wrappers[] = {"sigmoid(%)",
                                           "tanh(%)",
                                           "relu(%)",
                                           "softplus(%)",
                                           "abs(%)",
                                           "exp(tanh(%))",
                                           "log(softplus(%) + 0.5)",
                                           "sqrt(softplus(%) + 0.1)",
                                           "mean(%)",
                                           "(-%)",
                                           "(%)/(1 + abs(h))"};
    static const char *const pairs[] = {"(", ")*(",  ")",  "(", " + ",  ")",  "(", " - ",
                                        ")", "max(", ", ", ")", "min(", ", ", ")"};
    static const char *const leaves[] = {"h", "c", "h'", "0.7", "M@h", "M@c"};
    int kind = depth == 0 ? 2 + choose(seed, 2) : choose(seed, 5);
    if (kind == 0) {
        const char *wrapper = wrappers[choose(seed, (int)(sizeof wrappers / sizeof *wrappers))];
        const char *hole = strchr(wrapper, '%');
        car_text_add(text, wrapper, (size_t)(hole - wrapper));
        write_expression(text, seed, depth - 1, names);
        car_text_format(text, "%s", hole + 1);
    } else if (kind == 1) {
        int pair = 3 * choose(seed, 5);
        car_text_format(text, "%s", pairs[pair]);
        write_expression(text, seed, depth - 1, names);
        car_text_format(text, "%s", pairs[pair + 1]);
        write_expression(text, seed, depth - 1, names);
        car_text_format(text, "%s", pairs[pair + 2]);
    } else if (kind == 2) {
        car_text_format(text, "%s", leaves[choose(seed, 6)]);
    } else if (kind == 3) {
        car_text_format(text, "(W%d@x + U%d@c + b%d)", *names, *names, *names);
        ++*names;
    } else {
        car_text_format(text, "P%d@tanh(h + ", (*names)++);
        write_expression(text, seed, depth - 1, names);
        car_text_format(text, ")");
    }
}

static void random_cells_agree_with_the_oracle(void **state) {
    (void)state;
    uint32_t seed = 2015;
    double worst[2] = {0, 0};
    const char *longer = getenv("CAROUSEL_LONG_TESTS");
    int cells = longer && *longer ? 3000 : 300;
    for (int i = 0; i < cells; i++) {
        car_text text;
        int names = 0;
        car_text_start(&text, NULL);
        car_text_format(
            &text,
            "cell random(x) -> y\nstate h, c\nh' = tanh(Wh@x + M@h + N@c)\nc' = tanh(V@c + ");
        write_expression(&text, &seed, 4, &names);
        car_text_format(&text, ")\ny = tanh(");
        write_expression(&text, &seed, 4, &names);
        car_text_format(&text, ") + c'\n");
        assert_false(text.failed);
        struct car_cell *cell = compile(text.data, text.data);
        check_cell(precision_of(state), cell, car_kernels_of(car_cpu_highest()), worst);
        car_cell_free(cell);
        car_text_free(&text);
    }
    print_message("%d random cells: worst forward error %.3g, gradient %.3g\n", cells, worst[0],
                  worst[1]);
}

static void sizes_that_do_not_fit_are_refused(void **state) {
    (void)state;
    struct car_cell *cell = compile(car_zoo_text("mut1"), "mut1");
    car_plan_options options = {.training = true};
    car_plan *plan;
    car_error error = {0};
    assert_int_equal(car_plan_create(cell, (car_shape){7, 1}, 8, &options, NULL, &plan, &error),
                     CAR_USAGE);
    assert_non_null(strstr(error.message, "dense 8"));
    assert_non_null(strstr(error.message, "[7]"));
    car_cell_free(cell);
}

typedef struct counting {
    int left, live;
} counting;

static void *count_allocate(void *context, size_t size, size_t alignment) {
    counting *counter = context;
    if (counter->left-- <= 0)
        return NULL;
    counter->live++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void count_release(void *context, void *block) {
    ((counting *)context)->live--;
    free(block);
}

static void running_out_of_memory_leaks_nothing(void **state) {
    (void)state;
    struct car_cell *cell = compile(car_zoo_text("slstm"), "slstm");
    car_plan_options options = {.training = true};
    for (int n = 0;; n++) {
        counting counter = {n, 0};
        car_allocator allocator = {&counter, count_allocate, count_release};
        car_plan *plan;
        car_status status =
            car_plan_create(cell, (car_shape){4, 1}, 8, &options, &allocator, &plan, NULL);
        if (status == CAR_OK) {
            car_plan_free(plan);
            assert_int_equal(counter.live, 0);
            assert_true(n > 0);
            break;
        }
        assert_int_equal(status, CAR_MEMORY);
        assert_int_equal(counter.live, 0);
    }
    car_cell_free(cell);
}

/* The same test with all products in bf16. */
#define in_bf16(test)                                                                              \
    { #test " in bf16", test, NULL, NULL, &bf16 }

int main(void) {
    static car_precision bf16 = CAR_PRECISION_BF16;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zoo_agrees_with_the_oracle),
        in_bf16(zoo_agrees_with_the_oracle),
        cmocka_unit_test(awkward_cells_agree_with_the_oracle),
        in_bf16(awkward_cells_agree_with_the_oracle),
        cmocka_unit_test(random_cells_agree_with_the_oracle),
        cmocka_unit_test(threads_change_no_bit),
        in_bf16(threads_change_no_bit),
        cmocka_unit_test(chunks_change_no_bit),
        in_bf16(chunks_change_no_bit),
        cmocka_unit_test(rounds_change_no_bit_of_a_gradient),
        in_bf16(rounds_change_no_bit_of_a_gradient),
        cmocka_unit_test(what_nobody_asks_for_changes_no_weight),
        in_bf16(what_nobody_asks_for_changes_no_weight),
        cmocka_unit_test(lanes_do_not_see_each_other),
        in_bf16(lanes_do_not_see_each_other),
        cmocka_unit_test(reverse_is_forward_on_reversed_time),
        in_bf16(reverse_is_forward_on_reversed_time),
        cmocka_unit_test(padding_stays_zero),
        in_bf16(padding_stays_zero),
        cmocka_unit_test(taps_show_values_and_change_nothing),
        cmocka_unit_test(norms_are_the_same_in_a_plan_with_overrides),
        cmocka_unit_test(programs_of_a_norm_do_not_divide),
        cmocka_unit_test(frozen_gate_equals_the_cell_without_it),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
        in_bf16(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
