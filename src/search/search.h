/*
 * search: cells that come out of other cells by chance (Jozefowicz, Zaremba & Sutskever 2015). Stands on train and data.
 *
 *   mutate.c   a cell -> another cell that compiles, with its ancestors in comments
 */
#ifndef CAR_SEARCH_H
#define CAR_SEARCH_H

#include "data.h"
#include "language.h"
#include "train.h"

/* ---- mutate.c ----------------------------------------------------------------------------------------- */

/* No mutant is larger. */
enum { CAR_MUTANT_NODES = 64, CAR_MUTANT_DEPTH = 24, CAR_MUTANT_MATRICES = 12 };

/* Says which cells are no news; `known` NULL: only the parent itself. */
typedef struct car_mutant_filter {
    void *context;
    car_status (*known)(void *context, const struct car_cell *cell, bool *known, car_error *error);
} car_mutant_filter;
/* The mutant number `number` of a parent: a function of parent, seed, number and of what is known. *mutant is NULL when
 * 200 attempts have found nothing new. Its name is `m` and 10 digits of its fingerprint. Cost: below 1 ms. */
car_status car_mutate(const struct car_cell *parent, uint64_t seed, uint64_t number,
                      const car_mutant_filter *filter, car_cell **mutant,
                      car_error *error) CAR_CHECK_RESULT;

#endif
