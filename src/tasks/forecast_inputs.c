/*
 * forecast_inputs.c: covariates as a net reads them.
 *
 * In:  the covariates of series (data/series.c). Out: behind x/s, the values of a step
 *
 *   unknown          as it was at t
 *   known            as it was at t, and as it will be at t + horizon: the last `horizon` steps of a context thus show the
 *                    whole future that is to be foretold
 *   constant         its number, or a 1 at the place of its word and 0 at those of the others
 *
 * Numbers are (value - mean) / deviation over what is learned from; what is missing is 0.
 */
#include "forecast.h"
#include <math.h>
#include <string.h>

static int width_of(const car_forecast_input *input) {
    if (input->column.role == CAR_COVARIATE_KNOWN)
        return 2;
    return input->column.category_count > 0 ? input->column.category_count : 1;
}

int car_forecast_inputs(const car_forecast_settings *settings) {
    int width = 1;
    for (int i = 0; i < settings->input_count; i++)
        width += width_of(&settings->inputs[i]);
    return width;
}

/* Mean and deviation of a column over the first lengths[] steps of all series (NULL: all). */
static void measure(const car_series_set *set, int column, const size_t *lengths,
                    car_forecast_input *input) {
    double mean = 0, squares = 0, seen = 0;
    for (int s = 0; s < set->count; s++) {
        const car_one_series *one = &set->series[s];
        size_t length = lengths ? lengths[s] : one->count;
        for (size_t t = 0; t < length; t++) {
            double value = one->covariates[t * (size_t)set->covariate_count + (size_t)column];
            if (isnan(value))
                continue;
            double off = value - mean;
            mean += off / ++seen;
            squares += off * (value - mean);
        }
    }
    input->mean = mean;
    input->deviation = seen > 1 && squares > 0 ? sqrt(squares / seen) : 1;
}

void car_forecast_measure(const car_series_set *set, const size_t *lengths,
                          car_forecast_settings *settings) {
    settings->input_count = set->covariate_count;
    for (int i = 0; i < set->covariate_count; i++) {
        settings->inputs[i] = (car_forecast_input){.column = set->covariates[i]};
        measure(set, i, lengths, &settings->inputs[i]);
    }
}

/* value as a net reads it; NaN is missing. */
static float scaled(const car_forecast_input *input, double value) {
    return isnan(value) ? 0 : (float)((value - input->mean) / input->deviation);
}

void car_forecast_put_inputs(const car_forecast_settings *settings, const car_one_series *series,
                             size_t step, float *out) {
    size_t width = (size_t)settings->input_count;
    const double *now = series->covariates + step * width;
    const double *later = now + (size_t)settings->horizon * width;
    for (size_t i = 0; i < width; i++) {
        const car_forecast_input *input = &settings->inputs[i];
        int words = input->column.category_count;
        for (int k = 0; k < words; k++)
            *out++ = now[i] == k;
        if (words == 0)
            *out++ = scaled(input, now[i]);
        if (input->column.role == CAR_COVARIATE_KNOWN)
            *out++ = scaled(input, later[i]);
    }
}

/* ---- series of another file --------------------------------------------------------------------------- */

/* The words of a column get the numbers that they had in training. */
static car_status align_words(const car_forecast_input *input, int column, car_series_set *set,
                              car_error *error) {
    int place[CAR_CATEGORY_LIMIT];
    const car_covariate *now = &set->covariates[column];
    for (int k = 0; k < now->category_count; k++) {
        place[k] = -1;
        for (int j = 0; j < input->column.category_count; j++)
            if (strcmp(now->categories[k], input->column.categories[j]) == 0)
                place[k] = j;
        if (place[k] < 0)
            return car_fail(error, CAR_DATA,
                            "column `%.40s`: the model has not seen `%.40s`; train it on such "
                            "series too",
                            now->name, now->categories[k]);
    }
    for (int s = 0; s < set->count; s++) {
        const car_one_series *one = &set->series[s];
        for (size_t t = 0; t < one->count + one->ahead; t++) {
            double *value = &one->covariates[t * (size_t)set->covariate_count + (size_t)column];
            if (!isnan(*value))
                *value = place[(int)*value];
        }
    }
    return CAR_OK;
}

car_status car_forecast_align(const car_forecast_settings *settings, car_series_set *set,
                              car_error *error) {
    if (set->covariate_count != settings->input_count)
        return car_fail(error, CAR_DATA,
                        "the model reads %d columns beside the values, %d were named; name its own",
                        settings->input_count, set->covariate_count);
    for (int i = 0; i < settings->input_count; i++) {
        const car_covariate *now = &set->covariates[i], *then = &settings->inputs[i].column;
        if (now->role != then->role || (now->category_count > 0) != (then->category_count > 0))
            return car_fail(error, CAR_DATA,
                            "column `%.40s` is of another kind than `%.40s`, which the model "
                            "learned from",
                            now->name, then->name);
        if (now->category_count > 0)
            CAR_TRY(align_words(&settings->inputs[i], i, set, error));
    }
    return CAR_OK;
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

static const char *const role_names[] = {"known", "unknown", "static"};

void car_forecast_inputs_json(const car_forecast_settings *settings, car_text *text) {
    car_text_format(text, "[");
    for (int i = 0; i < settings->input_count; i++) {
        const car_forecast_input *input = &settings->inputs[i];
        car_text_format(text, "%s{\"name\":", i ? "," : "");
        car_text_json_string(text, input->column.name, strlen(input->column.name));
        car_text_format(text, ",\"role\":\"%s\",\"mean\":", role_names[input->column.role]);
        car_text_json_number(text, input->mean);
        car_text_format(text, ",\"deviation\":");
        car_text_json_number(text, input->deviation);
        car_text_format(text, ",\"words\":[");
        for (int k = 0; k < input->column.category_count; k++) {
            const char *word = input->column.categories[k];
            car_text_format(text, "%s", k ? "," : "");
            car_text_json_string(text, word, strlen(word));
        }
        car_text_format(text, "]}");
    }
    car_text_format(text, "]");
}

static bool read_name(const car_json *from, char name[CAR_COVARIATE_NAME]) {
    if (!from || from->kind != CAR_JSON_STRING || from->length >= CAR_COVARIATE_NAME)
        return false;
    memcpy(name, from->text, from->length + 1);
    return true;
}

static bool read_input(const car_json *from, car_forecast_input *input) {
    const car_json *role = car_json_member(from, "role"), *words = car_json_member(from, "words");
    const car_json *mean = car_json_member(from, "mean");
    const car_json *deviation = car_json_member(from, "deviation");
    int kind = 0;
    while (kind < 3 && role && role->kind == CAR_JSON_STRING &&
           strcmp(role->text, role_names[kind]) != 0)
        kind++;
    if (!role || role->kind != CAR_JSON_STRING || kind == 3 || !words ||
        words->kind != CAR_JSON_ARRAY || words->count > CAR_CATEGORY_LIMIT || !mean ||
        mean->kind != CAR_JSON_NUMBER || !deviation || deviation->kind != CAR_JSON_NUMBER ||
        !(deviation->number > 0) || !read_name(car_json_member(from, "name"), input->column.name))
        return false;
    input->column.role = (car_covariate_role)kind;
    input->mean = mean->number;
    input->deviation = deviation->number;
    for (const car_json *word = words->first; word; word = word->next)
        if (!read_name(word, input->column.categories[input->column.category_count++]))
            return false;
    return words->count == 0 || input->column.role == CAR_COVARIATE_CONSTANT;
}

bool car_forecast_inputs_from_json(const car_json *array, car_forecast_settings *settings) {
    if (!array || array->kind != CAR_JSON_ARRAY || array->count > CAR_COVARIATE_LIMIT)
        return false;
    for (const car_json *at = array->first; at; at = at->next)
        if (!read_input(at, &settings->inputs[settings->input_count++]))
            return false;
    return true;
}
