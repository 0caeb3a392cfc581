/*
 * inspect.c: `carousel inspect`: what goes on inside a trained model while it reads.
 *
 * In: a language model and a text, a forecasting model and a CSV file, a classifier or tagger and labelled sequences. Out:
 * gates with histograms before and after training, half-lives, gradients through time, the loss with frozen gates, units
 * that follow the text; on stdout (with --json one object), as one HTML file (--report), one chart as a picture (--plot).
 */
#include "inspect_parts.h"
#include "picture_file.h"
#include <string.h>

/* ---- The work -------------------------------------------------------------------------------------------- */

static car_status write_report(const inspect_call *call, const inspect_sight *sight,
                               const car_survey_words *words, car_error *error) {
    car_text html;
    const car_looks looks = {.chinese = words->chinese,
                             .flow = &sight->flow,
                             .reads = sight->reads,
                             .from_both_ends = sight->from_both_ends,
                             .clipping = &sight->clipping,
                             .freezing = &sight->freezing,
                             .followers = sight->reads == CAR_READS_TEXT ? sight->followers : NULL,
                             .colored_count = sight->colored_count,
                             .colored = sight->colored};
    car_text_start(&html, NULL);
    car_status status =
        car_survey_page(&sight->survey, &sight->fresh, &looks, words, NULL, &html, error);
    if (status == CAR_OK)
        status = cli_write_file(call->report, &html, error);
    car_text_free(&html);
    return status;
}

static car_status write_plot(const inspect_call *call, const inspect_sight *sight, car_arena *arena,
                             car_error *error) {
    car_scene scene;
    bool chinese = !strcmp(call->language, "zh");
    if (!strcmp(call->chart, "gates"))
        car_gates_scene(&sight->survey, chinese, arena, NULL, &scene);
    else if (!strcmp(call->chart, "importance"))
        car_freezing_scene(&sight->freezing, chinese, arena, NULL, &scene);
    else if (sight->flow.curve_count == 0)
        return car_fail(error, CAR_USAGE,
                        "--plot: the net reads from both ends (`bi`) and has no gradients through "
                        "time; take --chart gates or --chart importance");
    else
        car_flow_scene(&sight->flow, chinese, arena, NULL, &scene);
    car_status status = cli_write_scene(call->plot, &scene, false, 2, error);
    car_scene_free(&scene);
    return status;
}

/* Everything that was asked for of what was seen. */
static car_status show(const inspect_call *call, const char *const *paths,
                       const inspect_sight *sight, car_arena *arena, car_error *error) {
    const car_survey_words words = {paths[0], paths[1], !strcmp(call->language, "zh")};
    car_text text;
    if (call->report)
        CAR_TRY(write_report(call, sight, &words, error));
    if (call->plot)
        CAR_TRY(write_plot(call, sight, arena, error));
    car_text_start(&text, NULL);
    if (call->json)
        cli_inspect_json(sight, &text);
    else
        cli_inspect_text(sight, &text);
    return cli_print(&text) == 0 ? CAR_OK : car_fail(error, CAR_MEMORY, "no memory for the output");
}

/* A model that reads no running text. */
static car_status inspect_other(const inspect_call *call, const char *const *paths, car_reads reads,
                                car_error *error) {
    car_arena *arena = car_arena_create(NULL);
    inspect_sight *sight = arena ? car_arena_allocate(arena, 1, sizeof *sight) : NULL;
    car_forecast forecast = {0};
    car_classifier classifier = {0};
    car_status status = CAR_OK;
    if (!sight)
        status = car_fail(error, CAR_MEMORY, "no memory to look into the model");
    else if (call->unit)
        status = car_fail(error, CAR_USAGE,
                          "--unit colours a text that a language model reads; %s %s", paths[0],
                          reads == CAR_READS_SERIES ? "reads numbers" : "reads labelled sequences");
    if (status == CAR_OK && reads == CAR_READS_SERIES)
        status = cli_inspect_series(paths[0], paths[1], arena, &forecast, sight, error);
    else if (status == CAR_OK)
        status = cli_inspect_sequences(paths[0], paths[1], arena, &classifier, sight, error);
    if (status == CAR_OK && sight)
        status = show(call, paths, sight, arena, error);
    car_forecast_free(&forecast);
    car_classifier_free(&classifier);
    car_arena_free(arena);
    return status;
}

/* What a model reads, by what its file carries; what is wrong with it is said by the one who reads it. Whole numbers have
 * no gradients. */
static car_status what_it_reads(const char *path, car_reads *reads, car_error *error) {
    car_model *model;
    car_error ignored;
    *reads = CAR_READS_TEXT;
    if (car_model_load(path, NULL, &model, &ignored) != CAR_OK)
        return CAR_OK;
    *reads = car_model_metadata(model, "forecast.settings") ? CAR_READS_SERIES
             : car_model_metadata(model, "classify.model")  ? CAR_READS_SEQUENCES
                                                            : CAR_READS_TEXT;
    bool whole = strcmp(car_model_precision(model), "int8") == 0;
    car_model_free(model);
    return whole ? car_fail(error, CAR_USAGE,
                            "%.200s: a model in int8 has no gradients to look at; inspect the one "
                            "that it was made from",
                            path)
                 : CAR_OK;
}

static car_status inspect_tokens(const inspect_call *call, const char *const *paths,
                                 const car_lm *lm, const car_tokens *tokens, car_arena *arena,
                                 car_error *error) {
    inspect_sight *sight = car_arena_allocate(arena, 1, sizeof *sight);
    size_t count = (int64_t)tokens->count < call->tokens ? tokens->count : (size_t)call->tokens;
    if (count < 2)
        return car_fail(error, CAR_DATA, "%s: %s; two tokens are the least", paths[1],
                        count ? "one token" : "an empty text");
    if (!sight)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    CAR_TRY(cli_inspect_look(call, lm, tokens, count, arena, sight, error));
    return show(call, paths, sight, arena, error);
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
        status = inspect_tokens(call, paths, lm, &tokens, arena, error);
    car_tokens_free(&tokens);
    car_corpus_free(&corpus);
    car_arena_free(arena);
    return status;
}

int cli_inspect(int argc, char **argv) {
    inspect_call call = {.language = "en", .chart = "gradients", .tokens = 2000, .back = 50};
    cli_option options[] = {{.name = "tokens",
                             .kind = CLI_INT,
                             .value = &call.tokens,
                             .minimum = 1,
                             .maximum = 1e9,
                             .argument = "N",
                             .help = "how many tokens of a text are read"},
                            {.name = "report",
                             .kind = CLI_TEXT,
                             .value = &call.report,
                             .argument = "FILE",
                             .help =
                                 "an HTML page with drawings and histograms, beside the same net "
                                 "before training",
                             .default_text = "none"},
                            {.name = "back",
                             .kind = CLI_INT,
                             .value = &call.back,
                             .minimum = 1,
                             .maximum = 10000,
                             .argument = "K",
                             .help = "text: how many steps the gradient is followed back"},
                            {.name = "unit",
                             .kind = CLI_TEXT,
                             .value = &call.unit,
                             .argument = "LAYER.STATE.UNIT",
                             .help = "colour the text by this unit, as in 2.c.17",
                             .default_text = "those that follow a pattern"},
                            {.name = "plot",
                             .kind = CLI_TEXT,
                             .value = &call.plot,
                             .argument = "FILE",
                             .help = "one chart as .svg, .png or .pdf",
                             .default_text = "none"},
                            {.name = "chart",
                             .kind = CLI_CHOICE,
                             .value = &call.chart,
                             .choices = "gradients|gates|importance",
                             .argument = "NAME",
                             .help = "which one"},
                            {.name = "lang",
                             .kind = CLI_CHOICE,
                             .value = &call.language,
                             .choices = "en|zh",
                             .argument = "NAME",
                             .help = "of page and chart"},
                            {.name = "json",
                             .kind = CLI_FLAG,
                             .value = &call.json,
                             .transient = true,
                             .help = "as JSON, with every unit"}};
    const cli_verb verb = {
        .name = "inspect",
        .summary = "inside a model: gates, memory, gradients, units",
        .usage = "[options] MODEL TEXT|CSV|SEQUENCES",
        .examples = "carousel inspect m.safetensors book.txt\n"
                    "carousel inspect m.safetensors book.txt --report r.html\n"
                    "carousel inspect m.safetensors book.txt --plot fall.png --chart gradients\n"
                    "carousel inspect m.safetensors book.txt --unit 2.c.17\n"
                    "carousel inspect forecast.safetensors data.csv --report r.html\n"
                    "carousel inspect classifier.safetensors labelled.csv --report r.html\n"
                    "carousel inspect tagger.safetensors sentences.conll --json\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 2,
        .most_operands = 2,
        .notes = "A half-life is ln 2 / -mean(ln a): a is what a step multiplies a state\n"
                 "with on its belt (carousel cell draw shows it); what is added does not\n"
                 "count. So many steps until half of what a unit holds is left.\n"
                 "Gradients are those of the loss of one token (forecast, class) alone; a net\n"
                 "with `bi` layers reads from both ends and has none. A gate is frozen in all\n"
                 "units at once, without training anew. Of classifiers and taggers up to 64\n"
                 "sequences are read, evenly over the file, and as they were in training.\n"};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    car_lm lm = {0};
    car_status status = call.plot ? cli_check_picture(call.plot, &error) : CAR_OK;
    car_reads reads = CAR_READS_TEXT;
    if (status == CAR_OK)
        status = what_it_reads(arguments.operands[0], &reads, &error);
    if (status == CAR_OK && reads != CAR_READS_TEXT)
        status = inspect_other(&call, arguments.operands, reads, &error);
    else if (status == CAR_OK)
        status = car_lm_load(arguments.operands[0], NULL, &lm, &error);
    if (status == CAR_OK && reads == CAR_READS_TEXT)
        status = inspect_text(&call, arguments.operands, &lm, &error);
    car_lm_free(&lm);
    code = status == CAR_OK ? 0 : cli_fail(&error);
    cli_arguments_free(&arguments);
    return code;
}
