/*
 * layer.c: the memory of a plan for T steps of B lanes, and where each place stands in it.
 *
 * One block holds everything; car_layer_size and car_layer_place walk through it in the same way. The buffers are
 * those of inside.h's regions; how a call uses them is in run.c.
 *
 * A buffer holds the rows of car_rows, [T][B] when they are even. In a layer that only runs forward what passes within a step,
 * sums, kept values and means, has the rows of one chunk alone, [chunk][B], which each chunk writes over (`origin`). What the
 * backward loop leaves for what follows a stretch of it has those of two stretches (`stretch_first`): while one thread still sums
 * the rows of a stretch, another one is at most in the loop of the next. States have a
 * slot more than there are steps: slot 0 holds active(0) rows, slot t+1 as many as ran at step t. Forward, step t reads slot t and
 * writes slot t+1; reverse it reads slot t+1 and writes slot t, and a lane's start state waits in the slot above its own last step.
 */
#include "inside.h"
#include <math.h>
#include <string.h>

/* One sequence alone: from this size on, half of a step's product saves more time than a barrier takes. */
static const size_t SHARED_WEIGHTS = 128 << 10;
/* One sequence alone, whose loop is one thread's: with more inputs than this its sums before the loop take longer to make than
 * to fetch from the cache of another thread that has made half of them. */
static const int LONE_INPUTS = 32;
/* Sums of the phase before the loop that are written before the loop reads them again, from the second-level cache. */
static const size_t CHUNK_BYTES = 512 << 10;
/* What the backward loop leaves before it is read again, likewise; of all threads together. */
static const size_t STRETCH_BYTES = 1 << 20;
/* Fewer rows than this in either would read a product's weights too often. */
enum { LEAST_ROWS = 128 };

/* Hands out arrays of a block in order; with memory NULL it only counts. */
typedef struct arranger {
    char *memory;
    car_layout layout;
} arranger;

static void *take(arranger *arrange, size_t count, size_t size) {
    return car_layout_take(&arrange->layout, arrange->memory, count, 1, size);
}

static float *take_floats(arranger *arrange, size_t a, size_t b, size_t c) {
    size_t rows;
    if (!car_multiply(a, b, &rows)) {
        arrange->layout.overflow = true;
        return NULL;
    }
    return car_layout_take(&arrange->layout, arrange->memory, rows, c, sizeof(float));
}

static float **take_arrays(arranger *arrange, int arrays, size_t a, size_t b, size_t c) {
    float **list = take(arrange, (size_t)arrays + 1, sizeof(float *));
    for (int k = 0; k < arrays; k++) {
        float *array = take_floats(arrange, a, b, c);
        if (list)
            list[k] = array;
    }
    return list;
}

/* Arrays of [rows][width]; where a thread has its own, [threads][those arrays][own_rows][width]. All of a thread lie
 * together and far from those of the others, for a processor reads on beyond what is asked for, and would take lines away
 * that another one is about to write. Sets the floats from a thread's to the next one's. */
static float **take_own(arranger *arrange, int arrays, const bool *own,
                        const car_layer_shape *shape, size_t rows, size_t own_rows, size_t width,
                        int64_t *member_stride) {
    enum { APART = 1024 };
    float **list = take(arrange, (size_t)arrays + 1, sizeof(float *));
    size_t count = 0, floats = 0;
    for (int k = 0; k < arrays; k++)
        count += own[k];
    if (!car_multiply(own_rows, width, &floats) || !car_multiply(count, floats, &floats))
        arrange->layout.overflow = true;
    const size_t thread = floats + (shape->threads > 1 && count ? APART : 0);
    float *next = take_floats(arrange, (size_t)shape->threads, thread, 1);
    for (int k = 0; k < arrays; k++) {
        float *shared = own[k] ? NULL : take_floats(arrange, rows, width, 1);
        if (!list)
            continue;
        list[k] = own[k] ? next : shared;
        next += own[k] ? own_rows * width : 0;
    }
    *member_stride = (int64_t)thread;
    return list;
}

/* Arrays of [steps][batch][padded], those that are brief of [batch][padded] for each thread. */
static float **take_values(arranger *arrange, int arrays, const bool *brief,
                           const car_layer_shape *shape, size_t steps, size_t padded,
                           int64_t *member_stride) {
    const size_t batch = (size_t)shape->batch;
    return take_own(arrange, arrays, brief, shape, steps * batch, batch, padded, member_stride);
}

/* Arrays of [steps][batch], whole cache lines. */
static float **take_means(arranger *arrange, int arrays, const bool *own,
                          const car_layer_shape *shape, size_t steps, int64_t *member_stride) {
    const size_t lines = (steps * (size_t)shape->batch + CAR_BLOCK - 1) / CAR_BLOCK;
    return take_own(arrange, arrays, own, shape, lines, lines, CAR_BLOCK, member_stride);
}

static void take_stages(arranger *arrange, const car_plan *plan, const car_layer_shape *shape,
                        car_layer *layer) {
    enum { SLOTS_APART = 16 }; /* six cache lines: each thread writes where its own are at a step */
    for (int phase = 0; phase < CAR_PHASES; phase++) {
        const size_t stages = (size_t)plan->stage_count[phase];
        car_stage_call *list = take(arrange, stages + 1, sizeof *list);
        for (size_t s = 0; s < stages; s++) {
            const car_stage *stage = &plan->stages[phase][s];
            const size_t slots = (size_t)stage->slot_count + 1;
            const size_t stride = slots + (shape->threads > 1 ? SLOTS_APART : 0);
            const car_stage_call call = {
                .bound = take(arrange, slots, sizeof *call.bound),
                .slots = take(arrange, stride * (size_t)shape->threads, sizeof *call.slots),
                .slot_stride = (int)stride,
                .moving = take(arrange, slots, sizeof *call.moving),
                .means = take(arrange, (size_t)stage->mean_count + 1, sizeof *call.means)};
            if (layer)
                list[s] = call;
        }
        if (layer)
            layer->stages[phase] = list;
    }
    car_group_call *calls = take(arrange, (size_t)plan->group_count + 1, sizeof *calls);
    if (layer)
        layer->calls = calls;
}

/* Rows of the transposed operand; not a multiple of 4 KiB, or all of them would fall in one cache set. */
static size_t operand_row_stride(size_t rows) {
    size_t stride = (rows + CAR_BLOCK - 1) / CAR_BLOCK * CAR_BLOCK;
    return stride % 1024 == 0 ? stride + CAR_BLOCK : stride;
}

/* So many rows as a number of bytes holds, but enough for a product. */
static size_t rows_in(size_t bytes, size_t row, size_t least) {
    return bytes / row > least ? bytes / row : least;
}

/* Steps of one round behind the backward loop: of `rows` rows in all, in rounds that are alike. */
static int steps_of_round(int steps, int64_t rows) {
    const int rounds = (int)((rows + CAR_GRADIENT_ROWS - 1) / CAR_GRADIENT_ROWS);
    return rounds > 0 ? (steps + rounds - 1) / rounds : steps;
}

/* AMX multiplies faster than weights come from the last-level cache: with as many rows as the operand has values they take no
 * longer than the sums would. */
static size_t least_rows_of_stretch(const car_plan *plan) {
    const bool tiles = plan->kernels && plan->kernels->product_tiles;
    int least = LEAST_ROWS;
    for (int g = 0; g < plan->group_count && tiles; g++) {
        const car_group *group = &plan->groups[g];
        if (group->has_back && group->back_when.phase == CAR_PHASE_BACK_AFTER &&
            group->depth > least)
            least = group->depth;
    }
    return (size_t)least;
}

/* Steps of a stretch of the backward loop: those of a round in parts that are alike. */
static int stretch_of(const car_plan *plan, const car_layer_shape *shape) {
    int arrays = plan->gates;
    for (int k = 0; k < plan->work_count; k++)
        arrays += !plan->work_brief[k];
    const size_t rows =
        rows_in(STRETCH_BYTES, (size_t)arrays * (size_t)plan->padded * sizeof(float) + 1,
                least_rows_of_stretch(plan));
    const int round = steps_of_round(shape->steps, (int64_t)shape->steps * shape->batch);
    const int64_t stretches = (int64_t)round * shape->batch / (int64_t)rows;
    return stretches > 1 ? (int)((round + stretches - 1) / stretches) : round > 0 ? round : 1;
}

/* Most rows of one round behind the backward loop: the steps of its rounds are alike, rounded up. */
static int gradient_rows(const car_layer_shape *shape) {
    const int64_t all = (int64_t)shape->steps * shape->batch,
                  most = (int64_t)CAR_GRADIENT_ROWS + shape->batch;
    return (int)(all < most ? all : most);
}

/* Floats of scratch that a thread's products need, whole cache lines. */
static size_t scratch_floats(const car_plan *plan, const car_layer_shape *shape) {
    size_t most = 0;
    for (int g = 0; g < plan->group_count; g++) {
        const car_group *group = &plan->groups[g];
        const size_t floats =
            car_matrix_scratch(&(car_matrix_use){.precision = plan->precision,
                                                 .training = plan->training,
                                                 .backward = shape->backward,
                                                 .splits = group->splits,
                                                 .depth = group->depth,
                                                 .outputs = group->gate_span * plan->padded,
                                                 .rows = shape->steps * shape->batch,
                                                 .met = gradient_rows(shape)});
        most = floats > most ? floats : most;
    }
    if (plan->precision == CAR_PRECISION_BF16 && plan->joined >= 0) {
        const size_t both = car_product_scratch(1, plan->groups[plan->joined].depth) +
                            car_product_scratch(1, car_plan_group_before(plan)->depth);
        most = both > most ? both : most;
    }
    return (most + CAR_BLOCK - 1) / CAR_BLOCK * CAR_BLOCK;
}

static void take_backward(arranger *arrange, const car_plan *plan, const car_layer_shape *shape,
                          car_layer *layer) {
    size_t steps = (size_t)shape->steps, batch = (size_t)shape->batch,
           padded = (size_t)plan->padded;
    const int met = gradient_rows(shape);
    size_t depth = 1, blocks = 1, stride = operand_row_stride((size_t)met);
    for (int g = 0; g < plan->group_count; g++) {
        if ((size_t)plan->groups[g].depth > depth)
            depth = (size_t)plan->groups[g].depth;
        if ((size_t)plan->groups[g].blocks > blocks)
            blocks = (size_t)plan->groups[g].blocks;
    }
    int64_t work_stride, work_mean_stride;
    float **state_gradient = take_arrays(arrange, plan->cell->state_count, 2, batch, padded);
    const int stretch = stretch_of(plan, shape);
    const size_t held = stretch == shape->steps ? steps : 2 * (size_t)stretch;
    float **work =
        take_values(arrange, plan->work_count, plan->work_brief, shape, held, padded, &work_stride);
    float **work_mean = take_means(arrange, plan->work_mean_count, plan->work_mean_own, shape, held,
                                   &work_mean_stride);
    int *stretch_first = take(arrange, steps, sizeof *stretch_first);
    float *operand = take_floats(arrange, depth, stride, 1);
    float *unasked = take_floats(arrange, plan->input_gradient_stored ? steps : 0, batch,
                                 (size_t)car_shape_row_stride(plan->input));
    size_t panel_rows = (size_t)(plan->precision == CAR_PRECISION_BF16 ? car_pairs(met) : met);
    float *panels = take_floats(arrange, (blocks + CAR_PANEL_BLOCKS - 1) / CAR_PANEL_BLOCKS,
                                panel_rows, CAR_PANEL);
    if (!layer)
        return;
    layer->state_gradient = state_gradient;
    layer->work = work;
    layer->work_mean = work_mean;
    layer->stretch = stretch;
    layer->stretch_first = stretch_first;
    layer->own_stride[CAR_REGION_WORK] = work_stride;
    layer->own_stride[CAR_REGION_WORK_MEAN] = work_mean_stride;
    layer->operand_transposed = operand;
    layer->operand_row_stride = (int64_t)stride;
    layer->gradient_panels = panels;
    layer->unasked_input_gradient = unasked;
}

/* Steps of one round of the phase before the loop. */
static int chunk_of(const car_plan *plan, const car_layer_shape *shape) {
    const size_t rows = rows_in(
        CHUNK_BYTES, (size_t)plan->gates * (size_t)plan->padded * sizeof(float) + 1, LEAST_ROWS);
    const size_t chunk = (rows + (size_t)shape->batch - 1) / (size_t)shape->batch;
    return chunk < (size_t)shape->steps ? (int)chunk : shape->steps;
}

/* Whether what a step works out on its way to the next states is dead behind its chunk: nothing goes back through it, and no
 * tap nor the output shows it. */
static bool is_passing(const car_plan *plan, const car_layer_shape *shape) {
    return !shape->backward && plan->tap_count == 0 && plan->output.region == CAR_REGION_STATE;
}

/* The whole walk. With memory NULL nothing is written and the size is in arrange->layout. */
static car_layer *arrange_layer(arranger *arrange, const car_plan *plan,
                                const car_layer_shape *shape) {
    size_t steps = (size_t)shape->steps, batch = (size_t)shape->batch,
           padded = (size_t)plan->padded;
    const size_t kept_steps = is_passing(plan, shape) ? (size_t)chunk_of(plan, shape) : steps;
    car_layer *layer = take(arrange, 1, sizeof *layer);
    int states = plan->cell->state_count;
    int64_t kept_stride, mean_stride;
    float **state = take_arrays(arrange, states, steps + 1, batch, padded);
    float **start = take_arrays(arrange, states, 1, batch, padded);
    float **kept = take_values(arrange, plan->kept_count, plan->kept_brief, shape, kept_steps,
                               padded, &kept_stride);
    float **mean =
        take_means(arrange, plan->mean_count, plan->mean_own, shape, kept_steps, &mean_stride);
    float *sums = take_floats(arrange, kept_steps, batch, (size_t)plan->gates * padded);
    float *scratch = take_floats(arrange, (size_t)shape->threads, scratch_floats(plan, shape), 1);
    if (layer) {
        layer->state = state;
        layer->start = start;
        layer->kept = kept;
        layer->mean = mean;
        layer->own_stride[CAR_REGION_KEPT] = kept_stride;
        layer->own_stride[CAR_REGION_MEAN] = mean_stride;
        layer->sums = sums;
        layer->scratch = scratch;
        layer->scratch_floats = scratch_floats(plan, shape);
    }
    if (shape->backward)
        take_backward(arrange, plan, shape, layer);
    take_stages(arrange, plan, shape, layer);
    car_rows counted;
    car_rows_lay(layer ? &layer->own_rows : &counted, shape->batch, shape->steps, &arrange->layout,
                 arrange->memory);
    return layer;
}

size_t car_layer_size(const car_plan *plan, const car_layer_shape *shape) {
    arranger arrange = {0};
    size_t rows;
    if (shape->batch < 1 || shape->steps < 1 ||
        !car_multiply((size_t)shape->batch, (size_t)shape->steps, &rows) || rows > INT32_MAX / 2)
        return 0;
    arrange_layer(&arrange, plan, shape);
    return arrange.layout.overflow ? 0 : arrange.layout.size;
}

static void choose_split(car_layer *layer) {
    const car_plan *plan = layer->plan;
    size_t recurrent = 0;
    int inputs = 0;
    for (int g = 0; g < plan->group_count; g++)
        if (plan->groups[g].when.phase == CAR_PHASE_LOOP)
            recurrent +=
                (size_t)plan->groups[g].blocks * CAR_BLOCK * (size_t)plan->groups[g].depth * 4;
        else
            inputs += plan->groups[g].depth;
    /* Weights that stay in a core's cache: threads share the lanes and need no barrier. Above it each thread keeps its own part of
     * the weights and they meet once a stage. */
    bool lanes_suffice = layer->shape.batch >= 2 * layer->shape.threads &&
                         recurrent <= layer->kernels->cached_weights;
    bool worth_it = layer->shape.batch > 1 || recurrent > SHARED_WEIGHTS;
    layer->by_units = layer->shape.threads > 1 && recurrent > 0 && !lanes_suffice && worth_it &&
                      plan->all_mean_count == 0 && plan->blocks >= layer->shape.threads;
    if (layer->shape.batch == 1 && recurrent > 0 && !layer->by_units && !layer->shape.backward &&
        inputs <= LONE_INPUTS)
        layer->shape.threads = 1;
}

car_layer *car_layer_place(const car_plan *plan, const car_layer_shape *shape,
                           const car_kernels *kernels, void *memory) {
    arranger arrange = {.memory = memory};
    car_layer *layer = arrange_layer(&arrange, plan, shape);
    layer->plan = plan;
    layer->kernels = kernels;
    layer->multiply = car_product_of(kernels, plan->precision, plan->training);
    layer->shape = *shape;
    layer->rows = &layer->own_rows;
    layer->whole = (car_part){{0, shape->batch}, {0, plan->blocks}};
    layer->chunk = chunk_of(plan, shape);
    layer->passing = is_passing(plan, shape);
    choose_split(layer);
    car_layer_reset(layer, -1);
    return layer;
}

/* ---- Binding places to memory ------------------------------------------------------------------------- */

static car_bound rows_of(const car_layer *layer, float *base, int64_t row_stride) {
    return (car_bound){base, layer->rows->first, row_stride, CAR_BLOCK, 0, 0};
}

/* Rows of the present chunk alone, where what they hold is passing: `origin` stands first. */
static car_bound chunk_rows_of(const car_layer *layer, float *base, int64_t row_stride) {
    return rows_of(layer, base - layer->bound.origin * row_stride, row_stride);
}

/* Of what the backward loop leaves: rows of two stretches by turns. */
static car_bound stored_rows_of(const car_layer *layer, float *base, int64_t row_stride,
                                car_region region) {
    if (region == CAR_REGION_WORK || region == CAR_REGION_WORK_MEAN)
        return (car_bound){base, layer->stretch_first, row_stride, CAR_BLOCK, 0, 0};
    return chunk_rows_of(layer, base, row_stride);
}

/* A value that the next step overwrites has the same rows at every step. */
static car_bound value_of(const car_layer *layer, float *base, bool brief, car_region region) {
    const int64_t padded = layer->plan->padded;
    return brief ? (car_bound){base, NULL, padded, CAR_BLOCK, 0, layer->own_stride[region]}
                 : stored_rows_of(layer, base, padded, region);
}

static car_bound mean_of(const car_layer *layer, float *base, bool own, car_region region) {
    car_bound bound = stored_rows_of(layer, base, 1, region);
    bound.block_stride = 0;
    bound.member_stride = own ? layer->own_stride[region] : 0;
    return bound;
}

/* Slot t of a state begins at row first[t-1] behind slot 0, slot t+1 at row first[t]. */
static car_bound states_of(const car_layer *layer, int state, bool after) {
    int64_t padded = layer->plan->padded;
    bool next = after != layer->shape.reverse;
    car_bound bound = rows_of(layer, layer->state[state] - layer->rows->first[-1] * padded, padded);
    bound.first -= next ? 0 : 1;
    return bound;
}

car_bound car_layer_bind(const car_layer *layer, car_place place) {
    const car_plan *plan = layer->plan;
    int64_t padded = plan->padded, step = layer->shape.batch * padded;
    car_bound bound = {0};
    switch (place.region) {
    case CAR_REGION_INPUT: /* only read */
        return rows_of(layer, (float *)layer->input, layer->input_stride);
    case CAR_REGION_STATE:
        return states_of(layer, place.index, place.after);
    case CAR_REGION_SUMS:
        bound = chunk_rows_of(layer, layer->sums + (int64_t)place.index * CAR_BLOCK,
                              plan->gates * padded);
        bound.block_stride = (int64_t)plan->gates * CAR_BLOCK;
        return bound;
    case CAR_REGION_KEPT:
        return value_of(layer, layer->kept[place.index], plan->kept_brief[place.index],
                        place.region);
    case CAR_REGION_MEAN:
        return mean_of(layer, layer->mean[place.index], plan->mean_own[place.index], place.region);
    case CAR_REGION_VECTOR: /* only read */
        return (car_bound){
            (float *)layer->weights + plan->vector_offset[place.index], NULL, 0, CAR_BLOCK, 0, 0};
    case CAR_REGION_OUTPUT_GRADIENT: /* only read */
        return rows_of(layer, (float *)layer->output_gradient, padded);
    case CAR_REGION_STATE_GRADIENT:
        bound = (car_bound){layer->state_gradient[place.index], NULL, padded, CAR_BLOCK, step, 0};
        if (!place.after) {
            bound.base += step;
            bound.parity_stride = -step;
        }
        return bound;
    case CAR_REGION_INPUT_GRADIENT:
        return rows_of(layer, layer->input_gradient, car_shape_row_stride(plan->input));
    case CAR_REGION_WORK:
        return value_of(layer, layer->work[place.index], plan->work_brief[place.index],
                        place.region);
    case CAR_REGION_WORK_MEAN:
        return mean_of(layer, layer->work_mean[place.index], plan->work_mean_own[place.index],
                       place.region);
    case CAR_REGION_NONE:
        break;
    }
    return bound;
}

/* Does row first[t] of a place, counted through all steps, lie elsewhere from step to step? That of a value which the next step
 * or stretch overwrites does, and of states, where a lane has ended: before a step they stand in the rows of the step before. */
static bool moves(const car_layer *layer, const car_bound *bound) {
    const car_rows *rows = layer->rows;
    const bool along =
        bound->first == rows->first || (bound->first == rows->first - 1 && rows->even);
    return bound->parity_stride != 0 || (bound->row_stride != 0 && !along);
}

static void bind_stage(const car_layer *layer, const car_stage *stage, car_stage_call *call) {
    call->moving_count = 0;
    for (int k = 0; k < stage->slot_count; k++) {
        const car_bound bound = car_layer_bind(layer, stage->slots[k]);
        call->bound[k] = bound;
        if (moves(layer, &bound))
            call->moving[call->moving_count++] = k;
        for (int member = 0; member < layer->shape.threads; member++)
            call->slots[member * call->slot_stride + k] = (car_vector_slot){
                car_bound_own(&bound, 0, 0, member), bound.row_stride, bound.block_stride};
    }
    for (int m = 0; m < stage->mean_count; m++) {
        const car_mean *mean = &stage->means[m];
        call->means[m] = (car_mean_call){
            car_layer_bind(layer, mean->source),  car_layer_bind(layer, mean->weight),
            car_layer_bind(layer, mean->target),  car_layer_bind(layer, mean->variance),
            car_layer_bind(layer, mean->inverse), mean->epsilon};
    }
}

static void bind_phase(car_layer *layer, car_phase phase) {
    for (int s = 0; s < layer->plan->stage_count[phase]; s++)
        bind_stage(layer, &layer->plan->stages[phase][s], &layer->stages[phase][s]);
}

static void bind_group(car_layer *layer, const car_group *group, car_group_call *call) {
    const car_plan *plan = layer->plan;
    const bool input = group->operand_place.region == CAR_REGION_INPUT;
    const int parts = input ? plan->input.parts : 1;
    const int64_t row = (int64_t)plan->gates * plan->padded;
    call->operand = car_layer_bind(layer, group->operand_place);
    call->moves = moves(layer, &call->operand);
    call->product[0] = (car_product){
        .a = car_bound_at(&call->operand, 0, 0),
        .a_row_stride = call->operand.row_stride,
        .parts = parts,
        .part_length = group->depth / parts,
        .part_stride = input ? car_shape_part_stride(plan->input) : 0,
        .panels = layer->weights + group->running,
        .blocks = group->blocks,
        .block = group->block,
        .half_blocks = group->half_blocks,
        .initial = layer->weights,
        .c = layer->sums - layer->bound.origin * row,
        .c_row_stride = row,
        .bounded = group->bounded,
    };
    call->product[1] = call->product[0];
    call->product[1].descending = true;
}

/* Makes x's product a part of the first one in the loop. */
static void join_groups(car_layer *layer) {
    const car_plan *plan = layer->plan;
    for (int k = 0; k < 2; k++)
        layer->calls[plan->joined].product[k].before =
            &layer->calls[car_plan_group_before(plan) - plan->groups].product[k];
}

/* Whether nothing of a step of the loop is to be found out: one product, one emitted program, all of whose places stay. */
static bool is_straight(const car_layer *layer) {
    const car_stage *stage = layer->plan->stages[CAR_PHASE_LOOP];
    return stage->alone && car_layer_function(layer, stage) &&
           !layer->calls[stage->groups[0]].moves &&
           layer->stages[CAR_PHASE_LOOP]->moving_count == 0;
}

static car_row_factor factor_of(const car_product *product) {
    return (car_row_factor){product->a, product->panels, product->a_row_stride,
                            product->part_length};
}

/* What a column block of a product begins with, in each block of units. */
static car_vector_slot start_of(const car_layer *layer, const car_product *product, int block) {
    static const float zeros[CAR_BLOCK];
    const car_product_block *of = &product->block[block];
    if (of->initial == CAR_FROM_ZERO)
        return (car_vector_slot){(float *)zeros, 0, 0};
    if (of->initial == CAR_FROM_C)
        return (car_vector_slot){product->c + of->c, product->c_row_stride,
                                 (int64_t)layer->plan->gates * CAR_BLOCK};
    return (car_vector_slot){(float *)product->initial + of->initial, 0, CAR_BLOCK};
}

/* Whether the loop may run by its row function. That leaves no sums behind, so not in training. Weights that do not stay in a
 * core's second-level cache come faster two panels at a time (docs/speed.md). */
static bool may_run_rows(const car_layer *layer, const car_product *product) {
    enum { MOST_WEIGHTS = 128 * 1024 };
    const int threads = layer->by_units ? layer->shape.threads : 1;
    const bool pairs = layer->plan->precision == CAR_PRECISION_BF16;
    const int values = product->part_length + (product->before ? product->before->part_length : 0),
              depth = pairs ? car_pairs(values) : values;
    return layer->shape.batch == 1 && (!pairs || layer->kernels->pair_dot) &&
           !layer->plan->training && (!product->before || product->before->parts == 1) &&
           (int64_t)depth * product->blocks * CAR_BLOCK / threads <= MOST_WEIGHTS;
}

static void bind_row(car_layer *layer) {
    const car_stage *stage = layer->plan->stages[CAR_PHASE_LOOP];
    layer->row = NULL;
    if (!layer->straight || !stage->row)
        return;
    const car_product *product = layer->calls[stage->groups[0]].product;
    const car_product *first = product->before ? product->before : product;
    if (!may_run_rows(layer, product))
        return;
    layer->row = stage->row;
    for (int i = 0; i < stage->alone->count; i++)
        layer->row_call.start[i] = start_of(layer, first, i);
    layer->row_call.hidden = factor_of(product);
    layer->row_call.input = product->before ? factor_of(product->before) : (car_row_factor){0};
    layer->row_call.units = layer->plan->units;
}

/* Binds both forward phases and the groups for what layer->bound says. */
static void bind_calls(car_layer *layer) {
    bind_phase(layer, CAR_PHASE_BEFORE);
    bind_phase(layer, CAR_PHASE_LOOP);
    for (int g = 0; g < layer->plan->group_count; g++)
        bind_group(layer, &layer->plan->groups[g], &layer->calls[g]);
    if (car_layer_joins(layer))
        join_groups(layer);
    layer->straight = is_straight(layer);
    bind_row(layer);
}

/* All but where their rows of c are. */
static void bind_transposed(const car_layer *layer, const car_group *group, car_group_call *call) {
    const car_plan *plan = layer->plan;
    const bool all = group->gate_span == plan->gates;
    const int64_t unit_block = (int64_t)plan->gates * CAR_BLOCK;
    call->target = car_layer_bind(layer, group->back_place);
    call->transposed = (car_product){
        .a = layer->sums + (int64_t)group->gate_first * CAR_BLOCK,
        .a_row_stride = (int64_t)plan->gates * plan->padded,
        .parts = all ? 1 : group->whole_blocks,
        .part_length = group->gate_span * CAR_BLOCK * (all ? group->whole_blocks : 1),
        .part_stride = unit_block,
        .panels = layer->transposed + group->transposed,
        .blocks = group->back_blocks,
        .block = group->back_block,
        .half_blocks = car_ends_half_empty(group->depth),
        .c_row_stride = call->target.row_stride,
    };
    call->rest = call->transposed;
    call->rest.a += group->whole_blocks * unit_block;
    call->rest.parts = group->gate_span;
    call->rest.part_length = group->rest;
    call->rest.part_stride = CAR_BLOCK;
    call->rest.panels = layer->transposed + group->transposed_rest;
    call->rest.block = group->rest_block;
}

/* Rounds follow from the sequences alone, not from the layer's capacity. */
int car_layer_round_end(const car_layer *layer, int done) {
    const car_rows *rows = layer->rows;
    const int left = rows->steps - done;
    const int round = steps_of_round(rows->steps, (int64_t)rows->steps * car_rows_active(rows, 0));
    return done + (left < round ? left : round);
}

int car_layer_stretch_end(const car_layer *layer, int done, int round_end) {
    const int left = round_end - done;
    return done + (left < layer->stretch ? left : layer->stretch);
}

car_range car_layer_back_times(const car_layer *layer, int done, int end) {
    const int steps = layer->rows->steps;
    return layer->shape.reverse ? (car_range){done, end} : (car_range){steps - end, steps - done};
}

static void lay_stretches(const car_layer *layer) {
    const int *first = layer->rows->first;
    int offset = 0;
    for (int done = 0, round_end; done < layer->rows->steps; done = round_end) {
        round_end = car_layer_round_end(layer, done);
        for (int from = done, to; from < round_end; from = to) {
            to = car_layer_stretch_end(layer, from, round_end);
            const car_range times = car_layer_back_times(layer, from, to);
            for (int t = times.begin; t < times.end; t++)
                layer->stretch_first[t] = offset + first[t] - first[times.begin];
            offset = layer->stretch * layer->shape.batch - offset;
        }
    }
}

void car_layer_bind_backward(car_layer *layer) {
    lay_stretches(layer);
    bind_phase(layer, CAR_PHASE_BACK_LOOP);
    bind_phase(layer, CAR_PHASE_BACK_AFTER);
    for (int g = 0; g < layer->plan->group_count; g++)
        if (layer->plan->groups[g].has_back)
            bind_transposed(layer, &layer->plan->groups[g], &layer->calls[g]);
}

car_range car_layer_chunk(const car_layer *layer, int done) {
    const int left = layer->rows->steps - done;
    const int count = left < layer->chunk ? left : layer->chunk;
    const int first = layer->shape.reverse ? left - count : done;
    return (car_range){first, first + count};
}

/* The row that stands first in what holds the rows of a chunk alone. */
static int origin_of(const car_layer *layer, int done) {
    return layer->passing ? layer->rows->first[car_layer_chunk(layer, done).begin] : 0;
}

void car_layer_bind_chunk(car_layer *layer, int done) {
    const int origin = origin_of(layer, done);
    if (origin == layer->bound.origin)
        return;
    layer->bound.origin = origin;
    bind_calls(layer);
}

void car_layer_bind_forward(car_layer *layer, const car_rows *rows, const float *input,
                            int64_t input_stride, const float *weights) {
    const int active = -rows->first[-1];
    layer->rows = rows;
    layer->input = input;
    layer->input_stride = input_stride;
    layer->weights = weights;
    const car_forward_call call = {
        rows,  active,  rows->even,   rows->steps == 1 && active == 1,
        input, weights, input_stride, layer->shape.reverse ? origin_of(layer, 0) : 0};
    if (call.rows == layer->bound.rows && call.active == layer->bound.active &&
        call.even == layer->bound.even && call.one_row == layer->bound.one_row &&
        call.input == layer->bound.input && call.weights == layer->bound.weights &&
        call.input_stride == layer->bound.input_stride && call.origin == layer->bound.origin)
        return;
    layer->bound = call;
    bind_calls(layer);
}

/* ---- Accessors ---------------------------------------------------------------------------------------- */

const float *car_layer_output(const car_layer *layer, int step) {
    car_bound bound = car_layer_bind(layer, layer->plan->output);
    return car_bound_at(&bound, step, 0);
}

float *car_layer_start(car_layer *layer, int state) {
    return layer->start[state];
}

void car_layer_reset(car_layer *layer, int lane) {
    const car_plan *plan = layer->plan;
    int first = lane < 0 ? 0 : lane, last = lane < 0 ? layer->shape.batch : lane + 1;
    for (int s = 0; s < plan->cell->state_count; s++)
        for (int b = first; b < last; b++)
            for (int unit = 0; unit < plan->units; unit++)
                layer->start[s][(int64_t)b * plan->padded + unit] =
                    (float)plan->cell->state_init[s].value;
}

/* To a start state from where the last step has written the state, or, not `after`, from it to where the first one reads it. */
static void copy_state(bool after, float *start, float *place, int64_t floats) {
    memcpy(after ? start : place, after ? place : start, (size_t)floats * sizeof(float));
}

/* All states: even rows as a whole, of slot 0 or the last one, others lane by lane. */
static void copy_states(const car_layer *layer, bool after) {
    const car_rows *rows = layer->rows;
    const int64_t padded = layer->plan->padded, step = rows->batch * padded;
    const bool lowest = after == layer->shape.reverse;
    for (int s = 0; s < layer->plan->cell->state_count; s++) {
        float *start = layer->start[s];
        if (rows->even) {
            copy_state(after, start, layer->state[s] + (lowest ? 0 : rows->steps * step), step);
            continue;
        }
        const car_bound states = states_of(layer, s, after);
        for (int k = 0; k < rows->batch && rows->length[k] > 0; k++)
            copy_state(after, start + rows->lane[k] * padded,
                       car_bound_at(&states, lowest ? 0 : rows->length[k] - 1, 0) + k * padded,
                       padded);
    }
}

void car_layer_place_start(const car_layer *layer) {
    copy_states(layer, false);
}

void car_layer_carry(car_layer *layer) {
    copy_states(layer, true);
}

float *car_layer_state_gradient(car_layer *layer, int state) {
    return layer->state_gradient[state];
}

car_vector_slot car_layer_tap(const car_layer *layer, int tap, int step) {
    car_bound bound = car_layer_bind(layer, layer->plan->taps[tap]);
    return (car_vector_slot){car_bound_at(&bound, step, 0), bound.row_stride, bound.block_stride};
}

/* The nearest value with a name that the sum of a gate goes into. */
static const char *equation_of_gate(const car_plan *plan, int gate) {
    const car_graph *graph = &plan->cell->graph;
    int value = plan->gate_root[gate];
    for (int v = value + 1; v < graph->count && !graph->names[value]; v++)
        if (graph->nodes[v].a == value || graph->nodes[v].b == value)
            value = v;
    return graph->names[value];
}

/* One step's gradients of the preactivations: [lanes that ran][blocks][gates][16]. */
static bool find_in_step(const car_layer *layer, int step, car_bad_gradient *bad) {
    const car_plan *plan = layer->plan;
    const int64_t row = (int64_t)plan->gates * plan->padded;
    for (int lane = 0; lane < car_rows_active(layer->rows, step); lane++) {
        const float *sums = layer->sums + (layer->rows->first[step] + lane) * row;
        for (int k = 0; k < row; k++) {
            if (isfinite(sums[k]))
                continue;
            int gate = k / CAR_BLOCK % plan->gates;
            *bad = (car_bad_gradient){equation_of_gate(plan, gate), step, layer->rows->lane[lane],
                                      k / CAR_BLOCK / plan->gates * CAR_BLOCK + k % CAR_BLOCK,
                                      sums[k]};
            return true;
        }
    }
    return false;
}

bool car_layer_find_bad_gradient(const car_layer *layer, car_bad_gradient *bad) {
    const int steps = layer->rows->steps;
    for (int k = 0; k < steps; k++)
        if (find_in_step(layer, layer->shape.reverse ? k : steps - 1 - k, bad))
            return true;
    return false;
}
