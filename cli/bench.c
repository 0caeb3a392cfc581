/*
 * bench.c: `carousel bench`: this machine's peak, then how near Carousel comes to it.
 *
 * In:  cells, a grid or one shape. Out: a line a shape as it is measured, or one JSON object: time, GFLOP/s, share of
 *      the peak that was measured just before, and the roofline (bench.h) with the share of it that was reached.
 */
#include "bench.h"
#include "cli.h"
#include <string.h>

enum { MOST_SIZE = 1 << 16 };

typedef struct bench_call {
    const char *grid, *precision;
    cli_list cells;
    int64_t threads, batch, steps, input, hidden, layers, classes;
    double seconds;
    bool bidirectional, quick, json;
    car_bench_machine machine;
    car_text rows; /* of the JSON object */
    int count;
} bench_call;

/* ---- Text ---------------------------------------------------------------------------------------------- */

static void add_time(car_text *text, double seconds) {
    if (seconds < 1e-3)
        car_text_format(text, "%8.3f us", seconds * 1e6);
    else if (seconds < 1)
        car_text_format(text, "%8.3f ms", seconds * 1e3);
    else
        car_text_format(text, "%8.3f s ", seconds);
}

static void add_rates(car_text *text, const char *name, car_bench_rate rate, const char *unit) {
    car_text_format(text, "%-10s %9.1f %11.1f  %s\n", name, rate.one * 1e-9, rate.all * 1e-9, unit);
}

static void add_machine(car_text *text, const bench_call *call) {
    const car_bench_machine *machine = &call->machine;
    const bool f32 = machine->precision == CAR_PRECISION_F32;
    car_text_format(text, "%s%scpu level %s, %d thread%s%s%s\n\n", machine->processor,
                    machine->processor[0] ? ", " : "", machine->kernels->name, machine->threads,
                    machine->threads == 1 ? "" : "s", f32 ? "" : ", products in ",
                    f32 ? "" : call->precision);
    car_text_format(text, "%-10s %9s %11s\n", "peak", "one core", "all threads");
    add_rates(text, "fma f32", machine->fma, "GFLOP/s");
    if (machine->dot.one > 0)
        add_rates(text, "dot bf16", machine->dot, "GFLOP/s");
    if (machine->tiles.one > 0)
        add_rates(text, "tiles bf16", machine->tiles, "GFLOP/s");
    if (machine->quad.one > 0)
        add_rates(text, "dot int8", machine->quad, "GFLOP/s");
    if (machine->tile_quads.one > 0)
        add_rates(text, "tiles int8", machine->tile_quads, "GFLOP/s");
    for (int k = 0; k < CAR_BENCH_MEMORIES; k++) {
        const car_bench_memory *memory = &machine->memory[k];
        char name[32], size[48] = "";
        snprintf(name, sizeof name, "read %s", memory->name);
        if (memory->bytes != SIZE_MAX)
            snprintf(size, sizeof size, "GB/s (%zu KiB%s)", memory->bytes >> 10,
                     memory->shared ? ", shared" : "");
        add_rates(text, name, memory->bytes_per_second, size[0] ? size : "GB/s");
    }
}

static void add_heading(car_text *text, car_bench_kind kind) {
    static const char *const what[CAR_BENCH_KINDS] = {
        "forward and backward, all threads", "forward over a sequence, all threads",
        "a step of a session, one thread", "a packed matrix product, one thread"};
    car_text_format(text, "\n%s: %s\n", car_bench_kind_name(kind), what[kind]);
    if (kind == CAR_BENCH_PRODUCTS)
        car_text_format(text, "%5s %5s %5s", "rows", "depth", "cols");
    else if (kind == CAR_BENCH_STREAMING)
        car_text_format(text, "%-14s %5s %5s %6s", "cell", "lanes", "input", "hidden");
    else
        car_text_format(text, "%-14s %5s %5s %5s %6s %-8s", "cell", "batch", "steps", "input",
                        "hidden", "layers");
    car_text_format(text, " %11s %8s %7s %11s %7s", "time", "GFLOP/s", "of peak", "roofline",
                    "reached");
    if (kind == CAR_BENCH_STREAMING)
        car_text_format(text, " %11s %11s", "p50", "p99");
    car_text_format(text, "\n");
}

static double peak_of(const bench_call *call, car_bench_kind kind) {
    bool one = kind == CAR_BENCH_STREAMING || kind == CAR_BENCH_PRODUCTS;
    return one ? call->machine.fma.one : call->machine.fma.all;
}

static void add_row(car_text *text, const bench_call *call, const char *cell,
                    const car_bench_shape *shape, const car_bench_result *result) {
    char layers[16];
    snprintf(layers, sizeof layers, "%d%s%s", shape->layers, shape->bidirectional ? " bi" : "",
             shape->classes ? " lm" : "");
    if (shape->kind == CAR_BENCH_PRODUCTS)
        car_text_format(text, "%5d %5d %5d", shape->batch, shape->input, shape->units);
    else if (shape->kind == CAR_BENCH_STREAMING)
        car_text_format(text, "%-14s %5d %5d %6d", cell, shape->batch, result->input, shape->units);
    else
        car_text_format(text, "%-14s %5d %5d %5d %6d %-8s", cell, shape->batch, shape->steps,
                        result->input, shape->units, layers);
    car_text_format(text, " ");
    add_time(text, result->seconds);
    double rate = result->flop / result->seconds;
    car_text_format(text, " %8.1f %5.1f %% ", rate * 1e-9, 100 * rate / peak_of(call, shape->kind));
    add_time(text, result->roofline);
    car_text_format(text, " %5.1f %%", 100 * result->roofline / result->seconds);
    if (shape->kind == CAR_BENCH_STREAMING) {
        car_text_format(text, " ");
        add_time(text, result->p50);
        car_text_format(text, " ");
        add_time(text, result->p99);
    }
    car_text_format(text, "\n");
}

/* ---- JSON ---------------------------------------------------------------------------------------------- */

static void json_number(car_text *text, const char *name, double value) {
    car_text_format(text, ", \"%s\": ", name);
    car_text_json_number(text, value);
}

static void json_rate(car_text *text, car_bench_rate rate) {
    car_text_format(text, "{\"one\": ");
    car_text_json_number(text, rate.one);
    json_number(text, "all", rate.all);
    car_text_format(text, "}");
}

static void json_row(car_text *text, const bench_call *call, const char *cell,
                     const car_bench_shape *shape, const car_bench_result *result) {
    double rate = result->flop / result->seconds;
    car_text_format(text, "{\"grid\": \"%s\", \"cell\": ", car_bench_kind_name(shape->kind));
    if (cell)
        car_text_json_string(text, cell, strlen(cell));
    else
        car_text_format(text, "null");
    car_text_format(text,
                    ", \"batch\": %d, \"steps\": %d, \"input\": %d, \"hidden\": %d, \"layers\": %d,"
                    " \"bidirectional\": %s, \"classes\": %d",
                    shape->batch, shape->steps, result->input, shape->units, shape->layers,
                    shape->bidirectional ? "true" : "false", shape->classes);
    json_number(text, "seconds", result->seconds);
    json_number(text, "flop_per_second", rate);
    json_number(text, "of_peak", rate / peak_of(call, shape->kind));
    json_number(text, "roofline_seconds", result->roofline);
    json_number(text, "of_roofline", result->roofline / result->seconds);
    if (shape->kind == CAR_BENCH_STREAMING) {
        json_number(text, "p50_seconds", result->p50);
        json_number(text, "p99_seconds", result->p99);
    }
    car_text_format(text, "}");
}

static int print_json(bench_call *call) {
    const car_bench_machine *machine = &call->machine;
    car_text text;
    car_text_start(&text, NULL);
    car_text_format(&text, "{\"version\": \"%s\", \"processor\": ", car_version());
    car_text_json_string(&text, machine->processor, strlen(machine->processor));
    car_text_format(
        &text,
        ", \"cpu_level\": \"%s\", \"precision\": \"%s\", \"threads\": %d,\n \"peak\": {\"fma\": ",
        machine->kernels->name, call->precision, machine->threads);
    json_rate(&text, machine->fma);
    car_text_format(&text, ", \"dot\": ");
    json_rate(&text, machine->dot);
    car_text_format(&text, ", \"tiles\": ");
    json_rate(&text, machine->tiles);
    car_text_format(&text, ", \"quad\": ");
    json_rate(&text, machine->quad);
    car_text_format(&text, ", \"tile_quads\": ");
    json_rate(&text, machine->tile_quads);
    car_text_format(&text, "},\n \"read\": {");
    for (int k = 0; k < CAR_BENCH_MEMORIES; k++) {
        car_text_format(&text, "%s\"%s\": ", k ? ", " : "", machine->memory[k].name);
        json_rate(&text, machine->memory[k].bytes_per_second);
    }
    car_text_format(&text, "},\n \"rows\": [");
    car_text_add(&text, call->rows.data, call->rows.length);
    car_text_format(&text, "]}\n");
    text.failed |= call->rows.failed;
    return cli_print(&text);
}

static int print_now(car_text *text) {
    int code = cli_print(text);
    return code ? code : cli_flush() ? 0 : CAR_IO;
}

/* ---- Running ------------------------------------------------------------------------------------------- */

static int run_row(bench_call *call, const car_cell *cell, const car_bench_shape *shape) {
    car_error error = {0};
    car_bench_result result;
    const char *name = cell ? car_cell_name(cell) : NULL;
    car_status status =
        cell ? car_bench_net(&call->machine, cell, shape, call->seconds, &result, &error)
             : car_bench_product(&call->machine, shape, call->seconds, &result, &error);
    if (status != CAR_OK)
        return cli_fail(&error);
    if (call->json) {
        if (call->count++)
            car_text_format(&call->rows, ",\n  ");
        json_row(&call->rows, call, name, shape, &result);
        return 0;
    }
    car_text text;
    car_text_start(&text, NULL);
    add_row(&text, call, name, shape, &result);
    return print_now(&text);
}

/* The grid's shapes of a kind, or the one that the options give. */
static int run_shapes(bench_call *call, const car_cell *cell, car_bench_kind kind) {
    int count, code = 0;
    const car_bench_shape *shapes = car_bench_grid(kind, &count);
    const car_bench_shape own = {.kind = kind,
                                 .batch = (int)call->batch,
                                 .steps = (int)call->steps,
                                 .input = (int)(call->input ? call->input : call->hidden),
                                 .units = (int)call->hidden,
                                 .layers = (int)call->layers,
                                 .bidirectional = call->bidirectional,
                                 .classes = (int)call->classes};
    if (call->hidden)
        return run_row(call, cell, &own);
    for (int k = 0; k < count && code == 0; k++)
        code = run_row(call, cell, &shapes[k]);
    return code;
}

static int run_cells(bench_call *call, car_bench_kind kind) {
    static const char *const usual[] = {"lstm", "gru", "rnn"};
    int count = call->cells.count ? call->cells.count : (int)(sizeof usual / sizeof *usual);
    int code = 0;
    for (int k = 0; k < count && code == 0; k++) {
        car_cell *cell = NULL;
        car_error error = {0};
        const char *name = call->cells.count ? call->cells.items[k] : usual[k];
        code = cli_cell_load(name, &cell, &error) == CAR_OK ? run_shapes(call, cell, kind)
                                                            : cli_fail(&error);
        car_cell_free(cell);
    }
    return code;
}

static int run_kind(bench_call *call, car_bench_kind kind) {
    int code = 0;
    if (!call->json) {
        car_text text;
        car_text_start(&text, NULL);
        add_heading(&text, kind);
        code = print_now(&text);
    }
    if (code)
        return code;
    return kind == CAR_BENCH_PRODUCTS ? run_shapes(call, NULL, kind) : run_cells(call, kind);
}

static int run(bench_call *call) {
    car_error error = {0};
    car_text text;
    if (car_bench_machine_measure((int)call->threads, call->seconds / 20, &call->machine, &error) !=
            CAR_OK ||
        car_precision_read(call->precision, &call->machine.precision, &error) != CAR_OK)
        return cli_fail(&error);
    car_text_start(&text, NULL);
    if (!call->json)
        add_machine(&text, call);
    int code = print_now(&text);
    for (int kind = 0; kind < CAR_BENCH_KINDS && code == 0; kind++) {
        const char *name = car_bench_kind_name((car_bench_kind)kind);
        if (kind == CAR_BENCH_TRAINING && call->machine.precision == CAR_PRECISION_INT8)
            continue;
        if (!strcmp(call->grid, "all") || !strcmp(call->grid, name))
            code = run_kind(call, (car_bench_kind)kind);
    }
    return code == 0 && call->json ? print_json(call) : code;
}

static int check(const bench_call *call, const cli_verb *verb) {
    static const char *const of_shape[] = {"batch", "steps", "input", "layers", "bi", "classes"};
    for (size_t k = 0; k < sizeof of_shape / sizeof *of_shape; k++)
        if (!call->hidden && cli_given(verb, of_shape[k]))
            return cli_say_fail(CAR_USAGE, "bench: --%s describes one shape; give its --hidden too",
                                of_shape[k]);
    if (call->hidden && !strcmp(call->grid, "all"))
        return cli_say_fail(CAR_USAGE,
                            "bench: what to measure of this shape? give --grid training, "
                            "inference, streaming or products");
    if (call->classes && strcmp(call->grid, "training") != 0)
        return cli_say_fail(CAR_USAGE, "bench: --classes is for --grid training");
    if (!strcmp(call->grid, "training") && !strcmp(call->precision, "int8"))
        return cli_say_fail(CAR_USAGE, "bench: int8 is for running a model; choose another --grid");
    return CLI_GO_ON;
}

int cli_bench(int argc, char **argv) {
    bench_call call = {
        .grid = "all", .precision = "f32", .batch = 1, .steps = 1, .layers = 1, .seconds = 1};
    cli_option options[] = {
        {.kind = CLI_HEADING, .help = "Options"},
        {.name = "grid",
         .kind = CLI_CHOICE,
         .value = &call.grid,
         .choices = "all|training|inference|streaming|products",
         .argument = "WHAT",
         .help = "all, training, inference, streaming or products"},
        {.name = "cell",
         .kind = CLI_LIST,
         .value = &call.cells,
         .argument = "NAME|FILE",
         .help = "a cell of the zoo, or yours; may be repeated",
         .default_text = "lstm, gru, rnn"},
        {.name = "precision",
         .kind = CLI_CHOICE,
         .value = &call.precision,
         .choices = "f32|bf16|int8",
         .argument = "NAME",
         .help = "of matrix products: f32, bf16 or int8 (all but training)"},
        {.name = "threads",
         .kind = CLI_INT,
         .value = &call.threads,
         .minimum = 0,
         .maximum = 64,
         .argument = "N",
         .help = "threads of training and inference",
         .default_text = "all processors"},
        {.name = "seconds",
         .kind = CLI_DOUBLE,
         .value = &call.seconds,
         .minimum = 0.001,
         .maximum = 600,
         .argument = "S",
         .help = "how long each shape is run; a twentieth of it for each figure of the machine"},
        {.name = "quick",
         .kind = CLI_FLAG,
         .value = &call.quick,
         .help = "--seconds 0.02: rough figures"},
        {.name = "json",
         .kind = CLI_FLAG,
         .value = &call.json,
         .transient = true,
         .help = "as JSON"},
        {.kind = CLI_HEADING, .help = "One shape in place of a grid's"},
        {.name = "hidden",
         .kind = CLI_INT,
         .value = &call.hidden,
         .minimum = 1,
         .maximum = MOST_SIZE,
         .argument = "N",
         .help = "units of a layer; of a product the columns",
         .default_text = "the grid"},
        {.name = "input",
         .kind = CLI_INT,
         .value = &call.input,
         .minimum = 1,
         .maximum = MOST_SIZE,
         .argument = "N",
         .help = "inputs; of a product the depth",
         .default_text = "as many as units"},
        {.name = "batch",
         .kind = CLI_INT,
         .value = &call.batch,
         .minimum = 1,
         .maximum = MOST_SIZE,
         .argument = "N",
         .help = "sequences side by side; of a product the rows"},
        {.name = "steps",
         .kind = CLI_INT,
         .value = &call.steps,
         .minimum = 1,
         .maximum = MOST_SIZE,
         .argument = "N",
         .help = "time steps"},
        {.name = "layers",
         .kind = CLI_INT,
         .value = &call.layers,
         .minimum = 1,
         .maximum = 64,
         .argument = "N",
         .help = "layers"},
        {.name = "bi", .kind = CLI_FLAG, .value = &call.bidirectional, .help = "both directions"},
        {.name = "classes",
         .kind = CLI_INT,
         .value = &call.classes,
         .minimum = 2,
         .maximum = MOST_SIZE,
         .argument = "N",
         .help = "training of a whole language model with so many words",
         .default_text = "layers alone"},
    };
    const cli_verb verb = {
        .name = "bench",
        .summary = "how fast this machine is, and how near Carousel comes",
        .usage = "[options]",
        .examples = "carousel bench\n"
                    "carousel bench --grid training --cell lstm --threads 1\n"
                    "carousel bench --grid streaming --cell my.cell --json\n"
                    "carousel bench --grid training --hidden 300 --batch 16 --steps 50\n",
        .notes = "First the machine: fma, bf16 dot products and AMX in registers, reads from\n"
                 "each cache and from memory. Then the shapes, medians. GFLOP/s counts products\n"
                 "alone.\n"
                 "`roofline` is the least time by that peak and by the weights that each step\n"
                 "reads; `reached` is roofline / time. Layers alone, without head and optimizer,\n"
                 "but in the row `lm`: embedding, layers, softmax over 10,000, clipping, SGD.\n"
                 "CAROUSEL_CPU and CAROUSEL_NATIVE=0 show lower levels and the interpreter.\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    if (call.quick)
        call.seconds = 0.02;
    car_text_start(&call.rows, NULL);
    code = check(&call, &verb);
    if (code == CLI_GO_ON)
        code = run(&call);
    car_text_free(&call.rows);
    cli_arguments_free(&arguments);
    return code;
}
