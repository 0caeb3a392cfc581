/*
 * nets.c: training, inference and streaming of nets of one cell.
 *
 * In:  a cell and a shape. Out: the time of a run, its FLOPs and its roofline.
 *
 *   net        CELL H xL [bi] | linear            layers alone; the head is not run
 *              embed H | CELL H xL | softmax      a whole language model
 *   training   forward, dL/dy given, backward, all in shards as a trainer does; transposed weights refreshed
 *
 * With R = T*B rows, m_x matrix elements of a layer outside the loop over time and m_h within it:
 *
 *   FLOP       forward 2 (m_x + m_h) R; weight gradients as much; input gradients 2 m_h R, and 2 m_x R but in the first
 *              layer of a net that reads values
 *   roofline   sum over the parts of max(FLOP / peak, 4 m_h T / bandwidth of what holds them; 2 in bf16, 1 in int8), where only the
 *              products within the loop, forward and backward, read their weights once a step; elementwise maths is free
 */
#include "bench.h"
#include <math.h>
#include <string.h>

enum { STREAM_STEPS = 100 };

typedef struct net_bench {
    const car_bench_shape *shape;
    int threads;
    car_model *model;
    car_session *session; /* streaming */
    car_trainer *trainer; /* a language model */
    car_shards *shards;   /* training without classes */
    car_stack *stack;     /* inference */
    void *memory;         /* of these two */
    float *input, *top, *gradient;
    bool given; /* the shards have dL/dy, which a net of one layer leaves as it is */
    int32_t *ids, *targets;
} net_bench;

/* ---- What is measured ---------------------------------------------------------------------------------- */

static car_status forward(void *context, car_error *error) {
    net_bench *bench = context;
    return car_stack_forward(bench->stack, bench->shape->steps, NULL, bench->input, NULL, 0, error);
}

/* Gives dL/dy to the shards. */
static void give_task(void *argument, car_team *team, int member, int members) {
    (void)team;
    net_bench *bench = argument;
    for (int k = member; k < car_shards_count(bench->shards); k += members) {
        car_stack *stack = car_shards_stack(bench->shards, k);
        const size_t rows = (size_t)car_rows_count(car_stack_rows(stack));
        memcpy(car_stack_top_gradient(stack), bench->top,
               rows * (size_t)car_padded(bench->model->head_depth) * sizeof(float));
    }
}

static car_status train(void *context, car_error *error) {
    net_bench *bench = context;
    CAR_TRY(
        car_shards_forward(bench->shards, bench->shape->steps, NULL, bench->input, NULL, 0, error));
    if (!bench->given)
        car_team_run(bench->threads, give_task, bench);
    bench->given = bench->shape->layers == 1;
    car_shards_backward(bench->shards, bench->input, bench->gradient);
    car_model_refresh(bench->model, bench->threads);
    return CAR_OK;
}

static car_status update(void *context, car_error *error) {
    net_bench *bench = context;
    const car_batch batch = {
        .steps = bench->shape->steps, .input = bench->ids, .target = bench->targets};
    car_step_result result;
    return car_trainer_step(bench->trainer, &batch, 0.1f, &result, error);
}

static car_status step(void *context, car_error *error) {
    net_bench *bench = context;
    return car_session_step(bench->session, bench->input, NULL, error);
}

static car_status many_steps(void *context, car_error *error) {
    for (int k = 0; k < STREAM_STEPS; k++)
        CAR_TRY(step(context, error));
    return CAR_OK;
}

/* ---- Making it ----------------------------------------------------------------------------------------- */

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "bench: out of memory; take a smaller shape");
}

static float *numbers(size_t count) {
    const car_random_key key = {.seed = 1, .purpose = CAR_RANDOM_TEST};
    float *x = car_allocate(NULL, count, sizeof *x);
    for (size_t k = 0; x && k < count; k++)
        x[k] = car_random_uniform(key, 0, k) - 0.5f;
    return x;
}

static car_status make_model(net_bench *bench, const car_bench_machine *machine,
                             const car_cell *cell, int input, car_error *error) {
    const car_bench_shape *shape = bench->shape;
    char text[CAR_NET_TEXT_LIMIT / 64], embed[32] = "";
    if (shape->classes)
        snprintf(embed, sizeof embed, "embed %d | ", input);
    snprintf(text, sizeof text, "%s%s %d x%d%s | %s", embed, car_cell_name(cell), shape->units,
             shape->layers, shape->bidirectional ? " bi" : "",
             shape->classes ? "softmax" : "linear");
    const char *name = car_precision_name(machine->precision);
    const bool int8 = machine->precision == CAR_PRECISION_INT8;
    const car_model_options options = {.input_size = shape->classes ? shape->classes : input,
                                       .output_size = shape->classes ? shape->classes : 1,
                                       .seed = 1,
                                       .precision = int8 ? NULL : name};
    car_net *net = NULL;
    CAR_TRY(car_net_parse(text, &cell, 1, NULL, &net, error));
    car_status status = car_model_create(net, &options, NULL, &bench->model, error);
    car_net_free(net);
    if (status == CAR_OK && int8) {
        car_model *made = bench->model;
        bench->model = NULL;
        status = car_model_convert(made, name, NULL, &bench->model, error);
        car_model_free(made);
    }
    /* a cell of one's own, as whatever trains and runs it does; where that fails, the interpreter is measured */
    if (status == CAR_OK)
        (void)car_model_compile_native(bench->model, NULL);
    return status;
}

static car_status make_trainer(net_bench *bench, car_error *error) {
    const car_bench_shape *shape = bench->shape;
    const car_trainer_options options = {.batch = shape->batch,
                                         .steps = shape->steps,
                                         .threads = bench->threads,
                                         .optimizer = "sgd",
                                         .clip_norm = 5};
    size_t rows = (size_t)shape->batch * (size_t)shape->steps;
    const car_random_key key = {.seed = 2, .purpose = CAR_RANDOM_TEST};
    bench->ids = car_allocate(NULL, rows, sizeof *bench->ids);
    bench->targets = car_allocate(NULL, rows, sizeof *bench->targets);
    if (!bench->ids || !bench->targets)
        return no_memory(error);
    for (size_t k = 0; k < rows; k++) {
        float classes = (float)shape->classes;
        bench->ids[k] = (int32_t)(car_random_uniform(key, 0, k) * classes);
        bench->targets[k] = (int32_t)(car_random_uniform(key, 1, k) * classes);
    }
    return car_trainer_create(bench->model, &options, NULL, &bench->trainer, error);
}

static car_status make_session(net_bench *bench, int input, car_error *error) {
    const car_session_options options = {.lanes = bench->shape->batch};
    bench->input = numbers((size_t)bench->shape->batch * (size_t)input);
    if (!bench->input)
        return no_memory(error);
    return car_session_create(bench->model, &options, NULL, &bench->session, error);
}

static car_status make_layers(net_bench *bench, int input, car_error *error) {
    const car_bench_shape *shape = bench->shape;
    bool backward = shape->kind == CAR_BENCH_TRAINING;
    size_t rows = (size_t)shape->batch * (size_t)shape->steps;
    if (backward)
        CAR_TRY(car_model_prepare_training(bench->model, error));
    const car_stack_shape size = {.batch = shape->batch,
                                  .steps = shape->steps,
                                  .threads = bench->threads,
                                  .backward = backward};
    size_t bytes =
        backward ? car_shards_size(bench->model, &size) : car_stack_size(bench->model, &size);
    if (bytes == 0)
        return no_memory(error);
    bench->input = numbers(rows * (size_t)input);
    bench->top = numbers(backward ? rows * (size_t)car_padded(bench->model->head_depth) : 0);
    bench->gradient = car_allocate(NULL, backward ? bench->model->weight_floats : 0, sizeof(float));
    bench->memory = car_allocate(NULL, bytes, 1);
    if (!bench->input || !bench->top || !bench->gradient || !bench->memory)
        return no_memory(error);
    if (backward)
        bench->shards = car_shards_place(bench->model, &size, bench->memory);
    else
        bench->stack = car_stack_place(bench->model, &size, bench->memory);
    return CAR_OK;
}

static void release(net_bench *bench) {
    car_session_free(bench->session);
    car_trainer_free(bench->trainer);
    car_model_free(bench->model);
    car_release(NULL, bench->memory);
    car_release(NULL, bench->input);
    car_release(NULL, bench->top);
    car_release(NULL, bench->gradient);
    car_release(NULL, bench->ids);
    car_release(NULL, bench->targets);
}

/* ---- Its cost ------------------------------------------------------------------------------------------ */

/* Adds a part that is run `times`: its FLOP, and the elements of weights that it reads each time. */
static void add_part(const car_bench_machine *machine, const car_bench_shape *shape, double times,
                     double flop, double elements, car_bench_result *result) {
    const bool one = shape->kind == CAR_BENCH_STREAMING;
    double compute = flop / car_bench_peak(machine, shape->kind == CAR_BENCH_TRAINING, one);
    double read = car_bench_read_seconds(machine, one, elements * car_bench_element_bytes(machine));
    result->flop += times * flop;
    result->roofline += times * fmax(compute, read);
}

static void add_costs(const car_bench_machine *machine, const net_bench *bench,
                      car_bench_result *result) {
    const car_bench_shape *shape = bench->shape;
    const double lanes = shape->batch, steps = shape->steps, rows = lanes * steps;
    const bool one = shape->kind == CAR_BENCH_STREAMING, back = shape->kind == CAR_BENCH_TRAINING;
    bool gradient_below = shape->classes > 0;
    double all = 0;
    for (int k = 0; k < bench->model->net->layer_count; k++) {
        const car_model_layer *layer = &bench->model->layers[k];
        if (!layer->plan)
            continue;
        car_plan_elements elements = car_plan_matrix_elements(layer->plan);
        double before = elements.before * layer->directions,
               loop = elements.loop * layer->directions;
        all += before + loop;
        if (one)
            continue;
        add_part(machine, shape, 1, 2 * before * rows, 0, result);
        add_part(machine, shape, steps, 2 * loop * lanes, loop, result);
        if (!back)
            continue;
        add_part(machine, shape, steps, 2 * loop * lanes, loop, result);
        add_part(machine, shape, 1, 2 * (before + loop) * rows, 0, result);
        if (gradient_below)
            add_part(machine, shape, 1, 2 * before * rows, 0, result);
        gradient_below = true;
    }
    if (one)
        add_part(machine, shape, 1, 2 * all * lanes, all, result);
    if (shape->classes)
        add_part(machine, shape, 3, 2.0 * shape->classes * bench->model->head_depth * rows, 0,
                 result);
}

/* ---- One row ------------------------------------------------------------------------------------------- */

static car_status measure(net_bench *bench, double seconds, car_bench_result *result,
                          car_error *error) {
    car_bench_times times;
    if (bench->session) {
        CAR_TRY(car_bench_measure(step, bench, seconds / 2, &times, error));
        result->p50 = times.median;
        result->p99 = times.p99;
        CAR_TRY(car_bench_measure(many_steps, bench, seconds / 2, &times, error));
        result->seconds = times.median / STREAM_STEPS;
        return CAR_OK;
    }
    bool back = bench->shape->kind == CAR_BENCH_TRAINING;
    CAR_TRY(car_bench_measure(bench->trainer ? update
                              : back         ? train
                                             : forward,
                              bench, seconds, &times, error));
    result->seconds = times.median;
    return CAR_OK;
}

car_status car_bench_net(const car_bench_machine *machine, const car_cell *cell,
                         const car_bench_shape *shape, double seconds, car_bench_result *result,
                         car_error *error) {
    int input = cell->input_is_hidden ? shape->units : shape->input;
    net_bench bench = {.shape = shape, .threads = machine->threads};
    *result = (car_bench_result){.input = input};
    car_status status = make_model(&bench, machine, cell, input, error);
    if (status == CAR_OK && shape->kind == CAR_BENCH_STREAMING)
        status = make_session(&bench, input, error);
    else if (status == CAR_OK && shape->classes)
        status = make_trainer(&bench, error);
    else if (status == CAR_OK)
        status = make_layers(&bench, input, error);
    if (status == CAR_OK)
        status = measure(&bench, seconds, result, error);
    if (status == CAR_OK)
        add_costs(machine, &bench, result);
    release(&bench);
    return status;
}
