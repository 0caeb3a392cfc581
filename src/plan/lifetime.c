/*
 * lifetime.c: which stored values live for one step alone.
 *
 * In: places and stages. Out: plan->kept_brief, plan->work_brief. A value that only the programs and means of one loop
 * touch is dead when its step is over: one [B][padded] array serves all steps, and stays in cache, where the others
 * take [T][B][padded]. Not so the operand of a product: threads that share the units read all of it while another one
 * may be a step ahead.
 */
#include "inside.h"

/* What is known of one array: the phase of all that touch it. */
typedef struct lifetime {
    car_phase phase;
    bool touched, lasting;
} lifetime;

typedef struct lifetimes {
    lifetime *kept, *work;
} lifetimes;

static lifetime *lifetime_of(const lifetimes *all, car_place place) {
    return place.region == CAR_REGION_KEPT   ? &all->kept[place.index]
           : place.region == CAR_REGION_WORK ? &all->work[place.index]
                                             : NULL;
}

static void touch(const lifetimes *all, car_place place, car_phase phase) {
    lifetime *life = lifetime_of(all, place);
    if (!life)
        return;
    bool loop = phase == CAR_PHASE_LOOP || phase == CAR_PHASE_BACK_LOOP;
    life->lasting = life->lasting || !loop || (life->touched && life->phase != phase);
    life->touched = true;
    life->phase = phase;
}

static void outlast(const lifetimes *all, car_place place) {
    lifetime *life = lifetime_of(all, place);
    if (life)
        life->lasting = true;
}

static void follow_stages(const car_plan *plan, const lifetimes *all) {
    for (int phase = 0; phase < CAR_PHASES; phase++)
        for (int s = 0; s < plan->stage_count[phase]; s++) {
            const car_stage *stage = &plan->stages[phase][s];
            for (int k = 0; k < stage->slot_count; k++)
                touch(all, stage->slots[k], (car_phase)phase);
            for (int m = 0; m < stage->mean_count; m++) {
                touch(all, stage->means[m].source, (car_phase)phase);
                touch(all, stage->means[m].target, (car_phase)phase);
            }
        }
    for (int g = 0; g < plan->group_count; g++) {
        outlast(all, plan->groups[g].operand_place);
        if (plan->groups[g].has_back)
            touch(all, plan->groups[g].back_place, plan->groups[g].back_when.phase);
    }
    for (int k = 0; k < plan->vector_gradient_count; k++)
        outlast(all, plan->vector_gradients[k].place);
    for (int k = 0; k < plan->tap_count; k++)
        outlast(all, plan->taps[k]);
    outlast(all, plan->output);
}

static bool *brief_of(car_plan *plan, const lifetime *lives, int count) {
    bool *brief = car_arena_allocate(plan->arena, (size_t)count + 1, sizeof *brief);
    for (int k = 0; k < count && brief; k++)
        brief[k] = lives[k].touched && !lives[k].lasting;
    return brief;
}

car_status car_plan_find_lifetimes(car_plan *plan, car_error *error) {
    lifetimes all = {
        car_arena_allocate(plan->arena, (size_t)plan->kept_count + 1, sizeof(lifetime)),
        car_arena_allocate(plan->arena, (size_t)plan->work_count + 1, sizeof(lifetime))};
    if (!all.kept || !all.work)
        return car_plan_no_memory(error);
    follow_stages(plan, &all);
    plan->kept_brief = brief_of(plan, all.kept, plan->kept_count);
    plan->work_brief = brief_of(plan, all.work, plan->work_count);
    return plan->kept_brief && plan->work_brief ? CAR_OK : car_plan_no_memory(error);
}
