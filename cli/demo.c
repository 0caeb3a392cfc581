/*
 * demo.c: `carousel demo [FILE...]`: the main job, in about a minute.
 *
 * In:  the C headers of this machine (or texts that the user names), cut into a part to learn from and
 *      a part held out.
 * Out: on stdout how many bits a byte of the held-out part costs a unigram, an order-5 n-gram and the
 *      LSTM, then a sample of the LSTM, then how to do the same on one's own text. On stderr the progress.
 *
 * The held-out part is looked at once, when training is over.
 */
#include "lm.h"
#include <math.h>
#include <string.h>

/* The kernel's headers come with every C compiler of a Linux system and are the same on all machines. */
static const char *const header_folders[] = {"/usr/include/linux", "/usr/include"};
static const double SAMPLE_TEMPERATURE = 0.6;
enum { CORPUS_BYTES = 4000000, LEAST_TEXT = 18000, MOST_TEXT = 32000000, JUDGE_LANES = 32 };

typedef struct demo_call {
    car_lm_options options;
    int64_t length;
    bool json;
    const char *const *files;
    int file_count;
    cli_training_view view;
} demo_call;

/* What there is to learn from, and to be judged on. */
typedef struct demo_text {
    car_demo_text found; /* without files */
    car_corpus read;     /* with files */
    const char *train, *held_out;
    size_t train_length, held_out_length;
} demo_text;

typedef struct demo_result {
    double unigram, ngram, model; /* bits a byte */
    double seconds, tokens_per_second;
    int64_t parameters, updates;
    bool interrupted;
    car_text sample;
} demo_result;

static void say(const demo_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say(const demo_call *call, const char *format, ...) {
    if (call->json)
        return;
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    cli_note("%s", line);
}

/* The first folder that has enough headers. */
static car_status find_headers(const demo_call *call, demo_text *text, car_error *error) {
    const char *folder = header_folders[0];
    car_status status = car_demo_corpus(folder, CORPUS_BYTES, NULL, &text->found, error);
    if (status == CAR_DATA) {
        folder = header_folders[1];
        status = car_demo_corpus(folder, CORPUS_BYTES, NULL, &text->found, error);
    }
    if (status == CAR_OK)
        say(call, "learning C from %d headers below %s, %d more are held out",
            text->found.train_files, folder, text->found.files - text->found.train_files);
    return status;
}

static car_status get_text(const demo_call *call, demo_text *text, car_error *error) {
    if (call->file_count > 0) {
        CAR_TRY(car_corpus_read(call->files, call->file_count, CAR_LEVEL_BYTE, NULL, &text->read,
                                error));
        size_t length = text->read.length;
        if (length > MOST_TEXT) {
            say(call, "the first %d of %zu MB are used; `carousel lm train` takes all",
                MOST_TEXT / 1000000, length / 1000000);
            length = MOST_TEXT;
        }
        text->train = text->read.data;
        text->train_length = car_corpus_cut(CAR_LEVEL_BYTE, text->train, length, 0.1);
        text->held_out_length = length - text->train_length;
        say(call, "the last tenth of the text is held out");
    } else {
        CAR_TRY(find_headers(call, text, error));
        text->train = text->found.data;
        text->train_length = text->found.train_length;
        text->held_out_length = text->found.length - text->train_length;
    }
    text->held_out = text->train + text->train_length;
    if (text->train_length < LEAST_TEXT)
        return car_fail(error, CAR_DATA,
                        "a text of %zu bytes is too short for the demo; give %d at least",
                        text->train_length + text->held_out_length, LEAST_TEXT * 10 / 9);
    return CAR_OK;
}

static car_status judge_baselines(const car_lm_data *data, const car_tokens *held_out,
                                  demo_result *result, car_error *error) {
    int symbols = data->vocabulary->count;
    double bits = 1 / (M_LN2 * (double)(held_out->count - 1));
    CAR_TRY(car_unigram_nats(data->train.ids, data->train.count, symbols, held_out->ids,
                             held_out->count, NULL, &result->unigram, error));
    car_ngram *ngram = NULL;
    CAR_TRY(car_ngram_train(data->train.ids, data->train.count, symbols, CAR_NGRAM_ORDER, NULL,
                            &ngram, error));
    result->ngram = car_ngram_nats(ngram, held_out->ids, held_out->count) * bits;
    result->unigram *= bits;
    car_ngram_free(ngram);
    return CAR_OK;
}

static bool collect(void *context, const char *text, size_t length) {
    car_text_add(context, text, length);
    return true;
}

/* Headers are full of structures; a text of the user's starts where it likes. */
static const char *prompt_of(const demo_call *call) {
    return call->file_count ? "" : "struct ";
}

static car_status judge_and_sample(const demo_call *call, const car_tokens *held_out,
                                   demo_result *result, car_error *error) {
    car_lm lm = {0};
    car_lm_score score;
    CAR_TRY(car_lm_load(call->options.output, NULL, &lm, error));
    const char *prompt = prompt_of(call);
    car_lm_sample_options how = {.prompt = prompt,
                                 .prompt_length = strlen(prompt),
                                 .temperature = SAMPLE_TEMPERATURE,
                                 .top_p = 1,
                                 .length = call->length,
                                 .seed = (uint64_t)call->options.seed};
    car_status status = car_lm_judge(&lm, held_out, JUDGE_LANES,
                                     car_thread_count((int)call->options.threads), &score, error);
    if (status == CAR_OK) {
        result->model = cli_lm_bits_per_char(&score);
        status = car_lm_sample(&lm, &how, collect, &result->sample, error);
    }
    car_lm_free(&lm);
    return status;
}

static void tell_start(void *context, const car_lm_facts *facts) {
    cli_training_view *view = context;
    if (!view->quiet)
        cli_note("%s: %lld parameters, %d thread%s", facts->net, (long long)facts->parameters,
                 facts->threads, facts->threads == 1 ? "" : "s");
}

static car_status learn(demo_call *call, const car_lm_data *data, const car_tokens *held_out,
                        demo_result *result, car_error *error) {
    CAR_TRY(judge_baselines(data, held_out, result, error));
    say(call,
        "the held-out part costs a unigram %.3f bits a byte, an order-5 Kneser-Ney n-gram "
        "%.3f; now the net",
        result->unigram, result->ngram);
    car_lm_watch watch = {.context = &call->view,
                          .started = tell_start,
                          .progress = cli_training_progress,
                          .stop = cli_signal(),
                          .version = car_version()};
    car_lm_result trained;
    car_status status = car_lm_train(&call->options, data, NULL, &watch, NULL, &trained, error);
    cli_progress_end(&call->view.line);
    CAR_TRY(status);
    result->seconds = trained.seconds;
    result->tokens_per_second = trained.tokens_per_second;
    result->parameters = trained.facts.parameters;
    result->updates = trained.fit.updates;
    result->interrupted = trained.fit.stopped_by_signal;
    return result->interrupted ? CAR_OK : judge_and_sample(call, held_out, result, error);
}

static car_status work(demo_call *call, demo_text *text, demo_result *result, car_error *error) {
    car_lm_data data;
    car_tokens held_out = {0};
    CAR_TRY(get_text(call, text, error));
    CAR_TRY(car_lm_data_make(&call->options, text->train, text->train_length, "", 0, NULL, NULL,
                             &data, error));
    say(call, "%.2f MB to learn from, %.2f MB held out, %d different bytes",
        (double)text->train_length / 1e6, (double)text->held_out_length / 1e6,
        data.vocabulary->count);
    car_status status = car_vocabulary_encode(data.vocabulary, text->held_out,
                                              text->held_out_length, false, NULL, &held_out, error);
    if (status == CAR_OK && held_out.count < 2)
        status = car_fail(error, CAR_DATA, "the held-out part is empty; give a longer text");
    if (status == CAR_OK)
        status = learn(call, &data, &held_out, result, error);
    car_tokens_free(&held_out);
    car_lm_data_free(&data);
    return status;
}

static void add_bar(car_text *text, const char *name, double bits, double most) {
    car_text_format(text, "  %-30s %6.3f  ", name, bits);
    car_draw_bar(text, bits / most, 24, car_terminal_utf8());
    car_text_format(text, "\n");
}

static void result_text(const demo_call *call, const demo_result *result, car_text *text) {
    double most = fmax(result->unigram, result->model);
    car_text_format(text, "\nBits per byte of text that was held out (less is better)\n");
    add_bar(text, "unigram", result->unigram, most);
    add_bar(text, "order-5 Kneser-Ney", result->ngram, most);
    add_bar(text, call->options.net, result->model, most);
    car_text_format(text, "\nA sample (temperature %g)\n\n%s", SAMPLE_TEMPERATURE, prompt_of(call));
    car_text_add(text, result->sample.data, result->sample.length);
    car_text_format(text,
                    "\n\nThe model is in %s: carousel lm sample %s --prompt '#define '\n"
                    "Your own text: carousel lm train FILE -o my.safetensors --minutes 5\n",
                    call->options.output, call->options.output);
}

static void result_json(const demo_call *call, const demo_result *result, car_text *text) {
    car_text_format(text, "{\"unigram_bits_per_char\": ");
    car_text_json_number(text, result->unigram);
    car_text_format(text, ", \"ngram_bits_per_char\": ");
    car_text_json_number(text, result->ngram);
    car_text_format(text, ", \"bits_per_char\": ");
    car_text_json_number(text, result->model);
    car_text_format(text, ", \"parameters\": %lld, \"updates\": %lld, \"seconds\": ",
                    (long long)result->parameters, (long long)result->updates);
    car_text_json_number(text, result->seconds);
    car_text_format(text, ", \"tokens_per_s\": ");
    car_text_json_number(text, result->tokens_per_second);
    car_text_format(text, ", \"model\": ");
    car_text_json_string(text, call->options.output, strlen(call->options.output));
    car_text_format(text, ", \"prompt\": \"%s\", \"sample\": ", prompt_of(call));
    car_text_json_string(text, result->sample.data, result->sample.length);
    car_text_format(text, "}\n");
}

static int show(const demo_call *call, const demo_result *result) {
    if (result->interrupted)
        return cli_signal_code(0);
    car_text text;
    car_text_start(&text, NULL);
    if (call->json)
        result_json(call, result, &text);
    else
        result_text(call, result, &text);
    text.failed |= result->sample.failed;
    return cli_print(&text);
}

static car_lm_options demo_options(void) {
    car_lm_options options = car_lm_defaults();
    options.level = "byte";
    options.net = "embed 64 | lstm 320 | softmax";
    options.batch = 32;
    options.unroll = 64;
    options.rate = 0.009;
    options.minutes = 1.25;
    options.output = "demo.safetensors";
    return options;
}

enum { OPTIONS = 8 };

static void fill_options(demo_call *call, cli_option table[OPTIONS]) {
    const cli_option options[] = {
        {.name = "minutes",
         .kind = CLI_DOUBLE,
         .value = &call->options.minutes,
         .minimum = 0.01,
         .maximum = 1e6,
         .argument = "X",
         .help = "time to train"},
        {.name = "updates",
         .kind = CLI_INT,
         .value = &call->options.updates,
         .minimum = 0,
         .maximum = 1e15,
         .argument = "N",
         .help = "at most so many updates",
         .default_text = "what the time allows"},
        {.name = "net",
         .kind = CLI_TEXT,
         .value = &call->options.net,
         .argument = "TEXT",
         .help = "the net"},
        {.name = "seed",
         .kind = CLI_INT,
         .value = &call->options.seed,
         .minimum = 0,
         .maximum = 9e15,
         .argument = "N",
         .help = "of weights and sample"},
        {.name = "threads",
         .kind = CLI_INT,
         .value = &call->options.threads,
         .minimum = 0,
         .maximum = 64,
         .argument = "N",
         .help = "the result does not depend on it",
         .default_text = "all processors"},
        {.name = "length",
         .kind = CLI_INT,
         .value = &call->length,
         .minimum = 0,
         .maximum = 1e9,
         .argument = "N",
         .help = "bytes of the sample"},
        {.name = "output",
         .letter = 'o',
         .kind = CLI_TEXT,
         .value = &call->options.output,
         .argument = "FILE",
         .help = "the model"},
        {.name = "json", .kind = CLI_FLAG, .value = &call->json, .help = "the result as JSON"}};
    _Static_assert(sizeof options / sizeof *options == OPTIONS, "one entry an option");
    memcpy(table, options, sizeof options);
}

int cli_demo(int argc, char **argv) {
    demo_call call = {.options = demo_options(), .length = 600};
    cli_option options[OPTIONS];
    fill_options(&call, options);
    const cli_verb verb = {
        .name = "demo",
        .summary = "an LSTM learns C from the headers of this machine, in a minute",
        .usage = "[options] [FILE...]",
        .examples = "carousel demo\n"
                    "carousel demo my-text.txt --minutes 3\n",
        .notes = "Without FILE: the C headers below /usr/include/linux, whole files in the order\n"
                 "of a hash of their name; the last tenth is held out and looked at once, at the\n"
                 "end.\n",
        .options = options,
        .option_count = OPTIONS,
        .least_operands = 0,
        .most_operands = -1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    call.files = arguments.operands;
    call.file_count = arguments.count;
    call.view = cli_lm_view(CAR_LEVEL_BYTE, call.json);
    cli_progress_start(&call.view.line);
    cli_signals_catch();
    car_error error = {0};
    demo_text text = {0};
    demo_result result = {0};
    car_text_start(&result.sample, NULL);
    car_status status = work(&call, &text, &result, &error);
    code = status == CAR_OK ? show(&call, &result) : cli_fail(&error);
    car_text_free(&result.sample);
    car_demo_text_free(&text.found);
    car_corpus_free(&text.read);
    cli_arguments_free(&arguments);
    return code;
}
