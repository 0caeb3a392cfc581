/*
 * study_file.c: a study as study.json, and back.
 *
 * Out: {"carousel.probe": 1, "task": ..., "settings": {...}, "cells": [...], "arms": [{..., "runs": [...]}]}
 * In:  the same; settings, cells and images must be those of the study at hand, then the records of the runs that it still
 *      has are taken over. The file is a stranger's until it is checked.
 */
#include "probe.h"
#include <math.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum { FORMAT = 1, FILE_LIMIT = 1 << 26, DEPTH = 8, VALUES = 1 << 20, PATH_LIMIT = 4096 };

/* ---- Records ------------------------------------------------------------------------------------------ */

typedef struct number_field {
    const char *name;
    size_t offset;
    bool gap; /* may be null: NaN */
} number_field;

#define RECORD(name, gap)                                                                          \
    { #name, offsetof(car_probe_record, name), gap }
static const number_field record_numbers[] = {
    RECORD(accuracy, true),     RECORD(error, true), RECORD(check_accuracy, true),
    RECORD(check_error, true),  RECORD(loss, true),  RECORD(seconds, false),
    RECORD(cpu_seconds, false),
};
static const number_field record_flags[] = {RECORD(solved, false), RECORD(diverged, false),
                                            RECORD(tested, false)};
enum {
    RECORD_NUMBERS = sizeof record_numbers / sizeof *record_numbers,
    RECORD_FLAGS = sizeof record_flags / sizeof *record_flags
};

void car_probe_record_to_json(const car_probe_record *record, car_text *text) {
    car_text_format(text, "{\"updates\": %lld", (long long)record->updates);
    for (int i = 0; i < RECORD_FLAGS; i++)
        car_text_format(text, ", \"%s\": %s", record_flags[i].name,
                        *(const bool *)((const char *)record + record_flags[i].offset) ? "true"
                                                                                       : "false");
    for (int i = 0; i < RECORD_NUMBERS; i++) {
        car_text_format(text, ", \"%s\": ", record_numbers[i].name);
        car_text_json_number(text,
                             *(const double *)((const char *)record + record_numbers[i].offset));
    }
    car_text_format(text, "}");
}

static bool read_number(const car_json *value, bool gap, double *out) {
    if (!value || (value->kind == CAR_JSON_NULL && !gap))
        return false;
    if (value->kind != CAR_JSON_NULL && value->kind != CAR_JSON_NUMBER)
        return false;
    *out = value->kind == CAR_JSON_NULL ? NAN : value->number;
    return true;
}

static bool read_record(const car_json *object, car_probe_record *record) {
    const car_json *updates = car_json_member(object, "updates");
    if (!updates || updates->kind != CAR_JSON_NUMBER || !updates->whole || updates->number < 0)
        return false;
    *record = (car_probe_record){.updates = (int64_t)updates->number};
    for (int i = 0; i < RECORD_FLAGS; i++) {
        const car_json *flag = car_json_member(object, record_flags[i].name);
        if (!flag || flag->kind != CAR_JSON_BOOL)
            return false;
        *(bool *)((char *)record + record_flags[i].offset) = flag->truth;
    }
    for (int i = 0; i < RECORD_NUMBERS; i++)
        if (!read_number(car_json_member(object, record_numbers[i].name), record_numbers[i].gap,
                         (double *)(void *)((char *)record + record_numbers[i].offset)))
            return false;
    return record->seconds >= 0 && record->cpu_seconds >= 0;
}

car_status car_probe_record_from_json(const char *json, const car_allocator *allocator,
                                      car_probe_record *record) {
    const car_json *root = NULL;
    car_arena *arena = car_arena_create(allocator);
    if (!arena)
        return CAR_MEMORY;
    car_status status =
        car_json_parse(json, strlen(json), "probe.record", 2, 64, arena, &root, NULL);
    if (status == CAR_OK && !read_record(root, record))
        status = CAR_MODEL;
    car_arena_free(arena);
    return status;
}

/* ---- Settings ----------------------------------------------------------------------------------------- */

typedef enum setting_kind { SETTING_TEXT, SETTING_INT, SETTING_NUMBER } setting_kind;
typedef struct setting {
    const char *name;
    setting_kind kind;
    size_t offset;
} setting;

#define SETTING(option, field, kind)                                                               \
    { option, kind, offsetof(car_probe_settings, field) }
static const setting settings[] = {
    SETTING("hidden", hidden, SETTING_INT),
    SETTING("weights", weights, SETTING_INT),
    SETTING("batch", batch, SETTING_INT),
    SETTING("check-every", check_every, SETTING_INT),
    SETTING("seed", seed, SETTING_INT),
    SETTING("optimizer", optimizer, SETTING_TEXT),
    SETTING("init", init, SETTING_TEXT),
    SETTING("bias-init", bias_init, SETTING_TEXT),
    SETTING("rate", rate, SETTING_NUMBER),
    SETTING("halve-every", halve_every, SETTING_INT),
    SETTING("shift", shift, SETTING_INT),
    SETTING("clip", clip, SETTING_NUMBER),
    SETTING("clip-value", clip_value, SETTING_NUMBER),
    SETTING("momentum", momentum, SETTING_NUMBER),
    SETTING("beta1", beta1, SETTING_NUMBER),
    SETTING("beta2", beta2, SETTING_NUMBER),
    SETTING("epsilon", epsilon, SETTING_NUMBER),
    SETTING("decay", decay, SETTING_NUMBER),
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static void add_text(car_text *text, const char *value) {
    if (value)
        car_text_json_string(text, value, strlen(value));
    else
        car_text_format(text, "null");
}

static void add_setting(const car_probe_settings *values, const setting *entry, car_text *text) {
    const char *at = (const char *)values + entry->offset;
    if (entry->kind == SETTING_TEXT)
        add_text(text, *(const char *const *)(const void *)at);
    else if (entry->kind == SETTING_INT)
        car_text_format(text, "%lld", (long long)*(const int64_t *)(const void *)at);
    else
        car_text_json_number(text, *(const double *)(const void *)at);
}

static bool same_setting(const car_probe_settings *values, const setting *entry,
                         const car_json *stored) {
    const char *at = (const char *)values + entry->offset;
    if (!stored) { /* younger than the file: as it was without it */
        bool younger = entry->offset == offsetof(car_probe_settings, halve_every) ||
                       entry->offset == offsetof(car_probe_settings, shift);
        return younger && *(const int64_t *)(const void *)at == 0;
    }
    if (entry->kind == SETTING_TEXT) {
        const char *text = *(const char *const *)(const void *)at;
        return text ? stored->kind == CAR_JSON_STRING && strcmp(stored->text, text) == 0
                    : stored->kind == CAR_JSON_NULL;
    }
    double number = entry->kind == SETTING_INT ? (double)*(const int64_t *)(const void *)at
                                               : *(const double *)(const void *)at;
    return stored->kind == CAR_JSON_NUMBER && stored->number == number;
}

/* ---- Writing ------------------------------------------------------------------------------------------ */

static void add_number(car_text *text, const char *name, double value) {
    car_text_format(text, ", \"%s\": ", name);
    car_text_json_number(text, value);
}

static void add_arm(const car_probe_study *study, int index, car_text *text) {
    const car_probe_arm *arm = &study->arms[index];
    car_probe_summary summary = car_probe_summarize(study, index);
    car_text_format(text, "{\"cell\": ");
    add_text(text, study->cells[arm->cell].name);
    if (study->task->distance_name)
        car_text_format(text, ", \"distance\": %d", arm->distance);
    else
        car_text_format(text, ", \"distance\": null");
    car_text_format(text, ", \"net\": ");
    add_text(text, arm->net);
    car_text_format(text, ", \"hidden\": %d, \"weights\": %lld, \"tested\": %d, \"solved\": %d",
                    arm->hidden, (long long)arm->weights, summary.runs, summary.solved);
    add_number(text, "accuracy", summary.accuracy);
    add_number(text, "accuracy_spread", summary.accuracy_spread);
    add_number(text, "error", summary.error);
    add_number(text, "error_spread", summary.error_spread);
    add_number(text, "updates_to_solve", summary.updates);
    add_number(text, "seconds", summary.seconds);
    add_number(text, "cpu_seconds", summary.cpu_seconds);
    car_text_format(text, ",\n  \"runs\": [");
    for (int seed = 0; seed < study->seeds; seed++) {
        car_text_format(text, "%s\n   {\"seed\": %lld, \"record\": ", seed ? "," : "",
                        (long long)(study->settings.seed + seed));
        car_probe_record_to_json(car_probe_record_of(study, index, seed), text);
        car_text_format(text, "}");
    }
    car_text_format(text, "]}");
}

void car_probe_study_to_json(const car_probe_study *study, car_text *text) {
    const char *level = car_cpu_level_name(NULL);
    car_text_format(text, "{\"carousel.probe\": %d,\n \"task\": ", FORMAT);
    add_text(text, study->task->name);
    car_text_format(text, ",\n \"paper\": ");
    add_text(text, study->task->paper);
    car_text_format(text, ",\n \"criterion\": ");
    add_text(text, study->task->criterion);
    car_text_format(text, ",\n \"accuracy_of\": ");
    add_text(text, study->task->item);
    car_text_format(text, ",\n \"error_is\": ");
    add_text(text, study->task->error_name);
    car_text_format(text, ",\n \"images\": ");
    add_text(text, study->digits ? study->digits->sha256 : NULL);
    car_text_format(text, ",\n \"cpu_level\": ");
    add_text(text, level);
    car_text_format(text, ",\n \"updates\": %lld", (long long)study->updates);
    add_number(text, "minutes", study->minutes);
    car_text_format(text, ",\n \"settings\": {");
    for (int i = 0; i < SETTINGS; i++) {
        car_text_format(text, "%s\"%s\": ", i ? ", " : "", settings[i].name);
        add_setting(&study->settings, &settings[i], text);
    }
    car_text_format(text, "},\n \"cells\": [");
    for (int i = 0; i < study->cell_count; i++)
        car_text_format(text, "%s{\"name\": \"%s\", \"sha256\": \"%s\"}", i ? ", " : "",
                        study->cells[i].name, study->cells[i].sha256);
    car_text_format(text, "],\n \"arms\": [\n  ");
    for (int i = 0; i < study->cell_count * study->distance_count; i++) {
        car_text_format(text, "%s", i ? ",\n  " : "");
        add_arm(study, i, text);
    }
    car_text_format(text, "]}\n");
}

static void path_of(const car_probe_study *study, char path[PATH_LIMIT]) {
    snprintf(path, PATH_LIMIT, "%s/study.json", study->folder);
}

car_status car_probe_study_save(const car_probe_study *study, car_error *error) {
    char path[PATH_LIMIT];
    car_text text;
    car_file_writer *writer = NULL;
    path_of(study, path);
    car_text_start(&text, study->allocator);
    car_probe_study_to_json(study, &text);
    car_status status = text.failed ? car_fail(error, CAR_MEMORY, "no memory to write %.300s", path)
                                    : car_file_writer_open(path, study->allocator, &writer, error);
    if (status == CAR_OK) {
        status = car_file_writer_write(writer, text.data, text.length, error);
        if (status == CAR_OK)
            status = car_file_writer_commit(writer, error);
        else
            car_file_writer_abandon(writer);
    }
    car_text_free(&text);
    return status;
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

static bool is_text(const car_json *value, const char *text) {
    return value && value->kind == CAR_JSON_STRING && text && strcmp(value->text, text) == 0;
}

static car_status damaged(const char *path, car_error *error) {
    return car_fail(
        error, CAR_DATA,
        "%.300s: not a study of carousel probe, or damaged; give another folder with -o", path);
}

static car_status compare_settings(const car_probe_study *study, const char *path,
                                   const car_json *root, car_error *error) {
    const car_json *task = car_json_member(root, "task");
    const car_json *stored = car_json_member(root, "settings");
    const car_json *images = car_json_member(root, "images");
    if (!task || task->kind != CAR_JSON_STRING || !stored || !images)
        return damaged(path, error);
    if (!is_text(task, study->task->name))
        return car_fail(error, CAR_USAGE, "%.200s is a study of %.60s, not of %s; give another -o",
                        path, task->text, study->task->name);
    for (int i = 0; i < SETTINGS; i++)
        if (!same_setting(&study->settings, &settings[i],
                          car_json_member(stored, settings[i].name)))
            return car_fail(error, CAR_USAGE,
                            "%.200s was made with another --%s; take that one, or another -o", path,
                            settings[i].name);
    if (study->digits && !is_text(images, study->digits->sha256))
        return car_fail(error, CAR_DATA,
                        "%.200s was made with other images; give those, or another -o", path);
    return CAR_OK;
}

static car_status compare_cells(const car_probe_study *study, const char *path,
                                const car_json *root, car_error *error) {
    const car_json *list = car_json_member(root, "cells");
    if (!list || list->kind != CAR_JSON_ARRAY)
        return damaged(path, error);
    for (const car_json *entry = list->first; entry; entry = entry->next)
        for (int i = 0; i < study->cell_count; i++)
            if (is_text(car_json_member(entry, "name"), study->cells[i].name) &&
                !is_text(car_json_member(entry, "sha256"), study->cells[i].sha256))
                return car_fail(error, CAR_DATA,
                                "%.200s: the cell %.80s has changed since; name it differently, or "
                                "give another -o",
                                path, study->cells[i].name);
    return CAR_OK;
}

/* The record of a run that the study has; others are left alone. */
static void take_record(car_probe_study *study, const car_json *arm, double seed,
                        const car_probe_record *record) {
    const car_json *cell = car_json_member(arm, "cell"), *at = car_json_member(arm, "distance");
    double distance = at && at->kind == CAR_JSON_NUMBER ? at->number : 0;
    double index = seed - (double)study->settings.seed;
    for (int i = 0; i < study->cell_count * study->distance_count; i++) {
        const car_probe_arm *own = &study->arms[i];
        if (is_text(cell, study->cells[own->cell].name) && own->distance == distance &&
            index >= 0 && index < study->seeds)
            study->records[(size_t)i * (size_t)study->seeds + (size_t)index] = *record;
    }
}

static car_status take_records(car_probe_study *study, const char *path, const car_json *root,
                               car_error *error) {
    const car_json *arms = car_json_member(root, "arms");
    if (!arms || arms->kind != CAR_JSON_ARRAY)
        return damaged(path, error);
    for (const car_json *arm = arms->first; arm; arm = arm->next) {
        const car_json *runs = car_json_member(arm, "runs");
        if (!runs || runs->kind != CAR_JSON_ARRAY)
            return damaged(path, error);
        for (const car_json *run = runs->first; run; run = run->next) {
            car_probe_record record;
            const car_json *seed = car_json_member(run, "seed");
            const car_json *stored = car_json_member(run, "record");
            if (!seed || seed->kind != CAR_JSON_NUMBER || !seed->whole || !stored ||
                !read_record(stored, &record))
                return damaged(path, error);
            take_record(study, arm, seed->number, &record);
        }
    }
    return CAR_OK;
}

static car_status take(car_probe_study *study, const char *path, const car_json *root,
                       car_error *error) {
    const car_json *format = car_json_member(root, "carousel.probe");
    const car_json *updates = car_json_member(root, "updates");
    if (!format || format->kind != CAR_JSON_NUMBER || format->number != FORMAT || !updates ||
        updates->kind != CAR_JSON_NUMBER || !updates->whole || updates->number < 0 ||
        !read_number(car_json_member(root, "minutes"), false, &study->minutes))
        return damaged(path, error);
    study->updates = (int64_t)updates->number;
    CAR_TRY(compare_settings(study, path, root, error));
    CAR_TRY(compare_cells(study, path, root, error));
    return take_records(study, path, root, error);
}

car_status car_probe_study_load(car_probe_study *study, bool *found, car_error *error) {
    char path[PATH_LIMIT], *data = NULL;
    size_t length;
    const car_json *root = NULL;
    path_of(study, path);
    *found = access(path, F_OK) == 0;
    if (!*found)
        return CAR_OK;
    CAR_TRY(car_file_read(path, FILE_LIMIT, study->allocator, &data, &length, error));
    car_arena *arena = car_arena_create(study->allocator);
    car_status status = arena
                            ? car_json_parse(data, length, path, DEPTH, VALUES, arena, &root, error)
                            : car_fail(error, CAR_MEMORY, "%.300s: out of memory", path);
    if (status == CAR_OK)
        status = take(study, path, root, error);
    car_arena_free(arena);
    car_release(study->allocator, data);
    return status;
}
