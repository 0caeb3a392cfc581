/*
 * gradient.c: the weight gradients of some steps, behind the backward loop.
 *
 * In:  what the loops left of these steps: operands of products, and dL/d(sums) in the place of the sums. Out, in the
 *      layer's gradient, instead of what stands there with the first steps, added to it with the others:
 *
 *   dP[k][column] += sum over rows of operand[row][k] * dsums[row][column]      a product whose depth are the rows
 *   dv[unit]      += sum over rows of what the vector v is added or multiplied to
 *
 * Rows are summed in the order in which the loop met them, from the last step to the first, so that neither the steps of
 * a round nor the pieces of a sequence change a bit (pieces do on AMX's tiles, which sum 32 rows at a time). Operand and sums
 * are packed for the product, but where rows are so short that it reads them where they lie. Threads share columns, or rows
 * of the gradient, never what is summed.
 */
#include "inside.h"
#include <string.h>

/* Rows of a place over some steps, in the order in which the backward loop meets them. */
typedef struct rows_met {
    float *row; /* the first that is met */
    int64_t stride;
    int count;
} rows_met;

static rows_met met_rows(const car_layer *layer, const car_bound *place, car_range times) {
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
static car_range next_run(const car_layer *layer, const car_bound *place, car_range *times) {
    const car_rows *rows = layer->rows;
    car_range run = *times;
    if (place->first == rows->first) {
        times->begin = times->end;
    } else if (layer->shape.reverse) {
        run.end = times->begin = car_rows_run_end(rows, *times);
    } else {
        run.begin = run.end - 1;
        while (run.begin > times->begin && car_rows_go_on(rows, run.begin))
            run.begin--;
        times->end = run.begin;
    }
    return run;
}

static rows_met met_sums(const car_layer *layer, car_range times) {
    const car_bound sums = car_layer_bind(layer, (car_place){.region = CAR_REGION_SUMS});
    return met_rows(layer, &sums, times);
}

/* The operand's rows [chunk*B][depth] -> [depth][chunk*B]; a share of its blocks. */
static void transpose_operand(const car_layer *layer, const car_group *group, const car_share *mine,
                              car_range times) {
    const car_plan *plan = layer->plan;
    const car_bound operand = car_layer_bind(layer, group->operand_place);
    bool input = group->operand_place.region == CAR_REGION_INPUT;
    int parts = input ? plan->input.parts : 1, size = group->depth / parts;
    int part_blocks = car_blocks(size);
    car_range blocks;
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
    return plan->precision == CAR_PRECISION_F32 && !group->splits &&
           group->gate_span == group->count && !parts &&
           plan->gates * plan->padded <= layer->kernels->row_in_place;
}

/* All gates lie side by side over the blocks of units; some of them, only within each. */
static void multiply_in_place(const car_layer *layer, const car_group *group, car_product *product,
                              car_range depth, car_range blocks) {
    const float *sums = product->panels;
    const car_product_block *place = product->block;
    if (group->count == layer->plan->gates) {
        layer->kernels->product(product, NULL, depth.begin, depth.end, blocks.begin, blocks.end);
        return;
    }
    product->blocks = group->count;
    const int halves = product->half_blocks;
    for (int block = blocks.begin; block < blocks.end; block += group->count) {
        product->block = place + block;
        product->half_blocks = block + group->count == group->blocks ? halves : 0;
        product->panels = sums + (int64_t)block / group->count * layer->plan->gates * CAR_BLOCK +
                          (int64_t)group->gate_first * CAR_BLOCK;
        layer->kernels->product(product, NULL, depth.begin, depth.end, 0, group->count);
    }
}

static void gradient_in_place(const car_layer *layer, const car_group *group, const car_share *mine,
                              car_range times, bool begins) {
    const car_plan *plan = layer->plan;
    const car_bound operand = car_layer_bind(layer, group->operand_place);
    car_range blocks = {0, group->blocks}, depth = {0, group->depth};
    const bool by_rows = group->blocks < CAR_PANEL_BLOCKS * mine->members;
    const int grain = group->count == plan->gates ? CAR_PANEL_BLOCKS : group->count;
    car_range *cut = by_rows ? &depth : &blocks;
    car_team_share(cut->end, by_rows ? 1 : grain, mine->member, mine->members, &cut->begin,
                   &cut->end);
    while (times.begin < times.end && cut->begin < cut->end) {
        const car_range run = next_run(layer, &operand, &times);
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
            .block = begins ? group->gradient_begin : group->gradient_block,
            .half_blocks = group->half_blocks,
            .c = layer->gradient + group->weights,
            .c_row_stride = CAR_PANEL,
        };
        multiply_in_place(layer, group, &product, depth, blocks);
        begins = false;
    }
}

static void pack_sums(const car_layer *layer, const car_group *group, const car_share *mine,
                      const rows_met *sums) {
    const bool pairs = layer->plan->precision == CAR_PRECISION_BF16;
    car_pack *pack = pairs ? layer->kernels->pack_pairs : layer->kernels->pack_rows;
    car_range blocks;
    car_team_share(group->blocks, CAR_PANEL_BLOCKS, mine->member, mine->members, &blocks.begin,
                   &blocks.end);
    if (!car_range_is_empty(blocks))
        pack(sums->row, sums->stride, sums->count, group->block, group->blocks,
             layer->gradient_panels, blocks.begin, blocks.end);
}

/* Each thread takes as many whole panels as all can have, and of those that are left over a share of the rows. The panels
 * may be those of the group `packed`. */
static void group_gradient(const car_layer *layer, const car_group *group, const car_group *packed,
                           const car_share *mine, car_range times, bool begins) {
    const rows_met sums = met_sums(layer, times);
    const int each = mine->members == 1
                         ? group->blocks
                         : group->blocks / (CAR_PANEL_BLOCKS * mine->members) * CAR_PANEL_BLOCKS;
    const car_range own = {mine->member * each, (mine->member + 1) * each},
                    left = {mine->members * each, group->blocks};
    car_range depth;
    if (!packed || !car_same_gates(packed, group))
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
        .block = begins ? group->gradient_begin : group->gradient_block,
        .half_blocks = group->half_blocks,
        .c = layer->gradient + group->weights,
        .c_row_stride = CAR_PANEL,
    };
    if (!car_range_is_empty(own))
        car_layer_multiply_gradient(layer, group, &product, mine->member,
                                    (car_range){0, group->depth}, own);
    car_team_share(group->depth, 1, mine->member, mine->members, &depth.begin, &depth.end);
    if (!car_range_is_empty(left) && !car_range_is_empty(depth))
        car_layer_multiply_gradient(layer, group, &product, mine->member, depth, left);
    car_team_barrier(mine->team, mine->member);
}

void car_layer_group_gradients(const car_layer *layer, const car_share *mine, car_range times,
                               bool begins) {
    const car_group *packed = NULL;
    for (int g = 0; g < layer->plan->group_count; g++) {
        const car_group *group = &layer->plan->groups[g];
        if (is_read_in_place(layer, group)) {
            gradient_in_place(layer, group, mine, times, begins);
            continue;
        }
        group_gradient(layer, group, packed, mine, times, begins);
        packed = group;
    }
}

/* Whether a sum before the k-th goes into the same parameter. */
static bool has_begun(const car_plan *plan, int k) {
    for (int before = 0; before < k; before++)
        if (plan->vector_gradients[before].parameter == plan->vector_gradients[k].parameter)
            return true;
    return false;
}

void car_layer_vector_gradients(const car_layer *layer, const car_share *mine, car_range times,
                                bool begins) {
    const car_plan *plan = layer->plan;
    car_range blocks;
    car_team_share(plan->blocks, 1, mine->member, mine->members, &blocks.begin, &blocks.end);
    for (int k = 0; k < plan->vector_gradient_count; k++) {
        const car_vector_gradient *sum = &plan->vector_gradients[k];
        const car_bound place = car_layer_bind(layer, sum->place);
        const rows_met met = met_rows(layer, &place, times);
        const car_vector_slot slot = {met.row, met.stride, place.block_stride};
        layer->kernels->column_sum(&slot, met.count, blocks.begin, blocks.end,
                                   layer->gradient + plan->vector_offset[sum->parameter],
                                   begins && !has_begun(plan, k));
    }
}
