/*
 * test_derivative.c: the maths of cells: the oracle against formulas written by hand, every gradient against
 * central differences, the canonical graph against the equations as written.
 *
 * It holds for every cell of the zoo and for 1,000 random ones; the generator knows nothing of the compiler:
 * it writes text.
 */
#include "language.h"
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random_cells.h"

enum { UNITS = 4, STEPS = 3, RANDOM_CELLS = 1000 };
static const double derivative_bound = 1e-6, canonical_bound = 1e-12;

static car_cell *compile(const char *text) {
    car_cell *cell = NULL;
    car_error error = {.message = ""};
    if (car_cell_compile(text, strlen(text), "test.cell", NULL, &cell, &error) != CAR_OK)
        fail_msg("%s\n%s", error.message, text);
    return cell;
}

/* ---- Inputs of an oracle run -------------------------------------------------------------------------- */

typedef struct bench {
    car_oracle oracle;
    double *numbers;
    const double **parameters;
} bench;

static size_t columns_of(const struct car_cell *cell, int parameter, int input) {
    const car_parameter *p = &cell->parameters[parameter];
    return p->kind != CAR_MATRIX ? 1 : p->from_input ? (size_t)input : UNITS;
}

static void bench_start(bench *made, const struct car_cell *cell, uint64_t seed) {
    int input = cell->input_is_hidden ? UNITS : 3;
    size_t count = STEPS * (size_t)input + (size_t)cell->state_count * UNITS;
    for (int p = 0; p < cell->parameter_count; p++)
        count += UNITS * columns_of(cell, p, input);
    made->numbers = calloc(count, sizeof(double));
    made->parameters = calloc((size_t)cell->parameter_count + 1, sizeof(double *));
    assert_non_null(made->numbers);
    assert_non_null(made->parameters);
    car_random_key key = {seed, CAR_RANDOM_TEST, 7};
    for (size_t i = 0; i < count; i++)
        made->numbers[i] = 0.7 * car_random_normal(key, 0, i);
    size_t at = 0;
    for (int p = 0; p < cell->parameter_count; p++) {
        made->parameters[p] = made->numbers + at;
        at += UNITS * columns_of(cell, p, input);
    }
    made->oracle = (car_oracle){.cell = cell, .units = UNITS, .input_size = input, .steps = STEPS};
    made->oracle.parameters = made->parameters;
    made->oracle.x = made->numbers + at;
    made->oracle.initial = made->numbers + at + STEPS * (size_t)input;
}

static void bench_end(bench *made) {
    free(made->numbers);
    free(made->parameters);
}

/* ---- The oracle against formulas by hand -------------------------------------------------------------- */

static int find(const struct car_cell *cell, const char *name) {
    for (int p = 0; p < cell->parameter_count; p++)
        if (strcmp(cell->parameters[p].name, name) == 0)
            return p;
    fail_msg("no parameter %s", name);
    return -1;
}

static double logistic(double v) {
    return 1 / (1 + exp(-v));
}

/* bias[k] + W[k] x + U[k] h for one unit of a gate called `gate` */
static double gate_sum(const bench *b, const char *gate, const double *x, const double *h, int k) {
    char name[16];
    int input = b->oracle.input_size;
    snprintf(name, sizeof name, "b%s", gate);
    double sum = b->parameters[find(b->oracle.cell, name)][k];
    snprintf(name, sizeof name, "W%s", gate);
    for (int c = 0; c < input; c++)
        sum += b->parameters[find(b->oracle.cell, name)][k * input + c] * x[c];
    snprintf(name, sizeof name, "U%s", gate);
    for (int c = 0; c < UNITS; c++)
        sum += b->parameters[find(b->oracle.cell, name)][k * UNITS + c] * h[c];
    return sum;
}

static void lstm_by_hand(void **unused) {
    (void)unused;
    struct car_cell *cell = compile(car_zoo_text("lstm"));
    bench b;
    bench_start(&b, cell, 1);
    double y[STEPS][UNITS], states[STEPS + 1][2][UNITS], h[UNITS], c[UNITS];
    assert_int_equal(car_oracle_forward(&b.oracle, y[0], states[0][0], NULL, NULL), CAR_OK);
    memcpy(h, b.oracle.initial, sizeof h);
    memcpy(c, b.oracle.initial + UNITS, sizeof c);
    for (int t = 0; t < STEPS; t++) {
        const double *x = b.oracle.x + t * b.oracle.input_size;
        double before[UNITS];
        memcpy(before, h, sizeof h);
        for (int k = 0; k < UNITS; k++) {
            c[k] =
                logistic(gate_sum(&b, "f", x, before, k)) * c[k] +
                logistic(gate_sum(&b, "i", x, before, k)) * tanh(gate_sum(&b, "g", x, before, k));
            h[k] = logistic(gate_sum(&b, "o", x, before, k)) * tanh(c[k]);
            assert_true(fabs(h[k] - y[t][k]) < 1e-13);
            assert_true(fabs(c[k] - states[t + 1][1][k]) < 1e-13);
        }
    }
    bench_end(&b);
    car_cell_free(cell);
}

static void gru_by_hand(void **unused) {
    (void)unused;
    struct car_cell *cell = compile(car_zoo_text("gru"));
    bench b;
    bench_start(&b, cell, 2);
    double y[STEPS][UNITS], h[UNITS];
    assert_int_equal(car_oracle_forward(&b.oracle, y[0], NULL, NULL, NULL), CAR_OK);
    memcpy(h, b.oracle.initial, sizeof h);
    for (int t = 0; t < STEPS; t++) {
        const double *x = b.oracle.x + t * b.oracle.input_size;
        double before[UNITS], zero[UNITS] = {0};
        memcpy(before, h, sizeof h);
        for (int k = 0; k < UNITS; k++) {
            double r = logistic(gate_sum(&b, "r", x, before, k));
            double z = logistic(gate_sum(&b, "z", x, before, k));
            double outer = gate_sum(&b, "n", x, zero, k);
            double inner = b.parameters[find(cell, "bhn")][k];
            for (int c = 0; c < UNITS; c++)
                inner += b.parameters[find(cell, "Un")][k * UNITS + c] * before[c];
            h[k] = (1 - z) * tanh(outer + r * inner) + z * before[k];
            assert_true(fabs(h[k] - y[t][k]) < 1e-13);
        }
    }
    bench_end(&b);
    car_cell_free(cell);
}

/* y = every function of a value a = W@x; the expected value from libm, unit by unit. */
static void functions_by_hand(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        double (*function)(double);
    } simple[] = {{"exp(a)", exp}, {"tanh(a)", tanh}, {"sigmoid(a)", logistic}, {"abs(a)", fabs}};
    for (size_t i = 0; i < sizeof simple / sizeof simple[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "cell f(x) -> y\na = W@x\ny = %s\n", simple[i].text);
        struct car_cell *cell = compile(text);
        bench b;
        bench_start(&b, cell, 3);
        double y[STEPS][UNITS];
        assert_int_equal(car_oracle_forward(&b.oracle, y[0], NULL, NULL, NULL), CAR_OK);
        for (int t = 0; t < STEPS; t++)
            for (int k = 0; k < UNITS; k++) {
                double a = 0;
                for (int c = 0; c < 3; c++)
                    a += b.parameters[0][k * 3 + c] * b.oracle.x[t * 3 + c];
                assert_true(fabs(simple[i].function(a) - y[t][k]) < 1e-14);
            }
        bench_end(&b);
        car_cell_free(cell);
    }
}

static void rest_by_hand(void **unused) {
    (void)unused;
    struct car_cell *cell =
        compile("cell f(x) -> y\na = x\ny = relu(a) + 10*max(a, 0.1) + 100*min(a, 0.2) + "
                "1000*softplus(a) + 1e4*log(1 + a*a) + 1e5*sqrt(a*a + 1) + 1e6*mean(a) + "
                "1e7*layernorm(a) + a/3 - -a\n");
    bench b;
    bench_start(&b, cell, 4);
    double y[STEPS][UNITS];
    assert_int_equal(car_oracle_forward(&b.oracle, y[0], NULL, NULL, NULL), CAR_OK);
    for (int t = 0; t < STEPS; t++) {
        const double *x = b.oracle.x + t * UNITS;
        double mean = 0, variance = 0;
        for (int k = 0; k < UNITS; k++)
            mean += x[k] / UNITS;
        for (int k = 0; k < UNITS; k++)
            variance += (x[k] - mean) * (x[k] - mean) / UNITS;
        for (int k = 0; k < UNITS; k++) {
            double a = x[k];
            double expected = (a > 0 ? a : 0) + 10 * fmax(a, 0.1) + 100 * fmin(a, 0.2) +
                              1000 * log(1 + exp(a)) + 1e4 * log(1 + a * a) +
                              1e5 * sqrt(a * a + 1) + 1e6 * mean +
                              1e7 * (a - mean) / sqrt(variance + 1e-5) + a / 3 + a;
            assert_true(fabs(expected - y[t][k]) < 1e-13 * fabs(expected) + 1e-7);
        }
    }
    bench_end(&b);
    car_cell_free(cell);
}

/* ---- Promises of the canonical form and the gradient -------------------------------------------------- */

static void check_links(const struct car_cell *cell) {
    const car_graph *graph = &cell->graph;
    int *uses = calloc((size_t)graph->count, sizeof *uses);
    assert_non_null(uses);
    for (int i = 0; i < graph->count; i++) {
        const car_node *node = &graph->nodes[i];
        assert_true(node->a < i && node->b < i);
        assert_true(node->op <= CAR_OP_MEAN);
        if (node->a >= 0)
            uses[node->a]++;
        if (node->b >= 0)
            uses[node->b]++;
    }
    uses[cell->output]++;
    for (int s = 0; s < cell->state_count; s++)
        uses[cell->next[s]]++;
    for (int i = 0; i < graph->count; i++) {
        const car_node *node = &graph->nodes[i];
        assert_true(uses[i] > 0);
        if (node->op != CAR_OP_PRODUCT || node->b < 0)
            continue;
        const car_node *link = &graph->nodes[node->b];
        assert_int_equal(uses[node->b], 1);
        assert_true(link->op == CAR_OP_VECTOR || link->op == CAR_OP_PRODUCT);
        if (link->op == CAR_OP_PRODUCT && graph->nodes[node->a].op == CAR_OP_INPUT)
            assert_int_equal(graph->nodes[link->a].op, CAR_OP_INPUT);
    }
    free(uses);
}

static void check_gradient(const struct car_cell *cell) {
    const car_gradient *gradient = &cell->gradient;
    const car_graph *graph = &gradient->graph;
    bool *live = calloc((size_t)graph->count + 1, 1);
    int *links = calloc((size_t)graph->count + 1, sizeof *links);
    int *uses = calloc((size_t)graph->count + 1, sizeof *uses);
    assert_non_null(live);
    assert_non_null(links);
    assert_non_null(uses);
    for (int i = 0; i < graph->count; i++) {
        const car_node *node = &graph->nodes[i];
        assert_true(node->a < i && node->b < i);
        if (node->op == CAR_OP_FORWARD)
            assert_true(cell->graph.nodes[node->index].op != CAR_OP_CONSTANT);
        if (node->op == CAR_OP_TRANSPOSED_PRODUCT) {
            assert_int_equal(cell->graph.nodes[node->index].op, CAR_OP_PRODUCT);
            assert_int_equal(gradient->of_forward[node->index], node->a);
            if (node->b >= 0 && graph->nodes[node->b].op == CAR_OP_TRANSPOSED_PRODUCT) {
                const car_node *link = &graph->nodes[node->b];
                assert_true(link->index < node->index);
                assert_int_equal(cell->graph.nodes[link->index].a,
                                 cell->graph.nodes[node->index].a);
                links[node->b]++;
            }
        }
        assert_false(node->op == CAR_OP_PRODUCT || node->op == CAR_OP_INPUT ||
                     node->op == CAR_OP_STATE || node->op == CAR_OP_VECTOR);
    }
    for (int i = 0; i < cell->graph.count; i++) {
        const car_node *node = &cell->graph.nodes[i];
        assert_true(gradient->of_forward[i] < graph->count);
        if (node->op == CAR_OP_PRODUCT && node->b >= 0)
            assert_int_equal(gradient->of_forward[node->b], gradient->of_forward[i]);
    }
    for (int s = 0; s < cell->state_count; s++)
        if (gradient->state[s] >= 0)
            live[gradient->state[s]] = true, uses[gradient->state[s]]++;
    if (gradient->input >= 0)
        live[gradient->input] = true, uses[gradient->input]++;
    for (int i = 0; i < gradient->contribution_count; i++) {
        const car_contribution *part = &gradient->contributions[i];
        live[part->gradient] = true;
        uses[part->gradient]++;
        assert_true((part->operand < 0) == (cell->parameters[part->parameter].kind != CAR_MATRIX));
    }
    for (int i = graph->count - 1; i >= 0; i--) {
        assert_true(live[i]);
        if (graph->nodes[i].a >= 0)
            live[graph->nodes[i].a] = true, uses[graph->nodes[i].a]++;
        if (graph->nodes[i].b >= 0)
            live[graph->nodes[i].b] = true, uses[graph->nodes[i].b]++;
    }
    for (int i = 0; i < graph->count; i++)
        assert_true(links[i] == 0 || (links[i] == 1 && uses[i] == 1));
    free(live);
    free(links);
    free(uses);
}

/* Worst difference of y and states, as written against canonical; relative above 1. */
static double canonical_difference(const struct car_cell *cell, uint64_t seed) {
    bench b;
    bench_start(&b, cell, seed);
    size_t rows = STEPS * UNITS, states = (STEPS + 1) * (size_t)cell->state_count * UNITS;
    double *result = calloc(2 * (rows + states), sizeof *result), worst = 0;
    assert_non_null(result);
    for (int source = 0; source < 2; source++) {
        double *y = result + (size_t)source * (rows + states);
        b.oracle.use_source = source;
        assert_int_equal(car_oracle_forward(&b.oracle, y, y + rows, NULL, NULL), CAR_OK);
    }
    for (size_t i = 0; i < rows + states; i++) {
        double canonical = result[i], written = result[rows + states + i];
        double difference = fabs(canonical - written) / fmax(1, fabs(written));
        if (!(difference <= worst) && !(isnan(canonical) && isnan(written)) && canonical != written)
            worst = isnan(difference) ? INFINITY : difference;
    }
    free(result);
    bench_end(&b);
    return worst;
}

static void check_graph_text(const struct car_cell *cell, const car_graph *graph) {
    car_text text;
    car_text_start(&text, NULL);
    car_graph_print(&text, cell, graph);
    assert_false(text.failed);
    car_arena *arena = car_arena_create(NULL);
    car_graph read;
    car_error error = {.message = ""};
    if (car_graph_parse(text.data, cell, arena, &read, &error) != CAR_OK)
        fail_msg("%s\n%s", error.message, text.data);
    assert_int_equal(read.count, graph->count);
    for (int i = 0; i < graph->count; i++) {
        const car_node *a = &graph->nodes[i], *b = &read.nodes[i];
        assert_true(a->op == b->op && a->a == b->a && a->b == b->b && a->index == b->index);
        assert_true(memcmp(&a->value, &b->value, sizeof a->value) == 0);
        const char *name = graph->names ? graph->names[i] : NULL;
        assert_true(name ? read.names[i] && strcmp(name, read.names[i]) == 0 : !read.names[i]);
    }
    car_arena_free(arena);
    car_text_free(&text);
}

/* The printed equations compile to the same maths and so do those printed once more. */
static void check_cell_text(const struct car_cell *cell) {
    car_text text, again;
    car_text_start(&text, NULL);
    car_text_start(&again, NULL);
    car_cell_print(&text, cell);
    assert_false(text.failed);
    struct car_cell *printed = compile(text.data);
    if (strcmp(printed->fingerprint, cell->fingerprint) != 0)
        fail_msg("printed differs:\n%s\n%s", cell->text, text.data);
    assert_int_equal(printed->parameter_count, cell->parameter_count);
    assert_int_equal(printed->input_is_hidden, cell->input_is_hidden);
    for (int p = 0; p < cell->parameter_count; p++) {
        const car_parameter *a = &cell->parameters[p];
        const car_parameter *b = &printed->parameters[find(printed, a->name)];
        assert_true(a->kind == b->kind && a->from_input == b->from_input);
        assert_true(a->init.kind == b->init.kind && a->init.value == b->init.value);
    }
    car_cell_print(&again, printed);
    struct car_cell *twice = compile(again.data);
    assert_string_equal(twice->fingerprint, cell->fingerprint);
    car_cell_free(twice);
    car_cell_free(printed);
    car_text_free(&text);
    car_text_free(&again);
}

/* Everything that holds for any cell. */
static void check_cell(const struct car_cell *cell, uint64_t seed, car_derivative_check *result) {
    check_links(cell);
    check_gradient(cell);
    check_graph_text(cell, &cell->source);
    check_graph_text(cell, &cell->graph);
    check_graph_text(cell, &cell->gradient.graph);
    check_cell_text(cell);
    double difference = canonical_difference(cell, seed);
    if (!(difference <= canonical_bound))
        fail_msg("canonical and written differ by %g:\n%s", difference, cell->text);
    car_error error = {.message = ""};
    if (car_oracle_check(cell, UNITS, cell->input_is_hidden ? UNITS : 3, STEPS, seed, result,
                         &error) != CAR_OK)
        fail_msg("%s", error.message);
    if (!(result->worst_error <= derivative_bound))
        fail_msg("derivative off by %g (%d of %d set aside):\n%s", result->worst_error,
                 result->set_aside, result->points, cell->text);
}

static void zoo(void **unused) {
    (void)unused;
    const car_zoo_entry *entries;
    int count = car_zoo_entries(&entries);
    assert_true(count >= 24);
    print_message("%-16s %6s %9s %11s\n", "cell", "points", "set aside", "worst error");
    for (int i = 0; i < count; i++) {
        struct car_cell *cell = compile(entries[i].text);
        assert_string_equal(car_cell_name(cell), entries[i].name);
        car_derivative_check total = {.points = 0};
        for (uint64_t seed = 1; seed <= 3; seed++) {
            car_derivative_check result;
            check_cell(cell, seed, &result);
            total.points += result.points;
            total.set_aside += result.set_aside;
            total.worst_error = fmax(total.worst_error, result.worst_error);
        }
        print_message("%-16s %6d %9d %11.1e\n", entries[i].name, total.points, total.set_aside,
                      total.worst_error);
        assert_true(total.set_aside * 5 <= total.points);
        car_cell_free(cell);
    }
}

/* What is scaled by 1/sqrt of its own mean square, alone and beside other uses of both, with its mean taken off or not. */
static void norms(void **unused) {
    (void)unused;
    static const char *const texts[] = {
        "cell n(x) -> h\nstate h\na = W@x + U@h\nh' = a*(1/sqrt(mean(a*a) + 0.1))\n",
        "cell n(x) -> h\nstate h\na = W@x + U@h\nr = 1/sqrt(0.1 + mean(a*a))\nh' = g*(r*a) + 0.3*r "
        "+ "
        "0.2*a\n",
        "cell n(x) -> h\nstate h\na = W@x + U@h\nd = a - mean(a)\nr = 1/sqrt(mean(d*d) + 0.2)\n"
        "h' = (d*r)*g + k*(g*(d*r)) + 0.3*r*d*d + 0.2*mean(d*g)\n",
        "cell n(x) -> h\nstate h\na = W@x + U@h\nd = a - mean(a)\nr = 1/sqrt(mean(d*d) + 0.2)\nh' "
        "= "
        "tanh(d*r) - mean(d*r*a)\n",
        "cell n(x) -> h\nstate h\nh' = g*layernorm(layernorm(W@x + U@h) + k*layernorm(h))\n",
        "cell n(x) -> h\nstate h\na = W@x + U@h\nh' = a*(1/sqrt(mean(h*h) + 0.1)) + 0.2*h\n",
        "cell n(x) -> h\nstate h\na = W@x + U@h\nh' = tanh(a*(1/sqrt(a*a + 0.1))) + 0.2*mean(a)\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct car_cell *cell = compile(texts[i]);
        for (uint64_t seed = 1; seed <= 3; seed++) {
            car_derivative_check result;
            check_cell(cell, seed, &result);
        }
        car_cell_free(cell);
    }
}

/* From the initial states of the text (slstm's stabiliser at -1e30) everything is finite, gradients too. */
static void zoo_starts_finite(void **unused) {
    (void)unused;
    const car_zoo_entry *entries;
    int count = car_zoo_entries(&entries);
    for (int i = 0; i < count; i++) {
        struct car_cell *cell = compile(entries[i].text);
        bench b;
        bench_start(&b, cell, 5);
        double initial[4][UNITS], final[4][UNITS], dinitial[4][UNITS], y[STEPS][UNITS],
            dx[STEPS * UNITS];
        double **dparameters = calloc((size_t)cell->parameter_count + 1, sizeof *dparameters);
        assert_non_null(dparameters);
        assert_true(cell->state_count <= 4);
        for (int p = 0; p < cell->parameter_count; p++) {
            dparameters[p] =
                calloc(UNITS * columns_of(cell, p, b.oracle.input_size), sizeof(double));
            assert_non_null(dparameters[p]);
        }
        for (int s = 0; s < cell->state_count; s++)
            for (int k = 0; k < UNITS; k++)
                initial[s][k] = cell->state_init[s].value, final[s][k] = 1;
        b.oracle.initial = initial[0];
        assert_int_equal(car_oracle_forward(&b.oracle, y[0], NULL, NULL, NULL), CAR_OK);
        assert_int_equal(
            car_oracle_backward(&b.oracle, y[0], final[0], dx, dinitial[0], dparameters, NULL),
            CAR_OK);
        for (int k = 0; k < STEPS * b.oracle.input_size; k++)
            assert_true(isfinite(dx[k]));
        for (int k = 0; k < STEPS * UNITS; k++)
            assert_true(isfinite(y[k / UNITS][k % UNITS]));
        for (int k = 0; k < cell->state_count * UNITS; k++)
            assert_true(isfinite(dinitial[k / UNITS][k % UNITS]));
        for (int p = 0; p < cell->parameter_count; p++) {
            for (size_t k = 0; k < UNITS * columns_of(cell, p, b.oracle.input_size); k++)
                assert_true(isfinite(dparameters[p][k]));
            free(dparameters[p]);
        }
        free(dparameters);
        bench_end(&b);
        car_cell_free(cell);
    }
}

/* ---- Random cells ------------------------------------------------------------------------------------- */

/* The same equations from the last to the first, the states too. */
static void check_other_order(const generator *g, const struct car_cell *cell) {
    static const char *const states[] = {"state s0\n", "state s1, s0\n", "state s2, s1, s0\n"};
    const char *begin = strstr(strstr(g->text.data, "\n") + 1, "\n") + 1;
    car_text text;
    car_text_start(&text, NULL);
    car_text_format(&text, "cell random(x) -> y\n%s", states[g->states - 1]);
    for (const char *end = g->text.data + g->text.length; end > begin;) {
        const char *line = end - 1;
        while (line > begin && line[-1] != '\n')
            line--;
        car_text_add(&text, line, (size_t)(end - line));
        end = line;
    }
    struct car_cell *other = compile(text.data);
    if (strcmp(other->fingerprint, cell->fingerprint) != 0)
        fail_msg("another order, another fingerprint:\n%s\n%s", cell->text, text.data);
    car_cell_free(other);
    car_text_free(&text);
}

static void random_cells(void **unused) {
    (void)unused;
    long points = 0, aside = 0, nodes = 0;
    double worst = 0;
    int seen[CAR_OP_COUNT] = {0};
    for (int i = 0; i < RANDOM_CELLS; i++) {
        generator g;
        generate(&g, (uint64_t)i);
        assert_false(g.text.failed);
        struct car_cell *cell = compile(g.text.data);
        car_derivative_check result;
        check_cell(cell, (uint64_t)i, &result);
        check_other_order(&g, cell);
        points += result.points;
        aside += result.set_aside;
        nodes += cell->graph.count;
        worst = fmax(worst, result.worst_error);
        for (int k = 0; k < cell->graph.count; k++)
            seen[cell->graph.nodes[k].op]++;
        for (int k = 0; k < cell->gradient.graph.count; k++)
            seen[cell->gradient.graph.nodes[k].op]++;
        car_cell_free(cell);
        car_text_free(&g.text);
    }
    print_message(
        "%d random cells, %ld nodes: %ld derivatives, %.2f %% set aside, worst error %.1e\n",
        RANDOM_CELLS, nodes, points, 100.0 * (double)aside / (double)points, worst);
    assert_true(aside * 5 <= points);
    for (int op = 0; op < CAR_OP_COUNT; op++)
        if (seen[op] == 0)
            fail_msg("no random cell has the operation %s", car_op_text((car_op)op));
}

/* ---- The check finds errors --------------------------------------------------------------------------- */

/* A wrong gradient graph must not pass: every node of lstm's is spoiled in turn. */
static void spoiled_gradients_are_found(void **unused) {
    (void)unused;
    struct car_cell *cell = compile(car_zoo_text("lstm"));
    int found = 0, spoiled = 0;
    for (int i = 0; i < cell->gradient.graph.count; i++) {
        car_node *node = &cell->gradient.graph.nodes[i], before = *node;
        if (node->op == CAR_OP_MULTIPLY)
            node->op = CAR_OP_ADD;
        else if (node->op == CAR_OP_ADD)
            node->op = CAR_OP_SUBTRACT;
        else if (node->op == CAR_OP_SIGMOID_GRADIENT)
            node->op = CAR_OP_TANH_GRADIENT;
        else if (node->op == CAR_OP_TRANSPOSED_PRODUCT && node->b >= 0)
            node->b = -1;
        else
            continue;
        car_derivative_check result;
        assert_int_equal(car_oracle_check(cell, UNITS, 3, STEPS, 1, &result, NULL), CAR_OK);
        spoiled++;
        found += result.worst_error > 1e-3;
        *node = before;
    }
    assert_true(spoiled > 10);
    assert_int_equal(found, spoiled);
    car_cell_free(cell);
}

static void sizes_are_checked(void **unused) {
    (void)unused;
    struct car_cell *cell = compile(car_zoo_text("mut1"));
    car_derivative_check result;
    car_error error;
    assert_int_equal(car_oracle_check(cell, 4, 3, 2, 1, &result, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "[3]"));
    assert_non_null(strstr(error.message, "[4]"));
    assert_int_equal(car_oracle_check(cell, 0, 0, 2, 1, &result, &error), CAR_USAGE);
    assert_int_equal(car_oracle_check(cell, 4, 4, 1000, 1, &result, &error), CAR_USAGE);
    car_cell_free(cell);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lstm_by_hand),
        cmocka_unit_test(gru_by_hand),
        cmocka_unit_test(functions_by_hand),
        cmocka_unit_test(rest_by_hand),
        cmocka_unit_test(zoo),
        cmocka_unit_test(norms),
        cmocka_unit_test(zoo_starts_finite),
        cmocka_unit_test(random_cells),
        cmocka_unit_test(spoiled_gradients_are_found),
        cmocka_unit_test(sizes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
