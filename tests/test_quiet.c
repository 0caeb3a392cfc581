/*
 * test_quiet.c: a step of a session allocates nothing, takes no lock and makes no system call.
 *
 * The linker gives the test every call of malloc and its kind, of locks and of OpenMP's regions (--wrap in meson.build);
 * and a child that has told the kernel to kill it at its next system call (seccomp's strict mode: only read, write and exit are
 * left) goes on with a thousand steps.
 */
#include "network_helpers.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
/* ThreadSanitizer's own thread lives on in a child whose only other one has ended. */
#if defined(__linux__) && !defined(__SANITIZE_THREAD__) && !HAS_FEATURE(thread_sanitizer)
#define HAS_STRICT_MODE 1
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

/* ---- What is watched ---------------------------------------------------------------------------------- */

static int allocations, locks, regions;

#define WATCH(count, type, name, parameters, arguments)                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters {                                                                \
        count++;                                                                                   \
        return __real_##name arguments;                                                            \
    }
WATCH(allocations, void *, malloc, (size_t size), (size))
WATCH(allocations, void *, calloc, (size_t count, size_t size), (count, size))
WATCH(allocations, void *, realloc, (void *block, size_t size), (block, size))
WATCH(allocations, int, posix_memalign, (void **block, size_t alignment, size_t size),
      (block, alignment, size))
WATCH(allocations, void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size))
WATCH(allocations, void, free, (void *block), (block))
WATCH(locks, int, pthread_mutex_lock, (pthread_mutex_t * lock), (lock))
WATCH(locks, int, pthread_rwlock_rdlock, (pthread_rwlock_t * lock), (lock))
WATCH(regions, void, GOMP_parallel,
      (void (*task)(void *), void *data, unsigned threads, unsigned flags),
      (task, data, threads, flags))

/* ---- The steps ---------------------------------------------------------------------------------------- */

static const char *const nets[] = {"embed 20 | lstm 33 x2 dropout 0.5 | softmax",
                                   "gru 40 | layernorm | slstm 130 | linear",
                                   "embed 24 | gru-v1 24 residual | softmax tie"};
enum { NETS = sizeof nets / sizeof *nets, SIZE = 24, LANES = 3 };
static const char *const precisions[] = {NULL, "bf16", "int8"};

static car_session *open_session(const char *net, const char *precision, car_model **model) {
    const car_session_options options = {.lanes = LANES, .threads = 2};
    car_session *session;
    car_error error = {0};
    model_precision = precision;
    *model = make_model(net, SIZE, SIZE, NULL);
    require(car_session_create(*model, &options, NULL, &session, &error), &error);
    return session;
}

static bool take_steps(car_session *session, const void *input, int count) {
    static float output[LANES * SIZE];
    static const bool active[LANES] = {true, false, true};
    car_error error;
    for (int k = 0; k < count; k++)
        if (car_session_step(session, input, output, &error) != CAR_OK ||
            car_session_step_active(session, active, input, output, &error) != CAR_OK)
            return false;
    return true;
}

static void a_step_allocates_and_locks_nothing(void **state) {
    (void)state;
    for (int p = 0; p < 3; p++)
        for (int i = 0; i < NETS; i++) {
            car_model *model;
            allocations = locks = regions = 0;
            car_session *session = open_session(nets[i], precisions[p], &model);
            void *input = make_input(model, 1, LANES, NULL);
            assert_true(allocations > 10); /* it is watched */
            allocations = locks = regions = 0;
            assert_true(take_steps(session, input, 5));
            assert_int_equal(allocations, 0);
            assert_int_equal(locks, 0);
            assert_int_equal(regions, 0);
            free(input);
            car_session_free(session);
            car_model_free(model);
        }
}

#ifdef HAS_STRICT_MODE
enum { REFUSED = 77 };

/* The child's life: 0, 1 for a step that failed, REFUSED where strict mode is not to be had; or the kernel ends it. */
static int live_quietly(car_session *session, const void *input, bool disturb) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
        return REFUSED;
    bool stepped = take_steps(session, input, 1000);
    if (disturb)
        (void)syscall(SYS_getpid);
    return stepped ? 0 : 1;
}

static int status_of_child(car_session *session, const void *input, bool disturb) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int code = live_quietly(session, input, disturb);
        (void)syscall(SYS_exit, code); /* _exit is exit_group, which strict mode refuses */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void a_step_makes_no_system_call(void **state) {
    (void)state;
    for (int p = 0; p < 3; p++)
        for (int i = 0; i < NETS; i++) {
            car_model *model;
            car_session *session = open_session(nets[i], precisions[p], &model);
            void *input = make_input(model, 1, LANES, NULL);
            int status = status_of_child(session, input, false);
            int disturbed = status_of_child(session, input, true);
            free(input);
            car_session_free(session);
            car_model_free(model);
            if (WIFEXITED(status) && WEXITSTATUS(status) == REFUSED) {
                print_message("skipped: seccomp's strict mode is not permitted here\n");
                skip();
            }
            if (status != 0)
                fail_msg("%s in %s: the child ended with status %d", nets[i],
                         precisions[p] ? precisions[p] : "f32", status);
            assert_true(WIFSIGNALED(disturbed) &&
                        WTERMSIG(disturbed) == SIGKILL); /* it would have shown */
        }
}
#else
static void a_step_makes_no_system_call(void **state) {
    (void)state;
    print_message("skipped: no seccomp here, or a sanitizer with a thread of its own\n");
    skip();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_allocates_and_locks_nothing),
        cmocka_unit_test(a_step_makes_no_system_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
