/*
 * tasks.c: the table of tasks: what each is, from which paper, when it counts as solved, and its defaults.
 *
 * Criteria are those of the papers; where a paper has none the text says "ours". Definitions: the generators' files and
 * docs/probe.md.
 */
#include "probe.h"
#include <string.h>

#define HOCHREITER "Hochreiter & Schmidhuber 1997"

static const car_probe_task tasks[] = {
    {.name = "agreement",
     .summary =
         "the cat(s) which ... was/were: the number of a noun far back, among nouns that mislead",
     .paper = "after Linzen, Dupoux & Goldberg 2016",
     .criterion = "at least 99 % of 2,000 new sentences right (Linzen et al. report 99.2 %)",
     .item = "sentences",
     .error_name = "1 - probability of the right verb",
     .distance_name = "words between noun and verb",
     .distance_least = 1,
     .distance_most = 1000,
     .distance = 20,
     .head = CAR_HEAD_SOFTMAX,
     .pool = CAR_POOL_LAST,
     .hidden = 32,
     .batch = 32,
     .updates = 3000,
     .check_every = 50,
     .rate = 0.005,
     .clip = 1,
     .check = 2000,
     .test = 2560,
     .least_accuracy = 0.99,
     .shape = car_probe_agreement_shape,
     .length = car_probe_whole_length,
     .make = car_probe_agreement_make,
     .judge = car_probe_class_judge},
    {.name = "adding",
     .summary = "the sum of two marked numbers of a long row",
     .paper = HOCHREITER ", experiment 4",
     .criterion = "2,000 new sequences all within 0.04, mean error below 0.01",
     .item = "sequences",
     .error_name = "mean |output - target|",
     .distance_name = "least length T of a sequence",
     .distance_least = 10,
     .distance_most = 2000,
     .distance = 100,
     .head = CAR_HEAD_LINEAR,
     .pool = CAR_POOL_LAST,
     .hidden = 32,
     .batch = 32,
     .updates = 10000,
     .check_every = 50,
     .rate = 0.005,
     .clip = 1,
     .check = 2000,
     .test = 2560,
     .least_accuracy = 1,
     .most_error = 0.01,
     .shape = car_probe_adding_shape,
     .length = car_probe_adding_length,
     .make = car_probe_adding_make,
     .judge = car_probe_adding_judge},
    {.name = "multiplication",
     .summary = "the product of two marked numbers of a long row",
     .paper = HOCHREITER ", experiment 5",
     .criterion = "fewer than 140 of 2,000 new sequences off by 0.04 or more",
     .item = "sequences",
     .error_name = "mean |output - target|",
     .distance_name = "least length T of a sequence",
     .distance_least = 10,
     .distance_most = 2000,
     .distance = 100,
     .head = CAR_HEAD_LINEAR,
     .pool = CAR_POOL_LAST,
     .hidden = 32,
     .batch = 32,
     .updates = 10000,
     .check_every = 50,
     .rate = 0.005,
     .clip = 1,
     .check = 2000,
     .test = 2560,
     .least_accuracy = 1861.0 / 2000,
     .shape = car_probe_adding_shape,
     .length = car_probe_adding_length,
     .make = car_probe_multiplication_make,
     .judge = car_probe_adding_judge},
#define ORDER(count, experiment, shape_function, letters)                                          \
    {                                                                                              \
        .name = "order" #count,                                                                    \
        .summary = "in which order " letters " symbols stood among distractors",                   \
        .paper = experiment,                                                                       \
        .criterion = "2,000 new sequences all with every output within 0.3, mean error below 0.1", \
        .item = "sequences", .error_name = "mean largest |output - target|",                       \
        .distance_name = "least length T of a sequence", .distance_least = 20,                     \
        .distance_most = 2000, .distance = 100, .head = CAR_HEAD_SOFTMAX, .pool = CAR_POOL_LAST,   \
        .hidden = 32, .batch = 32, .updates = 10000, .check_every = 50, .rate = 0.005, .clip = 1,  \
        .check = 2000, .test = 2560, .least_accuracy = 1, .most_error = 0.1,                       \
        .shape = shape_function, .length = car_probe_order_length, .make = car_probe_order_make,   \
        .judge = car_probe_order_judge                                                             \
    }
    ORDER(2, HOCHREITER ", experiment 6a", car_probe_order2_shape, "two"),
    ORDER(3, HOCHREITER ", experiment 6b", car_probe_order3_shape, "three"),
    ORDER(4, "in the manner of " HOCHREITER ", experiment 6", car_probe_order4_shape, "four"),
#undef ORDER
#define LAG(word, title, experiment, words, length_name, most, sequences, shape_name, maker,       \
            poolkind)                                                                              \
    {                                                                                              \
        .name = word, .summary = title, .paper = HOCHREITER ", experiment " experiment,            \
        .criterion = words, .item = "sequences", .error_name = "mean largest |output - target|",   \
        .distance_name = length_name, .distance_least = 4, .distance_most = most, .distance = 100, \
        .head = CAR_HEAD_SOFTMAX, .pool = poolkind, .hidden = 32, .batch = 32, .updates = 5000,    \
        .check_every = 50, .rate = 0.005, .clip = 1, .check = sequences, .test = 2560,             \
        .least_accuracy = 1, .shape = car_probe_##shape_name##_shape,                              \
        .length = car_probe_##shape_name##_length, .make = car_probe_##maker##_make,               \
        .judge = car_probe_##maker##_judge                                                         \
    }
    LAG("noise-free", "the first symbol returns after p - 1 others, always the same ones", "2a",
        "every output at every step within 0.25 (there are two sequences; 64 are judged)", "lag p",
        1000, 64, lag, noise_free, CAR_POOL_EACH),
    LAG("local-noise", "the first symbol returns after p - 1 others, drawn at random", "2b",
        "10,000 new sequences with every last output within 0.25", "lag p", 1000, 10000, lag,
        local_noise, CAR_POOL_EACH),
    LAG("noisy", "the second symbol returns after q or more others, drawn at random", "2c",
        "10,000 new sequences with both outputs within 0.2", "least lag q", 1000, 10000, noisy,
        noisy, CAR_POOL_LAST),
#undef LAG
#define TWO(word, title, experiment, words, share, most, headkind, maker, judged)                  \
    {                                                                                              \
        .name = word, .summary = title, .paper = HOCHREITER ", experiment " experiment,            \
        .criterion = words, .item = "sequences", .error_name = "mean |output - target|",           \
        .distance_name = "least length T of a sequence", .distance_least = 10,                     \
        .distance_most = 2000, .distance = 100, .head = headkind, .pool = CAR_POOL_LAST,           \
        .hidden = 16, .batch = 32, .updates = 5000, .check_every = 50, .rate = 0.005, .clip = 1,   \
        .check = 256, .test = 2560, .least_accuracy = share, .most_error = most,                   \
        .shape = car_probe_two_sequence_shape, .length = car_probe_two_sequence_length,            \
        .make = car_probe_##maker##_make, .judge = car_probe_##judged##_judge                      \
    }
    TWO("two-sequence", "the first 3 numbers say the class, noise follows on the same line",
        "3a (N = 3)", "256 new sequences all within 0.2, mean error below 0.01", 1, 0.01,
        CAR_HEAD_SIGMOID, two_sequence, two_sequence),
    TWO("noisy-signal", "the first 3 numbers say the class, noise on them too", "3b (N = 3)",
        "fewer than 6 of 256 new sequences off by 0.2 or more", 251.0 / 256, 0, CAR_HEAD_SIGMOID,
        noisy_signal, two_sequence),
    TWO("noisy-target", "the first 3 numbers say the class, noise on them and on the targets",
        "3c (N = 3)", "mean |output - expected target| below 0.015 over 256 new sequences", 0,
        0.015, CAR_HEAD_LINEAR, noisy_target, noisy_target),
#undef TWO
    {.name = "reber",
     .summary = "embedded Reber strings: the last but one symbol is the second",
     .paper = HOCHREITER ", experiment 1",
     .criterion = "in 256 training and 256 other strings the legal next symbols are always on top",
     .item = "strings",
     .error_name = "share of wrong steps",
     .distance_name = "symbols between the two, at least",
     .distance_least = 1,
     .distance_most = 500,
     .distance = 5,
     .head = CAR_HEAD_SOFTMAX,
     .pool = CAR_POOL_EACH,
     .hidden = 16,
     .batch = 16,
     .updates = 5000,
     .check_every = 10,
     .rate = 0.01,
     .clip = 1,
     .check = 512,
     .test = 256,
     .least_accuracy = 1,
     .shape = car_probe_reber_shape,
     .length = car_probe_reber_length,
     .make = car_probe_reber_make,
     .judge = car_probe_reber_judge},
    {.name = "continual-reber",
     .summary = "an endless stream of embedded Reber strings, the state never reset",
     .paper = "Gers, Schmidhuber & Cummins 2000",
     .criterion = "10 new streams of 1,000,000 symbols, every squared error below 0.49",
     .item = "streams",
     .error_name = "symbols before an error",
     .distance_name = "symbols between the two, at least",
     .distance_least = 1,
     .distance_most = 100,
     .distance = 5,
     .head = CAR_HEAD_SOFTMAX,
     .pool = CAR_POOL_EACH,
     .stream = true,
     .hidden = 16,
     .batch = 10,
     .updates = 10000,
     .check_every = 50,
     .rate = 0.005,
     .clip = 1,
     .check = 1000000,
     .test = 1000000,
     .least_accuracy = 1,
     .shape = car_probe_stream_shape},
    {.name = "copy",
     .summary = "ten symbols given back after a long wait",
     .paper = "Arjovsky, Shah & Bengio 2016; Bai, Kolter & Koltun 2018",
     .criterion = "at least 99 % of the symbols of 256 new sequences right (ours)",
     .item = "symbols",
     .error_name = "1 - probability of the symbol",
     .distance_name = "wait T",
     .distance_least = 1,
     .distance_most = 2000,
     .distance = 100,
     .head = CAR_HEAD_SOFTMAX,
     .pool = CAR_POOL_EACH,
     .hidden = 64,
     .batch = 32,
     .updates = 20000,
     .check_every = 100,
     .rate = 0.003,
     .clip = 1,
     .check = 256,
     .test = 2560,
     .least_accuracy = 0.99,
     .shape = car_probe_copy_shape,
     .length = car_probe_whole_length,
     .make = car_probe_copy_make,
     .judge = car_probe_recall_judge},
    {.name = "memorisation",
     .summary = "letters given back in their order",
     .paper = "Jozefowicz, Zaremba & Sutskever 2015, their first filter",
     .criterion = "at least 95 % of the letters of 1,000 new sequences right",
     .item = "letters",
     .error_name = "1 - probability of the letter",
     .distance_name = "letters to keep",
     .distance_least = 1,
     .distance_most = 500,
     .distance = 5,
     .head = CAR_HEAD_SOFTMAX,
     .pool = CAR_POOL_EACH,
     .hidden = 50,
     .batch = 32,
     .updates = 10000,
     .check_every = 50,
     .rate = 0.005,
     .clip = 1,
     .check = 1000,
     .test = 2560,
     .least_accuracy = 0.95,
     .shape = car_probe_memorisation_shape,
     .length = car_probe_whole_length,
     .make = car_probe_memorisation_make,
     .judge = car_probe_recall_judge},
    {.name = "rows",
     .summary = "a digit read row by row",
     .paper = "row by row, as in Le, Jaitly & Hinton 2015's pixels",
     .criterion = "at least 97 % of up to 1,000 held-out images right (ours)",
     .item = "images",
     .error_name = "1 - probability of the class",
     .head = CAR_HEAD_SOFTMAX,
     .pool = CAR_POOL_LAST,
     .digits = true,
     .hidden = 64,
     .batch = 32,
     .updates = 5000,
     .check_every = 100,
     .rate = 0.003,
     .clip = 1,
     .check = 1000,
     .test = 10000,
     .least_accuracy = 0.97,
     .shape = car_probe_rows_shape,
     .length = car_probe_whole_length,
     .make = car_probe_rows_make,
     .judge = car_probe_class_judge},
    {.name = "permuted",
     .summary = "a digit read pixel by pixel in a fixed shuffled order",
     .paper = "Le, Jaitly & Hinton 2015",
     .criterion =
         "at least 85.7 % of up to 1,000 held-out images right (the LSTM of Bai et al. 2018)",
     .item = "images",
     .error_name = "1 - probability of the class",
     .head = CAR_HEAD_SOFTMAX,
     .pool = CAR_POOL_LAST,
     .digits = true,
     .hidden = 64,
     .batch = 32,
     .updates = 5000,
     .check_every = 100,
     .rate = 0.003,
     .clip = 1,
     .check = 1000,
     .test = 10000,
     .least_accuracy = 0.857,
     .shape = car_probe_permuted_shape,
     .length = car_probe_whole_length,
     .make = car_probe_permuted_make,
     .judge = car_probe_class_judge},
};

int car_probe_task_count(void) {
    return (int)(sizeof tasks / sizeof *tasks);
}

const car_probe_task *car_probe_task_at(int index) {
    return index >= 0 && index < car_probe_task_count() ? &tasks[index] : NULL;
}

const car_probe_task *car_probe_task_find(const char *name) {
    for (int i = 0; i < car_probe_task_count(); i++)
        if (strcmp(tasks[i].name, name) == 0)
            return &tasks[i];
    return NULL;
}

double car_probe_accuracy(const car_probe_score *score) {
    return (double)score->right / (double)score->items;
}

double car_probe_error(const car_probe_score *score) {
    return score->error / (double)score->items;
}

bool car_probe_passes(const car_probe_task *task, const car_probe_score *score) {
    return score->items > 0 && car_probe_accuracy(score) >= task->least_accuracy &&
           (task->most_error == 0 || car_probe_error(score) < task->most_error);
}
