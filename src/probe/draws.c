/*
 * draws.c: the random numbers of one sequence.
 *
 * In:  seed, set, number of the sequence. Out: numbers in the order of the calls. The n-th is word n % 4 of the Philox
 * block at (sequence, n / 4) with the key (seed, CAR_RANDOM_TASK, set): what was drawn for other sequences does not count.
 */
#include "probe.h"
#include <math.h>

car_probe_draws car_probe_draws_of(uint64_t seed, car_probe_set set, uint64_t sequence) {
    return (car_probe_draws){
        .key = {.seed = seed, .purpose = CAR_RANDOM_TASK, .layer = (uint32_t)set},
        .sequence = sequence};
}

uint32_t car_probe_draw(car_probe_draws *draws) {
    if (draws->used % 4 == 0)
        car_random_block(draws->key, draws->sequence, draws->used / 4, draws->block);
    return draws->block[draws->used++ % 4];
}

int car_probe_draw_below(car_probe_draws *draws, int count) {
    return (int)((uint64_t)car_probe_draw(draws) * (uint64_t)count >> 32);
}

float car_probe_draw_uniform(car_probe_draws *draws) {
    return (float)(car_probe_draw(draws) >> 8) * 0x1p-24f;
}

/* Box & Muller 1958. */
float car_probe_draw_normal(car_probe_draws *draws) {
    double first = ((double)car_probe_draw(draws) + 1) * 0x1p-32;
    double second = (double)car_probe_draw(draws) * 0x1p-32;
    return (float)(sqrt(-2 * log(first)) * cos(6.283185307179586476925 * second));
}
