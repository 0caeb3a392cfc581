/*
 * random: numbers that are a function of their place, not of a state.
 *
 * In:  a key (seed, purpose, layer) and a 128-bit counter that names the place (update, step, lane,
 * unit ...). Out: four 32-bit numbers, a uniform or a normal; the same for the same place whatever
 * was drawn before.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
 * 2011): ten rounds of two 32x32-bit products, exclusive-or with a key that grows by a Weyl
 * sequence. Its 64-bit key is seed' = mix(seed ^ mix(purpose, layer)), mix being splitmix64's
 * finaliser, a bijection: two layers or two purposes of one seed never share a key.
 */
#include "base.h"
#include <math.h>

void car_random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * c0;
        uint64_t product1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)product0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static uint64_t mix(uint64_t value) {
    value += 0x9E3779B97F4A7C15u;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

void car_random_words(car_random_key key, uint32_t words[2]) {
    uint64_t mixed = mix(key.seed ^ mix((uint64_t)key.purpose << 32 | key.layer));
    words[0] = (uint32_t)mixed;
    words[1] = (uint32_t)(mixed >> 32);
}

void car_random_block(car_random_key key, uint64_t counter_high, uint64_t counter_low,
                      uint32_t out[4]) {
    uint32_t words[2];
    car_random_words(key, words);
    const uint32_t counter[4] = {(uint32_t)counter_low, (uint32_t)(counter_low >> 32),
                                 (uint32_t)counter_high, (uint32_t)(counter_high >> 32)};
    car_random_philox(counter, words, out);
}

float car_random_uniform(car_random_key key, uint64_t high, uint64_t low) {
    uint32_t numbers[4];
    car_random_block(key, high, low, numbers);
    return (float)(numbers[0] >> 8) * 0x1p-24f;
}

double car_random_normal(car_random_key key, uint64_t high, uint64_t low) {
    uint32_t numbers[4];
    car_random_block(key, high, low, numbers);
    uint64_t first = ((uint64_t)numbers[0] << 32 | numbers[1]) >> 11;
    uint64_t second = ((uint64_t)numbers[2] << 32 | numbers[3]) >> 11;
    double radius = sqrt(-2.0 * log((double)(first + 1) * 0x1p-53));
    return radius * cos(6.283185307179586476925 * ((double)second * 0x1p-53));
}
