/*
 * explain.c: a plan as text, the plan's part of `carousel cell explain`: per phase its stages, each with the
 * products (shapes, what starts the sum), means and the vector program; then FLOPs and bytes a time step and lane.
 */
#include "inside.h"
#include <inttypes.h>

const char *car_phase_title(car_phase phase) {
    switch (phase) {
    case CAR_PHASE_BEFORE:
        return "before the loop (all time steps at once)";
    case CAR_PHASE_LOOP:
        return "loop (step by step)";
    case CAR_PHASE_BACK_LOOP:
        return "backward loop (step by step, last to first)";
    case CAR_PHASE_BACK_AFTER:
        return "after the backward loop (all time steps at once)";
    default:
        return "";
    }
}

void car_place_print(car_text *text, const car_plan *plan, car_place place) {
    const struct car_cell *cell = plan->cell;
    switch (place.region) {
    case CAR_REGION_INPUT:
        car_text_format(text, "%s", cell->input_name);
        break;
    case CAR_REGION_STATE:
        car_text_format(text, "%s%s", cell->state_names[place.index], place.after ? "'" : "");
        break;
    case CAR_REGION_SUMS:
        car_text_format(text, "gate%d", place.index);
        break;
    case CAR_REGION_KEPT:
        car_text_format(text, "kept%d", place.index);
        break;
    case CAR_REGION_MEAN:
        car_text_format(text, "mean%d", place.index);
        break;
    case CAR_REGION_VECTOR:
        car_text_format(text, "%s", cell->parameters[place.index].name);
        break;
    case CAR_REGION_OUTPUT_GRADIENT:
        car_text_format(text, "dL/dy");
        break;
    case CAR_REGION_STATE_GRADIENT:
        car_text_format(text, "dL/d%s%s", cell->state_names[place.index], place.after ? "'" : "");
        break;
    case CAR_REGION_INPUT_GRADIENT:
        car_text_format(text, "dL/d%s", cell->input_name);
        break;
    case CAR_REGION_WORK:
        car_text_format(text, "work%d", place.index);
        break;
    case CAR_REGION_WORK_MEAN:
        car_text_format(text, "dmean%d", place.index);
        break;
    case CAR_REGION_NONE:
        break;
    }
}

static void print_group(car_text *text, const car_plan *plan, const car_group *group, bool back) {
    const struct car_cell *cell = plan->cell;
    car_text_format(text, "    product  ");
    if (back) {
        car_place_print(text, plan, group->back_place);
        car_text_format(text, " %s [", group->back_continues ? "+=" : "=");
    } else {
        car_text_format(text, "[");
        for (int i = 0; i < group->count; i++)
            car_text_format(text, "%sgate%d", i ? " " : "", group->gates[i]);
        car_text_format(text, "] += [");
    }
    for (int i = 0; i < group->count; i++)
        car_text_format(text, "%s%s", i ? " " : "", cell->parameters[group->parameters[i]].name);
    car_text_format(text, back ? "]' @ d" : "] @ ");
    if (back)
        car_text_format(text, "gates");
    else
        car_place_print(text, plan, group->operand_place);
    car_text_format(text, "   [%d x %d]\n", group->count * plan->units, group->depth);
}

static void print_program(car_text *text, const car_plan *plan, const car_stage *stage) {
    const car_vector_program *program = &stage->program;
    if (program->count == 0)
        return;
    car_text_format(text, "    program  %d instructions, %d registers\n", program->count,
                    program->registers);
    for (int k = 0; k < program->count; k++) {
        const car_vector_instruction *code = &program->code[k];
        if (code->op == CAR_VECTOR_STORE) {
            car_text_format(text, "      ");
            car_place_print(text, plan, stage->slots[code->slot]);
            car_text_format(text, " = r%d\n", code->a);
            continue;
        }
        car_text_format(text, "      r%d = ", code->out);
        if (code->op == CAR_VECTOR_LOAD)
            car_place_print(text, plan, stage->slots[code->slot]);
        else if (code->op == CAR_VECTOR_CONSTANT)
            car_text_format(text, "%g", (double)code->value);
        else
            car_text_format(text, "%s", car_vector_op_text((car_vector_op)code->op));
        const uint8_t operands[3] = {code->a, code->b, code->c};
        for (int i = 0; i < 3 && i < car_vector_op_operands((car_vector_op)code->op); i++)
            car_text_format(text, " r%d", operands[i]);
        car_text_format(text, "\n");
    }
}

static void print_mean(car_text *text, const car_plan *plan, const car_mean *mean) {
    const bool target = mean->target.region != CAR_REGION_NONE;
    car_text_format(text, "    mean     ");
    car_place_print(text, plan, target ? mean->target : mean->variance);
    car_text_format(text, " = mean of ");
    car_place_print(text, plan, mean->source);
    if (mean->weight.region != CAR_REGION_NONE) {
        car_text_format(text, " times ");
        car_place_print(text, plan, mean->weight);
    }
    if (!target)
        car_text_format(text, " squared");
    if (target && mean->variance.region != CAR_REGION_NONE) {
        car_text_format(text, ", ");
        car_place_print(text, plan, mean->variance);
        car_text_format(text, " of its squared deviations");
    }
    if (mean->inverse.region != CAR_REGION_NONE) {
        car_text_format(text, ", ");
        car_place_print(text, plan, mean->inverse);
        car_text_format(text, " = 1 / sqrt of these + %g", (double)mean->epsilon);
    }
    car_text_format(text, "\n");
}

static void print_stage(car_text *text, const car_plan *plan, const car_stage *stage) {
    bool back = stage->when.phase >= CAR_PHASE_BACK_LOOP;
    car_text_format(text, "  stage %d\n", stage->when.level);
    for (int g = 0; g < stage->group_count; g++)
        print_group(text, plan, &plan->groups[stage->groups[g]], back);
    for (int m = 0; m < stage->mean_count; m++)
        print_mean(text, plan, &stage->means[m]);
    print_program(text, plan, stage);
}

car_plan_elements car_plan_matrix_elements(const car_plan *plan) {
    car_plan_elements elements = {0, 0};
    for (int g = 0; g < plan->group_count; g++) {
        const car_group *group = &plan->groups[g];
        double count = (double)group->count * plan->units * group->depth;
        *(group->when.phase == CAR_PHASE_LOOP ? &elements.loop : &elements.before) += count;
    }
    return elements;
}

static void print_costs(car_text *text, const car_plan *plan) {
    const car_plan_elements elements = car_plan_matrix_elements(plan);
    const double matrices = elements.before + elements.loop;
    int64_t arrays = (int64_t)plan->gates + plan->cell->state_count;
    for (int k = 0; k < plan->kept_count; k++)
        arrays += !plan->kept_brief[k];
    const int64_t kept = arrays * plan->padded * 4;
    car_text_format(text,
                    "costs, a time step and lane: forward %.0f FLOP in products (%.0f"
                    " in the loop), training %.0f\n"
                    "  %" PRId64 " bytes kept for the backward pass, %.0f"
                    " bytes of matrices (read once a step in the loop: %.0f)\n",
                    2 * matrices, 2 * elements.loop, 6 * matrices, kept, 4 * matrices,
                    4 * elements.loop);
}

static void print_programs(car_text *text, const car_plan *plan) {
    int programs, emitted;
    car_plan_programs(plan, &programs, &emitted);
    car_text_format(
        text, "%d vector program%s: %d compiled for this CPU level, %d run by the interpreter\n",
        programs, programs == 1 ? "" : "s", emitted, programs - emitted);
}

void car_plan_explain(const car_plan *plan, car_text *text) {
    car_text_format(text, "plan of %s: input %d, hidden %d, %d gates\n", plan->cell->name,
                    plan->input.size, plan->units, plan->gates);
    for (int phase = 0; phase < CAR_PHASES; phase++) {
        if (plan->stage_count[phase] == 0)
            continue;
        car_text_format(text, "%s\n", car_phase_title((car_phase)phase));
        for (int s = 0; s < plan->stage_count[phase]; s++)
            print_stage(text, plan, &plan->stages[phase][s]);
    }
    if (plan->training && plan->group_count) {
        car_text_format(text,
                        "weight gradients (one product each, summed over time steps and lanes)\n");
        for (int g = 0; g < plan->group_count; g++) {
            const car_group *group = &plan->groups[g];
            car_text_format(text, "    d[");
            for (int i = 0; i < group->count; i++)
                car_text_format(text, "%s%s", i ? " " : "",
                                plan->cell->parameters[group->parameters[i]].name);
            car_text_format(text, "] = dgates @ ");
            car_place_print(text, plan, group->operand_place);
            car_text_format(text, "'\n");
        }
    }
    print_programs(text, plan);
    print_costs(text, plan);
}
