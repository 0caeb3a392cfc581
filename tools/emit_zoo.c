/*
 * emit_zoo: run at build time; writes the vector programs of every cell of the zoo as C functions.
 *
 * In:  the path to write. Out: that file: functions program0, program1, ... and the array `programs` that names
 * each by its program's digest. A program depends on the cell and on whether it is trained, not on sizes: any do.
 */
#include "plan.h"
#include <string.h>

enum { UNITS = 16 };

static car_status emit_cell(const car_zoo_entry *entry, bool training, int *count, car_text *text,
                            car_text *entries, car_error *error) {
    struct car_cell *cell;
    car_plan *plan = NULL;
    car_plan_options options = {.training = training};
    CAR_TRY(car_cell_compile(entry->text, strlen(entry->text), entry->name, NULL, &cell, error));
    car_status status =
        car_plan_create(cell, (car_shape){UNITS, 1}, UNITS, &options, NULL, &plan, error);
    if (status == CAR_OK)
        car_plan_emit(plan, "program", count, text, entries);
    car_plan_free(plan);
    car_cell_free(cell);
    return status;
}

static car_status emit_all(const char *path, car_error *error) {
    const car_zoo_entry *zoo;
    int cells = car_zoo_entries(&zoo), count = 0;
    car_text text, entries;
    car_status status = CAR_OK;
    car_text_start(&text, NULL);
    car_text_start(&entries, NULL);
    car_text_format(&text, "/* Written by emit_zoo at build time. */\n");
    for (int i = 0; i < cells && status == CAR_OK; i++)
        for (int training = 0; training < 2 && status == CAR_OK; training++)
            status = emit_cell(&zoo[i], training, &count, &text, &entries, error);
    car_text_format(&text, "static const car_emitted_program programs[] = {\n%s};\n",
                    entries.data ? entries.data : "");
    if (status == CAR_OK && (text.failed || entries.failed))
        status = car_fail(error, CAR_MEMORY, "emit_zoo: out of memory");
    FILE *file = status == CAR_OK ? fopen(path, "w") : NULL;
    if (status == CAR_OK &&
        (!file || fwrite(text.data, 1, text.length, file) != text.length || fclose(file)))
        status = car_fail(error, CAR_IO, "%s: cannot be written", path);
    car_text_free(&text);
    car_text_free(&entries);
    return status;
}

int main(int argc, char **argv) {
    car_error error = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: emit_zoo FILE\n");
        return CAR_USAGE;
    }
    car_status status = emit_all(argv[1], &error);
    if (status != CAR_OK)
        fprintf(stderr, "emit_zoo: %s\n", error.message);
    return (int)status;
}
