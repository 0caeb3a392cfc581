/*
 * test_quantize.c: models in int8.
 *
 * What conversion keeps, what a file may hold, which operands get the fixed scale, and the promise of the design: the same
 * bits in any batch, chunk and order of lanes, with any number of threads, ragged, by the interpreter and by emitted
 * code (streamed and batched: test_network.c runs its own test in int8 too).
 */
#include "inside.h"
#include "network_helpers.h"
#include "train.h"
#include <math.h>
#include <unistd.h>

static const char *const nets[] = {"embed 20 | lstm 33 x2 | softmax",
                                   "embed 17 | gru 17 | softmax tie",
                                   "rnn 5 bi | layernorm | lstm-peephole 20 | sigmoid last",
                                   "dense 40 | gru-v1 40 residual | mut1 40 bi | linear mean",
                                   "indrnn 7 | slstm 6 | dense 3 | linear"};
enum { NETS = sizeof nets / sizeof *nets, SIZE = 21 };

static car_model *convert(const car_model *model, const char *precision) {
    car_model *made;
    car_error error = {0};
    require(car_model_convert(model, precision, NULL, &made, &error), &error);
    return made;
}

/* The net in int8; *original: what it was made from. */
static car_model *make_small(const char *net, car_model **original) {
    *original = make_model(net, SIZE, SIZE, "uniform(0.5)");
    return convert(*original, "int8");
}

static void temporary_path(char path[64]) {
    strcpy(path, "/tmp/carousel-int8-XXXXXX");
    close(mkstemp(path));
}

/* ---- What is kept ------------------------------------------------------------------------------------- */

static void check_row(const char *name, const float *before, const float *after, size_t columns) {
    float largest = 0;
    for (size_t k = 0; k < columns; k++)
        largest = fabsf(before[k]) > largest ? fabsf(before[k]) : largest;
    for (size_t k = 0; k < columns; k++)
        if (!(fabsf(after[k] - before[k]) <= largest * (0.5001f / 127)))
            fail_msg("%s: %g became %g, the row's largest is %g", name, (double)before[k],
                     (double)after[k], (double)largest);
}

/* Rows are off by half a step of their scale at most, vectors by nothing; the second time nothing changes. */
static void conversion_rounds_rows_once(void **state) {
    (void)state;
    for (int i = 0; i < NETS; i++) {
        car_model *model, *small = make_small(nets[i], &model);
        car_model *back = convert(small, "f32"), *again = convert(back, "int8");
        assert_string_equal(car_model_precision(small), "int8");
        assert_null(small->weights);
        assert_int_equal(car_model_parameter_count(small), car_model_parameter_count(model));
        for (int t = 0; t < model->tensor_count; t++) {
            const car_tensor_place *place = &model->tensors[t];
            size_t count = car_model_tensor_floats(model, t), bytes = count * sizeof(float);
            float *before = calloc(count, sizeof *before), *after = calloc(count, sizeof *after);
            car_model_unpack(model, t, model->weights, before);
            car_model_unpack(back, t, back->weights, after);
            if (place->rank == 1)
                assert_memory_equal(before, after, bytes);
            for (size_t row = 0; place->rank == 2 && row < place->shape[0]; row++)
                check_row(place->name, before + row * place->shape[1],
                          after + row * place->shape[1], place->shape[1]);
            if (place->rank == 2) {
                int8_t *first = calloc(count, 1), *second = calloc(count, 1);
                car_model_int8_get(small, t, first, before);
                car_model_int8_get(again, t, second, after);
                assert_memory_equal(first, second, count);
                free(first);
                free(second);
            }
            free(before);
            free(after);
        }
        car_model_free(again);
        car_model_free(back);
        car_model_free(small);
        car_model_free(model);
    }
}

static void a_file_holds_the_same_model(void **state) {
    (void)state;
    for (int i = 0; i < NETS; i++) {
        char path[64];
        car_error error = {0};
        car_model *model, *loaded, *small = make_small(nets[i], &model);
        require(car_model_set_metadata(small, "note", "kept", &error), &error);
        temporary_path(path);
        require(car_model_save(small, path, &error), &error);
        require(car_model_load(path, NULL, &loaded, &error), &error);
        assert_string_equal(car_model_precision(loaded), "int8");
        assert_string_equal(car_model_metadata(loaded, "note"), "kept");
        assert_int_equal(loaded->rounded_floats, small->rounded_floats);
        assert_memory_equal(loaded->rounded, small->rounded, small->rounded_floats * sizeof(float));
        car_model *copy = convert(loaded, "int8");
        assert_memory_equal(copy->rounded, small->rounded, small->rounded_floats * sizeof(float));
        car_model_free(copy);
        car_model_free(loaded);
        car_model_free(small);
        car_model_free(model);
        unlink(path);
    }
}

static void a_model_shrinks_to_a_quarter(void **state) {
    (void)state;
    car_model *model = make_model("embed 256 | lstm 256 x2 | softmax", 1000, 1000, NULL);
    car_model *small = convert(model, "int8");
    double share = (double)small->rounded_floats / (double)model->weight_floats;
    if (!(share < 0.27))
        fail_msg("%.3f of the bytes", share);
    car_model_free(small);
    car_model_free(model);
}

/* ---- Running it --------------------------------------------------------------------------------------- */

enum { STEPS = 13, LANES = 5 };

/* Outputs of some lanes; `lengths` and lane_of may be NULL. */
static float *outputs_of(const car_model *model, int batch, int capacity, int threads,
                         const int *lengths, const int *lane_of) {
    car_error error = {0};
    const int rows = head_rows_of(model, STEPS, batch);
    float *output = calloc((size_t)rows * SIZE, sizeof *output);
    void *input = make_input(model, STEPS, batch, lane_of);
    placed_stack placed = place_stack(model, batch, capacity, threads, false);
    require(car_stack_forward(placed.stack, STEPS, lengths, input, NULL, 0, &error), &error);
    car_stack_outputs(placed.stack, output);
    car_release(NULL, placed.memory);
    free(input);
    return output;
}

static void rounding_moves_outputs_a_little(void **state) {
    (void)state;
    for (int i = 0; i < NETS; i++) {
        car_model *model, *small = make_small(nets[i], &model);
        float *exact = outputs_of(model, LANES, STEPS, 1, NULL, NULL);
        float *rounded = outputs_of(small, LANES, STEPS, 1, NULL, NULL);
        double difference = 0, size = 0;
        for (int k = 0; k < head_rows_of(model, STEPS, LANES) * SIZE; k++) {
            difference += ((double)rounded[k] - exact[k]) * ((double)rounded[k] - exact[k]);
            size += (double)exact[k] * exact[k];
        }
        print_message("%s: outputs move by %.2f %%\n", nets[i], 100 * sqrt(difference / size));
        assert_true(difference > 0 && sqrt(difference / size) < 0.05);
        free(exact);
        free(rounded);
        car_model_free(small);
        car_model_free(model);
    }
}

/* Row r of a lane in one array equals its row in the other. */
static void check_lane(const car_model *model, const float *a, int a_batch, int a_lane,
                       const float *b, int b_batch, int b_lane, int steps, const char *what) {
    const int rows = model->net->pool == CAR_POOL_EACH ? steps : 1;
    for (int t = 0; t < rows; t++)
        if (memcmp(a + (size_t)(t * a_batch + a_lane) * SIZE,
                   b + (size_t)(t * b_batch + b_lane) * SIZE, SIZE * sizeof(float)) != 0)
            fail_msg("%s, %s: step %d differs", car_model_net(model), what, t);
}

static void batch_threads_and_capacity_change_no_bit(void **state) {
    (void)state;
    static const int mixed[LANES] = {3, 0, 4, 1, 2}, same[LANES] = {0, 1, 2, 3, 4}, one[] = {3};
    for (int i = 0; i < NETS; i++) {
        car_model *model, *small = make_small(nets[i], &model);
        float *whole = outputs_of(small, LANES, STEPS, 1, NULL, NULL);
        const struct {
            const char *what;
            const int *lane_of;
            int batch, capacity, threads;
        } ways[] = {{"2 threads", same, LANES, STEPS, 2},
                    {"3 threads, larger buffers", same, LANES, 3 * STEPS, 3},
                    {"other order of lanes", mixed, LANES, STEPS, 1},
                    {"alone", one, 1, STEPS, 1},
                    {"alone, 2 threads", one, 1, STEPS, 2}};
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            float *other = outputs_of(small, ways[w].batch, ways[w].capacity, ways[w].threads, NULL,
                                      ways[w].lane_of);
            for (int lane = 0; lane < ways[w].batch; lane++)
                check_lane(small, whole, LANES, ways[w].lane_of[lane], other, ways[w].batch, lane,
                           STEPS, ways[w].what);
            free(other);
        }
        free(whole);
        car_model_free(small);
        car_model_free(model);
    }
}

static void padding_is_not_there(void **state) {
    (void)state;
    static const int lengths[LANES] = {4, STEPS, 1, 9, 9};
    for (int i = 0; i < NETS; i++) {
        car_model *model, *small = make_small(nets[i], &model);
        float *together = outputs_of(small, LANES, STEPS, 2, lengths, NULL);
        for (int lane = 0; lane < LANES; lane++) {
            float *alone = outputs_of(small, 1, STEPS, 1, &lengths[lane], &lane);
            check_lane(small, together, LANES, lane, alone, 1, 0, lengths[lane], "ragged");
            free(alone);
        }
        free(together);
        car_model_free(small);
        car_model_free(model);
    }
}

static void the_interpreter_gives_the_same_bits(void **state) {
    (void)state;
    for (int i = 0; i < NETS; i++) {
        car_model *model, *small = make_small(nets[i], &model);
        assert_int_equal(setenv("CAROUSEL_NATIVE", "0", 1), 0);
        car_model *interpreted = convert(model, "int8");
        assert_int_equal(unsetenv("CAROUSEL_NATIVE"), 0);
        float *a = outputs_of(small, LANES, STEPS, 1, NULL, NULL);
        float *b = outputs_of(interpreted, LANES, STEPS, 1, NULL, NULL);
        assert_memory_equal(a, b, (size_t)head_rows_of(small, STEPS, LANES) * SIZE * sizeof(float));
        free(a);
        free(b);
        car_model_free(interpreted);
        car_model_free(small);
        car_model_free(model);
    }
}

/* ---- Bounds ------------------------------------------------------------------------------------------- */

typedef struct known_bound {
    const char *cell;      /* a name of the zoo, or a text */
    bool output, operands; /* bounded: y; the operands of all products but x */
} known_bound;

static struct car_cell *compile(const char *cell) {
    const char *text = car_zoo_text(cell) ? car_zoo_text(cell) : cell;
    struct car_cell *made;
    car_error error = {0};
    require(car_cell_compile(text, strlen(text), "test", NULL, &made, &error), &error);
    return made;
}

static car_plan *make_plan(const struct car_cell *cell, bool input_bounded,
                           const car_override *override) {
    const car_plan_options options = {
        .input_bounded = input_bounded, .override_count = override != NULL, .overrides = override};
    car_plan *plan;
    car_error error = {0};
    require(car_plan_create(cell, (car_shape){16, 1}, 16, &options, NULL, &plan, &error), &error);
    return plan;
}

static void bounds_come_from_the_equations(void **state) {
    (void)state;
    static const known_bound known[] = {
        {"lstm", true, true},
        {"gru", true, true},
        {"gru-v1", true, true},
        {"rnn", true, true},
        {"mut1", true, true},
        {"dense", true, true},
        {"janet", false, false}, /* its two factors sum up to more than 1 */
        {"ugrnn", true, true},
        {"lstm-1997", true, true},
        {"slstm", false, false},
        {"cell a(x) -> h\nstate h\nh' = relu(W@x + U@h)\n", false, false},
        {"cell a(x) -> h\nstate h\nh' = tanh(W@x + U@h)\ninit h = 3\n", true, false},
        {"cell a(x) -> h\nstate h\nh' = 2*tanh(W@x + U@h)\n", false, false},
        {"cell a(x) -> y\nstate h\nh' = sigmoid(W@x + U@h)\ny = h' - tanh(h)\n", false, true},
        {"cell a(x) -> h\nstate h\nf = sigmoid(W@x)\nh' = f*h + (1 - f)*tanh(U@h)\n", true, true},
        {"cell a(x) -> h\nstate h\nf = tanh(W@x)\nh' = f*h + (1 - f)*tanh(U@h)\n", false, false},
        {"cell a(x) -> h\nstate h, k\nh' = k*tanh(U@h)\nk' = min(max(x, -1), h)\n", true, true},
        {"cell a(x) -> h\nstate h, k\nh' = k*tanh(U@h)\nk' = x\n", false, false},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct car_cell *cell = compile(known[i].cell);
        car_plan *plan = make_plan(cell, false, NULL);
        bool operands = true;
        for (int g = 0; g < plan->group_count; g++)
            if (cell->graph.nodes[plan->groups[g].operand].op == CAR_OP_INPUT)
                assert_false(plan->groups[g].bounded);
            else
                operands = operands && plan->groups[g].bounded;
        if (car_plan_output_bounded(plan) != known[i].output || operands != known[i].operands)
            fail_msg("%s: output %d, operands %d", known[i].cell, car_plan_output_bounded(plan),
                     operands);
        car_plan_free(plan);
        car_cell_free(cell);
    }
}

static void what_is_frozen_counts_as_what_it_is(void **state) {
    (void)state;
    struct car_cell *cell = compile("gru");
    const car_override inside = {"n", 0.5}, outside = {"n", 3};
    car_plan *small = make_plan(cell, false, &inside), *large = make_plan(cell, false, &outside);
    assert_true(car_plan_output_bounded(small));
    assert_false(car_plan_output_bounded(large));
    car_plan_free(small);
    car_plan_free(large);
    car_cell_free(cell);
    cell = compile("layernorm");
    car_plan *plan = make_plan(cell, true, NULL);
    assert_true(car_plan_input_bounded(plan));
    car_plan_free(plan);
    car_cell_free(cell);
}

/* Every cell of the zoo, weights and inputs far too large: what is said to be bounded is. */
static void bounds_hold(void **state) {
    (void)state;
    enum { UNITS = 16, CELL_STEPS = 30 };
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo), bounded = 0;
    for (int i = 0; i < count; i++) {
        struct car_cell *cell = compile(zoo[i].name);
        car_plan *plan = make_plan(cell, false, NULL);
        char net[64];
        snprintf(net, sizeof net, "%s %d | linear", zoo[i].name, UNITS);
        car_model *model = make_model(net, UNITS, 1, "uniform(20)");
        placed_stack placed = place_stack(model, LANES, CELL_STEPS, 1, false);
        float *input = make_input(model, CELL_STEPS, LANES, NULL);
        for (int k = 0; k < CELL_STEPS * LANES * UNITS; k++)
            input[k] *= 30;
        car_error error = {0};
        require(car_stack_forward(placed.stack, CELL_STEPS, NULL, input, NULL, 0, &error), &error);
        bounded += car_plan_output_bounded(plan);
        const float *y = car_layer_output(car_stack_layer(placed.stack, 0, 0), 0);
        for (int k = 0; car_plan_output_bounded(plan) && k < CELL_STEPS * LANES * UNITS; k++)
            if (!(fabsf(y[k]) <= 1.00001f))
                fail_msg("%s: %g", zoo[i].name, (double)y[k]);
        free(input);
        car_release(NULL, placed.memory);
        car_model_free(model);
        car_plan_free(plan);
        car_cell_free(cell);
    }
    assert_true(bounded >= 8);
}

/* ---- What is refused ---------------------------------------------------------------------------------- */

static void training_is_refused(void **state) {
    (void)state;
    car_error error = {0};
    car_model *model, *copy, *small = make_small(nets[0], &model);
    car_trainer *trainer;
    const car_trainer_options options = {.batch = 2, .steps = 3, .threads = 1};
    assert_int_equal(car_trainer_create(small, &options, NULL, &trainer, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "convert it to f32 or bf16"));
    assert_int_equal(car_model_copy(small, NULL, &copy, &error), CAR_USAGE);
    const car_model_options fresh = {.input_size = 3, .output_size = 3, .precision = "int8"};
    assert_int_equal(car_model_create(model->net, &fresh, NULL, &copy, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "has been trained"));
    float *weight = model->weights;
    weight[3] = INFINITY;
    assert_int_equal(car_model_convert(model, "int8", NULL, &copy, &error), CAR_MODEL);
    assert_null(copy);
    car_model_free(small);
    car_model_free(model);
}

/* A file with one tensor in place of another, or without it. */
typedef struct change {
    const char *tensor;
    bool leave_out;
    car_tensor with;
    const char *part; /* of the message */
} change;

static void write_changed(const char *from, const char *to, const change *what) {
    car_error error = {0};
    car_container *container;
    car_container_builder *builder;
    require(car_container_load(from, NULL, &container, &error), &error);
    require(car_container_builder_create(NULL, &builder, &error), &error);
    for (int i = 0; i < car_container_metadata_count(container); i++) {
        const char *key = car_container_metadata_key(container, i);
        require(car_container_builder_metadata(builder, key, car_container_metadata(container, key),
                                               &error),
                &error);
    }
    for (int i = 0; i < car_container_tensor_count(container); i++) {
        car_tensor tensor = *car_container_tensor(container, i);
        if (strcmp(what->tensor, tensor.name) == 0) {
            const char *name = tensor.name;
            tensor = what->with;
            tensor.name = name;
            if (what->leave_out)
                continue;
        }
        require(car_container_builder_tensor(builder, &tensor, &error), &error);
    }
    require(car_container_builder_save(builder, to, &error), &error);
    car_container_builder_free(builder);
    car_container_free(container);
}

static void hostile_files_are_refused(void **state) {
    (void)state;
    int8_t values[6] = {1, -127, 127, 0, -128, 5};
    float scales[2] = {0.5f, NAN}, negative[2] = {-0.5f, 1}, endless[2] = {1, INFINITY};
    float floats[6] = {0};
    const car_tensor minimum = {
        .dtype = CAR_I8, .rank = 2, .shape = {2, 3}, .data = values, .bytes = 6};
    const car_tensor row = {.dtype = CAR_I8, .rank = 1, .shape = {6}, .data = values, .bytes = 6};
    const car_tensor wide = {.rank = 2, .shape = {2, 3}, .data = floats, .bytes = 24};
    const car_tensor no_number = {.rank = 1, .shape = {2}, .data = scales, .bytes = 8};
    const car_tensor below = {.rank = 1, .shape = {2}, .data = negative, .bytes = 8};
    const car_tensor beyond = {.rank = 1, .shape = {2}, .data = endless, .bytes = 8};
    const car_tensor one = {.rank = 1, .shape = {1}, .data = scales, .bytes = 4};
    const car_tensor whole = {.dtype = CAR_I8, .rank = 1, .shape = {2}, .data = values, .bytes = 2};
    const change changes[] = {
        {.tensor = "decoder.weight", .with = minimum, .part = "holds -128 in row 1"},
        {.tensor = "decoder.weight", .with = row, .part = "is [6], but the net asks for [2, 3]"},
        {.tensor = "decoder.weight", .with = wide, .part = "is F32, but only I8 is read"},
        {.tensor = "decoder.weight", .leave_out = true, .part = "decoder.weight [2, 3] is missing"},
        {.tensor = "decoder.weight.scale", .with = no_number, .part = "is nan in row 1"},
        {.tensor = "decoder.weight.scale", .with = below, .part = "is -0.5 in row 0"},
        {.tensor = "decoder.weight.scale", .with = beyond, .part = "is inf in row 1"},
        {.tensor = "decoder.weight.scale", .with = one, .part = "is [1], but the net asks for [2]"},
        {.tensor = "decoder.weight.scale", .with = whole, .part = "is I8, but only F32 is read"},
        {.tensor = "decoder.weight.scale", .leave_out = true, .part = "scale [2] is missing"},
        {.tensor = "decoder.bias", .with = whole, .part = "is I8, but only F32 is read"},
    };
    char from[64], path[64];
    temporary_path(from);
    temporary_path(path);
    car_error error = {0};
    car_model *model = make_model("gru 3 | softmax", 5, 2, NULL), *loaded;
    car_model *small = convert(model, "int8");
    require(car_model_save(small, from, &error), &error);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        write_changed(from, path, &changes[i]);
        car_status status = car_model_load(path, NULL, &loaded, &error);
        if (status != CAR_MODEL || !strstr(error.message, changes[i].part))
            fail_msg("change %zu: %d: %s (not: %s)", i, (int)status, error.message,
                     changes[i].part);
        assert_null(loaded);
    }
    /* scales beside f32 weights have no place, and no trainer takes such a file up */
    const change none = {.tensor = ""};
    write_changed(from, path, &none);
    car_container *container;
    require(car_container_load(path, NULL, &container, &error), &error);
    assert_int_equal(car_model_read(container, path, NULL, &loaded, &error), CAR_USAGE);
    car_container_free(container);
    car_model_free(small);
    car_model_free(model);
    unlink(from);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversion_rounds_rows_once),
        cmocka_unit_test(a_file_holds_the_same_model),
        cmocka_unit_test(a_model_shrinks_to_a_quarter),
        cmocka_unit_test(rounding_moves_outputs_a_little),
        cmocka_unit_test(batch_threads_and_capacity_change_no_bit),
        cmocka_unit_test(padding_is_not_there),
        cmocka_unit_test(the_interpreter_gives_the_same_bits),
        cmocka_unit_test(bounds_come_from_the_equations),
        cmocka_unit_test(what_is_frozen_counts_as_what_it_is),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(training_is_refused),
        cmocka_unit_test(hostile_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
