/*
 * demo.c: the C headers of this machine as a text to learn from.
 *
 * In:  a folder (/usr/include) and how many bytes are wanted.
 * Out: whole files, one after the other, the last tenth (by bytes, in whole files) meant to be held
 * out.
 *
 * Files are taken in the order of a hash of their path below the folder: repeatable, and every
 * library of the machine has its share in both parts. Files that are no plain text, generated (very
 * long or with very long lines) or equal to one already taken are passed over.
 */
#include "data.h"
#include "symbols.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    LEAST_FILE = 512,
    MOST_FILE = 64 * 1024,
    LONGEST_LINE = 1000,
    DEEPEST_FOLDER = 12,
    LEAST_CORPUS = 64 * 1024
};

typedef struct found_file {
    const char *path;
    uint64_t hash;
} found_file;

typedef struct header_search {
    const car_allocator *allocator;
    car_arena *names;
    size_t root_length;
    found_file *files;
    size_t count, capacity;
} header_search;

static bool add_file(header_search *search, const char *path) {
    if (search->count == search->capacity) {
        size_t capacity = search->capacity ? search->capacity * 2 : 1024;
        found_file *grown = car_allocate(search->allocator, capacity, sizeof *grown);
        if (!grown)
            return false;
        if (search->count > 0)
            memcpy(grown, search->files, search->count * sizeof *grown);
        car_release(search->allocator, search->files);
        search->files = grown;
        search->capacity = capacity;
    }
    const char *below = path + search->root_length;
    search->files[search->count++] = (found_file){path, car_hash_bytes(below, strlen(below))};
    return true;
}

static char *join(header_search *search, const char *folder, const char *name) {
    size_t folder_length = strlen(folder), name_length = strlen(name);
    char *path = car_arena_allocate(search->names, folder_length + name_length + 2, 1);
    if (path) {
        memcpy(path, folder, folder_length);
        path[folder_length] = '/';
        memcpy(path + folder_length + 1, name, name_length);
    }
    return path;
}

/* All regular *.h files below a folder; links are not followed, folders that cannot be read passed
 * over. */
static bool find_headers(header_search *search, const char *folder, int depth) {
    DIR *entries = opendir(folder);
    if (!entries)
        return true;
    bool enough = true;
    for (struct dirent *entry; enough && (entry = readdir(entries));) {
        size_t length = strlen(entry->d_name);
        bool header = length > 2 && strcmp(entry->d_name + length - 2, ".h") == 0;
        if (entry->d_name[0] == '.')
            continue;
        char *path = join(search, folder, entry->d_name);
        struct stat about;
        enough = path != NULL;
        if (!enough || lstat(path, &about) != 0)
            continue;
        if (S_ISDIR(about.st_mode) && depth < DEEPEST_FOLDER)
            enough = find_headers(search, path, depth + 1);
        else if (header && S_ISREG(about.st_mode) && about.st_size >= LEAST_FILE &&
                 about.st_size <= MOST_FILE)
            enough = add_file(search, path);
    }
    closedir(entries);
    return enough;
}

static int by_hash(const void *left, const void *right) {
    const found_file *a = left, *b = right;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return strcmp(a->path, b->path);
}

static bool is_plain_text(const char *data, size_t length) {
    if (car_level_check(CAR_LEVEL_CHAR, data, length, "", NULL) != CAR_OK)
        return false;
    size_t line = 0;
    for (size_t i = 0; i < length; i++) {
        line = data[i] == '\n' ? 0 : line + 1;
        if (line > LONGEST_LINE)
            return false;
    }
    return true;
}

static bool is_new(uint64_t *contents, size_t count, uint64_t content) {
    for (size_t i = 0; i < count; i++) {
        if (contents[i] == content)
            return false;
    }
    contents[count] = content;
    return true;
}

/* Puts files one after the other until the next might not fit; ends[i] is where file i ends. */
static void take_files(const header_search *search, size_t limit, car_demo_text *text,
                       uint64_t *contents, size_t *ends) {
    for (size_t i = 0; i < search->count && text->length + MOST_FILE <= limit; i++) {
        char *data = NULL;
        size_t length = 0;
        if (car_file_read(search->files[i].path, MOST_FILE, search->allocator, &data, &length,
                          NULL) != CAR_OK)
            continue;
        if (is_plain_text(data, length) &&
            is_new(contents, (size_t)text->files, car_hash_bytes(data, length))) {
            memcpy(text->data + text->length, data, length);
            text->length += length;
            ends[text->files++] = text->length;
        }
        car_release(search->allocator, data);
    }
}

static car_status collect(header_search *search, const char *root, size_t limit,
                          car_demo_text *text, car_error *error) {
    if (!search->names || !find_headers(search, root, 0))
        return car_fail(error, CAR_MEMORY, "%.200s: no memory for its file names", root);
    if (search->count > 0)
        qsort(search->files, search->count, sizeof *search->files, by_hash);
    uint64_t *contents = car_allocate(search->allocator, search->count, sizeof *contents);
    size_t *ends = car_allocate(search->allocator, search->count, sizeof *ends);
    text->data = car_allocate(search->allocator, limit + 1, 1);
    car_status status = CAR_OK;
    if (!contents || !ends || !text->data)
        status = car_fail(error, CAR_MEMORY, "%.200s: no memory for %zu bytes", root, limit);
    if (status == CAR_OK) {
        take_files(search, limit, text, contents, ends);
        while (text->train_files < text->files &&
               ends[text->train_files] <= text->length - text->length / 10)
            text->train_length = ends[text->train_files++];
        if (text->length < LEAST_CORPUS || text->train_files == text->files ||
            text->train_files == 0)
            status = car_fail(error, CAR_DATA,
                              "%.200s: only %zu bytes of C headers there; name a text of your own: "
                              "carousel demo FILE",
                              root, text->length);
    }
    car_release(search->allocator, contents);
    car_release(search->allocator, ends);
    return status;
}

car_status car_demo_corpus(const char *root, size_t limit, const car_allocator *allocator,
                           car_demo_text *text, car_error *error) {
    *text = (car_demo_text){.allocator = allocator};
    header_search search = {
        .allocator = allocator, .names = car_arena_create(allocator), .root_length = strlen(root)};
    car_status status = collect(&search, root, limit, text, error);
    car_arena_free(search.names);
    car_release(allocator, search.files);
    if (status != CAR_OK)
        car_demo_text_free(text);
    return status;
}

void car_demo_text_free(car_demo_text *text) {
    car_release(text->allocator, text->data);
    *text = (car_demo_text){0};
}
