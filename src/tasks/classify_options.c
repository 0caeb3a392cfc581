/*
 * classify_options.c: every setting of a classifier's and of a tagger's training, once.
 *
 * In:  the tables below. Out: defaults and a check; the command line, --print-config and checkpoints go through it.
 */
#include "classify.h"
#define SETTINGS_OF car_classify_options
#include "setting_table.h"

static const car_setting classify_settings[] = {
    HEADING("The data"),
    CHOICE("format", format, "auto", "auto|csv|ts|idx", "auto: by the file's name"),
    CHOICE("layout", layout, "auto", "auto|long|row",
           "of CSV: a step a row, or a sequence a row; auto: long with an id column"),
    TEXT("id", id, NULL, "NAME", "column that tells sequences apart: id, unique_id or sequence"),
    TEXT("step", step, NULL, "NAME", "column of time, checked to rise: step, t or time"),
    TEXT("value", value, NULL, "A,B", "columns of values; else all that are left"),
    TEXT("label", label, NULL, "NAME", "column of the class: label or class"),
    TEXT("labels", labels, NULL, "FILE", "labels of idx images; else found by the images' name"),
    INT("channels", channels, 1, 1, CAR_SEQUENCE_CHANNEL_LIMIT, NULL, "N",
        "layout row: values a step"),
    TEXT("valid", valid, NULL, "FILE", "sequences to validate on"),
    NUMBER("valid-fraction", valid_fraction, 0.2, 0, 0.9, NULL,
           "without --valid: the share of each class to validate on; 0: none"),
    INT("folds", folds, 0, 0, 1000, "none", "N",
        "few sequences: judge by N-fold cross-validation, then learn from all"),
    CHOICE("scaling", scaling, "channel", "channel|all|none",
           "mean 0 and deviation 1 of the training part: each channel, all as one (images), no"),
    FLAG("differences", differences,
         "the net also reads how much each value has changed since the step before"),
    HEADING("The net"),
    TEXT("net", net, NULL, "TEXT", "the whole net: 'lstm 64 bi | softmax mean'; or else:"),
    TEXT("cell", cell, "lstm", "NAME|FILE", "a cell of the zoo or a file"),
    INT("hidden", hidden, 64, 1, 65536, NULL, "N", "units of a layer"),
    INT("layers", layers, 1, 1, 64, NULL, "N", "layers"),
    CHOICE("direction", direction, "both", "both|forward",
           "both sees the whole sequence; forward can be watched as rows come"),
    CHOICE("head", head, "mean", "mean|last|each",
           "from the mean over time, from the last step, or a class a step"),
    NUMBER("dropout", dropout, 0, 0, 0.99, NULL, "between layers, before the head too"),
    TEXT("init", init, NULL, "SCHEME", "uniform, uniform(A), orthogonal or walk"),
    TEXT("bias-init", bias_init, NULL, "LIST", "biases of every cell that start elsewhere: bf=1"),
    HEADING("Sequences as they might have been too (training part)"),
    NUMBER("noise", noise, 0, 0, 100, NULL, "added, in deviations"),
    NUMBER("warp", warp, 0, 0, 1, NULL, "time runs faster and slower by about this share"),
    INT("shift", shift, 0, 0, 65536, NULL, "N", "steps earlier or later"),
    INT("shift-channels", shift_channels, 0, 0, 4096, NULL, "N",
        "channels up or down (images: columns)"),
    HEADING("The updates"),
    INT("batch", batch, 16, 1, 65536, NULL, "N", "sequences side by side"),
    CHOICE("optimizer", optimizer, "adamw", "adam|adamw|sgd|rmsprop", "how weights move"),
    NUMBER("rate", rate, 0.005, 1e-9, 1e6, NULL, "learning rate"),
    CHOICE("schedule", schedule, "cosine", "constant|cosine", "the rate over time"),
    INT("warmup", warmup, 0, 0, 1e12, NULL, "N", "updates of linear warm-up"),
    NUMBER("final", final, 0.02, 0, 1, NULL, "cosine: the last rate as a share of --rate"),
    NUMBER("clip", clip, 1, 0, 1e30, NULL, "most norm of the gradient; 0: off"),
    NUMBER("decay", decay, 0.01, 0, 1, NULL, "weight decay"),
    HEADING("How long"),
    NUMBER("minutes", minutes, 0, 0, 1e6, "none", "time to train, turned into updates once"),
    NUMBER("epochs", epochs, 0, 0, 1e9, "100 if nothing else is given", "times through the data"),
    INT("updates", updates, 0, 0, 1e15, "none", "N", "updates; the smallest of the three counts"),
    INT("validate-every", validate_every, 0, 0, 1e12, "each epoch", "N", "updates"),
    INT("patience", patience, 20, 0, 1e9, NULL, "N",
        "stop after so many validations without improvement; 0: never"),
    NUMBER("checkpoint-seconds", checkpoint_seconds, 60, 0, 1e9, NULL,
           "how often FILE.last is written for --resume"),
    HEADING("The rest"),
    TEXT("output", output, NULL, "FILE", "the model; the best by validation is kept"),
    INT("seed", seed, 1, 0, 9e15, NULL, "N", "of weights, dropout, order and the split"),
    INT("threads", threads, 0, 0, 64, "all processors, 1 for a tiny net", "N",
        "the result does not depend on it"),
    CHOICE("precision", precision, "f32", "f32|bf16",
           "of matrix products; bf16 is faster, weights and sums stay f32"),
};

static const car_setting tag_settings[] = {
    HEADING("The text"),
    TEXT("valid", valid, NULL, "FILE", "sentences to validate on"),
    NUMBER("valid-fraction", valid_fraction, 0.1, 0, 0.9, NULL,
           "without --valid: the share of sentences to validate on; 0: none"),
    CHOICE("level", level, "both", "both|word|char",
           "what a word is read as: its characters, then itself; itself; its characters"),
    INT("least", least, 2, 1, 1e9, NULL, "N", "words seen less often are <unk>"),
    HEADING("The net"),
    TEXT("net", net, NULL, "TEXT", "the whole net: 'embed 64 | lstm 96 bi | softmax'; or else:"),
    TEXT("cell", cell, "lstm", "NAME|FILE", "a cell of the zoo or a file"),
    INT("embed", embed, 64, 1, 65536, NULL, "N", "values a symbol becomes"),
    INT("hidden", hidden, 96, 1, 65536, NULL, "N", "units of a layer"),
    INT("layers", layers, 1, 1, 64, NULL, "N", "layers"),
    CHOICE("direction", direction, "both", "both|forward", "both sees the words that follow"),
    NUMBER("dropout", dropout, 0.3, 0, 0.99, NULL, "between layers, before the head too"),
    TEXT("init", init, NULL, "SCHEME", "uniform, uniform(A), orthogonal or walk"),
    TEXT("bias-init", bias_init, NULL, "LIST", "biases of every cell that start elsewhere: bf=1"),
    NUMBER("forget", forget, 0.1, 0, 0.99, NULL,
           "share of the words that are read as <unk> in training"),
    HEADING("The updates"),
    INT("batch", batch, 16, 1, 65536, NULL, "N", "sentences side by side"),
    CHOICE("optimizer", optimizer, "adamw", "adam|adamw|sgd|rmsprop", "how weights move"),
    NUMBER("rate", rate, 0.005, 1e-9, 1e6, NULL, "learning rate"),
    CHOICE("schedule", schedule, "cosine", "constant|cosine", "the rate over time"),
    INT("warmup", warmup, 0, 0, 1e12, NULL, "N", "updates of linear warm-up"),
    NUMBER("final", final, 0.02, 0, 1, NULL, "cosine: the last rate as a share of --rate"),
    NUMBER("clip", clip, 1, 0, 1e30, NULL, "most norm of the gradient; 0: off"),
    NUMBER("decay", decay, 0.01, 0, 1, NULL, "weight decay"),
    HEADING("How long"),
    NUMBER("minutes", minutes, 0, 0, 1e6, "none", "time to train, turned into updates once"),
    NUMBER("epochs", epochs, 0, 0, 1e9, "20 if nothing else is given", "times through the text"),
    INT("updates", updates, 0, 0, 1e15, "none", "N", "updates; the smallest of the three counts"),
    INT("validate-every", validate_every, 0, 0, 1e12, "each epoch", "N", "updates"),
    INT("patience", patience, 5, 0, 1e9, NULL, "N",
        "stop after so many validations without improvement; 0: never"),
    NUMBER("checkpoint-seconds", checkpoint_seconds, 60, 0, 1e9, NULL,
           "how often FILE.last is written for --resume"),
    HEADING("The rest"),
    TEXT("output", output, NULL, "FILE", "the model; the best by validation is kept"),
    INT("seed", seed, 1, 0, 9e15, NULL, "N", "of weights, dropout, order and the split"),
    INT("threads", threads, 0, 0, 64, "all processors, 1 for a tiny net", "N",
        "the result does not depend on it"),
    CHOICE("precision", precision, "f32", "f32|bf16",
           "of matrix products; bf16 is faster, weights and sums stay f32"),
};

const car_labelling car_classify_task = {
    "classify", classify_settings, sizeof classify_settings / sizeof *classify_settings, false};
const car_labelling car_tag_task = {"tag", tag_settings, sizeof tag_settings / sizeof *tag_settings,
                                    true};

car_classify_options car_classify_defaults(const car_labelling *task) {
    car_classify_options options = {.task = task, .head = "each", .scaling = "none"};
    car_settings_defaults(task->settings, task->count, &options);
    return options;
}

car_status car_classify_options_check(const car_classify_options *options, car_error *error) {
    CAR_TRY(car_settings_check(options->task->settings, options->task->count, options, error));
    if (!options->output)
        return car_fail(error, CAR_USAGE, "say where the model goes: -o m.safetensors");
    if (options->folds == 1)
        return car_fail(error, CAR_USAGE, "--folds 1 leaves nothing to learn from; 2 at least");
    if (options->folds > 0 && options->valid)
        return car_fail(error, CAR_USAGE, "--folds judges by all sequences; take --valid away");
    if (options->differences && options->shift_channels > 0)
        return car_fail(error, CAR_USAGE,
                        "--shift-channels would move values among differences; take one away");
    return CAR_OK;
}
