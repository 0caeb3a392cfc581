/*
 * run.c: a layer runs forward and backward over a sequence.
 *
 * Forward, chunk by chunk of time: the phase before the loop for all rows of the chunk (one product over
 * chunk*B rows), then the loop step by step: products, means, program of each stage. Backward the loop runs the
 * other way; behind it, chunk by chunk as well, while the rows are in cache, what it left over (dL/dx) and the
 * weight gradients:
 *
 *   dP[k][column] += sum over rows of operand[row][k] * dsums[row][column]      one product with K = chunk*B
 *
 * Rows are summed in the order in which the loop meets them, so that the bits do not depend on the chunks. Threads
 * share either the lanes or the units (layer.c); every value is computed by one thread in one order, so the bits do
 * not depend on their number either.
 */
#include "inside.h"
#include <string.h>

/* Floats of a row of sums. */
enum { MOST_IN_PLACE = 1024 };

typedef struct range {
    int begin, end;
} range;

/* Some units of some lanes. */
typedef struct part {
    range lanes, blocks;
} part;

/* What a thread does of the loop. Of units that leave a block over when they are shared, every thread takes a share of
 * its lanes as its second part. */
typedef struct share {
    car_team *team;
    int member, members;
    part parts[2];
} share;

/* How many of the lanes, longest first, hold `members` of `all` shares of all steps. */
static int lanes_of(const car_rows *rows, int members, int all) {
    int64_t wanted = (int64_t)car_rows_count(rows) * members / all, sum = 0;
    int lanes = 0;
    while (sum < wanted)
        sum += rows->length[lanes++];
    return lanes;
}

static range lanes_of_member(const car_layer *layer, int member, int members) {
    return (range){lanes_of(layer->rows, member, members),
                   lanes_of(layer->rows, member + 1, members)};
}

static share share_of(const car_layer *layer, car_team *team, int member, int members) {
    const int blocks = layer->plan->blocks, lanes = layer->shape.batch;
    share mine = {team, member, members, {{{0, lanes}, {0, blocks}}, {{0, 0}, {blocks, blocks}}}};
    range *first = &mine.parts[0].blocks;
    if (members > 1 && !layer->by_units) {
        mine.parts[0].lanes = lanes_of_member(layer, member, members);
    } else if (members > 1 && lanes >= members) {
        const int each = blocks / members;
        *first = (range){member * each, (member + 1) * each};
        mine.parts[1] = (part){lanes_of_member(layer, member, members), {members * each, blocks}};
    } else if (members > 1) {
        car_team_share(blocks, 1, member, members, &first->begin, &first->end);
    }
    return mine;
}

/* The lanes of a range that run at a step. */
static range active_lanes(const car_layer *layer, range lanes, int time) {
    int active = car_rows_active(layer->rows, time);
    return (range){lanes.begin < active ? lanes.begin : active,
                   lanes.end < active ? lanes.end : active};
}

static float *scratch_of(const car_layer *layer, int member) {
    return layer->scratch + (size_t)member * layer->scratch_floats;
}

/* A product in the plan's precision, which is that of training. */
static void multiply(const car_layer *layer, const car_product *product, int member, range rows,
                     range blocks) {
    if (layer->plan->precision == CAR_PRECISION_BF16)
        car_bf16_product(layer->kernels, layer->plan->training)(
            product, scratch_of(layer, member), rows.begin, rows.end, blocks.begin, blocks.end);
    else
        layer->kernels->product(product, rows.begin, rows.end, blocks.begin, blocks.end);
}

/* ---- One stage at one time ---------------------------------------------------------------------------- */

static void run_group(const car_layer *layer, const car_group *group, int member, int time,
                      range rows, range blocks) {
    const car_plan *plan = layer->plan;
    const car_group_call *call = &layer->calls[group - plan->groups];
    car_product product = call->product;
    product.a = car_bound_at(&call->operand, time, 0);
    product.c += layer->rows->first[time] * product.c_row_stride;
    product.descending = time & 1;
    const range columns = {blocks.begin * group->count, blocks.end * group->count};
    if (plan->precision == CAR_PRECISION_INT8)
        layer->kernels->product_int8(&product, group->bounded, scratch_of(layer, member),
                                     rows.begin, rows.end, columns.begin, columns.end);
    else
        multiply(layer, &product, member, rows, columns);
}

static void run_transposed_group(const car_layer *layer, const car_group *group, int member,
                                 int time, int parity, range rows, range blocks) {
    const car_plan *plan = layer->plan;
    if (group->back_place.region == CAR_REGION_INPUT_GRADIENT && !layer->input_gradient)
        return;
    car_bound target = car_layer_bind(layer, group->back_place);
    int64_t row = (int64_t)plan->gates * plan->padded;
    bool whole = group->gate_span == plan->gates;
    car_product product = {
        .a = layer->sums + layer->rows->first[time] * row + (int64_t)group->gate_first * CAR_BLOCK,
        .a_row_stride = row,
        .parts = whole ? 1 : plan->blocks,
        .part_length = group->gate_span * CAR_BLOCK * (whole ? plan->blocks : 1),
        .part_stride = (int64_t)plan->gates * CAR_BLOCK,
        .panels = layer->transposed + group->transposed,
        .blocks = group->back_blocks,
        .block = group->back_block,
        .c = car_bound_own(&target, time, parity, member),
        .c_row_stride = target.row_stride,
        .descending = time & 1,
    };
    multiply(layer, &product, member, rows, blocks);
}

static void run_mean(const car_layer *layer, const car_mean_call *mean, int member, int time,
                     int parity, range rows) {
    const car_vector_slot slot = {car_bound_own(&mean->source, time, parity, member),
                                  mean->source.row_stride, mean->source.block_stride};
    layer->kernels->row_mean(slot, layer->plan->units, rows.begin, rows.end,
                             car_bound_own(&mean->target, time, 0, member),
                             mean->target.row_stride);
}

static void run_program(const car_layer *layer, const car_stage *stage, const car_bound *bound,
                        int member, int time, int parity, range rows, range blocks) {
    car_vector_slot slots[CAR_MOST_SLOTS];
    if (stage->program.count == 0)
        return;
    for (int k = 0; k < stage->slot_count; k++)
        slots[k] = (car_vector_slot){car_bound_own(&bound[k], time, parity, member),
                                     bound[k].row_stride, bound[k].block_stride};
    if (stage->function && layer->kernels->level == layer->plan->function_level)
        stage->function(slots, layer->plan->units, rows.begin, rows.end, blocks.begin, blocks.end);
    else
        layer->kernels->program(&stage->program, slots, layer->plan->units, rows.begin, rows.end,
                                blocks.begin, blocks.end);
}

/* Products and means of stage s of a phase for rows of time step `time` on. */
static void run_sums(const car_layer *layer, const share *mine, car_phase phase, int s, int time,
                     int parity, range rows, range blocks) {
    const car_stage *stage = &layer->plan->stages[phase][s];
    bool back = phase >= CAR_PHASE_BACK_LOOP;
    for (int g = 0; g < stage->group_count; g++) {
        const car_group *group = &layer->plan->groups[stage->groups[g]];
        if (back) {
            bool all = phase == CAR_PHASE_BACK_AFTER;
            run_transposed_group(layer, group, mine->member, time, parity, rows,
                                 all ? (range){0, group->back_blocks} : blocks);
        } else {
            run_group(layer, group, mine->member, time, rows, blocks);
        }
    }
    for (int m = 0; m < stage->mean_count; m++)
        run_mean(layer, &layer->means[phase][s][m], mine->member, time, parity, rows);
}

static void run_stage(const car_layer *layer, const share *mine, car_phase phase, int s, int time,
                      int parity, range rows, range blocks) {
    run_sums(layer, mine, phase, s, time, parity, rows, blocks);
    run_program(layer, &layer->plan->stages[phase][s], layer->slots[phase][s], mine->member, time,
                parity, rows, blocks);
}

static bool is_empty(range of) {
    return of.begin >= of.end;
}

/* A stage of a loop at one step, after whatever it reads of other threads' units. */
static void run_loop_stage(const car_layer *layer, const share *mine, car_phase phase, int s,
                           int time, int parity) {
    if (layer->by_units && layer->plan->stages[phase][s].group_count > 0)
        car_team_barrier(mine->team, mine->member);
    for (int i = 0; i < 2; i++) {
        const part *of = &mine->parts[i];
        range lanes = active_lanes(layer, of->lanes, time);
        if (!is_empty(lanes) && !is_empty(of->blocks))
            run_stage(layer, mine, phase, s, time, parity, lanes, of->blocks);
    }
}

/* ---- Forward ------------------------------------------------------------------------------------------ */

/* Blocks of a thread's own for all rows; the others, which are all without such, by rows. */
static void run_before(const car_layer *layer, const share *mine, int first, int last) {
    range rows = {0, layer->rows->first[last] - layer->rows->first[first]}, cut;
    const range own = layer->by_units ? mine->parts[0].blocks : (range){0, 0};
    const range shared = mine->parts[layer->by_units ? 1 : 0].blocks;
    car_team_share(rows.end, 1, mine->member, mine->members, &cut.begin, &cut.end);
    for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_BEFORE]; s++) {
        if (s > 0 && layer->by_units && layer->plan->stages[CAR_PHASE_BEFORE][s].group_count > 0)
            car_team_barrier(mine->team, mine->member);
        if (!is_empty(own))
            run_stage(layer, mine, CAR_PHASE_BEFORE, s, first, 0, rows, own);
        if (!is_empty(shared))
            run_stage(layer, mine, CAR_PHASE_BEFORE, s, first, 0, cut, shared);
    }
    if (!is_empty(shared))
        car_team_barrier(mine->team, mine->member);
}

static void run_forward_step(const car_layer *layer, const share *mine, int time) {
    for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_LOOP]; s++)
        run_loop_stage(layer, mine, CAR_PHASE_LOOP, s, time, 0);
}

static void forward_task(void *argument, car_team *team, int member, int members) {
    const car_layer *layer = argument;
    share mine = share_of(layer, team, member, members);
    int steps = layer->rows->steps;
    for (int done = 0; done < steps; done += layer->chunk) {
        int count = steps - done < layer->chunk ? steps - done : layer->chunk;
        int first = layer->shape.reverse ? steps - done - count : done;
        if (layer->plan->stage_count[CAR_PHASE_BEFORE])
            run_before(layer, &mine, first, first + count);
        for (int k = 0; k < count; k++)
            run_forward_step(layer, &mine,
                             layer->shape.reverse ? first + count - 1 - k : first + k);
    }
}

/* Each lane's start state to where its first step reads it. */
static void place_start(const car_layer *layer, int state) {
    const car_rows *rows = layer->rows;
    int64_t padded = layer->plan->padded;
    car_bound before = car_layer_bind(layer, (car_place){CAR_REGION_STATE, state, false});
    if (rows->even) {
        memcpy(car_bound_at(&before, layer->shape.reverse ? rows->steps - 1 : 0, 0),
               layer->start[state], (size_t)(rows->batch * padded) * sizeof(float));
        return;
    }
    for (int k = 0; k < rows->batch && rows->length[k] > 0; k++)
        memcpy(car_bound_at(&before, layer->shape.reverse ? rows->length[k] - 1 : 0, 0) +
                   k * padded,
               layer->start[state] + rows->lane[k] * padded, (size_t)padded * sizeof(float));
}

void car_layer_forward_rows(car_layer *layer, const car_rows *rows, const float *input,
                            const float *weights) {
    car_layer_bind_forward(layer, rows, input, weights);
    for (int s = 0; s < layer->plan->cell->state_count; s++)
        place_start(layer, s);
    car_team_run(layer->shape.threads, forward_task, layer);
}

void car_layer_forward(car_layer *layer, int steps, const float *input, const float *weights) {
    car_rows_set(&layer->own_rows, steps, NULL);
    car_layer_forward_rows(layer, &layer->own_rows, input, weights);
}

/* ---- Backward ----------------------------------------------------------------------------------------- */

/* Steps `done` to `end` of the loop, counted from where it starts. */
static void run_back_loop(const car_layer *layer, const share *mine, int done, int end) {
    const int steps = layer->rows->steps;
    for (; done < end; done++) {
        int time = layer->shape.reverse ? done : steps - 1 - done;
        for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_BACK_LOOP]; s++)
            run_loop_stage(layer, mine, CAR_PHASE_BACK_LOOP, s, time, done & 1);
    }
    car_team_barrier(mine->team, mine->member);
}

/* Whether the rows of `time` lie as far behind those of the step before as these behind theirs. */
static bool goes_on(const car_rows *rows, int time) {
    return rows->first[time] - rows->first[time - 1] ==
           rows->first[time - 1] - rows->first[time - 2];
}

/* The end of the steps from times.begin on whose rows lie, in every place, as far behind each other as those of
 * times.begin. States of uneven rows break where a lane has ended. */
static int end_of_run(const car_rows *rows, range times) {
    int time = times.begin + 1;
    while (time < times.end && goes_on(rows, time))
        time++;
    return time;
}

/* Rows of a place over some steps, in the order in which the backward loop meets them. */
typedef struct rows_met {
    float *row; /* the first that is met */
    int64_t stride;
    int count;
} rows_met;

static rows_met met_rows(const car_layer *layer, const car_bound *place, range times) {
    const int *first = layer->rows->first;
    rows_met met = {car_bound_at(place, times.begin, 0), place->row_stride,
                    first[times.end] - first[times.begin]};
    if (!layer->shape.reverse) {
        met.row += (met.count - 1) * met.stride;
        met.stride = -met.stride;
    }
    return met;
}

/* Takes off `times` the steps that the loop met first and whose rows follow each other in a place: all of them but
 * where it is a state. */
static range next_run(const car_layer *layer, const car_bound *place, range *times) {
    const car_rows *rows = layer->rows;
    range run = *times;
    if (place->first == rows->first) {
        times->begin = times->end;
    } else if (layer->shape.reverse) {
        run.end = times->begin = end_of_run(rows, *times);
    } else {
        run.begin = run.end - 1;
        while (run.begin > times->begin && goes_on(rows, run.begin))
            run.begin--;
        times->end = run.begin;
    }
    return run;
}

/* The program of a stage for rows of some steps. */
static void run_after_program(const car_layer *layer, int s, range times, range rows) {
    const int *first = layer->rows->first;
    for (int end; times.begin < times.end; times.begin = end) {
        end = end_of_run(layer->rows, times);
        const int base = first[times.begin];
        int begin_row = rows.begin > base ? rows.begin : base;
        int end_row = rows.end < first[end] ? rows.end : first[end];
        if (begin_row < end_row)
            run_program(layer, &layer->plan->stages[CAR_PHASE_BACK_AFTER][s],
                        layer->slots[CAR_PHASE_BACK_AFTER][s], 0, times.begin, 0,
                        (range){begin_row - base, end_row - base}, (range){0, layer->plan->blocks});
    }
}

static void run_back_after(const car_layer *layer, const share *mine, range times) {
    if (layer->plan->stage_count[CAR_PHASE_BACK_AFTER] == 0)
        return;
    const int base = layer->rows->first[times.begin];
    range rows = {0, layer->rows->first[times.end] - base}, blocks = {0, layer->plan->blocks};
    car_team_share(rows.end, 1, mine->member, mine->members, &rows.begin, &rows.end);
    for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_BACK_AFTER]; s++) {
        run_sums(layer, mine, CAR_PHASE_BACK_AFTER, s, times.begin, 0, rows, blocks);
        run_after_program(layer, s, times, (range){base + rows.begin, base + rows.end});
    }
    car_team_barrier(mine->team, mine->member);
}

static rows_met met_sums(const car_layer *layer, range times) {
    const car_bound sums = car_layer_bind(layer, (car_place){.region = CAR_REGION_SUMS});
    return met_rows(layer, &sums, times);
}

/* The operand's rows [chunk*B][depth] -> [depth][chunk*B]; a share of its blocks. */
static void transpose_operand(const car_layer *layer, const car_group *group, const share *mine,
                              range times) {
    const car_plan *plan = layer->plan;
    const car_bound operand = car_layer_bind(layer, group->operand_place);
    bool input = group->operand_place.region == CAR_REGION_INPUT;
    int parts = input ? plan->input.parts : 1, size = group->depth / parts;
    int part_blocks = car_blocks(size);
    range blocks;
    car_team_share(parts * part_blocks, 1, mine->member, mine->members, &blocks.begin, &blocks.end);
    float *out = layer->operand_transposed;
    while (times.begin < times.end) {
        const rows_met met = met_rows(layer, &operand, next_run(layer, &operand, &times));
        for (int j = blocks.begin; j < blocks.end; j++) {
            int inside = j % part_blocks * CAR_BLOCK;
            int count = size - inside < CAR_BLOCK ? size - inside : CAR_BLOCK;
            int64_t first = (int64_t)(j / part_blocks) * size + inside;
            layer->kernels->transpose(met.row + (int64_t)j * CAR_BLOCK, met.stride, met.count,
                                      count, out + first * layer->operand_row_stride,
                                      layer->operand_row_stride);
        }
        out += met.count;
    }
}

/* Operand and sums as they lie, when copies of them would cost more than they save. */
static bool is_read_in_place(const car_layer *layer, const car_group *group) {
    const car_plan *plan = layer->plan;
    bool parts = group->operand_place.region == CAR_REGION_INPUT && plan->input.parts > 1;
    return plan->precision == CAR_PRECISION_F32 && group->gate_span == group->count && !parts &&
           plan->gates * plan->padded <= MOST_IN_PLACE;
}

/* All gates lie side by side over the blocks of units; some of them, only within each. */
static void multiply_in_place(const car_layer *layer, const car_group *group, car_product *product,
                              range depth, range blocks) {
    const float *sums = product->panels;
    if (group->count == layer->plan->gates) {
        layer->kernels->product(product, depth.begin, depth.end, blocks.begin, blocks.end);
        return;
    }
    product->blocks = group->count;
    for (int block = blocks.begin; block < blocks.end; block += group->count) {
        product->block = group->gradient_block + block;
        product->panels = sums + (int64_t)block / group->count * layer->plan->gates * CAR_BLOCK +
                          (int64_t)group->gate_first * CAR_BLOCK;
        layer->kernels->product(product, depth.begin, depth.end, 0, group->count);
    }
}

static void gradient_in_place(const car_layer *layer, const car_group *group, const share *mine,
                              range times) {
    const car_plan *plan = layer->plan;
    const car_bound operand = car_layer_bind(layer, group->operand_place);
    range blocks = {0, group->blocks}, depth = {0, group->depth};
    const bool by_rows = group->blocks < CAR_PANEL_BLOCKS * mine->members;
    const int grain = group->count == plan->gates ? CAR_PANEL_BLOCKS : group->count;
    range *cut = by_rows ? &depth : &blocks;
    car_team_share(cut->end, by_rows ? 1 : grain, mine->member, mine->members, &cut->begin,
                   &cut->end);
    while (times.begin < times.end && cut->begin < cut->end) {
        const range run = next_run(layer, &operand, &times);
        const rows_met met = met_rows(layer, &operand, run), sums = met_sums(layer, run);
        car_product product = {
            .a = met.row,
            .a_row_stride = 1,
            .a_depth_stride = met.stride,
            .parts = 1,
            .part_length = met.count,
            .panels = sums.row,
            .panel_row_stride = sums.stride,
            .blocks = group->blocks,
            .block = group->gradient_block,
            .c = layer->gradient + group->weights,
            .c_row_stride = CAR_PANEL,
        };
        multiply_in_place(layer, group, &product, depth, blocks);
    }
}

/* Whether the sums of two groups give the same panels. */
static bool has_same_gates(const car_group *a, const car_group *b) {
    return a && a->count == b->count &&
           memcmp(a->gates, b->gates, (size_t)a->count * sizeof *a->gates) == 0;
}

static void pack_sums(const car_layer *layer, const car_group *group, const share *mine,
                      const rows_met *sums) {
    const bool pairs = layer->plan->precision == CAR_PRECISION_BF16;
    car_pack *pack = pairs ? layer->kernels->pack_pairs : layer->kernels->pack_rows;
    range blocks;
    car_team_share(group->blocks, CAR_PANEL_BLOCKS, mine->member, mine->members, &blocks.begin,
                   &blocks.end);
    if (!is_empty(blocks))
        pack(sums->row, sums->stride, sums->count, group->block, group->blocks,
             layer->gradient_panels, blocks.begin, blocks.end);
}

/* Each thread takes as many whole panels as all can have, and of those that are left over a share of the rows. The panels
 * may be those of the group `packed`. */
static void group_gradient(const car_layer *layer, const car_group *group, const car_group *packed,
                           const share *mine, range times) {
    const rows_met sums = met_sums(layer, times);
    const int each = group->blocks / (CAR_PANEL_BLOCKS * mine->members) * CAR_PANEL_BLOCKS;
    const range own = {mine->member * each, (mine->member + 1) * each},
                left = {mine->members * each, group->blocks};
    range depth;
    if (!has_same_gates(packed, group))
        pack_sums(layer, group, mine, &sums);
    transpose_operand(layer, group, mine, times);
    car_team_barrier(mine->team, mine->member);
    car_product product = {
        .a = layer->operand_transposed,
        .a_row_stride = layer->operand_row_stride,
        .parts = 1,
        .part_length = sums.count,
        .panels = layer->gradient_panels,
        .blocks = group->blocks,
        .block = group->gradient_block,
        .c = layer->gradient + group->weights,
        .c_row_stride = CAR_PANEL,
    };
    if (!is_empty(own))
        multiply(layer, &product, mine->member, (range){0, group->depth}, own);
    car_team_share(group->depth, 1, mine->member, mine->members, &depth.begin, &depth.end);
    if (!is_empty(left) && !is_empty(depth))
        multiply(layer, &product, mine->member, depth, left);
    car_team_barrier(mine->team, mine->member);
}

static void group_gradients(const car_layer *layer, const share *mine, range times) {
    const car_group *packed = NULL;
    for (int g = 0; g < layer->plan->group_count; g++) {
        const car_group *group = &layer->plan->groups[g];
        if (is_read_in_place(layer, group)) {
            gradient_in_place(layer, group, mine, times);
            continue;
        }
        group_gradient(layer, group, packed, mine, times);
        packed = group;
    }
}

static void vector_gradients(const car_layer *layer, const share *mine, range times) {
    const car_plan *plan = layer->plan;
    range blocks;
    car_team_share(plan->blocks, 1, mine->member, mine->members, &blocks.begin, &blocks.end);
    for (int k = 0; k < plan->vector_gradient_count; k++) {
        const car_vector_gradient *sum = &plan->vector_gradients[k];
        const car_bound place = car_layer_bind(layer, sum->place);
        const rows_met met = met_rows(layer, &place, times);
        const car_vector_slot slot = {met.row, met.stride, place.block_stride};
        layer->kernels->column_sum(slot, met.count, blocks.begin, blocks.end,
                                   layer->gradient + plan->vector_offset[sum->parameter], false);
    }
}

/* Steps of one round behind the loop. They follow from the sequences alone, not from the layer's capacity. */
static int steps_of_round(const car_rows *rows) {
    const int64_t all = (int64_t)rows->steps * car_rows_active(rows, 0);
    const int rounds = (int)((all + CAR_GRADIENT_ROWS - 1) / CAR_GRADIENT_ROWS);
    return rounds > 0 ? (rows->steps + rounds - 1) / rounds : rows->steps;
}

static void backward_task(void *argument, car_team *team, int member, int members) {
    const car_layer *layer = argument;
    const car_plan *plan = layer->plan;
    share mine = share_of(layer, team, member, members);
    const int steps = layer->rows->steps, round = steps_of_round(layer->rows);
    for (int done = 0, end; done < steps; done = end) {
        end = steps - done < round ? steps : done + round;
        const range times =
            layer->shape.reverse ? (range){done, end} : (range){steps - end, steps - done};
        if (plan->cell->state_count)
            run_back_loop(layer, &mine, done, end);
        run_back_after(layer, &mine, times);
        group_gradients(layer, &mine, times);
        vector_gradients(layer, &mine, times);
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
                        float *input_gradient, float *gradient, bool from_state_gradient) {
    const car_plan *plan = layer->plan;
    layer->input = input;
    layer->weights = weights;
    layer->transposed = transposed;
    layer->output_gradient = output_gradient;
    layer->input_gradient = input_gradient;
    if (!input_gradient && plan->input_gradient_stored)
        layer->input_gradient = layer->unasked_input_gradient;
    layer->gradient = gradient;
    for (int s = 0; s < plan->cell->state_count; s++)
        enter_state_gradient(layer, s, from_state_gradient);
    if (input_gradient && !plan->input_gradient_written)
        memset(input_gradient, 0,
               (size_t)car_rows_count(layer->rows) * (size_t)car_shape_row_stride(plan->input) *
                   sizeof(float));
    car_layer_bind_phase(layer, CAR_PHASE_BACK_LOOP);
    car_layer_bind_phase(layer, CAR_PHASE_BACK_AFTER);
    car_team_run(layer->shape.threads, backward_task, layer);
    for (int s = 0; s < plan->cell->state_count; s++)
        settle_state_gradient(layer, s);
}
