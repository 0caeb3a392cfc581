/*
 * names.c: texts and their numbers.
 *
 * In:  texts, each time they are met. Out: a number for each different one, in order of first appearance; or, once all
 *      are there, in order. Found by open addressing over their hash.
 */
#include "sequences.h"
#include "symbols.h"
#include <stdlib.h>
#include <string.h>

void car_names_start(car_names *names, car_arena *arena, const car_allocator *allocator) {
    *names = (car_names){.allocator = allocator, .arena = arena};
}

void car_names_free(car_names *names) {
    car_release(names->allocator, names->names);
    car_release(names->allocator, names->table);
    *names = (car_names){0};
}

/* Where a text stands in the table, or the free place where it would. */
static uint32_t place_of(const car_names *names, const char *text, size_t length) {
    uint32_t mask = names->table_size - 1, at = car_symbol_hash(text, length) & mask;
    for (; names->table[at] > 0; at = (at + 1) & mask) {
        const char *name = names->names[names->table[at] - 1];
        if (strlen(name) == length && memcmp(name, text, length) == 0)
            break;
    }
    return at;
}

int car_names_find(const car_names *names, const char *text, size_t length) {
    return names->table_size > 0 ? (int)names->table[place_of(names, text, length)] - 1 : -1;
}

static void fill_table(car_names *names) {
    memset(names->table, 0, names->table_size * sizeof *names->table);
    for (int i = 0; i < names->count; i++)
        names->table[place_of(names, names->names[i], strlen(names->names[i]))] = (uint32_t)i + 1;
}

static bool grow(car_names *names) {
    int capacity = names->capacity > 0 ? 2 * names->capacity : 16;
    const char **grown = car_allocate(names->allocator, (size_t)capacity, sizeof *grown);
    uint32_t *table = car_allocate(names->allocator, 4 * (size_t)capacity, sizeof *table);
    if (!grown || !table) {
        car_release(names->allocator, grown);
        car_release(names->allocator, table);
        return false;
    }
    if (names->count > 0)
        memcpy(grown, names->names, (size_t)names->count * sizeof *grown);
    car_release(names->allocator, names->names);
    car_release(names->allocator, names->table);
    names->names = grown;
    names->table = table;
    names->capacity = capacity;
    names->table_size = 4 * (uint32_t)capacity;
    fill_table(names);
    return true;
}

int car_names_add(car_names *names, const char *text, size_t length) {
    int found = car_names_find(names, text, length);
    if (found >= 0)
        return found;
    if (names->count == names->capacity && !grow(names))
        return -1;
    char *copy = car_arena_copy(names->arena, text, length);
    if (!copy)
        return -1;
    uint32_t at = place_of(names, text, length);
    names->names[names->count] = copy;
    names->table[at] = (uint32_t)++names->count;
    return names->count - 1;
}

/* ---- order -------------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_number(const void *a, const void *b) {
    const char *left = *(const char *const *)a, *right = *(const char *const *)b;
    double x = 0, y = 0;
    (void)car_number_parse(left, strlen(left), &x);
    (void)car_number_parse(right, strlen(right), &y);
    return x < y ? -1 : x > y ? 1 : strcmp(left, right);
}

void car_names_sort(car_names *names, int *renumbered) {
    bool numbers = true;
    double value;
    if (names->count == 0)
        return;
    for (int i = 0; i < names->count; i++)
        renumbered[i] = i;
    for (int i = 0; i < names->count; i++)
        numbers = numbers && car_number_parse(names->names[i], strlen(names->names[i]), &value);
    const char **old = car_arena_allocate(names->arena, (size_t)names->count, sizeof *old);
    if (!old)
        return; /* the order of appearance is an order too */
    memcpy(old, names->names, (size_t)names->count * sizeof *old);
    qsort(names->names, (size_t)names->count, sizeof *names->names, numbers ? by_number : by_text);
    fill_table(names);
    for (int i = 0; i < names->count; i++)
        renumbered[i] = car_names_find(names, old[i], strlen(old[i]));
}

void car_names_list(const char *const *names, int count, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < count && used + 40 < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s`%.20s`", i ? ", " : "", names[i]);
    if (used + 40 >= size)
        snprintf(text + used, size - used, " ...");
}
