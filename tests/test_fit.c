/*
 * test_fit.c: checkpoints and the fitting loop.
 *
 * In:  small nets and made-up tasks; files in a temporary folder.
 * Out: the same bits after resume, also after SIGKILL; best, last, patience, plateau and budgets; old files intact
 *      after failed writes and divergence; damaged checkpoints refused.
 */
#include "train_helpers.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- helpers ------------------------------------------------------------------------------------------ */

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/carousel-train-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static const char *in_folder(char path[128], const char *name) {
    snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

/* ---- files -------------------------------------------------------------------------------------------- */

/* A file of updates 0..9 in one go equals one that was saved and loaded after 4, with other threads. */
static void check_resume(const char *optimizer, float momentum, const char *net) {
    char whole[128], part[128], resumed[128];
    in_folder(whole, "whole"), in_folder(part, "part"), in_folder(resumed, "resumed");
    car_trainer_options options = {.batch = 4,
                                   .steps = 7,
                                   .threads = 1,
                                   .optimizer = optimizer,
                                   .momentum = momentum,
                                   .decay = 1e-4f,
                                   .clip_norm = 0.3f,
                                   .seed = 0xFFFFFFFFFFFFFFFFu};
    language_batch data;
    car_trainer *a = make_trainer(net, SYMBOLS, SYMBOLS, &options), *b;
    make_batch(&data, 4, 7, 1);
    run_updates(a, 0, 4);
    ok(car_trainer_evaluate(a, &data.batch, NULL,
                            fault)); /* so that its state is not the initial one */
    ok(car_trainer_set_metadata(a, "test.command", "train \"quoted\" \n line", fault));
    ok(car_trainer_save(a, part, fault));
    ok(car_trainer_load(part, 2, NULL, &b, fault));
    assert_string_equal(car_model_metadata(car_trainer_model(b), "test.command"),
                        "train \"quoted\" \n line");
    assert_int_equal(car_trainer_updates(b), 4);
    run_updates(a, 4, 9);
    run_updates(b, 4, 9);
    car_step_result loss_a, loss_b;
    data.batch.reset = false;
    ok(car_trainer_evaluate(a, &data.batch, &loss_a, fault));
    ok(car_trainer_evaluate(b, &data.batch, &loss_b, fault));
    assert_memory_equal(&loss_a.loss, &loss_b.loss, sizeof loss_a.loss);
    assert_same_weights(a, b);
    ok(car_trainer_save(a, whole, fault));
    ok(car_trainer_save(b, resumed, fault));
    assert_same_files(whole, resumed);
    car_trainer_free(a);
    car_trainer_free(b);
}

static void test_resume_is_exact(void **state) {
    (void)state;
    check_resume("sgd", 0, "embed 6 | lstm 9 x2 dropout 0.4 | softmax");
    check_resume("sgd", 0.9f, "embed 6 | lstm 9 dropout 0.4 | softmax");
    check_resume("adam", 0, "embed 6 | lstm 9 x2 dropout 0.4 | softmax");
    check_resume("adamw", 0, "embed 6 | gru 9 dropout 0.1 | rnn 5 | softmax");
    check_resume("rmsprop", 0, "embed 9 | gru 9 residual dropout 0.1 | softmax tie");
    check_resume("adam", 0, "embed 6 | dense 9 | softmax"); /* no state at all */
    check_resume("adam", 0, "embed 6 | lstm 9 x2 dropout 0.4 locked weightdrop 0.5 | softmax");
}

static void test_checkpoint_is_a_model_file(void **state) {
    (void)state;
    char path[128];
    car_trainer *trainer = make_trainer("embed 6 | lstm 9 | softmax", SYMBOLS, SYMBOLS,
                                        &(car_trainer_options){.batch = 2, .steps = 4});
    car_model *model;
    car_error error = {0};
    run_updates(trainer, 0, 3);
    ok(car_trainer_save(trainer, in_folder(path, "checkpoint"), fault));
    ok(car_model_load(path, NULL, &model, fault));
    assert_memory_equal(model->weights, trainer->model->weights,
                        trainer->weight_floats * sizeof(float));
    assert_null(car_model_metadata(model, "trainer.batch"));
    car_trainer *other;
    ok(car_model_save(model, path, fault));
    assert_int_equal(car_trainer_load(path, 1, NULL, &other, &error), CAR_MODEL);
    assert_null(other);
    assert_mentions(error.message, "load its weights");
    car_model_free(model);
    car_trainer_free(trainer);
}

/* Saves a trainer whose record has been made wrong: loading must refuse it. */
static void test_wrong_checkpoints_are_refused(void **state) {
    (void)state;
    char path[128];
    in_folder(path, "wrong");
    for (int fault_number = 0; fault_number < 8; fault_number++) {
        car_trainer_options options = {.batch = 2, .steps = 4, .threads = 1};
        car_trainer *other,
            *trainer = make_trainer("embed 6 | lstm 9 | softmax", SYMBOLS, SYMBOLS, &options);
        car_error error = {0};
        run_updates(trainer, 0, 2);
        trainer->options.momentum = fault_number == 0 ? 0.5f : 0;
        trainer->options.steps = fault_number == 1 ? 0 : 4;
        trainer->options.beta1 = fault_number == 2 ? 7 : 0.9f;
        trainer->options.optimizer = fault_number == 3 ? "newton" : "adam";
        trainer->updates = fault_number == 4 ? -1 : 2;
        trainer->fit.validated_update = fault_number == 5 ? -2 : -1;
        trainer->first[20] = fault_number == 6 ? NAN : 0;
        trainer->options.epsilon = fault_number == 7 ? INFINITY : 1e-8f;
        ok(car_trainer_save(trainer, path, fault));
        if (car_trainer_load(path, 1, NULL, &other, &error) != CAR_MODEL)
            fail_msg("fault %d was not refused: %s", fault_number, error.message);
        assert_null(other);
        car_trainer_free(trainer);
    }
}

static void test_damaged_checkpoints_are_refused(void **state) {
    (void)state;
    char path[128], damaged[128];
    size_t length;
    car_trainer *other, *trainer = make_trainer("embed 3 | rnn 3 | softmax", SYMBOLS, SYMBOLS,
                                                &(car_trainer_options){.batch = 2, .steps = 4});
    ok(car_trainer_save(trainer, in_folder(path, "good"), fault));
    in_folder(damaged, "damaged");
    char *bytes = read_bytes(path, &length);
    for (size_t i = 0; i < 60; i++) {
        bool cut = i % 2;
        size_t at = length * i / 60;
        FILE *file = fopen(damaged, "wb");
        assert_non_null(file);
        bytes[at] ^= 0x10;
        assert_int_equal(fwrite(bytes, 1, cut ? at : length, file), cut ? at : length);
        bytes[at] ^= 0x10;
        assert_int_equal(fclose(file), 0);
        assert_int_not_equal(car_trainer_load(damaged, 1, NULL, &other, NULL), CAR_OK);
        assert_null(other);
    }
    car_release(NULL, bytes);
    car_trainer_free(trainer);
}

static void test_failed_writes_keep_the_old_file(void **state) {
    (void)state;
    char path[128], copy[128], missing[128];
    struct rlimit old, small;
    car_error error = {0};
    car_trainer *trainer = make_trainer("embed 6 | lstm 9 | softmax", SYMBOLS, SYMBOLS,
                                        &(car_trainer_options){.batch = 2, .steps = 4});
    ok(car_trainer_save(trainer, in_folder(path, "kept"), fault));
    ok(car_trainer_save(trainer, in_folder(copy, "copy"), fault));
    run_updates(trainer, 0, 2);
    assert_int_equal(car_trainer_save(trainer, in_folder(missing, "no/such"), &error), CAR_IO);
    if (access("/dev/full", W_OK) == 0)
        assert_int_equal(car_trainer_save(trainer, "/dev/full", &error), CAR_IO);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    car_status status = car_trainer_save(trainer, path, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, CAR_IO);
    assert_same_files(path, copy);
    car_trainer_free(trainer);
}

/* ---- memory that runs out ----------------------------------------------------------------------------- */

typedef struct counting {
    int left, blocks; /* allocations until failure; blocks alive */
} counting;

static void *count_allocate(void *context, size_t size, size_t alignment) {
    counting *count = context;
    if (count->left-- <= 0)
        return NULL;
    count->blocks++;
    return aligned_alloc(64, (size + 63) / 64 * 64 + (alignment > 64 ? 64 : 0));
}

static void count_release(void *context, void *block) {
    ((counting *)context)->blocks--;
    free(block);
}

static void test_memory_that_runs_out(void **state) {
    (void)state;
    char path[128];
    counting count = {0, 0};
    car_allocator allocator = {&count, count_allocate, count_release};
    car_model *model = make_model("embed 6 | lstm 9 | softmax", NULL, 0, SYMBOLS, SYMBOLS);
    car_trainer_options options = {.batch = 2, .steps = 4, .threads = 1};
    int failures = 0;
    in_folder(path, "memory");
    for (int left = 0;; left++) {
        car_trainer *trainer, *loaded = NULL;
        car_error error = {0};
        count.left = left;
        car_status status = car_trainer_create(model, &options, &allocator, &trainer, &error);
        if (status == CAR_OK)
            status = car_trainer_save(trainer, path, &error);
        if (status == CAR_OK)
            status = car_trainer_load(path, 1, &allocator, &loaded, &error);
        car_trainer_free(loaded);
        car_trainer_free(trainer);
        assert_int_equal(count.blocks, 0);
        if (status == CAR_OK)
            break;
        assert_int_equal(status, CAR_MEMORY);
        assert_int_not_equal(error.message[0], 0);
        failures++;
    }
    assert_true(failures > 5);
    car_model_free(model);
}

/* ---- the loop ----------------------------------------------------------------------------------------- */

/* A task whose validation is either real (evaluation of one batch) or read from a script. */
typedef struct fit_task {
    language_batch data;
    const double *script;
    int script_length, validations;
    volatile sig_atomic_t stop;
    int64_t stop_at, kill_at; /* updates; -1: never */
    int64_t updates_seen;
    int asked[64];          /* how often each batch of the whole run was asked for */
    const char *fixed_path; /* must hold the budget as soon as it is known; NULL: not looked at */
    car_fit_progress last;
} fit_task;

enum { FIT_EPOCH = 6 };

static car_status fit_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                            car_error *error) {
    (void)error;
    fit_task *task = context;
    int64_t number = epoch * FIT_EPOCH + index;
    assert_in_range(index, 0, FIT_EPOCH - 1);
    if (number < 64)
        task->asked[number]++;
    make_batch(&task->data, 4, 7, number);
    *batch = task->data.batch;
    return CAR_OK;
}

static car_status fit_validate(void *context, car_trainer *trainer, double *loss,
                               car_error *error) {
    fit_task *task = context;
    car_step_result result;
    if (task->script) {
        assert_true(task->validations < task->script_length);
        *loss = task->script[task->validations++];
        return CAR_OK;
    }
    task->validations++;
    make_batch(&task->data, 4, 7, 100000);
    CAR_TRY(car_trainer_evaluate(trainer, &task->data.batch, &result, error));
    *loss = result.loss;
    return CAR_OK;
}

static void check_budget_is_saved(const char *path, int64_t last_update) {
    car_container *container;
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)last_update);
    ok(car_container_load(path, NULL, &container, fault));
    assert_string_equal(car_container_metadata(container, "trainer.fit.last_update"), number);
    car_container_free(container);
}

static void fit_watch(void *context, const car_fit_progress *progress) {
    fit_task *task = context;
    task->last = *progress;
    task->updates_seen += !progress->validated;
    if (task->fixed_path && progress->last_update >= 0) {
        check_budget_is_saved(task->fixed_path, progress->last_update);
        task->fixed_path = NULL;
    }
    if (progress->update == task->kill_at)
        raise(SIGKILL);
    if (progress->update == task->stop_at)
        task->stop = 1;
}

static car_status run_fit(car_trainer *trainer, fit_task *task, car_fit_options options,
                          car_fit_result *result, car_error *error) {
    car_fit_source source = {task, FIT_EPOCH, fit_batch, fit_validate};
    options.stop = &task->stop;
    options.progress = fit_watch;
    options.progress_context = task;
    return car_fit(trainer, &source, &options, result, error);
}

static const car_trainer_options fit_trainer_options = {
    .batch = 4, .steps = 7, .threads = 1, .clip_norm = 0.2f, .seed = 4};
static const char fit_net[] = "embed 6 | lstm 9 dropout 0.3 | softmax";

static car_fit_options fit_options(const char *best, const char *last) {
    return (car_fit_options){.epochs = 3.5,
                             .schedule = {.kind = CAR_SCHEDULE_COSINE, .rate = 0.02, .warmup = 3},
                             .validate_every = 4,
                             .best_path = best,
                             .last_path = last};
}

/* Stopped by a signal at update `stop_at` or killed at `kill_at`, loaded and gone on. */
static void check_fit_resumes(int64_t stop_at, int64_t kill_at) {
    char best[2][128], last[2][128];
    fit_task task = {.stop_at = -1, .kill_at = -1}, cut = {.stop_at = stop_at, .kill_at = kill_at};
    fit_task rest = task;
    car_fit_result whole, result;
    in_folder(best[0], "best-0"), in_folder(best[1], "best-1");
    in_folder(last[0], "last-0"), in_folder(last[1], "last-1");
    car_trainer *a = make_trainer(fit_net, SYMBOLS, SYMBOLS, &fit_trainer_options), *b;
    ok(run_fit(a, &task, fit_options(best[0], last[0]), &whole, fault));
    assert_int_equal(whole.updates, 21);
    assert_int_equal(task.updates_seen, 21);
    for (int i = 0; i < 64; i++)
        assert_int_equal(task.asked[i], i < 21);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        b = make_trainer(fit_net, SYMBOLS, SYMBOLS, &fit_trainer_options);
        car_status status = run_fit(b, &cut, fit_options(best[1], last[1]), &result, NULL);
        _exit(status == CAR_OK && result.stopped_by_signal ? 0 : 1);
    }
    int code;
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_true(kill_at < 0 ? WIFEXITED(code) && WEXITSTATUS(code) == 0
                            : WIFSIGNALED(code) && WTERMSIG(code) == SIGKILL);
    ok(car_trainer_load(last[1], 2, NULL, &b, fault));
    assert_int_equal(car_trainer_updates(b), kill_at < 0 ? stop_at : kill_at / 4 * 4);
    int done = b->fit.validated_update < 0 ? 0 : (int)b->fit.validated_update / 4;
    ok(run_fit(b, &rest, fit_options(best[1], last[1]), &result, fault));
    assert_int_equal(task.validations, 6); /* at 4, 8, 12, 16, 20 and the last, 21 */
    assert_int_equal(rest.validations, 6 - done);
    assert_same_weights(a, b);
    assert_same_files(best[0], best[1]);
    assert_int_equal(result.updates, whole.updates);
    assert_int_equal(result.clipped, whole.clipped);
    assert_int_equal(result.best_update, whole.best_update);
    assert_near(result.best_validation, whole.best_validation, 0);
    assert_near(rest.last.loss, task.last.loss, 0);
    assert_int_equal(a->fit.validated_update, b->fit.validated_update);
    assert_int_equal(a->fit.unimproved, b->fit.unimproved);
    assert_int_equal(a->fit.plateau_unimproved, b->fit.plateau_unimproved);
    car_trainer_free(a);
    car_trainer_free(b);
}

static void test_fit_resumes(void **state) {
    (void)state;
    check_fit_resumes(3, -1);
    check_fit_resumes(8, -1); /* where a validation is due */
    check_fit_resumes(13, -1);
    check_fit_resumes(-1, 6);
    check_fit_resumes(-1, 15);
}

static void test_finished_run_stays_finished(void **state) {
    (void)state;
    char best[128], last[128];
    fit_task task = {.stop_at = -1, .kill_at = -1};
    car_fit_result result, again;
    in_folder(best, "best"), in_folder(last, "last");
    car_trainer *trainer = make_trainer(fit_net, SYMBOLS, SYMBOLS, &fit_trainer_options);
    ok(run_fit(trainer, &task, fit_options(best, last), &result, fault));
    ok(run_fit(trainer, &task, fit_options(best, last), &again, fault));
    assert_int_equal(task.updates_seen, 21);
    assert_int_equal(again.updates, 21);
    car_fit_options longer = fit_options(best, last);
    longer.epochs = 5; /* another budget: goes on */
    ok(run_fit(trainer, &task, longer, &again, fault));
    assert_int_equal(again.updates, 30);
    trainer->fit.updates_per_epoch = 7; /* other data */
    assert_int_equal(run_fit(trainer, &task, longer, &again, NULL), CAR_DATA);
    car_trainer_free(trainer);
}

static void test_patience_and_plateau(void **state) {
    (void)state;
    static const double script[] = {3, 2, 2.5, 2, 1.5, 1.6, 1.7, 1.8, 1.9};
    fit_task task = {.script = script, .script_length = 9, .stop_at = -1, .kill_at = -1};
    car_fit_options options = {
        .updates = 100,
        .schedule = {.kind = CAR_SCHEDULE_PLATEAU, .rate = 0.01, .factor = 0.5, .patience = 2},
        .validate_every = 2,
        .patience = 4};
    car_fit_result result;
    car_trainer *trainer = make_trainer(fit_net, SYMBOLS, SYMBOLS, &fit_trainer_options);
    ok(run_fit(trainer, &task, options, &result, fault));
    assert_true(result.stopped_early);
    assert_int_equal(result.updates, 18);
    assert_int_equal(result.best_update, 10);
    assert_near(result.best_validation, 1.5, 0);
    assert_int_equal(trainer->fit.reductions, 3); /* after 2.5 2, after 1.6 1.7, after 1.8 1.9 */
    assert_near(task.last.rate, 0.01 * 0.25, 1e-12);
    car_trainer_free(trainer);
}

static void test_clipped_updates_are_counted(void **state) {
    (void)state;
    for (int clip = 0; clip < 2; clip++) {
        fit_task task = {.stop_at = -1, .kill_at = -1};
        car_fit_result result;
        car_trainer_options options = fit_trainer_options;
        options.clip_norm = clip ? 1e-4f : 1e4f;
        car_trainer *trainer = make_trainer(fit_net, SYMBOLS, SYMBOLS, &options);
        ok(run_fit(trainer, &task, fit_options(NULL, NULL), &result, fault));
        assert_int_equal(result.clipped, clip ? 21 : 0);
        assert_int_equal(task.last.clipped, result.clipped);
        car_trainer_free(trainer);
    }
}

static void test_divergence_keeps_the_checkpoint(void **state) {
    (void)state;
    char best[128], last[128], best_copy[128], last_copy[128], command[600];
    fit_task task = {.stop_at = 9, .kill_at = -1};
    car_fit_result result;
    car_error error = {0};
    in_folder(best, "best"), in_folder(last, "last");
    in_folder(best_copy, "best-copy"), in_folder(last_copy, "last-copy");
    car_trainer *trainer = make_trainer(fit_net, SYMBOLS, SYMBOLS, &fit_trainer_options);
    ok(run_fit(trainer, &task, fit_options(best, last), &result, fault));
    assert_true(result.stopped_by_signal);
    snprintf(command, sizeof command, "cp %s %s && cp %s %s", best, best_copy, last, last_copy);
    assert_int_equal(system(command), 0);
    trainer->model->weights[trainer->model->layers[1].weights[0]] = NAN;
    task.stop = 0;
    task.stop_at = -1;
    assert_int_equal(run_fit(trainer, &task, fit_options(best, last), &result, &error),
                     CAR_DIVERGED);
    print_message("    %s\n", error.message);
    assert_mentions(error.message, "layer 2 (lstm): gate");
    assert_same_files(best, best_copy);
    assert_same_files(last, last_copy);
    static const double script[] = {NAN};
    fit_task blind = {.script = script, .script_length = 1, .stop_at = -1, .kill_at = -1};
    car_trainer *other = make_trainer(fit_net, SYMBOLS, SYMBOLS, &fit_trainer_options);
    assert_int_equal(run_fit(other, &blind, fit_options(best, last), &result, &error),
                     CAR_DIVERGED);
    assert_same_files(last, last_copy);
    car_trainer_free(trainer);
    car_trainer_free(other);
}

/* --minutes becomes a number of updates, which the checkpoint keeps. */
static void test_minutes(void **state) {
    (void)state;
    char best[128], last[128];
    fit_task task = {.stop_at = -1, .kill_at = -1};
    car_fit_options options = fit_options(in_folder(best, "best"), in_folder(last, "last"));
    car_fit_result result;
    car_trainer *trainer = make_trainer(fit_net, SYMBOLS, SYMBOLS, &fit_trainer_options), *loaded;
    options.epochs = 0;
    options.minutes = 4.5 / 60;
    options.validate_every = 1000000000;
    task.fixed_path = last;
    ok(run_fit(trainer, &task, options, &result, fault));
    print_message("    %lld updates in %.2f s\n", (long long)result.updates, trainer->fit.seconds);
    assert_true(trainer->fit.seconds > 3 && trainer->fit.seconds < 30);
    assert_int_equal(trainer->fit.last_update, result.updates);
    assert_int_equal(task.last.last_update, result.updates);
    ok(car_trainer_load(last, 1, NULL, &loaded, fault));
    task.updates_seen = 0;
    ok(run_fit(loaded, &task, options, &result, fault));
    assert_int_equal(task.updates_seen, 0);
    assert_int_equal(result.updates, trainer->fit.update);
    car_trainer_free(loaded);
    car_trainer_free(trainer);
}

static void test_fit_options_refused(void **state) {
    (void)state;
    fit_task task = {.stop_at = -1, .kill_at = -1};
    car_fit_source source = {&task, FIT_EPOCH, fit_batch, NULL};
    car_fit_options good = {.updates = 3, .schedule = {.rate = 0.01}}, bad = good;
    car_fit_result result;
    car_trainer *trainer = make_trainer(fit_net, SYMBOLS, SYMBOLS, &fit_trainer_options);
    bad.updates = 0;
    assert_int_equal(car_fit(trainer, &source, &bad, &result, NULL), CAR_USAGE);
    bad = good;
    bad.minutes = NAN;
    assert_int_equal(car_fit(trainer, &source, &bad, &result, NULL), CAR_USAGE);
    bad = good;
    bad.patience = 2; /* without validation */
    assert_int_equal(car_fit(trainer, &source, &bad, &result, NULL), CAR_USAGE);
    bad = good;
    bad.schedule.rate = -1;
    assert_int_equal(car_fit(trainer, &source, &bad, &result, NULL), CAR_USAGE);
    source.updates_per_epoch = 0;
    assert_int_equal(car_fit(trainer, &source, &good, &result, NULL), CAR_DATA);
    source.updates_per_epoch = FIT_EPOCH;
    ok(car_fit(trainer, &source, &good, &result, fault));
    assert_int_equal(result.updates, 3);
    car_trainer_free(trainer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fit_resumes), /* forks: before any thread is started */
        cmocka_unit_test(test_resume_is_exact),
        cmocka_unit_test_setup_teardown(test_resume_is_exact, in_bf16, in_f32),
        cmocka_unit_test(test_checkpoint_is_a_model_file),
        cmocka_unit_test(test_wrong_checkpoints_are_refused),
        cmocka_unit_test(test_damaged_checkpoints_are_refused),
        cmocka_unit_test(test_failed_writes_keep_the_old_file),
        cmocka_unit_test(test_memory_that_runs_out),
        cmocka_unit_test(test_finished_run_stays_finished),
        cmocka_unit_test(test_patience_and_plateau),
        cmocka_unit_test(test_clipped_updates_are_counted),
        cmocka_unit_test(test_divergence_keeps_the_checkpoint),
        cmocka_unit_test(test_minutes),
        cmocka_unit_test(test_fit_options_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
