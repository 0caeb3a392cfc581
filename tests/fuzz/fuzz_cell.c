/*
 * fuzz_cell: any bytes as the text of a cell. What compiles must print to a text with the same fingerprint,
 * and its graphs must survive printing and reading.
 */
#include "language.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_graph(const struct car_cell *cell, const car_graph *graph) {
    car_text text, again;
    car_text_start(&text, NULL);
    car_text_start(&again, NULL);
    car_graph_print(&text, cell, graph);
    car_arena *arena = car_arena_create(NULL);
    car_graph read;
    if (!arena || text.failed || car_graph_parse(text.data, cell, arena, &read, NULL) != CAR_OK)
        abort();
    car_graph_print(&again, cell, &read);
    if (again.failed || strcmp(text.data, again.data) != 0)
        abort();
    car_arena_free(arena);
    car_text_free(&text);
    car_text_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    car_cell *cell, *again;
    car_error error = {.status = CAR_OK};
    if (car_cell_compile((const char *)data, size, "fuzz", NULL, &cell, &error) != CAR_OK) {
        if (error.status != CAR_DATA || !*error.message)
            abort();
        return 0;
    }
    check_graph(cell, &cell->graph);
    check_graph(cell, &cell->gradient.graph);
    car_text text;
    car_text_start(&text, NULL);
    car_cell_print(&text, cell);
    if (text.failed ||
        car_cell_compile(text.data, text.length, "printed", NULL, &again, &error) != CAR_OK ||
        strcmp(car_cell_fingerprint(cell), car_cell_fingerprint(again)) != 0)
        abort();
    car_text_free(&text);
    car_cell_free(cell);
    car_cell_free(again);
    return 0;
}
