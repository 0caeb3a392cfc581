/*
 * run.c: a layer runs forward and backward over a sequence.
 *
 * Forward, chunk by chunk of time: the phase before the loop for all rows of the chunk (one product over
 * chunk*B rows), then the loop step by step: products, means, program of each stage. Backward the loop runs the
 * other way; then, over all rows at once, what it left over (dL/dx), and the weight gradients:
 *
 *   dP[k][column] += sum over rows of operand[row][k] * dsums[row][column]      one product with K = T*B
 *
 * Threads share either the lanes or the units (layer.c); every value is computed by one thread in one order, so
 * the bits do not depend on their number.
 */
#include "inside.h"
#include <string.h>

/* Floats of a row of sums. */
enum { MOST_IN_PLACE = 1024 };

typedef struct range {
    int begin, end;
} range;

typedef struct share {
    car_team *team;
    int member, members;
    range lanes, blocks; /* of the loop */
} share;

static share share_of(const car_layer *layer, car_team *team, int member, int members) {
    share mine = {team, member, members, {0, layer->shape.batch}, {0, layer->plan->blocks}};
    range *cut = layer->by_units ? &mine.blocks : &mine.lanes;
    car_team_share(cut->end, 1, member, members, &cut->begin, &cut->end);
    return mine;
}

/* ---- One stage at one time ---------------------------------------------------------------------------- */

static void run_group(const car_layer *layer, const car_group *group, int time, range rows,
                      range blocks) {
    const car_plan *plan = layer->plan;
    car_bound operand = car_layer_bind(layer, group->operand_place);
    bool input = group->operand_place.region == CAR_REGION_INPUT;
    int parts = input ? plan->input.parts : 1;
    int64_t row = (int64_t)plan->gates * plan->padded;
    car_product product = {
        .a = operand.base + time * operand.time_stride,
        .a_row_stride = operand.row_stride,
        .parts = parts,
        .part_length = group->depth / parts,
        .part_stride = input ? car_shape_part_stride(plan->input) : 0,
        .panels = layer->weights + group->weights,
        .blocks = group->blocks,
        .block = group->block,
        .initial = layer->weights,
        .c = layer->sums + time * layer->shape.batch * row,
        .c_row_stride = row,
    };
    layer->kernels->product(&product, rows.begin, rows.end, blocks.begin * group->count,
                            blocks.end * group->count);
}

static void run_transposed_group(const car_layer *layer, const car_group *group, int time,
                                 int parity, range rows, range blocks) {
    const car_plan *plan = layer->plan;
    if (group->back_place.region == CAR_REGION_INPUT_GRADIENT && !layer->input_gradient)
        return;
    car_bound target = car_layer_bind(layer, group->back_place);
    int64_t row = (int64_t)plan->gates * plan->padded;
    bool whole = group->gate_span == plan->gates;
    car_product product = {
        .a = layer->sums + time * layer->shape.batch * row + (int64_t)group->gate_first * CAR_BLOCK,
        .a_row_stride = row,
        .parts = whole ? 1 : plan->blocks,
        .part_length = group->gate_span * CAR_BLOCK * (whole ? plan->blocks : 1),
        .part_stride = (int64_t)plan->gates * CAR_BLOCK,
        .panels = layer->transposed + group->transposed,
        .blocks = group->back_blocks,
        .block = group->back_block,
        .c = target.base + time * target.time_stride + parity * target.parity_stride,
        .c_row_stride = target.row_stride,
    };
    layer->kernels->product(&product, rows.begin, rows.end, blocks.begin, blocks.end);
}

static void run_mean(const car_layer *layer, const car_mean *mean, int time, int parity,
                     range rows) {
    car_bound source = car_layer_bind(layer, mean->source),
              target = car_layer_bind(layer, mean->target);
    car_vector_slot slot = {source.base + time * source.time_stride + parity * source.parity_stride,
                            source.row_stride, source.block_stride};
    layer->kernels->row_mean(slot, layer->plan->units, rows.begin, rows.end,
                             target.base + time * target.time_stride, target.row_stride);
}

static void run_program(const car_layer *layer, const car_stage *stage, const car_bound *bound,
                        int time, int parity, range rows, range blocks) {
    car_vector_slot slots[CAR_MOST_SLOTS];
    if (stage->program.count == 0)
        return;
    for (int k = 0; k < stage->slot_count; k++)
        slots[k] = (car_vector_slot){bound[k].base + time * bound[k].time_stride +
                                         parity * bound[k].parity_stride,
                                     bound[k].row_stride, bound[k].block_stride};
    if (stage->function && layer->kernels->level == layer->plan->emitted->level)
        stage->function(slots, layer->plan->units, rows.begin, rows.end, blocks.begin, blocks.end);
    else
        layer->kernels->program(&stage->program, slots, layer->plan->units, rows.begin, rows.end,
                                blocks.begin, blocks.end);
}

/* Products, means and program of stage s of a phase for rows of time step `time` on. */
static void run_stage(const car_layer *layer, car_phase phase, int s, int time, int parity,
                      range rows, range blocks) {
    const car_stage *stage = &layer->plan->stages[phase][s];
    bool back = phase >= CAR_PHASE_BACK_LOOP;
    for (int g = 0; g < stage->group_count; g++) {
        const car_group *group = &layer->plan->groups[stage->groups[g]];
        if (back) {
            bool all = phase == CAR_PHASE_BACK_AFTER;
            run_transposed_group(layer, group, time, parity, rows,
                                 all ? (range){0, group->back_blocks} : blocks);
        } else {
            run_group(layer, group, time, rows, blocks);
        }
    }
    for (int m = 0; m < stage->mean_count; m++)
        run_mean(layer, &stage->means[m], time, parity, rows);
    run_program(layer, stage, layer->slots[phase][s], time, parity, rows, blocks);
}

static bool needs_others(const car_layer *layer, car_phase phase, int s) {
    return layer->by_units && layer->plan->stages[phase][s].group_count > 0;
}

/* ---- Forward ------------------------------------------------------------------------------------------ */

static void run_before(const car_layer *layer, const share *mine, int first, int last) {
    int rows = (last - first) * layer->shape.batch;
    range cut = {0, rows};
    if (!layer->by_units)
        car_team_share(rows, 1, mine->member, mine->members, &cut.begin, &cut.end);
    for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_BEFORE]; s++) {
        if (s > 0 && needs_others(layer, CAR_PHASE_BEFORE, s))
            car_team_barrier(mine->team, mine->member);
        run_stage(layer, CAR_PHASE_BEFORE, s, first, 0, cut, mine->blocks);
    }
    if (!layer->by_units)
        car_team_barrier(mine->team, mine->member);
}

static void run_forward_step(const car_layer *layer, const share *mine, int time) {
    for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_LOOP]; s++) {
        if (needs_others(layer, CAR_PHASE_LOOP, s))
            car_team_barrier(mine->team, mine->member);
        run_stage(layer, CAR_PHASE_LOOP, s, time, 0, mine->lanes, mine->blocks);
    }
}

static void forward_task(void *argument, car_team *team, int member, int members) {
    const car_layer *layer = argument;
    share mine = share_of(layer, team, member, members);
    for (int done = 0; done < layer->steps; done += layer->chunk) {
        int count = layer->steps - done < layer->chunk ? layer->steps - done : layer->chunk;
        int first = layer->shape.reverse ? layer->steps - done - count : done;
        if (layer->plan->stage_count[CAR_PHASE_BEFORE])
            run_before(layer, &mine, first, first + count);
        for (int k = 0; k < count; k++)
            run_forward_step(layer, &mine,
                             layer->shape.reverse ? first + count - 1 - k : first + k);
    }
}

void car_layer_forward(car_layer *layer, int steps, const float *input, const float *weights) {
    int64_t step = (int64_t)layer->shape.batch * layer->plan->padded;
    layer->steps = steps;
    layer->input = input;
    layer->weights = weights;
    for (int s = 0; s < layer->plan->cell->state_count; s++)
        memcpy(layer->state[s] + (layer->shape.reverse ? steps * step : 0), layer->start[s],
               (size_t)step * sizeof(float));
    car_layer_bind_phase(layer, CAR_PHASE_BEFORE);
    car_layer_bind_phase(layer, CAR_PHASE_LOOP);
    car_team_run(layer->shape.threads, forward_task, layer);
}

/* ---- Backward ----------------------------------------------------------------------------------------- */

static void run_back_loop(const car_layer *layer, const share *mine) {
    for (int done = 0; done < layer->steps; done++) {
        int time = layer->shape.reverse ? done : layer->steps - 1 - done;
        for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_BACK_LOOP]; s++) {
            if (needs_others(layer, CAR_PHASE_BACK_LOOP, s))
                car_team_barrier(mine->team, mine->member);
            run_stage(layer, CAR_PHASE_BACK_LOOP, s, time, done & 1, mine->lanes, mine->blocks);
        }
    }
    car_team_barrier(mine->team, mine->member);
}

static void run_back_after(const car_layer *layer, const share *mine) {
    range rows = {0, layer->steps * layer->shape.batch};
    car_team_share(rows.end, 1, mine->member, mine->members, &rows.begin, &rows.end);
    for (int s = 0; s < layer->plan->stage_count[CAR_PHASE_BACK_AFTER]; s++)
        run_stage(layer, CAR_PHASE_BACK_AFTER, s, 0, 0, rows, (range){0, layer->plan->blocks});
    car_team_barrier(mine->team, mine->member);
}

/* The operand's rows [T*B][depth] -> [depth][T*B]; a share of its blocks. */
static void transpose_operand(const car_layer *layer, const car_group *group, const share *mine) {
    const car_plan *plan = layer->plan;
    car_bound operand = car_layer_bind(layer, group->operand_place);
    bool input = group->operand_place.region == CAR_REGION_INPUT;
    int parts = input ? plan->input.parts : 1, size = group->depth / parts;
    int part_blocks = car_blocks(size), rows = layer->steps * layer->shape.batch;
    range blocks;
    car_team_share(parts * part_blocks, 1, mine->member, mine->members, &blocks.begin, &blocks.end);
    for (int j = blocks.begin; j < blocks.end; j++) {
        int inside = j % part_blocks * CAR_BLOCK;
        int count = size - inside < CAR_BLOCK ? size - inside : CAR_BLOCK;
        int64_t first = (int64_t)(j / part_blocks) * size + inside;
        layer->kernels->transpose(operand.base + (int64_t)j * CAR_BLOCK, operand.row_stride, rows,
                                  count,
                                  layer->operand_transposed + first * layer->operand_row_stride,
                                  layer->operand_row_stride);
    }
}

/* Operand and sums as they lie, when copies of them would cost more than they save. */
static bool is_read_in_place(const car_layer *layer, const car_group *group) {
    const car_plan *plan = layer->plan;
    bool parts = group->operand_place.region == CAR_REGION_INPUT && plan->input.parts > 1;
    return group->count == plan->gates && !parts && plan->gates * plan->padded <= MOST_IN_PLACE;
}

static void gradient_in_place(const car_layer *layer, const car_group *group, const share *mine) {
    car_bound operand = car_layer_bind(layer, group->operand_place);
    range blocks = {0, group->blocks}, depth = {0, group->depth};
    bool by_rows = group->blocks < CAR_PANEL_BLOCKS * mine->members;
    range *cut = by_rows ? &depth : &blocks;
    car_team_share(cut->end, by_rows ? 1 : CAR_PANEL_BLOCKS, mine->member, mine->members,
                   &cut->begin, &cut->end);
    car_product product = {
        .a = operand.base,
        .a_row_stride = 1,
        .a_depth_stride = operand.row_stride,
        .parts = 1,
        .part_length = layer->steps * layer->shape.batch,
        .panels = layer->sums,
        .panel_row_stride = (int64_t)layer->plan->gates * layer->plan->padded,
        .blocks = group->blocks,
        .block = group->gradient_block,
        .c = layer->gradient + group->weights,
        .c_row_stride = CAR_PANEL,
    };
    if (cut->begin < cut->end)
        layer->kernels->product(&product, depth.begin, depth.end, blocks.begin, blocks.end);
}

/* Threads share the panels; when there are too few of them, the rows of the gradient. */
static void group_gradient(const car_layer *layer, const car_group *group, const share *mine) {
    int rows = layer->steps * layer->shape.batch;
    int64_t row = (int64_t)layer->plan->gates * layer->plan->padded;
    range packed, blocks, depth = {0, group->depth};
    bool by_rows = group->blocks < 2 * CAR_PANEL_BLOCKS * mine->members;
    car_team_share(group->blocks, CAR_PANEL_BLOCKS, mine->member, mine->members, &packed.begin,
                   &packed.end);
    blocks = packed;
    if (packed.begin < packed.end)
        layer->kernels->pack_rows(layer->sums, row, rows, group->block, group->blocks,
                                  layer->gradient_panels, packed.begin, packed.end);
    transpose_operand(layer, group, mine);
    car_team_barrier(mine->team, mine->member);
    if (by_rows) {
        blocks = (range){0, group->blocks};
        car_team_share(group->depth, 1, mine->member, mine->members, &depth.begin, &depth.end);
    }
    car_product product = {
        .a = layer->operand_transposed,
        .a_row_stride = layer->operand_row_stride,
        .parts = 1,
        .part_length = rows,
        .panels = layer->gradient_panels,
        .blocks = group->blocks,
        .block = group->gradient_block,
        .c = layer->gradient + group->weights,
        .c_row_stride = CAR_PANEL,
    };
    if (blocks.begin < blocks.end && depth.begin < depth.end)
        layer->kernels->product(&product, depth.begin, depth.end, blocks.begin, blocks.end);
    car_team_barrier(mine->team, mine->member);
}

static void vector_gradients(const car_layer *layer, const share *mine) {
    const car_plan *plan = layer->plan;
    range blocks;
    car_team_share(plan->blocks, 1, mine->member, mine->members, &blocks.begin, &blocks.end);
    for (int k = 0; k < plan->vector_gradient_count; k++) {
        const car_vector_gradient *sum = &plan->vector_gradients[k];
        car_bound place = car_layer_bind(layer, sum->place);
        car_vector_slot slot = {place.base, place.row_stride, place.block_stride};
        layer->kernels->column_sum(slot, layer->steps * layer->shape.batch, blocks.begin,
                                   blocks.end,
                                   layer->gradient + plan->vector_offset[sum->parameter], false);
    }
}

static void backward_task(void *argument, car_team *team, int member, int members) {
    const car_layer *layer = argument;
    share mine = share_of(layer, team, member, members);
    if (layer->plan->cell->state_count)
        run_back_loop(layer, &mine);
    run_back_after(layer, &mine);
    for (int g = 0; g < layer->plan->group_count; g++) {
        const car_group *group = &layer->plan->groups[g];
        if (is_read_in_place(layer, group))
            gradient_in_place(layer, group, &mine);
        else
            group_gradient(layer, group, &mine);
    }
    vector_gradients(layer, &mine);
}

/* The gradient after an odd number of steps stands in the second array. */
static void settle_state_gradients(car_layer *layer) {
    int64_t step = (int64_t)layer->shape.batch * layer->plan->padded;
    if (layer->steps & 1)
        for (int s = 0; s < layer->plan->cell->state_count; s++)
            memcpy(layer->state_gradient[s], layer->state_gradient[s] + step,
                   (size_t)step * sizeof(float));
}

void car_layer_backward(car_layer *layer, int steps, const float *input, const float *weights,
                        const float *transposed, const float *output_gradient,
                        float *input_gradient, float *gradient, bool from_state_gradient) {
    const car_plan *plan = layer->plan;
    int64_t step = (int64_t)layer->shape.batch * plan->padded;
    layer->steps = steps;
    layer->input = input;
    layer->weights = weights;
    layer->transposed = transposed;
    layer->output_gradient = output_gradient;
    layer->input_gradient = input_gradient;
    if (!input_gradient && plan->input_gradient_stored)
        layer->input_gradient = layer->unasked_input_gradient;
    layer->gradient = gradient;
    if (!from_state_gradient)
        for (int s = 0; s < plan->cell->state_count; s++)
            memset(layer->state_gradient[s], 0, (size_t)step * sizeof(float));
    if (input_gradient && !plan->input_gradient_written)
        memset(input_gradient, 0,
               (size_t)steps * (size_t)layer->shape.batch *
                   (size_t)car_shape_row_stride(plan->input) * sizeof(float));
    car_layer_bind_phase(layer, CAR_PHASE_BACK_LOOP);
    car_layer_bind_phase(layer, CAR_PHASE_BACK_AFTER);
    car_team_run(layer->shape.threads, backward_task, layer);
    settle_state_gradients(layer);
}
