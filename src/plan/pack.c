/*
 * pack.c: where every parameter stands in the packed weights of a plan.
 *
 *   vectors first, each [padded]; then each group's panels: column j*16 + lane, j = block*count + i, is unit
 *   block*16 + lane of the group's i-th gate: 16 units of all gates, then the next 16 units. Panel p holds
 *   columns 64p .. 64p+63 as [depth][64].
 *
 * The transposed copy of a group, for dL/d(operand), has a column for each operand value (padded by parts) and
 * a row for each (block, gate from gate_first on, lane), as the gradients of the sums lie in memory; the rows of
 * gates that the group does not have stay 0. A last block that units do not fill follows in panels of its own, with rows for
 * its units alone. A parameter used in several groups is packed once in each.
 *
 * In bf16 a layer runs on a rounded copy: the vectors at the same places, then each group's panels as pairs of rows
 * (kernels.h); the transposed copy consists of pairs too. In int8 it runs on the vectors and panels of quads, which are
 * packed from whole numbers; there is nothing else then.
 *
 * A mask of dropped weights has a random number for each unit and column of a parameter: not of its place here.
 */
#include "inside.h"
#include <string.h>

static int panels_of(int blocks) {
    return (blocks + CAR_PANEL_BLOCKS - 1) / CAR_PANEL_BLOCKS;
}

static int operand_part_blocks(const car_plan *plan, const car_group *group) {
    bool input = plan->cell->graph.nodes[group->operand].op == CAR_OP_INPUT;
    return input ? car_blocks(plan->input.size / plan->input.parts) : plan->blocks;
}

static int operand_parts(const car_plan *plan, const car_group *group) {
    return plan->cell->graph.nodes[group->operand].op == CAR_OP_INPUT ? plan->input.parts : 1;
}

static int whole_depth(const car_group *group) {
    return group->whole_blocks * group->gate_span * CAR_BLOCK;
}

static int rest_depth(const car_group *group) {
    return group->gate_span * group->rest;
}

/* Units of the last block that are transposed by themselves: whole pairs. AMX's tiles take 32 k at a time, padding or not. */
static int rest_of(const car_plan *plan, const car_group *group) {
    const bool tiles = group->splits || (plan->precision == CAR_PRECISION_BF16 && plan->kernels &&
                                         plan->kernels->product_tiles);
    const int rest = 2 * car_pairs(plan->units % CAR_BLOCK);
    return tiles || rest == CAR_BLOCK ? 0 : rest;
}

/* Rows of a panel that holds `depth` of them, as layers read it. */
static int running_rows(const car_plan *plan, int depth) {
    return plan->precision == CAR_PRECISION_BF16 ? car_pairs(depth) : depth;
}

/* Adds count panels of [depth][64] to *floats; false when it grows beyond what block offsets can name. */
static bool add_panels(size_t *floats, int panels, int depth) {
    size_t size;
    return car_multiply((size_t)panels, (size_t)depth * CAR_PANEL, &size) &&
           car_add(*floats, size, floats) && size < INT32_MAX;
}

/* The panels of a group as layers read them. */
static bool add_running(const car_plan *plan, size_t *floats, int panels, int depth) {
    if (plan->precision == CAR_PRECISION_INT8)
        return car_add(*floats, car_quad_floats(panels, depth), floats) && *floats < INT32_MAX;
    return add_panels(floats, panels, running_rows(plan, depth));
}

/* A group's transposed copy. */
static bool add_transposed(const car_plan *plan, car_group *group, size_t *floats) {
    const int panels = panels_of(group->back_blocks);
    group->transposed = *floats;
    if (!add_panels(floats, panels, running_rows(plan, whole_depth(group))))
        return false;
    group->transposed_rest = *floats;
    return add_panels(floats, panels, running_rows(plan, rest_depth(group)));
}

static car_status lay_out_blocks(car_plan *plan, car_group *group, car_error *error) {
    const car_graph *graph = &plan->cell->graph;
    group->block = car_arena_allocate(plan->arena, (size_t)group->blocks, sizeof *group->block);
    group->gradient_block =
        car_arena_allocate(plan->arena, (size_t)group->blocks, sizeof *group->block);
    group->gradient_begin =
        car_arena_allocate(plan->arena, (size_t)group->blocks, sizeof *group->block);
    group->back_block =
        car_arena_allocate(plan->arena, (size_t)group->back_blocks, sizeof *group->block);
    group->rest_block =
        car_arena_allocate(plan->arena, (size_t)group->back_blocks, sizeof *group->block);
    if (!group->block || !group->gradient_block || !group->gradient_begin || !group->back_block ||
        !group->rest_block)
        return car_plan_no_memory(error);
    for (int j = 0; j < group->blocks; j++) {
        int unit_block = j / group->count, i = j % group->count;
        int start = graph->nodes[group->products[i]].b;
        car_product_block *block = &group->block[j];
        block->c = (unit_block * plan->gates + group->gates[i]) * CAR_BLOCK;
        if (start < 0)
            block->initial = CAR_FROM_ZERO;
        else if (graph->nodes[start].op == CAR_OP_VECTOR)
            block->initial =
                (int32_t)plan->vector_offset[graph->nodes[start].index] + unit_block * CAR_BLOCK;
        else
            block->initial = CAR_FROM_C;
        const int32_t place =
            (j / CAR_PANEL_BLOCKS) * group->depth * CAR_PANEL + (j % CAR_PANEL_BLOCKS) * CAR_BLOCK;
        group->gradient_block[j] = (car_product_block){place, CAR_FROM_C};
        group->gradient_begin[j] = (car_product_block){place, CAR_FROM_ZERO};
    }
    const int begin = group->back_continues ? CAR_FROM_C : CAR_FROM_ZERO;
    for (int j = 0; j < group->back_blocks; j++) {
        group->back_block[j] = (car_product_block){j * CAR_BLOCK, begin};
        group->rest_block[j] =
            (car_product_block){j * CAR_BLOCK, group->whole_blocks > 0 ? CAR_FROM_C : begin};
    }
    return CAR_OK;
}

car_status car_plan_lay_out(car_plan *plan, car_error *error) {
    const struct car_cell *cell = plan->cell;
    plan->vector_offset =
        car_arena_allocate(plan->arena, (size_t)cell->parameter_count + 1, sizeof(size_t));
    if (!plan->vector_offset)
        return car_plan_no_memory(error);
    size_t weights = 0, running, transposed = 0;
    for (int p = 0; p < cell->parameter_count; p++)
        if (cell->parameters[p].kind != CAR_MATRIX) {
            plan->vector_offset[p] = weights;
            weights += (size_t)plan->padded;
        }
    bool fits = weights < INT32_MAX;
    running = weights;
    for (int g = 0; g < plan->group_count && fits; g++) {
        car_group *group = &plan->groups[g];
        group->blocks = plan->blocks * group->count;
        group->half_blocks = car_ends_half_empty(plan->units) ? group->count : 0;
        group->gate_first = group->gates[0];
        group->gate_span = group->gates[group->count - 1] - group->gates[0] + 1;
        group->back_blocks = operand_parts(plan, group) * operand_part_blocks(plan, group);
        group->splits = plan->kernels && plan->training &&
                        car_splits(plan->kernels, plan->precision, group->depth);
        group->weights = weights;
        group->running = running;
        group->rest = rest_of(plan, group);
        group->whole_blocks = plan->blocks - (group->rest > 0);
        fits = add_panels(&weights, panels_of(group->blocks), group->depth) &&
               add_running(plan, &running, panels_of(group->blocks), group->depth) &&
               add_transposed(plan, group, &transposed);
        if (fits)
            CAR_TRY(lay_out_blocks(plan, group, error));
    }
    if (!fits)
        return car_fail(error, CAR_USAGE,
                        "cell %s: %d units of input size %d need a matrix that is too large; "
                        "use fewer units",
                        cell->name, plan->units, plan->input.size);
    plan->weight_floats = weights;
    plan->running_floats = running;
    plan->transposed_floats = transposed;
    return CAR_OK;
}

size_t car_plan_weight_floats(const car_plan *plan) {
    return plan->weight_floats;
}

size_t car_plan_running_floats(const car_plan *plan) {
    return plan->running_floats;
}

size_t car_plan_transposed_floats(const car_plan *plan) {
    return plan->transposed_floats;
}

int car_plan_columns(const car_plan *plan, int parameter) {
    if (plan->cell->parameters[parameter].kind != CAR_MATRIX)
        return 1;
    for (int g = 0; g < plan->group_count; g++)
        for (int i = 0; i < plan->groups[g].count; i++)
            if (plan->groups[g].parameters[i] == parameter)
                return plan->groups[g].depth;
    return 0;
}

/* Where (unit, column 0) of the group's i-th matrix stands; the next column is CAR_PANEL floats on. */
static size_t matrix_row(const car_group *group, int i, int unit) {
    size_t j = (size_t)(unit / CAR_BLOCK) * (size_t)group->count + (size_t)i;
    return group->weights + (j / CAR_PANEL_BLOCKS) * (size_t)group->depth * CAR_PANEL +
           (j % CAR_PANEL_BLOCKS) * CAR_BLOCK + (size_t)(unit % CAR_BLOCK);
}

void car_plan_pack(const car_plan *plan, int parameter, const float *logical, float *packed) {
    if (plan->cell->parameters[parameter].kind != CAR_MATRIX) {
        memcpy(packed + plan->vector_offset[parameter], logical,
               (size_t)plan->units * sizeof(float));
        return;
    }
    for (int g = 0; g < plan->group_count; g++) {
        const car_group *group = &plan->groups[g];
        for (int i = 0; i < group->count; i++) {
            if (group->parameters[i] != parameter)
                continue;
            for (int unit = 0; unit < plan->units; unit++) {
                float *row = packed + matrix_row(group, i, unit);
                for (int k = 0; k < group->depth; k++)
                    row[(size_t)k * CAR_PANEL] =
                        logical[(size_t)unit * (size_t)group->depth + (size_t)k];
            }
        }
    }
}

void car_plan_unpack(const car_plan *plan, int parameter, const float *packed, float *logical) {
    if (plan->cell->parameters[parameter].kind != CAR_MATRIX) {
        memcpy(logical, packed + plan->vector_offset[parameter],
               (size_t)plan->units * sizeof(float));
        return;
    }
    for (int g = 0; g < plan->group_count; g++) {
        const car_group *group = &plan->groups[g];
        for (int i = 0; i < group->count; i++) {
            if (group->parameters[i] != parameter)
                continue;
            for (int unit = 0; unit < plan->units; unit++) {
                const float *row = packed + matrix_row(group, i, unit);
                for (int k = 0; k < group->depth; k++)
                    logical[(size_t)unit * (size_t)group->depth + (size_t)k] =
                        row[(size_t)k * CAR_PANEL];
            }
            return;
        }
    }
}

/* ---- int8 --------------------------------------------------------------------------------------------- */

/* The column that a row of the group's i-th matrix is. */
static int column_of(const car_group *group, int i, int unit) {
    return (unit / CAR_BLOCK * group->count + i) * CAR_BLOCK + unit % CAR_BLOCK;
}

void car_plan_pack_int8(const car_plan *plan, int parameter, const int8_t *values,
                        const float *scales, float *running) {
    for (int g = 0; g < plan->group_count; g++) {
        const car_group *group = &plan->groups[g];
        for (int i = 0; i < group->count; i++)
            for (int unit = 0; group->parameters[i] == parameter && unit < plan->units; unit++)
                car_quads_set(running + group->running, panels_of(group->blocks), group->depth,
                              column_of(group, i, unit),
                              values + (size_t)unit * (size_t)group->depth, scales[unit]);
    }
}

void car_plan_unpack_int8(const car_plan *plan, int parameter, const float *running, int8_t *values,
                          float *scales) {
    for (int g = 0; g < plan->group_count; g++) {
        const car_group *group = &plan->groups[g];
        for (int i = 0; i < group->count; i++)
            for (int unit = 0; group->parameters[i] == parameter && unit < plan->units; unit++) {
                int8_t *row = values ? values + (size_t)unit * (size_t)group->depth : NULL;
                float scale;
                car_quads_get(running + group->running, panels_of(group->blocks), group->depth,
                              column_of(group, i, unit), row, scales ? &scales[unit] : &scale);
            }
    }
}

typedef void (*copy_function)(float *first, float *other);

static void add_to_first(float *first, float *other) {
    *first += *other;
    *other = 0;
}

static void copy_to_other(float *first, float *other) {
    *other = *first;
}

/* Calls function for every float of every further copy of a matrix. */
static void for_copies(const car_plan *plan, float *packed, copy_function function) {
    for (int p = 0; p < plan->cell->parameter_count; p++) {
        const car_group *first = NULL;
        int first_i = 0;
        for (int g = 0; g < plan->group_count; g++)
            for (int i = 0; i < plan->groups[g].count; i++) {
                const car_group *group = &plan->groups[g];
                if (group->parameters[i] != p || plan->cell->parameters[p].kind != CAR_MATRIX)
                    continue;
                if (!first) {
                    first = group;
                    first_i = i;
                    continue;
                }
                for (int unit = 0; unit < plan->units; unit++)
                    for (int k = 0; k < group->depth; k++)
                        function(packed + matrix_row(first, first_i, unit) + (size_t)k * CAR_PANEL,
                                 packed + matrix_row(group, i, unit) + (size_t)k * CAR_PANEL);
            }
    }
}

void car_plan_fold_gradient(const car_plan *plan, float *gradient) {
    for_copies(plan, gradient, add_to_first);
}

void car_plan_refresh(const car_plan *plan, float *weights) {
    for_copies(plan, weights, copy_to_other);
}

/* Of column k of the group's i-th matrix, MASK_UNITS units at a time. */
static void drop_column(const car_plan *plan, const car_kernels *kernels,
                        const car_weight_drop *drop, const car_group *group, int i, int k,
                        const float *source, float *target) {
    enum { MASK_UNITS = 1024 };
    float mask[MASK_UNITS];
    uint64_t pieces = ((uint64_t)plan->units + MASK_UNITS - 1) / MASK_UNITS;
    car_random_key key = drop->key;
    key.layer |= (uint32_t)group->parameters[i] << 16;
    for (int first = 0; first < plan->units; first += MASK_UNITS) {
        int count = plan->units - first < MASK_UNITS ? plan->units - first : MASK_UNITS;
        uint64_t piece = (uint64_t)k * pieces + (uint64_t)(first / MASK_UNITS);
        kernels->dropout_mask(key, drop->update, piece, drop->probability, count, mask);
        for (int unit = 0; unit < count; unit += CAR_BLOCK) {
            size_t at = matrix_row(group, i, first + unit) + (size_t)k * CAR_PANEL;
            for (int lane = 0; lane < CAR_BLOCK; lane++)
                target[at + (size_t)lane] = source[at + (size_t)lane] * mask[unit + lane];
        }
    }
}

void car_plan_drop(const car_plan *plan, const car_kernels *kernels, const car_weight_drop *drop,
                   const float *source, float *target, int member, int members) {
    size_t vectors = plan->group_count ? plan->groups[0].weights : plan->weight_floats;
    if (member == 0 && source != target)
        memcpy(target, source, vectors * sizeof(float));
    for (int g = 0; g < plan->group_count; g++) {
        const car_group *group = &plan->groups[g];
        bool from_input = plan->cell->graph.nodes[group->operand].op == CAR_OP_INPUT;
        int begin, end;
        car_team_share(from_input ? panels_of(group->blocks) : group->depth, 1, member, members,
                       &begin, &end);
        size_t panel = (size_t)group->depth * CAR_PANEL;
        size_t at = group->weights + (size_t)begin * panel;
        if (from_input && source != target)
            memcpy(target + at, source + at, (size_t)(end - begin) * panel * sizeof(float));
        for (int k = begin; k < end && !from_input; k++)
            for (int i = 0; i < group->count; i++)
                drop_column(plan, kernels, drop, group, i, k, source, target);
    }
}

/* The operand values of one panel of weights that share a panel of the transposed copy. */
typedef struct turned {
    int panel, first, count; /* operand values [first, first + count) */
    float *whole, *rest;     /* row 0 of the panel in either copy, at the column of the first one */
} turned;

/* [count][16 units] of each block of the panel become 16 rows of count values, of the last block as many as the rest has units;
 * in bf16 half as many, of pairs. */
static void transpose_part(const car_plan *plan, const car_kernels *kernels, const car_group *group,
                           const float *source, const turned *part) {
    const int begin = part->panel * CAR_PANEL_BLOCKS, left = group->blocks - begin;
    const int blocks = left < CAR_PANEL_BLOCKS ? left : CAR_PANEL_BLOCKS;
    for (int i = 0; i < blocks; i++) {
        const int unit_block = (begin + i) / group->count,
                  gate = group->gates[(begin + i) % group->count] - group->gate_first;
        const bool whole = unit_block < group->whole_blocks;
        const int units = whole ? CAR_BLOCK : group->rest;
        const int row = (whole ? unit_block * group->gate_span + gate : gate) * units;
        float *target =
            (whole ? part->whole : part->rest) + (size_t)running_rows(plan, row) * CAR_PANEL;
        if (plan->precision == CAR_PRECISION_BF16)
            kernels->transpose_pairs(source + part->first / 2 * CAR_PANEL + i * CAR_BLOCK,
                                     CAR_PANEL, part->first % 2, part->count, units, target,
                                     CAR_PANEL);
        else
            kernels->transpose(source + part->first * CAR_PANEL + i * CAR_BLOCK, CAR_PANEL,
                               part->count, units, target, CAR_PANEL);
    }
}

/* A panel of weights, at `source` as layers run on it, against all operand values. */
static void transpose_panel(const car_plan *plan, const car_kernels *kernels,
                            const car_group *group, int panel, const float *source,
                            float *transposed) {
    const int part_blocks = operand_part_blocks(plan, group);
    const int part_size = group->depth / operand_parts(plan, group);
    const size_t whole_panel = (size_t)running_rows(plan, whole_depth(group)) * CAR_PANEL,
                 rest_panel = (size_t)running_rows(plan, rest_depth(group)) * CAR_PANEL;
    for (int block = 0, next; block < group->back_blocks; block = next) {
        const int inside = block % part_blocks, left = part_blocks - inside,
                  most = CAR_PANEL_BLOCKS - block % CAR_PANEL_BLOCKS,
                  size = part_size - inside * CAR_BLOCK;
        next = block + (left < most ? left : most);
        const int values = (next - block) * CAR_BLOCK;
        const size_t target = (size_t)(block / CAR_PANEL_BLOCKS),
                     column = (size_t)(block % CAR_PANEL_BLOCKS) * CAR_BLOCK;
        const turned part = {
            .panel = panel,
            .first = block / part_blocks * part_size + inside * CAR_BLOCK,
            .count = size < values ? size : values,
            .whole = transposed + group->transposed + target * whole_panel + column,
            .rest = transposed + group->transposed_rest + target * rest_panel + column};
        transpose_part(plan, kernels, group, source, &part);
    }
}

static void copy_group(const car_plan *plan, const car_kernels *kernels, const car_group *group,
                       const float *weights, const car_weight_copies *copies, int member,
                       int members) {
    const bool turns = copies->transposed &&
                       (copies->input || group->back_place.region != CAR_REGION_INPUT_GRADIENT);
    const float *source =
        copies->running ? copies->running + group->running : weights + group->weights;
    const size_t panel_floats = (size_t)running_rows(plan, group->depth) * CAR_PANEL;
    int begin, end;
    car_team_share(panels_of(group->blocks), 1, member, members, &begin, &end);
    for (int panel = begin; panel < end; panel++) {
        if (copies->running)
            kernels->pack_pairs(weights + group->weights, CAR_PANEL, group->depth,
                                group->gradient_block, group->blocks,
                                copies->running + group->running, panel * CAR_PANEL_BLOCKS,
                                (panel + 1) * CAR_PANEL_BLOCKS);
        if (turns)
            transpose_panel(plan, kernels, group, panel, source + (size_t)panel * panel_floats,
                            copies->transposed);
    }
}

void car_plan_copy(const car_plan *plan, const car_kernels *kernels, const float *weights,
                   const car_weight_copies *copies, int member, int members) {
    const size_t vectors = plan->group_count ? plan->groups[0].weights : plan->weight_floats;
    if (member == 0 && copies->running)
        memcpy(copies->running, weights, vectors * sizeof(float));
    for (int g = 0; g < plan->group_count; g++)
        copy_group(plan, kernels, &plan->groups[g], weights, copies, member, members);
}
