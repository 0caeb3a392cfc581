/*
 * lm_pairs.c: minimal pairs: does a language model find the right one likelier than the wrong one?
 *
 * In:  two lines that differ in a few tokens, such as `the cats were` and `the cats was`.
 * Out: log p(right) - log p(wrong), and whether the pair is covered: no token in which the two differ is unknown to the
 *      vocabulary (the common beginning and end may hold unknown ones; they cost both the same knowledge).
 *
 * Linzen, Dupoux & Goldberg 2016; Marvin & Linzen 2018; BLiMP (Warstadt et al. 2020) judge models this way.
 */
#include "tasks.h"
#include <string.h>

static bool differing_known(const car_tokens *a, const car_tokens *b, int unknown) {
    size_t shorter = a->count < b->count ? a->count : b->count, same = 0, tail = 0;
    while (same < shorter && a->ids[same] == b->ids[same])
        same++;
    while (tail < shorter - same && a->ids[a->count - 1 - tail] == b->ids[b->count - 1 - tail])
        tail++;
    for (size_t k = same; k < a->count - tail; k++)
        if (a->ids[k] == unknown)
            return false;
    for (size_t k = same; k < b->count - tail; k++)
        if (b->ids[k] == unknown)
            return false;
    return true;
}

static car_status check_covered(const car_lm *lm, const car_lm_line *right,
                                const car_lm_line *wrong, car_lm_pair *pair, car_error *error) {
    car_tokens a, b;
    CAR_TRY(car_vocabulary_encode(lm->vocabulary, right->text, right->length, false, lm->allocator,
                                  &a, error));
    car_status status = car_vocabulary_encode(lm->vocabulary, wrong->text, wrong->length, false,
                                              lm->allocator, &b, error);
    if (status == CAR_OK) {
        /* Two unknown words look alike: what is then left equal as a whole is no pair to this vocabulary. */
        bool equal = a.count == b.count && memcmp(a.ids, b.ids, a.count * sizeof *a.ids) == 0;
        pair->covered = !equal && differing_known(&a, &b, lm->vocabulary->unknown);
        car_tokens_free(&b);
    }
    car_tokens_free(&a);
    return status;
}

car_status car_lm_judge_pair(const car_lm *lm, const car_lm_line *right, const car_lm_line *wrong,
                             bool end, car_lm_pair *pair, car_error *error) {
    car_lm_score first, second;
    *pair = (car_lm_pair){0};
    CAR_TRY(car_lm_score_line(lm, right->text, right->length, end, &first, error));
    CAR_TRY(car_lm_score_line(lm, wrong->text, wrong->length, end, &second, error));
    pair->margin = second.nats - first.nats;
    return check_covered(lm, right, wrong, pair, error);
}
