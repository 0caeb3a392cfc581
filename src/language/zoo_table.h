/* zoo_table.h: the table that tools/embed_cells.py makes of cells/ at build time; zoo.c reads it. */
#ifndef CAR_LANGUAGE_ZOO_TABLE_H
#define CAR_LANGUAGE_ZOO_TABLE_H

#include "language.h"

extern const car_zoo_entry car_zoo_table[];
extern const int car_zoo_table_count;

#endif
