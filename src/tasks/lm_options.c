/*
 * lm_options.c: every setting of a language model's training, once.
 *
 * In:  the table below: name, place, default, range, help. The command line, --print-config and
 *      the checkpoint all go through it.
 * Out: a struct of defaults; a check; the settings as JSON and back.
 */
#include "tasks.h"
#define SETTINGS_OF car_lm_options
#include "setting_table.h"

const car_setting car_lm_settings[] = {
    HEADING("The text"),
    CHOICE("level", level, "char", "byte|char|word", "what one token is; byte reads any file"),
    INT("vocab", vocabulary, 10000, 3, 1 << 24, NULL, "N",
        "most frequent words to know, <unk> and <eos> included (level word)"),
    TEXT("valid", valid, NULL, "FILE", "the text to validate on"),
    NUMBER("valid-fraction", valid_fraction, 0.1, 0, 0.9, NULL,
           "without --valid: the last part of the text to validate on"),
    HEADING("The net"),
    TEXT("net", net, NULL, "TEXT", "the whole net: 'embed 64 | lstm 256 x2 | softmax'; or else:"),
    TEXT("cell", cell, "lstm", "NAME|FILE", "a cell of the zoo or a file"),
    INT("hidden", hidden, 256, 1, 65536, NULL, "N", "units of a layer"),
    INT("layers", layers, 1, 1, 64, NULL, "N", "layers"),
    INT("embed", embed, 0, 0, 65536, "64; at level word as --hidden", "N", "values an id becomes"),
    NUMBER("dropout", dropout, 0, 0, 0.99, NULL, "between layers, before the head too"),
    TEXT("init", init, NULL, "SCHEME", "uniform, uniform(A), orthogonal or walk"),
    TEXT("bias-init", bias_init, NULL, "LIST", "biases of every cell that start elsewhere: bf=1"),
    HEADING("The updates"),
    INT("batch", batch, 32, 1, 65536, NULL, "N", "pieces of the text side by side"),
    INT("unroll", unroll, 64, 1, 65536, NULL, "N", "steps of one update (truncated BPTT)"),
    CHOICE("optimizer", optimizer, "adam", "adam|adamw|sgd|rmsprop", "how weights move"),
    NUMBER("rate", rate, 0, 1e-9, 1e6, "adam, adamw, rmsprop: 0.002; sgd: 1",
           "learning rate of the mean loss"),
    CHOICE("schedule", schedule, "cosine", "constant|step|plateau|cosine", "the rate over time"),
    INT("warmup", warmup, 0, 0, 1e12, NULL, "N", "updates of linear warm-up"),
    NUMBER("final", final, 0.02, 0, 1, NULL, "cosine: the last rate as a share of --rate"),
    NUMBER("factor", factor, 0.5, 0, 1, NULL, "step, plateau: the rate is multiplied by it"),
    NUMBER("after", after, 4, 0, 1e9, NULL, "step: every epoch after this one"),
    INT("plateau", plateau, 1, 1, 1e9, NULL, "N", "plateau: validations without improvement"),
    NUMBER("clip", clip, 1, 0, 1e30, NULL, "most norm of the gradient; 0: off"),
    NUMBER("clip-value", clip_value, 0, 0, 1e30, NULL, "most size of one gradient; 0: off"),
    NUMBER("momentum", momentum, 0, 0, 0.9999, NULL, "sgd"),
    NUMBER("beta1", beta1, 0.9, 0, 0.999999, NULL, "adam, adamw"),
    NUMBER("beta2", beta2, 0.999, 0, 0.999999, NULL, "adam, adamw, rmsprop"),
    NUMBER("epsilon", epsilon, 1e-8, 1e-30, 1, NULL, "adam, adamw, rmsprop"),
    NUMBER("decay", decay, 0, 0, 1, NULL, "weight decay"),
    HEADING("How long"),
    NUMBER("minutes", minutes, 0, 0, 1e6, "none", "time to train, turned into updates once"),
    NUMBER("epochs", epochs, 0, 0, 1e9, "10 if nothing else is given", "times through the text"),
    INT("updates", updates, 0, 0, 1e15, "none", "N", "updates; the smallest of the three counts"),
    INT("validate-every", validate_every, 0, 0, 1e12, "each epoch", "N", "updates"),
    INT("patience", patience, 0, 0, 1e9, "never", "N",
        "stop after so many validations without improvement"),
    NUMBER("checkpoint-seconds", checkpoint_seconds, 60, 0, 1e9, NULL,
           "how often FILE.last is written for --resume"),
    HEADING("The rest"),
    TEXT("output", output, NULL, "FILE", "the model; the best by validation is kept"),
    INT("seed", seed, 1, 0, 9e15, NULL, "N", "of weights and dropout"),
    INT("threads", threads, 0, 0, 64, "all processors, 1 for a tiny net", "N",
        "the result does not depend on it"),
    CHOICE("precision", precision, "f32", "f32|bf16",
           "of matrix products; bf16 is faster, weights and sums stay f32"),
};
const int car_lm_setting_count = (int)(sizeof car_lm_settings / sizeof *car_lm_settings);

car_lm_options car_lm_defaults(void) {
    car_lm_options options = {0};
    car_settings_defaults(car_lm_settings, car_lm_setting_count, &options);
    return options;
}

car_status car_lm_options_check(const car_lm_options *options, car_error *error) {
    CAR_TRY(car_settings_check(car_lm_settings, car_lm_setting_count, options, error));
    if (options->batch * options->unroll > INT32_MAX / 64)
        return car_fail(error, CAR_USAGE, "--batch %lld x --unroll %lld is too large; lower one",
                        (long long)options->batch, (long long)options->unroll);
    return CAR_OK;
}

void car_lm_options_to_json(const car_lm_options *options, car_text *text) {
    car_settings_to_json(car_lm_settings, car_lm_setting_count, options, text);
}

car_status car_lm_options_from_json(const char *json, const char *origin, car_arena *arena,
                                    car_lm_options *options, car_error *error) {
    car_error cause;
    CAR_TRY(car_settings_from_json(car_lm_settings, car_lm_setting_count, json, origin, arena,
                                   options, error));
    if (car_lm_options_check(options, &cause) != CAR_OK)
        return car_fail(error, CAR_MODEL, "%.200s: its settings are damaged: %.250s", origin,
                        cause.message);
    return CAR_OK;
}
