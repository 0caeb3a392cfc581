/* symbols.h: the hash of a symbol's bytes (FNV-1a, folded), for the files of data/ only. */
#ifndef CAR_SYMBOLS_H
#define CAR_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t car_hash_bytes(const char *data, size_t length) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)data[i]) * UINT64_C(1099511628211);
    return hash;
}

static inline uint32_t car_symbol_hash(const char *data, size_t length) {
    uint64_t hash = car_hash_bytes(data, length);
    return (uint32_t)(hash ^ (hash >> 32));
}

#endif
