/*
 * team: threads that work on one thing together, and the barrier between their phases.
 *
 * In:  a task and a number of threads. Out: the task has run once on every member and all are done.
 *
 * One OpenMP region holds the whole job; inside it members meet at a barrier of our own that costs
 * well below a microsecond: each arrival is counted, the last one opens the next generation, the
 * others watch the generation number, first spinning, then asleep: who sleeps is woken at once also on a
 * machine that others use, while who spins or yields has spent its share of the processor when it is needed. Members that
 * find themselves on one processor part: who wakes another may have it on its own processor from then on, as each of them
 * sleeps while the other runs, and a scheduler sees one thread at a time there. Subnormal floats are flushed to zero in
 * every member (they cost a hundred times a normal product), and the caller's mode is restored.
 */
#include "base.h"
#include <omp.h>
#include <sched.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__x86_64__) || defined(__SSE__)
#include <xmmintrin.h>
#define HAVE_MXCSR 1
#else
#define HAVE_MXCSR 0
#endif

#define MOST_MEMBERS 64
#define MOST_SPINS   2000

struct car_team {
    _Alignas(64) atomic_int members;
    int spins; /* before a waiting member sleeps; none when members share processors */
    _Alignas(64) atomic_int arrived;
    atomic_int sleepers;
    _Alignas(64) atomic_uint generation;
    _Alignas(64) atomic_int processor[MOST_MEMBERS]; /* where a member was seen, or NOWHERE */
};
enum { NOWHERE = -1 };

/* Flush to zero, denormals are zero. Setting a mode costs more than looking at it. */
#define FLUSHING 0x8040u

static unsigned flush_subnormals(void) {
#if HAVE_MXCSR
    unsigned before = _mm_getcsr();
    if ((before & FLUSHING) != FLUSHING)
        _mm_setcsr(before | FLUSHING);
    return before;
#else
    return 0;
#endif
}

static void restore_float_mode(unsigned before) {
#if HAVE_MXCSR
    if ((before & FLUSHING) != FLUSHING)
        _mm_setcsr(before);
#else
    (void)before;
#endif
}

static void pause_briefly(void) {
#if HAVE_MXCSR
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* A member that finds itself where another was seen goes to a processor of its own among those that it may use, if one is
 * left, and may use them all again. Not where members must share processors. */
static void stand_apart(car_team *team, int member) {
#if defined(__linux__)
    if (team->spins == 0)
        return;
    const int members = atomic_load_explicit(&team->members, memory_order_relaxed);
    const int own = sched_getcpu();
    atomic_store_explicit(&team->processor[member], own, memory_order_relaxed);
    cpu_set_t taken, allowed, left;
    CPU_ZERO(&taken);
    for (int i = 0; i < members; i++) {
        int processor = atomic_load_explicit(&team->processor[i], memory_order_relaxed);
        if (i != member && processor >= 0 && processor < CPU_SETSIZE)
            CPU_SET(processor, &taken);
    }
    if (own < 0 || own >= CPU_SETSIZE || !CPU_ISSET(own, &taken) ||
        sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    CPU_AND(&taken, &taken, &allowed);
    CPU_XOR(&left, &taken, &allowed);
    if (CPU_COUNT(&left) == 0 || sched_setaffinity(0, sizeof left, &left) != 0)
        return;
    atomic_store_explicit(&team->processor[member], sched_getcpu(), memory_order_relaxed);
    sched_setaffinity(0, sizeof allowed, &allowed);
#else
    (void)team, (void)member;
#endif
}

/* Sleeps while the generation is still the one that the caller saw. */
static void sleep_until_opened(car_team *team, int member, unsigned generation) {
#if defined(__linux__)
    atomic_fetch_add(&team->sleepers, 1);
    syscall(SYS_futex, &team->generation, FUTEX_WAIT_PRIVATE, generation, NULL, NULL, 0);
    atomic_fetch_sub(&team->sleepers, 1);
    stand_apart(team, member);
#else
    (void)team, (void)member, (void)generation;
    sched_yield();
#endif
}

/* The order of the two (sequentially consistent) accesses here and in sleep_until_opened makes sure that a member
 * is either seen among the sleepers or sees the new generation and does not fall asleep. */
static void open_generation(car_team *team, unsigned generation) {
    atomic_store(&team->generation, generation + 1);
#if defined(__linux__)
    if (atomic_load(&team->sleepers) > 0)
        syscall(SYS_futex, &team->generation, FUTEX_WAKE_PRIVATE, MOST_MEMBERS, NULL, NULL, 0);
#endif
}

/* This thread's mode is set, by a team whose task it runs: a mark of the thread, as the mode is. A step of a stream opens a team of
 * one for each of its parts, and to ask the processor each time takes several percent of it. */
static _Thread_local bool flushing;

static void run_member(car_team_task task, void *argument, car_team *team, int member,
                       int members) {
    if (flushing) {
        task(argument, team, member, members);
        return;
    }
    unsigned before = flush_subnormals();
    flushing = true;
    task(argument, team, member, members);
    flushing = false;
    restore_float_mode(before);
}

/* Those that the process may use. Under OMP_PROC_BIND a thread is bound to its place and sees no more of them than that. */
static int processors(void) {
    int count = 0;
    if (omp_get_proc_bind() != omp_proc_bind_false)
        for (int place = 0; place < omp_get_num_places(); place++)
            count += omp_get_place_num_procs(place);
    return count > 0 ? count : omp_get_num_procs();
}

/* A function of its own, not inlined: clang moves what it asks of libomp to the start of whatever asks, and a team of one is to
 * call nobody. */
__attribute__((noinline)) static void run_region(int threads, car_team_task task, void *argument,
                                                 car_team *team) {
    int wanted = threads < MOST_MEMBERS ? threads : MOST_MEMBERS;
    if (wanted > processors())
        team->spins = 0;
    for (int member = 0; member < wanted; member++)
        atomic_init(&team->processor[member], NOWHERE);
#pragma omp parallel num_threads(wanted)
    {
        /* OpenMP may give fewer threads than wanted; every member stores the same number. */
        int members = omp_get_num_threads();
        atomic_store_explicit(&team->members, members, memory_order_relaxed);
        stand_apart(team, omp_get_thread_num());
        run_member(task, argument, team, omp_get_thread_num(), members);
    }
}

void car_team_run(int threads, car_team_task task, void *argument) {
    car_team team;
    atomic_init(&team.members, 1);
    atomic_init(&team.arrived, 0);
    atomic_init(&team.sleepers, 0);
    atomic_init(&team.generation, 0);
    team.spins = MOST_SPINS;
    if (threads <= 1)
        run_member(task, argument, &team, 0, 1);
    else
        run_region(threads, task, argument, &team);
}

void car_team_barrier(car_team *team, int member) {
    int members = atomic_load_explicit(&team->members, memory_order_relaxed);
    if (members == 1)
        return;
    unsigned generation = atomic_load_explicit(&team->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) == members - 1) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        open_generation(team, generation);
        return;
    }
    int spins = 0;
    while (atomic_load_explicit(&team->generation, memory_order_acquire) == generation) {
        if (spins++ < team->spins)
            pause_briefly();
        else
            sleep_until_opened(team, member, generation);
    }
}

void car_team_share(int count, int grain, int member, int members, int *begin, int *end) {
    if (members == 1) { /* as below, without its divisions: a step of a stream comes here often */
        *begin = 0;
        *end = count;
        return;
    }
    int64_t units = ((int64_t)count + grain - 1) / grain;
    int64_t first = units * member / members * grain;
    int64_t last = units * (member + 1) / members * grain;
    *begin = (int)(first < count ? first : count);
    *end = (int)(last < count ? last : count);
}

int car_thread_count(int requested) {
    int count = requested > 0 ? requested : processors();
    if (count < 1)
        return 1;
    return count < MOST_MEMBERS ? count : MOST_MEMBERS;
}
