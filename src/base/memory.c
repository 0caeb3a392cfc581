/*
 * memory: where blocks come from, and how their sizes are worked out without overflow.
 *
 * In:  a caller's allocator (NULL: the C library's), counts and element sizes.
 * Out: zeroed blocks on 64-byte boundaries; offsets inside one planned block; an arena that is
 * released whole; a count of the owners of what is shared.
 *
 * A size is never multiplied or added here without a check. A block is zeroed, so that nothing depends on
 * what was there before.
 */
#include "base.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT        ((size_t)64)
#define ARENA_ALIGNMENT  ((size_t)16)
#define ARENA_CHUNK_SIZE ((size_t)8192)

/* Large blocks are walked from end to end, by strides too: in pages of 4 KiB their addresses alone cost a tenth to a fifth
 * of such a product (docs/speed.md). Only pages wholly inside, so that a block costs no more than its size; where the
 * system has none or does not want to, nothing changes. */
static void ask_for_huge_pages(char *block, size_t size) {
#ifdef MADV_HUGEPAGE
    const uintptr_t page = (uintptr_t)2 << 20;
    const uintptr_t begin = ((uintptr_t)block + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)block + size) / page * page;
    if (begin + page < end)
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)block, (void)size;
#endif
}

/* calloc leaves fresh pages of the system untouched: what is not used yet costs nothing. Where its own block begins
 * stands before the one that is given out. */
static void *allocate_from_libc(void *context, size_t size, size_t alignment) {
    (void)context;
    if (size > SIZE_MAX - 2 * alignment)
        return NULL;
    char *whole = calloc(1, size + 2 * alignment);
    if (!whole)
        return NULL;
    char *block = whole + 2 * alignment - (uintptr_t)whole % alignment;
    memcpy(block - sizeof whole, &whole, sizeof whole);
    ask_for_huge_pages(block, size);
    return block;
}

static void release_to_libc(void *context, void *block) {
    (void)context;
    char *whole;
    memcpy(&whole, (char *)block - sizeof whole, sizeof whole);
    free(whole);
}

static const car_allocator libc_allocator = {NULL, allocate_from_libc, release_to_libc};

const car_allocator *car_allocator_or_default(const car_allocator *allocator) {
    return allocator ? allocator : &libc_allocator;
}

void *car_allocate(const car_allocator *allocator, size_t count, size_t size) {
    size_t bytes;
    if (!car_multiply(count, size, &bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    if (bytes == 0)
        bytes = 1;
    const car_allocator *from = car_allocator_or_default(allocator);
    void *block = from->allocate(from->context, bytes, ALIGNMENT);
    if (block && from != &libc_allocator)
        memset(block, 0, bytes);
    return block;
}

void car_release(const car_allocator *allocator, void *block) {
    const car_allocator *to = car_allocator_or_default(allocator);
    if (block)
        to->release(to->context, block);
}

void car_shared_start(car_shared *shared, void (*release)(car_shared *shared)) {
    atomic_init(&shared->owners, 1);
    shared->release = release;
}

car_shared *car_shared_keep(car_shared *shared) {
    if (shared)
        atomic_fetch_add(&shared->owners, 1);
    return shared;
}

void car_shared_drop(car_shared *shared) {
    if (shared && atomic_fetch_sub(&shared->owners, 1) == 1)
        shared->release(shared);
}

bool car_multiply(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

bool car_add(size_t a, size_t b, size_t *sum) {
    return !__builtin_add_overflow(a, b, sum);
}

size_t car_layout_add(car_layout *layout, size_t count, size_t element_size) {
    size_t offset = layout->size;
    size_t bytes, end;
    if (!car_multiply(count, element_size, &bytes) || !car_add(offset, bytes, &end) ||
        !car_add(end, ALIGNMENT - 1, &end)) {
        layout->overflow = true;
        return 0;
    }
    layout->size = end & ~(ALIGNMENT - 1);
    return offset;
}

void *car_layout_take(car_layout *layout, void *base, size_t rows, size_t columns,
                      size_t element_size) {
    size_t count;
    if (!car_multiply(rows, columns, &count)) {
        layout->overflow = true;
        return NULL;
    }
    size_t offset = car_layout_add(layout, count, element_size);
    return base && !layout->overflow ? (char *)base + offset : NULL;
}

/* A chunk is this header followed by its bytes; the arena hands out the newest chunk from the
 * front. */
typedef struct chunk {
    struct chunk *older;
    size_t used, capacity;
    _Alignas(16) unsigned char bytes[];
} chunk;

struct car_arena {
    const car_allocator *allocator;
    chunk *newest;
};

car_arena *car_arena_create(const car_allocator *allocator) {
    car_arena *arena = car_allocate(allocator, 1, sizeof *arena);
    if (arena)
        arena->allocator = allocator;
    return arena;
}

static chunk *add_chunk(car_arena *arena, size_t bytes) {
    size_t capacity = bytes > ARENA_CHUNK_SIZE ? bytes : ARENA_CHUNK_SIZE;
    size_t total;
    if (!car_add(capacity, sizeof(chunk), &total))
        return NULL;
    chunk *added = car_allocate(arena->allocator, 1, total);
    if (!added)
        return NULL;
    added->capacity = capacity;
    added->older = arena->newest;
    arena->newest = added;
    return added;
}

void *car_arena_allocate(car_arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (!car_multiply(count, size, &bytes) || !car_add(bytes, ARENA_ALIGNMENT - 1, &bytes))
        return NULL;
    bytes &= ~(ARENA_ALIGNMENT - 1);
    chunk *from = arena->newest;
    if (!from || from->capacity - from->used < bytes)
        from = add_chunk(arena, bytes);
    if (!from)
        return NULL;
    void *block = from->bytes + from->used;
    from->used += bytes;
    return block;
}

char *car_arena_copy(car_arena *arena, const char *text, size_t length) {
    size_t bytes;
    if (!car_add(length, 1, &bytes))
        return NULL;
    char *copy = car_arena_allocate(arena, bytes, 1);
    if (copy && length > 0)
        memcpy(copy, text, length);
    return copy;
}

void car_arena_free(car_arena *arena) {
    if (!arena)
        return;
    chunk *next = arena->newest;
    while (next) {
        chunk *older = next->older;
        car_release(arena->allocator, next);
        next = older;
    }
    car_release(arena->allocator, arena);
}
