/*
 * model_file: a model as safetensors, and back.
 *
 * Out: tensors under the names of tensors.c, F32, row-major; metadata carousel.format ("1"), carousel.net,
 * carousel.cell.NAME (the text of every cell, so that the file needs nothing else), carousel.input_size,
 * carousel.output_size, carousel.precision (when it is not f32: the weights are f32 masters all the same), and the
 * caller's strings under their own keys. A model in int8 has no masters: its tensors of rank 2 are I8, -127..127, and
 * NAME.scale, F32 [rows], is what the values of each row are multiplied by.
 * In:  any file. The container has checked its form; here the net is parsed without touching other files, the
 * tensors it asks for are listed and held against the file's (missing, surplus, dtype, shape), and only then is
 * memory for weights taken: every size is that of a tensor in the file by then.
 *
 * PyTorch has two biases where a cell has one: the second is written as zeros, and added when it is read.
 */
#include "network.h"
#include <math.h>
#include <string.h>

#define CELL_KEY    "carousel.cell."
#define TRAINER_KEY "trainer."

enum { CELL_LIMIT = CAR_NET_LAYER_LIMIT };

static car_status no_memory(const char *origin, car_error *error) {
    return car_fail(error, CAR_MEMORY, "%s: out of memory; use a smaller model", origin);
}

/* ---- Writing ------------------------------------------------------------------------------------------ */

static car_status add_number(car_container_builder *builder, const char *key, int value,
                             car_error *error) {
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    return car_container_builder_metadata(builder, key, text, error);
}

static car_status add_cells(const car_model *model, car_container_builder *builder,
                            car_error *error) {
    for (int i = 0; i < model->net->cell_count; i++) {
        const struct car_cell *cell = model->net->cells[i];
        char key[128];
        snprintf(key, sizeof key, CELL_KEY "%.100s", cell->name);
        CAR_TRY(car_container_builder_metadata(builder, key, cell->text, error));
    }
    return CAR_OK;
}

static car_status add_metadata(const car_model *model, car_container_builder *builder,
                               car_error *error) {
    CAR_TRY(car_container_builder_metadata(builder, "carousel.format", "1", error));
    CAR_TRY(car_container_builder_metadata(builder, "carousel.net", model->net->text, error));
    CAR_TRY(add_cells(model, builder, error));
    CAR_TRY(add_number(builder, "carousel.input_size", model->input_size, error));
    CAR_TRY(add_number(builder, "carousel.output_size", model->output_size, error));
    if (model->precision != CAR_PRECISION_F32)
        CAR_TRY(car_container_builder_metadata(builder, "carousel.precision",
                                               car_precision_name(model->precision), error));
    for (int i = 0; i < model->metadata_count; i++)
        CAR_TRY(car_container_builder_metadata(builder, model->metadata[i].key,
                                               model->metadata[i].value, error));
    return CAR_OK;
}

static bool is_whole(const car_model *model, const car_tensor_place *place) {
    return model->precision == CAR_PRECISION_INT8 && place->rank == 2;
}

enum { NAME_BYTES = 224 };
static void name_scale(char name[NAME_BYTES], const car_tensor_place *place) {
    snprintf(name, NAME_BYTES, "%.200s.scale", place->name);
}

static void fill_floats(const void *model, int index, void *data) {
    const car_model *from = model;
    if (from->weights)
        car_model_unpack(from, index, from->weights, data);
    else
        car_model_int8_get_vector(from, index, data);
}

static void fill_values(const void *model, int index, void *data) {
    car_model_int8_get(model, index, data, NULL);
}

static void fill_scales(const void *model, int index, void *data) {
    car_model_int8_get(model, index, NULL, data);
}

/* Whole numbers and their scales. */
static car_status add_whole(const car_model *model, int index, car_container_builder *builder,
                            car_error *error) {
    const car_tensor_place *place = &model->tensors[index];
    char name[NAME_BYTES];
    name_scale(name, place);
    const car_tensor scales = {.name = name,
                               .dtype = CAR_F32,
                               .rank = 1,
                               .shape = {place->shape[0]},
                               .bytes = place->shape[0] * sizeof(float)};
    const car_tensor values = {.name = place->name,
                               .dtype = CAR_I8,
                               .rank = 2,
                               .shape = {place->shape[0], place->shape[1]},
                               .bytes = car_model_tensor_floats(model, index)};
    CAR_TRY(car_container_builder_made(builder, &values, fill_values, model, index, error));
    return car_container_builder_made(builder, &scales, fill_scales, model, index, error);
}

static car_status add_floats(const car_model *model, int index, car_container_builder *builder,
                             car_error *error) {
    const car_tensor_place *place = &model->tensors[index];
    const car_tensor tensor = {.name = place->name,
                               .dtype = CAR_F32,
                               .rank = place->rank,
                               .shape = {place->shape[0], place->shape[1]},
                               .bytes = car_model_tensor_floats(model, index) * sizeof(float)};
    return car_container_builder_made(builder, &tensor, fill_floats, model, index, error);
}

car_status car_model_write(const car_model *model, car_container_builder *builder,
                           car_error *error) {
    CAR_TRY(add_metadata(model, builder, error));
    for (int i = 0; i < model->tensor_count; i++)
        CAR_TRY(is_whole(model, &model->tensors[i]) ? add_whole(model, i, builder, error)
                                                    : add_floats(model, i, builder, error));
    return CAR_OK;
}

car_status car_model_save_with(const car_model *model, const char *path, void *memory, size_t bytes,
                               car_error *error) {
    car_container_builder *builder;
    CAR_TRY(car_container_builder_create(model->allocator, &builder, error));
    car_container_builder_lend(builder, memory, bytes);
    car_status status = car_model_write(model, builder, error);
    if (status == CAR_OK)
        status = car_container_builder_save(builder, path, error);
    car_container_builder_free(builder);
    return status;
}

car_status car_model_save(const car_model *model, const char *path, car_error *error) {
    return car_model_save_with(model, path, NULL, 0, error);
}

/* ---- Reading: net and sizes --------------------------------------------------------------------------- */

typedef struct model_reader {
    const car_container *container;
    const char *origin;
    const car_allocator *allocator;
    car_error *error;
    int cell_count;
    car_cell *cells[CELL_LIMIT];
} model_reader;

/* What a net or cell in a file gets wrong is the file's fault. */
static car_status blame_file(const model_reader *reader, car_status status,
                             const car_error *inner) {
    if (status != CAR_USAGE && status != CAR_DATA)
        return car_fail(reader->error, status, "%s: %.400s", reader->origin, inner->message);
    return car_fail(reader->error, CAR_MODEL, "%s: %.400s", reader->origin, inner->message);
}

static car_status read_cell(model_reader *reader, const char *key) {
    const char *text = car_container_metadata(reader->container, key);
    car_error inner;
    car_cell *cell;
    if (reader->cell_count == CELL_LIMIT)
        return car_fail(reader->error, CAR_MODEL,
                        "%s: more than %d cells; not a model of this program", reader->origin,
                        CELL_LIMIT);
    car_status status = car_cell_compile(text, strlen(text), key, reader->allocator, &cell, &inner);
    if (status != CAR_OK)
        return blame_file(reader, status, &inner);
    reader->cells[reader->cell_count++] = cell;
    if (strcmp(car_cell_name(cell), key + strlen(CELL_KEY)) != 0)
        return car_fail(reader->error, CAR_MODEL, "%s: metadata %.80s holds a cell named `%.60s`",
                        reader->origin, key, car_cell_name(cell));
    return CAR_OK;
}

static car_status read_cells(model_reader *reader) {
    for (int i = 0; i < car_container_metadata_count(reader->container); i++) {
        const char *key = car_container_metadata_key(reader->container, i);
        if (strncmp(key, CELL_KEY, strlen(CELL_KEY)) == 0)
            CAR_TRY(read_cell(reader, key));
    }
    return CAR_OK;
}

static car_status read_number(const model_reader *reader, const char *key, int *value) {
    const char *text = car_container_metadata(reader->container, key);
    int64_t sum = 0;
    size_t length = text ? strspn(text, "0123456789") : 0;
    for (size_t i = 0; i < length && length < 10; i++)
        sum = sum * 10 + (text[i] - '0');
    if (length == 0 || length >= 10 || text[length] != '\0')
        return car_fail(reader->error, CAR_MODEL,
                        "%s: metadata %s is %s%.40s%s; a whole number is needed", reader->origin,
                        key, text ? "\"" : "", text ? text : "missing", text ? "\"" : "");
    *value = (int)sum;
    return CAR_OK;
}

static car_status check_format(const model_reader *reader, const char **net_text) {
    const char *format = car_container_metadata(reader->container, "carousel.format");
    *net_text = car_container_metadata(reader->container, "carousel.net");
    if (!format || !*net_text)
        return car_fail(
            reader->error, CAR_MODEL,
            "%s: no Carousel model: metadata carousel.%s is missing; train one, or add it",
            reader->origin, format ? "net" : "format");
    if (strcmp(format, "1") != 0)
        return car_fail(reader->error, CAR_MODEL,
                        "%s: format %.20s, but this program reads format 1; use a newer program",
                        reader->origin, format);
    return CAR_OK;
}

static car_status read_outline(model_reader *reader, car_model **model) {
    const char *text;
    car_error inner;
    car_net *net;
    int input_size, output_size;
    CAR_TRY(check_format(reader, &text));
    CAR_TRY(read_number(reader, "carousel.input_size", &input_size));
    CAR_TRY(read_number(reader, "carousel.output_size", &output_size));
    CAR_TRY(read_cells(reader));
    car_status status =
        car_net_parse_with(text, (const car_cell *const *)reader->cells, reader->cell_count, false,
                           reader->allocator, &net, &inner);
    if (status != CAR_OK)
        return blame_file(reader, status, &inner);
    status = car_model_outline(net, input_size, output_size, reader->allocator, model, &inner);
    if (status == CAR_OK)
        status = car_precision_read(car_container_metadata(reader->container, "carousel.precision"),
                                    &(*model)->precision, &inner);
    return status == CAR_OK ? CAR_OK : blame_file(reader, status, &inner);
}

/* ---- Reading: tensors --------------------------------------------------------------------------------- */

static void print_shape(char *out, size_t capacity, int rank, const size_t *shape) {
    int length = snprintf(out, capacity, "[");
    for (int i = 0; i < rank && length > 0 && (size_t)length < capacity; i++)
        length +=
            snprintf(out + length, capacity - (size_t)length, "%s%zu", i ? ", " : "", shape[i]);
    if (length > 0 && (size_t)length < capacity)
        snprintf(out + length, capacity - (size_t)length, "]");
}

/* A tensor that the net asks for. */
typedef struct wanted_tensor {
    const char *name;
    int rank;
    const size_t *shape;
    car_dtype dtype;
} wanted_tensor;

static car_status check_tensor(const model_reader *reader, wanted_tensor wanted) {
    const car_tensor *tensor = car_container_find(reader->container, wanted.name);
    char shape[64], found[128];
    print_shape(shape, sizeof shape, wanted.rank, wanted.shape);
    if (!tensor)
        return car_fail(reader->error, CAR_MODEL,
                        "%s: tensor %.120s %s is missing; the net asks for it", reader->origin,
                        wanted.name, shape);
    print_shape(found, sizeof found, tensor->rank, tensor->shape);
    bool fits = tensor->rank == wanted.rank && tensor->shape[0] == wanted.shape[0] &&
                (wanted.rank == 1 || tensor->shape[1] == wanted.shape[1]);
    if (!fits)
        return car_fail(reader->error, CAR_MODEL,
                        "%s: tensor %.120s is %s, but the net asks for %s", reader->origin,
                        wanted.name, found, shape);
    if (tensor->dtype != wanted.dtype)
        return car_fail(reader->error, CAR_MODEL, "%s: tensor %.120s is %s, but only %s is read",
                        reader->origin, wanted.name, car_dtype_name(tensor->dtype),
                        car_dtype_name(wanted.dtype));
    return CAR_OK;
}

/* Whole numbers -127..127, their scales finite and not negative. */
static car_status check_whole(const model_reader *reader, const car_tensor_place *place,
                              const char *scale_name) {
    const int8_t *values = car_container_find(reader->container, place->name)->data;
    const float *scales = car_container_find(reader->container, scale_name)->data;
    for (size_t row = 0; row < place->shape[0]; row++) {
        if (!(scales[row] >= 0) || !isfinite(scales[row]))
            return car_fail(reader->error, CAR_MODEL,
                            "%s: tensor %.120s is %g in row %zu; a scale is a number from 0 up",
                            reader->origin, scale_name, (double)scales[row], row);
        for (size_t k = 0; k < place->shape[1]; k++)
            if (values[row * place->shape[1] + k] < -CAR_INTEGER_MOST)
                return car_fail(reader->error, CAR_MODEL,
                                "%s: tensor %.120s holds -128 in row %zu; only -127 to 127 is read",
                                reader->origin, place->name, row);
    }
    return CAR_OK;
}

static car_status check_place(const model_reader *reader, const car_model *model,
                              const car_tensor_place *place) {
    const bool whole = is_whole(model, place);
    const wanted_tensor values = {place->name, place->rank, place->shape, whole ? CAR_I8 : CAR_F32};
    CAR_TRY(check_tensor(reader, values));
    if (!whole)
        return CAR_OK;
    char name[NAME_BYTES];
    name_scale(name, place);
    CAR_TRY(check_tensor(reader, (wanted_tensor){name, 1, place->shape, CAR_F32}));
    return check_whole(reader, place, name);
}

static bool is_expected(const car_model *model, const char *name) {
    for (int i = 0; i < model->tensor_count; i++) {
        char scale[NAME_BYTES];
        name_scale(scale, &model->tensors[i]);
        if (strcmp(model->tensors[i].name, name) == 0 ||
            (is_whole(model, &model->tensors[i]) && strcmp(scale, name) == 0))
            return true;
    }
    return false;
}

static car_status check_tensors(const model_reader *reader, const car_model *model) {
    for (int i = 0; i < model->tensor_count; i++)
        CAR_TRY(check_place(reader, model, &model->tensors[i]));
    for (int i = 0; i < car_container_tensor_count(reader->container); i++) {
        const car_tensor *tensor = car_container_tensor(reader->container, i);
        if (strncmp(tensor->name, TRAINER_KEY, strlen(TRAINER_KEY)) == 0 ||
            is_expected(model, tensor->name))
            continue;
        char found[128];
        print_shape(found, sizeof found, tensor->rank, tensor->shape);
        return car_fail(
            reader->error, CAR_MODEL,
            "%s: tensor %.120s %s has no place in the net; take it away or change the net",
            reader->origin, tensor->name, found);
    }
    return CAR_OK;
}

/* ---- Reading: values ---------------------------------------------------------------------------------- */

static const void *data_of(const model_reader *reader, const char *name) {
    return car_container_find(reader->container, name)->data;
}

/* A tensor of rank 1 of the model at hand as the outside sees it, and back. */
static void get_vector(const car_model *model, int index, float *values) {
    if (model->weights)
        car_model_unpack(model, index, model->weights, values);
    else
        car_model_int8_get_vector(model, index, values);
}

static void set_vector(car_model *model, int index, const float *values) {
    if (model->weights)
        car_model_pack(model, index, values, model->weights);
    else
        car_model_int8_set_vector(model, index, values);
}

static car_status not_zero(const model_reader *reader, const car_model *model, int index,
                           int block) {
    const car_tensor_place *place = &model->tensors[index];
    int units = model->layers[place->layer].size.units;
    return car_fail(reader->error, CAR_MODEL,
                    "%s: tensor %.120s must be 0 in rows %d to %d: the cell has no such parameter",
                    reader->origin, place->name, block * units, (block + 1) * units - 1);
}

/* Adds block `block` of tensor `index` of the file to the same block of its sibling. */
static car_status add_to_sibling(const model_reader *reader, car_model *model, int index, int block,
                                 const float *values) {
    const car_tensor_place *place = &model->tensors[index];
    int units = model->layers[place->layer].size.units;
    if (place->sibling < 0 || model->tensors[place->sibling].blocks[block] < 0)
        return not_zero(reader, model, index, block);
    size_t floats = car_model_tensor_floats(model, place->sibling);
    float *sum = car_allocate(model->allocator, floats, sizeof *sum);
    if (!sum)
        return no_memory(reader->origin, reader->error);
    get_vector(model, place->sibling, sum);
    for (int k = 0; k < units; k++)
        sum[block * units + k] += values[block * units + k];
    set_vector(model, place->sibling, sum);
    car_release(model->allocator, sum);
    return CAR_OK;
}

static bool has_values(const float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (values[i] != 0)
            return true;
    return false;
}

static bool has_bytes(const char *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (values[i] != 0)
            return true;
    return false;
}

static car_status read_zero_blocks(const model_reader *reader, car_model *model, int index) {
    const car_tensor_place *place = &model->tensors[index];
    const size_t block = (size_t)model->layers[place->layer].size.units * place->shape[1];
    const char *values = data_of(reader, place->name);
    for (int b = 0; b < place->count; b++) {
        if (place->blocks[b] >= 0)
            continue;
        if (is_whole(model, place)) {
            if (has_bytes(values + (size_t)b * block, block))
                return not_zero(reader, model, index, b);
        } else if (has_values((const float *)(const void *)values + (size_t)b * block, block)) {
            CAR_TRY(add_to_sibling(reader, model, index, b, (const float *)(const void *)values));
        }
    }
    return CAR_OK;
}

static void read_tensor(const model_reader *reader, car_model *model, int index) {
    const car_tensor_place *place = &model->tensors[index];
    char scale[NAME_BYTES];
    name_scale(scale, place);
    if (is_whole(model, place))
        car_model_int8_set(model, index, data_of(reader, place->name), data_of(reader, scale));
    else if (place->rank == 1)
        set_vector(model, index, data_of(reader, place->name));
    else
        car_model_pack(model, index, data_of(reader, place->name), model->weights);
}

static car_status read_values(const model_reader *reader, car_model *model) {
    for (int i = 0; i < model->tensor_count; i++)
        read_tensor(reader, model, i);
    for (int i = 0; i < model->tensor_count; i++)
        if (model->tensors[i].role == CAR_TENSOR_CELL)
            CAR_TRY(read_zero_blocks(reader, model, i));
    car_model_refresh(model, 1);
    return CAR_OK;
}

static car_status read_metadata(const model_reader *reader, car_model *model) {
    for (int i = 0; i < car_container_metadata_count(reader->container); i++) {
        const char *key = car_container_metadata_key(reader->container, i);
        if (!car_model_is_own_key(key) && strncmp(key, TRAINER_KEY, strlen(TRAINER_KEY)) != 0)
            CAR_TRY(car_model_set_metadata(
                model, key, car_container_metadata(reader->container, key), reader->error));
    }
    return CAR_OK;
}

static car_status read_contents(const model_reader *reader, car_model *model, bool training) {
    car_error inner;
    CAR_TRY(check_tensors(reader, model));
    car_status status = car_model_prepare(model, &inner);
    if (status != CAR_OK)
        return blame_file(reader, status, &inner);
    CAR_TRY(read_values(reader, model));
    CAR_TRY(read_metadata(reader, model));
    return training ? car_model_prepare_training(model, reader->error) : CAR_OK;
}

static car_status read_model(const car_container *container, const char *origin, bool training,
                             const car_allocator *allocator, car_model **model, car_error *error) {
    *model = NULL;
    model_reader *reader = car_allocate(allocator, 1, sizeof *reader);
    if (!reader)
        return no_memory(origin, error);
    *reader = (model_reader){
        .container = container, .origin = origin, .allocator = allocator, .error = error};
    car_model *made = NULL;
    car_status status = read_outline(reader, &made);
    if (status == CAR_OK)
        status = read_contents(reader, made, training);
    for (int i = 0; i < reader->cell_count; i++)
        car_cell_free(reader->cells[i]);
    car_release(allocator, reader);
    if (status == CAR_OK)
        *model = made;
    else
        car_model_free(made);
    return status;
}

car_status car_model_read(const car_container *container, const char *origin,
                          const car_allocator *allocator, car_model **model, car_error *error) {
    return read_model(container, origin, true, allocator, model, error);
}

car_status car_model_load(const char *path, const car_allocator *allocator, car_model **model,
                          car_error *error) {
    car_container *container;
    *model = NULL;
    CAR_TRY(car_container_load(path, allocator, &container, error));
    car_status status = read_model(container, path, false, allocator, model, error);
    car_container_free(container);
    return status;
}
