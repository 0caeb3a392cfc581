/*
 * setting.c: hyper-parameters by chance, from the lists of Jozefowicz, Zaremba & Sutskever (2015).
 *
 *   scale   0.3 0.7 1 1.4 2 2.8     weights U[-x, x], x = scale / sqrt(units)
 *   rate    0.1 0.2 0.3 0.5 1 2 5   adam (ours): 0.001 0.002 0.003 0.005 0.01 0.02
 *   clip    1 2.5 5 10 20           most norm of the gradient
 *   layers  1 2 3 4                 as far as the study allows
 *
 * In:  seed, number. Out: that setting; as JSON, and back.
 */
#include "search.h"
#include <string.h>

#define COUNT(list) (int)(sizeof(list) / sizeof *(list))
enum { MOST_LAYERS = 4 };

car_setting_values car_setting_draw(uint64_t seed, uint64_t number, const char *optimizer,
                                    int most_layers) {
    static const double scales[] = {0.3, 0.7, 1, 1.4, 2, 2.8};
    static const double rates[] = {0.1, 0.2, 0.3, 0.5, 1, 2, 5};
    static const double adam_rates[] = {0.001, 0.002, 0.003, 0.005, 0.01, 0.02};
    static const double clips[] = {1, 2.5, 5, 10, 20};
    car_random_key key = {seed, CAR_RANDOM_MUTATION, 1};
    uint32_t words[4];
    int picked[4];
    bool adam = strcmp(optimizer, "adam") == 0;
    const int counts[] = {COUNT(scales), adam ? COUNT(adam_rates) : COUNT(rates), COUNT(clips),
                          most_layers};
    car_random_block(key, 0, number, words);
    for (int i = 0; i < 4; i++)
        picked[i] = (int)((uint64_t)words[i] * (uint64_t)counts[i] >> 32);
    return (car_setting_values){.scale = scales[picked[0]],
                                .rate = adam ? adam_rates[picked[1]] : rates[picked[1]],
                                .clip = clips[picked[2]],
                                .layers = 1 + picked[3]};
}

void car_setting_to_json(const car_setting_values *setting, car_text *text) {
    car_text_format(text, "{\"scale\":");
    car_text_json_number(text, setting->scale);
    car_text_format(text, ",\"rate\":");
    car_text_json_number(text, setting->rate);
    car_text_format(text, ",\"clip\":");
    car_text_json_number(text, setting->clip);
    car_text_format(text, ",\"layers\":%d}", setting->layers);
}

static bool read_positive(const car_json *json, const char *name, double *value) {
    const car_json *member = car_json_member(json, name);
    bool good =
        member && member->kind == CAR_JSON_NUMBER && member->number > 0 && member->number < 1e6;
    *value = good ? member->number : 0;
    return good;
}

car_status car_setting_from_json(const car_json *json, car_setting_values *setting,
                                 car_error *error) {
    double layers;
    if (!read_positive(json, "scale", &setting->scale) ||
        !read_positive(json, "rate", &setting->rate) ||
        !read_positive(json, "clip", &setting->clip) || !read_positive(json, "layers", &layers) ||
        layers > MOST_LAYERS || layers != (double)(int)layers)
        return car_fail(error, CAR_DATA,
                        "a setting is {\"scale\":1,\"rate\":0.5,\"clip\":5,\"layers\":1}: numbers "
                        "above 0, 1 to %d layers",
                        MOST_LAYERS);
    setting->layers = (int)layers;
    return CAR_OK;
}
