/*
 * training.c: what all tasks that train share.
 *
 * In:  words of the command line. Out: the cell, the schedule, the file that they name.
 */
#include "tasks.h"
#include <string.h>

car_status car_own_cell(const char *name, const car_allocator *allocator, car_cell **cell,
                        car_error *error) {
    *cell = NULL;
    if (car_zoo_text(name))
        return CAR_OK;
    char *text = NULL;
    size_t length = 0;
    if (!strchr(name, '/') && !strchr(name, '.'))
        return car_fail(error, CAR_USAGE,
                        "--cell %.100s: no such cell; `carousel cell list` names them, a file has "
                        "a dot or slash in its name",
                        name);
    CAR_TRY(car_file_read(name, 1 << 20, allocator, &text, &length, error));
    car_status status = car_cell_compile(text, length, name, allocator, cell, error);
    car_release(allocator, text);
    return status;
}

car_schedule_kind car_schedule_named(const char *name) {
    static const char *const names[] = {"constant", "step", "plateau", "cosine"};
    static const car_schedule_kind kinds[] = {CAR_SCHEDULE_CONSTANT, CAR_SCHEDULE_STEP,
                                              CAR_SCHEDULE_PLATEAU, CAR_SCHEDULE_COSINE};
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0)
            return kinds[i];
    }
    return CAR_SCHEDULE_CONSTANT;
}

car_status car_check_output(const char *path, const car_allocator *allocator, car_error *error) {
    car_file_writer *writer = NULL;
    if (!path)
        return CAR_OK;
    CAR_TRY(car_file_writer_open(path, allocator, &writer, error));
    car_file_writer_abandon(writer);
    return CAR_OK;
}

bool car_file_entry_read(const car_json *entry, const char **path, const char **digest) {
    const car_json *name = car_json_member(entry, "path");
    const car_json *sha256 = car_json_member(entry, "sha256");
    if (!name || !sha256 || name->kind != CAR_JSON_STRING || sha256->kind != CAR_JSON_STRING)
        return false;
    *path = name->text;
    *digest = sha256->text;
    return true;
}
