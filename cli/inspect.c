/*
 * inspect.c: `carousel inspect`: what the gates of a trained model do, and how long it remembers.
 *
 * In: a language model, a text. Out: for every layer a table of its gates with histograms, and half-lives of its states,
 * on stdout (with --json one object); with --report one HTML file.
 */
#include "inspect.h"
#include "cli.h"
#include "tasks.h"
#include <math.h>
#include <string.h>

typedef struct inspect_call {
    const char *report, *language;
    int64_t tokens;
    bool json;
} inspect_call;

/* ---- Text ------------------------------------------------------------------------------------------------ */

static void add_steps(car_text *text, double steps) {
    if (isinf(steps))
        car_text_format(text, "never");
    else
        car_text_format(text, steps < 10 ? "%.1f" : "%.0f", steps);
}

static void add_gate(car_text *text, const car_gate_survey *gate, bool utf8) {
    car_text_format(text, "  %-12.40s %5.3f  %7.1f %%  %7.1f %%  0 ", gate->name, gate->mean,
                    100 * gate->closed, 100 * gate->open);
    car_draw_curve(text, gate->shares, CAR_SURVEY_BINS, CAR_SURVEY_BINS, utf8);
    car_text_format(text, " 1\n");
}

static void add_memory(car_text *text, const car_memory_survey *memory) {
    car_text_format(text, "  %s is half gone after ", memory->name);
    add_steps(text, memory->median);
    car_text_format(text, " steps in the median unit (quartiles ");
    add_steps(text, memory->low);
    car_text_format(text, " and ");
    add_steps(text, memory->high);
    car_text_format(text, "); %.1f %% of the units keep half for more than 100\n",
                    100 * memory->beyond_hundred);
}

static void add_survey(car_text *text, const car_survey *survey) {
    for (int k = 0; k < survey->layer_count; k++) {
        const car_layer_survey *layer = &survey->layers[k];
        car_text_format(text, "%slayer %d: %s, %d units, %lld tokens\n", k ? "\n" : "",
                        layer->layer + 1, layer->cell->name, layer->units,
                        (long long)survey->steps);
        if (layer->gate_count)
            car_text_format(text, "  gate          mean  below 0.1  above 0.9  histogram\n");
        for (int g = 0; g < layer->gate_count; g++)
            add_gate(text, &layer->gates[g], car_terminal_utf8());
        for (int m = 0; m < layer->memory_count; m++)
            add_memory(text, &layer->memories[m]);
        if (layer->memory_count == 0)
            car_text_format(text,
                            "  no state with a half-life: none is only multiplied and added to\n");
    }
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

static void add_numbers(car_text *text, const char *name, const double *values, int count) {
    car_text_format(text, ", \"%s\": [", name);
    for (int i = 0; i < count; i++) {
        car_text_format(text, i ? ", " : "");
        car_text_json_number(text, values[i]);
    }
    car_text_format(text, "]");
}

static void add_number(car_text *text, const char *name, double value) {
    car_text_format(text, ", \"%s\": ", name);
    car_text_json_number(text, value);
}

static void add_gate_json(car_text *text, const car_gate_survey *gate, int units) {
    car_text_format(text, "{\"name\": \"%s\"", gate->name);
    add_number(text, "mean", gate->mean);
    add_number(text, "below_0.1", gate->closed);
    add_number(text, "above_0.9", gate->open);
    add_numbers(text, "histogram", gate->shares, CAR_SURVEY_BINS);
    add_numbers(text, "unit_mean", gate->unit_mean, units);
    add_numbers(text, "unit_below_0.1", gate->unit_closed, units);
    add_numbers(text, "unit_above_0.9", gate->unit_open, units);
    car_text_format(text, "}");
}

static void add_memory_json(car_text *text, const car_memory_survey *memory, int units) {
    car_text_format(text, "{\"name\": \"%s\"", memory->name);
    add_number(text, "half_life_median", memory->median);
    add_number(text, "half_life_low_quartile", memory->low);
    add_number(text, "half_life_high_quartile", memory->high);
    add_number(text, "beyond_100_steps", memory->beyond_hundred);
    add_numbers(text, "half_life", memory->half_life, units);
    car_text_format(text, "}");
}

static void add_survey_json(car_text *text, const car_survey *survey) {
    car_text_format(text, "{\"tokens\": %lld, \"layers\": [", (long long)survey->steps);
    for (int k = 0; k < survey->layer_count; k++) {
        const car_layer_survey *layer = &survey->layers[k];
        car_text_format(text, "%s{\"layer\": %d, \"cell\": \"%s\", \"units\": %d, \"gates\": [",
                        k ? ",\n" : "", layer->layer + 1, layer->cell->name, layer->units);
        for (int g = 0; g < layer->gate_count; g++) {
            car_text_format(text, g ? ",\n" : "");
            add_gate_json(text, &layer->gates[g], layer->units);
        }
        car_text_format(text, "], \"memories\": [");
        for (int m = 0; m < layer->memory_count; m++) {
            car_text_format(text, m ? ",\n" : "");
            add_memory_json(text, &layer->memories[m], layer->units);
        }
        car_text_format(text, "]}");
    }
    car_text_format(text, "]}\n");
}

/* ---- The work -------------------------------------------------------------------------------------------- */

/* The same net with first weights, read over the same text. */
static car_status survey_fresh(const car_model *model, const car_tokens *tokens, size_t count,
                               car_arena *arena, car_survey *survey, car_error *error) {
    car_model *fresh;
    const car_model_options options = {.input_size = car_model_input_size(model),
                                       .output_size = car_model_output_size(model),
                                       .seed = 1,
                                       .precision = car_model_precision(model)};
    CAR_TRY(car_model_create(model->net, &options, NULL, &fresh, error));
    car_status status = car_model_survey(fresh, tokens->ids, count, arena, survey, error);
    car_model_free(fresh);
    return status;
}

static car_status write_report(const inspect_call *call, const car_model *model,
                               const car_tokens *tokens, size_t count, const car_survey *survey,
                               const car_survey_words *words, car_arena *arena, car_error *error) {
    car_survey fresh;
    car_text html;
    CAR_TRY(survey_fresh(model, tokens, count, arena, &fresh, error));
    car_text_start(&html, NULL);
    car_status status = car_survey_page(survey, &fresh, words, NULL, &html, error);
    if (status == CAR_OK)
        status = cli_write_file(call->report, &html, error);
    car_text_free(&html);
    return status;
}

static car_status inspect_tokens(const inspect_call *call, const char *const *paths,
                                 const car_model *model, const car_tokens *tokens, car_arena *arena,
                                 car_error *error) {
    car_survey survey;
    car_text text;
    size_t count = (int64_t)tokens->count < call->tokens ? tokens->count : (size_t)call->tokens;
    const car_survey_words words = {paths[0], paths[1], !strcmp(call->language, "zh")};
    if (count == 0)
        return car_fail(error, CAR_DATA, "%s: an empty text", paths[1]);
    CAR_TRY(car_model_survey(model, tokens->ids, count, arena, &survey, error));
    if (call->report)
        CAR_TRY(write_report(call, model, tokens, count, &survey, &words, arena, error));
    car_text_start(&text, NULL);
    if (call->json)
        add_survey_json(&text, &survey);
    else
        add_survey(&text, &survey);
    return cli_print(&text) == 0 ? CAR_OK : car_fail(error, CAR_MEMORY, "no memory for the output");
}

static car_status inspect_text(const inspect_call *call, const char *const *paths, const car_lm *lm,
                               car_error *error) {
    car_corpus corpus = {0};
    car_tokens tokens = {0};
    car_arena *arena = car_arena_create(NULL);
    car_status status =
        arena ? car_corpus_read(&paths[1], 1, lm->vocabulary->level, NULL, &corpus, error)
              : car_fail(error, CAR_MEMORY, "no memory to look into the model");
    if (status == CAR_OK)
        status = car_vocabulary_encode(lm->vocabulary, corpus.data, corpus.length, true, NULL,
                                       &tokens, error);
    if (status == CAR_OK)
        status = inspect_tokens(call, paths, lm->model, &tokens, arena, error);
    car_tokens_free(&tokens);
    car_corpus_free(&corpus);
    car_arena_free(arena);
    return status;
}

int cli_inspect(int argc, char **argv) {
    inspect_call call = {.language = "en", .tokens = 2000};
    cli_option options[] = {{.name = "tokens",
                             .kind = CLI_INT,
                             .value = &call.tokens,
                             .minimum = 1,
                             .maximum = 1e9,
                             .argument = "N",
                             .help = "how many tokens of the text are read"},
                            {.name = "report",
                             .kind = CLI_TEXT,
                             .value = &call.report,
                             .argument = "FILE",
                             .help =
                                 "an HTML page with drawings and histograms, beside the same net "
                                 "before training",
                             .default_text = "none"},
                            {.name = "lang",
                             .kind = CLI_CHOICE,
                             .value = &call.language,
                             .choices = "en|zh",
                             .argument = "NAME",
                             .help = "of the page"},
                            {.name = "json",
                             .kind = CLI_FLAG,
                             .value = &call.json,
                             .transient = true,
                             .help = "as JSON, with every unit"}};
    const cli_verb verb = {
        .name = "inspect",
        .summary = "what the gates of a model do, how long it remembers",
        .usage = "[options] MODEL TEXT",
        .examples = "carousel inspect m.safetensors book.txt\n"
                    "carousel inspect m.safetensors book.txt --report r.html\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 2,
        .most_operands = 2,
        .notes = "A half-life is ln 2 / -mean(ln a): a is what a step multiplies a state\n"
                 "with on its belt (carousel cell draw shows it); what is added does not\n"
                 "count. So many steps until half of what a unit holds is left.\n"};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    car_lm lm = {0};
    car_status status = car_lm_load(arguments.operands[0], NULL, &lm, &error);
    if (status == CAR_OK)
        status = inspect_text(&call, arguments.operands, &lm, &error);
    car_lm_free(&lm);
    code = status == CAR_OK ? 0 : cli_fail(&error);
    cli_arguments_free(&arguments);
    return code;
}
