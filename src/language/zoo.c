/*
 * zoo.c: the cells that come with the library.
 *
 * Comes in: the table that tools/embed_cells.py made of cells/ at build time, sorted by name.
 * Goes out: names, texts and summaries, all static.
 */
#include "zoo_table.h"
#include <string.h>

int car_zoo_entries(const car_zoo_entry **entries) {
    *entries = car_zoo_table;
    return car_zoo_table_count;
}

int car_zoo_count(void) {
    return car_zoo_table_count;
}

const char *car_zoo_name(int index) {
    return index >= 0 && index < car_zoo_table_count ? car_zoo_table[index].name : NULL;
}

const char *car_zoo_text(const char *name) {
    for (int i = 0; i < car_zoo_table_count; i++)
        if (strcmp(car_zoo_table[i].name, name) == 0)
            return car_zoo_table[i].text;
    return NULL;
}
