/*
 * net.c: the net around a cell, and its size.
 *
 * In:  a problem, a cell, a number of units or of weights.
 * Out: `CELL units | HEAD`, with `project units` before a cell that uses its input unit by unit.
 */
#include "probe.h"

enum { UNITS_LIMIT = 8192 };

static void write_net(const car_probe_problem *problem, const car_cell *cell, int units,
                      bool project, car_text *text) {
    static const char *const heads[] = {"softmax", "sigmoid", "linear"};
    static const char *const pools[] = {"", " last", " mean"};
    if (project)
        car_text_format(text, "project %d | ", units);
    car_text_format(text, "%s %d | %s%s", car_cell_name(cell), units, heads[problem->task->head],
                    pools[problem->task->pool]);
}

static car_status make(const car_probe_problem *problem, const car_cell *cell, int units,
                       bool project, const car_model_options *options,
                       const car_allocator *allocator, car_model **model, car_error *error) {
    car_text text;
    car_net *net = NULL;
    car_text_start(&text, allocator);
    write_net(problem, cell, units, project, &text);
    car_status status = text.failed ? car_fail(error, CAR_MEMORY, "no memory for the net's text")
                                    : car_net_parse(text.data, &cell, 1, allocator, &net, error);
    if (status == CAR_OK)
        status = car_model_create(net, options, allocator, model, error);
    car_net_free(net);
    car_text_free(&text);
    return status;
}

/* Does the cell need as many inputs as it has units? */
static bool needs_projection(const car_probe_problem *problem, const car_cell *cell, int units) {
    car_text text;
    car_net *net = NULL;
    car_layer_sizes sizes[CAR_NET_LAYER_LIMIT];
    car_text_start(&text, NULL);
    write_net(problem, cell, units, false, &text);
    bool fits = !text.failed && car_net_parse(text.data, &cell, 1, NULL, &net, NULL) == CAR_OK &&
                car_net_sizes(net, problem->inputs, sizes, NULL) == CAR_OK;
    car_net_free(net);
    car_text_free(&text);
    return !fits;
}

car_status car_probe_model_make(const car_probe_problem *problem, const car_cell *cell, int units,
                                const char *init, const char *bias_init,
                                const car_allocator *allocator, car_model **model,
                                car_error *error) {
    const car_model_options options = {.input_size = problem->inputs,
                                       .output_size = problem->outputs,
                                       .seed = problem->seed,
                                       .init = init,
                                       .bias_init = bias_init};
    bool project = needs_projection(problem, cell, units);
    return make(problem, cell, units, project, &options, allocator, model, error);
}

typedef struct sizing {
    const car_probe_problem *problem;
    const car_cell *cell;
} sizing;

static car_status count_weights(void *context, int units, const car_allocator *allocator,
                                int64_t *weights, car_error *error) {
    const sizing *size = context;
    car_model *model;
    CAR_TRY(car_probe_model_make(size->problem, size->cell, units, "uniform", NULL, allocator,
                                 &model, error));
    *weights = car_model_parameter_count(model);
    car_model_free(model);
    return CAR_OK;
}

car_status car_probe_fit_units(car_probe_count_weights *count, void *context, int64_t weights,
                               const car_allocator *allocator, int *units, car_error *error) {
    int low = 1, high = 1; /* weights of low <= what is asked < weights of high, once found */
    int64_t below = 0, above = 0;
    CAR_TRY(count(context, low, allocator, &below, error));
    for (above = below; above < weights && high < UNITS_LIMIT;) {
        low = high;
        below = above;
        high *= 2;
        CAR_TRY(count(context, high, allocator, &above, error));
    }
    while (high - low > 1) {
        int middle = (low + high) / 2;
        int64_t counted;
        CAR_TRY(count(context, middle, allocator, &counted, error));
        if (counted < weights) {
            low = middle;
            below = counted;
        } else {
            high = middle;
            above = counted;
        }
    }
    *units = above - weights < weights - below ? high : low;
    return CAR_OK;
}

car_status car_probe_units_for(const car_probe_problem *problem, const car_cell *cell,
                               int64_t weights, const car_allocator *allocator, int *units,
                               car_error *error) {
    sizing size = {problem, cell};
    return car_probe_fit_units(count_weights, &size, weights, allocator, units, error);
}
