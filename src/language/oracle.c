/*
 * oracle.c: the graphs in double with plain loops, one lane: slow, and simple enough to be believed.
 *
 * Comes in: a cell, sizes, parameters and x in their logical layouts. Goes out: y, states and every value of
 * the forward pass; for the backward pass (truncated nowhere) the gradients of
 * sum(dy*y) + sum(dfinal * final state), by interpreting the gradient graph from the last step to the first.
 * Nothing is scheduled, packed or fused here; the fast path is judged by this.
 */
#include "syntax.h"
#include <math.h>
#include <string.h>

/* Rows of `width` values: width = max(units, input size), since x is the only value that is not [n]. */
typedef struct car_run {
    const car_oracle *oracle;
    const struct car_cell *cell;
    const car_graph *graph;
    int units, input_size, width;
    double *values;   /* [T][graph count][width] forward */
    double *states;   /* [T+1][S][n] */
    double *gradient; /* [gradient count][width] of one step */
} car_run;

static double sigmoid(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

static double apply(car_op op, double a, double b) {
    switch (op) {
    case CAR_OP_ADD:
        return a + b;
    case CAR_OP_SUBTRACT:
        return a - b;
    case CAR_OP_MULTIPLY:
        return a * b;
    case CAR_OP_DIVIDE:
        return a / b;
    case CAR_OP_NEGATE:
        return -a;
    case CAR_OP_SIGMOID:
        return sigmoid(a);
    case CAR_OP_TANH:
        return tanh(a);
    case CAR_OP_RELU:
        return a > 0 ? a : 0;
    case CAR_OP_EXP:
        return exp(a);
    case CAR_OP_LOG:
        return log(a);
    case CAR_OP_SQRT:
        return sqrt(a);
    case CAR_OP_SOFTPLUS:
        return a > 0 ? a + log1p(exp(-a)) : log1p(exp(a));
    case CAR_OP_ABS:
        return fabs(a);
    case CAR_OP_MAX:
        return a > b ? a : b;
    case CAR_OP_MIN:
        return a < b ? a : b;
    case CAR_OP_GREATER:
        return a > b ? 1 : 0;
    case CAR_OP_SIGMOID_GRADIENT:
        return a * b * (1 - b);
    case CAR_OP_TANH_GRADIENT:
        return a * (1 - b * b);
    default:
        return NAN;
    }
}

static void elementwise(car_op op, const double *a, const double *b, int count, double *out) {
    if (op == CAR_OP_MEAN) {
        double sum = 0;
        for (int k = 0; k < count; k++)
            sum += a[k];
        for (int k = 0; k < count; k++)
            out[k] = sum / count;
        return;
    }
    for (int k = 0; k < count; k++)
        out[k] = apply(op, a[k], b ? b[k] : 0);
}

/* out[rows] = start (or 0) + P[rows][columns] a */
static void multiply(const double *matrix, const double *a, const double *start, int rows,
                     int columns, double *out) {
    for (int r = 0; r < rows; r++) {
        double sum = start ? start[r] : 0;
        for (int c = 0; c < columns; c++)
            sum += matrix[(size_t)r * (size_t)columns + (size_t)c] * a[c];
        out[r] = sum;
    }
}

static void multiply_transposed(const double *matrix, const double *a, const double *start,
                                int rows, int columns, double *out) {
    for (int c = 0; c < columns; c++) {
        double sum = start ? start[c] : 0;
        for (int r = 0; r < rows; r++)
            sum += matrix[(size_t)r * (size_t)columns + (size_t)c] * a[r];
        out[c] = sum;
    }
}

static void fill(double *out, double value, int count) {
    for (int k = 0; k < count; k++)
        out[k] = value;
}

static double *row(const car_run *run, double *rows, int node) {
    return node < 0 ? NULL : rows + (size_t)node * (size_t)run->width;
}

static double *step_values(const car_run *run, int step) {
    return run->values + (size_t)step * (size_t)run->graph->count * (size_t)run->width;
}

static double *step_state(const car_run *run, int step, int state) {
    size_t place = (size_t)step * (size_t)run->cell->state_count + (size_t)state;
    return run->states + place * (size_t)run->units;
}

/* Columns of the matrix of a product whose operand is forward node `operand`. */
static int columns_of(const car_run *run, const car_graph *graph, int operand) {
    return graph->nodes[operand].op == CAR_OP_INPUT ? run->input_size : run->units;
}

static void forward_node(const car_run *run, int step, int i) {
    const car_node *node = &run->graph->nodes[i];
    double *rows = step_values(run, step), *out = row(run, rows, i);
    const double *a = row(run, rows, node->a), *b = row(run, rows, node->b);
    const car_oracle *oracle = run->oracle;
    switch (node->op) {
    case CAR_OP_INPUT:
        memcpy(out, oracle->x + (size_t)step * (size_t)run->input_size,
               (size_t)run->input_size * sizeof *out);
        break;
    case CAR_OP_STATE:
        memcpy(out, step_state(run, step, node->index), (size_t)run->units * sizeof *out);
        break;
    case CAR_OP_CONSTANT:
        fill(out, node->value, run->units);
        break;
    case CAR_OP_VECTOR:
        memcpy(out, oracle->parameters[node->index], (size_t)run->units * sizeof *out);
        break;
    case CAR_OP_PRODUCT:
        multiply(oracle->parameters[node->index], a, b, run->units,
                 columns_of(run, run->graph, node->a), out);
        break;
    default:
        elementwise(node->op, a, b, run->units, out);
    }
}

static car_status check_sizes(const car_oracle *oracle, car_error *error) {
    if (oracle->units < 1 || oracle->input_size < 1 || oracle->steps < 1)
        return car_fail(error, CAR_USAGE, "oracle: units, input size and steps must be above 0");
    if (oracle->cell->input_is_hidden && oracle->input_size != oracle->units)
        return car_fail(error, CAR_USAGE,
                        "%.80s:%d:%d: x [%d] is used with values [%d]; give both the same size",
                        oracle->cell->origin, oracle->cell->input_line, oracle->cell->input_column,
                        oracle->input_size, oracle->units);
    return CAR_OK;
}

/* Runs all steps; the values are in run->values, which the caller releases whatever is returned. */
static car_status run_forward(car_run *run, const car_oracle *oracle, car_error *error) {
    const struct car_cell *cell = oracle->cell;
    *run = (car_run){.oracle = oracle, .cell = cell};
    CAR_TRY(check_sizes(oracle, error));
    run->graph = oracle->use_source ? &cell->source : &cell->graph;
    run->units = oracle->units;
    run->input_size = oracle->input_size;
    run->width = run->units > run->input_size ? run->units : run->input_size;
    size_t rows, states, steps = (size_t)oracle->steps;
    bool fits = car_multiply(steps, (size_t)run->graph->count, &rows) &&
                car_multiply(rows, (size_t)run->width, &rows) &&
                car_multiply(steps + 1, (size_t)cell->state_count * (size_t)run->units, &states);
    if (fits) {
        run->values = car_allocate(NULL, rows, sizeof(double));
        run->states = car_allocate(NULL, states, sizeof(double));
    }
    if (!run->values || !run->states)
        return car_fail(error, CAR_MEMORY, "oracle: out of memory; use fewer steps or units");
    const int *next = oracle->use_source ? cell->source_next : cell->next;
    size_t size = (size_t)run->units * sizeof(double);
    if (cell->state_count > 0)
        memcpy(run->states, oracle->initial, (size_t)cell->state_count * size);
    for (int t = 0; t < oracle->steps; t++) {
        for (int i = 0; i < run->graph->count; i++)
            forward_node(run, t, i);
        for (int s = 0; s < cell->state_count; s++)
            memcpy(step_state(run, t + 1, s), row(run, step_values(run, t), next[s]), size);
    }
    return CAR_OK;
}

static void release(car_run *run) {
    car_release(NULL, run->values);
    car_release(NULL, run->states);
    car_release(NULL, run->gradient);
}

car_status car_oracle_forward(const car_oracle *oracle, double *y, double *states, double *values,
                              car_error *error) {
    car_run run;
    car_status status = run_forward(&run, oracle, error);
    size_t units = (size_t)run.units, size = units * sizeof(double);
    int output = oracle->use_source ? oracle->cell->source_output : oracle->cell->output;
    for (int t = 0; status == CAR_OK && t < oracle->steps; t++) {
        if (y)
            memcpy(y + (size_t)t * units, row(&run, step_values(&run, t), output), size);
        for (int i = 0; values && i < run.graph->count; i++) {
            bool other_size = run.graph->nodes[i].op == CAR_OP_INPUT && run.input_size != run.units;
            if (!other_size)
                memcpy(values + ((size_t)t * (size_t)run.graph->count + (size_t)i) * units,
                       row(&run, step_values(&run, t), i), size);
        }
    }
    if (status == CAR_OK && states)
        memcpy(states, run.states,
               ((size_t)oracle->steps + 1) * (size_t)oracle->cell->state_count * size);
    release(&run);
    return status;
}

/* ---- Backward ----------------------------------------------------------------------------------------- */

static void gradient_node(const car_run *run, int step, const double *dy, const double *dstates,
                          int i) {
    const car_node *node = &run->cell->gradient.graph.nodes[i];
    double *out = row(run, run->gradient, i), *forward = step_values(run, step);
    const double *a = row(run, run->gradient, node->a), *b = row(run, run->gradient, node->b);
    size_t units = (size_t)run->units;
    const car_node *product;
    switch (node->op) {
    case CAR_OP_FORWARD:
        memcpy(out, row(run, forward, node->index), (size_t)run->width * sizeof *out);
        break;
    case CAR_OP_OUTPUT_GRADIENT:
        memcpy(out, dy + (size_t)step * units, units * sizeof *out);
        break;
    case CAR_OP_STATE_GRADIENT:
        memcpy(out, dstates + (size_t)node->index * units, units * sizeof *out);
        break;
    case CAR_OP_CONSTANT:
        fill(out, node->value, run->units);
        break;
    case CAR_OP_TRANSPOSED_PRODUCT:
        product = &run->cell->graph.nodes[node->index];
        multiply_transposed(run->oracle->parameters[product->index], a, b, run->units,
                            columns_of(run, &run->cell->graph, product->a), out);
        break;
    default:
        elementwise(node->op, a, b, run->units, out);
    }
}

/* dP += outer(gradient, operand), dv += gradient */
static void contribute(const car_run *run, int step, double *const *dparameters) {
    const car_gradient *gradient = &run->cell->gradient;
    for (int i = 0; i < gradient->contribution_count; i++) {
        const car_contribution *part = &gradient->contributions[i];
        const double *g = row(run, run->gradient, part->gradient);
        double *to = dparameters[part->parameter];
        if (part->operand < 0) {
            for (int r = 0; r < run->units; r++)
                to[r] += g[r];
            continue;
        }
        int columns = columns_of(run, &run->cell->graph, part->operand);
        const double *operand = row(run, step_values(run, step), part->operand);
        for (int r = 0; r < run->units; r++)
            for (int c = 0; c < columns; c++)
                to[(size_t)r * (size_t)columns + (size_t)c] += g[r] * operand[c];
    }
}

/* One step back: reads dL/d(states after) in dstates and leaves dL/d(states before) there. */
static void backward_step(const car_run *run, int step, const double *dy, double *dstates,
                          double *dx, double *const *dparameters) {
    const struct car_cell *cell = run->cell;
    for (int i = 0; i < cell->gradient.graph.count; i++)
        gradient_node(run, step, dy, dstates, i);
    contribute(run, step, dparameters);
    size_t input = (size_t)run->input_size, units = (size_t)run->units;
    double *to = dx + (size_t)step * input;
    if (cell->gradient.input >= 0)
        memcpy(to, row(run, run->gradient, cell->gradient.input), input * sizeof *to);
    else
        memset(to, 0, input * sizeof *to);
    for (int s = 0; s < cell->state_count; s++) {
        const double *from = row(run, run->gradient, cell->gradient.state[s]);
        for (size_t k = 0; k < units; k++)
            dstates[(size_t)s * units + k] = from ? from[k] : 0;
    }
}

static void clear_parameters(const car_oracle *oracle, double *const *dparameters) {
    for (int p = 0; p < oracle->cell->parameter_count; p++) {
        const car_parameter *parameter = &oracle->cell->parameters[p];
        size_t columns = parameter->kind != CAR_MATRIX ? 1
                         : parameter->from_input       ? (size_t)oracle->input_size
                                                       : (size_t)oracle->units;
        memset(dparameters[p], 0, (size_t)oracle->units * columns * sizeof(double));
    }
}

car_status car_oracle_backward(const car_oracle *oracle, const double *dy, const double *dfinal,
                               double *dx, double *dinitial, double *const *dparameters,
                               car_error *error) {
    car_oracle canonical = *oracle;
    canonical.use_source = false;
    car_run run;
    car_status status = run_forward(&run, &canonical, error);
    if (status == CAR_OK) {
        run.gradient = car_allocate(
            NULL, (size_t)oracle->cell->gradient.graph.count * (size_t)run.width, sizeof(double));
        if (!run.gradient)
            status = car_fail(error, CAR_MEMORY, "oracle: out of memory; use fewer units");
    }
    if (status == CAR_OK) {
        clear_parameters(oracle, dparameters);
        size_t size = (size_t)oracle->cell->state_count * (size_t)run.units * sizeof(double);
        if (size)
            memcpy(dinitial, dfinal, size);
        for (int t = oracle->steps - 1; t >= 0; t--)
            backward_step(&run, t, dy, dinitial, dx, dparameters);
    }
    release(&run);
    return status;
}
