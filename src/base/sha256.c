/*
 * sha256: the digest that guards a model file against damage (FIPS 180-4).
 *
 * In:  bytes, in pieces of any length. Out: 64 lower-case hexadecimal digits.
 *
 * The text is padded with 0x80, zeros and its length in bits to blocks of 64 bytes; each block goes
 * through 64 rounds on eight 32-bit words. round_constants are the first 32 bits of the fractions
 * of the cube roots of the first 64 primes, the starting state that of the square roots of the
 * first eight.
 */
#include "base.h"
#include <string.h>

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t value, int bits) {
    return value >> bits | value << (32 - bits);
}

static uint32_t big_endian_word(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void add_block(uint32_t state[8], const uint8_t *block) {
    uint32_t schedule[64];
    for (int t = 0; t < 16; t++)
        schedule[t] = big_endian_word(block + 4 * t);
    for (int t = 16; t < 64; t++) {
        uint32_t older = schedule[t - 15], newer = schedule[t - 2];
        schedule[t] = schedule[t - 16] + schedule[t - 7] +
                      (rotate(older, 7) ^ rotate(older, 18) ^ older >> 3) +
                      (rotate(newer, 17) ^ rotate(newer, 19) ^ newer >> 10);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; t++) {
        uint32_t first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) +
                         round_constants[t] + schedule[t];
        uint32_t second =
            (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + first;
        d = c, c = b, b = a, a = first + second;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void car_sha256_start(car_sha256 *hash) {
    static const uint32_t first_state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, first_state, sizeof first_state);
    hash->length = 0;
}

void car_sha256_add(car_sha256 *hash, const void *data, size_t length) {
    const uint8_t *bytes = data;
    size_t held = hash->length % 64;
    hash->length += length;
    if (held > 0) {
        size_t part = length < 64 - held ? length : 64 - held;
        if (part > 0)
            memcpy(hash->block + held, bytes, part);
        if (held + part < 64)
            return;
        add_block(hash->state, hash->block);
        bytes += part;
        length -= part;
    }
    for (; length >= 64; bytes += 64, length -= 64)
        add_block(hash->state, bytes);
    if (length > 0)
        memcpy(hash->block, bytes, length);
}

void car_sha256_finish(car_sha256 *hash, char hex[65]) {
    static const uint8_t padding[64] = {0x80};
    uint64_t bits = hash->length * 8;
    size_t held = hash->length % 64;
    car_sha256_add(hash, padding, held < 56 ? 56 - held : 120 - held);
    uint8_t tail[8];
    for (int k = 0; k < 8; k++)
        tail[k] = (uint8_t)(bits >> (56 - 8 * k));
    car_sha256_add(hash, tail, sizeof tail);
    for (int k = 0; k < 64; k++)
        hex[k] = "0123456789abcdef"[hash->state[k / 8] >> (28 - 4 * (k % 8)) & 15];
    hex[64] = '\0';
}
