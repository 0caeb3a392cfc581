/*
 * init: how weights start.
 *
 * In:  a prepared model, seed, a scheme for matrices and overrides for parameters by name.
 * Out: its weights. What counts for a parameter: the override by name, the scheme of the command line (matrices),
 * the net's, the cell's, then uniform.
 *
 * Every number is a function of (seed, layer * 2 + direction, parameter, row * columns + column), so that neither
 * the packed layout nor padding matters. Values are made in the logical layout and packed by the plan. Formulas:
 * docs/nets.md.
 */
#include "network.h"
#include <math.h>
#include <string.h>

enum { CHRONO_DRAW = 1 << 30 }; /* in the place of a parameter's number */

/* What a matrix or vector is filled from. */
typedef struct car_filling {
    car_init init;
    car_random_key key;
    uint64_t parameter;
    int rows, columns;
    int fan;   /* uniform: 1 / sqrt(fan) */
    bool relu; /* walk: which gain */
} car_filling;

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "init: out of memory; use smaller layers");
}

/* ---- Schemes ------------------------------------------------------------------------------------------ */

/* u in [0, 1) for each value, four from a block of random numbers; value = low + (high - low) * u. */
static void fill_uniform(const car_filling *filling, double low, double high, float *values) {
    size_t count = (size_t)filling->rows * (size_t)filling->columns;
    for (size_t i = 0; i < count; i += 4) {
        uint32_t numbers[4];
        car_random_block(filling->key, filling->parameter, i / 4, numbers);
        for (size_t k = 0; k < 4 && i + k < count; k++)
            values[i + k] = (float)(low + (high - low) * (double)(numbers[k] >> 8) * 0x1p-24);
    }
}

/* Tallec & Ollivier 2018: log U[1, longest - 1] for the forget gate, and for the input gate minus the same number: a unit
 * has one draw, whatever parameter it is for. */
static void fill_chrono(const car_filling *filling, float *values) {
    double longest = fabs(filling->init.value), sign = filling->init.value < 0 ? -1 : 1;
    car_filling unit = *filling;
    unit.parameter = CHRONO_DRAW;
    fill_uniform(&unit, 1, longest - 1, values);
    size_t count = (size_t)filling->rows * (size_t)filling->columns;
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(sign * log((double)values[i]));
}

/* Sussillo & Abbott 2014: N(0, g^2 / columns); their g for linear and for relu layers of that width. */
static void fill_walk(const car_filling *filling, float *values) {
    double width = filling->columns, gain = filling->init.value;
    if (gain == 0)
        gain = filling->relu ? sqrt(2.0) * exp(1.2 / (fmax(width, 6) - 2.4)) : exp(0.5 / width);
    size_t count = (size_t)filling->rows * (size_t)filling->columns;
    for (size_t i = 0; i < count; i++)
        values[i] =
            (float)(gain / sqrt(width) * car_random_normal(filling->key, filling->parameter, i));
}

static void fill_identity(const car_filling *filling, float *values) {
    memset(values, 0, (size_t)filling->rows * (size_t)filling->columns * sizeof(float));
    for (int i = 0; i < filling->rows && i < filling->columns; i++)
        values[(size_t)i * (size_t)filling->columns + (size_t)i] = (float)filling->init.value;
}

/* Rows are orthonormal when there are no more rows than columns, else columns are. */
static car_status fill_orthogonal(const car_filling *filling, const car_model *model, float *values,
                                  car_error *error) {
    size_t rows = (size_t)filling->rows, columns = (size_t)filling->columns;
    size_t count = rows < columns ? rows : columns, length = rows < columns ? columns : rows;
    double *work = car_allocate(model->allocator, rows * columns, sizeof *work);
    if (!work)
        return no_memory(error);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            work[rows <= columns ? i * columns + j : j * rows + i] =
                car_random_normal(filling->key, filling->parameter, i * columns + j);
    model->kernels->orthonormalize(work, count, length);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            values[i * columns + j] =
                (float)(filling->init.value *
                        work[rows <= columns ? i * columns + j : j * rows + i]);
    car_release(model->allocator, work);
    return CAR_OK;
}

static car_status fill(const car_filling *filling, const car_model *model, float *values,
                       car_error *error) {
    size_t count = (size_t)filling->rows * (size_t)filling->columns;
    double bound = filling->init.value;
    switch (filling->init.kind) {
    case CAR_INIT_NUMBER:
        for (size_t i = 0; i < count; i++)
            values[i] = (float)filling->init.value;
        return CAR_OK;
    case CAR_INIT_DEFAULT:
    case CAR_INIT_UNIFORM:
        if (bound == 0 || filling->init.kind == CAR_INIT_DEFAULT)
            bound = 1 / sqrt((double)filling->fan);
        fill_uniform(filling, -bound, bound, values);
        return CAR_OK;
    case CAR_INIT_ORTHOGONAL:
        return fill_orthogonal(filling, model, values, error);
    case CAR_INIT_IDENTITY:
        fill_identity(filling, values);
        return CAR_OK;
    case CAR_INIT_WALK:
        fill_walk(filling, values);
        return CAR_OK;
    case CAR_INIT_CHRONO:
        fill_chrono(filling, values);
        return CAR_OK;
    }
    return CAR_OK;
}

/* ---- What the caller asks for ------------------------------------------------------------------------- */

/* One `name=init` of the overrides. */
typedef struct init_override {
    char name[80], init_text[64];
    car_init init;
} init_override;

enum { OVERRIDE_LIMIT = 64 };
typedef struct init_request {
    car_init scheme; /* of matrices; DEFAULT: not named */
    int override_count;
    init_override overrides[OVERRIDE_LIMIT];
} init_request;

static car_status read_scheme(const char *text, car_init *scheme, car_error *error) {
    *scheme = (car_init){CAR_INIT_DEFAULT, 0};
    if (!text)
        return CAR_OK;
    car_status status = car_init_parse(text, scheme, NULL);
    if (status != CAR_OK || scheme->kind == CAR_INIT_NUMBER || scheme->kind == CAR_INIT_CHRONO)
        return car_fail(
            error, CAR_USAGE,
            "init: `%.60s` is no scheme of matrices; write uniform, uniform(0.1), orthogonal, "
            "identity*1 or walk",
            text);
    return CAR_OK;
}

static bool copy_trimmed(const char *begin, const char *end, char *out, size_t capacity) {
    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t length = (size_t)(end - begin);
    if (length == 0 || length >= capacity)
        return false;
    memcpy(out, begin, length);
    out[length] = '\0';
    return true;
}

static bool has_parameter(const car_model *model, const char *name) {
    for (int i = 0; i < model->net->cell_count; i++)
        for (int p = 0; p < model->net->cells[i]->parameter_count; p++)
            if (strcmp(model->net->cells[i]->parameters[p].name, name) == 0)
                return true;
    return false;
}

static car_status unknown_parameter(const car_model *model, const char *name, car_error *error) {
    car_text names;
    car_text_start(&names, model->allocator);
    for (int i = 0; i < model->net->cell_count; i++) {
        const struct car_cell *cell = model->net->cells[i];
        car_text_format(&names, "%s%s has", i ? "; " : "", cell->name);
        for (int p = 0; p < cell->parameter_count; p++)
            car_text_format(&names, " %s", cell->parameters[p].name);
        if (cell->parameter_count == 0)
            car_text_format(&names, " none");
    }
    car_status status =
        names.failed ? no_memory(error)
                     : car_fail(error, CAR_USAGE, "init: no cell has a parameter `%.60s`; %s", name,
                                names.data);
    car_text_free(&names);
    return status;
}

static car_status read_override(const car_model *model, const char *begin, const char *end,
                                init_request *request, car_error *error) {
    const char *equals = memchr(begin, '=', (size_t)(end - begin));
    init_override *next = &request->overrides[request->override_count];
    if (request->override_count == OVERRIDE_LIMIT || !equals ||
        !copy_trimmed(begin, equals, next->name, sizeof next->name) ||
        !copy_trimmed(equals + 1, end, next->init_text, sizeof next->init_text) ||
        car_init_parse(next->init_text, &next->init, NULL) != CAR_OK)
        return car_fail(
            error, CAR_USAGE,
            "init: `%.*s` is not understood; write parameter=number, for example bf=1,bo=0",
            (int)(end - begin < 60 ? end - begin : 60), begin);
    if (!has_parameter(model, next->name))
        return unknown_parameter(model, next->name, error);
    request->override_count++;
    return CAR_OK;
}

static car_status read_overrides(const car_model *model, const char *text, init_request *request,
                                 car_error *error) {
    while (text && *text) {
        size_t length = strcspn(text, ",");
        CAR_TRY(read_override(model, text, text + length, request, error));
        text += length + (text[length] == ',');
    }
    return CAR_OK;
}

/* ---- Filling a model ---------------------------------------------------------------------------------- */

static car_init init_of(const init_request *request, const car_net_layer *layer,
                        const car_parameter *parameter) {
    for (int i = request->override_count - 1; i >= 0; i--)
        if (strcmp(request->overrides[i].name, parameter->name) == 0)
            return request->overrides[i].init;
    if (parameter->kind == CAR_MATRIX && request->scheme.kind != CAR_INIT_DEFAULT)
        return request->scheme;
    if (parameter->kind == CAR_MATRIX && layer->init.kind != CAR_INIT_DEFAULT)
        return layer->init;
    return parameter->init;
}

static bool uses_relu(const struct car_cell *cell) {
    for (int i = 0; i < cell->graph.count; i++)
        if (cell->graph.nodes[i].op == CAR_OP_RELU)
            return true;
    return false;
}

static car_status fill_direction(car_model *model, const init_request *request, uint64_t seed,
                                 int index, int direction, float *values, car_error *error) {
    const car_net_layer *layer = &model->net->layers[index];
    const struct car_cell *cell = layer->cell;
    const car_model_layer *place = &model->layers[index];
    for (int p = 0; p < cell->parameter_count; p++) {
        int columns = car_plan_columns(place->plan, p);
        const car_filling filling = {
            .init = init_of(request, layer, &cell->parameters[p]),
            .key = {seed, CAR_RANDOM_INIT, (uint32_t)(index * 2 + direction)},
            .parameter = (uint64_t)p,
            .rows = place->size.units,
            .columns = columns,
            .fan = cell->state_count > 0 || cell->parameters[p].kind != CAR_MATRIX
                       ? place->size.units
                       : columns,
            .relu = uses_relu(cell)};
        CAR_TRY(fill(&filling, model, values, error));
        car_plan_pack(place->plan, p, values, model->weights + place->weights[direction]);
    }
    return CAR_OK;
}

/* Embedding and head: what the net says right there, else uniform; uniform(a) of the command line wins. */
static car_status fill_own(car_model *model, const init_request *request, uint64_t seed, int index,
                           float *values, car_error *error) {
    const car_tensor_place *place = &model->tensors[index];
    const struct car_net *net = model->net;
    bool embedding = place->role == CAR_TENSOR_EMBEDDING;
    int columns = (int)place->shape[1];
    car_init init = embedding ? net->layers[0].init : net->head_init;
    if (request->scheme.kind == CAR_INIT_UNIFORM &&
        (request->scheme.value != 0 || init.kind == CAR_INIT_DEFAULT))
        init = request->scheme;
    if (place->role == CAR_TENSOR_BIAS)
        init = (car_init){CAR_INIT_NUMBER, 0};
    int layer = embedding ? 0 : net->layer_count;
    const car_filling filling = {.init = init,
                                 .key = {seed, CAR_RANDOM_INIT, (uint32_t)layer * 2},
                                 .rows = (int)place->shape[0],
                                 .columns = columns,
                                 .fan = embedding && !net->tie ? 1 : columns};
    CAR_TRY(fill(&filling, model, values, error));
    car_model_pack(model, index, values, model->weights);
    return CAR_OK;
}

static size_t largest_tensor(const car_model *model) {
    size_t largest = 0;
    for (int i = 0; i < model->tensor_count; i++)
        if (car_model_tensor_floats(model, i) > largest)
            largest = car_model_tensor_floats(model, i);
    return largest;
}

static car_status fill_model(car_model *model, const init_request *request, uint64_t seed,
                             float *values, car_error *error) {
    for (int i = 0; i < model->net->layer_count; i++)
        for (int d = 0; model->layers[i].plan && d < model->layers[i].directions; d++)
            CAR_TRY(fill_direction(model, request, seed, i, d, values, error));
    for (int i = 0; i < model->tensor_count; i++)
        if (model->tensors[i].role != CAR_TENSOR_CELL)
            CAR_TRY(fill_own(model, request, seed, i, values, error));
    car_model_refresh(model, 1);
    return CAR_OK;
}

car_status car_model_initialize(car_model *model, const car_model_options *options,
                                car_error *error) {
    init_request *asked = car_allocate(model->allocator, 1, sizeof *asked);
    float *values = car_allocate(model->allocator, largest_tensor(model), sizeof *values);
    car_status status = asked && values ? CAR_OK : no_memory(error);
    if (status == CAR_OK)
        status = read_scheme(options->init, &asked->scheme, error);
    if (status == CAR_OK)
        status = read_overrides(model, options->bias_init, asked, error);
    if (status == CAR_OK)
        status = fill_model(model, asked, options->seed, values, error);
    car_release(model->allocator, asked);
    car_release(model->allocator, values);
    return status;
}
