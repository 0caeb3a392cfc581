/*
 * labelling_ask.c: trained classifiers and taggers are asked: `classify eval|predict`, `tag eval|predict`.
 *
 * In:  model files and a file of data. Out: the mean of the models' probabilities; the judgement of it.
 */
#include "labelling.h"
#include <string.h>

void cli_ask_options(cli_ask_call *call) {
    car_sequences_options *reading = &call->reading;
    const struct {
        const char *name, *help;
        const char **value;
    } texts[] = {{"id", "column that tells sequences apart", &reading->id},
                 {"step", "column of time", &reading->step},
                 {"value", "columns of values", &reading->value},
                 {"label", "column of the class", &reading->label},
                 {"labels", "labels of idx images", &reading->labels}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !call->text; i++)
        call->table[call->count++] = (cli_option){.name = texts[i].name,
                                                  .kind = CLI_TEXT,
                                                  .value = texts[i].value,
                                                  .argument = i == 4 ? "FILE" : "NAME",
                                                  .help = texts[i].help,
                                                  .default_text = "as in training"};
    if (!call->text) {
        call->table[call->count++] = (cli_option){.name = "format",
                                                  .kind = CLI_CHOICE,
                                                  .value = &reading->format,
                                                  .choices = "auto|csv|ts|idx",
                                                  .help = "auto: by the file's name"};
        call->table[call->count++] =
            (cli_option){.name = "layout",
                         .kind = CLI_CHOICE,
                         .value = &reading->layout,
                         .choices = "auto|long|row",
                         .help = "of CSV; auto: a step a row with an id column"};
    }
    call->table[call->count++] = (cli_option){.name = "threads",
                                              .kind = CLI_INT,
                                              .value = &call->threads,
                                              .minimum = 0,
                                              .maximum = 64,
                                              .argument = "N",
                                              .help = "the result does not depend on it",
                                              .default_text = "all processors"};
    call->table[call->count++] = (cli_option){
        .name = "json", .kind = CLI_FLAG, .value = &call->json, .help = "the result as JSON"};
}

static bool alike(const car_classifier *a, const car_classifier *b) {
    bool same = a->classes == b->classes && a->channels == b->channels && a->each == b->each &&
                a->symbols == 0 && b->symbols == 0;
    for (int c = 0; same && c < a->classes; c++)
        same = strcmp(a->class_names[c], b->class_names[c]) == 0;
    return same;
}

static car_status load_models(cli_ask_call *call, const cli_arguments *arguments,
                              car_error *error) {
    int count = arguments->count - 1;
    call->models = car_allocate(NULL, (size_t)count, sizeof *call->models);
    if (!call->models)
        return car_fail(error, CAR_MEMORY, "no memory for %d models", count);
    for (; call->model_count < count; call->model_count++) {
        car_classifier *one = &call->models[call->model_count];
        CAR_TRY(car_classifier_load(arguments->operands[call->model_count], NULL, one, error));
        (void)car_model_compile_native(one->model, NULL);
        if (call->model_count > 0 && !alike(&call->models[0], one)) {
            car_classifier_free(one);
            return car_fail(error, CAR_USAGE,
                            "%.200s: its classes or channels are not those of %.200s; only models "
                            "that are alike can be averaged",
                            arguments->operands[call->model_count], arguments->operands[0]);
        }
    }
    return CAR_OK;
}

/* Means of the models' probabilities. */
static car_status run_models(cli_ask_call *call, car_error *error) {
    int classes = call->models[0].classes;
    size_t count = call->items * (size_t)classes;
    float *outputs = car_allocate(NULL, count, 2 * sizeof *outputs);
    call->plain = car_allocate(NULL, count, 2 * sizeof *call->plain);
    car_status status = outputs && call->plain
                            ? CAR_OK
                            : car_fail(error, CAR_MEMORY, "no memory for %zu items", call->items);
    call->probabilities = call->plain ? call->plain + count : NULL;
    for (int m = 0; m < call->model_count && status == CAR_OK; m++) {
        float *calibrated = outputs + count;
        status =
            car_classifier_run(&call->models[m], &call->part, (int)call->threads, outputs, error);
        if (status != CAR_OK)
            break;
        memcpy(calibrated, outputs, count * sizeof *outputs);
        car_soften(outputs, call->items, classes, 1);
        car_soften(calibrated, call->items, classes, call->models[m].temperature);
        for (size_t i = 0; i < count; i++) {
            call->plain[i] += outputs[i] / (float)call->model_count;
            call->probabilities[i] += calibrated[i] / (float)call->model_count;
        }
    }
    car_release(NULL, outputs);
    return status;
}

static car_status ask(cli_ask_call *call, const cli_arguments *arguments, car_error *error) {
    CAR_TRY(load_models(call, arguments, error));
    if ((call->models[0].symbols > 0) != call->text)
        return car_fail(error, CAR_USAGE, "%.200s: %s", arguments->operands[0],
                        call->text ? "no tagger of text; use carousel classify"
                                   : "a tagger of text; use carousel tag");
    CAR_TRY(car_classifier_read(&call->models[0], arguments->operands[arguments->count - 1],
                                call->reading, NULL, &call->set, error));
    call->part = (car_part){&call->set, call->set.count, NULL};
    call->items = car_part_items(&call->part);
    return run_models(call, error);
}

static void free_call(cli_ask_call *call) {
    for (int i = 0; i < call->model_count; i++)
        car_classifier_free(&call->models[i]);
    car_release(NULL, call->models);
    car_release(NULL, call->plain);
    car_sequences_free(&call->set);
}

/* ---- judging ------------------------------------------------------------------------------------------ */

static car_status judge(cli_ask_call *call, car_text *text, car_error *error) {
    const car_classifier *first = &call->models[0];
    car_class_score before = {0}, score = {0};
    car_status status = car_class_judge(&call->part, call->plain, first->classes, first->majority,
                                        NULL, &before, error);
    if (status == CAR_OK)
        status = car_class_judge(&call->part, call->probabilities, first->classes, first->majority,
                                 NULL, &score, error);
    car_span_score spans = {0};
    if (status == CAR_OK && call->text)
        car_tag_judge(first, &call->set, call->probabilities, &spans);
    const cli_judgement judgement = {.unit = call->text    ? "word"
                                             : first->each ? "step"
                                                           : "sequence",
                                     .class_names = first->class_names,
                                     .score = &score,
                                     .error_before = before.calibration_error,
                                     .temperature = first->temperature,
                                     .models = call->model_count,
                                     .majority = first->majority};
    if (status == CAR_OK && call->json) {
        car_text_format(text, "{");
        cli_judgement_json(&judgement, text);
        if (call->text)
            cli_spans_json(&spans, text);
        car_text_format(text, "}\n");
    } else if (status == CAR_OK) {
        if (call->text)
            cli_spans_text(&spans, text);
        cli_judgement_text(&judgement, text);
    }
    car_class_score_free(&before);
    car_class_score_free(&score);
    return status;
}

/* ---- the verbs ---------------------------------------------------------------------------------------- */

int cli_ask_eval(cli_ask_call *call, const cli_verb *verb, int argc, char **argv) {
    cli_arguments arguments;
    int code = cli_parse(verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    car_text text;
    car_text_start(&text, NULL);
    car_status status = ask(call, &arguments, &error);
    if (status == CAR_OK)
        status = judge(call, &text, &error);
    code = status == CAR_OK ? cli_print(&text) : cli_fail(&error);
    if (status != CAR_OK)
        car_text_free(&text);
    free_call(call);
    cli_arguments_free(&arguments);
    return code;
}

int cli_ask_predict(cli_ask_call *call, const cli_verb *verb, cli_answers *answers, int argc,
                    char **argv) {
    cli_arguments arguments;
    int code = cli_parse(verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    if (ask(call, &arguments, &error) == CAR_OK) {
        car_text text;
        car_text_start(&text, NULL);
        answers(call, &text);
        code = cli_print(&text);
    } else {
        code = cli_fail(&error);
    }
    free_call(call);
    cli_arguments_free(&arguments);
    return code;
}
