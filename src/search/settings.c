/*
 * settings.c: what is the same for all trials of a study.
 *
 * In:  the command line, or the JSON that a store keeps. Out: checked settings; JSON.
 */
#include "search.h"
#include <math.h>
#include <string.h>

#define AT(field) offsetof(car_search_settings, field)
const car_search_number car_search_numbers[] = {
    {"weights", true, AT(weights), 100, 1e8, 25000, false, "weights of a net, about"},
    {"updates", true, AT(updates), 4, 1e9, 2000, false, "updates of a run"},
    {"settings", true, AT(settings), 1, CAR_SEARCH_SETTINGS, 20, false,
     "random hyper-parameters a task; the best counts"},
    {"batch", true, AT(lanes), 1, 1024, 20, false, "sequences side by side"},
    {"unroll", true, AT(steps), 1, 1024, 35, false, "steps of an update"},
    {"layers", true, AT(layers), 1, 4, 1, false, "most layers that a setting may have"},
    {"checks", true, AT(checks), 1, 100000, 20, false, "batches to judge by, at most"},
    {"vocabulary", true, AT(vocabulary), 3, 1000000, 10000, false, "words that a text task knows"},
    {"seed", true, AT(seed), 0, 9e15, 1, false, "the same seed gives the same results"},
    {"trials", true, AT(trials), 1, 1e9, 1000, true, "trials in all"},
    {"list", true, AT(list), 1, 10000, 100, true, "best cells that are mutated"},
    {"first-settings", true, AT(first_settings), 1, CAR_SEARCH_SETTINGS, 100, true,
     "settings of the cells that the list starts with (the tuned GRU)"},
    {"memory-letters", true, AT(memory_letters), 0, 1000, 5, true,
     "letters of the first filter; 0: no filter"},
    {"memory-updates", true, AT(memory_updates), 4, 1e9, 2000, true, "its updates"},
    {"memory-least", false, AT(memory_least), 0, 1, 0.95, true, "share of them that must be right"},
    {"least", false, AT(least), 0, 10, 0.9, true,
     "least share of the tuned GRU's result on each task"},
    {"again", false, AT(again), 0, 1, 0.2, true,
     "share of the trials that evaluate a listed cell anew"},
};
const int car_search_number_count = sizeof car_search_numbers / sizeof *car_search_numbers;

static void set_number(const car_search_number *number, double value,
                       car_search_settings *settings) {
    char *at = (char *)settings + number->offset;
    if (number->whole)
        *(int64_t *)(void *)at = (int64_t)value;
    else
        *(double *)(void *)at = value;
}

static double get_number(const car_search_number *number, const car_search_settings *settings) {
    const char *at = (const char *)settings + number->offset;
    return number->whole ? (double)*(const int64_t *)(const void *)at
                         : *(const double *)(const void *)at;
}

car_search_settings car_search_defaults(void) {
    car_search_settings settings = {.optimizer = "sgd"};
    for (int i = 0; i < car_search_number_count; i++)
        set_number(&car_search_numbers[i], car_search_numbers[i].value, &settings);
    return settings;
}

car_status car_search_settings_check(const car_search_settings *settings, car_error *error) {
    if (settings->task_count < 1)
        return car_fail(error, CAR_USAGE, "no task; give --task one or more times: %s",
                        car_task_help);
    for (int i = 0; i < settings->task_count; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(settings->tasks[i], settings->tasks[j]) == 0)
                return car_fail(error, CAR_USAGE, "--task %.200s stands there twice",
                                settings->tasks[i]);
    if (strcmp(settings->optimizer, "sgd") != 0 && strcmp(settings->optimizer, "adam") != 0)
        return car_fail(error, CAR_USAGE, "--optimizer %.40s: sgd or adam", settings->optimizer);
    for (int i = 0; i < car_search_number_count; i++) {
        const car_search_number *number = &car_search_numbers[i];
        double value = get_number(number, settings);
        if (!(value >= number->least && value <= number->most))
            return car_fail(error, CAR_USAGE, "--%s %g: %g to %g are allowed", number->name, value,
                            number->least, number->most);
    }
    return CAR_OK;
}

car_task_options car_search_task_options(const car_search_settings *settings) {
    return (car_task_options){.lanes = (int)settings->lanes,
                              .steps = (int)settings->steps,
                              .vocabulary = (int)settings->vocabulary,
                              .checks = (int)settings->checks,
                              .seed = (uint64_t)settings->seed};
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

void car_search_settings_to_json(const car_search_settings *settings, car_text *text) {
    car_text_format(text, "{\"tasks\":[");
    for (int i = 0; i < settings->task_count; i++) {
        car_text_format(text, "%s", i ? "," : "");
        car_text_json_string(text, settings->tasks[i], strlen(settings->tasks[i]));
    }
    car_text_format(text, "],\"optimizer\":\"%s\",\"halving\":%s", settings->optimizer,
                    settings->halving ? "true" : "false");
    for (int i = 0; i < car_search_number_count; i++) {
        car_text_format(text, ",\"%s\":", car_search_numbers[i].name);
        car_text_json_number(text, get_number(&car_search_numbers[i], settings));
    }
    car_text_format(text, "}");
}

static bool take_members(const car_json *root, car_arena *arena, car_search_settings *settings) {
    const car_json *tasks = car_json_member(root, "tasks");
    const car_json *optimizer = car_json_member(root, "optimizer");
    const car_json *halving = car_json_member(root, "halving");
    if (!tasks || tasks->kind != CAR_JSON_ARRAY || tasks->count > CAR_SEARCH_TASKS || !optimizer ||
        optimizer->kind != CAR_JSON_STRING || !halving || halving->kind != CAR_JSON_BOOL)
        return false;
    settings->halving = halving->truth;
    settings->optimizer = car_arena_copy(arena, optimizer->text, optimizer->length);
    bool good = settings->optimizer != NULL;
    for (const car_json *task = tasks->first; task && good; task = task->next) {
        if (task->kind != CAR_JSON_STRING)
            return false;
        const char *text = car_arena_copy(arena, task->text, task->length);
        settings->tasks[settings->task_count++] = text;
        good = text != NULL;
    }
    for (int i = 0; i < car_search_number_count && good; i++) {
        const car_json *number = car_json_member(root, car_search_numbers[i].name);
        good = number && number->kind == CAR_JSON_NUMBER && fabs(number->number) <= 0x1p53 &&
               (number->whole || !car_search_numbers[i].whole);
        if (good)
            set_number(&car_search_numbers[i], number->number, settings);
    }
    return good;
}

car_status car_search_settings_from_json(const char *json, car_arena *arena,
                                         car_search_settings *settings, car_error *error) {
    const car_json *root;
    *settings = (car_search_settings){0};
    CAR_TRY(
        car_json_parse(json, strlen(json), "settings of the study", 4, 1000, arena, &root, error));
    car_error why;
    if (take_members(root, arena, settings) && car_search_settings_check(settings, &why) == CAR_OK)
        return CAR_OK;
    return car_fail(error, CAR_DATA,
                    "the study's settings are damaged; begin a new study, or use the version of "
                    "carousel that made it");
}

/* ---- Intervals ---------------------------------------------------------------------------------------- */

void car_mean_interval(const double *values, int count, double *mean, double *half) {
    /* 97.5 % quantiles of Student's t with 1 .. 30 degrees of freedom. */
    static const double quantiles[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                       2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                       2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                       2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
    enum { TABLE = sizeof quantiles / sizeof *quantiles };
    double sum = 0, squares = 0;
    for (int i = 0; i < count; i++)
        sum += values[i];
    *mean = sum / count;
    for (int i = 0; i < count; i++)
        squares += (values[i] - *mean) * (values[i] - *mean);
    double quantile = count - 1 <= TABLE ? quantiles[count > 1 ? count - 2 : 0] : 1.96;
    *half = count > 1 ? quantile * sqrt(squares / (count - 1) / count) : NAN;
}
