/*
 * quantize.c: `carousel quantize MODEL -o SMALL`: the same model with weights in int8, to be run.
 *
 * In: a model file. Out: another one, about a quarter of its size; what it costs in quality says `lm eval` of both.
 */
#include "carousel.h"
#include "cli.h"
#include "report.h"
#include <string.h>
#include <sys/stat.h>

typedef struct quantize_call {
    const char *from, *output;
    bool json;
    int64_t parameters;
    const char *was; /* the precision before */
} quantize_call;

static long long bytes_of(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 ? (long long)about.st_size : 0;
}

static car_status quantize(quantize_call *call, car_error *error) {
    car_model *model, *small;
    CAR_TRY(car_model_load(call->from, NULL, &model, error));
    call->parameters = car_model_parameter_count(model);
    call->was = car_model_precision(model);
    car_status status = car_model_convert(model, "int8", NULL, &small, error);
    car_model_free(model);
    CAR_TRY(status);
    status = car_model_save(small, call->output, error);
    car_model_free(small);
    return status;
}

static void add_result(car_text *text, const quantize_call *call) {
    const long long before = bytes_of(call->from), after = bytes_of(call->output);
    if (call->json) {
        car_text_format(text, "{\"model\": ");
        car_text_json_string(text, call->from, strlen(call->from));
        car_text_format(text, ", \"precision\": \"%s\", \"bytes\": %lld, \"output\": ", call->was,
                        before);
        car_text_json_string(text, call->output, strlen(call->output));
        car_text_format(text,
                        ", \"output_precision\": \"int8\", \"output_bytes\": %lld, "
                        "\"parameters\": %lld}\n",
                        after, (long long)call->parameters);
        return;
    }
    car_text_format(text,
                    "%s: %lld parameters, %lld bytes in %s -> %s: %lld bytes in int8 (%.0f %%)\n",
                    call->from, (long long)call->parameters, before, call->was, call->output, after,
                    before > 0 ? 100.0 * (double)after / (double)before : 100.0);
}

int cli_quantize(int argc, char **argv) {
    quantize_call call = {0};
    cli_option options[] = {
        {.name = "output",
         .letter = 'o',
         .kind = CLI_TEXT,
         .value = &call.output,
         .argument = "FILE",
         .help = "the small model",
         .default_text = "must be given"},
        {.name = "json", .kind = CLI_FLAG, .value = &call.json, .help = "the result as JSON"}};
    const cli_verb verb = {
        .name = "quantize",
        .summary = "a model with weights in int8: a quarter of the size, to be run",
        .usage = "MODEL -o SMALL",
        .examples = "carousel quantize m.safetensors -o small.safetensors\n"
                    "carousel lm eval small.safetensors test.txt\n",
        .notes =
            "Each row of a matrix, and of the embedding, is whole numbers -127..127 times a\n"
            "scale of its own; biases and states stay f32. The small model runs wherever the\n"
            "other does, and cannot be trained. Compare both by lm eval before you rely on it.\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 1,
        .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    call.from = arguments.operands[0];
    car_status status = call.output
                            ? quantize(&call, &error)
                            : car_fail(&error, CAR_USAGE, "quantize: where to? give -o FILE");
    if (status == CAR_OK) {
        car_text text;
        car_text_start(&text, NULL);
        add_result(&text, &call);
        code = cli_print(&text);
    } else {
        code = cli_fail(&error);
    }
    cli_arguments_free(&arguments);
    return code;
}
