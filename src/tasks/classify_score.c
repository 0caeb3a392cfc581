/*
 * classify_score.c: how good a classifier is, and how far its probabilities can be believed.
 *
 * In:  probabilities or outputs of items (sequences or steps) and their labels. Out:
 *        precision = right / said, recall = right / count, F1 = 2 right / (said + count); macro-F1: their mean
 *        expected calibration error = sum over bins of share * |accuracy - mean confidence| (Naeini et al. 2015)
 *        temperature = argmin over T of mean -log softmax(z / T)[label] (Guo et al. 2017), labels smoothed
 */
#include "classify.h"
#include "series.h"
#include <math.h>
#include <string.h>

enum { BINS = 10 };

/* Walks over the items of a part. */
typedef struct item_walk {
    const car_part *part;
    int sequence;
    size_t step, item;
} item_walk;

static int sequence_of(const car_part *part, int i) {
    return part->index ? part->index[i] : i;
}

/* The next item's label, and which sequence of the part it is in; false: the end. */
static bool next_item(item_walk *walk, int32_t *label, int *sequence, size_t *item) {
    const car_sequences *set = walk->part->set;
    if (walk->sequence >= walk->part->count)
        return false;
    int index = sequence_of(walk->part, walk->sequence);
    size_t begin = set->begin[index], steps = set->begin[index + 1] - begin;
    *sequence = walk->sequence;
    *item = walk->item++;
    *label = !set->labels ? -1 : set->labels[set->each ? begin + walk->step : (size_t)index];
    if (!set->each || ++walk->step == steps) {
        walk->sequence++;
        walk->step = 0;
    }
    return true;
}

size_t car_part_items(const car_part *part) {
    size_t items = 0;
    if (!part->set->each)
        return (size_t)part->count;
    for (int i = 0; i < part->count; i++) {
        int index = sequence_of(part, i);
        items += part->set->begin[index + 1] - part->set->begin[index];
    }
    return items;
}

int car_likeliest(const float *row, int classes) {
    int best = 0;
    for (int c = 1; c < classes; c++)
        best = row[c] > row[best] ? c : best;
    return best;
}

void car_class_score_free(car_class_score *score) {
    car_release(score->allocator, score->confusion);
    car_release(score->allocator, score->figures);
    *score = (car_class_score){0};
}

static void finish_figures(car_class_score *score) {
    int there = 0;
    for (int c = 0; c < score->classes; c++) {
        car_class_figures *one = &score->figures[c];
        for (int k = 0; k < score->classes; k++) {
            one->count += score->confusion[c * score->classes + k];
            one->said += score->confusion[k * score->classes + c];
        }
        one->right = score->confusion[c * score->classes + c];
        one->precision = one->said > 0 ? (double)one->right / (double)one->said : 0;
        one->recall = one->count > 0 ? (double)one->right / (double)one->count : 0;
        one->f1 = one->count + one->said > 0
                      ? 2 * (double)one->right / (double)(one->said + one->count)
                      : 0;
        there += one->count > 0;
        score->macro_f1 += one->count > 0 ? one->f1 : 0;
    }
    score->macro_f1 /= there > 0 ? there : 1;
}

/* Steps of a sequence are no independent trials: the interval comes from a bootstrap over sequences, of the ratio's
 * linear part  a + (hits - a * steps) * sequences / all steps,  a the accuracy. */
static car_status interval_of_steps(const car_part *part, const double *hits, const double *steps,
                                    car_class_score *score, car_error *error) {
    double *values = car_allocate(score->allocator, (size_t)part->count, sizeof *values);
    if (!values)
        return car_fail(error, CAR_MEMORY, "no memory for the interval");
    for (int i = 0; i < part->count; i++)
        values[i] = score->accuracy +
                    (hits[i] - score->accuracy * steps[i]) * part->count / (double)score->items;
    car_bootstrap_mean(values, part->count, 1, 1, &score->low, &score->high);
    score->low = fmax(0, score->low);
    score->high = fmin(1, score->high);
    if (score->right == 0 ||
        score->right == score->items) /* nothing varies: as if a sequence were one trial */
        car_wilson(score->right > 0 ? part->count : 0, part->count, &score->low, &score->high);
    car_release(score->allocator, values);
    return CAR_OK;
}

typedef struct calibration {
    double confidence[BINS];
    int64_t right[BINS], count[BINS];
} calibration;

static double calibration_error(const calibration *bins, int64_t items) {
    double sum = 0;
    for (int b = 0; b < BINS; b++)
        if (bins->count[b] > 0)
            sum += fabs((double)bins->right[b] - bins->confidence[b]);
    return sum / (double)items;
}

static void judge_items(const car_part *part, const float *probabilities, int majority,
                        double *hits, double *steps, car_class_score *score) {
    item_walk walk = {.part = part};
    calibration bins = {0};
    int32_t label;
    int sequence;
    size_t item;
    while (next_item(&walk, &label, &sequence, &item)) {
        const float *row = probabilities + item * (size_t)score->classes;
        int said = car_likeliest(row, score->classes), bin = (int)((double)row[said] * BINS);
        if (label < 0)
            continue;
        bin = bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
        bins.confidence[bin] += (double)row[said];
        bins.count[bin]++;
        bins.right[bin] += said == label;
        score->confusion[label * score->classes + said]++;
        score->items++;
        score->right += said == label;
        score->majority += label == majority;
        score->nats -= log(fmax((double)row[label], 1e-30));
        hits[sequence] += said == label;
        steps[sequence]++;
    }
    if (score->items == 0)
        return;
    score->accuracy = (double)score->right / (double)score->items;
    score->majority /= (double)score->items;
    score->nats /= (double)score->items;
    score->calibration_error = calibration_error(&bins, score->items);
}

car_status car_class_judge(const car_part *part, const float *probabilities, int classes,
                           int majority, const car_allocator *allocator, car_class_score *score,
                           car_error *error) {
    size_t cells;
    *score = (car_class_score){.allocator = allocator, .classes = classes};
    double *counts = car_allocate(allocator, 2 * (size_t)part->count + 1, sizeof *counts);
    if (car_multiply((size_t)classes, (size_t)classes, &cells))
        score->confusion = car_allocate(allocator, cells, sizeof *score->confusion);
    score->figures = car_allocate(allocator, (size_t)classes, sizeof *score->figures);
    car_status status = CAR_OK;
    if (!counts || !score->confusion || !score->figures)
        status = car_fail(error, CAR_MEMORY, "no memory for the scores of %d classes", classes);
    if (status == CAR_OK)
        judge_items(part, probabilities, majority, counts, counts + part->count, score);
    if (status == CAR_OK && score->items == 0)
        status = car_fail(error, CAR_DATA, "there is no label to judge by");
    if (status == CAR_OK) {
        finish_figures(score);
        if (part->set->each)
            status = interval_of_steps(part, counts, counts + part->count, score, error);
        else
            car_wilson(score->right, score->items, &score->low, &score->high);
    }
    car_release(allocator, counts);
    if (status != CAR_OK)
        car_class_score_free(score);
    return status;
}

/* ---- calibration -------------------------------------------------------------------------------------- */

void car_soften(float *outputs, size_t items, int classes, double temperature) {
    for (size_t i = 0; i < items; i++) {
        float *row = outputs + i * (size_t)classes, largest = row[car_likeliest(row, classes)];
        double sum = 0;
        for (int c = 0; c < classes; c++) {
            double part = exp((double)(row[c] - largest) / temperature);
            sum += part;
            row[c] = (float)part;
        }
        for (int c = 0; c < classes; c++)
            row[c] = (float)((double)row[c] / sum);
    }
}

/* Mean loss of softmax(z / T) against labels that are a little unsure, as Platt (1999) has them: 1 - e for the class that
 * it is, e shared by the others, e = 1 / (items + 2). Otherwise a validation part without an error would ask for
 * probabilities of 0 and 1. */
static double loss_at(const car_part *part, const float *outputs, int classes, double temperature) {
    item_walk walk = {.part = part};
    double nats = 0, unsure = 1 / ((double)car_part_items(part) + 2);
    int64_t items = 0;
    int32_t label;
    int sequence;
    size_t item;
    while (next_item(&walk, &label, &sequence, &item)) {
        const float *row = outputs + item * (size_t)classes;
        double largest = (double)row[car_likeliest(row, classes)], sum = 0, all = 0;
        if (label < 0)
            continue;
        for (int c = 0; c < classes; c++) {
            sum += exp(((double)row[c] - largest) / temperature);
            all += (double)row[c];
        }
        double own = (double)row[label], others = classes > 1 ? (all - own) / (classes - 1) : own;
        double expected = (1 - unsure) * own + unsure * others;
        nats += log(sum) + (largest - expected) / temperature;
        items++;
    }
    return items > 0 ? nats / (double)items : 0;
}

/* The loss has one least value in 1/T (it is convex there): golden section over log T. */
double car_class_temperature(const car_part *part, const float *outputs, int classes) {
    const double golden = 0.6180339887498949;
    double low = log(0.05), high = log(20);
    double left = high - golden * (high - low), right = low + golden * (high - low);
    double at_left = loss_at(part, outputs, classes, exp(left));
    double at_right = loss_at(part, outputs, classes, exp(right));
    for (int i = 0; i < 40; i++) {
        if (at_left < at_right) {
            high = right;
            right = left;
            at_right = at_left;
            left = high - golden * (high - low);
            at_left = loss_at(part, outputs, classes, exp(left));
        } else {
            low = left;
            left = right;
            at_left = at_right;
            right = low + golden * (high - low);
            at_right = loss_at(part, outputs, classes, exp(right));
        }
    }
    return exp((low + high) / 2);
}
