/*
 * derivative.c: the gradient graph against central differences.
 *
 * Comes in: a cell and sizes. Random parameters, inputs, states and weights of the loss are drawn; then every
 * scalar p among parameters, x and initial states is moved by +-h and +-h/2:
 * D(h) = (L(p+h) - L(p-h)) / 2h, and the two are extrapolated (Richardson): (4 D(h/2) - D(h)) / 3.
 * Where the two differ by more than smoothness and rounding allow, a kink is near or the place is
 * ill-conditioned: it is set aside. Goes out: the worst error relative to the derivative, or to a thousandth
 * of the largest one where the derivative is smaller than that.
 */
#include "syntax.h"
#include <math.h>
#include <string.h>

static const double step_size = 2e-4;
static const double agreement = 1e-6; /* of D(h) and D(h/2), relative like the error */

typedef struct car_trial {
    car_oracle oracle;
    double *scalars;   /* parameters, x, initial states one after the other */
    double *gradients; /* the same places */
    int scalar_count;
    double **parameters, **dparameters;
    double *x, *initial, *dx, *dinitial;
    double *dy, *dfinal, *y, *states;
    double *difference; /* [scalars][2] D(h), D(h/2) */
} car_trial;

static size_t parameter_size(const car_parameter *parameter, int units, int input_size) {
    size_t columns = parameter->kind != CAR_MATRIX ? 1
                     : parameter->from_input       ? (size_t)input_size
                                                   : (size_t)units;
    return (size_t)units * columns;
}

static bool place_arrays(car_trial *trial, car_arena *arena) {
    const struct car_cell *cell = trial->oracle.cell;
    size_t units = (size_t)trial->oracle.units, input = (size_t)trial->oracle.input_size;
    size_t steps = (size_t)trial->oracle.steps, states = (size_t)cell->state_count * units;
    size_t count = steps * input + states;
    for (int p = 0; p < cell->parameter_count; p++)
        count += parameter_size(&cell->parameters[p], (int)units, (int)input);
    trial->scalar_count = (int)count;
    trial->scalars = car_arena_allocate(arena, count, sizeof(double));
    trial->gradients = car_arena_allocate(arena, count, sizeof(double));
    trial->difference = car_arena_allocate(arena, count, 2 * sizeof(double));
    trial->parameters =
        car_arena_allocate(arena, (size_t)cell->parameter_count + 1, sizeof(double *));
    trial->dparameters =
        car_arena_allocate(arena, (size_t)cell->parameter_count + 1, sizeof(double *));
    trial->dy = car_arena_allocate(arena, steps * units, sizeof(double));
    trial->y = car_arena_allocate(arena, steps * units, sizeof(double));
    trial->dfinal = car_arena_allocate(arena, states + 1, sizeof(double));
    trial->states = car_arena_allocate(arena, (steps + 1) * states + 1, sizeof(double));
    if (!trial->scalars || !trial->gradients || !trial->difference || !trial->parameters ||
        !trial->dparameters || !trial->dy || !trial->y || !trial->dfinal || !trial->states)
        return false;
    size_t at = 0;
    for (int p = 0; p < cell->parameter_count; p++) {
        trial->parameters[p] = trial->scalars + at;
        trial->dparameters[p] = trial->gradients + at;
        at += parameter_size(&cell->parameters[p], (int)units, (int)input);
    }
    trial->x = trial->scalars + at, trial->dx = trial->gradients + at;
    at += steps * input;
    trial->initial = trial->scalars + at, trial->dinitial = trial->gradients + at;
    trial->oracle.parameters = (const double *const *)trial->parameters;
    trial->oracle.x = trial->x;
    trial->oracle.initial = trial->initial;
    return true;
}

/* Everything from N(0, 1/4), but matrices from N(0, 1/columns); states around their initial value if moderate. */
static void draw(car_trial *trial, uint64_t seed) {
    const struct car_cell *cell = trial->oracle.cell;
    car_random_key key = {seed, CAR_RANDOM_TEST, 0};
    for (int i = 0; i < trial->scalar_count; i++)
        trial->scalars[i] = 0.5 * car_random_normal(key, 0, (uint64_t)i);
    for (int p = 0; p < cell->parameter_count; p++) {
        const car_parameter *parameter = &cell->parameters[p];
        if (parameter->kind != CAR_MATRIX)
            continue;
        int columns = parameter->from_input ? trial->oracle.input_size : trial->oracle.units;
        size_t size = parameter_size(parameter, trial->oracle.units, trial->oracle.input_size);
        for (size_t k = 0; k < size; k++)
            trial->parameters[p][k] *= 2 / sqrt(columns);
    }
    for (int s = 0; s < cell->state_count; s++)
        for (int k = 0; k < trial->oracle.units; k++)
            if (fabs(cell->state_init[s].value) <= 10)
                trial->initial[s * trial->oracle.units + k] += cell->state_init[s].value;
    int rows = trial->oracle.steps * trial->oracle.units;
    for (int i = 0; i < rows; i++)
        trial->dy[i] = car_random_normal(key, 1, (uint64_t)i);
    for (int i = 0; i < cell->state_count * trial->oracle.units; i++)
        trial->dfinal[i] = car_random_normal(key, 2, (uint64_t)i);
}

static car_status loss(car_trial *trial, double *value, car_error *error) {
    const car_oracle *oracle = &trial->oracle;
    int count = oracle->cell->state_count * oracle->units;
    CAR_TRY(car_oracle_forward(oracle, trial->y, trial->states, NULL, error));
    *value = 0;
    for (int i = 0; i < oracle->steps * oracle->units; i++)
        *value += trial->dy[i] * trial->y[i];
    for (int i = 0; i < count; i++)
        *value += trial->dfinal[i] * trial->states[oracle->steps * count + i];
    return CAR_OK;
}

static car_status differences(car_trial *trial, car_error *error) {
    for (int i = 0; i < trial->scalar_count; i++) {
        double before = trial->scalars[i];
        for (int half = 0; half < 2; half++) {
            double above, below, h = half ? step_size / 2 : step_size;
            volatile double up = before + h, down = before - h;
            trial->scalars[i] = up;
            CAR_TRY(loss(trial, &above, error));
            trial->scalars[i] = down;
            CAR_TRY(loss(trial, &below, error));
            trial->difference[2 * i + half] = (above - below) / (up - down);
        }
        trial->scalars[i] = before;
    }
    return CAR_OK;
}

static void compare(const car_trial *trial, car_derivative_check *check) {
    double largest = 0;
    for (int i = 0; i < trial->scalar_count; i++)
        if (isfinite(trial->difference[2 * i + 1]))
            largest = fmax(largest, fabs(trial->difference[2 * i + 1]));
    *check = (car_derivative_check){.points = trial->scalar_count};
    for (int i = 0; i < trial->scalar_count; i++) {
        double coarse = trial->difference[2 * i], fine = trial->difference[2 * i + 1];
        double best = (4 * fine - coarse) / 3;
        double scale = fmax(fmax(fabs(best), 1e-3 * largest), 1e-12);
        double error = fabs(trial->gradients[i] - best) / scale;
        if (!(fabs(coarse - fine) <= agreement * scale))
            check->set_aside++;
        else if (!(error <= check->worst_error))
            check->worst_error = isnan(error) ? INFINITY : error;
    }
}

car_status car_oracle_check(const struct car_cell *cell, int units, int input_size, int steps,
                            uint64_t seed, car_derivative_check *check, car_error *error) {
    if (units < 1 || input_size < 1 || steps < 1 || units > 64 || input_size > 64 || steps > 64)
        return car_fail(error, CAR_USAGE,
                        "derivative check: units, input size and steps must be from 1 to 64");
    car_trial trial = {
        .oracle = {.cell = cell, .units = units, .input_size = input_size, .steps = steps}};
    car_arena *arena = car_arena_create(cell->allocator);
    car_status status = CAR_OK;
    if (!arena || !place_arrays(&trial, arena))
        status = car_fail(error, CAR_MEMORY, "derivative check: out of memory; use fewer units");
    if (status == CAR_OK) {
        draw(&trial, seed);
        status = car_oracle_backward(&trial.oracle, trial.dy, trial.dfinal, trial.dx,
                                     trial.dinitial, trial.dparameters, error);
    }
    if (status == CAR_OK)
        status = differences(&trial, error);
    if (status == CAR_OK)
        compare(&trial, check);
    car_arena_free(arena);
    return status;
}
