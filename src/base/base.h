/*
 * base: what every other room stands on. Stands on nothing but libc and OpenMP.
 *
 *   error.c    filling a car_error                    memory.c   allocators, arena, checked sizes, layouts
 *   random.c   counter-based random numbers           team.c     threads and their barrier
 *   file.c     whole-file reads, atomic writes        sha256.c   digest of a model's tensors
 *   text.c     growable text, UTF-8, JSON writing     json.c     strict JSON reading
 *   clock.c    durations                              container.c  safetensors: checked reading, writing
 *   order.c    what comes first
 *
 * Every function here may be called by any room. Nothing here knows what a cell or a network is.
 */
#ifndef CAR_BASE_H
#define CAR_BASE_H

#include "carousel.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

/* ---- error.c ------------------------------------------------------------------------------------------ */

/* Fills *error (if not NULL) and returns status, so that `return car_fail(...)` reads well. */
car_status car_fail(car_error *error, car_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with a place in a text (counted from 1). */
car_status car_fail_at(car_error *error, car_status status, int line, int column,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));

#define CAR_TRY(expression)                                                                        \
    do {                                                                                           \
        car_status car_try_status = (expression);                                                  \
        if (car_try_status != CAR_OK)                                                              \
            return car_try_status;                                                                 \
    } while (0)

/* ---- memory.c ----------------------------------------------------------------------------------------- */

/* Returns the caller's allocator or, for NULL, the C library's. */
const car_allocator *car_allocator_or_default(const car_allocator *allocator);
/* Zeroed memory, 64-byte aligned; NULL when count*size overflows or memory is out. */
void *car_allocate(const car_allocator *allocator, size_t count, size_t size);
void car_release(const car_allocator *allocator, void *block); /* NULL is legal */

bool car_multiply(size_t a, size_t b, size_t *product); /* false on overflow */
bool car_add(size_t a, size_t b, size_t *sum);

/* Plans one block that holds many arrays: add them in turn, allocate layout.size once, use base + offset.
 * Every array starts on a 64-byte boundary. An overflow is remembered in `overflow` and read once at the end. */
typedef struct car_layout {
    size_t size;
    bool overflow;
} car_layout;
size_t car_layout_add(car_layout *layout, size_t count, size_t element_size);
/* The same for rows x columns elements, as a pointer into the block at `base`; NULL while `base` is NULL (the walk that
 * only counts) and on overflow. The same walk, first counting, then with memory, lays out the same arrays. */
void *car_layout_take(car_layout *layout, void *base, size_t rows, size_t columns,
                      size_t element_size);

/* Opens an object that several others own together (the compiled code of a cell and of its copies): put first in its
 * struct. Owners may be in different threads; the last one to let go releases it. */
typedef struct car_shared {
    atomic_int owners;
    void (*release)(struct car_shared *shared);
} car_shared;
void car_shared_start(car_shared *shared, void (*release)(car_shared *shared)); /* one owner */
car_shared *car_shared_keep(car_shared *shared); /* one owner more; returns it; NULL is legal */
void car_shared_drop(car_shared *shared);        /* one owner less; NULL is legal */

/* Many small objects released together (cells, nets, plans). */
typedef struct car_arena car_arena;
car_arena *car_arena_create(const car_allocator *allocator); /* NULL: out of memory */
/* Zeroed, 16-byte aligned; NULL: out of memory. */
void *car_arena_allocate(car_arena *arena, size_t count, size_t size);
char *car_arena_copy(car_arena *arena, const char *text, size_t length); /* NUL-terminated copy */
void car_arena_free(car_arena *arena);

/* ---- random.c: a counter, not a state (Philox4x32-10, Salmon et al. 2011) ----------------------------- */

/* The four numbers of a place: the same key and counter give the same numbers on every machine. */
typedef struct car_random_key {
    uint64_t seed;
    uint32_t purpose; /* one of car_random_purpose */
    uint32_t layer;   /* layer * 2 + direction */
} car_random_key;
typedef enum car_random_purpose {
    CAR_RANDOM_INIT = 1,
    CAR_RANDOM_DROPOUT,
    CAR_RANDOM_SAMPLE,
    CAR_RANDOM_SHUFFLE,
    CAR_RANDOM_TEST,
    CAR_RANDOM_TASK, /* sequences that a task makes up */
    CAR_RANDOM_MUTATION,
    CAR_RANDOM_WEIGHT_DROP
} car_random_purpose;
/* The generator itself, for its published test vectors. */
void car_random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
void car_random_words(car_random_key key, uint32_t words[2]); /* Philox's own key */
void car_random_block(car_random_key key, uint64_t counter_high, uint64_t counter_low,
                      uint32_t out[4]);
float car_random_uniform(car_random_key key, uint64_t high, uint64_t low); /* [0,1), 24 bits */
double car_random_normal(car_random_key key, uint64_t high, uint64_t low); /* Box-Muller */

/* ---- clock.c ------------------------------------------------------------------------------------------- */

double car_seconds(void); /* of a clock that only goes forward: for durations */

/* ---- order.c ------------------------------------------------------------------------------------------- */

int car_order_doubles(const void *a, const void *b); /* for qsort: ascending */

/* ---- team.c: threads that work on one thing ----------------------------------------------------------- */

typedef struct car_team car_team; /* lives inside one car_team_run */
typedef void (*car_team_task)(void *argument, car_team *team, int member, int members);
/* Runs task on `threads` threads (an OpenMP region; 1: the caller's own thread, no OpenMP call), with
 * subnormals flushed to zero meanwhile and the caller's mode restored. Members that the scheduler has put onto one
 * processor go to others that they may use; none is bound. Returns when all are done. */
void car_team_run(int threads, car_team_task task, void *argument);
/* All members wait for each other here. Spins, then sleeps; free with one member. */
void car_team_barrier(car_team *team, int member);
/* The share [*begin, *end) of `count` things, in units of `grain`, that falls to `member`. */
void car_team_share(int count, int grain, int member, int members, int *begin, int *end);
int car_thread_count(int requested); /* 0: all processors this process may use; capped to 64 */

/* ---- file.c ------------------------------------------------------------------------------------------- */

/* The whole of a file ("-": standard input), NUL-terminated beyond *length. CAR_IO with the path and
 * strerror; CAR_DATA above `limit` bytes; a directory is CAR_IO. Release with car_release. */
car_status car_file_read(const char *path, size_t limit, const car_allocator *allocator,
                         char **data, size_t *length, car_error *error) CAR_CHECK_RESULT;

/* Atomic replacement: write to a sibling temporary file (O_EXCL, O_CLOEXEC), fsync, rename, fsync of the
 * folder. Any failure removes the temporary and leaves the old file as it was. */
typedef struct car_file_writer car_file_writer;
car_status car_file_writer_open(const char *path, const car_allocator *allocator,
                                car_file_writer **writer, car_error *error) CAR_CHECK_RESULT;
car_status car_file_writer_write(car_file_writer *writer, const void *data, size_t length,
                                 car_error *error) CAR_CHECK_RESULT;
car_status car_file_writer_commit(car_file_writer *writer,
                                  car_error *error) CAR_CHECK_RESULT; /* frees */
void car_file_writer_abandon(car_file_writer *writer); /* NULL is legal; removes the temporary */

/* ---- sha256.c (FIPS 180-4) ---------------------------------------------------------------------------- */

typedef struct car_sha256 {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
} car_sha256;
void car_sha256_start(car_sha256 *hash);
void car_sha256_add(car_sha256 *hash, const void *data, size_t length);
void car_sha256_finish(car_sha256 *hash, char hex[65]);

/* ---- text.c ------------------------------------------------------------------------------------------- */

/* A growing, always NUL-terminated text. Running out of memory sets `failed`; check it once at the end. */
typedef struct car_text {
    const car_allocator *allocator;
    char *data;
    size_t length, capacity;
    bool failed;
} car_text;
void car_text_start(car_text *text, const car_allocator *allocator);
void car_text_add(car_text *text, const char *data, size_t length);
void car_text_format(car_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void car_text_json_string(car_text *text, const char *data, size_t length); /* quoted and escaped */
void car_text_json_number(car_text *text, double value); /* null for NaN and infinities */
void car_text_free(car_text *text);

/* Decodes one code point; returns its length in bytes, 0 at the end, -1 for invalid UTF-8 (overlong,
 * surrogate, > 0x10FFFF, truncated). */
int car_utf8_decode(const char *data, size_t length, uint32_t *code_point);
int car_utf8_encode(uint32_t code_point, char out[4]); /* bytes written, 0 if not encodable */

/* Decimal text (sign, digits, fraction, exponent; all of it) to the nearest double, whatever the locale.
 * False for anything else, and for a number too large for a double. */
bool car_number_parse(const char *data, size_t length, double *value);

/* ---- json.c: a strict reader (RFC 8259; no double keys, U+0000, lone surrogates or trailing text) ----- */

typedef enum car_json_kind {
    CAR_JSON_NULL,
    CAR_JSON_BOOL,
    CAR_JSON_NUMBER,
    CAR_JSON_STRING,
    CAR_JSON_ARRAY,
    CAR_JSON_OBJECT
} car_json_kind;
typedef struct car_json {
    car_json_kind kind;
    int count;  /* of an array or object */
    bool truth; /* of a bool */
    bool
        whole; /* of a number: plain digits, below 2^53 either way, so `number` is exactly as written */
    double number;
    const char *text; /* of a string: UTF-8, NUL-terminated, no NUL inside */
    size_t length;
    const char *name;                      /* of a member of an object */
    const struct car_json *first;          /* child, in the order of the text */
    const struct car_json *next;           /* sibling */
    const struct car_json *const *members; /* of an object: sorted by name */
} car_json;
/* The tree lives in the arena. CAR_DATA with line and column for bad text, more than `depth` brackets inside
 * each other or more than `values` values (a value costs about 100 bytes); CAR_MEMORY. */
car_status car_json_parse(const char *data, size_t length, const char *origin, int depth,
                          int values, car_arena *arena, const car_json **root,
                          car_error *error) CAR_CHECK_RESULT;
/* NULL: no such member, or not an object (NULL is legal). */
const car_json *car_json_member(const car_json *object, const char *name);

/* ---- container.c: safetensors ------------------------------------------------------------------------- */

/* Format: u64 little-endian N, N bytes of JSON, tensor data. Read with every rule checked (duplicate keys,
 * holes, overlaps, sizes, integer range, depth, trailing bytes); see docs/format.md. Only F32, I64, I32, U8
 * and I8 are accepted. The reader holds the whole file; tensors point into it. */
typedef enum car_dtype { CAR_F32, CAR_I64, CAR_I32, CAR_U8, CAR_I8 } car_dtype;
const char *car_dtype_name(car_dtype dtype); /* "F32" */
typedef struct car_tensor {
    const char *name;
    car_dtype dtype;
    int rank;
    size_t shape[4];
    const void *data; /* aligned to its elements when read */
    size_t bytes;
} car_tensor;
typedef struct car_container car_container;

car_status
car_container_parse(const void *data, size_t length, const char *origin,
                    const car_allocator *allocator, car_container **container,
                    car_error *error) CAR_CHECK_RESULT; /* copies data; for fuzzing too */
car_status car_container_load(const char *path, const car_allocator *allocator,
                              car_container **container, car_error *error) CAR_CHECK_RESULT;
void car_container_free(car_container *container);
const char *car_container_metadata(const car_container *container,
                                   const char *key); /* NULL: absent */
int car_container_metadata_count(const car_container *container);
const char *car_container_metadata_key(const car_container *container, int index);
int car_container_tensor_count(const car_container *container);
const car_tensor *car_container_tensor(const car_container *container, int index);
const car_tensor *car_container_find(const car_container *container,
                                     const char *name); /* NULL: absent */

/* Building and writing one. The writer adds two digests to the metadata, "carousel.sha256" of all tensor data
 * (in file order) and "carousel.sha256.header" of everything else; the reader verifies them when present (one
 * without the other is refused). A key set twice keeps the last value; the two digests are always the
 * writer's own, so the metadata of a file can be copied as it is. Tensor data is borrowed until the save. */
typedef struct car_container_builder car_container_builder;
car_status car_container_builder_create(const car_allocator *allocator,
                                        car_container_builder **builder,
                                        car_error *error) CAR_CHECK_RESULT;
car_status car_container_builder_metadata(car_container_builder *builder, const char *key,
                                          const char *value, car_error *error) CAR_CHECK_RESULT;
car_status car_container_builder_tensor(car_container_builder *builder, const car_tensor *tensor,
                                        car_error *error) CAR_CHECK_RESULT;
/* A tensor whose data (NULL here) is made when it is written, into memory for one such tensor at a time: fill(context, index,
 * data) is called twice and gives the same both times. What it needs stays as it is until the save. */
typedef void car_tensor_fill(const void *context, int index, void *data);
car_status car_container_builder_made(car_container_builder *builder, const car_tensor *tensor,
                                      car_tensor_fill *fill, const void *context, int index,
                                      car_error *error) CAR_CHECK_RESULT;
/* Memory of the caller's for that, if it is large enough; without it the save allocates its own. */
void car_container_builder_lend(car_container_builder *builder, void *memory, size_t bytes);
car_status car_container_builder_save(car_container_builder *builder, const char *path,
                                      car_error *error) CAR_CHECK_RESULT;
void car_container_builder_free(car_container_builder *builder);

#endif
