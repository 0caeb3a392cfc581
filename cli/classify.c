/*
 * classify.c: `carousel classify train|eval|predict`: sequences into classes on the command line.
 *
 * In:  labelled sequences (CSV, .ts, idx), model files, the settings of tasks/classify_options.c as options.
 * Out: a model file; judgements and predictions on stdout (with --json one JSON object); progress on stderr.
 */
#include "labelling.h"
#include <math.h>
#include <string.h>

/* ---- eval --------------------------------------------------------------------------------------------- */

static int eval(int argc, char **argv) {
    cli_ask_call call = {.reading = {.format = "auto", .layout = "auto"}};
    cli_ask_options(&call);
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
    return cli_ask_eval(&call, &verb, argc, argv);
}

/* ---- predict ------------------------------------------------------------------------------------------ */

/* One answer as CSV: id[,step],class,probability[,probabilities]. */
static void add_row(const cli_ask_call *call, const char *id, int step, const float *row,
                    car_text *text) {
    const car_classifier *first = &call->models[0];
    int said = car_likeliest(row, first->classes);
    cli_add_field(text, id);
    if (first->each)
        car_text_format(text, ",%d", step);
    car_text_format(text, ",");
    cli_add_field(text, first->class_names[said]);
    car_text_format(text, ",%.6g", (double)row[said]);
    for (int c = 0; call->all && c < first->classes; c++)
        car_text_format(text, ",%.6g", (double)row[c]);
    car_text_format(text, "\n");
}

static void add_object(const cli_ask_call *call, const char *id, int step, const float *row,
                       car_text *text) {
    const car_classifier *first = &call->models[0];
    int said = car_likeliest(row, first->classes);
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

static void answers(const cli_ask_call *call, car_text *text) {
    const car_classifier *first = &call->models[0];
    const float *row = call->probabilities;
    if (call->json) {
        car_text_format(text, "{\"predictions\": [");
    } else {
        car_text_format(text, "id,%sclass,probability", first->each ? "step," : "");
        for (int c = 0; call->all && c < first->classes; c++) {
            car_text_format(text, ",");
            cli_add_field(text, first->class_names[c]);
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
    cli_ask_call call = {.reading = {.format = "auto", .layout = "auto", .unlabelled = true}};
    cli_ask_options(&call);
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
    return cli_ask_predict(&call, &verb, answers, argc, argv);
}

static int train(int argc, char **argv) {
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
            "part, is a part of the training data. Ctrl-C saves MODEL.last and ends with 130.\n"};
    return cli_labelling_train(&car_classify_task, verb, "a file of sequences", argc, argv);
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
