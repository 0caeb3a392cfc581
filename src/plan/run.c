/*
 * run.c: a layer runs forward and backward over a sequence.
 *
 * Forward, chunk by chunk of time: the phase before the loop for all rows of the chunk (one product over
 * chunk*B rows), then the loop step by step: products, means, program of each stage; a lane alone runs product and program
 * in one function, where there is one (emit.c). Backward the loop runs the other way; behind it, while the rows are in cache,
 * stretch by stretch what it left over (dL/dx, the vectors' gradients) and round by round the weight gradients (gradient.c).
 * Threads share either the lanes or the units (layer.c); every value is computed by one thread in one order, so the bits do
 * not depend on their number.
 */
#include "inside.h"
#include <string.h>

/* How many of the lanes, longest first, hold `members` of `all` shares of all steps. */
static int lanes_of(const car_rows *rows, int members, int all) {
    int64_t wanted = (int64_t)car_rows_count(rows) * members / all, sum = 0;
    int lanes = 0;
    while (sum < wanted)
        sum += rows->length[lanes++];
    return lanes;
}

static car_range lanes_of_member(const car_layer *layer, int member, int members) {
    return (car_range){lanes_of(layer->rows, member, members),
                       lanes_of(layer->rows, member + 1, members)};
}

/* A step of a stream would wait for numbers that are written one by one and read in pairs: most of `mine` is copied. */
static void take_share(const car_layer *layer, car_team *team, int member, int members,
                       car_share *mine) {
    const int blocks = layer->plan->blocks, lanes = layer->shape.batch;
    *mine = (car_share){team, member, members, 1, {layer->whole, {{0, 0}, {blocks, blocks}}}};
    car_range *first = &mine->parts[0].blocks;
    if (members > 1 && !layer->by_units) {
        mine->parts[0].lanes = lanes_of_member(layer, member, members);
    } else if (members > 1 && lanes >= members) {
        const int each = blocks / members;
        *first = (car_range){member * each, (member + 1) * each};
        mine->part_count = 2;
        mine->parts[1] =
            (car_part){lanes_of_member(layer, member, members), {members * each, blocks}};
    } else if (members > 1) {
        car_team_share(blocks, 1, member, members, &first->begin, &first->end);
    }
}

/* The rows of the lanes of a range that run at a step. */
static car_range active_rows(const car_layer *layer, car_range lanes, int time) {
    const int first = layer->rows->first[time], end = layer->rows->first[time + 1];
    return (car_range){first + lanes.begin < end ? first + lanes.begin : end,
                       first + lanes.end < end ? first + lanes.end : end};
}

static float *scratch_of(const car_layer *layer, int member) {
    return layer->scratch + (size_t)member * layer->scratch_floats;
}

static void multiply(const car_layer *layer, const car_product *product, int member, car_range rows,
                     car_range blocks) {
    layer->multiply(product, scratch_of(layer, member), rows.begin, rows.end, blocks.begin,
                    blocks.end);
}

void car_layer_multiply_gradient(const car_layer *layer, const car_group *group,
                                 const car_product *product, int member, car_range rows,
                                 car_range blocks) {
    car_product_function *of_gradient =
        group->splits ? layer->kernels->product_split : layer->multiply;
    of_gradient(product, scratch_of(layer, member), rows.begin, rows.end, blocks.begin, blocks.end);
}

/* ---- One stage at one time ---------------------------------------------------------------------------- */

/* Rows are counted through all steps: those of the step `time`, and of the steps behind it where all run at once. */

/* The base of a place from which these count, as its rows lie at a step. */
static float *base_at(const car_layer *layer, const car_bound *bound, int time, int parity,
                      int member) {
    return car_bound_own(bound, time, parity, member) -
           layer->rows->first[time] * bound->row_stride;
}

/* A group's forward product, which takes its panels to and fro from step to step. */
static const car_product *product_at(const car_layer *layer, const car_group_call *call, int time) {
    return &call->product[((unsigned)time ^ layer->turn) & 1];
}

/* The group's columns of some blocks of units. */
static car_range columns_of(const car_group *group, car_range blocks) {
    return (car_range){blocks.begin * group->count, blocks.end * group->count};
}

static void run_group(const car_layer *layer, const car_group *group, int member, int time,
                      car_range rows, car_range blocks) {
    const car_group_call *call = &layer->calls[group - layer->plan->groups];
    const car_product *product = product_at(layer, call, time);
    car_product moved;
    if (call->moves) {
        moved = *product;
        moved.a = base_at(layer, &call->operand, time, 0, 0);
        product = &moved;
    }
    multiply(layer, product, member, rows, columns_of(group, blocks));
}

/* Whether anyone reads what a product leaves in a place: not dL/dx where the caller did not ask, and no gradient of the
 * states before the first step. */
static bool is_asked_for(const car_layer *layer, car_place place, int time) {
    const int first = layer->shape.reverse ? layer->rows->steps - 1 : 0;
    if (place.region == CAR_REGION_INPUT_GRADIENT)
        return layer->input_gradient && layer->input_gradient != layer->unasked_input_gradient;
    return place.region != CAR_REGION_STATE_GRADIENT || place.after || time != first ||
           layer->shape.start_gradient;
}

/* One of a group's two products of dL/d(operand). */
static void multiply_transposed(const car_layer *layer, const car_group *group,
                                const car_product *product, int member, car_range rows,
                                car_range blocks) {
    if (group->back_when.phase == CAR_PHASE_BACK_AFTER)
        car_layer_multiply_gradient(layer, group, product, member, rows, blocks);
    else
        multiply(layer, product, member, rows, blocks);
}

static void run_transposed_group(const car_layer *layer, const car_group *group, int member,
                                 int time, int parity, car_range rows, car_range blocks) {
    if (!is_asked_for(layer, group->back_place, time))
        return;
    const car_group_call *call = &layer->calls[group - layer->plan->groups];
    car_product whole = call->transposed, rest = call->rest;
    whole.c = rest.c = base_at(layer, &call->target, time, parity, member);
    whole.descending = rest.descending = time & 1;
    if (group->whole_blocks > 0)
        multiply_transposed(layer, group, &whole, member, rows, blocks);
    if (group->rest > 0)
        multiply_transposed(layer, group, &rest, member, rows, blocks);
}

/* The same, or NULL where there is no such place. */
static float *means_at(const car_layer *layer, const car_bound *bound, int time, int member) {
    return bound->base ? base_at(layer, bound, time, 0, member) : NULL;
}

static void run_mean(const car_layer *layer, const car_mean_call *mean, int member, int time,
                     int parity, car_range rows) {
    const car_vector_slot slot = {base_at(layer, &mean->source, time, parity, member),
                                  mean->source.row_stride, mean->source.block_stride};
    const car_row_means out = {mean->weight.base,
                               means_at(layer, &mean->target, time, member),
                               means_at(layer, &mean->variance, time, member),
                               means_at(layer, &mean->inverse, time, member),
                               mean->epsilon,
                               1};
    layer->kernels->row_mean(&slot, layer->plan->units, rows.begin, rows.end, &out);
}

static car_vector_slot *slots_of(const car_stage_call *call, int member) {
    return call->slots + (ptrdiff_t)member * call->slot_stride;
}

static void run_program(const car_layer *layer, const car_stage *stage, const car_stage_call *call,
                        int member, int time, int parity, car_range rows, car_range blocks) {
    if (stage->program.count == 0)
        return;
    car_vector_slot *slots = slots_of(call, member);
    for (int i = 0; i < call->moving_count; i++) {
        const int k = call->moving[i];
        slots[k].base = base_at(layer, &call->bound[k], time, parity, member);
    }
    const car_program_function function = car_layer_function(layer, stage);
    if (function)
        function(slots, layer->plan->units, rows.begin, rows.end, blocks.begin, blocks.end);
    else
        layer->kernels->program(&stage->program, slots, layer->plan->units, rows.begin, rows.end,
                                blocks.begin, blocks.end);
}

/* Products and means of stage s of a phase. */
static void run_sums(const car_layer *layer, const car_share *mine, car_phase phase, int s,
                     int time, int parity, car_range rows, car_range blocks) {
    const car_stage *stage = &layer->plan->stages[phase][s];
    bool back = phase >= CAR_PHASE_BACK_LOOP;
    for (int g = 0; g < stage->group_count; g++) {
        const car_group *group = &layer->plan->groups[stage->groups[g]];
        if (back) {
            bool all = phase == CAR_PHASE_BACK_AFTER;
            run_transposed_group(layer, group, mine->member, time, parity, rows,
                                 all ? (car_range){0, group->back_blocks} : blocks);
        } else {
            run_group(layer, group, mine->member, time, rows, blocks);
        }
    }
    for (int m = 0; m < stage->mean_count; m++)
        run_mean(layer, &layer->stages[phase][s].means[m], mine->member, time, parity, rows);
}

static void run_stage(const car_layer *layer, const car_share *mine, car_phase phase, int s,
                      int time, int parity, car_range rows, car_range blocks) {
    run_sums(layer, mine, phase, s, time, parity, rows, blocks);
    run_program(layer, &layer->plan->stages[phase][s], &layer->stages[phase][s], mine->member, time,
                parity, rows, blocks);
}

/* A stage of a loop at one step, after whatever it reads of other threads' units. */
static void run_loop_stage(const car_layer *layer, const car_share *mine, car_phase phase, int s,
                           int time, int parity) {
    if (layer->by_units && layer->plan->stages[phase][s].group_count > 0)
        car_team_barrier(mine->team, mine->member);
    for (int i = 0; i < mine->part_count; i++) {
        const car_part *of = &mine->parts[i];
        const car_range rows = active_rows(layer, of->lanes, time);
        if (!car_range_is_empty(rows) && !car_range_is_empty(of->blocks))
            run_stage(layer, mine, phase, s, time, parity, rows, of->blocks);
    }
}

/* A thread's share of the rows of some steps. */
static car_range rows_of_member(const car_layer *layer, const car_share *mine, car_range times) {
    const int first = layer->rows->first[times.begin];
    car_range rows;
    car_team_share(layer->rows->first[times.end] - first, 1, mine->member, mine->members,
                   &rows.begin, &rows.end);
    return (car_range){first + rows.begin, first + rows.end};
}

/* ---- Forward ------------------------------------------------------------------------------------------ */

/* Blocks of a thread's own for all rows; the others, which are all without such, by rows. */
static void run_before(const car_layer *layer, const car_share *mine, int first, int last) {
    const car_range rows = {layer->rows->first[first], layer->rows->first[last]};
    const car_range cut = rows_of_member(layer, mine, (car_range){first, last});
    const car_range own = layer->by_units ? mine->parts[0].blocks : (car_range){0, 0};
    const car_range shared = mine->parts[layer->by_units ? 1 : 0].blocks;
    for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_BEFORE]; s++) {
        if (s > 0 && layer->by_units && layer->plan->stages[CAR_PHASE_BEFORE][s].group_count > 0)
            car_team_barrier(mine->team, mine->member);
        if (!car_range_is_empty(own))
            run_stage(layer, mine, CAR_PHASE_BEFORE, s, first, 0, rows, own);
        if (!car_range_is_empty(shared))
            run_stage(layer, mine, CAR_PHASE_BEFORE, s, first, 0, cut, shared);
    }
    if (!car_range_is_empty(shared))
        car_team_barrier(mine->team, mine->member);
}

/* The step that comes k-th of some. */
static int time_of(const car_layer *layer, car_range times, int k) {
    return layer->shape.reverse ? times.end - 1 - k : times.begin + k;
}

/* A loop of which nothing is to be found out again from step to step: that took a sixth of a small cell's time. */
static void run_straight_loop(const car_layer *layer, const car_share *mine, car_range times) {
    const car_stage *stage = layer->plan->stages[CAR_PHASE_LOOP];
    const car_group_call *call = &layer->calls[stage->groups[0]];
    const car_part *of = &mine->parts[0];
    const car_range columns = columns_of(stage->alone, of->blocks);
    const car_vector_slot *slots = slots_of(layer->stages[CAR_PHASE_LOOP], mine->member);
    for (int k = 0; k < times.end - times.begin; k++) {
        const int time = time_of(layer, times, k);
        const car_range rows = active_rows(layer, of->lanes, time);
        if (layer->by_units)
            car_team_barrier(mine->team, mine->member);
        multiply(layer, product_at(layer, call, time), mine->member, rows, columns);
        stage->emitted->function(slots, layer->plan->units, rows.begin, rows.end, of->blocks.begin,
                                 of->blocks.end);
    }
}

/* Of one lane: all steps at once, or, where threads share its units, one by one. */
static void run_row_loop(const car_layer *layer, const car_share *mine, car_range times) {
    const car_stage *stage = layer->plan->stages[CAR_PHASE_LOOP];
    const car_group_call *call = &layer->calls[stage->groups[0]];
    const car_part *of = &mine->parts[0];
    const car_vector_slot *slots = slots_of(layer->stages[CAR_PHASE_LOOP], mine->member);
    const int steps = times.end - times.begin, each = layer->by_units ? 1 : steps;
    for (int k = 0; k < steps; k += each) {
        const int time = time_of(layer, times, k);
        const car_row_range range = {.row = layer->rows->first[time],
                                     .steps = each,
                                     .direction = layer->shape.reverse ? -1 : 1,
                                     .block_begin = of->blocks.begin,
                                     .block_end = of->blocks.end,
                                     .descending = product_at(layer, call, time)->descending,
                                     .rounded = scratch_of(layer, mine->member)};
        if (layer->by_units)
            car_team_barrier(mine->team, mine->member);
        layer->row(&layer->row_call, slots, &range);
    }
}

static void run_loop(const car_layer *layer, const car_share *mine, car_range times) {
    if (layer->row) {
        if (!car_range_is_empty(mine->parts[0].lanes))
            run_row_loop(layer, mine, times);
        return;
    }
    if (layer->straight && mine->part_count == 1) {
        run_straight_loop(layer, mine, times);
        return;
    }
    for (int k = 0; k < times.end - times.begin; k++)
        for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_LOOP]; s++)
            run_loop_stage(layer, mine, CAR_PHASE_LOOP, s, time_of(layer, times, k), 0);
}

/* When all have left a chunk, its rows become those of the next one. */
static void pass_on(car_layer *layer, const car_share *mine, int done) {
    car_team_barrier(mine->team, mine->member);
    if (mine->member == 0)
        car_layer_bind_chunk(layer, done);
    car_team_barrier(mine->team, mine->member);
}

static void forward_task(void *argument, car_team *team, int member, int members) {
    car_layer *layer = argument;
    car_share mine;
    take_share(layer, team, member, members, &mine);
    for (int done = 0; done < layer->rows->steps; done += layer->chunk) {
        const car_range times = car_layer_chunk(layer, done);
        if (done > 0 && layer->passing)
            pass_on(layer, &mine, done);
        if (layer->plan->stage_count[CAR_PHASE_BEFORE] && !car_layer_joins(layer))
            run_before(layer, &mine, times.begin, times.end);
        run_loop(layer, &mine, times);
    }
}

void car_layer_forward_rows(car_layer *layer, const car_rows *rows, const float *input,
                            int64_t input_stride, const float *weights) {
    car_layer_bind_forward(layer, rows, input, input_stride, weights);
    layer->turn ^= 1;
    car_layer_place_start(layer);
    car_team_run(layer->shape.threads, forward_task, layer);
}

void car_layer_forward(car_layer *layer, int steps, const float *input, const float *weights) {
    car_rows_set(&layer->own_rows, steps, NULL);
    car_layer_forward_rows(layer, &layer->own_rows, input, car_shape_row_stride(layer->plan->input),
                           weights);
}

/* ---- Backward ----------------------------------------------------------------------------------------- */

/* Steps `done` to `end` of the loop, counted from where it starts. */
static void run_back_loop(const car_layer *layer, const car_share *mine, int done, int end) {
    const int steps = layer->rows->steps;
    for (; done < end; done++) {
        int time = layer->shape.reverse ? done : steps - 1 - done;
        for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_BACK_LOOP]; s++)
            run_loop_stage(layer, mine, CAR_PHASE_BACK_LOOP, s, time, done & 1);
    }
    car_team_barrier(mine->team, mine->member);
}

/* The program of a stage for rows of some steps. */
static void run_after_program(const car_layer *layer, int s, int member, car_range times,
                              car_range rows) {
    const int *first = layer->rows->first;
    for (int end; times.begin < times.end; times.begin = end) {
        end = car_rows_run_end(layer->rows, times);
        const car_range met = {rows.begin > first[times.begin] ? rows.begin : first[times.begin],
                               rows.end < first[end] ? rows.end : first[end]};
        if (!car_range_is_empty(met))
            run_program(layer, &layer->plan->stages[CAR_PHASE_BACK_AFTER][s],
                        &layer->stages[CAR_PHASE_BACK_AFTER][s], member, times.begin, 0, met,
                        (car_range){0, layer->plan->blocks});
    }
}

static void run_back_after(const car_layer *layer, const car_share *mine, car_range times) {
    if (layer->plan->stage_count[CAR_PHASE_BACK_AFTER] == 0)
        return;
    const car_range rows = rows_of_member(layer, mine, times), blocks = {0, layer->plan->blocks};
    for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_BACK_AFTER]; s++) {
        run_sums(layer, mine, CAR_PHASE_BACK_AFTER, s, times.begin, 0, rows, blocks);
        run_after_program(layer, s, mine->member, times, rows);
    }
    car_team_barrier(mine->team, mine->member);
}

/* The loop and what follows it at once, stretch by stretch. */
static void run_back_round(const car_layer *layer, const car_share *mine, int done, int round_end) {
    for (int end; done < round_end; done = end) {
        end = car_layer_stretch_end(layer, done, round_end);
        const car_range times = car_layer_back_times(layer, done, end);
        if (layer->plan->cell->state_count)
            run_back_loop(layer, mine, done, end);
        run_back_after(layer, mine, times);
        car_layer_vector_gradients(layer, mine, times, done == 0 && !layer->onward);
    }
}

static void backward_task(void *argument, car_team *team, int member, int members) {
    const car_layer *layer = argument;
    car_share mine;
    take_share(layer, team, member, members, &mine);
    for (int done = 0, end; done < layer->rows->steps; done = end) {
        end = car_layer_round_end(layer, done);
        run_back_round(layer, &mine, done, end);
        car_layer_group_gradients(layer, &mine, car_layer_back_times(layer, done, end),
                                  done == 0 && !layer->onward);
    }
}

/* dL/d(state) from the caller's order into that of the rows. Both arrays: a lane that joins the loop at its own last step
 * reads the one whose turn it is. */
static void enter_state_gradient(const car_layer *layer, int state, bool given) {
    int64_t padded = layer->plan->padded, step = layer->shape.batch * padded;
    float *gradient = layer->state_gradient[state];
    const car_rows *rows = layer->rows;
    if (!given) {
        memset(gradient, 0, (size_t)(2 * step) * sizeof(float));
        return;
    }
    for (int k = 0; k < rows->batch; k++)
        memcpy(gradient + step + k * padded, gradient + rows->lane[k] * padded,
               (size_t)padded * sizeof(float));
    memcpy(gradient, gradient + step, (size_t)step * sizeof(float));
}

/* And back: a lane's gradient stands in the second array after an odd number of steps. */
static void settle_state_gradient(const car_layer *layer, int state) {
    int64_t padded = layer->plan->padded, step = layer->shape.batch * padded;
    float *gradient = layer->state_gradient[state];
    const car_rows *rows = layer->rows;
    for (int k = 0; k < rows->batch; k++) {
        int done = layer->shape.reverse ? rows->length[k] : rows->steps;
        if (!(done & 1))
            memcpy(gradient + step + k * padded, gradient + k * padded,
                   (size_t)padded * sizeof(float));
    }
    for (int k = 0; k < rows->batch; k++)
        memcpy(gradient + rows->lane[k] * padded, gradient + step + k * padded,
               (size_t)padded * sizeof(float));
}

void car_layer_backward(car_layer *layer, const float *input, const float *weights,
                        const float *transposed, const float *output_gradient,
                        float *input_gradient, float *gradient, bool onward) {
    const car_plan *plan = layer->plan;
    layer->input = input;
    layer->weights = weights;
    layer->transposed = transposed;
    layer->output_gradient = output_gradient;
    layer->input_gradient = input_gradient;
    if (!input_gradient && plan->input_gradient_stored)
        layer->input_gradient = layer->unasked_input_gradient;
    layer->gradient = gradient;
    layer->onward = onward;
    if (layer->rows->steps == 0 && !onward)
        memset(gradient, 0, plan->weight_floats * sizeof(float));
    for (int s = 0; s < plan->cell->state_count; s++)
        enter_state_gradient(layer, s, onward);
    if (input_gradient && !plan->input_gradient_written)
        memset(input_gradient, 0,
               (size_t)car_rows_count(layer->rows) * (size_t)car_shape_row_stride(plan->input) *
                   sizeof(float));
    car_layer_bind_backward(layer);
    car_team_run(layer->shape.threads, backward_task, layer);
    for (int s = 0; s < plan->cell->state_count && layer->shape.start_gradient; s++)
        settle_state_gradient(layer, s);
}
