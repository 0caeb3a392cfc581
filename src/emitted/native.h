/*
 * native.h: what native.c, compiler.c and cache.c share; no other room includes it.
 *
 * Failures are one line of plain words in a `why` of CAR_WHY bytes: they end in "interpreted: WHY".
 */
#ifndef CAR_NATIVE_H
#define CAR_NATIVE_H

#include "emitted.h"

enum { CAR_WHY = 256, CAR_NATIVE_PATH = 4096 };

/* alone.inc, vector.inc, math.inc, functions.inc and row.inc, one after the other (tools/embed_text.py) */
extern const char car_native_prelude[];

/* ---- compiler.c --------------------------------------------------------------------------------------- */

enum { CAR_COMPILER_WORDS = 16, CAR_COMPILER_FLAGS = 24 };
typedef struct car_compiler {
    char path[CAR_NATIVE_PATH];  /* of the program, found along PATH */
    char words[CAR_NATIVE_PATH]; /* the words of CC, each ended by NUL */
    int word_count;              /* the first one is the program as CC names it */
    char identity[CAR_NATIVE_PATH +
                  128]; /* path, size, time of change: another compiler, another key */
} car_compiler;
/* The first word of CC, else `cc`. False: there is none, `why` says so. */
bool car_compiler_find(car_compiler *compiler, char why[CAR_WHY]);
/* The flags of the build for this level, one text with blanks. */
const char *car_compiler_flags(car_cpu_level level);
/* Compiles source to a shared object; what the compiler says is not shown, what takes too long is stopped. */
bool car_compiler_run(const car_compiler *compiler, car_cpu_level level, const char *source,
                      const char *object, char why[CAR_WHY]);

/* ---- cache.c ------------------------------------------------------------------------------------------ */

/* An open folder of ours, $XDG_CACHE_HOME/carousel or ~/.cache/carousel, that nobody else can write to. */
typedef struct car_cache {
    int folder;
    char path[CAR_NATIVE_PATH];
} car_cache;
/* `make`: when it is not there yet, with mode 0700. */
bool car_cache_open(car_cache *cache, bool make, char why[CAR_WHY]);
void car_cache_close(car_cache *cache);
/* Is there an entry KEY.so of ours whose digest is right? */
bool car_cache_has(const car_cache *cache, const char *key);
/* A new folder in the cache, for one compilation, and its removal with the files named. */
bool car_cache_make_room(const car_cache *cache, char room[CAR_NATIVE_PATH], char why[CAR_WHY]);
void car_cache_clear_room(const char *room, const char *const *names, int count);
bool car_cache_write(const char *room, const char *name, const void *data, size_t length,
                     char why[CAR_WHY]);
/* Makes the file `name` of the room the entry KEY.so, with its digest behind it; whole or not at all. */
bool car_cache_keep(const car_cache *cache, const char *room, const char *name, const char *key,
                    char why[CAR_WHY]);

#endif
