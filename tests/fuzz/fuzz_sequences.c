/*
 * fuzz_sequences: any bytes as a file of labelled sequences. The first byte says which kind: .ts, tagged text, CSV with a
 * step a row or a sequence a row, or idx, whose labels are the rest behind the middle. What is read must hold together.
 */
#include "sequences.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file in memory; `path` names it. */
static int make_file(const uint8_t *data, size_t size, char path[64]) {
    int file = memfd_create("fuzz", MFD_CLOEXEC);
    if (file < 0 || write(file, data, size) != (ssize_t)size || lseek(file, 0, SEEK_SET) != 0)
        abort();
    snprintf(path, 64, "/proc/self/fd/%d", file);
    return file;
}

static void check(const car_sequences *set) {
    size_t labels = set->each ? set->rows : (size_t)set->count;
    if (set->count < 1 || set->begin[0] != 0 || set->begin[set->count] != set->rows)
        abort();
    for (int i = 0; i < set->count; i++)
        if (set->begin[i + 1] <= set->begin[i] ||
            set->begin[i + 1] - set->begin[i] > (size_t)set->longest)
            abort();
    for (size_t i = 0; i < labels; i++)
        if (set->labels[i] < -1 || set->labels[i] >= set->classes.count)
            abort();
    for (size_t i = 0; set->ids && i < set->rows; i++)
        if (set->ids[i] < 0 || set->ids[i] >= set->symbols.count)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const formats[] = {"ts", "conll", "csv", "csv", "csv", "idx"};
    static const char *const levels[] = {"both", "word", "char"};
    car_sequences set;
    car_error error = {.status = CAR_OK};
    char path[64], labels[64];
    if (size < 2)
        return 0;
    int kind = data[0] % 6, variant = data[0] / 6;
    size_t length = size - 1, middle = kind == 5 ? length / 2 : length;
    int first = make_file(data + 1, middle, path);
    int second = make_file(data + 1 + middle, length - middle, labels);
    const car_sequences_options options = {.format = formats[kind],
                                           .layout = kind == 4 ? "row" : "auto",
                                           .labels = kind == 5 ? labels : NULL,
                                           .channels = 1 + variant % 3,
                                           .each = kind == 1 || kind == 3,
                                           .level = levels[variant % 3]};
    car_status status = kind == 1 ? car_sequences_read_conll(path, &options, NULL, &set, &error)
                                  : car_sequences_read(path, &options, NULL, &set, &error);
    if (status == CAR_OK)
        check(&set);
    else if (error.status != status || !*error.message)
        abort();
    if (status == CAR_OK)
        car_sequences_free(&set);
    close(first);
    close(second);
    return 0;
}
