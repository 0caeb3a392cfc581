/*
 * classify.c: `carousel classify train|eval|predict`: sequences into classes on the command line.
 *
 * In:  labelled sequences (CSV, .ts, idx), model files, the settings of tasks/classify_options.c as options.
 * Out: a model file; judgements and predictions on stdout (with --json one JSON object); progress on stderr.
 */
#include "classify.h"
#include "classify_show.h"
#include "training.h"
#include <math.h>
#include <string.h>

/* ---- train -------------------------------------------------------------------------------------------- */

typedef struct train_call {
    car_classify_options options;
    cli_training shared;
    cli_training_view view;
} train_call;

static car_status check_call(const cli_verb *verb, const train_call *call,
                             const cli_arguments *arguments, car_error *error) {
    static const char *const net_parts[] = {"hidden", "layers",  "direction", "head",
                                            "cell",   "dropout", NULL};
    static const char *const model_parts[] = {"net", "init", "bias-init", "scaling", NULL};
    const char *load = call->shared.load;
    CAR_TRY(cli_training_check(verb, &call->shared, arguments, "a file of sequences", error));
    if (arguments->count > 1)
        return car_fail(error, CAR_USAGE, "classify train: one file; join several before");
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
    car_text text;
    car_text_start(&text, NULL);
    cli_classify_result(result, call->shared.json, &text);
    int code = cli_print(&text);
    if (result->fit.stopped_by_signal && !call->shared.json)
        cli_note("interrupted; go on with: carousel classify train --resume %s%s",
                 call->shared.resume ? call->shared.resume : result->output,
                 call->shared.resume ? "" : ".last");
    return result->fit.stopped_by_signal ? cli_signal_code(code) : code;
}

static int train(int argc, char **argv) {
    train_call call = {.options = car_classify_defaults()};
    cli_training_add_settings(&call.shared, car_classify_settings, car_classify_setting_count,
                              &call.options);
    cli_training_add_rest(&call.shared, "start from this model's weights, net, classes, scaling");
    cli_verb verb = {
        .name = "classify train",
        .summary = "learn from labelled sequences to tell their classes",
        .usage = "[options] DATA -o MODEL",
        .examples =
            "carousel classify train gestures.csv -o m.safetensors\n"
            "carousel classify train JapaneseVowels_TRAIN.ts -o m.safetensors --warp 0.1\n"
            "carousel classify train train-images-idx3-ubyte.gz -o m.safetensors --scaling all\n"
            "carousel classify train states.csv -o m.safetensors --head each\n"
            "carousel classify train --resume m.safetensors.last\n",
        .notes =
            "CSV with a header: a step a row (a column id, values, a column label; rows of a\n"
            "sequence together), or a sequence a row (values, label). .ts as the UEA archive\n"
            "has it; idx images are read row by row. What is selected on, the validation\n"
            "part, is a part of the training data. Ctrl-C saves MODEL.last and ends with 130.\n",
        .options = call.shared.table,
        .option_count = call.shared.count,
        .least_operands = 0,
        .most_operands = -1};
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

/* ---- models that are asked ----------------------------------------------------------------------------- */

enum { ASK_OPTIONS = 12 };

typedef struct ask_call {
    car_sequences_options reading;
    int64_t threads;
    bool json, all; /* all: every class's probability (predict) */
    cli_option table[ASK_OPTIONS];
    int count;
    car_classifier *models;
    int model_count;
    car_sequences set;
    car_part part;
    size_t items;
    float *plain,
        *probabilities; /* [items][classes] at temperature 1, and as calibrated; means of the models */
} ask_call;

static void fill_ask_table(ask_call *call) {
    car_sequences_options *reading = &call->reading;
    const struct {
        const char *name, *help;
        const char **value;
    } texts[] = {{"id", "column that tells sequences apart", &reading->id},
                 {"step", "column of time", &reading->step},
                 {"value", "columns of values", &reading->value},
                 {"label", "column of the class", &reading->label},
                 {"labels", "labels of idx images", &reading->labels}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        call->table[call->count++] = (cli_option){.name = texts[i].name,
                                                  .kind = CLI_TEXT,
                                                  .value = texts[i].value,
                                                  .argument = i == 4 ? "FILE" : "NAME",
                                                  .help = texts[i].help,
                                                  .default_text = "as in training"};
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
    bool same = a->classes == b->classes && a->channels == b->channels && a->each == b->each;
    for (int c = 0; same && c < a->classes; c++)
        same = strcmp(a->class_names[c], b->class_names[c]) == 0;
    return same;
}

static car_status load_models(ask_call *call, const cli_arguments *arguments, car_error *error) {
    int count = arguments->count - 1;
    call->models = car_allocate(NULL, (size_t)count, sizeof *call->models);
    if (!call->models)
        return car_fail(error, CAR_MEMORY, "no memory for %d models", count);
    for (; call->model_count < count; call->model_count++) {
        car_classifier *one = &call->models[call->model_count];
        CAR_TRY(car_classifier_load(arguments->operands[call->model_count], NULL, one, error));
        (void)car_model_compile_native(one->model, NULL);
        if (!alike(&call->models[0], one)) {
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
static car_status run_models(ask_call *call, car_error *error) {
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

static car_status ask(ask_call *call, const cli_arguments *arguments, car_error *error) {
    CAR_TRY(load_models(call, arguments, error));
    if (call->models[0].channels == 0)
        return car_fail(error, CAR_USAGE, "%.200s: a tagger of text; use carousel tag",
                        arguments->operands[0]);
    CAR_TRY(car_classifier_read(&call->models[0], arguments->operands[arguments->count - 1],
                                call->reading, NULL, &call->set, error));
    call->part = (car_part){&call->set, call->set.count, NULL};
    call->items = car_part_items(&call->part);
    return run_models(call, error);
}

static void free_ask(ask_call *call) {
    for (int i = 0; i < call->model_count; i++)
        car_classifier_free(&call->models[i]);
    car_release(NULL, call->models);
    car_release(NULL, call->plain);
    car_sequences_free(&call->set);
}

/* ---- eval --------------------------------------------------------------------------------------------- */

static car_status judge(ask_call *call, car_text *text, car_error *error) {
    const car_classifier *first = &call->models[0];
    car_class_score before = {0}, score = {0};
    car_status status = car_class_judge(&call->part, call->plain, first->classes, first->majority,
                                        NULL, &before, error);
    if (status == CAR_OK)
        status = car_class_judge(&call->part, call->probabilities, first->classes, first->majority,
                                 NULL, &score, error);
    const cli_judgement judgement = {.unit = first->each ? "step" : "sequence",
                                     .class_names = first->class_names,
                                     .score = &score,
                                     .error_before = before.calibration_error,
                                     .temperature = first->temperature,
                                     .models = call->model_count,
                                     .majority = first->majority};
    if (status == CAR_OK && call->json) {
        car_text_format(text, "{");
        cli_judgement_json(&judgement, text);
        car_text_format(text, "}\n");
    } else if (status == CAR_OK) {
        cli_judgement_text(&judgement, text);
    }
    car_class_score_free(&before);
    car_class_score_free(&score);
    return status;
}

static int eval(int argc, char **argv) {
    ask_call call = {.reading = {.format = "auto", .layout = "auto"}};
    fill_ask_table(&call);
    const cli_verb verb = {
        .name = "classify eval",
        .summary = "how well a model tells the classes of labelled sequences",
        .usage = "[options] MODEL... DATA",
        .examples = "carousel classify eval m.safetensors test.csv\n"
                    "carousel classify eval m.safetensors test.ts --json\n"
                    "carousel classify eval m1.safetensors m2.safetensors m3.safetensors test.ts\n",
        .notes =
            "Several models: the mean of their probabilities. The interval of the accuracy is\n"
            "Wilson's (95 %); of steps, whose neighbours are alike, a bootstrap over sequences.\n",
        .options = call.table,
        .option_count = call.count,
        .least_operands = 2,
        .most_operands = -1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    car_text text;
    car_text_start(&text, NULL);
    car_status status = ask(&call, &arguments, &error);
    if (status == CAR_OK)
        status = judge(&call, &text, &error);
    code = status == CAR_OK ? cli_print(&text) : cli_fail(&error);
    if (status != CAR_OK)
        car_text_free(&text);
    free_ask(&call);
    cli_arguments_free(&arguments);
    return code;
}

/* ---- predict ------------------------------------------------------------------------------------------ */

static void add_csv_text(car_text *text, const char *name) {
    if (!strpbrk(name, ",\"\n\r")) {
        car_text_format(text, "%s", name);
        return;
    }
    car_text_format(text, "\"");
    for (const char *at = name; *at; at++)
        car_text_format(text, *at == '"' ? "\"\"" : "%c", *at);
    car_text_format(text, "\"");
}

/* One answer as CSV: id[,step],class,probability[,probabilities]. */
static void add_row(const ask_call *call, const char *id, int step, const float *row,
                    car_text *text) {
    const car_classifier *first = &call->models[0];
    int said = 0;
    for (int c = 1; c < first->classes; c++)
        said = row[c] > row[said] ? c : said;
    add_csv_text(text, id);
    if (first->each)
        car_text_format(text, ",%d", step);
    car_text_format(text, ",");
    add_csv_text(text, first->class_names[said]);
    car_text_format(text, ",%.6g", (double)row[said]);
    for (int c = 0; call->all && c < first->classes; c++)
        car_text_format(text, ",%.6g", (double)row[c]);
    car_text_format(text, "\n");
}

static void add_object(const ask_call *call, const char *id, int step, const float *row,
                       car_text *text) {
    const car_classifier *first = &call->models[0];
    int said = 0;
    for (int c = 1; c < first->classes; c++)
        said = row[c] > row[said] ? c : said;
    car_text_format(text, "{\"id\": ");
    car_text_json_string(text, id, strlen(id));
    if (first->each)
        car_text_format(text, ", \"step\": %d", step);
    car_text_format(text, ", \"class\": ");
    car_text_json_string(text, first->class_names[said], strlen(first->class_names[said]));
    car_text_format(text, ", \"probability\": %.6g", (double)row[said]);
    for (int c = 0; call->all && c < first->classes; c++) {
        car_text_format(text, c ? ", " : ", \"probabilities\": {");
        car_text_json_string(text, first->class_names[c], strlen(first->class_names[c]));
        car_text_format(text, ": %.6g%s", (double)row[c], c == first->classes - 1 ? "}" : "");
    }
    car_text_format(text, "}");
}

static void answers(const ask_call *call, car_text *text) {
    const car_classifier *first = &call->models[0];
    const float *row = call->probabilities;
    if (call->json) {
        car_text_format(text, "{\"predictions\": [");
    } else {
        car_text_format(text, "id,%sclass,probability", first->each ? "step," : "");
        for (int c = 0; call->all && c < first->classes; c++) {
            car_text_format(text, ",");
            add_csv_text(text, first->class_names[c]);
        }
        car_text_format(text, "\n");
    }
    for (int i = 0; i < call->set.count; i++) {
        size_t steps = first->each ? call->set.begin[i + 1] - call->set.begin[i] : 1;
        char number[24];
        snprintf(number, sizeof number, "%d", i + 1);
        const char *id = call->set.names.count > 0 ? call->set.names.names[i] : number;
        for (size_t t = 0; t < steps; t++, row += first->classes) {
            if (call->json && (i > 0 || t > 0))
                car_text_format(text, ", ");
            if (call->json)
                add_object(call, id, (int)t + 1, row, text);
            else
                add_row(call, id, (int)t + 1, row, text);
        }
    }
    if (call->json)
        car_text_format(text, "]}\n");
}

static int predict(int argc, char **argv) {
    ask_call call = {.reading = {.format = "auto", .layout = "auto", .unlabelled = true}};
    fill_ask_table(&call);
    call.table[call.count++] = (cli_option){.name = "probabilities",
                                            .kind = CLI_FLAG,
                                            .value = &call.all,
                                            .help = "those of all classes"};
    const cli_verb verb = {
        .name = "classify predict",
        .summary = "the class of each sequence, or of each step",
        .usage = "[options] MODEL... DATA",
        .examples = "carousel classify predict m.safetensors new.csv\n"
                    "carousel classify predict m.safetensors new.csv --probabilities\n",
        .notes = "DATA needs no labels; if there are any they are passed over. Probabilities are\n"
                 "calibrated by the temperature that was fitted on the validation part.\n",
        .options = call.table,
        .option_count = call.count,
        .least_operands = 2,
        .most_operands = -1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    if (ask(&call, &arguments, &error) == CAR_OK) {
        car_text text;
        car_text_start(&text, NULL);
        answers(&call, &text);
        code = cli_print(&text);
    } else {
        code = cli_fail(&error);
    }
    free_ask(&call);
    cli_arguments_free(&arguments);
    return code;
}

int cli_classify(int argc, char **argv) {
    static const cli_command table[] = {
        {"train", "learn from labelled sequences", train},
        {"eval", "how well a model tells the classes", eval},
        {"predict", "the class of each sequence or step", predict},
    };
    return cli_dispatch("classify", "sequences into classes", table, sizeof table / sizeof *table,
                        argc, argv);
}
