/*
 * native.c: the vector programs of a user's cell become machine code while the program runs.
 *
 * In:  a cell; a C compiler; the cache folder. Out: cell->native, a table of functions from a shared object that is
 * loaded, or the reason why the interpreter goes on running the programs. The bits are the same either way.
 *
 *   programs of all its plans that are not built in -> C text (plan/emit.c) behind the vector type and maths of kernels/
 *   key = SHA-256 of version, compiler, flags and that text; the folder has KEY.so with the right digest, or the compiler
 *   makes it; dlopen
 */
#include "native.h"
#include <dlfcn.h>
#include <string.h>

enum { MOST_PROGRAMS = 4096, NATIVE_UNITS = 16 };

typedef struct native_cell {
    car_shared shared;       /* first: cell->native points here */
    car_emitted_table table; /* count 0: the interpreter runs all; `text` says why */
    void *object;            /* of dlopen */
    char text[CAR_NATIVE_PATH + 256];
} native_cell;

static void release_native(car_shared *shared) {
    native_cell *native = (native_cell *)shared;
    if (native->object)
        dlclose(native->object);
    car_release(NULL, native);
}

/* ---- The text ----------------------------------------------------------------------------------------- */

/* A program depends on the cell and on whether it is trained, not on sizes: any do. */
car_status car_native_programs(const struct car_cell *cell, car_cpu_level level, bool all,
                               int *count, car_text *text, car_text *entries, car_error *error) {
    const car_emitted_table *built_in = all ? NULL : car_emitted_of(level);
    *count = 0;
    for (int training = 0; training < 2; training++) {
        const car_plan_options options = {.emitted = built_in, .training = training};
        car_plan *plan;
        CAR_TRY(car_plan_create(cell, (car_shape){NATIVE_UNITS, 1}, NATIVE_UNITS, &options, NULL,
                                &plan, error));
        car_plan_emit(plan, "program", count, text, entries);
        car_plan_free(plan);
    }
    if (text->failed || entries->failed)
        return car_fail(error, CAR_MEMORY, "cell %.60s: out of memory", cell->name);
    return CAR_OK;
}

static int vector_width(car_cpu_level level) {
    return level == CAR_CPU_AVX512 ? 16 : level == CAR_CPU_AVX2 ? 8 : 4;
}

void car_native_source(car_cpu_level level, const car_text *programs, const car_text *entries,
                       int count, car_text *source) {
    car_text_format(source, "/* carousel " CAR_VERSION "; cc %s */\n#define CAR_VECTOR_WIDTH %d\n",
                    car_compiler_flags(level), vector_width(level));
    car_text_add(source, car_native_prelude, strlen(car_native_prelude));
    car_text_add(source, programs->data ? programs->data : "", programs->length);
    car_text_format(source,
                    "\nconst car_emitted_program car_native_programs[] = {\n%s};\n"
                    "const int32_t car_native_count = %d;\n",
                    entries->data ? entries->data : "", count);
    source->failed |= programs->failed || entries->failed;
}

/* ---- From the text to functions ----------------------------------------------------------------------- */

static void make_key(const car_compiler *compiler, const car_text *source, char key[65]) {
    car_sha256 hash;
    const char *word = compiler->words;
    car_sha256_start(&hash);
    car_sha256_add(&hash, compiler->identity, strlen(compiler->identity) + 1);
    for (int i = 0; i < compiler->word_count; i++, word += strlen(word) + 1)
        car_sha256_add(&hash, word, strlen(word) + 1);
    car_sha256_add(&hash, source->data, source->length);
    car_sha256_finish(&hash, key);
    key[40] = '\0';
}

static bool build(const car_cache *cache, const car_compiler *compiler, car_cpu_level level,
                  const car_text *source, const char *key, char why[CAR_WHY]) {
    static const char *const names[] = {"cell.c", "cell.so"};
    char room[CAR_NATIVE_PATH], text[CAR_NATIVE_PATH + 16], object[CAR_NATIVE_PATH + 16];
    if (!car_cache_make_room(cache, room, why))
        return false;
    snprintf(text, sizeof text, "%s/%s", room, names[0]);
    snprintf(object, sizeof object, "%s/%s", room, names[1]);
    bool built = car_cache_write(room, names[0], source->data, source->length, why) &&
                 car_compiler_run(compiler, level, text, object, why) &&
                 car_cache_keep(cache, room, names[1], key, why);
    car_cache_clear_room(room, names, 2);
    return built;
}

static bool load(const car_cache *cache, const char *key, car_cpu_level level, native_cell *native,
                 char why[CAR_WHY]) {
    char path[CAR_NATIVE_PATH + 128];
    snprintf(path, sizeof path, "%s/%.100s.so", cache->path, key);
    native->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const car_emitted_program *programs =
        native->object ? dlsym(native->object, "car_native_programs") : NULL;
    const int32_t *count = native->object ? dlsym(native->object, "car_native_count") : NULL;
    if (!programs || !count || *count < 1 || *count > MOST_PROGRAMS) {
        snprintf(why, CAR_WHY, "what was compiled cannot be loaded (%.200s)", path);
        return false;
    }
    native->table = (car_emitted_table){level, *count, programs};
    snprintf(native->text, sizeof native->text, "emitted: compiled at run time, %s", path);
    return true;
}

/* The functions of `source`: from the cache, or freshly compiled if that is allowed. */
static bool get_functions(const car_text *source, car_cpu_level level, bool compile,
                          native_cell *native, char why[CAR_WHY]) {
    car_compiler compiler;
    car_cache cache;
    char key[65];
    if (!car_compiler_find(&compiler, why) || !car_cache_open(&cache, compile, why))
        return false;
    make_key(&compiler, source, key);
    bool there = car_cache_has(&cache, key);
    if (!there && compile)
        there = build(&cache, &compiler, level, source, key, why);
    else if (!there)
        snprintf(why, CAR_WHY, "not compiled yet; training does it");
    there = there && load(&cache, key, level, native, why);
    car_cache_close(&cache);
    return there;
}

static car_status make_native(const struct car_cell *cell, car_cpu_level level, bool compile,
                              native_cell *native, char why[CAR_WHY], car_error *error) {
    car_text programs, entries, source;
    int count;
    car_text_start(&programs, NULL);
    car_text_start(&entries, NULL);
    car_text_start(&source, NULL);
    car_status status = car_native_programs(cell, level, false, &count, &programs, &entries, error);
    if (status == CAR_OK && count > 0) {
        car_native_source(level, &programs, &entries, count, &source);
        if (source.failed)
            status = car_fail(error, CAR_MEMORY, "cell %.60s: out of memory", cell->name);
        else if (!get_functions(&source, level, compile, native, why))
            snprintf(native->text, sizeof native->text, "interpreted: %s", why);
    }
    car_text_free(&programs);
    car_text_free(&entries);
    car_text_free(&source);
    return status;
}

car_status car_native_attach(struct car_cell *cell, bool compile, car_error *error) {
    const car_kernels *kernels;
    char why[CAR_WHY] = "";
    CAR_TRY(car_kernels_choose(&kernels, error));
    if (car_native_is_off())
        return car_fail(error, CAR_FAILED, "cell %.60s: interpreted: CAROUSEL_NATIVE=0",
                        cell->name);
    const native_cell *before = (const native_cell *)cell->native;
    if (before && before->table.count > 0) /* plans may hold its functions: it stays */
        return before->table.level == kernels->level
                   ? CAR_OK
                   : car_fail(error, CAR_FAILED,
                              "cell %.60s: interpreted: it is compiled for another CPU level",
                              cell->name);
    native_cell *native = car_allocate(NULL, 1, sizeof *native);
    if (!native)
        return car_fail(error, CAR_MEMORY, "cell %.60s: out of memory", cell->name);
    car_shared_start(&native->shared, release_native);
    car_status status = make_native(cell, kernels->level, compile, native, why, error);
    if (status == CAR_OK && why[0])
        status = car_fail(error, CAR_FAILED, "cell %.60s: interpreted: %s", cell->name, why);
    car_shared_drop(cell->native);
    cell->native = &native->shared;
    return status;
}

car_status car_cell_compile_native(car_cell *cell, car_error *error) {
    return car_native_attach(cell, true, error);
}

/* ---- What there is ------------------------------------------------------------------------------------ */

const car_emitted_table *car_native_table(const struct car_cell *cell, car_cpu_level level) {
    const native_cell *native = (const native_cell *)cell->native;
    bool usable = native && native->table.count > 0 && native->table.level == level;
    return usable && !car_native_is_off() ? &native->table : NULL;
}

void car_native_describe(const struct car_cell *cell, car_text *text) {
    const native_cell *native = (const native_cell *)cell->native;
    const car_kernels *kernels;
    car_text programs, entries;
    int missing = 0;
    if (car_native_is_off()) {
        car_text_format(text, "interpreted: CAROUSEL_NATIVE=0");
        return;
    }
    car_text_start(&programs, NULL);
    car_text_start(&entries, NULL);
    if (car_kernels_choose(&kernels, NULL) != CAR_OK ||
        car_native_programs(cell, kernels->level, false, &missing, &programs, &entries, NULL) !=
            CAR_OK)
        text->failed = true;
    else if (missing == 0)
        car_text_format(text, "emitted: built in");
    else
        car_text_format(text, "%s", native ? native->text : "interpreted: not compiled yet");
    car_text_free(&programs);
    car_text_free(&entries);
}

void car_native_describe_machine(car_text *text) {
    car_compiler compiler;
    car_cache cache;
    char why[CAR_WHY] = "CAROUSEL_NATIVE=0";
    if (car_native_is_off() || !car_compiler_find(&compiler, why) ||
        !car_cache_open(&cache, true, why)) {
        car_text_format(text, "interpreted: %s", why);
        return;
    }
    car_text_format(text, "compiled by %s, kept in %s", compiler.path, cache.path);
    car_cache_close(&cache);
}
