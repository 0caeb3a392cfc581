/*
 * arrange.c: the best drawing of a figure that a short search finds.
 *
 * In: parts and feeds. Out: places and wires. Neighbouring layers are swapped and parts nudged to the right as long as
 * that makes the drawing cheaper: shorter wires, fewer bends and crossings, less width. Where a wire finds no way, the
 * columns move apart. Nothing is drawn by chance: the same figure gives the same drawing.
 */
#include "figure.h"
#include <math.h>

enum { LAYER_LIMIT = CAR_PART_LIMIT, TRIALS = 100 };

/* What is tried: the order of the layers, and how far parts are nudged to the right. */
typedef struct car_trial {
    car_figure *figure;
    const car_allocator *allocator;
    int layers[LAYER_LIMIT], count, gap, left; /* left: drawings that may still be tried */
    double best;
} car_trial;

/* The cost of the drawing as it is now: its wires, which live in `arena`, and its size. */
static bool judge(car_trial *trial, car_arena *arena, car_wiring *wiring) {
    car_layout_place(trial->figure, trial->layers, trial->count, trial->gap);
    bool done = arena && car_route(trial->figure, arena, wiring);
    wiring->cost += 1.5 * trial->figure->width;
    trial->left--;
    return done;
}

/* Is the drawing as it is now better than the best so far? */
static bool is_better(car_trial *trial, bool *memory) {
    car_wiring wiring = {.cost = HUGE_VAL};
    car_arena *arena = car_arena_create(trial->allocator);
    *memory = judge(trial, arena, &wiring);
    car_arena_free(arena);
    if (!*memory || !(wiring.cost < trial->best - 0.5))
        return false;
    trial->best = wiring.cost;
    return true;
}

static void swap_layers(car_trial *trial, int i) {
    int first = trial->layers[i];
    trial->layers[i] = trial->layers[i + 1];
    trial->layers[i + 1] = first;
}

/* Swaps neighbouring layers and nudges parts as long as that makes the drawing cheaper. */
static bool improve(car_trial *trial) {
    bool memory = true;
    for (bool better = true; better && trial->left > 0 && memory;) {
        better = false;
        for (int i = 0; i + 1 < trial->count && trial->left > 0 && memory; i++) {
            swap_layers(trial, i);
            if (is_better(trial, &memory))
                better = true;
            else
                swap_layers(trial, i);
        }
        for (int i = 0; i < trial->figure->count && trial->left > 0 && memory; i++) {
            car_part *part = &trial->figure->parts[i];
            if (part->column < 0)
                continue;
            for (int change = 1; change >= -1; change -= 2) {
                if (part->nudge + change < 0 || part->nudge + change > 2 || !memory)
                    continue;
                part->nudge += change;
                if (is_better(trial, &memory))
                    better = true;
                else
                    part->nudge -= change;
            }
        }
    }
    return memory;
}

car_status car_arrange(car_figure *figure, const car_allocator *allocator, car_wiring *wiring,
                       car_error *error) {
    car_trial trial = {.figure = figure, .allocator = allocator, .best = HUGE_VAL};
    bool memory = car_layout_prepare(figure);
    *wiring = (car_wiring){.cost = HUGE_VAL};
    if (memory)
        trial.count = car_layout_layers(figure, trial.layers);
    for (trial.gap = 4; memory && trial.best == HUGE_VAL && trial.gap <= 16;
         trial.gap += trial.gap / 2) {
        trial.left = figure->count <= 40 ? TRIALS : TRIALS / 10;
        memory = judge(&trial, figure->arena, wiring);
        trial.best = wiring->cost;
        if (memory && trial.best < HUGE_VAL)
            memory = improve(&trial) && judge(&trial, figure->arena, wiring);
    }
    if (!memory)
        return car_fail(error, CAR_MEMORY, "no memory for the picture of %s", figure->cell->name);
    if (wiring->cost == HUGE_VAL)
        return car_fail(error, CAR_DATA,
                        "%s: its wires find no way beside each other; see carousel cell explain",
                        figure->cell->origin);
    return CAR_OK;
}
