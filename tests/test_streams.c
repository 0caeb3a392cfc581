/*
 * test_streams.c: many streams in one session, and one model in many threads.
 *
 * Streams come, pause, move to another lane and go, each at its own time; at every step each gives the bits of a session
 * of its own. Threads that share a model, each with a session, do not notice each other (ThreadSanitizer watches in
 * `./start test --long`).
 */
#include "network_helpers.h"
#include <pthread.h>

enum { STREAMS = 64, MOST_VALUES = 16 };
static const car_random_key NUMBERS = {21, CAR_RANDOM_TEST, 0};

/* What stream s hears at its step t: an id, or values; the same wherever it is seated. */
static void fill_input(const car_model *model, int stream, int step, void *input) {
    if (starts_with_ids(model)) {
        float u = car_random_uniform(NUMBERS, (uint64_t)stream, (uint64_t)step);
        *(int32_t *)input = (int32_t)(u * (float)model->input_size);
        return;
    }
    for (int k = 0; k < model->input_size; k++)
        ((float *)input)[k] =
            2 * car_random_uniform(NUMBERS, (uint64_t)stream * 1000 + (uint64_t)k, (uint64_t)step) -
            1;
}

static car_session *open_session(const car_model *model, int lanes, int threads) {
    const car_session_options options = {.lanes = lanes, .steps = 4, .threads = threads};
    car_session *session;
    car_error error = {0};
    require(car_session_create(model, &options, NULL, &session, &error), &error);
    return session;
}

typedef struct stream {
    car_session *alone;
    int step;
    int lane;     /* -1: has no seat */
    float *state; /* where it waits without a seat */
} stream;

/* Seats and unseats streams at random: a state is saved, and restored in whatever lane is free. */
static void move_stream(car_session *together, stream *streams, int *seated, int lanes, int s,
                        uint32_t coin) {
    stream *one = &streams[s];
    if (one->lane >= 0) {
        car_session_get_state(together, one->lane, one->state);
        seated[one->lane] = -1;
        one->lane = -1;
        return;
    }
    int lane = (int)(coin % (uint32_t)lanes);
    if (seated[lane] >= 0)
        return;
    seated[lane] = s;
    one->lane = lane;
    if (one->step == 0)
        car_session_reset(together, lane);
    else
        car_session_set_state(together, lane, one->state);
}

static void check_streams(const char *net, int input_size, int output_size, int lanes,
                          int threads) {
    car_model *model = make_model(net, input_size, output_size, NULL);
    car_session *together = open_session(model, lanes, threads);
    size_t width = starts_with_ids(model) ? sizeof(int32_t) : (size_t)input_size * sizeof(float);
    size_t outputs = (size_t)output_size;
    stream streams[STREAMS];
    int seated[STREAMS];
    bool active[STREAMS];
    char *input = calloc((size_t)lanes, width);
    float *output = calloc((size_t)lanes, outputs * sizeof(float));
    for (int s = 0; s < STREAMS; s++) {
        streams[s] = (stream){.alone = open_session(model, 1, 1), .lane = -1};
        streams[s].state = calloc(car_session_state_size(together) + 1, sizeof(float));
        seated[s] = -1;
    }
    for (int tick = 0; tick < 40; tick++) {
        for (int s = 0; s < STREAMS; s++) {
            uint32_t coin[4];
            car_random_block(NUMBERS, (uint64_t)tick, (uint64_t)s + 7777, coin);
            if (coin[0] % 4 == 0)
                move_stream(together, streams, seated, lanes, s, coin[1]);
        }
        for (int lane = 0; lane < lanes; lane++) { /* a seated stream may have nothing to say */
            active[lane] = seated[lane] >= 0 && (tick + lane) % 5 != 0;
            memset(input + (size_t)lane * width, 0xff, width); /* NaN, or an id that is none */
            if (active[lane])
                fill_input(model, seated[lane], streams[seated[lane]].step,
                           input + (size_t)lane * width);
            for (size_t k = 0; k < outputs; k++)
                output[(size_t)lane * outputs + k] = -5;
        }
        car_error error = {0};
        require(car_session_step_active(together, active, input, output, &error), &error);
        for (int lane = 0; lane < lanes; lane++) {
            const float *got = output + (size_t)lane * outputs;
            float alone[MOST_VALUES], heard[MOST_VALUES];
            for (size_t k = 0; k < outputs; k++)
                alone[k] = -5;
            if (active[lane]) {
                stream *one = &streams[seated[lane]];
                fill_input(model, seated[lane], one->step++, heard);
                require(car_session_step(one->alone, heard, alone, &error), &error);
            }
            assert_memory_equal(got, alone, outputs * sizeof(float));
        }
    }
    for (int s = 0; s < STREAMS; s++) {
        assert_true(streams[s].step > 0 || lanes < STREAMS);
        car_session_free(streams[s].alone);
        free(streams[s].state);
    }
    free(input);
    free(output);
    car_session_free(together);
    car_model_free(model);
}

static void streams_come_and_go_as_if_alone(void **state) {
    (void)state;
    check_streams("lstm 19 x2 | linear", 5, 3, STREAMS, 1);
    check_streams("embed 17 | gru 17 residual | layernorm | softmax", 11, 11, STREAMS, 1);
    check_streams("slstm 21 | mut2 21 | sigmoid", 4, 2, 7, 2);
    check_streams("dense 20 | gru-v1 33 | linear", 3, 4, STREAMS, 1);
}

static void a_step_of_no_lane_changes_nothing(void **state) {
    (void)state;
    car_model *model = make_model("embed 4 | lstm 5 | softmax", 6, 6, NULL);
    car_session *session = open_session(model, 2, 1);
    const int32_t good[] = {1, 2}, bad[] = {-1, 99};
    const bool none[] = {false, false}, first[] = {true, false};
    float output[12], before[12], state_before[10], state_after[10];
    car_error error = {0};
    require(car_session_step(session, good, output, &error), &error);
    memcpy(before, output, sizeof before);
    car_session_get_state(session, 1, state_before);
    require(car_session_step_active(session, none, bad, output, &error), &error);
    assert_memory_equal(output, before, sizeof before);
    assert_int_equal(car_session_step_active(session, first, bad, output, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "lane 0"));
    car_session_get_state(session, 1, state_after);
    assert_memory_equal(state_before, state_after, sizeof state_before);
    car_session_free(session);
    car_model_free(model);
}

/* ---- Threads ------------------------------------------------------------------------------------------ */

enum { THREADS = 4, STEPS = 50, OUTPUTS = 3 };

typedef struct worker {
    const car_model *model;
    int stream;
    pthread_t thread;
    car_status status;
    float output[STEPS][OUTPUTS];
} worker;

static void *work(void *argument) {
    worker *mine = argument;
    car_session *session;
    mine->status = car_session_create(mine->model, NULL, NULL, &session, NULL);
    for (int t = 0; t < STEPS && mine->status == CAR_OK; t++) {
        float input[MOST_VALUES];
        fill_input(mine->model, mine->stream, t, input);
        mine->status = car_session_step(session, input, mine->output[t], NULL);
    }
    car_session_free(session);
    return NULL;
}

static void threads_share_a_model(void **state) {
    (void)state;
    car_model *model = make_model("lstm 24 | gru 18 | linear", 6, OUTPUTS, NULL);
    static worker together[THREADS], alone[THREADS];
    for (int k = 0; k < THREADS; k++) {
        together[k] = alone[k] = (worker){.model = model, .stream = k};
        assert_int_equal(pthread_create(&together[k].thread, NULL, work, &together[k]), 0);
    }
    for (int k = 0; k < THREADS; k++)
        assert_int_equal(pthread_join(together[k].thread, NULL), 0);
    for (int k = 0; k < THREADS; k++) {
        work(&alone[k]);
        assert_int_equal(together[k].status, CAR_OK);
        assert_memory_equal(together[k].output, alone[k].output, sizeof alone[k].output);
    }
    car_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_come_and_go_as_if_alone),
        cmocka_unit_test_setup_teardown(streams_come_and_go_as_if_alone, in_int8, in_f32),
        cmocka_unit_test_setup_teardown(threads_share_a_model, in_int8, in_f32),
        cmocka_unit_test(a_step_of_no_lane_changes_nothing),
        cmocka_unit_test(threads_share_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
