/*
 * forecast.c: forecasts from trained nets.
 *
 * In:  a car_forecast; series and origins. Out: for each a point and quantiles for every step of the horizon, the mean
 * over the nets. Many windows run side by side; a row has the bits that it would have alone.
 */
#include "forecast.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LANES = 64 };

typedef struct forecast_buffers {
    const car_forecast *forecast;
    int lanes;
    float *input;      /* [context][lanes][inputs] */
    float *output;     /* [lanes][outputs] */
    double *reference; /* [lanes][horizon] */
    double *unit;      /* [lanes] s */
    double *scales;    /* [longest history + 1] */
} forecast_buffers;

static car_status check_case(const car_forecast *forecast, const car_forecast_case *one,
                             car_error *error) {
    size_t need = car_forecast_need(&forecast->settings);
    if (one->origin < need || need < 2)
        return car_fail(error, CAR_DATA,
                        "series `%.60s` has %zu value%s, the model looks back over %zu (predict "
                        "--short skip leaves such series out)",
                        one->series->id, one->origin, one->origin == 1 ? "" : "s", need);
    bool known = false;
    for (int i = 0; i < forecast->settings.input_count; i++)
        known |= forecast->settings.inputs[i].column.role == CAR_COVARIATE_KNOWN;
    size_t steps = one->series->count + one->series->ahead,
           horizon = (size_t)forecast->settings.horizon;
    if (known && one->origin + horizon > steps)
        return car_fail(error, CAR_DATA,
                        "series `%.60s`: %zu steps behind its end hold the known columns, the "
                        "horizon needs %zu; add rows without a value",
                        one->series->id, one->series->ahead, horizon);
    return car_forecast_check_values(&forecast->settings, one->series, one->origin - need,
                                     one->origin, error);
}

static void fill_window(const forecast_buffers *buffers, const car_forecast_case *one, int lane) {
    const car_forecast_settings *settings = &buffers->forecast->settings;
    size_t inputs = (size_t)car_forecast_inputs(settings);
    double scale = 0;
    if (settings->series_scale) {
        car_forecast_scales(settings, one->series->values, one->origin, buffers->scales);
        scale = buffers->scales[one->origin];
    }
    buffers->unit[lane] =
        car_forecast_window(settings, one->series, one->origin, scale,
                            buffers->input + (size_t)lane * inputs, (size_t)buffers->lanes * inputs,
                            buffers->reference + (size_t)lane * (size_t)settings->horizon);
}

static int order_floats(const void *a, const void *b) {
    float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

/* Adds what one net says about a case, as z, weighed by 1/nets. */
static void add_outputs(const forecast_buffers *buffers, const struct car_net *net,
                        const car_forecast_case *one, int lane) {
    const car_forecast *forecast = buffers->forecast;
    const car_forecast_settings *settings = &forecast->settings;
    size_t horizon = (size_t)settings->horizon, levels = (size_t)settings->level_count;
    size_t each = (size_t)car_head_parameters(net);
    float *output = buffers->output + (size_t)lane * horizon * each;
    double s = buffers->unit[lane], share = 1.0 / forecast->count;
    for (size_t k = 0; k < horizon; k++) {
        float *raw = output + k * each;
        if (net->head == CAR_HEAD_QUANTILE) /* those that have crossed are put in order */
            qsort(raw, each, sizeof *raw, order_floats);
        double r = buffers->reference[(size_t)lane * horizon + k];
        one->point[k] += share * (r + s * car_distribution_point(net, raw));
        for (size_t q = 0; q < levels; q++) {
            double there = car_distribution_quantile(net, raw, settings->levels[q]);
            if (net->head == CAR_HEAD_LINEAR)
                there += forecast->spread[k * levels + q];
            one->quantiles[k * levels + q] += share * (r + s * there);
        }
    }
}

/* Back from logarithms. */
static void finish(const car_forecast_settings *settings, const car_forecast_case *one) {
    size_t levels = (size_t)settings->level_count;
    size_t horizon = (size_t)settings->horizon, cells = horizon * levels;
    for (size_t k = 0; settings->log && k < horizon; k++)
        one->point[k] = exp(one->point[k]);
    for (size_t k = 0; settings->log && k < cells; k++)
        one->quantiles[k] = exp(one->quantiles[k]);
}

static car_status run_model(const forecast_buffers *buffers, const car_model *model,
                            const car_forecast_case *cases, int count, car_error *error) {
    const car_stack_shape shape = {
        .batch = buffers->lanes, .steps = buffers->forecast->settings.context, .threads = 1};
    size_t bytes = car_stack_size(model, &shape);
    void *memory = bytes ? car_allocate(NULL, bytes, 1) : NULL;
    if (!memory)
        return car_fail(error, CAR_MEMORY, "no memory to run the model");
    car_stack *stack = car_stack_place(model, &shape, memory);
    car_status status = CAR_OK;
    for (int begin = 0; begin < count && status == CAR_OK; begin += buffers->lanes) {
        int filled = count - begin < buffers->lanes ? count - begin : buffers->lanes;
        for (int lane = 0; lane < filled; lane++)
            fill_window(buffers, &cases[begin + lane], lane);
        car_stack_reset(stack, -1);
        status = car_stack_forward(stack, shape.steps, NULL, buffers->input, NULL, 0, error);
        if (status != CAR_OK)
            break;
        car_stack_outputs(stack, buffers->output);
        for (int lane = 0; lane < filled; lane++)
            add_outputs(buffers, model->net, &cases[begin + lane], lane);
    }
    car_release(NULL, memory);
    return status;
}

static car_status make_buffers(forecast_buffers *buffers, const car_forecast_case *cases, int count,
                               car_error *error) {
    const car_forecast_settings *settings = &buffers->forecast->settings;
    size_t lanes = (size_t)buffers->lanes, horizon = (size_t)settings->horizon, longest = 0;
    size_t outputs = (size_t)car_model_output_size(buffers->forecast->models[0]);
    for (int i = 0; settings->series_scale && i < count; i++)
        longest = cases[i].origin > longest ? cases[i].origin : longest;
    buffers->input = car_allocate(NULL, lanes * (size_t)settings->context,
                                  (size_t)car_forecast_inputs(settings) * sizeof(float));
    buffers->output = car_allocate(NULL, lanes * outputs, sizeof(float));
    buffers->reference = car_allocate(NULL, lanes * horizon, sizeof(double));
    buffers->unit = car_allocate(NULL, lanes, sizeof(double));
    buffers->scales = car_allocate(NULL, longest + 1, sizeof(double));
    return buffers->input && buffers->output && buffers->reference && buffers->unit &&
                   buffers->scales
               ? CAR_OK
               : car_fail(error, CAR_MEMORY, "no memory for %zu windows", lanes);
}

car_status car_forecast_run(const car_forecast *forecast, const car_forecast_case *cases, int count,
                            car_error *error) {
    const car_forecast_settings *settings = &forecast->settings;
    forecast_buffers buffers = {.forecast = forecast,
                                .lanes = count < MOST_LANES ? count : MOST_LANES};
    size_t horizon = (size_t)settings->horizon, levels = (size_t)settings->level_count;
    for (int i = 0; i < count; i++) {
        CAR_TRY(check_case(forecast, &cases[i], error));
        memset(cases[i].point, 0, horizon * sizeof(double));
        memset(cases[i].quantiles, 0, horizon * levels * sizeof(double));
    }
    car_status status = count > 0 ? make_buffers(&buffers, cases, count, error) : CAR_OK;
    for (int m = 0; count > 0 && m < forecast->count && status == CAR_OK; m++)
        status = run_model(&buffers, forecast->models[m], cases, count, error);
    for (int i = 0; status == CAR_OK && i < count; i++)
        finish(settings, &cases[i]);
    void *const blocks[] = {buffers.input, buffers.output, buffers.reference, buffers.unit,
                            buffers.scales};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        car_release(NULL, blocks[i]);
    return status;
}
