/*
 * settings.c: a task's settings as a table: defaults, ranges, JSON.
 *
 * In:  a table of car_setting and the struct that its offsets point into.
 * Out: the defaults; a check that names the option; the settings as JSON and back. The command line, --print-config
 *      and checkpoints all go through the same table.
 */
#include "tasks.h"
#include <string.h>

static const void *field_of(const void *options, const car_setting *setting) {
    return (const char *)options + setting->offset;
}

void car_settings_defaults(const car_setting *table, int count, void *options) {
    for (int i = 0; i < count; i++) {
        const car_setting *setting = &table[i];
        char *field = (char *)options + setting->offset;
        if (setting->kind == CAR_SETTING_INT)
            *(int64_t *)(void *)field = (int64_t)setting->number;
        else if (setting->kind == CAR_SETTING_NUMBER)
            *(double *)(void *)field = setting->number;
        else if (setting->kind == CAR_SETTING_FLAG)
            *(bool *)(void *)field = false;
        else if (setting->kind != CAR_SETTING_HEADING)
            *(const char **)(void *)field = setting->text;
    }
}

static bool is_choice(const char *choices, const char *word) {
    size_t length = word ? strlen(word) : 0;
    for (const char *at = choices; length > 0 && *at;) {
        size_t part = strcspn(at, "|");
        if (part == length && memcmp(at, word, length) == 0)
            return true;
        at += part + (at[part] == '|');
    }
    return false;
}

/* A default may stand outside of what can be given, where it means that nothing was. */
static bool in_range(const car_setting *setting, double value) {
    return value == setting->number || (value >= setting->minimum && value <= setting->maximum);
}

car_status car_settings_check(const car_setting *table, int count, const void *options,
                              car_error *error) {
    for (int i = 0; i < count; i++) {
        const car_setting *setting = &table[i];
        const void *field = field_of(options, setting);
        double value = setting->kind == CAR_SETTING_INT      ? (double)*(const int64_t *)field
                       : setting->kind == CAR_SETTING_NUMBER ? *(const double *)field
                                                             : setting->minimum;
        if (!in_range(setting, value))
            return car_fail(error, CAR_USAGE, "--%s %.12g: give %.12g to %.12g", setting->name,
                            value, setting->minimum, setting->maximum);
        if (setting->kind == CAR_SETTING_CHOICE &&
            !is_choice(setting->choices, *(const char *const *)field))
            return car_fail(error, CAR_USAGE, "--%s: give one of %s", setting->name,
                            setting->choices);
    }
    return CAR_OK;
}

void car_settings_to_json(const car_setting *table, int count, const void *options,
                          car_text *text) {
    const char *separator = "{";
    for (int i = 0; i < count; i++) {
        const car_setting *setting = &table[i];
        const void *field = field_of(options, setting);
        if (setting->kind == CAR_SETTING_HEADING)
            continue;
        car_text_format(text, "%s\"%s\":", separator, setting->name);
        separator = ",";
        const char *word = NULL;
        if (setting->kind == CAR_SETTING_INT)
            car_text_format(text, "%lld", (long long)*(const int64_t *)field);
        else if (setting->kind == CAR_SETTING_NUMBER)
            car_text_json_number(text, *(const double *)field);
        else if (setting->kind == CAR_SETTING_FLAG)
            car_text_format(text, "%s", *(const bool *)field ? "true" : "false");
        else if ((word = *(const char *const *)field))
            car_text_json_string(text, word, strlen(word));
        else
            car_text_format(text, "null");
    }
    car_text_format(text, "}");
}

/* One setting from its JSON value; false: the wrong kind. */
static bool set_from_json(const car_setting *setting, const car_json *value, void *options) {
    void *field = (char *)options + setting->offset;
    switch (setting->kind) {
    case CAR_SETTING_INT:
        if (value->kind != CAR_JSON_NUMBER || !value->whole)
            return false;
        *(int64_t *)field = (int64_t)value->number;
        return true;
    case CAR_SETTING_NUMBER:
        if (value->kind != CAR_JSON_NUMBER)
            return false;
        *(double *)field = value->number;
        return true;
    case CAR_SETTING_TEXT:
    case CAR_SETTING_CHOICE:
        if (value->kind != CAR_JSON_STRING && value->kind != CAR_JSON_NULL)
            return false;
        *(const char **)field = value->kind == CAR_JSON_STRING ? value->text : NULL;
        return true;
    case CAR_SETTING_FLAG:
        if (value->kind != CAR_JSON_BOOL)
            return false;
        *(bool *)field = value->truth;
        return true;
    case CAR_SETTING_HEADING:
        break;
    }
    return true;
}

car_status car_settings_from_json(const car_setting *table, int count, const char *json,
                                  const char *origin, car_arena *arena, void *options,
                                  car_error *error) {
    car_settings_defaults(table, count, options);
    const car_json *root = NULL;
    car_error cause;
    if (car_json_parse(json, strlen(json), "settings", 2, 1000, arena, &root, &cause) != CAR_OK)
        return car_fail(error, cause.status == CAR_MEMORY ? CAR_MEMORY : CAR_MODEL,
                        "%.200s: %.250s", origin, cause.message);
    for (int i = 0; i < count; i++) {
        const car_setting *setting = &table[i];
        if (setting->kind == CAR_SETTING_HEADING)
            continue;
        const car_json *value = car_json_member(root, setting->name);
        if (!value || !set_from_json(setting, value, options))
            return car_fail(error, CAR_MODEL, "%.200s: its setting `%s` is missing or damaged",
                            origin, setting->name);
    }
    return CAR_OK;
}
