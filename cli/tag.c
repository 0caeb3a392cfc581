/*
 * tag.c: `carousel tag train|eval|predict`: a class for each word of a text.
 *
 * In:  text in columns (a word a line, its tag in the last column, an empty line between sentences), model files.
 * Out: a model file; judgements; the words with their tags, in columns as they came (with --json one JSON object).
 */
#include "labelling.h"
#include <string.h>

static int train(int argc, char **argv) {
    const cli_verb verb = {
        .name = "tag train",
        .summary = "learn from tagged text to tag words",
        .usage = "[options] FILE -o MODEL",
        .examples = "carousel tag train names.conll -o m.safetensors\n"
                    "carousel tag train a.conll --valid b.conll -o m.safetensors --level char\n"
                    "carousel tag train --resume m.safetensors.last\n",
        .notes =
            "A word a line, its tag in the last column, blanks or tabs between; an empty line\n"
            "ends a sentence. A word is read as its characters and then as a symbol of its\n"
            "own, at which the tag is read; words seen less than --least times in training\n"
            "are <unk> there, so that endings and capitals have to tell.\n"};
    return cli_labelling_train(&car_tag_task, verb, "a tagged text", argc, argv);
}

/* ---- eval --------------------------------------------------------------------------------------------- */

static int eval(int argc, char **argv) {
    cli_ask_call call = {.text = true};
    cli_ask_options(&call);
    const cli_verb verb = {
        .name = "tag eval",
        .summary = "how well a model tags words",
        .usage = "[options] MODEL FILE",
        .examples = "carousel tag eval m.safetensors test.conll\n"
                    "carousel tag eval m.safetensors test.conll --json\n",
        .notes = "Beside the model: always the most frequent tag, and the tag that each word had\n"
                 "most often in training. Spans (B-X I-X ...) are right when begin, end and type\n"
                 "are. The interval of the accuracy is a bootstrap over sentences.\n",
        .options = call.table,
        .option_count = call.count,
        .least_operands = 2,
        .most_operands = 2};
    return cli_ask_eval(&call, &verb, argc, argv);
}

/* ---- predict ------------------------------------------------------------------------------------------ */

static void add_word(const cli_ask_call *call, size_t row, bool first, car_text *text) {
    const car_classifier *model = &call->models[0];
    const float *probabilities = call->probabilities + row * (size_t)model->classes;
    int said = car_likeliest(probabilities, model->classes);
    const char *word = call->set.names.names[call->set.labels[row]];
    const char *tag = model->class_names[said];
    if (call->json) {
        car_text_format(text, "%s{\"word\": ", first ? "" : ", ");
        car_text_json_string(text, word, strlen(word));
        car_text_format(text, ", \"tag\": ");
        car_text_json_string(text, tag, strlen(tag));
        car_text_format(text, ", \"probability\": %.6g}", (double)probabilities[said]);
    } else if (call->all) {
        car_text_format(text, "%s\t%s\t%.6g\n", word, tag, (double)probabilities[said]);
    } else {
        car_text_format(text, "%s\t%s\n", word, tag);
    }
}

static void answers(const cli_ask_call *call, car_text *text) {
    const car_sequences *set = &call->set;
    if (call->json)
        car_text_format(text, "{\"sentences\": [");
    for (int i = 0; i < set->count; i++) {
        bool first = true;
        if (i > 0)
            car_text_format(text, call->json ? ", " : "\n");
        if (call->json)
            car_text_format(text, "[");
        for (size_t row = set->begin[i]; row < set->begin[i + 1]; row++) {
            if (set->labels[row] < 0)
                continue;
            add_word(call, row, first, text);
            first = false;
        }
        if (call->json)
            car_text_format(text, "]");
    }
    if (call->json)
        car_text_format(text, "]}\n");
}

static int predict(int argc, char **argv) {
    cli_ask_call call = {.text = true, .reading = {.unlabelled = true, .texts = true}};
    cli_ask_options(&call);
    call.table[call.count++] = (cli_option){.name = "probabilities",
                                            .kind = CLI_FLAG,
                                            .value = &call.all,
                                            .help = "that of the tag as a third column"};
    const cli_verb verb = {
        .name = "tag predict",
        .summary = "the tag of each word",
        .usage = "[options] MODEL FILE",
        .examples = "carousel tag predict m.safetensors words.txt\n"
                    "tr ' ' '\\n' < text.txt | carousel tag predict m.safetensors -\n",
        .notes = "A word a line, an empty line ends a sentence; further columns are passed over.\n",
        .options = call.table,
        .option_count = call.count,
        .least_operands = 2,
        .most_operands = 2};
    return cli_ask_predict(&call, &verb, answers, argc, argv);
}

int cli_tag(int argc, char **argv) {
    static const cli_command table[] = {
        {"train", "learn from tagged text", train},
        {"eval", "how well a model tags words", eval},
        {"predict", "the tag of each word", predict},
    };
    return cli_dispatch("tag", "words of a text into classes", table, sizeof table / sizeof *table,
                        argc, argv);
}
