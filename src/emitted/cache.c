/*
 * cache.c: the folder where compiled functions are kept from one run to the next.
 *
 * In:  XDG_CACHE_HOME or HOME; shared objects from the compiler. Out: entries KEY.so, each
 *
 *   the shared object | "\ncarousel " | SHA-256 of KEY and the shared object, 64 hex digits | "\n"
 *
 * (the loader does not look behind the object's own tables). The folder must be ours and nobody else may write to it,
 * or it is not used; an entry that is cut off, changed or of another key is not loaded and written anew. Entries come
 * into being whole, by a rename: processes that build the same entry at the same time replace it by its like.
 *
 * The folder holds MOST_ENTRIES of them: when one is added, those go that have not been used for longest (a use sets an
 * entry's time of change). A process that has loaded one keeps it, as a file without a name; one that was about to load it finds it
 * gone and its cell is interpreted until the next time, but what is about to be loaded has just been used.
 */
#include "native.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MARK[] = "\ncarousel ";
enum { MARK_BYTES = sizeof MARK - 1, TAIL = MARK_BYTES + 64 + 1, MOST_BYTES = 64 << 20 };
enum { MOST_ENTRIES = 64, NAME_BYTES = 128 };

/* ---- The folder --------------------------------------------------------------------------------------- */

static bool refuse(char why[CAR_WHY], const char *path, const char *cause) {
    snprintf(why, CAR_WHY, "no cache folder (%.150s: %.80s)", path, cause);
    return false;
}

/* An absolute folder by the environment, not that of a program with raised rights. */
static bool cache_path(char path[CAR_NATIVE_PATH], char why[CAR_WHY]) {
    const char *cache = secure_getenv("XDG_CACHE_HOME"), *home = secure_getenv("HOME");
    int length = 0;
    if (cache && cache[0] == '/')
        length = snprintf(path, CAR_NATIVE_PATH, "%s/carousel", cache);
    else if (home && home[0] == '/')
        length = snprintf(path, CAR_NATIVE_PATH, "%s/.cache/carousel", home);
    /* Room for the names of entries behind it. */
    if (length > 0 && length < CAR_NATIVE_PATH - 128)
        return true;
    snprintf(why, CAR_WHY, "no cache folder (neither XDG_CACHE_HOME nor HOME names one)");
    return false;
}

/* mkdir -p, new folders with mode 0700. */
static void make_folders(const char *path) {
    char part[CAR_NATIVE_PATH];
    for (size_t at = 1; path[at - 1]; at++) {
        if (path[at] != '/' && path[at] != '\0')
            continue;
        memcpy(part, path, at);
        part[at] = '\0';
        mkdir(part, 0700); /* what failed is seen when the folder is opened */
    }
}

bool car_cache_open(car_cache *cache, bool make, char why[CAR_WHY]) {
    if (!cache_path(cache->path, why))
        return false;
    if (make)
        make_folders(cache->path);
    cache->folder = open(cache->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (cache->folder < 0)
        return refuse(why, cache->path, strerror(errno));
    struct stat about;
    const char *cause = NULL;
    if (fstat(cache->folder, &about) != 0)
        cause = strerror(errno);
    else if (about.st_uid != geteuid())
        cause = "belongs to somebody else";
    else if (about.st_mode & (S_IWGRP | S_IWOTH))
        cause = "others can write to it; chmod 700 it";
    if (!cause)
        return true;
    car_cache_close(cache);
    return refuse(why, cache->path, cause);
}

void car_cache_close(car_cache *cache) {
    close(cache->folder);
    cache->folder = -1;
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

static bool read_all(int file, char *data, size_t length) {
    while (length > 0) {
        ssize_t got = read(file, data, length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        data += got;
        length -= (size_t)got;
    }
    return true;
}

/* A regular file of ours that nobody else can write to; NULL: it is not. Release with car_release. */
static char *read_file(int folder, const char *name, size_t *length) {
    int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat about;
    char *data = NULL;
    if (file < 0)
        return NULL;
    if (fstat(file, &about) == 0 && S_ISREG(about.st_mode) && about.st_uid == geteuid() &&
        about.st_size > 0 && about.st_size <= MOST_BYTES) {
        *length = (size_t)about.st_size;
        data = car_allocate(NULL, *length, 1);
    }
    if (data && !read_all(file, data, *length)) {
        car_release(NULL, data);
        data = NULL;
    }
    close(file);
    return data;
}

static void entry_digest(const char *key, const char *object, size_t length, char hex[65]) {
    car_sha256 hash;
    car_sha256_start(&hash);
    car_sha256_add(&hash, key, strlen(key));
    car_sha256_add(&hash, object, length);
    car_sha256_finish(&hash, hex);
}

bool car_cache_has(const car_cache *cache, const char *key) {
    char name[128], hex[65];
    size_t length;
    snprintf(name, sizeof name, "%.100s.so", key);
    char *data = read_file(cache->folder, name, &length);
    bool good = false;
    if (data && length > TAIL) {
        const char *tail = data + length - TAIL;
        entry_digest(key, data, length - TAIL, hex);
        good = memcmp(tail, MARK, MARK_BYTES) == 0 && memcmp(tail + MARK_BYTES, hex, 64) == 0 &&
               tail[TAIL - 1] == '\n';
    }
    car_release(NULL, data);
    if (good)
        (void)utimensat(cache->folder, name, NULL, AT_SYMLINK_NOFOLLOW); /* used now */
    return good;
}

/* ---- Room --------------------------------------------------------------------------------------------- */

static bool is_entry(int folder, const char *name, struct stat *about) {
    size_t length = strlen(name);
    return length > 3 && length < NAME_BYTES && strcmp(name + length - 3, ".so") == 0 &&
           fstatat(folder, name, about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(about->st_mode);
}

static bool is_older(struct timespec a, struct timespec b) {
    return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

/* How many entries there are, and the name of the one that has not been used for longest. */
static int find_oldest(const car_cache *cache, char oldest[NAME_BYTES]) {
    int own = openat(cache->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
    DIR *folder = own >= 0 ? fdopendir(own) : NULL;
    struct timespec since = {0};
    if (!folder && own >= 0)
        close(own);
    for (const struct dirent *entry; folder && (entry = readdir(folder));) {
        struct stat about;
        if (!is_entry(cache->folder, entry->d_name, &about))
            continue;
        if (count++ == 0 || is_older(about.st_mtim, since)) {
            since = about.st_mtim;
            snprintf(oldest, NAME_BYTES, "%s", entry->d_name);
        }
    }
    if (folder)
        closedir(folder);
    return count;
}

/* Other processes may do the same at the same time: what is gone already is no harm. */
static void drop_oldest(const car_cache *cache) {
    enum { MOST_AT_ONCE = 256 };
    char oldest[NAME_BYTES];
    for (int k = 0; k < MOST_AT_ONCE && find_oldest(cache, oldest) > MOST_ENTRIES; k++)
        (void)unlinkat(cache->folder, oldest, 0);
}

/* ---- Writing ------------------------------------------------------------------------------------------ */

bool car_cache_make_room(const car_cache *cache, char room[CAR_NATIVE_PATH], char why[CAR_WHY]) {
    snprintf(room, CAR_NATIVE_PATH, "%.*s/.build-XXXXXX", CAR_NATIVE_PATH - 128, cache->path);
    if (mkdtemp(room))
        return true;
    return refuse(why, cache->path, strerror(errno));
}

void car_cache_clear_room(const char *room, const char *const *names, int count) {
    char path[CAR_NATIVE_PATH + 128];
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", room, names[i]);
        unlink(path);
    }
    rmdir(room);
}

bool car_cache_write(const char *room, const char *name, const void *data, size_t length,
                     char why[CAR_WHY]) {
    char path[CAR_NATIVE_PATH + 128];
    snprintf(path, sizeof path, "%s/%s", room, name);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0)
        return refuse(why, path, strerror(errno));
    const char *from = data;
    bool good = true;
    while (good && length > 0) {
        ssize_t put = write(file, from, length);
        if (put < 0 && errno == EINTR)
            continue;
        good = put > 0;
        from += good ? put : 0;
        length -= good ? (size_t)put : 0;
    }
    int cause = errno;
    if (close(file) == 0 && good)
        return true;
    return refuse(why, path, strerror(good ? errno : cause));
}

/* The object with its digest behind it, as one block. */
static char *with_digest(const char *object, size_t length, const char *key) {
    char *whole = car_allocate(NULL, length + TAIL, 1);
    char hex[65];
    if (!whole)
        return NULL;
    entry_digest(key, object, length, hex);
    memcpy(whole, object, length);
    memcpy(whole + length, MARK, MARK_BYTES);
    memcpy(whole + length + MARK_BYTES, hex, 64);
    whole[length + TAIL - 1] = '\n';
    return whole;
}

bool car_cache_keep(const car_cache *cache, const char *room, const char *name, const char *key,
                    char why[CAR_WHY]) {
    static const char *const entry = "entry";
    char from[CAR_NATIVE_PATH + 128], to[128];
    size_t length;
    int folder = open(room, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char *object = folder >= 0 ? read_file(folder, name, &length) : NULL;
    char *whole = object ? with_digest(object, length, key) : NULL;
    bool good = whole && car_cache_write(room, entry, whole, length + TAIL, why);
    if (!whole)
        refuse(why, room, "what the compiler wrote cannot be read");
    snprintf(from, sizeof from, "%s/%s", room, entry);
    snprintf(to, sizeof to, "%.100s.so", key);
    if (good && renameat(AT_FDCWD, from, cache->folder, to) != 0)
        good = refuse(why, cache->path, strerror(errno));
    if (good)
        drop_oldest(cache);
    else
        unlink(from);
    car_release(NULL, whole);
    car_release(NULL, object);
    if (folder >= 0)
        close(folder);
    return good;
}
