/*
 * test_memory.c: the bytes that are told are the bytes that are taken, and training takes no others.
 *
 * Blocks are counted by an allocator of the test's. A child trains, validates and saves; its peak of resident memory, less
 * what it had before, stays within 10 MB of car_trainer_bytes.
 */
#include "network_helpers.h"
#include "train.h"
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* ---- Told and taken ----------------------------------------------------------------------------------- */

typedef struct ledger {
    size_t largest, count;
} ledger;

static void *take(void *context, size_t size, size_t alignment) {
    ledger *taken = context;
    void *block = NULL;
    taken->largest = size > taken->largest ? size : taken->largest;
    taken->count++;
    return posix_memalign(&block, alignment, size) == 0 ? block : NULL;
}

static void give_back(void *context, void *block) {
    (void)context;
    free(block);
}

static void a_session_is_one_block_of_the_size_told(void **state) {
    (void)state;
    static const car_session_options shapes[] = {{0}, {.lanes = 7, .steps = 5}, {2, 3, 2}};
    car_model *model = make_model("embed 20 | lstm 200 x2 | softmax", 500, 500, NULL);
    car_error error = {0};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        ledger taken = {0};
        const car_allocator allocator = {&taken, take, give_back};
        car_session *session;
        require(car_session_create(model, &shapes[i], &allocator, &session, &error), &error);
        assert_int_equal(taken.count, 1);
        assert_int_equal(taken.largest, car_session_bytes(model, &shapes[i]));
        car_session_free(session);
    }
    assert_int_equal(car_session_bytes(model, NULL), car_session_bytes(model, &shapes[0]));
    car_model_free(model);
    model = make_model("rnn 4 bi | linear", 3, 3, NULL);
    assert_int_equal(car_session_bytes(model, NULL), 0);
    car_model_free(model);
}

/* Bytes of a trainer, its model's included, which are what was told. */
static size_t bytes_of_trainer(const car_model *model, const car_trainer_options *options) {
    ledger taken = {0};
    const car_allocator allocator = {&taken, take, give_back};
    car_trainer *trainer;
    car_error error = {0};
    require(car_trainer_create(model, options, &allocator, &trainer, &error), &error);
    size_t told = car_trainer_bytes(model, options);
    assert_int_equal(told, car_model_bytes(car_trainer_model(trainer)) + taken.largest);
    car_trainer_free(trainer);
    return told;
}

static void a_trainer_is_its_model_and_one_block(void **state) {
    (void)state;
    static const char *const optimizers[] = {"sgd", "rmsprop", "adam"};
    car_model *model = make_model("embed 20 | lstm 200 x2 | softmax", 500, 500, NULL);
    size_t before = 0;
    for (int i = 0; i < 3; i++) {
        const car_trainer_options options = {
            .batch = 4, .steps = 6, .threads = 1, .optimizer = optimizers[i]};
        size_t bytes = bytes_of_trainer(model, &options);
        assert_true(bytes > before);
        before = bytes;
    }
    const car_trainer_options none = {.batch = 0, .steps = 6};
    assert_int_equal(car_trainer_bytes(model, &none), 0);
    assert_int_equal(car_model_bytes(model), model->weight_floats * sizeof(float));
    car_model_free(model);
}

/* Each shard has a gradient of its own. */
static void a_trainer_in_shards_too(void **state) {
    (void)state;
    car_model *model = make_model("embed 20 | lstm 50 | softmax", 50, 50, NULL);
    const car_trainer_options whole = {.batch = 12, .steps = 64, .threads = 2},
                              shards = {.batch = 32, .steps = 24, .threads = 2};
    assert_int_equal(car_shards_planned(model, whole.batch, whole.steps), 1);
    assert_int_equal(car_shards_planned(model, shards.batch, shards.steps), 3);
    assert_true(bytes_of_trainer(model, &shards) >=
                bytes_of_trainer(model, &whole) + 2 * model->weight_floats * sizeof(float));
    car_model_free(model);
}

/* ---- The peak ----------------------------------------------------------------------------------------- */

enum { STEPS = 35, BATCH = 20, WORDS = 3000 };

/* A line of /proc/self/status in bytes; 0: there is none. */
static size_t status_bytes(const char *name) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    size_t kibibytes = 0;
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0 &&
            sscanf(line + strlen(name), "%zu", &kibibytes) == 1)
            break;
    if (file)
        fclose(file);
    return kibibytes << 10;
}

static void forget_peak(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) {
        fputs("5", file);
        fclose(file);
    }
}

typedef struct measured {
    size_t told, grown;
} measured;

/* A training run with its saves; what it told, and by how much its peak was above what was there before. */
static measured train(const char *precision, const char *optimizer) {
    static int32_t ids[STEPS * BATCH];
    char path[] = "/tmp/carousel-memory-XXXXXX";
    close(mkstemp(path));
    forget_peak();
    size_t before = status_bytes("VmRSS:");
    model_precision = precision;
    car_model *model =
        make_model("embed 256 | lstm 384 x2 dropout 0.3 | softmax", WORDS, WORDS, NULL);
    const car_trainer_options options = {
        .batch = BATCH, .steps = STEPS, .threads = 1, .optimizer = optimizer};
    measured result = {.told = car_trainer_bytes(model, &options)};
    car_trainer *trainer;
    car_error error = {0};
    require(car_trainer_create(model, &options, NULL, &trainer, &error), &error);
    car_model_free(model);
    for (int k = 0; k < STEPS * BATCH; k++)
        ids[k] = k % WORDS;
    const car_batch batch = {.steps = STEPS, .input = ids, .target = ids};
    car_step_result step;
    for (int k = 0; k < 2; k++) {
        require(car_trainer_step(trainer, &batch, 0.01f, &step, &error), &error);
        require(car_trainer_evaluate(trainer, &batch, &step, &error), &error);
        require(car_trainer_save(trainer, path, &error), &error);
        require(car_trainer_save_model(trainer, path, &error), &error);
    }
    car_trainer_free(trainer);
    result.grown = status_bytes("VmHWM:") - before;
    unlink(path);
    return result;
}

static void check_peak(const char *precision, const char *optimizer) {
    int ends[2], status;
    measured result = {0};
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        result = train(precision, optimizer);
        _exit(write(ends[1], &result, sizeof result) == sizeof result ? 0 : 1);
    }
    assert_int_equal(read(ends[0], &result, sizeof result), sizeof result);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ends[0]);
    close(ends[1]);
    print_message("%s, %s: %.1f MB told, %.1f MB at the peak\n", precision ? precision : "f32",
                  optimizer, (double)result.told / 1e6, (double)result.grown / 1e6);
    assert_true(result.grown < result.told + 10000000);
    assert_true(result.grown > result.told / 2); /* it was measured */
}

static void a_training_run_takes_what_was_told(void **state) {
    (void)state;
    if (SANITIZED || status_bytes("VmHWM:") == 0) {
        print_message("skipped: a sanitizer's own memory, or no /proc/self/status\n");
        skip();
    }
    check_peak(NULL, "adam");
    check_peak(NULL, "sgd");
    check_peak("bf16", "adam");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_one_block_of_the_size_told),
        cmocka_unit_test(a_trainer_is_its_model_and_one_block),
        cmocka_unit_test(a_training_run_takes_what_was_told),
        cmocka_unit_test(a_trainer_in_shards_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
