/*
 * labelling.c: `classify train` and `tag train`: the same but for the task's settings.
 *
 * In:  the command line. Out: a trained model; its judgement on the validation part on stdout.
 */
#include "labelling.h"
#include <string.h>

typedef struct train_call {
    car_classify_options options;
    const char *operand;
    cli_training shared;
    cli_training_view view;
} train_call;

static car_status check_call(const cli_verb *verb, const train_call *call,
                             const cli_arguments *arguments, car_error *error) {
    static const char *const net_parts[] = {"hidden", "layers",  "direction", "head",
                                            "cell",   "dropout", "embed",     NULL};
    static const char *const model_parts[] = {"net",         "init",  "bias-init", "scaling",
                                              "differences", "level", "least",     NULL};
    const char *load = call->shared.load;
    CAR_TRY(cli_training_check(verb, &call->shared, arguments, call->operand, error));
    if (arguments->count > 1)
        return car_fail(error, CAR_USAGE, "%s: one file; join several before", verb->name);
    if (load && call->options.folds > 0)
        return car_fail(error, CAR_USAGE,
                        "%s: --folds judges nets that have not seen what they are judged by; the "
                        "model of --load may have: take one away",
                        verb->name);
    if (call->options.net || load)
        CAR_TRY(cli_training_refuse(verb, net_parts, load ? "--load" : "--net", error));
    return load ? cli_training_refuse(verb, model_parts, "--load", error) : CAR_OK;
}

static car_status train_new(train_call *call, const char *path, const car_classify_watch *watch,
                            car_classify_result *result, car_error *error) {
    car_classifier loaded = {0};
    car_classify_data data = {0};
    bool each = false;
    car_status status = CAR_OK;
    if (call->shared.load) {
        status = car_classifier_load(call->shared.load, NULL, &loaded, error);
        if (status == CAR_OK && (loaded.symbols > 0) != call->options.task->text)
            status = car_fail(error, CAR_USAGE, "%.200s: %s", call->shared.load,
                              loaded.symbols > 0 ? "a tagger of text; use carousel tag"
                                                 : "no tagger of text; use carousel classify");
        if (status == CAR_OK)
            call->options.net = car_model_net(loaded.model);
        each = loaded.each;
    }
    if (status == CAR_OK)
        status = car_classify_options_check(&call->options, error);
    if (status == CAR_OK && !call->shared.load)
        status = car_classify_each(&call->options, NULL, &each, error);
    if (status == CAR_OK)
        status = car_classify_read(&call->options, path, each, call->shared.load ? &loaded : NULL,
                                   NULL, &data, error);
    if (status == CAR_OK)
        status =
            car_classify_train(&call->options, &data, loaded.model, watch, NULL, result, error);
    car_classify_data_free(&data);
    car_classifier_free(&loaded);
    return status;
}

static car_status train_or_resume(const cli_verb *verb, train_call *call,
                                  const cli_arguments *arguments, car_classify_result *result,
                                  car_error *error) {
    CAR_TRY(check_call(verb, call, arguments, error));
    const car_classify_options *options = &call->options;
    car_classify_watch watch = {.context = &call->view,
                                .started = cli_classify_started,
                                .progress = cli_training_progress,
                                .stop = cli_signal(),
                                .version = car_version(),
                                .native = true};
    call->view = cli_classify_view(call->shared.json);
    cli_progress_start(&call->view.line);
    cli_signals_catch();
    if (!call->shared.resume)
        return train_new(call, arguments->operands[0], &watch, result, error);
    car_training_changes changes = {
        .minutes = cli_given(verb, "minutes") ? options->minutes : -1,
        .epochs = cli_given(verb, "epochs") ? options->epochs : -1,
        .updates = cli_given(verb, "updates") ? options->updates : -1,
        .threads = cli_given(verb, "threads") ? options->threads : -1,
    };
    return car_classify_resume(call->shared.resume, &changes, &watch, NULL, result, error);
}

static int show_result(const train_call *call, const car_classify_result *result) {
    if (result->fit.stopped_by_signal && call->options.folds > 0) {
        cli_note("interrupted; with --folds nothing is kept to go on from: begin anew");
        return cli_signal_code(0);
    }
    car_text text;
    car_text_start(&text, NULL);
    cli_classify_result(result, call->shared.json, &text);
    int code = cli_print(&text);
    if (result->fit.stopped_by_signal && !call->shared.json)
        cli_note("interrupted; go on with: carousel %s train --resume %s%s",
                 call->options.task->name,
                 call->shared.resume ? call->shared.resume : result->output,
                 call->shared.resume ? "" : ".last");
    return result->fit.stopped_by_signal ? cli_signal_code(code) : code;
}

int cli_labelling_train(const car_labelling *task, cli_verb verb, const char *operand, int argc,
                        char **argv) {
    train_call call = {.options = car_classify_defaults(task), .operand = operand};
    cli_training_add_settings(&call.shared, task->settings, task->count, &call.options);
    cli_training_add_rest(&call.shared, "start from this model's weights, net, classes, scaling");
    verb.options = call.shared.table;
    verb.option_count = call.shared.count;
    verb.most_operands = -1;
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    car_classify_result result = {0};
    if (call.shared.print_config) {
        code = cli_training_print_config(&verb, &arguments);
    } else {
        car_status status = train_or_resume(&verb, &call, &arguments, &result, &error);
        cli_progress_end(&call.view.line);
        code = status == CAR_OK ? show_result(&call, &result) : cli_fail(&error);
    }
    cli_arguments_free(&arguments);
    return code;
}
