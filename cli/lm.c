/*
 * lm.c: `carousel lm train|eval|sample`: language models on the command line (lm_score.c: `score`).
 *
 * In:  texts, model files, the settings of tasks/lm_options.c as options.
 * Out: a model file; figures and text on stdout (with --json one JSON object); progress on stderr.
 */
#include "lm.h"
#include <math.h>
#include <string.h>

/* ---- figures ------------------------------------------------------------------------------------------ */

const char *cli_lm_unit(car_level level) {
    return level == CAR_LEVEL_WORD ? "token" : level == CAR_LEVEL_CHAR ? "char" : "byte";
}

double cli_lm_bits_per_char(const car_lm_score *score) {
    return score->nats / M_LN2 / (double)score->characters;
}

/* "2.135 bits/char", at word level "perplexity 114.5". */
static void add_loss(car_text *text, car_level level, double nats) {
    if (level == CAR_LEVEL_WORD)
        car_text_format(text, "perplexity %.2f", exp(nats));
    else
        car_text_format(text, "%.3f bits/%s", nats / M_LN2, cli_lm_unit(level));
}

static void add_byte_loss(car_text *text, double nats) {
    add_loss(text, CAR_LEVEL_BYTE, nats);
}

static void add_char_loss(car_text *text, double nats) {
    add_loss(text, CAR_LEVEL_CHAR, nats);
}

static void add_word_loss(car_text *text, double nats) {
    add_loss(text, CAR_LEVEL_WORD, nats);
}

cli_training_view cli_lm_view(car_level level, bool quiet) {
    return (cli_training_view){.unit = cli_lm_unit(level),
                               .add_loss = level == CAR_LEVEL_WORD   ? add_word_loss
                                           : level == CAR_LEVEL_CHAR ? add_char_loss
                                                                     : add_byte_loss,
                               .nats = true,
                               .quiet = quiet};
}

bool cli_lm_write(void *context, const char *text, size_t length) {
    (void)context;
    fwrite(text, 1, length, stdout);
    return cli_flush();
}

/* ---- train -------------------------------------------------------------------------------------------- */

typedef struct train_call {
    car_lm_options options;
    cli_training shared;
    cli_training_view view;
} train_call;

static void tell_start(void *context, const car_lm_facts *facts) {
    cli_training_view *view = context;
    const cli_progress line = view->line;
    *view = cli_lm_view(facts->level, view->quiet);
    view->line = line;
    if (view->quiet)
        return;
    const char *unit = cli_lm_unit(facts->level);
    cli_note("%zu %ss to learn from, %zu to validate on, a vocabulary of %d", facts->train_tokens,
             unit, facts->valid_tokens, facts->vocabulary);
    if (facts->train_unknown + facts->valid_unknown > 0)
        cli_note("<unk>: %zu in the training text, %zu in the validation text",
                 facts->train_unknown, facts->valid_unknown);
    cli_note("%s: %lld parameters, %lld updates an epoch, %d thread%s", facts->net,
             (long long)facts->parameters, (long long)facts->updates_per_epoch, facts->threads,
             facts->threads == 1 ? "" : "s");
    if (facts->updates_done > 0)
        cli_note("going on after update %lld", (long long)facts->updates_done);
}

static void add_figures(car_text *text, double nats_per_token) {
    car_text_format(text, "\"nats_per_token\": ");
    car_text_json_number(text, nats_per_token);
    car_text_format(text, ", \"bits_per_token\": ");
    car_text_json_number(text, nats_per_token / M_LN2);
    car_text_format(text, ", \"perplexity\": ");
    car_text_json_number(text, exp(nats_per_token));
}

static void result_json(const car_lm_result *result, const char *model, car_text *text) {
    const car_lm_facts *facts = &result->facts;
    car_text_format(text, "{\"model\": ");
    if (result->saved)
        car_text_json_string(text, model, strlen(model));
    else
        car_text_format(text, "null");
    car_text_format(text,
                    ", \"level\": \"%s\", \"vocabulary\": %d, \"parameters\": %lld, "
                    "\"train_tokens\": %zu, \"valid_tokens\": %zu, \"updates\": %lld, "
                    "\"epochs\": %.6g, \"clipped\": %lld, \"best_update\": %lld, \"validation\": ",
                    car_level_name(facts->level), facts->vocabulary, (long long)facts->parameters,
                    facts->train_tokens, facts->valid_tokens, (long long)result->fit.updates,
                    (double)result->fit.updates / (double)facts->updates_per_epoch,
                    (long long)result->fit.clipped, (long long)result->fit.best_update);
    if (isfinite(result->fit.best_validation)) {
        car_text_format(text, "{");
        add_figures(text, result->fit.best_validation);
        car_text_format(text, "}");
    } else {
        car_text_format(text, "null");
    }
    car_text_format(text, ", \"seconds\": ");
    car_text_json_number(text, result->seconds);
    car_text_format(text, ", \"tokens_per_s\": ");
    car_text_json_number(text, result->tokens_per_second);
    car_text_format(text, ", \"stopped_early\": %s, \"interrupted\": %s}\n",
                    result->fit.stopped_early ? "true" : "false",
                    result->fit.stopped_by_signal ? "true" : "false");
}

/* The thresholds, and in how many updates the gradient was above one of them. */
static void add_clipping(car_text *text, const car_lm_facts *facts, int64_t clipped,
                         int64_t updates) {
    if (facts->clip <= 0 && facts->clip_value <= 0)
        return;
    car_text_format(text, "; gradient clipped");
    if (facts->clip > 0)
        car_text_format(text, " to norm %g", facts->clip);
    if (facts->clip_value > 0)
        car_text_format(text, "%s to values of %g", facts->clip > 0 ? " and" : "",
                        facts->clip_value);
    car_text_format(text, " in %lld of %lld updates", (long long)clipped, (long long)updates);
}

static void result_text(const car_lm_result *result, const char *model, car_text *text) {
    if (result->saved)
        car_text_format(text, "%s: ", model);
    car_text_format(text, "%lld updates, %.2f epochs, ", (long long)result->fit.updates,
                    (double)result->fit.updates / (double)result->facts.updates_per_epoch);
    car_draw_duration(text, result->seconds);
    car_text_format(text, ", ");
    car_draw_count(text, result->tokens_per_second);
    car_text_format(text, " %ss/s", cli_lm_unit(result->facts.level));
    if (isfinite(result->fit.best_validation)) {
        car_text_format(text, "; best validation ");
        add_loss(text, result->facts.level, result->fit.best_validation);
        car_text_format(text, " (%.4f nats) after update %lld", result->fit.best_validation,
                        (long long)result->fit.best_update);
    }
    add_clipping(text, &result->facts, result->fit.clipped, result->fit.updates);
    car_text_format(text, "\n");
}

/* Reads the texts and trains; with --load in the model's own vocabulary. */
static car_status train_new(train_call *call, const cli_arguments *arguments,
                            const car_lm_watch *watch, car_lm_result *result, car_error *error) {
    car_lm loaded = {0};
    car_lm_data data = {0};
    car_status status = CAR_OK;
    if (call->shared.load) {
        status = car_lm_load(call->shared.load, NULL, &loaded, error);
        if (status == CAR_OK) {
            call->options.level = car_level_name(loaded.vocabulary->level);
            call->options.net = car_model_net(loaded.model);
        }
    }
    if (status == CAR_OK)
        status = car_lm_options_check(&call->options, error);
    if (status == CAR_OK)
        status = car_lm_data_read(&call->options, arguments->operands, arguments->count,
                                  loaded.vocabulary, NULL, &data, error);
    if (status == CAR_OK)
        status = car_lm_train(&call->options, &data, loaded.model, watch, NULL, result, error);
    car_lm_data_free(&data);
    car_lm_free(&loaded);
    return status;
}

static car_status check_call(const cli_verb *verb, const train_call *call,
                             const cli_arguments *arguments, car_error *error) {
    static const char *const net_parts[] = {"hidden", "layers", "embed", "dropout", NULL};
    static const char *const model_parts[] = {"net",  "level",     "vocab", "cell",
                                              "init", "bias-init", NULL};
    const char *load = call->shared.load;
    CAR_TRY(cli_training_check(verb, &call->shared, arguments, "a text", error));
    if (!call->shared.resume && (call->options.net || load))
        CAR_TRY(cli_training_refuse(verb, net_parts, load ? "--load" : "--net", error));
    return load ? cli_training_refuse(verb, model_parts, "--load", error) : CAR_OK;
}

static car_status train_or_resume(const cli_verb *verb, train_call *call,
                                  const cli_arguments *arguments, car_lm_result *result,
                                  car_error *error) {
    CAR_TRY(check_call(verb, call, arguments, error));
    car_lm_watch watch = {.context = &call->view,
                          .started = tell_start,
                          .progress = cli_training_progress,
                          .stop = cli_signal(),
                          .version = car_version(),
                          .native = true};
    call->view.quiet = call->shared.json;
    cli_progress_start(&call->view.line);
    cli_signals_catch();
    if (!call->shared.resume)
        return train_new(call, arguments, &watch, result, error);
    const car_lm_options *options = &call->options;
    car_training_changes changes = {
        .minutes = cli_given(verb, "minutes") ? options->minutes : -1,
        .epochs = cli_given(verb, "epochs") ? options->epochs : -1,
        .updates = cli_given(verb, "updates") ? options->updates : -1,
        .threads = cli_given(verb, "threads") ? options->threads : -1,
    };
    return car_lm_resume(call->shared.resume, &changes, &watch, NULL, result, error);
}

static int show_result(const train_call *call, const car_lm_result *result) {
    car_text text;
    car_text_start(&text, NULL);
    const char *model = result->output;
    if (call->shared.json)
        result_json(result, model, &text);
    else
        result_text(result, model, &text);
    int code = cli_print(&text);
    if (result->fit.stopped_by_signal && !call->shared.json)
        cli_note("interrupted; go on with: carousel lm train --resume %s%s",
                 call->shared.resume ? call->shared.resume : model,
                 call->shared.resume ? "" : ".last");
    return result->fit.stopped_by_signal ? cli_signal_code(code) : code;
}

static int train(int argc, char **argv) {
    train_call call = {.options = car_lm_defaults()};
    cli_training_add_settings(&call.shared, car_lm_settings, car_lm_setting_count, &call.options);
    cli_training_add_rest(&call.shared, "start from this model's weights, net and vocabulary");
    cli_verb verb = {
        .name = "lm train",
        .summary = "learn from text to foretell the next byte, character or word",
        .usage = "[options] FILE... -o MODEL",
        .examples =
            "carousel lm train book.txt -o m.safetensors --minutes 5\n"
            "carousel lm train a.c b.c -o c.safetensors --level byte --cell gru\n"
            "carousel lm train a.txt -o m.safetensors --net 'embed 64 | gru 512 | softmax'\n"
            "carousel lm train a.txt --valid b.txt --level word -o m.safetensors\n"
            "carousel lm train --resume m.safetensors.last\n",
        .notes = "Several files are read as one text, - is a pipe. A text is cut into --batch\n"
                 "pieces of floor(tokens / batch) tokens that are read side by side, --unroll\n"
                 "tokens an update; the state is carried on. An epoch is floor((piece - 1) /\n"
                 "unroll) updates; fewer tokens than that at the end of a piece are left out.\n"
                 "Ctrl-C saves MODEL.last and ends with 130.\n",
        .options = call.shared.table,
        .option_count = call.shared.count,
        .least_operands = 0,
        .most_operands = -1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    car_lm_result result = {0};
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

/* ---- A trained model ---------------------------------------------------------------------------------- */

car_status cli_lm_load(const char *path, car_lm *lm, car_error *error) {
    CAR_TRY(car_lm_load(path, NULL, lm, error));
    (void)car_model_compile_native(lm->model, NULL);
    return CAR_OK;
}

/* ---- eval --------------------------------------------------------------------------------------------- */

static void eval_result(const car_lm_score *score, car_level level, bool json, car_text *text) {
    double nats = score->nats / (double)score->tokens;
    double speed = (double)score->tokens / score->seconds;
    if (json) {
        car_text_format(text, "{");
        add_figures(text, nats);
        car_text_format(text, ", \"bits_per_char\": ");
        car_text_json_number(text, cli_lm_bits_per_char(score));
        car_text_format(text,
                        ", \"level\": \"%s\", \"tokens\": %zu, \"characters\": %zu, "
                        "\"unknown\": %zu, \"seconds\": ",
                        car_level_name(level), score->tokens, score->characters, score->unknown);
        car_text_json_number(text, score->seconds);
        car_text_format(text, ", \"tokens_per_s\": ");
        car_text_json_number(text, speed);
        car_text_format(text, "}\n");
        return;
    }
    const char *unit = cli_lm_unit(level);
    car_text_format(text, "%.4f nats/%s, %.4f bits/%s, perplexity %.3f", nats, unit, nats / M_LN2,
                    unit, exp(nats));
    if (level == CAR_LEVEL_WORD)
        car_text_format(text, ", %.4f bits/char", cli_lm_bits_per_char(score));
    car_text_format(text, "\n%zu %ss, %zu unknown, ", score->tokens, unit, score->unknown);
    car_draw_count(text, speed);
    car_text_format(text, " %ss/s\n", unit);
}

typedef struct eval_call {
    int64_t lanes, threads;
    const char *precision; /* NULL: the model's */
    double learn;          /* rate; 0: the model stays as it is */
} eval_call;

static car_status eval_files(const cli_arguments *arguments, const eval_call *call,
                             car_lm_score *score, car_level *level, car_error *error) {
    int threads = car_thread_count((int)call->threads);
    if (call->learn > 0 && call->lanes > 1)
        return car_fail(error, CAR_USAGE,
                        "--learn takes the text in its order, in one lane; leave --lanes out");
    car_lm lm = {0};
    car_corpus corpus = {0};
    car_tokens tokens = {0};
    CAR_TRY(cli_lm_load(arguments->operands[0], &lm, error));
    *level = lm.vocabulary->level;
    car_status status = call->precision ? car_lm_convert(&lm, call->precision, error) : CAR_OK;
    if (status == CAR_OK)
        status = car_corpus_read(arguments->operands + 1, arguments->count - 1, *level, NULL,
                                 &corpus, error);
    if (status == CAR_OK)
        status = car_vocabulary_encode(lm.vocabulary, corpus.data, corpus.length, true, NULL,
                                       &tokens, error);
    car_corpus_free(&corpus);
    if (status == CAR_OK && call->learn > 0)
        status = car_lm_judge_learning(&lm, &tokens, call->learn, threads, score, error);
    else if (status == CAR_OK)
        status = car_lm_judge(&lm, &tokens, (int)call->lanes, threads, score, error);
    car_tokens_free(&tokens);
    car_lm_free(&lm);
    return status;
}

static int eval(int argc, char **argv) {
    eval_call call = {.lanes = 1};
    bool json = false;
    cli_option options[] = {
        {.name = "learn",
         .kind = CLI_DOUBLE,
         .value = &call.learn,
         .minimum = 0,
         .maximum = 1,
         .argument = "RATE",
         .help = "learn from each 32 tokens once they are judged, for instance at 0.001",
         .default_text = "0: the model stays as it is"},
        {.name = "lanes",
         .kind = CLI_INT,
         .value = &call.lanes,
         .minimum = 1,
         .maximum = 4096,
         .argument = "N",
         .help = "cut the text into N pieces side by side: faster, but each starts without memory"},
        {.name = "threads",
         .kind = CLI_INT,
         .value = &call.threads,
         .minimum = 0,
         .maximum = 64,
         .argument = "N",
         .help = "the result does not depend on it",
         .default_text = "all processors"},
        {.name = "precision",
         .kind = CLI_CHOICE,
         .value = &call.precision,
         .choices = "f32|bf16|int8",
         .argument = "NAME",
         .help = "of matrix products: f32, bf16 or int8",
         .default_text = "the model's"},
        {.name = "json", .kind = CLI_FLAG, .value = &json, .help = "the result as JSON"}};
    const cli_verb verb = {
        .name = "lm eval",
        .summary = "how well a model foretells a text",
        .usage = "[options] MODEL FILE...",
        .examples = "carousel lm eval m.safetensors test.txt\n"
                    "carousel lm eval m.safetensors test.txt --json\n"
                    "carousel lm eval m.safetensors test.txt --learn 0.001\n",
        .notes = "Every token but the first is foretold once, from all before it: the state is\n"
                 "carried through the whole text. Tokens that the vocabulary lacks are <unk>;\n"
                 "they count like any other, and their number is shown. With --learn (dynamic\n"
                 "evaluation) a copy of the model goes on learning while it reads: compare the\n"
                 "figure only with others that were found so.\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 2,
        .most_operands = -1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    car_lm_score score;
    car_level level = CAR_LEVEL_BYTE;
    if (eval_files(&arguments, &call, &score, &level, &error) == CAR_OK) {
        car_text text;
        car_text_start(&text, NULL);
        eval_result(&score, level, json, &text);
        code = cli_print(&text);
    } else {
        code = cli_fail(&error);
    }
    cli_arguments_free(&arguments);
    return code;
}

/* ---- sample ------------------------------------------------------------------------------------------- */

static bool collect(void *context, const char *text, size_t length) {
    car_text_add(context, text, length);
    return true;
}

static car_status sample_text(const char *path, const car_lm_sample_options *options, bool json,
                              car_error *error) {
    car_lm lm = {0};
    CAR_TRY(cli_lm_load(path, &lm, error));
    if (!json) {
        car_status status = CAR_OK;
        if (options->prompt_length == 0 ||
            cli_lm_write(NULL, options->prompt, options->prompt_length))
            status = car_lm_sample(&lm, options, cli_lm_write, NULL, error);
        cli_lm_write(NULL, "\n", 1);
        car_lm_free(&lm);
        return status;
    }
    car_text drawn, text;
    car_text_start(&drawn, NULL);
    car_text_start(&text, NULL);
    car_status status = car_lm_sample(&lm, options, collect, &drawn, error);
    if (status == CAR_OK) {
        car_text_format(&text, "{\"prompt\": ");
        car_text_json_string(&text, options->prompt, options->prompt_length);
        car_text_format(&text, ", \"text\": ");
        car_text_json_string(&text, drawn.data, drawn.length);
        car_text_format(&text, ", \"tokens\": %lld, \"seed\": %llu}\n", (long long)options->length,
                        (unsigned long long)options->seed);
        text.failed |= drawn.failed;
        status = cli_print(&text) == 0
                     ? CAR_OK
                     : car_fail(error, CAR_IO, "the sample could not be written to stdout");
    } else {
        car_text_free(&text);
    }
    car_text_free(&drawn);
    car_lm_free(&lm);
    return status;
}

typedef struct sample_call {
    const char *prompt;
    double temperature, top_p;
    int64_t length, seed;
    bool json;
} sample_call;

enum { SAMPLE_OPTIONS = 6 };

static void fill_sample_options(sample_call *call, cli_option table[SAMPLE_OPTIONS]) {
    const cli_option options[] = {
        {.name = "prompt",
         .kind = CLI_TEXT,
         .value = &call->prompt,
         .argument = "TEXT",
         .help = "how the text begins",
         .default_text = "none: after a line end"},
        {.name = "temperature",
         .kind = CLI_DOUBLE,
         .value = &call->temperature,
         .minimum = 0,
         .maximum = 100,
         .argument = "X",
         .help = "1: as the model has it; below: safer; 0: always the likeliest"},
        {.name = "top-p",
         .kind = CLI_DOUBLE,
         .value = &call->top_p,
         .minimum = 1e-9,
         .maximum = 1,
         .argument = "X",
         .help = "only the likeliest tokens that together have this probability; 1: all"},
        {.name = "length",
         .kind = CLI_INT,
         .value = &call->length,
         .minimum = 0,
         .maximum = 1e12,
         .argument = "N",
         .help = "tokens to draw"},
        {.name = "seed",
         .kind = CLI_INT,
         .value = &call->seed,
         .minimum = 0,
         .maximum = 9e15,
         .argument = "N",
         .help = "the same seed gives the same text"},
        {.name = "json", .kind = CLI_FLAG, .value = &call->json, .help = "the result as JSON"}};
    _Static_assert(sizeof options / sizeof *options == SAMPLE_OPTIONS, "one entry an option");
    memcpy(table, options, sizeof options);
}

static int sample(int argc, char **argv) {
    sample_call call = {.prompt = "", .temperature = 0.8, .top_p = 1, .length = 500, .seed = 1};
    cli_option options[SAMPLE_OPTIONS];
    fill_sample_options(&call, options);
    const cli_verb verb = {.name = "lm sample",
                           .summary = "text drawn from a model, as it is written",
                           .usage = "[options] MODEL",
                           .examples = "carousel lm sample m.safetensors --prompt 'The '\n"
                                       "carousel lm sample m.safetensors --temperature 0.5 "
                                       "--length 2000 --seed 7\n",
                           .notes = "<unk> is never drawn. Bytes that are no UTF-8 are shown as "
                                    "U+FFFD.\n",
                           .options = options,
                           .option_count = SAMPLE_OPTIONS,
                           .least_operands = 1,
                           .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    car_lm_sample_options how = {.prompt = call.prompt,
                                 .prompt_length = strlen(call.prompt),
                                 .temperature = call.temperature,
                                 .top_p = call.top_p,
                                 .length = call.length,
                                 .seed = (uint64_t)call.seed};
    car_status status = sample_text(arguments.operands[0], &how, call.json, &error);
    code = status == CAR_OK ? 0 : cli_fail(&error);
    cli_arguments_free(&arguments);
    return code;
}

int cli_lm(int argc, char **argv) {
    static const cli_command table[] = {
        {"train", "learn from text", train},
        {"eval", "how well a model foretells a text", eval},
        {"sample", "text drawn from a model", sample},
        {"score", "how likely a model finds each line, or which of two", cli_lm_score},
    };
    return cli_dispatch("lm", "language models", table, sizeof table / sizeof *table, argc, argv);
}
