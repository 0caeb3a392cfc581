/*
 * test_mutate.c: thousands of mutants, each a child of a random earlier one: all compile, are new, stay within the bounds,
 * read back as the same cell, agree with the oracle for a step of the fast path, and have right derivatives.
 */
#include "plan.h"
#include "search.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { UNITS = 5, QUICK = 400, LONG = 20000, DERIVATIVES = 20 };

typedef struct crowd {
    int count;
    struct car_cell **cells;
} crowd;

static struct car_cell *compile(const char *text, const char *origin) {
    struct car_cell *cell;
    car_error error = {0};
    if (car_cell_compile(text, strlen(text), origin, NULL, &cell, &error) != CAR_OK)
        fail_msg("%s\n%s", error.message, text);
    return cell;
}

static car_status is_known(void *context, const struct car_cell *cell, bool *known,
                           car_error *error) {
    (void)error;
    const crowd *all = context;
    *known = false;
    for (int i = 0; i < all->count && !*known; i++)
        *known = strcmp(all->cells[i]->fingerprint, cell->fingerprint) == 0;
    return CAR_OK;
}

static struct car_cell *mutate(const struct car_cell *parent, uint64_t seed, uint64_t number,
                               crowd *all) {
    const car_mutant_filter filter = {all, all ? is_known : NULL};
    car_error error = {0};
    car_cell *mutant;
    if (car_mutate(parent, seed, number, &filter, &mutant, &error) != CAR_OK)
        fail_msg("%s", error.message);
    return mutant;
}

static double random_number(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 24) * 2 - 1;
}

/* ---- One step, float against double ------------------------------------------------------------------- */

typedef struct step {
    car_plan *plan;
    float *weights, *x;
    void *memory;
    car_layer *layer;
    double *parameters[128], *input;
} step;

static void *must(size_t count, size_t size) {
    void *block = car_allocate(NULL, count ? count : 1, size);
    assert_non_null(block);
    return block;
}

static void open_step(step *s, const struct car_cell *cell) {
    car_plan_options options = {0};
    car_error error = {0};
    uint32_t seed = 11;
    if (car_plan_create(cell, (car_shape){UNITS, 1}, UNITS, &options, NULL, &s->plan, &error) !=
        CAR_OK)
        fail_msg("%s\n%s", error.message, cell->text);
    s->weights = must(car_plan_weight_floats(s->plan), sizeof(float));
    assert_true(cell->parameter_count <= 128);
    for (int p = 0; p < cell->parameter_count; p++) {
        int count = UNITS * car_plan_columns(s->plan, p);
        float logical[UNITS * UNITS];
        s->parameters[p] = must((size_t)count, sizeof(double));
        for (int k = 0; k < count; k++)
            s->parameters[p][k] = (double)(logical[k] = (float)(0.5 * random_number(&seed)));
        car_plan_pack(s->plan, p, logical, s->weights);
    }
    s->x = must((size_t)car_shape_row_stride((car_shape){UNITS, 1}), sizeof(float));
    s->input = must(UNITS, sizeof(double));
    for (int k = 0; k < UNITS; k++)
        s->input[k] = (double)(s->x[k] = (float)random_number(&seed));
    car_layer_shape shape = {.batch = 1, .steps = 1, .threads = 1};
    s->memory = must(1, car_layer_size(s->plan, &shape));
    s->layer = car_layer_place(s->plan, &shape, car_kernels_of(car_cpu_highest()), s->memory);
}

static void close_step(step *s, int parameters) {
    for (int p = 0; p < parameters; p++)
        car_release(NULL, s->parameters[p]);
    car_release(NULL, s->weights);
    car_release(NULL, s->x);
    car_release(NULL, s->input);
    car_release(NULL, s->memory);
    car_plan_free(s->plan);
}

/* The largest difference in output and states, relative to the largest value (at least 1). */
static double step_error(const struct car_cell *cell) {
    step s = {0};
    uint32_t seed = 12;
    open_step(&s, cell);
    size_t states = (size_t)cell->state_count * UNITS;
    double *initial = must(states, sizeof(double)), *after = must(2 * states, sizeof(double));
    double y[UNITS], worst = 0, largest = 1;
    car_layer_reset(s.layer, -1);
    for (size_t k = 0; k < states; k++)
        initial[k] = (double)(car_layer_start(s.layer, (int)k / UNITS)[k % UNITS] =
                                  (float)random_number(&seed));
    car_oracle oracle = {cell,    false,  UNITS, UNITS, 1, (const double *const *)s.parameters,
                         s.input, initial};
    assert_int_equal(car_oracle_forward(&oracle, y, after, NULL, NULL), CAR_OK);
    car_layer_forward(s.layer, 1, s.x, s.weights);
    car_layer_carry(s.layer);
    for (size_t k = 0; k < UNITS + states; k++) {
        size_t i = k - UNITS;
        double right = k < UNITS ? y[k] : after[states + i];
        double found = k < UNITS ? (double)car_layer_output(s.layer, 0)[k]
                                 : (double)car_layer_start(s.layer, (int)(i / UNITS))[i % UNITS];
        worst = fmax(worst, fabs(right - found));
        largest = fmax(largest, fabs(right));
        assert_true(isfinite(found));
    }
    car_release(NULL, initial);
    car_release(NULL, after);
    close_step(&s, cell->parameter_count);
    return worst / largest;
}

/* ---- Tests -------------------------------------------------------------------------------------------- */

static void within_bounds(const struct car_cell *cell) {
    int matrices = 0;
    for (int i = 0; i < cell->source.count; i++)
        matrices += cell->source.nodes[i].op == CAR_OP_PRODUCT;
    assert_true(matrices <= CAR_MUTANT_MATRICES);
    assert_in_range(cell->state_count, 1, 2);
}

static void reads_back(const struct car_cell *cell) {
    car_text text;
    car_text_start(&text, NULL);
    car_cell_print(&text, cell);
    assert_false(text.failed);
    struct car_cell *again = compile(text.data, "again");
    assert_string_equal(again->fingerprint, cell->fingerprint);
    car_cell_free(again);
    car_text_free(&text);
}

static void mutants_are_cells(void **state) {
    (void)state;
    const char *longer = getenv("CAROUSEL_LONG_TESTS");
    int wanted = longer && *longer ? LONG : QUICK, checked = 0, aside = 0, points = 0;
    crowd all = {0};
    uint32_t seed = 2015;
    double worst = 0, begin = (double)clock();
    all.cells = must((size_t)wanted + 2, sizeof *all.cells);
    all.cells[all.count++] = compile(car_zoo_text("lstm"), "lstm");
    all.cells[all.count++] = compile(car_zoo_text("gru-v1"), "gru-v1");
    for (int i = 0; all.count < wanted + 2; i++) {
        assert_true(i < 2 * wanted);
        int parent = (int)((random_number(&seed) + 1) / 2 * all.count);
        struct car_cell *cell = mutate(all.cells[parent], 1, (uint64_t)i, &all);
        if (!cell)
            continue;
        within_bounds(cell);
        reads_back(cell);
        worst = fmax(worst, step_error(cell));
        if (i % DERIVATIVES == 0) {
            car_derivative_check check;
            car_error error = {0};
            assert_int_equal(car_oracle_check(cell, 3, 3, 3, 5, &check, &error), CAR_OK);
            if (!(check.worst_error < 1e-4))
                fail_msg("derivative off by %g:\n%s", check.worst_error, cell->text);
            aside += check.set_aside;
            points += check.points;
            checked++;
        }
        all.cells[all.count++] = cell;
    }
    double seconds = ((double)clock() - begin) / CLOCKS_PER_SEC;
    print_message(
        "%d mutants, %.0f a second of one core; worst step error %.2g; %d derivative checks, "
        "%.1f %% set aside\n",
        wanted, wanted / seconds, worst, checked, 100.0 * aside / (aside + points));
    assert_true(worst < 1e-4);
    assert_true(aside < 0.2 * (aside + points));
    for (int i = 0; i < all.count; i++)
        car_cell_free(all.cells[i]);
    car_release(NULL, all.cells);
}

static void the_same_seed_gives_the_same_text(void **state) {
    (void)state;
    struct car_cell *parent = compile(car_zoo_text("lstm"), "lstm");
    int different = 0;
    for (uint64_t i = 0; i < 20; i++) {
        struct car_cell *one = mutate(parent, 3, i, NULL), *two = mutate(parent, 3, i, NULL);
        struct car_cell *other = mutate(parent, 4, i, NULL);
        assert_non_null(one);
        assert_string_equal(one->text, two->text);
        different += strcmp(one->text, other->text) != 0;
        car_cell_free(one);
        car_cell_free(two);
        car_cell_free(other);
    }
    assert_true(different > 10);
    car_cell_free(parent);
}

static void ancestors_stand_in_the_text(void **state) {
    (void)state;
    struct car_cell *cell = compile(car_zoo_text("gru-v1"), "gru-v1");
    char names[3][64] = {"gru-v1"};
    for (int i = 1; i < 3; i++) {
        struct car_cell *child = mutate(cell, 5, (uint64_t)i, NULL);
        snprintf(names[i], sizeof names[i], "%s", child->name);
        assert_memory_equal(child->name + 1, child->fingerprint, 10);
        car_cell_free(cell);
        cell = child;
    }
    char first[160], second[160];
    snprintf(first, sizeof first, "\n#   %s from %s: ", names[1], names[0]);
    snprintf(second, sizeof second, "\n#   %s from %s: ", names[2], names[1]);
    const char *begin = strstr(cell->text, first);
    assert_non_null(begin);
    assert_non_null(strstr(begin, second));
    car_cell_free(cell);
}

static void every_cell_of_the_zoo_can_be_a_parent(void **state) {
    (void)state;
    for (int i = 0; i < car_zoo_count(); i++) {
        struct car_cell *parent = compile(car_zoo_text(car_zoo_name(i)), car_zoo_name(i));
        struct car_cell *child = mutate(parent, 6, (uint64_t)i, NULL);
        if (child)
            reads_back(child);
        else /* a layer without a state cannot gain one */
            assert_int_equal(parent->state_count, 0);
        car_cell_free(child);
        car_cell_free(parent);
    }
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
    counting *counter = context;
    counter->live -= block != NULL;
    free(block);
}

static void no_memory_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    counting counter = {1 << 30, 0};
    const car_allocator allocator = {&counter, count_allocate, count_release};
    const char *text = car_zoo_text("lstm");
    car_cell *parent, *mutant = NULL;
    car_error error = {0};
    const car_mutant_filter filter = {0};
    assert_int_equal(car_cell_compile(text, strlen(text), "lstm", &allocator, &parent, NULL),
                     CAR_OK);
    int before = counter.live, refused = 0;
    for (int blocks = 0; !mutant && blocks < 10000; blocks++) {
        counter.left = blocks;
        car_status status = car_mutate(parent, 7, 1, &filter, &mutant, &error);
        if (mutant)
            break;
        assert_int_equal(status, CAR_MEMORY);
        assert_int_equal(counter.live, before);
        refused++;
    }
    assert_non_null(mutant);
    assert_true(refused > 5);
    car_cell_free(mutant);
    car_cell_free(parent);
    assert_int_equal(counter.live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_text),
        cmocka_unit_test(ancestors_stand_in_the_text),
        cmocka_unit_test(every_cell_of_the_zoo_can_be_a_parent),
        cmocka_unit_test(no_memory_is_an_error_and_leaks_nothing),
        cmocka_unit_test(mutants_are_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
