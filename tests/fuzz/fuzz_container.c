/*
 * fuzz_container: libFuzzer's bytes as a model file.
 *
 * In:  any bytes. Out: nothing; the sanitizers watch. What the reader accepts is read to its last byte, must be
 * found by name, and the tensors must fill the data exactly.
 */
#include "base.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    car_container *container = NULL;
    car_error error = {0};
    car_status status = car_container_parse(data, size, "fuzz", NULL, &container, &error);
    if (status != CAR_OK) {
        check(status == error.status && error.message[0] != '\0');
        check(status == CAR_MODEL || status == CAR_MEMORY);
        return 0;
    }
    car_sha256 hash;
    char hex[65];
    size_t total = 0;
    car_sha256_start(&hash);
    for (int k = 0; k < car_container_tensor_count(container); k++) {
        const car_tensor *tensor = car_container_tensor(container, k);
        check(car_container_find(container, tensor->name) == tensor);
        car_sha256_add(&hash, tensor->data, tensor->bytes);
        total += tensor->bytes;
    }
    car_sha256_finish(&hash, hex);
    check(total <= size - 8);
    for (int k = 0; k < car_container_metadata_count(container); k++)
        check(car_container_metadata(container, car_container_metadata_key(container, k)) != NULL);
    car_container_free(container);
    return 0;
}
