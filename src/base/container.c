/*
 * container: the one file format, safetensors; reading with every rule checked, and writing.
 *
 * In:  a file that nobody vouches for, or tensors and metadata to be written.
 * Out: named tensors and strings; or a file: u64 N little-endian, N bytes of JSON, the data of the tensors.
 *
 * Rules of reading: N <= 100,000,000 and within the file; each entry has dtype, shape and data_offsets and
 * nothing else; product(shape) * size(dtype) = end - begin; in the order of the offsets the tensors cover the
 * data from 0 to its end without hole or overlap. Two digests stand in the metadata: "carousel.sha256" of
 * the data as it lies in the file, "carousel.sha256.header" of all else that was read (metadata by key,
 * tensors in file order: every text with its length before it), so that no flipped bit goes unseen.
 */
#include "base.h"
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's numbers are little-endian");

#define MOST_HEADER_BYTES ((size_t)100000000)
#define MOST_FILE_BYTES   ((size_t)1 << 36)
#define MOST_TENSORS      65536
#define MOST_VALUES       (MOST_TENSORS * 16)
#define MOST_DEPTH        8
#define METADATA_NAME     "__metadata__"
#define DIGEST_KEY        "carousel.sha256"
#define HEADER_DIGEST_KEY "carousel.sha256.header"

typedef struct dtype_entry {
    const char *name;
    size_t size;
} dtype_entry;

static const dtype_entry dtypes[] = {[CAR_F32] = {"F32", 4},
                                     [CAR_I64] = {"I64", 8},
                                     [CAR_I32] = {"I32", 4},
                                     [CAR_U8] = {"U8", 1},
                                     [CAR_I8] = {"I8", 1}};
#define DTYPE_COUNT ((int)(sizeof dtypes / sizeof dtypes[0]))

const char *car_dtype_name(car_dtype dtype) {
    return dtypes[dtype].name;
}

/* ---- What reading and writing share ------------------------------------------------------------------- */

/* The bytes of a tensor by its dtype and shape; false on overflow. */
static bool tensor_bytes(const car_tensor *tensor, size_t *bytes) {
    *bytes = dtypes[tensor->dtype].size;
    for (int k = 0; k < tensor->rank; k++)
        if (!car_multiply(*bytes, tensor->shape[k], bytes))
            return false;
    return true;
}

static void hash_number(car_sha256 *hash, uint64_t number) {
    car_sha256_add(hash, &number, sizeof number);
}

static void hash_text(car_sha256 *hash, const char *text) {
    size_t length = strlen(text);
    hash_number(hash, length);
    car_sha256_add(hash, text, length);
}

static void hash_tensor(car_sha256 *hash, const car_tensor *tensor) {
    hash_text(hash, tensor->name);
    hash_text(hash, dtypes[tensor->dtype].name);
    hash_number(hash, (uint64_t)tensor->rank);
    for (int k = 0; k < tensor->rank; k++)
        hash_number(hash, tensor->shape[k]);
}

static car_status no_memory(const char *origin, car_error *error) {
    return car_fail(error, CAR_MEMORY, "%s: out of memory; use a smaller file or a larger machine",
                    origin);
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

struct car_container {
    const car_allocator *allocator;
    car_arena *arena;
    void *data; /* all tensors: each on a 64-byte boundary, or the whole file as it was read */
    const car_json *metadata;
    int tensor_count;
    car_tensor *tensors; /* in file order */
    const car_tensor **by_name;
};

/* A tensor as its entry in the header says, before its data is copied. */
typedef struct entry {
    car_tensor tensor;
    size_t begin, end;
} entry;

typedef struct load {
    const char *origin;
    car_container *container;
    car_error *error;
    const uint8_t *data; /* of the tensors, in the caller's bytes */
    size_t data_bytes;
    bool keep; /* the caller's bytes stay as long as the container */
    entry *entries;
} load;

static car_status refuse(const load *in, const char *tensor, const char *cause) {
    return car_fail(in->error, CAR_MODEL,
                    "%s: %s%s%s%s; the file is damaged or not a model, make or copy it again",
                    in->origin, tensor ? "tensor \"" : "", tensor ? tensor : "",
                    tensor ? "\": " : "", cause);
}

static bool read_size(const car_json *value, size_t *size) {
    if (value->kind != CAR_JSON_NUMBER || !value->whole || value->number < 0 ||
        (uint64_t)value->number > SIZE_MAX)
        return false;
    *size = (size_t)value->number;
    return true;
}

static car_status read_dtype(const load *in, const car_json *value, car_tensor *tensor) {
    for (int k = 0; value && value->kind == CAR_JSON_STRING && k < DTYPE_COUNT; k++) {
        if (strcmp(value->text, dtypes[k].name) == 0) {
            tensor->dtype = (car_dtype)k;
            return CAR_OK;
        }
    }
    return refuse(in, tensor->name, "dtype is none of F32, I64, I32, U8 and I8");
}

static car_status read_shape(const load *in, const car_json *value, car_tensor *tensor) {
    if (!value || value->kind != CAR_JSON_ARRAY || value->count > 4)
        return refuse(in, tensor->name, "shape is no list of at most 4 sizes");
    for (const car_json *size = value->first; size; size = size->next)
        if (!read_size(size, &tensor->shape[tensor->rank++]))
            return refuse(in, tensor->name, "a size in shape is no whole number");
    if (!tensor_bytes(tensor, &tensor->bytes))
        return refuse(in, tensor->name, "shape is larger than any memory");
    return CAR_OK;
}

static car_status read_offsets(const load *in, const car_json *value, entry *read) {
    const char *name = read->tensor.name;
    if (!value || value->kind != CAR_JSON_ARRAY || value->count != 2 ||
        !read_size(value->first, &read->begin) || !read_size(value->first->next, &read->end))
        return refuse(in, name, "data_offsets is no pair of whole numbers");
    if (read->begin > read->end || read->end > in->data_bytes)
        return refuse(in, name, "data_offsets lie outside the file");
    if (read->end - read->begin != read->tensor.bytes)
        return refuse(in, name, "data_offsets do not fit dtype and shape");
    return CAR_OK;
}

static car_status read_entry(const load *in, const car_json *value, entry *read) {
    car_tensor *tensor = &read->tensor;
    tensor->name = value->name;
    if (value->kind != CAR_JSON_OBJECT || value->count != 3)
        return refuse(in, tensor->name, "its entry is not dtype, shape and data_offsets");
    CAR_TRY(read_dtype(in, car_json_member(value, "dtype"), tensor));
    CAR_TRY(read_shape(in, car_json_member(value, "shape"), tensor));
    return read_offsets(in, car_json_member(value, "data_offsets"), read);
}

static car_status read_metadata(const load *in, const car_json *metadata) {
    if (metadata && metadata->kind != CAR_JSON_OBJECT)
        return refuse(in, NULL, METADATA_NAME " is no object");
    for (const car_json *value = metadata ? metadata->first : NULL; value; value = value->next)
        if (value->kind != CAR_JSON_STRING)
            return refuse(in, NULL, METADATA_NAME " holds something other than strings");
    in->container->metadata = metadata;
    return CAR_OK;
}

static int compare_entries(const void *a, const void *b) {
    const entry *first = a, *second = b;
    if (first->begin != second->begin)
        return first->begin < second->begin ? -1 : 1;
    if (first->end != second->end)
        return first->end < second->end ? -1 : 1;
    return strcmp(first->tensor.name, second->tensor.name);
}

/* Reads all entries, in the order of their offsets, which must cover the data exactly. */
static car_status read_entries(load *in, const car_json *root) {
    car_container *container = in->container;
    const car_json *metadata = car_json_member(root, METADATA_NAME);
    int count = root->count - (metadata != NULL);
    if (count > MOST_TENSORS)
        return refuse(in, NULL, "more than 65536 tensors");
    in->entries = car_arena_allocate(container->arena, (size_t)count, sizeof *in->entries);
    if (!in->entries)
        return no_memory(in->origin, in->error);
    CAR_TRY(read_metadata(in, metadata));
    for (const car_json *value = root->first; value; value = value->next)
        if (value != metadata)
            CAR_TRY(read_entry(in, value, &in->entries[container->tensor_count++]));
    qsort(in->entries, (size_t)count, sizeof *in->entries, compare_entries);
    size_t covered = 0;
    for (int k = 0; k < count; k++) {
        if (in->entries[k].begin != covered)
            return refuse(in, in->entries[k].tensor.name,
                          "a hole or an overlap lies before its data");
        covered = in->entries[k].end;
    }
    return covered == in->data_bytes ? CAR_OK : refuse(in, NULL, "bytes follow the last tensor");
}

static car_status check_digests(const load *in) {
    const car_container *container = in->container;
    const char *expected = car_container_metadata(container, DIGEST_KEY);
    const char *header_expected = car_container_metadata(container, HEADER_DIGEST_KEY);
    if (!expected && !header_expected)
        return CAR_OK;
    if (!expected || !header_expected)
        return refuse(in, NULL, "one of its two SHA-256 digests is missing");
    car_sha256 hash;
    char hex[65];
    car_sha256_start(&hash);
    hash_number(&hash, (uint64_t)container->tensor_count);
    for (int k = 0; k < car_container_metadata_count(container); k++) {
        const char *key = car_container_metadata_key(container, k);
        if (strcmp(key, HEADER_DIGEST_KEY) == 0)
            continue;
        hash_text(&hash, key);
        hash_text(&hash, car_container_metadata(container, key));
    }
    for (int k = 0; k < container->tensor_count; k++)
        hash_tensor(&hash, &in->entries[k].tensor);
    car_sha256_finish(&hash, hex);
    if (strcmp(hex, header_expected) != 0)
        return refuse(in, NULL, "its header does not match its SHA-256");
    car_sha256_start(&hash);
    car_sha256_add(&hash, in->data, in->data_bytes);
    car_sha256_finish(&hash, hex);
    if (strcmp(hex, expected) != 0)
        return refuse(in, NULL, "its tensors do not match their SHA-256");
    return CAR_OK;
}

static int compare_tensor_names(const void *a, const void *b) {
    const car_tensor *const *first = a, *const *second = b;
    return strcmp((*first)->name, (*second)->name);
}

/* Can the tensors be used where they lie in the caller's bytes? */
static bool all_aligned(const load *in) {
    for (int k = 0; k < in->container->tensor_count; k++) {
        const entry *at = &in->entries[k];
        if (((uintptr_t)in->data + at->begin) % dtypes[at->tensor.dtype].size != 0)
            return false;
    }
    return true;
}

/* Gives every tensor memory on a 64-byte boundary, wherever it lay in the file. */
static car_status copy_data(const load *in) {
    car_container *container = in->container;
    car_layout layout = {0};
    for (int k = 0; k < container->tensor_count; k++)
        car_layout_add(&layout, in->entries[k].tensor.bytes, 1);
    container->data = layout.overflow ? NULL : car_allocate(container->allocator, layout.size, 1);
    if (!container->data)
        return no_memory(in->origin, in->error);
    layout = (car_layout){0};
    for (int k = 0; k < container->tensor_count; k++) {
        const entry *from = &in->entries[k];
        char *place = (char *)container->data + car_layout_add(&layout, from->tensor.bytes, 1);
        if (from->tensor.bytes > 0)
            memcpy(place, in->data + from->begin, from->tensor.bytes);
        container->tensors[k].data = place;
    }
    return CAR_OK;
}

static car_status keep_tensors(const load *in) {
    car_container *container = in->container;
    size_t count = (size_t)container->tensor_count;
    container->tensors = car_arena_allocate(container->arena, count, sizeof *container->tensors);
    container->by_name = car_arena_allocate(container->arena, count, sizeof *container->by_name);
    if (!container->tensors || !container->by_name)
        return no_memory(in->origin, in->error);
    for (size_t k = 0; k < count; k++) {
        container->tensors[k] = in->entries[k].tensor;
        container->tensors[k].data = in->data + in->entries[k].begin;
        container->by_name[k] = &container->tensors[k];
    }
    if (!in->keep || !all_aligned(in))
        CAR_TRY(copy_data(in));
    qsort(container->by_name, count, sizeof *container->by_name, compare_tensor_names);
    return CAR_OK;
}

/* Checks N, parses the header and everything in it. */
static car_status read_container(load *in, const uint8_t *bytes, size_t length) {
    if (length < 8)
        return refuse(in, NULL, "shorter than 8 bytes");
    uint64_t header_bytes;
    memcpy(&header_bytes, bytes, 8);
    if (header_bytes > MOST_HEADER_BYTES)
        return refuse(in, NULL, "its header is said to be longer than 100,000,000 bytes");
    if (header_bytes > length - 8)
        return refuse(in, NULL, "its header goes on beyond the end of the file");
    if (header_bytes == 0 || bytes[8] != '{')
        return refuse(in, NULL, "its header does not start with '{'");
    in->data = bytes + 8 + header_bytes;
    in->data_bytes = length - 8 - (size_t)header_bytes;
    const car_json *root = NULL;
    car_status status =
        car_json_parse((const char *)bytes + 8, (size_t)header_bytes, in->origin, MOST_DEPTH,
                       MOST_VALUES, in->container->arena, &root, in->error);
    if (status == CAR_DATA) {
        status = CAR_MODEL;
        if (in->error)
            in->error->status = status;
    }
    if (status != CAR_OK)
        return status;
    CAR_TRY(read_entries(in, root));
    CAR_TRY(check_digests(in));
    return keep_tensors(in);
}

static car_status parse(const void *data, size_t length, const char *origin, bool keep,
                        const car_allocator *allocator, car_container **container,
                        car_error *error) {
    car_container *read = car_allocate(allocator, 1, sizeof *read);
    if (!read)
        return no_memory(origin, error);
    read->allocator = allocator;
    read->arena = car_arena_create(allocator);
    load in = {.origin = origin, .container = read, .error = error, .keep = keep};
    car_status status = read->arena ? read_container(&in, data, length) : no_memory(origin, error);
    if (status != CAR_OK) {
        car_container_free(read);
        return status;
    }
    *container = read;
    return CAR_OK;
}

car_status car_container_parse(const void *data, size_t length, const char *origin,
                               const car_allocator *allocator, car_container **container,
                               car_error *error) {
    return parse(data, length, origin, false, allocator, container, error);
}

car_status car_container_load(const char *path, const car_allocator *allocator,
                              car_container **container, car_error *error) {
    char *data = NULL;
    size_t length = 0;
    CAR_TRY(car_file_read(path, MOST_FILE_BYTES, allocator, &data, &length, error));
    car_status status = parse(data, length, path, true, allocator, container, error);
    if (status == CAR_OK && !(*container)->data)
        (*container)->data = data; /* a model's size of memory less than with a copy */
    else
        car_release(allocator, data);
    return status;
}

void car_container_free(car_container *container) {
    if (!container)
        return;
    car_release(container->allocator, container->data);
    car_arena_free(container->arena);
    car_release(container->allocator, container);
}

const char *car_container_metadata(const car_container *container, const char *key) {
    const car_json *value = car_json_member(container->metadata, key);
    return value ? value->text : NULL;
}

int car_container_metadata_count(const car_container *container) {
    return container->metadata ? container->metadata->count : 0;
}

const char *car_container_metadata_key(const car_container *container, int index) {
    if (index < 0 || index >= car_container_metadata_count(container))
        return NULL;
    return container->metadata->members[index]->name;
}

int car_container_tensor_count(const car_container *container) {
    return container->tensor_count;
}

const car_tensor *car_container_tensor(const car_container *container, int index) {
    return index >= 0 && index < container->tensor_count ? &container->tensors[index] : NULL;
}

static int compare_with_name(const void *name, const void *tensor) {
    const car_tensor *const *other = tensor;
    return strcmp(name, (*other)->name);
}

const car_tensor *car_container_find(const car_container *container, const char *name) {
    const car_tensor *const *found =
        bsearch(name, container->by_name, (size_t)container->tensor_count,
                sizeof *container->by_name, compare_with_name);
    return found ? *found : NULL;
}

/* ---- Writing ------------------------------------------------------------------------------------------ */

typedef struct metadata_item {
    struct metadata_item *next;
    const char *key, *value;
} metadata_item;

typedef struct tensor_item {
    struct tensor_item *next;
    car_tensor tensor;
    car_tensor_fill *fill; /* NULL: the data is there */
    const void *context;
    int index;
} tensor_item;

struct car_container_builder {
    const car_allocator *allocator;
    car_arena *arena;
    metadata_item *metadata; /* sorted by key, each key once */
    tensor_item *tensors;    /* newest first */
    int tensor_count;
    void *lent, *own; /* memory for a tensor that is made */
    size_t lent_bytes;
};

car_status car_container_builder_create(const car_allocator *allocator,
                                        car_container_builder **builder, car_error *error) {
    car_container_builder *created = car_allocate(allocator, 1, sizeof *created);
    car_arena *arena = created ? car_arena_create(allocator) : NULL;
    if (!arena) {
        car_release(allocator, created);
        return no_memory("model file", error);
    }
    created->allocator = allocator;
    created->arena = arena;
    *builder = created;
    return CAR_OK;
}

void car_container_builder_free(car_container_builder *builder) {
    if (!builder)
        return;
    car_release(builder->allocator, builder->own);
    car_arena_free(builder->arena);
    car_release(builder->allocator, builder);
}

static bool is_utf8(const char *text) {
    size_t length = strlen(text);
    for (size_t position = 0; position < length;) {
        uint32_t code_point;
        int bytes = car_utf8_decode(text + position, length - position, &code_point);
        if (bytes < 1)
            return false;
        position += (size_t)bytes;
    }
    return true;
}

/* Keeps the value under the key, in place of an older one. */
static car_status set_metadata(car_container_builder *builder, const char *key, const char *value,
                               car_error *error) {
    metadata_item **link = &builder->metadata;
    while (*link && strcmp((*link)->key, key) < 0)
        link = &(*link)->next;
    const char *copy = car_arena_copy(builder->arena, value, strlen(value));
    if (!copy)
        return no_memory("model file", error);
    if (*link && strcmp((*link)->key, key) == 0) {
        (*link)->value = copy;
        return CAR_OK;
    }
    metadata_item *item = car_arena_allocate(builder->arena, 1, sizeof *item);
    const char *key_copy = car_arena_copy(builder->arena, key, strlen(key));
    if (!item || !key_copy)
        return no_memory("model file", error);
    *item = (metadata_item){.next = *link, .key = key_copy, .value = copy};
    *link = item;
    return CAR_OK;
}

car_status car_container_builder_metadata(car_container_builder *builder, const char *key,
                                          const char *value, car_error *error) {
    if (!is_utf8(key) || !is_utf8(value))
        return car_fail(error, CAR_DATA,
                        "metadata \"%s\": not UTF-8; write it in UTF-8 or leave it out", key);
    return set_metadata(builder, key, value, error);
}

static car_status add_item(car_container_builder *builder, const car_tensor *tensor,
                           tensor_item content, car_error *error) {
    size_t bytes;
    if (!is_utf8(tensor->name) || strcmp(tensor->name, METADATA_NAME) == 0)
        return car_fail(error, CAR_USAGE, "tensor \"%s\": not a legal name; choose another",
                        tensor->name);
    if (tensor->rank < 0 || tensor->rank > 4 || !tensor_bytes(tensor, &bytes) ||
        bytes != tensor->bytes)
        return car_fail(error, CAR_USAGE,
                        "tensor \"%s\": %zu bytes do not fit its shape; check both", tensor->name,
                        tensor->bytes);
    if (builder->tensor_count == MOST_TENSORS)
        return car_fail(error, CAR_USAGE, "tensor \"%s\": more than %d in a file; leave some out",
                        tensor->name, MOST_TENSORS);
    tensor_item *item = car_arena_allocate(builder->arena, 1, sizeof *item);
    const char *name = car_arena_copy(builder->arena, tensor->name, strlen(tensor->name));
    if (!item || !name)
        return no_memory("model file", error);
    *item = content;
    item->tensor = *tensor;
    item->tensor.name = name;
    item->next = builder->tensors;
    builder->tensors = item;
    builder->tensor_count++;
    return CAR_OK;
}

car_status car_container_builder_tensor(car_container_builder *builder, const car_tensor *tensor,
                                        car_error *error) {
    return add_item(builder, tensor, (tensor_item){0}, error);
}

car_status car_container_builder_made(car_container_builder *builder, const car_tensor *tensor,
                                      car_tensor_fill *fill, const void *context, int index,
                                      car_error *error) {
    return add_item(builder, tensor,
                    (tensor_item){.fill = fill, .context = context, .index = index}, error);
}

void car_container_builder_lend(car_container_builder *builder, void *memory, size_t bytes) {
    builder->lent = memory;
    builder->lent_bytes = bytes;
}

/* Lent memory where it suffices for every tensor that is made, else memory of its own. */
static car_status reserve_memory(car_container_builder *builder, car_error *error) {
    size_t most = 0;
    for (const tensor_item *item = builder->tensors; item; item = item->next)
        if (item->fill && item->tensor.bytes > most)
            most = item->tensor.bytes;
    if (most <= builder->lent_bytes)
        return CAR_OK;
    car_release(builder->allocator, builder->own);
    builder->own = car_allocate(builder->allocator, most, 1);
    builder->lent = builder->own;
    builder->lent_bytes = builder->own ? most : 0;
    return builder->own ? CAR_OK : no_memory("model file", error);
}

static const void *data_of(const car_container_builder *builder, const tensor_item *item) {
    if (!item->fill)
        return item->tensor.data;
    item->fill(item->context, item->index, builder->lent);
    return builder->lent;
}

/* Large elements first, so that every tensor is aligned in the file; then by name. */
static int compare_for_file(const void *a, const void *b) {
    const tensor_item *const *first = a, *const *second = b;
    size_t first_size = dtypes[(*first)->tensor.dtype].size;
    size_t second_size = dtypes[(*second)->tensor.dtype].size;
    if (first_size != second_size)
        return first_size > second_size ? -1 : 1;
    return strcmp((*first)->tensor.name, (*second)->tensor.name);
}

static int compare_item_names(const void *a, const void *b) {
    const tensor_item *const *first = a, *const *second = b;
    return strcmp((*first)->tensor.name, (*second)->tensor.name);
}

static car_status sort_tensors(car_container_builder *builder, const tensor_item ***sorted,
                               car_error *error) {
    size_t count = (size_t)builder->tensor_count;
    const tensor_item **tensors = car_arena_allocate(builder->arena, count, sizeof *tensors);
    if (!tensors)
        return no_memory("model file", error);
    size_t next = 0;
    for (const tensor_item *item = builder->tensors; item; item = item->next)
        tensors[next++] = item;
    qsort(tensors, count, sizeof *tensors, compare_item_names);
    for (size_t k = 1; k < count; k++)
        if (compare_item_names(&tensors[k - 1], &tensors[k]) == 0)
            return car_fail(error, CAR_USAGE, "tensor \"%s\": added twice; give each its own name",
                            tensors[k]->tensor.name);
    qsort(tensors, count, sizeof *tensors, compare_for_file);
    *sorted = tensors;
    return CAR_OK;
}

static car_status add_digests(car_container_builder *builder, const tensor_item *const *tensors,
                              car_error *error) {
    car_sha256 hash;
    char hex[65];
    car_sha256_start(&hash);
    for (int k = 0; k < builder->tensor_count; k++)
        car_sha256_add(&hash, data_of(builder, tensors[k]), tensors[k]->tensor.bytes);
    car_sha256_finish(&hash, hex);
    CAR_TRY(set_metadata(builder, DIGEST_KEY, hex, error));
    car_sha256_start(&hash);
    hash_number(&hash, (uint64_t)builder->tensor_count);
    for (const metadata_item *item = builder->metadata; item; item = item->next) {
        if (strcmp(item->key, HEADER_DIGEST_KEY) == 0)
            continue;
        hash_text(&hash, item->key);
        hash_text(&hash, item->value);
    }
    for (int k = 0; k < builder->tensor_count; k++)
        hash_tensor(&hash, &tensors[k]->tensor);
    car_sha256_finish(&hash, hex);
    return set_metadata(builder, HEADER_DIGEST_KEY, hex, error);
}

static void write_header(const car_container_builder *builder, const tensor_item *const *tensors,
                         car_text *header) {
    car_text_format(header, "{\"%s\":{", METADATA_NAME);
    for (const metadata_item *item = builder->metadata; item; item = item->next) {
        car_text_json_string(header, item->key, strlen(item->key));
        car_text_add(header, ":", 1);
        car_text_json_string(header, item->value, strlen(item->value));
        car_text_add(header, ",", item->next ? 1 : 0);
    }
    car_text_add(header, "}", 1);
    size_t offset = 0;
    for (int k = 0; k < builder->tensor_count; k++) {
        const car_tensor *tensor = &tensors[k]->tensor;
        car_text_add(header, ",", 1);
        car_text_json_string(header, tensor->name, strlen(tensor->name));
        car_text_format(header, ":{\"dtype\":\"%s\",\"shape\":[", dtypes[tensor->dtype].name);
        for (int d = 0; d < tensor->rank; d++)
            car_text_format(header, "%s%zu", d ? "," : "", tensor->shape[d]);
        car_text_format(header, "],\"data_offsets\":[%zu,%zu]}", offset, offset + tensor->bytes);
        offset += tensor->bytes;
    }
    car_text_add(header, "}", 1);
    while (!header->failed && header->length % 8 != 0)
        car_text_add(header, " ", 1);
}

static car_status write_all(const car_container_builder *builder, const tensor_item *const *tensors,
                            const car_text *header, car_file_writer *writer, car_error *error) {
    uint64_t header_bytes = header->length;
    CAR_TRY(car_file_writer_write(writer, &header_bytes, sizeof header_bytes, error));
    CAR_TRY(car_file_writer_write(writer, header->data, header->length, error));
    for (int k = 0; k < builder->tensor_count; k++)
        CAR_TRY(car_file_writer_write(writer, data_of(builder, tensors[k]),
                                      tensors[k]->tensor.bytes, error));
    return CAR_OK;
}

static car_status save_header_and_tensors(const car_container_builder *builder,
                                          const tensor_item *const *tensors, const car_text *header,
                                          const char *path, car_error *error) {
    if (header->failed)
        return no_memory(path, error);
    if (header->length > MOST_HEADER_BYTES)
        return car_fail(error, CAR_USAGE,
                        "%s: the header would be longer than 100,000,000 bytes; use less metadata",
                        path);
    car_file_writer *writer = NULL;
    CAR_TRY(car_file_writer_open(path, builder->allocator, &writer, error));
    car_status status = write_all(builder, tensors, header, writer, error);
    if (status == CAR_OK)
        return car_file_writer_commit(writer, error);
    car_file_writer_abandon(writer);
    return status;
}

car_status car_container_builder_save(car_container_builder *builder, const char *path,
                                      car_error *error) {
    const tensor_item **tensors = NULL;
    CAR_TRY(sort_tensors(builder, &tensors, error));
    CAR_TRY(reserve_memory(builder, error));
    CAR_TRY(add_digests(builder, tensors, error));
    car_text header;
    car_text_start(&header, builder->allocator);
    write_header(builder, tensors, &header);
    car_status status = save_header_and_tensors(builder, tensors, &header, path, error);
    car_text_free(&header);
    return status;
}
