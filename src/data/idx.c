/*
 * idx.c: images and their labels from idx files, as MNIST comes (LeCun, Cortes & Burges 1998), or from a CSV file.
 *
 * In:  files, plain or gzip (with zlib). idx: two of them, all numbers big-endian:
 *        images  0x00000803, count, rows, columns, then count * rows * columns bytes
 *        labels  0x00000801, count, then count bytes
 *      CSV: one, an image a line, its pixels row by row and its class, whole numbers 0 .. 255; images are square, and the
 *      greatest number of the file is white (UCI's 8 x 8 digits have 0 .. 16).
 * Out: pixels [count][rows][columns] and labels [count]; how many classes there are.
 */
#include "data.h"
#include <string.h>
#ifdef CAR_WITH_ZLIB
#include <zlib.h>
#endif

enum { IDX_LIMIT = 1 << 29, IMAGES_MAGIC = 0x803, LABELS_MAGIC = 0x801, SIDE_LIMIT = 256 };

static uint32_t big_endian(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

#ifdef CAR_WITH_ZLIB
/* Inflates into a buffer that grows up to IDX_LIMIT; false: bad data (or no memory: *data is NULL). */
static bool inflate_all(z_stream *stream, const car_allocator *allocator, char **data,
                        size_t *length) {
    size_t capacity = 1 << 20;
    *length = 0;
    *data = car_allocate(allocator, capacity, 1);
    while (*data) {
        stream->next_out = (unsigned char *)*data + *length;
        stream->avail_out = (unsigned)(capacity - *length);
        int code = inflate(stream, Z_NO_FLUSH);
        *length = capacity - stream->avail_out;
        if (code == Z_STREAM_END)
            return true;
        if (code != Z_OK || stream->avail_out > 0 || capacity >= IDX_LIMIT)
            return false;
        char *grown = car_allocate(allocator, 2 * capacity, 1);
        if (grown)
            memcpy(grown, *data, *length);
        car_release(allocator, *data);
        *data = grown;
        capacity *= 2;
    }
    return false;
}
#endif

/* Takes *data over and gives back what is in it. */
static car_status unpack(const char *path, const car_allocator *allocator, char **data,
                         size_t *length, car_error *error) {
    const unsigned char *bytes = (const unsigned char *)*data;
    if (*length < 2 || bytes[0] != 0x1f || bytes[1] != 0x8b)
        return CAR_OK;
#ifdef CAR_WITH_ZLIB
    z_stream stream = {.next_in = (unsigned char *)*data, .avail_in = (unsigned)*length};
    char *packed = *data;
    if (inflateInit2(&stream, 15 + 16) != Z_OK)
        return car_fail(error, CAR_MEMORY, "%.200s: out of memory", path);
    bool whole = inflate_all(&stream, allocator, data, length);
    inflateEnd(&stream);
    car_release(allocator, packed);
    if (whole)
        return CAR_OK;
    if (!*data)
        return car_fail(error, CAR_MEMORY, "%.200s: out of memory", path);
    return car_fail(error, CAR_DATA,
                    "%.200s: damaged or cut short gzip data, or above 512 MB; fetch the file again",
                    path);
#else
    (void)allocator;
    return car_fail(error, CAR_USAGE,
                    "%.200s: this program was built without zlib; gunzip the file", path);
#endif
}

/* The header's numbers are checked against the length before anything is read. */
static car_status check_idx(const char *path, const char *data, size_t length, uint32_t magic,
                            uint32_t sizes[3], car_error *error) {
    const unsigned char *bytes = (const unsigned char *)data;
    size_t rank = magic & 0xff, header = 4 + 4 * rank, expected = 1;
    const char *what = rank == 3 ? "images" : "labels";
    if (length < header || big_endian(bytes) != magic)
        return car_fail(
            error, CAR_DATA,
            "%.200s: no idx file of %s (it must begin with 0x%08x); is it the right one?", path,
            what, magic);
    for (size_t i = 0; i < rank; i++) {
        sizes[i] = big_endian(bytes + 4 + 4 * i);
        if (sizes[i] == 0 || !car_multiply(expected, sizes[i], &expected))
            return car_fail(error, CAR_DATA, "%.200s: an idx file of no %s", path, what);
        if (i > 0 && sizes[i] > SIDE_LIMIT)
            return car_fail(error, CAR_DATA, "%.200s: images with a side of %u pixels; at most %d",
                            path, sizes[i], SIDE_LIMIT);
    }
    if (length - header != expected)
        return car_fail(
            error, CAR_DATA, "%.200s: %zu bytes of %s, its header says %zu; the file is %s", path,
            length - header, what, expected, length - header < expected ? "cut short" : "too long");
    return CAR_OK;
}

static car_status read_idx(const char *path, uint32_t magic, const car_allocator *allocator,
                           char **data, uint32_t sizes[3], car_error *error) {
    size_t length;
    CAR_TRY(car_file_read(path, IDX_LIMIT, allocator, data, &length, error));
    CAR_TRY(unpack(path, allocator, data, &length, error));
    return check_idx(path, *data, length, magic, sizes, error);
}

static car_status check_labels(const char *labels_path, car_images *images, car_error *error) {
    for (int i = 0; i < images->count; i++)
        if (images->labels[i] >= images->classes)
            images->classes = images->labels[i] + 1;
    if (images->classes < 2)
        return car_fail(error, CAR_DATA, "%.200s: one class only; there is nothing to tell apart",
                        labels_path);
    return CAR_OK;
}

static car_status read_pair(const char *images_path, const char *labels_path, car_images *images,
                            car_error *error) {
    uint32_t sizes[3] = {0}, labels[3] = {0};
    const car_allocator *allocator = images->allocator;
    CAR_TRY(read_idx(images_path, IMAGES_MAGIC, allocator, &images->image_file, sizes, error));
    CAR_TRY(read_idx(labels_path, LABELS_MAGIC, allocator, &images->label_file, labels, error));
    if (labels[0] != sizes[0])
        return car_fail(error, CAR_DATA, "%.150s: %u labels for the %u images of %.150s",
                        labels_path, labels[0], sizes[0], images_path);
    images->count = (int)sizes[0];
    images->rows = (int)sizes[1];
    images->columns = (int)sizes[2];
    images->pixels = (const uint8_t *)images->image_file + 16;
    images->labels = (const uint8_t *)images->label_file + 8;
    return check_labels(labels_path, images, error);
}

/* ---- CSV ---------------------------------------------------------------------------------------------- */

bool car_images_are_csv(const char *path) {
    size_t length = strlen(path);
    return (length >= 4 && strcmp(path + length - 4, ".csv") == 0) ||
           (length >= 7 && strcmp(path + length - 7, ".csv.gz") == 0);
}

/* The numbers of a line into `values` (NULL: only counted), *at behind its end; -1: not such a line. */
static int read_line(const char **at, const char *end, int most, uint8_t *values) {
    for (int count = 0; count < most;) {
        int value = 0, digits = 0;
        for (; *at < end && **at >= '0' && **at <= '9' && value <= 255; ++*at, digits++)
            value = 10 * value + (**at - '0');
        if (digits == 0 || value > 255)
            return -1;
        if (values)
            values[count] = (uint8_t)value;
        count++;
        *at += *at < end && **at == '\r';
        if (*at == end || **at == '\n') {
            *at += *at < end;
            return count;
        }
        if (*(*at)++ != ',')
            return -1;
    }
    return -1;
}

static int count_lines(const char *data, size_t length) {
    int lines = length > 0 && data[length - 1] != '\n';
    for (size_t i = 0; i < length; i++)
        lines += data[i] == '\n';
    return lines;
}

/* Pixels and classes apart; the greatest number becomes 255. */
static car_status fill_from_csv(const char *path, const char *data, size_t length,
                                car_images *images, car_error *error) {
    int pixels = images->rows * images->columns;
    const char *at = data;
    uint8_t line[SIDE_LIMIT * SIDE_LIMIT + 1], most = 1;
    uint8_t *image = (uint8_t *)images->image_file, *label = (uint8_t *)images->label_file;
    for (int i = 0; i < images->count; i++) {
        if (read_line(&at, data + length, pixels + 1, line) != pixels + 1)
            return car_fail(error, CAR_DATA,
                            "%.200s:%d: not %d whole numbers 0 to 255 with commas between (the "
                            "pixels of an image, and its class)",
                            path, i + 1, pixels + 1);
        memcpy(image + (size_t)i * (size_t)pixels, line, (size_t)pixels);
        label[i] = line[pixels];
        for (int k = 0; k < pixels; k++)
            most = line[k] > most ? line[k] : most;
    }
    for (size_t k = 0; k < (size_t)images->count * (size_t)pixels; k++)
        image[k] = (uint8_t)((image[k] * 255 + most / 2) / most);
    images->pixels = image;
    images->labels = label;
    return check_labels(path, images, error);
}

static car_status take_csv(const char *path, const char *data, size_t length, car_images *images,
                           car_error *error) {
    const char *at = data;
    int values = read_line(&at, data + length, SIDE_LIMIT * SIDE_LIMIT + 1, NULL), side = 1;
    while (side * side < values - 1)
        side++;
    if (values < 2 || side * side != values - 1)
        return car_fail(
            error, CAR_DATA,
            "%.200s:1: no image: give the pixels of a square image and its class, whole "
            "numbers 0 to 255 with commas between, no header",
            path);
    images->rows = images->columns = side;
    images->count = count_lines(data, length);
    images->image_file =
        car_allocate(images->allocator, (size_t)images->count, (size_t)(side * side));
    images->label_file = car_allocate(images->allocator, (size_t)images->count, 1);
    if (!images->image_file || !images->label_file)
        return car_fail(error, CAR_MEMORY, "%.200s: no memory for %d images", path, images->count);
    return fill_from_csv(path, data, length, images, error);
}

static car_status read_csv(const char *path, car_images *images, car_error *error) {
    char *data = NULL;
    size_t length;
    car_status status = car_file_read(path, IDX_LIMIT, images->allocator, &data, &length, error);
    if (status == CAR_OK)
        status = unpack(path, images->allocator, &data, &length, error);
    if (status == CAR_OK)
        status = take_csv(path, data, length, images, error);
    car_release(images->allocator, data);
    return status;
}

/* ---- Either ------------------------------------------------------------------------------------------- */

car_status car_images_read(const char *images_path, const char *labels_path,
                           const car_allocator *allocator, car_images *images, car_error *error) {
    *images = (car_images){.allocator = allocator};
    car_status status = labels_path ? read_pair(images_path, labels_path, images, error)
                                    : read_csv(images_path, images, error);
    if (status != CAR_OK)
        car_images_free(images);
    return status;
}

void car_images_free(car_images *images) {
    car_release(images->allocator, images->image_file);
    car_release(images->allocator, images->label_file);
    *images = (car_images){0};
}
