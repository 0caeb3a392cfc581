/*
 * shards: the lanes of a batch in groups, each with a stack and, for training, a gradient of its own.
 *
 * In:  what a stack takes. Out: the same, with the gradient
 *
 *   g = (..(g_0 + g_1) + ..) + g_last       g_s: of the lanes s, s + shards, s + 2 shards, ..
 *
 * Each shard runs on a thread of its own. Threads that share a step meet at barriers and hand each other lines of their caches,
 * which costs more than another copy of the gradient while the weights are few (docs/speed.md). How many shards there
 * are follows from the model and the batch alone, never from the threads, so these change no bit; where many threads would
 * stand idle, the shards take turns and each has all of them.
 */
#include "network.h"
#include <string.h>

enum { MOST_SHARDS = 8, FEWEST_LANES = 8, FEWEST_ROWS = 256 };
/* Floats of weights that leave room in a core's second-level cache: as many shards as there are lanes for; and those above
 * which two shards gain nothing that would be worth the memory. */
static const size_t FEW_WEIGHTS = (size_t)128 << 10, MOST_WEIGHTS = (size_t)3 << 19;

typedef struct shard {
    car_stack *stack;
    float *gradient; /* [weight_floats]; NULL: the first one's, which is the caller's */
    bool idle;       /* in the present batch none of its lanes has a step */
    int64_t counted;
    double loss;
    car_status status;
    car_error error;
} shard;

struct car_shards {
    const car_model *model;
    car_stack_shape shape; /* of all lanes */
    int count;
    int side_by_side; /* threads of the team that runs them, 1: they take turns */
    shard shard[MOST_SHARDS];
};

/* ---- Memory ------------------------------------------------------------------------------------------- */

int car_shards_planned(const car_model *model, int batch, int steps) {
    const int64_t rows = (int64_t)batch * (steps / model->net->patch);
    int64_t count = model->weight_floats <= FEW_WEIGHTS ? MOST_SHARDS : 2;
    if (model->weight_floats > MOST_WEIGHTS)
        return 1;
    count = batch / FEWEST_LANES < count ? batch / FEWEST_LANES : count;
    count = rows / FEWEST_ROWS < count ? rows / FEWEST_ROWS : count;
    return count > 1 ? (int)count : 1;
}

/* With few weights a thread more for each shard would not help. */
static int threads_side_by_side(const car_model *model, const car_stack_shape *shape, int count) {
    if (count == 1 || (model->weight_floats > FEW_WEIGHTS && shape->threads >= 2 * count))
        return 1;
    return count < shape->threads ? count : shape->threads;
}

/* Shard `index` has every count-th lane. */
static car_lanes lanes_of(const car_shards *shards, int index, int batch) {
    return (car_lanes){.all = batch, .first = index, .every = shards->count};
}

static car_stack_shape shape_of(const car_stack_shape *shape, int index, const car_shards *shards) {
    const int count = shards->count;
    car_stack_shape own = *shape;
    if (count == 1)
        return own;
    own.batch = (shape->batch - index + count - 1) / count;
    own.threads = shards->side_by_side > 1 ? 1 : shape->threads;
    own.lanes = lanes_of(shards, index, shape->batch);
    return own;
}

/* Lays stacks and gradients; with base NULL it only counts. */
static void lay_shards(const car_model *model, const car_stack_shape *shape, car_layout *layout,
                       char *base, car_shards *shards) {
    shards->count = car_shards_planned(model, shape->batch, shape->steps);
    shards->side_by_side = threads_side_by_side(model, shape, shards->count);
    for (int k = 0; k < shards->count; k++) {
        const car_stack_shape own = shape_of(shape, k, shards);
        const size_t bytes = car_stack_size(model, &own);
        layout->overflow = layout->overflow || bytes == 0;
        void *memory = car_layout_take(layout, base, bytes, 1, 1);
        float *gradient =
            k > 0 && shape->backward
                ? car_layout_take(layout, base, 1, model->weight_floats, sizeof(float))
                : NULL;
        if (base)
            shards->shard[k] =
                (shard){.stack = car_stack_place(model, &own, memory), .gradient = gradient};
    }
}

size_t car_shards_size(const car_model *model, const car_stack_shape *shape) {
    car_layout layout = {0};
    car_shards counted;
    /* a place is an int, of the whole batch too */
    if (shape->batch < 1 || shape->steps < 1 ||
        (int64_t)shape->batch * shape->steps > INT32_MAX / 2)
        return 0;
    car_layout_take(&layout, NULL, 1, 1, sizeof counted);
    lay_shards(model, shape, &layout, NULL, &counted);
    return layout.overflow ? 0 : layout.size;
}

car_shards *car_shards_place(const car_model *model, const car_stack_shape *shape, void *memory) {
    car_layout layout = {0};
    car_shards *shards = car_layout_take(&layout, memory, 1, 1, sizeof *shards);
    shards->model = model;
    shards->shape = *shape;
    lay_shards(model, shape, &layout, memory, shards);
    return shards;
}

/* ---- What all of them do ------------------------------------------------------------------------------ */

typedef struct shards_call {
    car_shards *shards;
    void (*run)(const struct shards_call *call, shard *of);
    int steps;
    const int *lengths;
    const void *input, *target;
    const car_random_key *dropout;
    uint64_t time;
    int64_t counted;
    float *gradient; /* the caller's */
} shards_call;

/* Where a shard's gradient goes. */
static float *gradient_of(const shards_call *call, const shard *of) {
    return of->gradient ? of->gradient : call->gradient;
}

/* A shard always runs on the same thread, whose cache has its rows. */
static void run_task(void *argument, car_team *team, int member, int members) {
    const shards_call *call = argument;
    car_shards *shards = call->shards;
    (void)team;
    for (int k = member; k < shards->count; k += members)
        if (!shards->shard[k].idle)
            call->run(call, &shards->shard[k]);
}

/* The first shard's error where one has failed. */
static car_status run_all(shards_call *call, car_error *error) {
    car_shards *shards = call->shards;
    car_team_run(shards->side_by_side, run_task, call);
    for (int k = 0; k < shards->count; k++) {
        const shard *of = &shards->shard[k];
        if (of->idle || of->status == CAR_OK)
            continue;
        if (error)
            *error = of->error;
        return of->status;
    }
    return CAR_OK;
}

/* ---- Forward and loss --------------------------------------------------------------------------------- */

static void forward(const shards_call *call, shard *of) {
    of->status = car_stack_forward(of->stack, call->steps, call->lengths, call->input,
                                   call->dropout, call->time, &of->error);
}

static bool is_idle(const car_shards *shards, int index, const int *lengths) {
    for (int lane = index; lengths && lane < shards->shape.batch; lane += shards->count)
        if (lengths[lane] != 0)
            return false;
    return lengths != NULL;
}

car_status car_shards_forward(car_shards *shards, int steps, const int *lengths, const void *input,
                              const car_random_key *dropout, uint64_t time, car_error *error) {
    shards_call call = {.shards = shards,
                        .run = forward,
                        .steps = steps,
                        .lengths = lengths,
                        .input = input,
                        .dropout = dropout,
                        .time = time};
    for (int k = 0; k < shards->count; k++)
        shards->shard[k].idle = shards->count > 1 && is_idle(shards, k, lengths);
    return run_all(&call, error);
}

static void count_targets(const shards_call *call, shard *of) {
    of->status = car_stack_count(of->stack, call->target, &of->counted, &of->error);
}

static void add_loss(const shards_call *call, shard *of) {
    of->loss =
        car_stack_counted_loss(of->stack, call->target, call->counted, gradient_of(call, of));
}

car_status car_shards_loss(car_shards *shards, const void *target, float *gradient,
                           double *loss_sum, int64_t *counted, car_error *error) {
    shards_call call = {
        .shards = shards, .run = count_targets, .target = target, .gradient = gradient};
    CAR_TRY(run_all(&call, error));
    for (int k = 0; k < shards->count; k++)
        call.counted += shards->shard[k].idle ? 0 : shards->shard[k].counted;
    call.run = add_loss;
    CAR_TRY(run_all(&call, error));
    *loss_sum = 0;
    for (int k = 0; k < shards->count; k++)
        *loss_sum += shards->shard[k].idle ? 0 : shards->shard[k].loss;
    *counted = call.counted;
    return CAR_OK;
}

/* ---- Backward ----------------------------------------------------------------------------------------- */

static void backward(const shards_call *call, shard *of) {
    car_stack_backward(of->stack, call->input, gradient_of(call, of));
}

/* Every thread adds up its share of the weights, shard after shard. */
static void add_task(void *argument, car_team *team, int member, int members) {
    const shards_call *call = argument;
    const car_shards *shards = call->shards;
    int begin, end;
    (void)team;
    car_team_share((int)shards->model->weight_floats, CAR_BLOCK, member, members, &begin, &end);
    for (int k = 1; k < shards->count; k++)
        if (!shards->shard[k].idle)
            shards->model->kernels->add(call->gradient + begin, shards->shard[k].gradient + begin,
                                        (size_t)(end - begin));
}

void car_shards_backward(car_shards *shards, const void *input, float *gradient) {
    shards_call call = {.shards = shards, .run = backward, .input = input, .gradient = gradient};
    if (shards->shard[0].idle)
        memset(gradient, 0, shards->model->weight_floats * sizeof(float));
    car_team_run(shards->side_by_side, run_task, &call);
    if (shards->count > 1)
        car_team_run(shards->shape.threads, add_task, &call);
}

/* ---- States and lanes --------------------------------------------------------------------------------- */

int car_shards_steps(const car_shards *shards) {
    int most = 0;
    for (int k = 0; k < shards->count; k++) {
        const int steps = shards->shard[k].idle ? 0 : car_stack_rows(shards->shard[k].stack)->steps;
        most = steps > most ? steps : most;
    }
    return most;
}

int car_shards_count(const car_shards *shards) {
    return shards->count;
}

car_stack *car_shards_stack(const car_shards *shards, int index) {
    return shards->shard[index].idle ? NULL : shards->shard[index].stack;
}

int car_shards_lane(const car_shards *shards, int index, int lane) {
    const car_lanes lanes = lanes_of(shards, index, shards->shape.batch);
    return car_lane_of(&lanes, lane);
}

void car_shards_reset(car_shards *shards) {
    for (int k = 0; k < shards->count; k++)
        car_stack_reset(shards->shard[k].stack, -1);
}

void car_shards_carry(car_shards *shards) {
    for (int k = 0; k < shards->count; k++)
        if (!shards->shard[k].idle)
            car_stack_carry(shards->shard[k].stack);
}

size_t car_shards_state_floats(const car_shards *shards) {
    return car_stack_state_floats(shards->shard[0].stack);
}

void car_shards_get_state(const car_shards *shards, int lane, float *state) {
    car_stack_get_state(shards->shard[lane % shards->count].stack, lane / shards->count, state);
}

void car_shards_set_state(car_shards *shards, int lane, const float *state) {
    car_stack_set_state(shards->shard[lane % shards->count].stack, lane / shards->count, state);
}
