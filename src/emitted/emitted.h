/*
 * emitted: vector programs as compiled functions: the zoo's at build time, a user's cell's at run time. Stands on plan.
 *
 *   emitted.c      the built-in table of a level (tools/emit_zoo.c, run at build time, plans every cell of cells/ and
 *                  writes their programs: plan/emit.c)
 *   emitted_*.c    the written functions, compiled once for each CPU level; those for steps of one row in bf16 apart
 *   functions.inc  what the written functions need beside the vector type and maths of kernels/
 *   row.inc        what those for steps of one row need: the product in front of the program
 *   native.c       car_cell_compile_native: a cell's programs -> C text -> compiler -> functions
 *   compiler.c     finds the C compiler and runs it, without a shell and with a time limit
 *   cache.c        the folder where compiled functions are kept, and what is checked before they are loaded
 *   alone.inc      what the texts need to be compiled outside the library
 *
 * No cell is named in the engine: a function is found by the digest of its program. The same bits as the
 * interpreter at the same level (tests/test_emitted.c, tests/test_native.c).
 */
#ifndef CAR_EMITTED_H
#define CAR_EMITTED_H

#include "plan.h"

/* ---- emitted.c ---------------------------------------------------------------------------------------- */

/* Does the environment say CAROUSEL_NATIVE=0: the interpreter runs everything? */
bool car_native_is_off(void);
/* The built-in functions for a CPU level; NULL when there are none, or car_native_is_off. */
const car_emitted_table *car_emitted_of(car_cpu_level level);
/* Those for steps of one row in bf16, of kernels that make these of dot products of pairs; else NULL. */
const car_emitted_table *car_emitted_pair_rows_of(const car_kernels *kernels);

/* ---- native.c ----------------------------------------------------------------------------------------- */

/* Every program that plans of the cell can have and that is not built in (`all`: those too), as C functions for
 * car_plan_emit's `text` and `entries`; *count of them. */
car_status car_native_programs(const struct car_cell *cell, car_cpu_level level, bool all,
                               int *count, car_text *text, car_text *entries,
                               car_error *error) CAR_CHECK_RESULT;
/* The whole text that the compiler gets for a level, with its command line as a comment. */
void car_native_source(car_cpu_level level, const car_text *programs, const car_text *entries,
                       int count, car_text *source);
/* What car_cell_compile_native does; without `compile` it takes what the cache folder holds and runs no compiler. */
car_status car_native_attach(struct car_cell *cell, bool compile, car_error *error);
/* The functions that the cell has got so, for this level; NULL: none. They live as long as the cell or a copy. */
const car_emitted_table *car_native_table(const struct car_cell *cell, car_cpu_level level);
/* How the cell's programs run in plans that are made now: "emitted: built in", "emitted: compiled at run time, PATH",
 * "interpreted: " and why. */
void car_native_describe(const struct car_cell *cell, car_text *text);
/* Can a user's cell be compiled here? "compiled by PATH, kept in FOLDER" or "interpreted: " and why. */
void car_native_describe_machine(car_text *text);

#endif
