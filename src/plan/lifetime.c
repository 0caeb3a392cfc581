/*
 * lifetime.c: which stored values live for one step alone, and which means are a thread's own.
 *
 * In: places and stages. Out: plan->kept_brief, plan->work_brief. A value that only the programs and means of one loop
 * touch is dead when its step is over: one [B][padded] array serves all steps, and stays in cache, where the others
 * take [T][B][padded]. Not so the operand of a product: threads that share the units read all of it while another one
 * may be a step ahead.
 *
 * plan->mean_own, plan->work_mean_own: means that nobody but the loops touches. What one thread writes there no other one
 * reads, as with brief values; so each has copies of its own (layer.c), and no cache line goes to and fro between them.
 */
#include "inside.h"

/* What is known of one array: the phase of all that touch it. */
typedef struct lifetime {
    car_phase phase;
    bool touched, lasting, outside; /* of the loops */
} lifetime;

typedef struct lifetimes {
    lifetime *kept, *work, *mean, *work_mean;
} lifetimes;

static lifetime *lifetime_of(const lifetimes *all, car_place place) {
    return place.region == CAR_REGION_KEPT        ? &all->kept[place.index]
           : place.region == CAR_REGION_WORK      ? &all->work[place.index]
           : place.region == CAR_REGION_MEAN      ? &all->mean[place.index]
           : place.region == CAR_REGION_WORK_MEAN ? &all->work_mean[place.index]
                                                  : NULL;
}

static void touch(const lifetimes *all, car_place place, car_phase phase) {
    lifetime *life = lifetime_of(all, place);
    if (!life)
        return;
    bool loop = phase == CAR_PHASE_LOOP || phase == CAR_PHASE_BACK_LOOP;
    life->lasting = life->lasting || !loop || (life->touched && life->phase != phase);
    life->touched = true;
    life->outside = life->outside || !loop;
    life->phase = phase;
}

static void outlast(const lifetimes *all, car_place place) {
    lifetime *life = lifetime_of(all, place);
    if (life)
        life->lasting = life->outside = true;
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
                touch(all, stage->means[m].variance, (car_phase)phase);
                touch(all, stage->means[m].inverse, (car_phase)phase);
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

static bool *own_of(car_plan *plan, const lifetime *lives, int count) {
    bool *own = car_arena_allocate(plan->arena, (size_t)count + 1, sizeof *own);
    for (int k = 0; k < count && own; k++)
        own[k] = lives[k].touched && !lives[k].outside;
    return own;
}

static lifetime *allocate_lives(car_plan *plan, int count) {
    return car_arena_allocate(plan->arena, (size_t)count + 1, sizeof(lifetime));
}

car_status car_plan_find_lifetimes(car_plan *plan, car_error *error) {
    const lifetimes all = {
        allocate_lives(plan, plan->kept_count), allocate_lives(plan, plan->work_count),
        allocate_lives(plan, plan->mean_count), allocate_lives(plan, plan->work_mean_count)};
    if (!all.kept || !all.work || !all.mean || !all.work_mean)
        return car_plan_no_memory(error);
    follow_stages(plan, &all);
    plan->kept_brief = brief_of(plan, all.kept, plan->kept_count);
    plan->work_brief = brief_of(plan, all.work, plan->work_count);
    plan->mean_own = own_of(plan, all.mean, plan->mean_count);
    plan->work_mean_own = own_of(plan, all.work_mean, plan->work_mean_count);
    return plan->kept_brief && plan->work_brief && plan->mean_own && plan->work_mean_own
               ? CAR_OK
               : car_plan_no_memory(error);
}
