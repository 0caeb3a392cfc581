/*
 * cell_draw.c: `carousel cell draw`: the unit of a cell as a picture.
 *
 * In: a cell of the zoo, a file, or a layer of a language model at a step of a text. Out: SVG, PNG or PDF, by the
 * name of the file; SVG on stdout.
 */
#include "cli.h"
#include "inspect.h"
#include "picture_file.h"
#include "tasks.h"
#include <string.h>

typedef struct draw_call {
    const char *output, *model, *text, *theme, *language;
    int64_t unroll, step, layer;
    double scale;
} draw_call;

/* The picture of one cell to the output. */
static car_status write_picture(const draw_call *call, const car_cell *cell,
                                const car_picture_options *options, car_error *error) {
    car_scene scene;
    car_status status = car_cell_picture(cell, options, NULL, &scene, error);
    if (status == CAR_OK)
        status =
            cli_write_scene(call->output, &scene, !strcmp(call->theme, "dark"), call->scale, error);
    car_scene_free(&scene);
    return status;
}

/* ---- A layer of a model at a step of a text ------------------------------------------------------------ */

/* The layer, from 0: the one asked for, else the first that is a cell. */
static int choose_layer(const draw_call *call, const struct car_net *net) {
    if (call->layer > 0)
        return (int)call->layer - 1;
    int layer = 0;
    while (layer + 1 < net->layer_count && net->layers[layer].kind != CAR_LAYER_CELL)
        layer++;
    return layer;
}

/* A token as it is written into the picture; what has no picture of its own is named. */
static const char *show_token(const car_lm *lm, int32_t id, bool in_chinese, car_arena *arena) {
    size_t length;
    char shown[64];
    const char *symbol = car_vocabulary_symbol(lm->vocabulary, id, &length);
    if (id == lm->vocabulary->line_end)
        snprintf(shown, sizeof shown, "%s", in_chinese ? "换行" : "a line end");
    else if (length > 0 && length < 40 && (unsigned char)symbol[0] >= ' ')
        snprintf(shown, sizeof shown, "\"%.*s\"", (int)length, symbol);
    else
        snprintf(shown, sizeof shown, "%s", in_chinese ? "一个符号" : "a symbol");
    return car_arena_copy(arena, shown, strlen(shown));
}

static void write_note(const draw_call *call, const car_lm *lm, const car_tokens *tokens,
                       size_t step, int layer, const char *token, char *note, size_t size) {
    int units = lm->model->layers[layer].size.units;
    if (strcmp(call->language, "zh") == 0)
        snprintf(note, size,
                 "数字：%.200s 第 %d 层（%d 个单元）%s读入 %s 之后（第 %zu 个词元，共 %zu 个）；"
                 "门上的横条是它的平均值，从 0（关）到 1（开）；|…| 是大小的平均值。",
                 call->model, layer + 1, units, call->unroll > 1 ? "直到" : "", token, step,
                 tokens->count);
    else
        snprintf(note, size,
                 "The numbers: layer %d of %.200s (%d units) %s it reads %s, token %zu of %zu; "
                 "the bar of a gate is its mean, from 0 (shut) to 1 (open); |…| is the mean size.",
                 layer + 1, call->model, units, call->unroll > 1 ? "step by step until" : "when",
                 token, step, tokens->count);
}

/* As in `lm sample`, a line end stands before the text. */
static car_status read_text(const draw_call *call, const car_lm *lm, car_arena *arena,
                            car_tokens *tokens, int32_t **ids, size_t *step, car_error *error) {
    const car_vocabulary *vocabulary = lm->vocabulary;
    size_t length = strlen(call->text);
    CAR_TRY(car_level_check(vocabulary->level, call->text, length, "--text", error));
    CAR_TRY(car_vocabulary_encode(vocabulary, call->text, length, false, NULL, tokens, error));
    *step = call->step > 0 ? (size_t)call->step : tokens->count;
    if (tokens->count == 0 || *step > tokens->count)
        return car_fail(error, CAR_USAGE, "--step %lld: the text has %zu tokens",
                        (long long)call->step, tokens->count);
    *ids = car_arena_allocate(arena, *step + 1, sizeof **ids);
    if (!*ids)
        return car_fail(error, CAR_MEMORY, "no memory for a text of %zu tokens", *step);
    (*ids)[0] = vocabulary->line_end >= 0 ? vocabulary->line_end : 0;
    memcpy(*ids + 1, tokens->ids, *step * sizeof **ids);
    return CAR_OK;
}

/* What the steps that are drawn read: the last `unroll` of the ids. */
static car_status name_inputs(const draw_call *call, const car_lm *lm, const int32_t *ids,
                              size_t count, car_arena *arena, const char *const **inputs,
                              car_error *error) {
    size_t steps = (size_t)call->unroll;
    if (steps > count)
        return car_fail(error, CAR_USAGE,
                        "--unroll %zu: the text gives %zu steps, the line end before it included; "
                        "take a longer --text or a later --step",
                        steps, count);
    const char **names = car_arena_allocate(arena, steps, sizeof *names);
    bool there = names != NULL;
    for (size_t i = 0; there && i < steps; i++) {
        names[i] = show_token(lm, ids[count - steps + i], !strcmp(call->language, "zh"), arena);
        there = names[i] != NULL;
    }
    *inputs = names;
    return there ? CAR_OK : car_fail(error, CAR_MEMORY, "no memory to look into the model");
}

static car_status draw_reading(const draw_call *call, const car_lm *lm, car_arena *arena,
                               car_error *error) {
    car_tokens tokens = {0};
    int32_t *ids = NULL;
    size_t step = 0;
    char note[512];
    int layer = choose_layer(call, lm->model->net), steps = (int)call->unroll;
    car_picture_options options = {
        .unroll = steps, .note = note, .chinese = !strcmp(call->language, "zh")};
    car_status status = read_text(call, lm, arena, &tokens, &ids, &step, error);
    if (status == CAR_OK)
        status = name_inputs(call, lm, ids, step + 1, arena, &options.inputs, error);
    if (status == CAR_OK)
        status = car_model_read_steps(lm->model, layer, ids, step + 1, steps, arena,
                                      &options.readings, &options.reading_count, error);
    if (status == CAR_OK) {
        write_note(call, lm, &tokens, step, layer, options.inputs[steps - 1], note, sizeof note);
        status = write_picture(call, lm->model->net->layers[layer].cell, &options, error);
    }
    car_tokens_free(&tokens);
    return status;
}

static car_status draw_model(const draw_call *call, car_error *error) {
    car_lm lm;
    CAR_TRY(car_lm_load(call->model, NULL, &lm, error));
    car_arena *arena = car_arena_create(NULL);
    car_status status = arena ? draw_reading(call, &lm, arena, error)
                              : car_fail(error, CAR_MEMORY, "no memory to look into the model");
    car_arena_free(arena);
    car_lm_free(&lm);
    return status;
}

/* ---- The verb ------------------------------------------------------------------------------------------ */

static car_status draw_cell(const draw_call *call, const char *name, car_error *error) {
    car_cell *cell;
    const car_picture_options options = {.unroll = (int)call->unroll,
                                         .chinese = !strcmp(call->language, "zh")};
    CAR_TRY(cli_cell_load(name, &cell, error));
    car_status status = write_picture(call, cell, &options, error);
    car_cell_free(cell);
    return status;
}

static car_status check_call(const draw_call *call, int operands, car_error *error) {
    if (!call->output)
        return car_fail(error, CAR_USAGE, "cell draw: name the picture: -o FILE.svg, .png or .pdf");
    CAR_TRY(cli_check_picture(call->output, error));
    if ((operands > 0) == (call->model != NULL))
        return car_fail(error, CAR_USAGE, "cell draw: name a cell, or a model with --model");
    if (call->model && !call->text)
        return car_fail(error, CAR_USAGE, "--model needs --text: what it is to read");
    if (!call->model && (call->text || call->step || call->layer))
        return car_fail(error, CAR_USAGE, "--text, --step and --layer need --model");
    return CAR_OK;
}

int cli_cell_draw(int argc, char **argv) {
    draw_call call = {.theme = "light", .language = "en", .unroll = 1, .scale = 2};
    cli_option options[] = {{.name = "output",
                             .letter = 'o',
                             .kind = CLI_TEXT,
                             .value = &call.output,
                             .argument = "FILE",
                             .help = "the picture: .svg, .png, .pdf; - is SVG on stdout",
                             .default_text = "must be given"},
                            {.name = "unroll",
                             .kind = CLI_INT,
                             .value = &call.unroll,
                             .minimum = 1,
                             .maximum = CAR_UNROLL_LIMIT,
                             .argument = "T",
                             .help = "steps side by side"},
                            {.name = "lang",
                             .kind = CLI_CHOICE,
                             .value = &call.language,
                             .choices = "en|zh",
                             .argument = "NAME",
                             .help = "of the words in the picture"},
                            {.name = "theme",
                             .kind = CLI_CHOICE,
                             .value = &call.theme,
                             .choices = "light|dark",
                             .argument = "NAME",
                             .help = "of .png and .pdf; SVG follows its reader"},
                            {.name = "scale",
                             .kind = CLI_DOUBLE,
                             .value = &call.scale,
                             .minimum = 0.1,
                             .maximum = 16,
                             .argument = "X",
                             .help = "size of .png and .pdf"},
                            {.kind = CLI_HEADING, .help = "With the numbers of a language model"},
                            {.name = "model",
                             .kind = CLI_TEXT,
                             .value = &call.model,
                             .argument = "MODEL",
                             .help = "draw a layer of it, with its values",
                             .default_text = "none"},
                            {.name = "text",
                             .kind = CLI_TEXT,
                             .value = &call.text,
                             .argument = "TEXT",
                             .help = "what it reads",
                             .default_text = "none"},
                            {.name = "step",
                             .kind = CLI_INT,
                             .value = &call.step,
                             .minimum = 0,
                             .maximum = 1e9,
                             .argument = "K",
                             .help = "after which token of the text",
                             .default_text = "the last"},
                            {.name = "layer",
                             .kind = CLI_INT,
                             .value = &call.layer,
                             .minimum = 0,
                             .maximum = 256,
                             .argument = "L",
                             .help = "which layer of the net, from 1",
                             .default_text = "the first that is a cell"}};
    const cli_verb verb = {
        .name = "cell draw",
        .summary = "the unit as a picture",
        .usage = "[options] NAME|FILE -o PICTURE",
        .examples = "carousel cell draw lstm -o lstm.svg\n"
                    "carousel cell draw my.cell -o my.png --theme dark\n"
                    "carousel cell draw gru --unroll 3 -o chain.svg\n"
                    "carousel cell draw --model m.safetensors --text \"The cat\" -o now.svg\n"
                    "carousel cell draw --model m.safetensors --text \"cat\" --unroll 3 -o c.svg\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 0,
        .most_operands = 1,
        .notes = "States that elementwise steps alone carry on are straight belts; layers\n"
                 "stand beneath them, gates in yellow. PNG and PDF need a build with cairo.\n"};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    car_status status = check_call(&call, arguments.count, &error);
    if (status == CAR_OK)
        status = call.model ? draw_model(&call, &error)
                            : draw_cell(&call, arguments.operands[0], &error);
    code = status == CAR_OK ? 0 : cli_fail(&error);
    cli_arguments_free(&arguments);
    return code;
}
