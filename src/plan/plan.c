/*
 * plan.c: puts a plan together: schedule, places, packed layout, and the stages with their programs.
 *
 * In: a compiled cell, the shape of its input, the number of units. Out: an immutable car_plan.
 */
#include "inside.h"
#include <string.h>

static int stage_count_of(const car_plan *plan, car_phase phase) {
    int count = 0;
    for (int s = 0; s < plan->store_count; s++)
        if (plan->stores[s].when.phase == phase && plan->stores[s].when.level >= count)
            count = plan->stores[s].when.level + 1;
    for (int g = 0; g < plan->group_count; g++) {
        const car_group *group = &plan->groups[g];
        if (group->when.phase == phase && group->when.level >= count)
            count = group->when.level + 1;
        if (group->has_back && group->back_when.phase == phase && group->back_when.level >= count)
            count = group->back_when.level + 1;
    }
    for (int m = 0; m < plan->all_mean_count; m++)
        if (plan->all_means[m].when.phase == phase && plan->all_means[m].when.level >= count)
            count = plan->all_means[m].when.level + 1;
    return count;
}

/* Groups of one stage in the order of their rank: a chain's earlier links first. */
static void sort_groups(const car_plan *plan, car_stage *stage) {
    for (int i = 1; i < stage->group_count; i++)
        for (int j = i;
             j > 0 && plan->groups[stage->groups[j]].rank < plan->groups[stage->groups[j - 1]].rank;
             j--) {
            int swap = stage->groups[j];
            stage->groups[j] = stage->groups[j - 1];
            stage->groups[j - 1] = swap;
        }
}

static car_status build_stage(car_plan *plan, car_stage *stage, car_when when, car_error *error) {
    bool back = when.phase >= CAR_PHASE_BACK_LOOP;
    memset(stage, 0, sizeof *stage);
    stage->when = when;
    stage->groups = car_arena_allocate(plan->arena, (size_t)plan->group_count + 1, sizeof(int));
    stage->means =
        car_arena_allocate(plan->arena, (size_t)plan->all_mean_count + 1, sizeof(car_mean));
    if (!stage->groups || !stage->means)
        return car_plan_no_memory(error);
    for (int g = 0; g < plan->group_count; g++) {
        const car_group *group = &plan->groups[g];
        if (back ? group->has_back && car_same_when(group->back_when, when)
                 : car_same_when(group->when, when))
            stage->groups[stage->group_count++] = g;
    }
    if (!back)
        sort_groups(plan, stage);
    for (int m = 0; m < plan->all_mean_count; m++)
        if (car_same_when(plan->all_means[m].when, when))
            stage->means[stage->mean_count++] = plan->all_means[m];
    return car_plan_build_program(plan, stage, error);
}

/* Where a loop is one product and one program. */
static void find_alone(const car_plan *plan) {
    car_stage *stage = plan->stages[CAR_PHASE_LOOP];
    if (plan->stage_count[CAR_PHASE_LOOP] == 1 && stage->group_count == 1 &&
        stage->mean_count == 0 && stage->program.count > 0)
        stage->alone = &plan->groups[stage->groups[0]];
}

static car_status build_stages(car_plan *plan, car_error *error) {
    for (int phase = 0; phase < CAR_PHASES; phase++) {
        int count = stage_count_of(plan, (car_phase)phase);
        plan->stage_count[phase] = count;
        plan->stages[phase] = car_arena_allocate(plan->arena, (size_t)count + 1, sizeof(car_stage));
        if (!plan->stages[phase])
            return car_plan_no_memory(error);
        for (int level = 0; level < count; level++)
            CAR_TRY(build_stage(plan, &plan->stages[phase][level],
                                (car_when){(car_phase)phase, level}, error));
    }
    find_alone(plan);
    return CAR_OK;
}

/* Where x's product is all there is before the loop and the first one in the loop goes on from its sums, a single row can take
 * both at once. Not in int8, nor in products that may run on tiles. */
static int find_joined(const car_plan *plan) {
    const car_stage *before = plan->stages[CAR_PHASE_BEFORE], *loop = plan->stages[CAR_PHASE_LOOP];
    if (plan->precision == CAR_PRECISION_INT8 ||
        (plan->precision == CAR_PRECISION_BF16 && plan->training))
        return -1;
    if (plan->stage_count[CAR_PHASE_BEFORE] != 1 || plan->stage_count[CAR_PHASE_LOOP] == 0 ||
        before->group_count != 1 || before->mean_count > 0 || before->program.count > 0 ||
        loop->group_count == 0)
        return -1;
    const car_group *group = &plan->groups[loop->groups[0]];
    if (!car_same_gates(group, &plan->groups[before->groups[0]]))
        return -1;
    for (int block = 0; block < group->blocks; block++)
        if (group->block[block].initial != CAR_FROM_C)
            return -1;
    return loop->groups[0];
}

static const car_emitted_program *find_program(const car_emitted_table *table,
                                               car_program_digest digest) {
    for (int k = 0; k < table->count; k++)
        if (table->programs[k].digest.high == digest.high &&
            table->programs[k].digest.low == digest.low)
            return &table->programs[k];
    return NULL;
}

static bool has_functions(const car_plan *plan) {
    int programs, emitted;
    car_plan_programs(plan, &programs, &emitted);
    return emitted > 0;
}

void car_plan_bind(car_plan *plan, const car_emitted_table *table) {
    if (!table || (has_functions(plan) && table->level != plan->function_level))
        return;
    plan->function_level = table->level;
    for (int phase = 0; phase < CAR_PHASES; phase++)
        for (int s = 0; s < plan->stage_count[phase]; s++) {
            car_stage *stage = &plan->stages[phase][s];
            if (stage->program.count > 0 && !stage->emitted)
                stage->emitted = find_program(table, car_stage_digest(stage));
            if (stage->emitted && plan->precision == CAR_PRECISION_F32)
                stage->row = stage->emitted->row;
        }
}

/* In bf16: for a loop that is one product and one program. */
static void bind_pair_rows(car_plan *plan, const car_emitted_table *table) {
    car_stage *loop = plan->stages[CAR_PHASE_LOOP];
    if (!table || plan->stage_count[CAR_PHASE_LOOP] == 0 || !loop->alone)
        return;
    const car_emitted_program *found = find_program(table, car_stage_digest(loop));
    loop->row = found ? found->row : NULL;
}

void car_plan_programs(const car_plan *plan, int *programs, int *emitted) {
    *programs = *emitted = 0;
    for (int phase = 0; phase < CAR_PHASES; phase++)
        for (int s = 0; s < plan->stage_count[phase]; s++) {
            *programs += plan->stages[phase][s].program.count > 0;
            *emitted += plan->stages[phase][s].emitted != NULL;
        }
}

void car_plan_emit(const car_plan *plan, const char *prefix, int *count, car_text *text,
                   car_text *entries) {
    for (int phase = 0; phase < CAR_PHASES; phase++)
        for (int s = 0; s < plan->stage_count[phase]; s++) {
            const car_stage *stage = &plan->stages[phase][s];
            char digest[64], name[64];
            car_program_digest value = car_stage_digest(stage);
            snprintf(digest, sizeof digest, "{{0x%016llxull, 0x%016llxull}, ",
                     (unsigned long long)value.high, (unsigned long long)value.low);
            if (stage->program.count == 0 || stage->emitted ||
                (entries->data && strstr(entries->data, digest)))
                continue;
            snprintf(name, sizeof name, "%s%d", prefix, (*count)++);
            car_text_format(text, "\n/* %s, %s, %s, stage %d:", plan->cell->name,
                            plan->training ? "training" : "a run",
                            car_phase_title((car_phase)phase), s);
            for (int k = 0; k < stage->slot_count; k++) {
                car_text_format(text, "%s s%d ", k ? "," : "", k);
                car_place_print(text, plan, stage->slots[k]);
            }
            car_text_format(text, " */\n");
            car_stage_emit(stage, name, text);
            if (car_stage_has_row(stage))
                car_text_format(entries, "    %sPROGRAM_FUNCTION(%s), ROW_FUNCTION(%s_row)},\n",
                                digest, name, name);
            else
                car_text_format(entries, "    %sPROGRAM_FUNCTION(%s), NULL},\n", digest, name);
        }
}

static int reserved_gates(const car_plan *plan) {
    int count = 0;
    for (int g = 0; g < plan->gates; g++)
        count += plan->gate_reserved && plan->gate_reserved[g];
    return count;
}

/* Each round may find gates that must be reserved; then values are placed anew. At most `gates` rounds. */
static car_status place_and_build(car_plan *plan, const car_plan_options *options,
                                  car_error *error) {
    for (;;) {
        int reserved = reserved_gates(plan);
        CAR_TRY(car_plan_place(plan, options, error));
        CAR_TRY(car_plan_lay_out(plan, error));
        CAR_TRY(build_stages(plan, error));
        if (reserved_gates(plan) == reserved)
            break;
    }
    plan->joined = find_joined(plan);
    return car_plan_find_lifetimes(plan, error);
}

static car_status check_input(const struct car_cell *cell, car_shape input, int units,
                              car_error *error) {
    if (units < 1 || input.size < 1 || input.parts < 1 || input.size % input.parts != 0 ||
        units > 1 << 20 || input.size > 1 << 24)
        return car_fail(error, CAR_USAGE,
                        "cell %s: %d units of input size %d in %d parts; sizes must be positive",
                        cell->name, units, input.size, input.parts);
    if (!cell->input_is_hidden)
        return CAR_OK;
    if (input.size != units)
        return car_fail_at(
            error, CAR_USAGE, cell->input_line, cell->input_column,
            "%s:%d:%d: %s is used elementwise, so its size must be that of the cell: %s is "
            "[%d], the cell [%d]; put `dense %d` before the cell",
            cell->origin, cell->input_line, cell->input_column, cell->input_name, cell->input_name,
            input.size, units, units);
    if (input.parts > 1 && (input.size / input.parts) % CAR_BLOCK != 0)
        return car_fail_at(
            error, CAR_USAGE, cell->input_line, cell->input_column,
            "%s:%d:%d: %s is used elementwise after a `bi` layer of %d units a direction; "
            "put `dense %d` between them or use a multiple of %d",
            cell->origin, cell->input_line, cell->input_column, cell->input_name,
            input.size / input.parts, units, CAR_BLOCK);
    return CAR_OK;
}

static car_status read_overrides(car_plan *plan, const car_plan_options *options,
                                 car_error *error) {
    const struct car_cell *cell = plan->cell;
    plan->override_count = options->override_count;
    plan->override =
        car_arena_allocate(plan->arena, (size_t)cell->graph.count + 1, sizeof(double *));
    if (!plan->override)
        return car_plan_no_memory(error);
    if (options->override_count && options->training)
        return car_fail(error, CAR_USAGE,
                        "cell %s: a value can be frozen when a model runs, not when it trains",
                        cell->name);
    for (int k = 0; k < options->override_count; k++) {
        int v = 0;
        while (v < cell->graph.count &&
               !(cell->graph.names[v] &&
                 strcmp(cell->graph.names[v], options->overrides[k].name) == 0))
            v++;
        double *value = car_arena_allocate(plan->arena, 1, sizeof(double));
        if (!value)
            return car_plan_no_memory(error);
        if (v == cell->graph.count)
            return car_fail(error, CAR_USAGE,
                            "cell %s: no equation named '%s' to freeze; `carousel cell show %s` "
                            "lists them",
                            cell->name, options->overrides[k].name, cell->name);
        *value = options->overrides[k].value;
        plan->override[v] = value;
    }
    return CAR_OK;
}

static car_status check_int8(const car_plan *plan, car_error *error) {
    if (plan->precision != CAR_PRECISION_INT8)
        return CAR_OK;
    if (plan->training)
        return car_fail(error, CAR_USAGE,
                        "cell %s: int8 weights are for running a model; train in f32 or bf16",
                        plan->cell->name);
    for (int g = 0; g < plan->group_count; g++)
        if (plan->groups[g].depth > CAR_INTEGER_DEPTH)
            return car_fail(error, CAR_USAGE,
                            "cell %s: int8 adds up to %d products, not %d; use f32 or bf16",
                            plan->cell->name, CAR_INTEGER_DEPTH, plan->groups[g].depth);
    return CAR_OK;
}

car_status car_plan_create(const struct car_cell *cell, car_shape input, int units,
                           const car_plan_options *options, const car_allocator *allocator,
                           car_plan **out, car_error *error) {
    *out = NULL;
    CAR_TRY(check_input(cell, input, units, error));
    car_arena *arena = car_arena_create(allocator);
    car_plan *plan = arena ? car_arena_allocate(arena, 1, sizeof *plan) : NULL;
    if (!plan) {
        car_arena_free(arena);
        return car_plan_no_memory(error);
    }
    plan->arena = arena;
    plan->cell = cell;
    plan->input = input;
    plan->units = units;
    plan->blocks = car_blocks(units);
    plan->padded = car_padded(units);
    plan->training = options->training;
    plan->precision = options->precision;
    plan->kernels = options->kernels;
    car_status status = read_overrides(plan, options, error);
    if (status == CAR_OK)
        status = car_plan_schedule(plan, error);
    if (status == CAR_OK)
        status = check_int8(plan, error);
    if (status == CAR_OK)
        status = car_plan_find_bounds(plan, options->input_bounded, error);
    if (status == CAR_OK)
        status = car_plan_find_depths(plan, error);
    if (status == CAR_OK)
        status = place_and_build(plan, options, error);
    if (status != CAR_OK) {
        car_arena_free(arena);
        return status;
    }
    car_plan_bind(plan, options->emitted);
    car_plan_bind(plan, options->native);
    if (plan->precision == CAR_PRECISION_BF16)
        bind_pair_rows(plan, options->pair_rows);
    *out = plan;
    return CAR_OK;
}

void car_plan_free(car_plan *plan) {
    if (plan)
        car_arena_free(plan->arena);
}

const struct car_cell *car_plan_cell(const car_plan *plan) {
    return plan->cell;
}

int car_plan_units(const car_plan *plan) {
    return plan->units;
}

car_shape car_plan_input(const car_plan *plan) {
    return plan->input;
}

static bool reads_input(const car_stage *stage) {
    bool reads = false;
    for (int k = 0; k < stage->slot_count; k++)
        reads = reads || stage->slots[k].region == CAR_REGION_INPUT;
    for (int m = 0; m < stage->mean_count; m++)
        reads = reads || stage->means[m].source.region == CAR_REGION_INPUT;
    return reads;
}

bool car_plan_only_multiplies_input(const car_plan *plan) {
    bool reads = plan->output.region == CAR_REGION_INPUT;
    for (int phase = 0; phase < CAR_PHASES; phase++)
        for (int s = 0; s < plan->stage_count[phase]; s++)
            reads = reads || reads_input(&plan->stages[phase][s]);
    for (int k = 0; k < plan->vector_gradient_count; k++)
        reads = reads || plan->vector_gradients[k].place.region == CAR_REGION_INPUT;
    return !reads;
}

bool car_plan_input_bounded(const car_plan *plan) {
    return plan->input_bounded;
}

bool car_plan_output_bounded(const car_plan *plan) {
    return plan->output_bounded;
}
