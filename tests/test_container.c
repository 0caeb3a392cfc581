/*
 * test_container: the safetensors reader and writer of base.
 *
 * A small file is written, then read back, cut at every length, and damaged in every bit; files made by hand
 * break each rule in turn; every allocation is made to fail once.
 */
#include "base.h"
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static int name_file(void **state) {
    (void)state;
    snprintf(path, sizeof path, "/tmp/test_container_%ld.bin", (long)getpid());
    return 0;
}

static int remove_file(void **state) {
    (void)state;
    unlink(path);
    return 0;
}

/* ---- A small file ------------------------------------------------------------------------------------- */

static const float weights[6] = {1, -2, 0.5f, 3e38f, -0.0f, 7};
static const int64_t counters[2] = {-5, INT64_MAX};
static const int32_t classes[3] = {1, 2, -3};
static const uint8_t flags[3] = {1, 0, 255};

static const car_tensor tensors[] = {
    {.name = "z.flags", .dtype = CAR_U8, .rank = 1, .shape = {3}, .data = flags, .bytes = 3},
    {.name = "scalar", .dtype = CAR_F32, .rank = 0, .data = weights + 3, .bytes = 4},
    {.name = "weight \"\xc3\xa9\"",
     .dtype = CAR_F32,
     .rank = 2,
     .shape = {2, 3},
     .data = weights,
     .bytes = 24},
    {.name = "counters",
     .dtype = CAR_I64,
     .rank = 2,
     .shape = {1, 2},
     .data = counters,
     .bytes = 16},
    {.name = "classes", .dtype = CAR_I32, .rank = 1, .shape = {3}, .data = classes, .bytes = 12},
    {.name = "empty", .dtype = CAR_F32, .rank = 4, .shape = {2, 0, 3, 1}, .data = NULL, .bytes = 0},
};
enum { TENSORS = sizeof tensors / sizeof tensors[0] };

static car_status save_small(const car_allocator *allocator, const char *where, car_error *error) {
    car_container_builder *builder = NULL;
    CAR_TRY(car_container_builder_create(allocator, &builder, error));
    car_status status = CAR_OK;
    for (int k = 0; k < TENSORS && status == CAR_OK; k++)
        status = car_container_builder_tensor(builder, &tensors[k], error);
    if (status == CAR_OK)
        status = car_container_builder_metadata(builder, "note", "old", error);
    if (status == CAR_OK)
        status = car_container_builder_metadata(builder, "cell", "h' = tanh(x)\n\x1b", error);
    if (status == CAR_OK)
        status = car_container_builder_metadata(builder, "note", "new", error);
    if (status == CAR_OK)
        status = car_container_builder_metadata(builder, "carousel.sha256", "forged", error);
    if (status == CAR_OK)
        status = car_container_builder_save(builder, where, error);
    car_container_builder_free(builder);
    return status;
}

/* The bytes of the small file; release with free. */
static char *small_file(size_t *length) {
    assert_int_equal(save_small(NULL, path, NULL), CAR_OK);
    char *data = NULL;
    assert_int_equal(car_file_read(path, 1 << 20, NULL, &data, length, NULL), CAR_OK);
    char *copy = malloc(*length);
    assert_non_null(copy);
    memcpy(copy, data, *length);
    car_release(NULL, data);
    return copy;
}

static bool same_contents(const car_container *a, const car_container *b) {
    if (car_container_metadata_count(a) != car_container_metadata_count(b) ||
        car_container_tensor_count(a) != car_container_tensor_count(b))
        return false;
    for (int k = 0; k < car_container_metadata_count(a); k++) {
        const char *key = car_container_metadata_key(a, k);
        const char *other = car_container_metadata(b, key);
        if (!other || strcmp(other, car_container_metadata(a, key)) != 0)
            return false;
    }
    for (int k = 0; k < car_container_tensor_count(a); k++) {
        const car_tensor *first = car_container_tensor(a, k);
        const car_tensor *second = car_container_find(b, first->name);
        if (!second || first->dtype != second->dtype || first->rank != second->rank ||
            memcmp(first->shape, second->shape, sizeof first->shape) != 0 ||
            first->bytes != second->bytes || memcmp(first->data, second->data, first->bytes) != 0)
            return false;
    }
    return true;
}

static void test_round_trip(void **state) {
    (void)state;
    assert_int_equal(save_small(NULL, path, NULL), CAR_OK);
    car_container *container = NULL;
    car_error error = {0};
    assert_int_equal(car_container_load(path, NULL, &container, &error), CAR_OK);
    assert_int_equal(car_container_tensor_count(container), TENSORS);
    for (int k = 0; k < TENSORS; k++) {
        const car_tensor *read = car_container_find(container, tensors[k].name);
        assert_non_null(read);
        assert_int_equal((uintptr_t)read->data % (read->dtype == CAR_I64 ? 8 : 4),
                         read->dtype == CAR_U8 ? (uintptr_t)read->data % 4 : 0);
        assert_int_equal(read->dtype, tensors[k].dtype);
        assert_int_equal(read->rank, tensors[k].rank);
        assert_memory_equal(read->shape, tensors[k].shape, sizeof read->shape);
        assert_int_equal(read->bytes, tensors[k].bytes);
        if (read->bytes > 0)
            assert_memory_equal(read->data, tensors[k].data, read->bytes);
    }
    const char *order[TENSORS] = {"counters", "classes", "empty", "scalar", "weight \"\xc3\xa9\"",
                                  "z.flags"};
    for (int k = 0; k < TENSORS; k++)
        assert_string_equal(car_container_tensor(container, k)->name, order[k]);
    assert_null(car_container_tensor(container, TENSORS));
    assert_null(car_container_tensor(container, -1));
    assert_null(car_container_find(container, "missing"));
    assert_int_equal(car_container_metadata_count(container), 4);
    assert_string_equal(car_container_metadata(container, "note"), "new");
    assert_string_equal(car_container_metadata(container, "cell"), "h' = tanh(x)\n\x1b");
    assert_null(car_container_metadata(container, "missing"));
    assert_string_equal(car_container_metadata_key(container, 0), "carousel.sha256");
    assert_null(car_container_metadata_key(container, 4));
    assert_null(car_container_metadata_key(container, -1));
    car_container_free(container);
    car_container_free(NULL);
}

/* The digest of the data is the plain one of the bytes behind the header, which ends on a multiple of 8. */
static void test_file_layout(void **state) {
    (void)state;
    size_t length;
    char *file = small_file(&length), hex[65];
    uint64_t header;
    memcpy(&header, file, 8);
    assert_int_equal(header % 8, 0);
    assert_int_equal(length, 8 + header + 59);
    car_sha256 hash;
    car_sha256_start(&hash);
    car_sha256_add(&hash, file + 8 + header, 59);
    car_sha256_finish(&hash, hex);
    car_container *container = NULL;
    assert_int_equal(car_container_parse(file, length, "small", NULL, &container, NULL), CAR_OK);
    assert_string_equal(car_container_metadata(container, "carousel.sha256"), hex);
    car_container_free(container);
    free(file);
}

static void test_empty_container(void **state) {
    (void)state;
    car_container_builder *builder = NULL;
    assert_int_equal(car_container_builder_create(NULL, &builder, NULL), CAR_OK);
    assert_int_equal(car_container_builder_save(builder, path, NULL), CAR_OK);
    assert_int_equal(car_container_builder_save(builder, path, NULL), CAR_OK);
    car_container_builder_free(builder);
    car_container_builder_free(NULL);
    car_container *container = NULL;
    assert_int_equal(car_container_load(path, NULL, &container, NULL), CAR_OK);
    assert_int_equal(car_container_tensor_count(container), 0);
    assert_null(car_container_find(container, "a"));
    car_container_free(container);
}

static void test_builder_refuses(void **state) {
    (void)state;
    car_container_builder *builder = NULL;
    car_error error = {0};
    assert_int_equal(car_container_builder_create(NULL, &builder, NULL), CAR_OK);
    car_tensor bad = tensors[2];
    bad.bytes = 20;
    assert_int_equal(car_container_builder_tensor(builder, &bad, &error), CAR_USAGE);
    bad = tensors[2];
    bad.rank = 5;
    assert_int_equal(car_container_builder_tensor(builder, &bad, &error), CAR_USAGE);
    bad = tensors[2];
    bad.shape[0] = SIZE_MAX / 2;
    assert_int_equal(car_container_builder_tensor(builder, &bad, &error), CAR_USAGE);
    bad = tensors[2];
    bad.name = "__metadata__";
    assert_int_equal(car_container_builder_tensor(builder, &bad, &error), CAR_USAGE);
    bad.name = "\xff";
    assert_int_equal(car_container_builder_tensor(builder, &bad, &error), CAR_USAGE);
    assert_int_equal(car_container_builder_metadata(builder, "k", "\xc0\x80", &error), CAR_DATA);
    assert_int_equal(car_container_builder_metadata(builder, "\xff", "v", &error), CAR_DATA);
    assert_int_equal(car_container_builder_tensor(builder, &tensors[2], &error), CAR_OK);
    assert_int_equal(car_container_builder_tensor(builder, &tensors[2], &error), CAR_OK);
    assert_int_equal(car_container_builder_save(builder, path, &error), CAR_USAGE);
    car_container_builder_free(builder);
}

static void test_save_errors(void **state) {
    (void)state;
    car_error error = {0};
    assert_int_equal(save_small(NULL, "/dev/full", &error), CAR_IO);
    assert_int_equal(save_small(NULL, "/tmp", &error), CAR_IO);
    assert_int_equal(save_small(NULL, "/tmp/missing folder/file", &error), CAR_IO);
    car_container *container = NULL;
    assert_int_equal(car_container_load("/tmp", NULL, &container, &error), CAR_IO);
    assert_int_equal(car_container_load("/dev/null", NULL, &container, &error), CAR_MODEL);
}

/* ---- Damage ------------------------------------------------------------------------------------------- */

/* Parses a copy that ends where its memory ends, so that a sanitizer sees any read beyond it. */
static car_status parse_exactly(const char *file, size_t length, car_container **container,
                                car_error *error) {
    char *copy = malloc(length > 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, file, length);
    car_status status = car_container_parse(copy, length, "damaged", NULL, container, error);
    free(copy);
    return status;
}

static void test_every_truncation(void **state) {
    (void)state;
    size_t length;
    char *file = small_file(&length);
    for (size_t cut = 0; cut < length; cut++) {
        car_container *container = NULL;
        car_error error = {0};
        assert_int_equal(parse_exactly(file, cut, &container, &error), CAR_MODEL);
        assert_non_null(strstr(error.message, "damaged"));
    }
    char *longer = malloc(length + 1);
    assert_non_null(longer);
    memcpy(longer, file, length);
    longer[length] = 0;
    car_container *container = NULL;
    assert_int_equal(parse_exactly(longer, length + 1, &container, NULL), CAR_MODEL);
    free(longer);
    free(file);
}

static void test_every_bit(void **state) {
    (void)state;
    size_t length, equal = 0;
    char *file = small_file(&length);
    uint64_t header;
    memcpy(&header, file, 8);
    car_container *whole = NULL;
    assert_int_equal(parse_exactly(file, length, &whole, NULL), CAR_OK);
    for (size_t bit = 0; bit < 8 * length; bit++) {
        file[bit / 8] = (char)(file[bit / 8] ^ 1 << bit % 8);
        car_container *container = NULL;
        car_error error = {0};
        car_status status = parse_exactly(file, length, &container, &error);
        if (status == CAR_OK) {
            assert_true(bit / 8 < 8 + header);
            assert_true(same_contents(whole, container));
            equal++;
            car_container_free(container);
        } else {
            assert_int_equal(status, CAR_MODEL);
            assert_int_equal(error.status, CAR_MODEL);
            assert_true(error.message[0] != '\0');
        }
        file[bit / 8] = (char)(file[bit / 8] ^ 1 << bit % 8);
    }
    /* Two bits at once: another type of the same size. */
    char *dtype = memmem(file, length, "I32", 3);
    assert_non_null(dtype);
    memcpy(dtype, "F32", 3);
    car_container *container = NULL;
    assert_int_equal(parse_exactly(file, length, &container, NULL), CAR_MODEL);
    assert_true(equal < 8); /* only the case of a hexadecimal digit in an escape is free */
    car_container_free(whole);
    free(file);
}

/* ---- Files made by hand ------------------------------------------------------------------------------- */

static car_status parse_header(const char *header, size_t data_bytes, car_error *error) {
    uint64_t length = strlen(header);
    char *file = calloc(1, 8 + length + data_bytes);
    assert_non_null(file);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    car_container *container = NULL;
    car_status status =
        car_container_parse(file, 8 + length + data_bytes, "by hand", NULL, &container, error);
    free(file);
    if (status == CAR_OK)
        car_container_free(container);
    return status;
}

static void test_accepted_headers(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data_bytes;
    } good[] = {
        {"{}", 0},
        {"{}   ", 0},
        {"{\"__metadata__\":{}}", 0},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
         "\"b\":{\"data_offsets\":[3,11],\"shape\":[2],\"dtype\":\"F32\"}}",
         11},
        {"{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},"
         "\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
         2},
    };
    for (size_t k = 0; k < sizeof good / sizeof good[0]; k++) {
        car_error error = {0};
        if (parse_header(good[k].header, good[k].data_bytes, &error) != CAR_OK)
            fail_msg("refused: %s: %s", good[k].header, error.message);
    }
}

#define ENTRY(dtype, shape, offsets)                                                               \
    "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_hostile_headers(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data_bytes;
    } bad[] = {
        {"", 0},
        {"[]", 0},
        {" {}", 0},
        {"{} x", 0},
        {"\xef\xbb\xbf{}", 0},
        {"{", 0},
        {"{}", 1},
        {"{\"__metadata__\":{\"a\":1}}", 0},
        {"{\"__metadata__\":[]}", 0},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}", 0},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0},
        {"{\"__metadata__\":{\"carousel.sha256\":\"00\"}}", 0},
        {"{\"__metadata__\":{\"carousel.sha256.header\":\"00\"}}", 0},
        {"{\"__metadata__\":{\"carousel.sha256\":\"00\",\"carousel.sha256.header\":\"00\"}}", 0},
        {"{\"t\":1}", 0},
        {"{\"t\":{}}", 0},
        {"{\"t\":[1,2,3]}", 0},
        {ENTRY("\"F16\"", "[2]", "[0,4]"), 4},
        {ENTRY("\"f32\"", "[1]", "[0,4]"), 4},
        {ENTRY("1", "[1]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[1]", "[0,3]"), 3},
        {ENTRY("\"F32\"", "[1]", "[0,8]"), 8},
        {ENTRY("\"F32\"", "[1]", "[0,4]"), 3},
        {ENTRY("\"F32\"", "[1]", "[0,4]"), 5},
        {ENTRY("\"F32\"", "[1]", "[1,5]"), 5},
        {ENTRY("\"F32\"", "[1]", "[4,0]"), 4},
        {ENTRY("\"F32\"", "[1]", "[-4,0]"), 4},
        {ENTRY("\"F32\"", "[-1]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[1e0]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[1.0]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[1]", "[0,4.0]"), 4},
        {ENTRY("\"F32\"", "[1]", "[0,0.4e1]"), 4},
        {ENTRY("\"F32\"", "[1]", "[-0,4]"), 4},
        {ENTRY("\"F32\"", "[01]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[\"1\"]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[null]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[[1]]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "1", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[1]", "[0]"), 4},
        {ENTRY("\"F32\"", "[1]", "[0,4,4]"), 4},
        {ENTRY("\"F32\"", "[1]", "\"0,4\""), 4},
        {ENTRY("\"F32\"", "[1,1,1,1,1]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0},
        {ENTRY("\"F32\"", "[2147483648,2147483648]", "[0,0]"), 0},
        {ENTRY("\"F32\"", "[4611686018427387904]", "[0,0]"), 0},
        {ENTRY("\"F32\"", "[4611686018427387905]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[18446744073709551617]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[1]", "[18446744073709551612,18446744073709551616]"), 4},
        {ENTRY("\"F32\"", "[1]", "[0,9007199254740993]"), 4},
        {ENTRY("\"F32\"", "[1e999]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[1],\"shape\":[1]", "[0,4]"), 4},
        {ENTRY("\"F32\"", "[1],\"extra\":1", "[0,4]"), 4},
        {"{\"t\\u0000\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
        {"{\"t\\ud800\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
        {"{\"t\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         3},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
         1},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
         3},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]}}",
         2},
    };
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        car_error error = {0};
        if (parse_header(bad[k].header, bad[k].data_bytes, &error) != CAR_MODEL)
            fail_msg("accepted: %s", bad[k].header);
        assert_non_null(strstr(error.message, "by hand"));
        assert_int_equal(error.status, CAR_MODEL);
    }
}

/* Lengths of the header that lie, and headers that are large on purpose. */
static void test_hostile_sizes(void **state) {
    (void)state;
    const uint64_t lengths[] = {3, 100000000, 100000001, INT64_MAX, UINT64_MAX - 7, UINT64_MAX};
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
        char file[10] = {0};
        memcpy(file, &lengths[k], 8);
        memcpy(file + 8, "{}", 2);
        car_container *container = NULL;
        car_error error = {0};
        assert_int_equal(parse_exactly(file, sizeof file, &container, &error), CAR_MODEL);
        const char *cause = lengths[k] > 100000000 ? "100,000,000" : "beyond the end";
        assert_non_null(strstr(error.message, cause));
    }
    car_text nested, many;
    car_text_start(&nested, NULL);
    car_text_add(&nested, "{\"__metadata__\":", 16);
    for (int k = 0; k < 100000; k++)
        car_text_add(&nested, "[", 1);
    assert_int_equal(parse_header(nested.data, 0, NULL), CAR_MODEL);
    car_text_free(&nested);
    const int counts[] = {65536, 65537};
    for (int k = 0; k < 2; k++) {
        car_text_start(&many, NULL);
        for (int t = 0; t < counts[k]; t++)
            car_text_format(&many,
                            "%c\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                            t ? ',' : '{', t);
        car_text_add(&many, "}", 1);
        assert_false(many.failed);
        assert_int_equal(parse_header(many.data, 0, NULL), k == 0 ? CAR_OK : CAR_MODEL);
        car_text_free(&many);
    }
    car_text_start(&many, NULL);
    car_text_add(&many, "{\"__metadata__\":[", 17);
    for (int k = 0; k < 2000000; k++)
        car_text_add(&many, "0,", 2);
    car_text_add(&many, "0]}", 3);
    assert_int_equal(parse_header(many.data, 0, NULL), CAR_MODEL);
    car_text_free(&many);
}

/* The message quotes a hostile name without its control characters. */
static void test_message_names_tensor(void **state) {
    (void)state;
    car_error error = {0};
    const char *header =
        "{\"evil\\u001b[2J\\n\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}";
    assert_int_equal(parse_header(header, 8, &error), CAR_MODEL);
    assert_non_null(strstr(error.message, "by hand: tensor \"evil?[2J?\": dtype"));
}

/* ---- Memory that runs out ----------------------------------------------------------------------------- */

typedef struct scarce_memory {
    int live, calls, fail_at;
} scarce_memory;

static void *allocate_scarce(void *context, size_t size, size_t alignment) {
    scarce_memory *memory = context;
    if (memory->calls++ == memory->fail_at)
        return NULL;
    void *block = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    memory->live += block != NULL;
    return block;
}

static void release_scarce(void *context, void *block) {
    scarce_memory *memory = context;
    memory->live--;
    free(block);
}

static void test_failing_save(void **state) {
    (void)state;
    assert_int_equal(save_small(NULL, path, NULL), CAR_OK);
    int fail_at = 0;
    car_status status = CAR_MEMORY;
    for (; status != CAR_OK; fail_at++) {
        scarce_memory memory = {.fail_at = fail_at};
        const car_allocator scarce = {&memory, allocate_scarce, release_scarce};
        car_error error = {0};
        status = save_small(&scarce, path, &error);
        assert_int_equal(memory.live, 0);
        assert_true(status == CAR_OK ? memory.calls <= fail_at : status == CAR_MEMORY);
        assert_true(status == CAR_OK || error.message[0] != '\0');
        car_container *container = NULL;
        assert_int_equal(car_container_load(path, NULL, &container, NULL), CAR_OK);
        car_container_free(container);
    }
    assert_true(fail_at > 5);
}

static void test_failing_load(void **state) {
    (void)state;
    assert_int_equal(save_small(NULL, path, NULL), CAR_OK);
    int fail_at = 0;
    car_status status = CAR_MEMORY;
    for (; status != CAR_OK; fail_at++) {
        scarce_memory memory = {.fail_at = fail_at};
        const car_allocator scarce = {&memory, allocate_scarce, release_scarce};
        car_error error = {0};
        car_container *container = NULL;
        status = car_container_load(path, &scarce, &container, &error);
        assert_true(status == CAR_OK ? memory.calls <= fail_at : status == CAR_MEMORY);
        assert_true(status == CAR_OK || (!container && error.message[0] != '\0'));
        car_container_free(container);
        assert_int_equal(memory.live, 0);
    }
    assert_true(fail_at > 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_file_layout),
        cmocka_unit_test(test_empty_container),
        cmocka_unit_test(test_builder_refuses),
        cmocka_unit_test(test_save_errors),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_accepted_headers),
        cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_hostile_sizes),
        cmocka_unit_test(test_message_names_tensor),
        cmocka_unit_test(test_failing_save),
        cmocka_unit_test(test_failing_load),
    };
    return cmocka_run_group_tests_name("container", tests, name_file, remove_file);
}
