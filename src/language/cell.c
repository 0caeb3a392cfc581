/*
 * cell.c: car_cell_compile, which calls the files of this room in turn, and the accessors.
 *
 * Comes in: the text of a cell. Goes out: an immutable car_cell in one arena, or an error with its place.
 * text -> tokens -> pieces -> source graph -> canonical graph + fingerprint -> gradient graph.
 */
#include "syntax.h"
#include <string.h>

const char *car_op_text(car_op op) {
    static const char *const texts[] = {
#define X(name, text, operands) text,
        CAR_OP_MAP(X)
#undef X
    };
    return op < CAR_OP_COUNT ? texts[op] : "?";
}

int car_op_operands(car_op op) {
    static const int counts[] = {
#define X(name, text, operands) operands,
        CAR_OP_MAP(X)
#undef X
    };
    return op < CAR_OP_COUNT ? counts[op] : 0;
}

static car_status compile(struct car_cell *cell, size_t length, car_arena *scratch,
                          car_error *error) {
    car_reporter reporter = {cell->origin, error};
    car_parsed parsed = {.name = NULL};
    CAR_TRY(car_parse(cell->text, length, &reporter, scratch, &parsed));
    CAR_TRY(car_check(&parsed, &reporter, scratch, cell));
    CAR_TRY(car_canonicalize(cell, error));
    return car_differentiate(cell, error);
}

car_status car_cell_compile(const char *text, size_t length, const char *origin,
                            const car_allocator *allocator, car_cell **cell, car_error *error) {
    *cell = NULL;
    car_reporter reporter = {origin ? origin : "cell", error};
    if (length > CAR_TEXT_LIMIT)
        return car_report(&reporter, (car_place){1, 1},
                          "the text has %zu bytes; a cell has at most %d", length, CAR_TEXT_LIMIT);
    car_arena *arena = car_arena_create(allocator), *scratch = car_arena_create(allocator);
    struct car_cell *made = NULL;
    car_status status = CAR_OK;
    if (arena && scratch)
        made = car_arena_allocate(arena, 1, sizeof *made);
    if (made) {
        made->allocator = allocator;
        made->arena = arena;
        made->text = car_arena_copy(arena, text ? text : "", length);
        made->origin = car_arena_copy(arena, reporter.origin, strlen(reporter.origin));
    }
    if (!made || !made->text || !made->origin)
        status = car_report_memory(&reporter);
    else
        status = compile(made, length, scratch, error);
    car_arena_free(scratch);
    if (status != CAR_OK)
        car_arena_free(arena);
    else
        *cell = made;
    return status;
}

void car_cell_free(car_cell *cell) {
    if (!cell)
        return;
    car_shared_drop(cell->native);
    car_arena_free(cell->arena);
}

car_status car_cell_copy(const struct car_cell *cell, const car_allocator *allocator,
                         struct car_cell **copy, car_error *error) {
    car_status status =
        car_cell_compile(cell->text, strlen(cell->text), cell->origin, allocator, copy, error);
    if (*copy)
        (*copy)->native = car_shared_keep(cell->native);
    return status;
}

const char *car_cell_name(const car_cell *cell) {
    return cell->name;
}

const char *car_cell_text(const car_cell *cell) {
    return cell->text;
}

const char *car_cell_fingerprint(const car_cell *cell) {
    return cell->fingerprint;
}
