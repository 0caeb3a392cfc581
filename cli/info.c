/*
 * info.c: `carousel info [FILE]`: what is in a model file, or what this machine can do.
 *
 * In: a model file, checked like any other use of it. Out: net, sizes, tensors, what its training left in the
 * metadata; without a file the version, the processors, and each CPU level with the reason why it is not there.
 */
#include "cli.h"
#include "network.h"
#include <string.h>

enum { LONG_VALUE = 64 };

static void machine(car_text *text, bool json) {
    car_text levels;
    car_text_start(&levels, NULL);
    car_cpu_describe(&levels);
    car_error error = {0};
    const char *level = car_cpu_level_name(&error);
    int threads = car_thread_count(0);
    car_text cells;
    car_text_start(&cells, NULL);
    car_native_describe_machine(&cells);
    if (json) {
        car_text_format(
            text, "{\"version\": \"%s\", \"threads\": %d, \"cpu_level\": ", car_version(), threads);
        if (level)
            car_text_json_string(text, level, strlen(level));
        else
            car_text_format(text, "null");
        car_text_format(text, ", \"cpu_levels\": ");
        car_text_json_string(text, levels.data, levels.length);
        car_text_format(text, ", \"own_cells\": ");
        car_text_json_string(text, cells.data, cells.length);
        car_text_format(text, "}\n");
    } else {
        car_text_format(text, "version     carousel %s\nthreads     %d\ncpu level   %s\n",
                        car_version(), threads, level ? level : error.message);
        for (const char *line = levels.data; *line;) {
            int length = (int)strcspn(line, "\n");
            car_text_format(text, "            %.*s\n", length, line);
            line += length + (line[length] == '\n');
        }
        car_text_format(text, "own cells   %s\n", cells.data ? cells.data : "");
    }
    text->failed |= levels.failed || cells.failed;
    car_text_free(&levels);
    car_text_free(&cells);
}

static void shape_text(car_text *text, const car_model_tensor *tensor) {
    for (int i = 0; i < tensor->rank; i++)
        car_text_format(text, "%s%zu", i ? ", " : "", tensor->shape[i]);
}

static void value_text(car_text *text, const char *value, size_t length) {
    if (length <= LONG_VALUE && !memchr(value, '\n', length))
        car_text_format(text, "%.*s\n", (int)length, value);
    else
        car_text_format(text, "%zu bytes (--json shows them)\n", length);
}

/* The members of an object, one a line, those of objects in it behind them. */
static void json_text(car_text *text, const car_json *object, int indent) {
    for (const car_json *member = object->first; member; member = member->next) {
        car_text_format(text, "%*s%s: ", indent, "", member->name);
        switch (member->kind) {
        case CAR_JSON_NULL:
            car_text_format(text, "none\n");
            break;
        case CAR_JSON_BOOL:
            car_text_format(text, "%s\n", member->truth ? "yes" : "no");
            break;
        case CAR_JSON_NUMBER:
            car_text_format(text, "%.10g\n", member->number);
            break;
        case CAR_JSON_STRING:
            value_text(text, member->text, member->length);
            break;
        case CAR_JSON_ARRAY:
            car_text_format(text, "%d entries\n", member->count);
            break;
        case CAR_JSON_OBJECT:
            car_text_add(text, "\n", 1);
            json_text(text, member, indent + 2);
            break;
        }
    }
}

static void metadata_text(car_text *text, const car_metadata *entry) {
    enum { DEPTH = 4, VALUES = 1 << 20 };
    car_text_format(text, "\n%s:", entry->key);
    car_arena *arena = car_arena_create(NULL);
    const car_json *object = NULL;
    size_t length = strlen(entry->value);
    if (arena &&
        car_json_parse(entry->value, length, entry->key, DEPTH, VALUES, arena, &object, NULL) ==
            CAR_OK &&
        object->kind == CAR_JSON_OBJECT) {
        car_text_add(text, "\n", 1);
        json_text(text, object, 2);
    } else {
        car_text_add(text, " ", 1);
        value_text(text, entry->value, length);
    }
    car_arena_free(arena);
}

/* What a file from outside says must not command the terminal: control characters become '?'. */
static void make_printable(car_text *text) {
    for (size_t i = 0; i < text->length; i++) {
        unsigned char c = (unsigned char)text->data[i];
        bool second = i > 0 && (unsigned char)text->data[i - 1] == 0xc2 && c >= 0x80 && c < 0xa0;
        if ((c < 0x20 && c != '\n') || c == 0x7f)
            text->data[i] = '?';
        else if (second)
            text->data[i - 1] = text->data[i] = '?';
    }
}

/* The shape of training that bytes are told for. */
typedef struct info_call {
    bool json;
    int64_t batch, unroll;
} info_call;

static void memory_text(car_text *text, const car_model *model, const info_call *call) {
    const cli_bytes bytes = cli_count_bytes(model, call->batch, call->unroll);
    car_text_format(text, "memory      ");
    cli_add_bytes(text, &bytes);
}

static void model_text(car_text *text, const car_model *model, const info_call *call) {
    car_text_format(text,
                    "net         %s\ninput       %d\noutput      %d\nparameters  %lld\n"
                    "precision   %s\n",
                    car_model_net(model), car_model_input_size(model), car_model_output_size(model),
                    (long long)car_model_parameter_count(model), car_model_precision(model));
    memory_text(text, model, call);
    for (int i = 0; i < model->net->cell_count; i++) {
        car_text_format(text, "cell        %s, fingerprint %s\n            ",
                        car_cell_name(model->net->cells[i]),
                        car_cell_fingerprint(model->net->cells[i]));
        car_native_describe(model->net->cells[i], text);
        car_text_add(text, "\n", 1);
    }
    for (int i = 0; i < model->metadata_count; i++)
        metadata_text(text, &model->metadata[i]);
    car_text_format(text, "\ntensors\n");
    for (int i = 0; i < car_model_tensor_count(model); i++) {
        car_model_tensor tensor;
        car_model_tensor_at(model, i, &tensor);
        car_text_format(text, "  %-32s [", tensor.name);
        shape_text(text, &tensor);
        car_text_format(text, "]\n");
    }
}

/* How the cell's programs run, as a JSON string. */
static void add_programs(car_text *text, const car_cell *cell) {
    car_text programs;
    car_text_start(&programs, NULL);
    car_native_describe(cell, &programs);
    car_text_json_string(text, programs.data ? programs.data : "", programs.length);
    text->failed |= programs.failed;
    car_text_free(&programs);
}

static void model_json(car_text *text, const car_model *model, const info_call *call) {
    const cli_bytes bytes = cli_count_bytes(model, call->batch, call->unroll);
    const char *net = car_model_net(model);
    car_text_format(text, "{\"net\": ");
    car_text_json_string(text, net, strlen(net));
    car_text_format(text,
                    ", \"input_size\": %d, \"output_size\": %d, \"parameters\": %lld, "
                    "\"precision\": \"%s\",\n \"bytes\": {\"model\": %zu, \"session\": %zu, "
                    "\"trainer\": %zu, \"batch\": %lld, \"unroll\": %lld},\n \"cells\": [",
                    car_model_input_size(model), car_model_output_size(model),
                    (long long)car_model_parameter_count(model), car_model_precision(model),
                    bytes.model, bytes.session, bytes.trainer, (long long)bytes.batch,
                    (long long)bytes.unroll);
    for (int i = 0; i < model->net->cell_count; i++) {
        const char *name = car_cell_name(model->net->cells[i]);
        car_text_format(text, "%s{\"name\": ", i ? ", " : "");
        car_text_json_string(text, name, strlen(name));
        car_text_format(text, ", \"fingerprint\": \"%s\", \"programs\": ",
                        car_cell_fingerprint(model->net->cells[i]));
        add_programs(text, model->net->cells[i]);
        car_text_format(text, "}");
    }
    car_text_format(text, "],\n \"metadata\": {");
    for (int i = 0; i < model->metadata_count; i++) {
        const car_metadata *entry = &model->metadata[i];
        car_text_format(text, i ? ",\n  " : "");
        car_text_json_string(text, entry->key, strlen(entry->key));
        car_text_format(text, ": ");
        car_text_json_string(text, entry->value, strlen(entry->value));
    }
    car_text_format(text, "},\n \"tensors\": [");
    for (int i = 0; i < car_model_tensor_count(model); i++) {
        car_model_tensor tensor;
        car_model_tensor_at(model, i, &tensor);
        car_text_format(text, "%s{\"name\": ", i ? ",\n  " : "");
        car_text_json_string(text, tensor.name, strlen(tensor.name));
        car_text_format(text, ", \"shape\": [");
        shape_text(text, &tensor);
        car_text_format(text, "]}");
    }
    car_text_format(text, "]}\n");
}

int cli_info(int argc, char **argv) {
    info_call call = {.batch = 32, .unroll = 64};
    cli_option options[] = {{.name = "batch",
                             .kind = CLI_INT,
                             .value = &call.batch,
                             .minimum = 1,
                             .maximum = 65536,
                             .argument = "N",
                             .help = "lanes of the training whose bytes are shown"},
                            {.name = "unroll",
                             .kind = CLI_INT,
                             .value = &call.unroll,
                             .minimum = 1,
                             .maximum = 65536,
                             .argument = "N",
                             .help = "its steps of one update"},
                            {.name = "json",
                             .kind = CLI_FLAG,
                             .value = &call.json,
                             .transient = true,
                             .help = "as JSON"}};
    const cli_verb verb = {.name = "info",
                           .summary = "what is in a model file; without one: this machine",
                           .usage = "[options] [FILE]",
                           .examples = "carousel info m.safetensors\n"
                                       "carousel info m.safetensors --json\n"
                                       "carousel info\n",
                           .options = options,
                           .option_count = sizeof options / sizeof *options,
                           .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_text text;
    car_text_start(&text, NULL);
    car_model *model = NULL;
    car_error error = {0};
    if (arguments.count == 0) {
        machine(&text, call.json);
        code = cli_print(&text);
    } else if (car_model_load(arguments.operands[0], NULL, &model, &error) != CAR_OK) {
        code = cli_fail(&error);
        car_text_free(&text);
    } else {
        (void)car_model_attach_native(model, false, NULL);
        if (call.json) {
            model_json(&text, model, &call);
        } else {
            model_text(&text, model, &call);
            make_printable(&text);
        }
        car_model_free(model);
        code = cli_print(&text);
    }
    cli_arguments_free(&arguments);
    return code;
}
