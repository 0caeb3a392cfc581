/*
 * Tests of shards.
 *
 * In:  nets of every kind, even and uneven lanes. Out: losses, counts and states as one stack of all lanes has them, the
 * gradient as well but for rounding; the same bits with any number of threads; lanes in messages are the batch's.
 */
#include <math.h>

#include "network_helpers.h"

typedef struct rig {
    car_model *model;
    int batch, steps;
    const int *lengths;
    void *input, *target;
} rig;

typedef struct outcome {
    double loss;
    int64_t counted;
    int steps;
    size_t state_floats;
    float *gradient, *state; /* [weight_floats], [batch][state_floats] */
} outcome;

static const car_random_key masks = {11, CAR_RANDOM_DROPOUT, 0};

static rig make_rig(const char *text, int batch, int steps, const int *lengths) {
    rig made = {.batch = batch, .steps = steps, .lengths = lengths};
    made.model = make_trainable(make_model(text, 7, 7, NULL));
    car_model_drop(made.model, 3, 0, 1);
    made.input = make_input(made.model, steps, batch, NULL);
    made.target = make_target(made.model, head_rows_of(made.model, steps, batch));
    return made;
}

static void free_rig(rig *made) {
    free(made->input);
    free(made->target);
    car_model_free(made->model);
}

static void free_outcome(outcome *of) {
    free(of->gradient);
    free(of->state);
}

/* Two batches, the second from where the first ended. */
static outcome run_shards(const rig *made, int threads) {
    car_error error = {0};
    const car_stack_shape shape = {
        .batch = made->batch, .steps = made->steps, .threads = threads, .backward = true};
    void *memory = car_allocate(NULL, car_shards_size(made->model, &shape), 1);
    car_shards *shards = car_shards_place(made->model, &shape, memory);
    const size_t floats = car_shards_state_floats(shards);
    outcome of = {.state_floats = floats,
                  .gradient = calloc(made->model->weight_floats, sizeof(float)),
                  .state = calloc((size_t)made->batch * floats + 1, sizeof(float))};
    car_shards_reset(shards);
    for (int k = 0; k < 2; k++) {
        double loss;
        require(car_shards_forward(shards, made->steps, made->lengths, made->input, &masks,
                                   (uint64_t)(k * made->steps), &error),
                &error);
        require(car_shards_loss(shards, made->target, of.gradient, &loss, &of.counted, &error),
                &error);
        car_shards_backward(shards, made->input, of.gradient);
        of.steps = car_shards_steps(shards);
        car_shards_carry(shards);
        of.loss += loss;
    }
    for (int lane = 0; lane < made->batch; lane++)
        car_shards_get_state(shards, lane, of.state + (size_t)lane * floats);
    car_release(NULL, memory);
    return of;
}

static outcome run_whole(const rig *made) {
    car_error error = {0};
    placed_stack placed = place_stack(made->model, made->batch, made->steps, 1, true);
    const size_t floats = car_stack_state_floats(placed.stack);
    outcome of = {.state_floats = floats,
                  .gradient = calloc(made->model->weight_floats, sizeof(float)),
                  .state = calloc((size_t)made->batch * floats + 1, sizeof(float))};
    car_stack_reset(placed.stack, -1);
    for (int k = 0; k < 2; k++) {
        double loss;
        require(car_stack_forward(placed.stack, made->steps, made->lengths, made->input, &masks,
                                  (uint64_t)(k * made->steps), &error),
                &error);
        require(car_stack_loss(placed.stack, made->target, of.gradient, &loss, &of.counted, &error),
                &error);
        car_stack_backward(placed.stack, made->input, of.gradient);
        of.steps = car_stack_rows(placed.stack)->steps;
        car_stack_carry(placed.stack);
        of.loss += loss;
    }
    for (int lane = 0; lane < made->batch; lane++)
        car_stack_get_state(placed.stack, lane, of.state + (size_t)lane * floats);
    car_release(NULL, placed.memory);
    return of;
}

/* Sums of the same numbers in another order. */
static void assert_near_gradients(const outcome *a, const outcome *b, size_t count) {
    double square = 0, difference = 0;
    for (size_t k = 0; k < count; k++) {
        square += (double)b->gradient[k] * (double)b->gradient[k];
        difference += pow((double)a->gradient[k] - (double)b->gradient[k], 2);
    }
    assert_true(square > 0);
    if (!(sqrt(difference / square) < 2e-6))
        fail_msg("gradients differ by %g of their norm", sqrt(difference / square));
}

static void check(const char *text, int batch, int steps, const int *lengths, int shards) {
    rig made = make_rig(text, batch, steps, lengths);
    const size_t weights = made.model->weight_floats;
    assert_int_equal(car_shards_planned(made.model, batch, steps), shards);
    outcome whole = run_whole(&made), one = run_shards(&made, 1);
    const size_t state_bytes = (size_t)batch * whole.state_floats * sizeof(float);
    assert_int_equal(one.state_floats, whole.state_floats);
    assert_int_equal(one.counted, whole.counted);
    assert_int_equal(one.steps, whole.steps);
    assert_true(fabs(one.loss - whole.loss) <= 1e-12 * fabs(whole.loss));
    assert_memory_equal(one.state, whole.state, state_bytes);
    assert_near_gradients(&one, &whole, weights);
    static const int threads[] = {2, 3, 9};
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        outcome more = run_shards(&made, threads[i]);
        assert_true(more.loss == one.loss);
        assert_memory_equal(more.gradient, one.gradient, weights * sizeof(float));
        assert_memory_equal(more.state, one.state, state_bytes);
        free_outcome(&more);
    }
    free_outcome(&whole);
    free_outcome(&one);
    free_rig(&made);
}

static void test_shards_are_the_batch(void **state) {
    (void)state;
    check("embed 5 | lstm 19 x2 dropout 0.3 | softmax", 17, 40, NULL, 2);
    check("embed 5 | gru 8 dropout 0.3 locked | softmax dropout 0.2", 41, 30, NULL, 4);
    check("rnn 9 bi dropout 0.2 | linear mean", 16, 64, NULL, 2);
    check("lstm 12 weightdrop 0.3 | linear last dropout 0.4", 33, 33, NULL, 4);
    check("patch 3 | gru 10 | linear", 24, 66, NULL, 2);
    check("dense 12 | lstm 12 residual | sigmoid", 70, 40, NULL, 8);
    check("layernorm-lstm 20 | linear", 16, 32, NULL, 2);
}

/* Enough weights for two shards at most, which take turns where there are four threads and more. */
static void test_larger_weights(void **state) {
    (void)state;
    check("lstm 200 | linear", 26, 24, NULL, 2);
}

static void test_uneven_lanes(void **state) {
    enum { LANES = 35, STEPS = 32 };
    int lengths[LANES];
    (void)state;
    for (int lane = 0; lane < LANES; lane++)
        lengths[lane] = lane * 7 % (STEPS + 1);
    check("embed 5 | lstm 11 dropout 0.3 | softmax", LANES, STEPS, lengths, 4);
    check("gru 7 bi | softmax last dropout 0.3", LANES, STEPS, lengths, 4);
    for (int lane = 0; lane < LANES; lane++)
        lengths[lane] = lane % 4 == 2 ? 0 : lengths[lane] / 4 * 4;
    check("embed 5 | lstm 11 | softmax", LANES, STEPS, lengths, 4); /* one shard has no step */
    check("gru 9 | linear mean", LANES, STEPS, lengths, 4);
    for (int lane = 0; lane < LANES; lane++)
        lengths[lane] = lane == 30 ? 9 : 0;
    check("lstm 7 | linear", LANES, STEPS, lengths, 4);
}

static void test_how_many(void **state) {
    (void)state;
    car_model *small = make_model("lstm 32 | linear", 8, 1, NULL);
    car_model *patched = make_model("patch 4 | lstm 32 | linear", 8, 1, NULL);
    car_model *middle = make_model("lstm 256 | linear", 256, 1, NULL);
    car_model *large = make_model("embed 650 | lstm 650 x2 | softmax", 100, 100, NULL);
    assert_int_equal(car_shards_planned(small, 15, 1000), 1);
    assert_int_equal(car_shards_planned(small, 16, 1000), 2);
    assert_int_equal(car_shards_planned(small, 16, 31), 1);
    assert_int_equal(car_shards_planned(small, 40, 100), 5);
    assert_int_equal(car_shards_planned(small, 1000, 100), 8);
    assert_int_equal(car_shards_planned(patched, 16, 124), 1);
    assert_int_equal(car_shards_planned(patched, 16, 128), 2);
    assert_int_equal(car_shards_planned(middle, 1000, 100), 2);
    assert_int_equal(car_shards_planned(large, 1000, 100), 1);
    car_model_free(small);
    car_model_free(patched);
    car_model_free(middle);
    car_model_free(large);
}

static void test_messages_name_the_batch_s_lane(void **state) {
    enum { LANES = 20, STEPS = 30 };
    int lengths[LANES];
    car_error error = {0};
    double loss;
    int64_t counted;
    (void)state;
    rig made = make_rig("embed 5 | gru 6 | softmax", LANES, STEPS, NULL);
    const car_stack_shape shape = {.batch = LANES, .steps = STEPS, .threads = 2, .backward = true};
    void *memory = car_allocate(NULL, car_shards_size(made.model, &shape), 1);
    car_shards *shards = car_shards_place(made.model, &shape, memory);
    float *gradient = calloc(made.model->weight_floats, sizeof(float));
    int32_t *ids = made.input, *classes = made.target, kept = ids[4 * LANES + 13];
    assert_int_equal(car_shards_count(shards), 2);
    ids[4 * LANES + 13] = 99;
    assert_int_equal(car_shards_forward(shards, STEPS, NULL, ids, NULL, 0, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "id 99 at step 4, lane 13"));
    ids[4 * LANES + 13] = kept;
    for (int lane = 0; lane < LANES; lane++)
        lengths[lane] = lane == 7 ? STEPS + 1 : STEPS;
    assert_int_equal(car_shards_forward(shards, STEPS, lengths, ids, NULL, 0, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "lane 7 is to run 31 steps"));
    require(car_shards_forward(shards, STEPS, NULL, ids, NULL, 0, &error), &error);
    classes[2 * LANES + 5] = 50;
    assert_int_equal(car_shards_loss(shards, classes, gradient, &loss, &counted, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "class 50 in row 45"));
    free(gradient);
    car_release(NULL, memory);
    free_rig(&made);
}

static void test_too_large(void **state) {
    (void)state;
    car_model *model = make_trainable(make_model("lstm 4 | linear", 1, 1, NULL));
    const car_stack_shape shapes[] = {
        {.batch = 1 << 20, .steps = 1 << 20, .threads = 1, .backward = true},
        {.batch = 1 << 16, .steps = 1 << 16, .threads = 1, .backward = true},
        {.batch = 16, .steps = 0, .threads = 1},
        {.batch = 0, .steps = 4, .threads = 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        assert_int_equal(car_shards_size(model, &shapes[i]), 0);
    car_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards_are_the_batch),
        cmocka_unit_test_setup_teardown(test_shards_are_the_batch, in_bf16, in_f32),
        cmocka_unit_test(test_larger_weights),
        cmocka_unit_test(test_uneven_lanes),
        cmocka_unit_test(test_how_many),
        cmocka_unit_test(test_messages_name_the_batch_s_lane),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
