/*
 * compiler.c: the C compiler of this machine: where it is, and how it is run.
 *
 * In:  CC and PATH of the environment; a source file. Out: a shared object, or why there is none.
 *
 * No shell sees any of it: CC is cut into words at blanks, the rest are our own texts. Input, output and messages of
 * the compiler are /dev/null. It has a process group of its own, which is killed when it takes too long.
 */
#include "native.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 30, NAP_NANOSECONDS = 1000000 };

extern char **environ;

/* The blanks of `words` become NULs; returns how many words there are. */
static int cut_words(char *words) {
    int count = 0;
    char *to = words;
    for (const char *from = words; *from;) {
        from += strspn(from, " \t\n");
        size_t length = strcspn(from, " \t\n");
        if (length == 0)
            break;
        bool last = from[length] == '\0';
        memmove(to, from, length);
        to += length + 1;
        from += length + !last;
        to[-1] = '\0';
        count++;
    }
    return count;
}

static bool is_program(const char *path, struct stat *about) {
    return stat(path, about) == 0 && S_ISREG(about->st_mode) && access(path, X_OK) == 0;
}

/* `name` as it is when it has a slash, else in the folders of PATH. */
static bool find_program(const char *name, char path[CAR_NATIVE_PATH], struct stat *about) {
    if (strchr(name, '/'))
        return snprintf(path, CAR_NATIVE_PATH, "%s", name) < CAR_NATIVE_PATH &&
               is_program(path, about);
    const char *folders = secure_getenv("PATH");
    while (folders && *folders) {
        int length = (int)strcspn(folders, ":");
        if (length > 0 && folders[0] == '/' &&
            snprintf(path, CAR_NATIVE_PATH, "%.*s/%s", length, folders, name) < CAR_NATIVE_PATH &&
            is_program(path, about))
            return true;
        folders += length + (folders[length] == ':');
    }
    return false;
}

bool car_compiler_find(car_compiler *compiler, char why[CAR_WHY]) {
    const char *named = secure_getenv("CC");
    struct stat about;
    bool fits = !named || strlen(named) < sizeof compiler->words - 1;
    snprintf(compiler->words, sizeof compiler->words, "%s", named && fits ? named : "");
    compiler->word_count = cut_words(compiler->words);
    if (compiler->word_count == 0) {
        memcpy(compiler->words, "cc", sizeof "cc");
        compiler->word_count = 1;
    }
    if (!fits || compiler->word_count > CAR_COMPILER_WORDS ||
        !find_program(compiler->words, compiler->path, &about)) {
        snprintf(why, CAR_WHY, "no C compiler");
        return false;
    }
    snprintf(compiler->identity, sizeof compiler->identity, "%s %lld %lld.%09ld", compiler->path,
             (long long)about.st_size, (long long)about.st_mtim.tv_sec, about.st_mtim.tv_nsec);
    return true;
}

/* ---- Flags -------------------------------------------------------------------------------------------- */

#define COMMON_FLAGS                                                                               \
    "-std=gnu11 -O3 -w -ffp-contract=off -fno-math-errno -fPIC -shared -nostdlib -pipe"

const char *car_compiler_flags(car_cpu_level level) {
    switch (level) {
#if defined(__x86_64__)
    case CAR_CPU_AVX2:
        return COMMON_FLAGS " " CAR_FLAGS_AVX2;
    case CAR_CPU_AVX512:
        return COMMON_FLAGS " " CAR_FLAGS_AVX512;
#endif
    default:
        return COMMON_FLAGS " " CAR_FLAGS_BASELINE;
    }
}

/* ---- Running ------------------------------------------------------------------------------------------ */

/* Waits for the process; past the limit its whole group is killed. True: it ended by itself, with exit code 0. */
static bool wait_for(pid_t process) {
    const struct timespec nap = {0, NAP_NANOSECONDS};
    bool killed = false;
    int state = 0;
    for (double end = car_seconds() + LIMIT_SECONDS;;) {
        pid_t ended = waitpid(process, &state, killed ? 0 : WNOHANG);
        if (ended == process)
            return !killed && WIFEXITED(state) && WEXITSTATUS(state) == 0;
        if (ended < 0 && errno != EINTR)
            return false;
        if (ended == 0 && car_seconds() > end) {
            killed = true;
            kill(-process, SIGKILL);
        } else if (ended == 0) {
            nanosleep(&nap, NULL);
        }
    }
}

/* Starts the program as the leader of a group of its own, with default signals and no files but /dev/null. */
static bool start(const char *path, char *const *arguments, pid_t *process) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    if (posix_spawn_file_actions_init(&files) != 0)
        return false;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return false;
    }
    bool started =
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0) == 0 &&
        posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
        posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                                  POSIX_SPAWN_SETSIGMASK) == 0 &&
        posix_spawnattr_setpgroup(&attributes, 0) == 0 &&
        posix_spawnattr_setsigdefault(&attributes, &all) == 0 &&
        posix_spawnattr_setsigmask(&attributes, &none) == 0 &&
        posix_spawn(process, path, &files, &attributes, arguments, environ) == 0;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return started;
}

bool car_compiler_run(const car_compiler *compiler, car_cpu_level level, const char *source,
                      const char *object, char why[CAR_WHY]) {
    char words[sizeof compiler->words], flags[512];
    char *arguments[CAR_COMPILER_WORDS + CAR_COMPILER_FLAGS + 5];
    int count = 0;
    memcpy(words, compiler->words, sizeof words);
    char *word = words;
    for (int i = 0; i < compiler->word_count; i++, word += strlen(word) + 1)
        arguments[count++] = word;
    snprintf(flags, sizeof flags, "%s", car_compiler_flags(level));
    int flag_count = cut_words(flags);
    word = flags;
    for (int i = 0; i < flag_count && i < CAR_COMPILER_FLAGS; i++, word += strlen(word) + 1)
        arguments[count++] = word;
    arguments[count++] = (char *)"-o"; /* only read; posix_spawn's type does not say so */
    arguments[count++] = (char *)object;
    arguments[count++] = (char *)source;
    arguments[count] = NULL;
    pid_t process;
    if (start(compiler->path, arguments, &process) && wait_for(process))
        return true;
    snprintf(why, CAR_WHY, "the C compiler failed (%.200s)", compiler->path);
    return false;
}
