/*
 * inspect_record.c: what a model file says of its training, as `carousel inspect` needs it.
 *
 * In: a model, the key of its record. Out: an inspect_record. A record that is missing or cannot be read is no error: it
 * only says less.
 */
#include "inspect_parts.h"
#include <math.h>
#include <string.h>

enum { RECORD_DEPTH = 16, RECORD_VALUES = 10000 };

static double number_of(const car_json *object, const char *name, double otherwise) {
    const car_json *member = car_json_member(object, name);
    return member && member->kind == CAR_JSON_NUMBER ? member->number : otherwise;
}

const char *cli_inspect_word(const car_json *options, const char *name) {
    const car_json *member = options ? car_json_member(options, name) : NULL;
    return member && member->kind == CAR_JSON_STRING && member->length > 0 ? member->text : NULL;
}

inspect_record cli_inspect_record(const car_model *model, const char *key, car_arena *arena) {
    const char *json = car_model_metadata(model, key);
    const car_json *root = NULL;
    if (!json || car_json_parse(json, strlen(json), key, RECORD_DEPTH, RECORD_VALUES, arena, &root,
                                NULL) != CAR_OK)
        return (inspect_record){.seed = 1};
    const car_json *options = car_json_member(root, "options");
    if (!options)
        return (inspect_record){.seed = 1};
    return (inspect_record){.known = true,
                            .options = options,
                            .seed = (int64_t)fmin(fmax(number_of(options, "seed", 1), 0), 9e15),
                            .batch = (int64_t)fmin(fmax(number_of(options, "batch", 0), 0), 65536),
                            .unroll =
                                (int64_t)fmin(fmax(number_of(options, "unroll", 0), 0), 65536),
                            .clip = fmax(number_of(options, "clip", 0), 0),
                            .init = cli_inspect_word(options, "init"),
                            .bias_init = cli_inspect_word(options, "bias-init")};
}
