/*
 * file: reads a whole file and replaces a whole file, checking every call that can fail.
 *
 * In:  a path ("-" when reading: standard input), the bytes to write.
 * Out: the bytes read, NUL-terminated; or a file that holds either all the new bytes or all the old
 * ones.
 *
 * A file is replaced by way of a sibling with a name of its own: write, fsync, close, rename over
 * the old one, fsync of the folder. A symbolic link is followed first, so the link stays. What is
 * not a regular file (a terminal, a pipe, /dev/full) cannot be replaced: it is written to as it
 * stands.
 */
#include "base.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FIRST_READ        ((size_t)65536)
#define MOST_BYTES_A_CALL ((size_t)1 << 30)
#define NAME_ATTEMPTS     100

static car_status fail_on_path(car_error *error, const char *path, const char *action,
                               int error_number) {
    return car_fail(error, CAR_IO,
                    "%s: cannot %s (%s); check the path, its permissions and the space", path,
                    action, strerror(error_number));
}

/* ---- Reading -------------------------------------------------------------------------------- */

/* A growing buffer; room for a NUL is always kept. */
typedef struct input {
    const car_allocator *allocator;
    char *data;
    size_t length, capacity;
} input;

static bool grow(input *in, size_t capacity) {
    char *grown = car_allocate(in->allocator, capacity, 1);
    if (!grown)
        return false;
    if (in->length > 0)
        memcpy(grown, in->data, in->length);
    car_release(in->allocator, in->data);
    in->data = grown;
    in->capacity = capacity;
    return true;
}

static car_status too_long(const char *path, size_t limit, car_error *error) {
    return car_fail(error, CAR_DATA,
                    "%s: longer than the %zu bytes that are read; use a smaller file", path, limit);
}

static car_status no_memory_for(const char *path, car_error *error) {
    return car_fail(error, CAR_MEMORY, "%s: out of memory; use a smaller file or a larger machine",
                    path);
}

/* What is expected of the file, with a byte more so that its end is met without growing. */
static car_status prepare_read(int descriptor, const char *path, size_t limit, input *in,
                               car_error *error) {
    struct stat about;
    if (fstat(descriptor, &about) != 0)
        return fail_on_path(error, path, "be read", errno);
    size_t capacity = FIRST_READ;
    if (S_ISREG(about.st_mode)) {
        if (about.st_size < 0 || (uint64_t)about.st_size > limit)
            return too_long(path, limit, error);
        if (!car_add((size_t)about.st_size, 2, &capacity))
            return too_long(path, limit, error);
    }
    return grow(in, capacity) ? CAR_OK : no_memory_for(path, error);
}

static car_status read_to_end(int descriptor, const char *path, size_t limit, input *in,
                              car_error *error) {
    for (;;) {
        size_t room = in->capacity - in->length - 1;
        if (room == 0) {
            size_t capacity;
            if (!car_multiply(in->capacity, 2, &capacity) || !grow(in, capacity))
                return no_memory_for(path, error);
            continue;
        }
        ssize_t got = read(descriptor, in->data + in->length,
                           room < MOST_BYTES_A_CALL ? room : MOST_BYTES_A_CALL);
        if (got == 0)
            return CAR_OK;
        if (got < 0 && errno != EINTR)
            return fail_on_path(error, path, "be read", errno);
        if (got > 0)
            in->length += (size_t)got;
        if (in->length > limit)
            return too_long(path, limit, error);
    }
}

car_status car_file_read(const char *path, size_t limit, const car_allocator *allocator,
                         char **data, size_t *length, car_error *error) {
    bool standard_input = strcmp(path, "-") == 0;
    int descriptor = STDIN_FILENO;
    if (!standard_input) {
        do
            descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        while (descriptor < 0 && errno == EINTR);
    }
    if (descriptor < 0)
        return fail_on_path(error, path, "be opened", errno);
    const char *shown = standard_input ? "standard input" : path;
    input in = {.allocator = allocator};
    car_status status = prepare_read(descriptor, shown, limit, &in, error);
    if (status == CAR_OK)
        status = read_to_end(descriptor, shown, limit, &in, error);
    if (!standard_input)
        close(descriptor);
    if (status != CAR_OK) {
        car_release(allocator, in.data);
        return status;
    }
    in.data[in.length] = '\0';
    *data = in.data;
    *length = in.length;
    return CAR_OK;
}

/* ---- Writing -------------------------------------------------------------------------------- */

struct car_file_writer {
    const car_allocator *allocator;
    char *path;       /* as resolved; owned */
    const char *name; /* the last part of path */
    int descriptor;
    int folder; /* -1: written to as it stands, nothing to rename */
    char temporary[64];
};

static void free_writer(car_file_writer *writer) {
    if (writer->descriptor >= 0)
        close(writer->descriptor);
    if (writer->folder >= 0)
        close(writer->folder);
    car_release(writer->allocator, writer->path);
    car_release(writer->allocator, writer);
}

/* Opens a sibling that nobody else has, with the mode of the file it is to replace. */
static int create_temporary(car_file_writer *writer, const struct stat *existing) {
    mode_t mode = existing ? existing->st_mode & 0777 : 0666;
    for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
        struct timespec now = {0, 0};
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(writer->temporary, sizeof writer->temporary, ".carousel-%lx-%llx-%lx-%d.tmp",
                 (long)getpid(), (long long)now.tv_sec, now.tv_nsec, attempt);
        writer->descriptor =
            openat(writer->folder, writer->temporary,
                   O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, mode);
        if (writer->descriptor >= 0 || (errno != EEXIST && errno != EINTR))
            break;
    }
    if (writer->descriptor < 0)
        return errno;
    if (existing && fchmod(writer->descriptor, mode) != 0) {
        int error_number = errno;
        unlinkat(writer->folder, writer->temporary, 0);
        return error_number;
    }
    return 0;
}

/* Opens the folder of the path and the temporary in it. */
static int open_sibling(car_file_writer *writer, const struct stat *existing) {
    char *slash = strrchr(writer->path, '/');
    writer->name = slash ? slash + 1 : writer->path;
    if (writer->name[0] == '\0')
        return writer->path[0] ? EISDIR : ENOENT;
    const char *folder = ".";
    if (slash == writer->path)
        folder = "/";
    else if (slash) {
        *slash = '\0';
        folder = writer->path;
    }
    writer->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error_number = errno;
    if (slash)
        *slash = '/';
    return writer->folder < 0 ? error_number : create_temporary(writer, existing);
}

static char *copy_path(const car_allocator *allocator, const char *path) {
    char *copy = car_allocate(allocator, strlen(path) + 1, 1);
    return copy ? strcpy(copy, path) : NULL;
}

/* Finds out what the path is now and opens the writer accordingly. Returns 0 or an errno. */
static int open_writer(car_file_writer *writer, const char *path) {
    struct stat about;
    char resolved[PATH_MAX];
    bool exists = stat(path, &about) == 0;
    if (!exists && errno != ENOENT)
        return errno;
    if (!exists && lstat(path, &about) == 0)
        return ENOENT; /* a link to nothing: neither replaced nor followed */
    if (exists && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0)
        return errno;
    bool replaces = exists && S_ISREG(about.st_mode);
    if (replaces && !realpath(path, resolved))
        return errno;
    writer->path = copy_path(writer->allocator, replaces ? resolved : path);
    if (!writer->path)
        return ENOMEM;
    if (!exists || replaces)
        return open_sibling(writer, replaces ? &about : NULL);
    writer->descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return writer->descriptor < 0 ? errno : 0;
}

car_status car_file_writer_open(const char *path, const car_allocator *allocator,
                                car_file_writer **writer, car_error *error) {
    car_file_writer *opened = car_allocate(allocator, 1, sizeof *opened);
    if (!opened)
        return no_memory_for(path, error);
    opened->allocator = allocator;
    opened->descriptor = -1;
    opened->folder = -1;
    int error_number = open_writer(opened, path);
    if (error_number == 0) {
        *writer = opened;
        return CAR_OK;
    }
    free_writer(opened);
    if (error_number == ENOMEM)
        return no_memory_for(path, error);
    return fail_on_path(error, path, "be written", error_number);
}

car_status car_file_writer_write(car_file_writer *writer, const void *data, size_t length,
                                 car_error *error) {
    const char *bytes = data;
    while (length > 0) {
        ssize_t put = write(writer->descriptor, bytes,
                            length < MOST_BYTES_A_CALL ? length : MOST_BYTES_A_CALL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return fail_on_path(error, writer->path, "be written", put < 0 ? errno : ENOSPC);
        bytes += put;
        length -= (size_t)put;
    }
    return CAR_OK;
}

/* Some files and folders (pipes, terminals, a few network file systems) have nothing to sync. */
static int sync_if_possible(int descriptor) {
    while (fsync(descriptor) != 0) {
        if (errno == EINVAL || errno == ENOTSUP || errno == EROFS)
            return 0;
        if (errno != EINTR)
            return errno;
    }
    return 0;
}

/* After EINTR Linux has closed the file all the same, and its bytes are already synced. */
static int close_checked(int *descriptor) {
    int result = close(*descriptor);
    *descriptor = -1;
    return result == 0 || errno == EINTR ? 0 : errno;
}

car_status car_file_writer_commit(car_file_writer *writer, car_error *error) {
    int error_number = sync_if_possible(writer->descriptor);
    int close_number = close_checked(&writer->descriptor);
    if (error_number == 0)
        error_number = close_number;
    bool renamed = false;
    if (error_number == 0 && writer->folder >= 0) {
        renamed = renameat(writer->folder, writer->temporary, writer->folder, writer->name) == 0;
        error_number = renamed ? sync_if_possible(writer->folder) : errno;
    }
    car_status status = CAR_OK;
    if (error_number != 0)
        status = fail_on_path(error, writer->path,
                              renamed ? "be synced, though it is in place," : "be written",
                              error_number);
    if (error_number != 0 && !renamed && writer->folder >= 0)
        unlinkat(writer->folder, writer->temporary, 0);
    free_writer(writer);
    return status;
}

void car_file_writer_abandon(car_file_writer *writer) {
    if (!writer)
        return;
    if (writer->folder >= 0)
        unlinkat(writer->folder, writer->temporary, 0);
    free_writer(writer);
}
