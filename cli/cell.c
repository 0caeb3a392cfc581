/*
 * cell.c: `carousel cell list|show|check|explain|emit`: cells as text, as parameters, as a program (draw: cell_draw.c).
 *
 * In: the name of a cell of the zoo, or a file. Out: its text; every parameter with kind, shape and
 * start, and the derivative checked against central differences; what the engine makes of it,
 * stage by stage; or its programs as C.
 */
#include "cli.h"
#include "emitted.h"
#include "language.h"
#include <stdlib.h>
#include <string.h>

enum { CELL_TEXT_LIMIT = 1 << 20 };
/* The derivative check in double: what is worse is a wrong derivative or a cell that is
 * ill-conditioned. */
static const double WORST_ERROR = 1e-5, MOST_SET_ASIDE = 0.20;

static bool is_file(const char *name) {
    size_t length = strlen(name);
    return !strcmp(name, "-") || strchr(name, '/') ||
           (length > 5 && !strcmp(name + length - 5, ".cell"));
}

static const char *nearest_cell(const char *name) {
    const char *names[64];
    int count = car_zoo_count() < 64 ? car_zoo_count() : 64;
    for (int i = 0; i < count; i++)
        names[i] = car_zoo_name(i);
    return cli_nearest(name, names, count);
}

car_status cli_cell_load(const char *name, car_cell **cell, car_error *error) {
    *cell = NULL;
    if (!is_file(name)) {
        const char *zoo = car_zoo_text(name), *near = zoo ? NULL : nearest_cell(name);
        if (near)
            return car_fail(error, CAR_USAGE, "%s: no such cell in the zoo; did you mean %s?", name,
                            near);
        if (!zoo)
            return car_fail(error, CAR_USAGE,
                            "%s: no such cell in the zoo; see carousel cell list, or name a file "
                            "(./%s, %s.cell)",
                            name, name, name);
        return car_cell_compile(zoo, strlen(zoo), name, NULL, cell, error);
    }
    char *text;
    size_t length;
    CAR_TRY(car_file_read(name, CELL_TEXT_LIMIT, NULL, &text, &length, error));
    car_status status = car_cell_compile(
        text, length, strcmp(name, "-") != 0 ? name : "standard input", NULL, cell, error);
    car_release(NULL, text);
    return status;
}

/* ---- list ----------------------------------------------------------------------------------- */

static int list(int argc, char **argv) {
    bool json = false;
    cli_option options[] = {{.name = "json",
                             .kind = CLI_FLAG,
                             .value = &json,
                             .transient = true,
                             .help = "an array of {name, summary}"}};
    const cli_verb verb = {.name = "cell list",
                           .summary = "the cells of the zoo",
                           .usage = "[options]",
                           .examples = "carousel cell list\n",
                           .options = options,
                           .option_count = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    const car_zoo_entry *entries;
    int count = car_zoo_entries(&entries);
    car_text text;
    car_text_start(&text, NULL);
    for (int i = 0; i < count; i++) {
        if (!json) {
            car_text_format(&text, "%-16s %s\n", entries[i].name, entries[i].summary);
            continue;
        }
        car_text_format(&text, i ? ",\n {\"name\": " : "[{\"name\": ");
        car_text_json_string(&text, entries[i].name, strlen(entries[i].name));
        car_text_format(&text, ", \"summary\": ");
        car_text_json_string(&text, entries[i].summary, strlen(entries[i].summary));
        car_text_format(&text, "}");
    }
    if (json)
        car_text_format(&text, "]\n");
    cli_arguments_free(&arguments);
    return cli_print(&text);
}

/* ---- show ----------------------------------------------------------------------------------- */

static int show(int argc, char **argv) {
    const cli_verb verb = {.name = "cell show",
                           .summary = "the text of a cell",
                           .usage = "NAME|FILE",
                           .examples =
                               "carousel cell show lstm\n"
                               "carousel cell show gru > my.cell     a start for one of your own\n",
                           .least_operands = 1,
                           .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_cell *cell;
    car_error error = {0};
    if (cli_cell_load(arguments.operands[0], &cell, &error) != CAR_OK) {
        code = cli_fail(&error);
    } else {
        fputs(car_cell_text(cell), stdout);
        car_cell_free(cell);
        code = 0;
    }
    cli_arguments_free(&arguments);
    return code;
}

/* ---- check ---------------------------------------------------------------------------------- */

static const char *const kind_names[] = {"matrix", "bias", "vector"};

static const char *shape_of(const car_cell *cell, const car_parameter *parameter) {
    if (parameter->kind != CAR_MATRIX)
        return "[n]";
    return parameter->from_input && !cell->input_is_hidden ? "[n][input]" : "[n][n]";
}

static double share_set_aside(const car_derivative_check *check) {
    int all = check->points + check->set_aside;
    return all ? (double)check->set_aside / all : 0;
}

static void check_text(car_text *text, const car_cell *cell, const car_derivative_check *check) {
    car_text_format(text, "%s, fingerprint %s\n\n", cell->name, cell->fingerprint);
    car_cell_describe(cell, text);
    car_text_format(text,
                    "\n%d derivatives compared with central differences: worst relative error %.1e",
                    check->points, check->worst_error);
    car_text_format(text, ", set aside %d (%.1f %%)\n", check->set_aside,
                    100 * share_set_aside(check));
}

static void check_json(car_text *text, const car_cell *cell, const car_derivative_check *check) {
    car_text_format(text, "{\"cell\": ");
    car_text_json_string(text, cell->name, strlen(cell->name));
    car_text_format(text, ", \"fingerprint\": \"%s\", \"states\": [", cell->fingerprint);
    for (int i = 0; i < cell->state_count; i++)
        car_text_format(text, "%s\"%s\"", i ? ", " : "", cell->state_names[i]);
    car_text_format(text, "], \"input_is_hidden\": %s,\n \"parameters\": [",
                    cell->input_is_hidden ? "true" : "false");
    for (int i = 0; i < cell->parameter_count; i++) {
        const car_parameter *parameter = &cell->parameters[i];
        car_text_format(text,
                        "%s{\"name\": \"%s\", \"kind\": \"%s\", \"shape\": \"%s\", \"init\": \"",
                        i ? ",\n  " : "", parameter->name, kind_names[parameter->kind],
                        shape_of(cell, parameter));
        car_init_print(text, parameter->init);
        car_text_format(text, "\"}");
    }
    car_text_format(text,
                    "],\n \"derivatives\": {\"points\": %d, \"set_aside\": %d, \"worst_error\": ",
                    check->points, check->set_aside);
    car_text_json_number(text, check->worst_error);
    car_text_format(text, "}}\n");
}

static int report_check(const car_cell *cell, const car_derivative_check *check, bool json) {
    car_text text;
    car_text_start(&text, NULL);
    if (json)
        check_json(&text, cell, check);
    else
        check_text(&text, cell, check);
    int code = cli_print(&text);
    if (code)
        return code;
    if (!(check->worst_error <= WORST_ERROR))
        return cli_say_fail(
            CAR_FAILED,
            "%s: a derivative is off by %.1e (limit %.0e); is an exp, log or division "
            "out of bounds?",
            cell->origin, check->worst_error, WORST_ERROR);
    if (share_set_aside(check) > MOST_SET_ASIDE)
        return cli_say_fail(
            CAR_FAILED,
            "%s: %.0f %% of the derivatives are near a kink or ill-conditioned (limit "
            "%.0f %%); is something out of bounds?",
            cell->origin, 100 * share_set_aside(check), 100 * MOST_SET_ASIDE);
    return 0;
}

static int check(int argc, char **argv) {
    int64_t units = 5, inputs = 3, steps = 4, seed = 1;
    bool json = false;
    cli_option options[] = {
        {.name = "hidden",
         .kind = CLI_INT,
         .value = &units,
         .minimum = 1,
         .maximum = 64,
         .argument = "N",
         .help = "units of the derivative check"},
        {.name = "input",
         .kind = CLI_INT,
         .value = &inputs,
         .minimum = 1,
         .maximum = 64,
         .argument = "N",
         .help = "inputs of it (as many as units where x is used elementwise)"},
        {.name = "steps",
         .kind = CLI_INT,
         .value = &steps,
         .minimum = 1,
         .maximum = 64,
         .argument = "T",
         .help = "time steps of it"},
        {.name = "seed",
         .kind = CLI_INT,
         .value = &seed,
         .minimum = 0,
         .maximum = 1e15,
         .argument = "N",
         .help = "of its random weights and inputs"},
        {.name = "json", .kind = CLI_FLAG, .value = &json, .transient = true, .help = "as JSON"}};
    const cli_verb verb = {.name = "cell check",
                           .summary = "every parameter, and the derivative",
                           .usage = "[options] NAME|FILE",
                           .examples = "carousel cell check my.cell\n"
                                       "carousel cell check lstm --json\n",
                           .options = options,
                           .option_count = sizeof options / sizeof *options,
                           .least_operands = 1,
                           .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_cell *cell = NULL;
    car_error error = {0};
    car_derivative_check result = {0};
    car_status status = cli_cell_load(arguments.operands[0], &cell, &error);
    if (status == CAR_OK)
        status = car_oracle_check(cell, (int)units, (int)(cell->input_is_hidden ? units : inputs),
                                  (int)steps, (uint64_t)seed, &result, &error);
    code = status == CAR_OK ? report_check(cell, &result, json) : cli_fail(&error);
    car_cell_free(cell);
    cli_arguments_free(&arguments);
    return code;
}

/* Prints what was made, or says what failed; frees the text in both cases. */
static int finish_text(car_status status, car_text *text, const car_error *error) {
    if (status == CAR_OK)
        return cli_print(text);
    car_text_free(text);
    return cli_fail(error);
}

/* ---- explain ---------------------------------------------------------------------------------- */

typedef struct explain_call {
    int64_t units, inputs, batch, unroll;
} explain_call;

/* The bytes of a net of this cell alone and one output. */
static car_status explain_bytes(const car_cell *cell, const explain_call *call, car_text *text,
                                car_error *error) {
    char net_text[256];
    snprintf(net_text, sizeof net_text, "%.100s %d | linear", car_cell_name(cell),
             (int)call->units);
    const car_model_options sizes = {.input_size = (int)call->inputs, .output_size = 1};
    car_net *net;
    car_model *model;
    CAR_TRY(car_net_parse(net_text, &cell, 1, NULL, &net, error));
    car_status status = car_model_create(net, &sizes, NULL, &model, error);
    car_net_free(net);
    CAR_TRY(status);
    const cli_bytes bytes = cli_count_bytes(model, call->batch, call->unroll);
    car_model_free(model);
    car_text_format(text, "memory: ");
    cli_add_bytes(text, &bytes);
    return CAR_OK;
}

static car_status explain_text(car_cell *cell, const explain_call *call, car_text *text,
                               car_error *error) {
    const car_kernels *kernels;
    CAR_TRY(car_kernels_choose(&kernels, error));
    (void)car_cell_compile_native(cell, NULL); /* what came of it is described below */
    const car_plan_options options = {.emitted = car_emitted_of(kernels->level),
                                      .native = car_native_table(cell, kernels->level),
                                      .training = true};
    const car_shape input = {.size = (int)call->inputs, .parts = 1};
    car_plan *plan;
    CAR_TRY(car_plan_create(cell, input, (int)call->units, &options, NULL, &plan, error));
    car_cell_explain(cell, text);
    car_text_add(text, "\n", 1);
    car_plan_explain(plan, text);
    car_plan_free(plan);
    CAR_TRY(explain_bytes(cell, call, text, error));
    car_native_describe(cell, text);
    car_text_add(text, "\n", 1);
    return CAR_OK;
}

static int explain(int argc, char **argv) {
    explain_call call = {.units = 128, .batch = 32, .unroll = 64};
    cli_option options[] = {{.name = "hidden",
                             .kind = CLI_INT,
                             .value = &call.units,
                             .minimum = 1,
                             .maximum = 65536,
                             .argument = "N",
                             .help = "units"},
                            {.name = "input",
                             .kind = CLI_INT,
                             .value = &call.inputs,
                             .minimum = 0,
                             .maximum = 65536,
                             .argument = "N",
                             .help = "inputs",
                             .default_text = "as many as units"},
                            {.name = "batch",
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
                             .help = "its steps of one update"}};
    const cli_verb verb = {
        .name = "cell explain",
        .summary = "what the engine makes of a cell",
        .usage = "[options] NAME|FILE",
        .examples = "carousel cell explain lstm\n"
                    "carousel cell explain my.cell --hidden 650\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 1,
        .most_operands = 1,
        .notes = "Shows the equations, the checked program they become, its gradient,\n"
                 "and the plan: stages, FLOPs and bytes.\n"};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_cell *cell = NULL;
    car_error error = {0};
    car_text text;
    call.inputs = call.inputs ? call.inputs : call.units;
    car_text_start(&text, NULL);
    car_status status = cli_cell_load(arguments.operands[0], &cell, &error);
    if (status == CAR_OK)
        status = explain_text(cell, &call, &text, &error);
    code = finish_text(status, &text, &error);
    car_cell_free(cell);
    cli_arguments_free(&arguments);
    return code;
}

/* ---- emit ----------------------------------------------------------------------------------- */

static car_status emit_text(const car_cell *cell, const char *level, car_text *text,
                            car_error *error) {
    static const char *const levels[CAR_CPU_LEVELS] = {"baseline", "avx2", "avx512"};
    car_text programs, entries;
    int count, chosen = 0;
    while (level && chosen < CAR_CPU_LEVELS && strcmp(level, levels[chosen]) != 0)
        chosen++;
    car_text_start(&programs, NULL);
    car_text_start(&entries, NULL);
    car_status status =
        car_native_programs(cell, (car_cpu_level)chosen, true, &count, &programs, &entries, error);
    if (status == CAR_OK && level)
        car_native_source((car_cpu_level)chosen, &programs, &entries, count, text);
    else if (status == CAR_OK)
        car_text_format(
            text,
            "/* The elementwise programs of the cell %s, by carousel %s. A vfloat holds "
            "WIDTH units: 16, 8 or 4\n"
            " * by CPU level; a block is 16 units, of which `kept` are not padding. EACH, OF "
            "and STORE_EACH are of\n"
            " * one vector of it, or of two side by side. --level shows the rest. */\n%s",
            cell->name, car_version(), programs.data ? programs.data : "");
    car_text_free(&programs);
    car_text_free(&entries);
    return status;
}

static int emit(int argc, char **argv) {
    const char *level = NULL;
    cli_option options[] = {{.name = "level",
                             .kind = CLI_CHOICE,
                             .value = &level,
                             .choices = "baseline|avx2|avx512",
                             .help = "the whole text that the compiler gets for this CPU level",
                             .default_text = "the programs alone, the same for every level"}};
    const cli_verb verb = {
        .name = "cell emit",
        .summary = "the elementwise programs of a cell as C",
        .usage = "[options] NAME|FILE",
        .examples = "carousel cell emit gru\n"
                    "carousel cell emit my.cell --level avx2 > my.c\n",
        .options = options,
        .option_count = 1,
        .least_operands = 1,
        .most_operands = 1,
        .notes = "What runs between the matrix products: a function for each program, forward\n"
                 "for a run and for training, and backward. The zoo's are built in; those of a\n"
                 "cell of your own are compiled when it is first trained or run, where there is\n"
                 "a C compiler (CC, else cc), and kept in ~/.cache/carousel. CAROUSEL_NATIVE=0:\n"
                 "the interpreter runs them instead, with the same results bit for bit.\n"};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_cell *cell = NULL;
    car_error error = {0};
    car_text text;
    car_text_start(&text, NULL);
    car_status status = cli_cell_load(arguments.operands[0], &cell, &error);
    if (status == CAR_OK)
        status = emit_text(cell, level, &text, &error);
    code = finish_text(status, &text, &error);
    car_cell_free(cell);
    cli_arguments_free(&arguments);
    return code;
}

int cli_cell(int argc, char **argv) {
    static const cli_command table[] = {
        {"list", "the cells of the zoo", list},
        {"show", "the text of a cell", show},
        {"check", "every parameter, and the derivative", check},
        {"explain", "what the engine makes of a cell", explain},
        {"draw", "the unit as a picture", cli_cell_draw},
        {"emit", "the elementwise programs of a cell as C", emit},
        {"mutate", "other cells that come out of one by chance", cli_cell_mutate},
    };
    return cli_dispatch("cell", "cells, the zoo's and your own", table,
                        sizeof table / sizeof *table, argc, argv);
}
