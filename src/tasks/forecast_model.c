/*
 * forecast_model.c: the model file of a forecast, in and out.
 *
 * What it carries besides weights, as metadata:
 *   forecast.options   JSON, the options it was trained with (forecast_options.c): columns, what is done about gaps ...
 *   forecast.settings  JSON, what a forecast needs:
 *     horizon, context, season (steps); reference ("last", "season", "mean"); log, difference, series_scale (true, false);
 *     frequency {kind, unit, step, day} (car_frequency's numbers); levels [..] of the quantiles; learned_to (the last
 *     stamp that was trained or validated on, in the unit of its kind); inputs [{name, role ("known", "unknown",
 *     "static"), mean, deviation, words [..]}], the columns beside the values, in the order in which a net reads them;
 *     spread [[..] a step] (only of a `linear` head): the quantiles of the errors at validation, in s
 *   forecast.record    JSON, how it was trained
 * and a checkpoint also forecast.data, JSON {path, sha256}: the file that is trained on.
 *
 * In:  a file that is hostile until checked. Out: a car_forecast, or CAR_MODEL.
 */
#include "forecast.h"
#include <math.h>
#include <string.h>

static const char *const reference_names[] = {"last", "season", "mean"};

void car_forecast_free(car_forecast *forecast) {
    for (int i = 0; i < forecast->count; i++)
        car_model_free(forecast->models[i]);
    car_release(NULL, forecast->spread);
    *forecast = (car_forecast){0};
}

/* ---- out ---------------------------------------------------------------------------------------------- */

static void add_row(car_text *text, const double *values, int count) {
    for (int i = 0; i < count; i++) {
        car_text_format(text, "%s", i ? "," : "[");
        car_text_json_number(text, values[i]);
    }
    car_text_format(text, "]");
}

void car_forecast_settings_json(const car_forecast_settings *settings, const double *spread,
                                car_text *text) {
    const car_frequency *frequency = &settings->frequency;
    car_text_format(text,
                    "{\"horizon\":%d,\"context\":%d,\"season\":%d,\"reference\":\"%s\",\"log\":%s,"
                    "\"difference\":%s,\"series_scale\":%s,\"frequency\":{\"kind\":%d,\"unit\":%d,"
                    "\"step\":%lld,\"day\":%d},\"learned_to\":%lld,\"levels\":",
                    settings->horizon, settings->context, settings->season,
                    reference_names[settings->reference], settings->log ? "true" : "false",
                    settings->difference ? "true" : "false",
                    settings->series_scale ? "true" : "false", (int)frequency->kind,
                    (int)frequency->unit, (long long)frequency->step, frequency->day,
                    (long long)settings->learned_to);
    add_row(text, settings->levels, settings->level_count);
    car_text_format(text, ",\"inputs\":");
    car_forecast_inputs_json(settings, text);
    if (spread) {
        car_text_format(text, ",\"spread\":");
        for (int k = 0; k < settings->horizon; k++) {
            car_text_format(text, "%s", k ? "," : "[");
            add_row(text, spread + (size_t)k * (size_t)settings->level_count,
                    settings->level_count);
        }
        car_text_format(text, "]");
    }
    car_text_format(text, "}");
}

/* ---- in ----------------------------------------------------------------------------------------------- */

static bool whole(const car_json *object, const char *name, double least, double most,
                  int64_t *value) {
    const car_json *number = car_json_member(object, name);
    if (!number || number->kind != CAR_JSON_NUMBER || !number->whole || number->number < least ||
        number->number > most)
        return false;
    *value = (int64_t)number->number;
    return true;
}

static bool truth(const car_json *object, const char *name, bool *value) {
    const car_json *found = car_json_member(object, name);
    if (!found || found->kind != CAR_JSON_BOOL)
        return false;
    *value = found->truth;
    return true;
}

static bool read_row(const car_json *array, int count, double *values) {
    if (!array || array->kind != CAR_JSON_ARRAY || array->count != count)
        return false;
    for (const car_json *at = array->first; at; at = at->next) {
        if (at->kind != CAR_JSON_NUMBER || !isfinite(at->number))
            return false;
        *values++ = at->number;
    }
    return true;
}

static bool read_levels(const car_json *root, car_forecast_settings *settings) {
    const car_json *levels = car_json_member(root, "levels");
    if (!levels || levels->count < 1 || levels->count > CAR_FORECAST_LEVELS ||
        !read_row(levels, levels->count, settings->levels))
        return false;
    settings->level_count = levels->count;
    for (int i = 0; i < levels->count; i++)
        if (!(settings->levels[i] > (i ? settings->levels[i - 1] : 0) && settings->levels[i] < 1))
            return false;
    return true;
}

static bool read_frequency(const car_json *root, car_frequency *frequency) {
    const car_json *object = car_json_member(root, "frequency");
    int64_t kind, unit, day;
    if (!whole(object, "kind", CAR_STAMP_INTEGER, CAR_STAMP_TIME, &kind) ||
        !whole(object, "unit", CAR_STEP_PLAIN, CAR_STEP_BUSINESS_DAY, &unit) ||
        !whole(object, "step", 1, 1e15, &frequency->step) || !whole(object, "day", 0, 31, &day))
        return false;
    frequency->kind = (car_stamp_kind)kind;
    frequency->unit = (car_step_unit)unit;
    frequency->day = (int)day;
    return true;
}

static bool read_settings(const car_json *root, car_forecast_settings *settings) {
    int64_t horizon, context, season;
    const car_json *reference = car_json_member(root, "reference");
    bool known = false;
    if (!whole(root, "horizon", 1, CAR_FORECAST_MOST, &horizon) ||
        !whole(root, "context", 2, CAR_FORECAST_MOST, &context) ||
        !whole(root, "season", 1, CAR_FORECAST_MOST, &season) ||
        !whole(root, "learned_to", -9e15, 9e15, &settings->learned_to) ||
        !truth(root, "log", &settings->log) || !truth(root, "difference", &settings->difference) ||
        !truth(root, "series_scale", &settings->series_scale) ||
        !read_frequency(root, &settings->frequency) || !read_levels(root, settings) ||
        !car_forecast_inputs_from_json(car_json_member(root, "inputs"), settings))
        return false;
    for (int i = 0; i < 3; i++)
        if (reference && reference->kind == CAR_JSON_STRING &&
            strcmp(reference->text, reference_names[i]) == 0) {
            settings->reference = (car_reference)i;
            known = true;
        }
    settings->horizon = (int)horizon;
    settings->context = (int)context;
    settings->season = (int)season;
    return known && !(settings->difference && settings->reference == CAR_REFERENCE_SEASON);
}

/* The spread of one model, added to that of the others; false: damaged. */
static bool add_spread(const car_json *root, car_forecast *forecast, double share, double *row) {
    const car_json *spread = car_json_member(root, "spread");
    size_t levels = (size_t)forecast->settings.level_count;
    if (!spread || spread->kind != CAR_JSON_ARRAY || spread->count != forecast->settings.horizon)
        return false;
    double *out = forecast->spread;
    for (const car_json *at = spread->first; at; at = at->next, out += levels) {
        if (!read_row(at, (int)levels, row))
            return false;
        for (size_t q = 0; q < levels; q++)
            out[q] += (row[q] - out[q]) * share;
    }
    return true;
}

static bool same_settings(const car_forecast_settings *a, const car_forecast_settings *b) {
    car_text left, right;
    car_text_start(&left, NULL);
    car_text_start(&right, NULL);
    car_forecast_settings_json(a, NULL, &left);
    car_forecast_settings_json(b, NULL, &right);
    bool same = !left.failed && !right.failed && strcmp(left.data, right.data) == 0;
    car_text_free(&left);
    car_text_free(&right);
    return same;
}

bool car_forecast_fits(const car_forecast_settings *settings, const car_model *model) {
    return car_model_input_size(model) == car_forecast_inputs(settings) &&
           car_model_output_size(model) == settings->horizon * car_head_parameters(model->net) &&
           settings->context % model->net->patch == 0 &&
           car_forecast_check_net(model->net, NULL) == CAR_OK;
}

static car_status damaged(const char *path, const char *what, car_error *error) {
    return car_fail(error, CAR_MODEL, "%.200s: %s; make it with `carousel forecast train`", path,
                    what);
}

/* Takes the model over. */
static car_status add_model(const char *path, const car_json *root, car_model *model,
                            car_forecast *forecast, car_error *error) {
    car_forecast_settings settings = {0};
    double row[CAR_FORECAST_LEVELS];
    const char *reason = NULL;
    if (!read_settings(root, &settings))
        reason = "its forecast.settings are damaged";
    else if (forecast->count > 0 && !same_settings(&settings, &forecast->settings))
        reason = "its settings are not those of the model before it";
    else if (forecast->count > 0 && model->net->head != forecast->models[0]->net->head)
        reason = "its head is not that of the model before it";
    else if (!car_forecast_fits(&settings, model))
        reason = "its net does not fit its forecast.settings";
    else if (forecast->count == CAR_FORECAST_NETS)
        reason = "more models than can be averaged (64)";
    if (!reason && forecast->count == 0) {
        forecast->settings = settings;
        forecast->spread = car_allocate(NULL, (size_t)settings.horizon,
                                        (size_t)settings.level_count * sizeof(double));
        if (!forecast->spread) {
            car_model_free(model);
            return car_fail(error, CAR_MEMORY, "%.200s: out of memory", path);
        }
    }
    if (!reason && model->net->head == CAR_HEAD_LINEAR &&
        !add_spread(root, forecast, 1.0 / (forecast->count + 1), row))
        reason = "its training has not ended (go on with --resume), or it is damaged";
    if (reason) {
        car_model_free(model);
        return damaged(path, reason, error);
    }
    forecast->models[forecast->count++] = model;
    return CAR_OK;
}

car_status car_forecast_load(const char *path, car_forecast *forecast, car_arena *arena,
                             car_forecast_options *options, car_error *error) {
    car_model *model = NULL;
    const car_json *root = NULL;
    CAR_TRY(car_model_load(path, NULL, &model, error));
    const char *json = car_model_metadata(model, "forecast.settings");
    const char *stored = car_model_metadata(model, "forecast.options");
    car_status status = CAR_OK;
    if (!json || !stored)
        status = damaged(path, "it is no model of forecasts", error);
    else if (car_json_parse(json, strlen(json), "forecast.settings", 5, 1 << 20, arena, &root,
                            NULL) != CAR_OK)
        status = damaged(path, "its forecast.settings are damaged", error);
    else if (options)
        status = car_settings_from_json(car_forecast_table, car_forecast_table_count, stored, path,
                                        arena, options, error);
    if (status == CAR_OK && options && car_forecast_options_check(options, NULL) != CAR_OK)
        status = damaged(path, "its forecast.options are damaged", error);
    if (status != CAR_OK) {
        car_model_free(model);
        return status;
    }
    return add_model(path, root, model, forecast, error);
}

car_status car_forecast_check_series(const car_forecast *forecast, car_series_set *set,
                                     car_error *error) {
    const car_frequency *learned = &forecast->settings.frequency, *now = &set->frequency;
    char names[2][32];
    car_frequency_name(learned, names[0]);
    car_frequency_name(now, names[1]);
    if (learned->kind == now->kind && learned->unit == now->unit && learned->step == now->step)
        return car_forecast_align(&forecast->settings, set, error);
    return car_fail(error, CAR_DATA,
                    "the series are %s, the model has learned from %s ones; train a model on such",
                    names[1], names[0]);
}
