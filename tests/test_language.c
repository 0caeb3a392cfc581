/*
 * test_language.c: texts of cells, accepted and refused; the canonical form; printing; fingerprints.
 *
 * The examples come out of docs/cells.md, so that the page cannot say what is not so.
 */
#include "language.h"
#include <locale.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Help --------------------------------------------------------------------------------------------- */

static car_cell *compile_ok(const char *text) {
    car_cell *cell = NULL;
    car_error error = {.status = CAR_OK};
    if (car_cell_compile(text, strlen(text), "test.cell", NULL, &cell, &error) != CAR_OK)
        fail_msg("%s\n%s", error.message, text);
    return cell;
}

/* Compiles what must be refused and returns the message's place. */
static void compile_fails(const char *text, size_t length, car_error *error) {
    car_cell *cell = (car_cell *)1;
    *error = (car_error){.status = CAR_OK};
    car_status status = car_cell_compile(text, length, "test.cell", NULL, &cell, error);
    if (status == CAR_OK)
        fail_msg("accepted:\n%.*s", (int)length, text);
    assert_int_equal(status, CAR_DATA);
    assert_int_equal(error->status, CAR_DATA);
    assert_null(cell);
    assert_true(strncmp(error->message, "test.cell:", 10) == 0);
    if (!strstr(error->message, "; "))
        fail_msg("no next step: %s", error->message);
    assert_null(strchr(error->message, '\n'));
}

static void refuse(const char *text, int line, int column, const char *part) {
    car_error error;
    compile_fails(text, strlen(text), &error);
    if (error.line != line || error.column != column || !strstr(error.message, part))
        fail_msg("%d:%d '%s' expected, got: %s", line, column, part, error.message);
}

static void assert_same_fingerprint(const char *a, const char *b) {
    car_cell *first = compile_ok(a), *second = compile_ok(b);
    if (strcmp(car_cell_fingerprint(first), car_cell_fingerprint(second)) != 0)
        fail_msg("different fingerprints:\n%s\n%s", a, b);
    car_cell_free(first);
    car_cell_free(second);
}

static void assert_other_fingerprint(const char *a, const char *b) {
    car_cell *first = compile_ok(a), *second = compile_ok(b);
    if (strcmp(car_cell_fingerprint(first), car_cell_fingerprint(second)) == 0)
        fail_msg("equal fingerprints:\n%s\n%s", a, b);
    car_cell_free(first);
    car_cell_free(second);
}

/* ---- docs/cells.md ------------------------------------------------------------------------------------ */

static char *read_page(size_t *length) {
    const char *path = SOURCE_ROOT "/docs/cells.md";
    char *page = NULL;
    car_error error;
    if (car_file_read(path, 1 << 20, NULL, &page, length, &error) != CAR_OK)
        fail_msg("%s", error.message);
    return page;
}

/* The inside of the next fenced block marked `kind` at or after `from`; NULL: none. */
static char *next_block(const char *from, const char *kind, const char **after) {
    char fence[32];
    snprintf(fence, sizeof fence, "\n```%s\n", kind);
    const char *begin = strstr(from, fence);
    if (!begin)
        return NULL;
    begin += strlen(fence);
    const char *end = strstr(begin, "```\n");
    assert_non_null(end);
    *after = end;
    char *block = calloc((size_t)(end - begin) + 1, 1);
    assert_non_null(block);
    memcpy(block, begin, (size_t)(end - begin));
    return block;
}

static void accepted_examples(void **unused) {
    (void)unused;
    size_t length;
    char *page = read_page(&length);
    const char *at = page;
    int count = 0;
    for (char *block; (block = next_block(at, "cell", &at)); count++) {
        car_cell_free(compile_ok(block));
        free(block);
    }
    assert_true(count >= 12);
    car_release(NULL, page);
}

static void refused_examples(void **unused) {
    (void)unused;
    size_t length;
    char *page = read_page(&length);
    const char *at = page;
    int count = 0;
    for (char *block; (block = next_block(at, "refused", &at)); count++) {
        char *message = next_block(at, "message", &at);
        car_cell *cell;
        car_error error = {.status = CAR_OK};
        assert_int_equal(car_cell_compile(block, strlen(block), "my.cell", NULL, &cell, &error),
                         CAR_DATA);
        message[strlen(message) - 1] = '\0';
        assert_string_equal(error.message, message);
        free(message);
        free(block);
    }
    assert_true(count >= 12);
    car_release(NULL, page);
}

/* Every cell of the zoo stands in the page's table with its summary. */
static void zoo_in_page(void **unused) {
    (void)unused;
    size_t length;
    char *page = read_page(&length);
    const car_zoo_entry *entries;
    int count = car_zoo_entries(&entries);
    assert_int_equal(count, car_zoo_count());
    for (int i = 0; i < count; i++) {
        char row[400];
        snprintf(row, sizeof row, "\n| `%s` | %s |\n", entries[i].name, entries[i].summary);
        if (!strstr(page, row))
            fail_msg("docs/cells.md lacks the row %s", row);
        assert_string_equal(car_zoo_name(i), entries[i].name);
        assert_ptr_equal(car_zoo_text(entries[i].name), entries[i].text);
    }
    assert_null(car_zoo_name(count));
    assert_null(car_zoo_name(-1));
    assert_null(car_zoo_text("no such cell"));
    car_release(NULL, page);
}

/* ---- Errors ------------------------------------------------------------------------------------------- */

static void places_of_errors(void **unused) {
    (void)unused;
    refuse("", 1, 1, "header");
    refuse("# only a comment\n", 2, 1, "header");
    refuse("cell a(x) -> y\ny = tanh(W@x\n", 3, 1, "')'");
    refuse("cell a(x) -> y\ny = W@x V@x\n", 2, 9, "found 'V'");
    refuse("cell a(x) -> y\ny = W@x + $\n", 2, 11, "'$'");
    refuse("cell a(x) -> y\ny = W@x + \xc3\xa9\n", 2, 11, "0xc3");
    refuse("cell a(x) -> y\ny = W@x # \xff\n", 2, 11, "UTF-8");
    refuse("cell a(x) -> y\ny = W@x + 1e39\n", 2, 11, "float");
    refuse("cell a(x) -> y\ny = W@x + 1e-39\n", 2, 11, "float");
    refuse("cell a(x) -> y\ny = W@x + 1.5.2\n", 2, 14, "found '.2'");
    refuse("cell a(x) -> y\ny = (W@x)@x\n", 2, 5, "left of @");
    refuse("cell a(x) -> y\ny = w@x\n", 2, 5, "small first letter");
    refuse("cell a(x) -> y\ny = x@x\n", 2, 5, "the input");
    refuse("cell a(x) -> h\nstate h\nh' = h'@x\n", 3, 6, "left of @");
    refuse("cell a(x) -> y\nZ = W@x\ny = Z@x\n", 3, 5, "defined by an equation");
    refuse("cell a(x) -> x\n", 1, 14, "the input itself");
    refuse("cell a(x) -> y\ny = b\n", 1, 8, "never used");
    refuse("cell a(x) -> y\nstate x\nx' = W@x\ny = x\n", 2, 7, "is the input");
    refuse("cell a(x) -> h\nstate h, h\nh' = W@x\n", 2, 10, "twice");
    refuse("cell a(x) -> h\nstate h\nh = W@x\nh' = V@x\n", 3, 1, "is a state");
    refuse("cell a(x) -> h\nstate h\nh' = W@x\nx = h\n", 4, 1, "is the input");
    refuse("cell a(x) -> y\nz' = W@x\ny = x\n", 2, 1, "no state");
    refuse("cell a(x) -> y\nstate c\nc' = W@x\ny = V@x\n", 2, 7, "never read");
    refuse("cell a(x) -> h\nstate h, c\nh' = W@x + c\nc' = 2*b\n", 4, 1, "never changes");
    refuse("cell a(x) -> h\nstate h\nh' = tanh(W@x + U@h')\n", 3, 1, "h' needs h'");
    refuse("cell a(x) -> y\ny = z\nz = w\nw = y + x\n", 2, 1, "y needs z needs w needs y");
    refuse("cell a(x) -> y\ny = layernorm(x, x)\n", 2, 5, "takes 1 argument");
    refuse("cell a(x) -> y\ny = sigmoid\n", 2, 5, "reserved");
    refuse("cell a(x) -> y\ny = W@[x', x]\n", 2, 8, "plain name");
    refuse("cell a(x) -> y\ny = W@[x, x\n", 3, 1, "']'");
    refuse("cell a(x) -> y\ny = w.v*x\n", 2, 5, "dot");
    refuse("cell embed(x) -> y\ny = W@x\n", 1, 6, "nets");
    refuse("cell x2(x) -> y\ny = W@x\n", 1, 6, "nets");
    refuse("cell a(x) -> y\ny = W@x\ncell b(x) -> y\n", 3, 1, "second header");
    refuse("cell a(x) -> y extra\ny = W@x\n", 1, 16, "end of the line");
    refuse("cell a(x) -> y\ny = W@x\ninit q = 1\n", 3, 6, "no parameter");
    refuse("cell a(x) -> y\ny = W@x\ninit W = \n", 3, 10, "number");
    refuse("cell a(x) -> y\ny = W@x\ninit W = 1 2\n", 3, 10, "initial value");
    refuse("cell a(x) -> y\ny = W@x\ninit W = 1\ninit W = 2\n", 4, 6, "already");
    refuse("cell a(x) -> y\ny = W@x\ninit W = chrono(9)\n", 3, 10, "vector");
    refuse("cell a(x) -> h\nstate h\nh' = W@x\ninit h = uniform\n", 4, 10, "number only");
    refuse("cell a(x) -> y\ny = W@x\ngate z\n", 3, 6, "no equation");
    refuse("cell a(x) -> y\ny = W@x\ntorch weight = V\n", 3, 16, "no parameter");
    refuse("cell a(x) -> y\ny = W@x\ntorch weight = \n", 3, 16, "parameters");
    refuse("cell a(x) -> y\ny = W@x\ntorch w = W\ntorch w = W\n", 4, 7, "already");
    refuse("cell a(x) -> y\ny = W@x + b\ntorch w = W b\n", 3, 13, "[n][input]");
}

static void gate_without_value(void **unused) {
    (void)unused;
    car_cell *cell;
    car_error error;
    const char *text = "cell a(x) -> y\nz = W@x + V@x\ny = tanh(z + b)\ngate z\n";
    assert_int_equal(car_cell_compile(text, strlen(text), "test.cell", NULL, &cell, &error),
                     CAR_DATA);
    assert_non_null(strstr(error.message, "gate 'z'"));
}

static void nul_and_size(void **unused) {
    (void)unused;
    car_error error;
    const char with_nul[] = "cell a(x) -> y\ny = W@x\0 + b\n";
    compile_fails(with_nul, sizeof with_nul - 1, &error);
    assert_int_equal(error.line, 2);
    const char in_comment[] = "cell a(x) -> y # \0\ny = W@x\n";
    compile_fails(in_comment, sizeof in_comment - 1, &error);
    size_t size = 64 * 1024 + 1;
    char *large = malloc(size);
    assert_non_null(large);
    memset(large, '#', size);
    compile_fails(large, size, &error);
    assert_non_null(strstr(error.message, "65536"));
    free(large);
}

static void add_times(car_text *text, const char *part, int times) {
    for (int i = 0; i < times; i++)
        car_text_add(text, part, strlen(part));
}

static void too_much(const char *begin, const char *open, const char *middle, const char *close,
                     int times, const char *part) {
    car_text text;
    car_text_start(&text, NULL);
    car_text_add(&text, begin, strlen(begin));
    add_times(&text, open, times);
    car_text_add(&text, middle, strlen(middle));
    add_times(&text, close, times);
    assert_false(text.failed);
    car_error error;
    compile_fails(text.data, text.length, &error);
    if (!strstr(error.message, part))
        fail_msg("'%s' expected: %s", part, error.message);
    car_text_free(&text);
}

static void limits(void **unused) {
    (void)unused;
    const char *begin = "cell a(x) -> y\ny = W@x + ";
    too_much(begin, "(", "x", ")", 65, "nested");
    too_much(begin, "tanh(", "x", ")", 5000, "nested");
    too_much(begin, "-", "x", "", 60000, "nested");
    too_much(begin, "W@", "x", "", 20000, "nested");
    too_much(begin, "x+", "x", "", 600, "more than 512");
    too_much(begin, "x+", "x", "", 30000, "more than 4096");
    too_much("cell a(x) -> y\ny = ", "a", "", "", 65, "name of 65");
    too_much("cell ", "a", "", "", 65, "name of 65");
    too_much("cell a(x) -> y\ny = W@x + 1", "0", "", "", 70, "number");
    too_much("cell a(x) -> y\nstate s", ", s", "", "", 40, "more than 32");
    too_much("cell a(x) -> y\n", "y = x\n", "", "", 600, "more than 512 equations");
    too_much("cell a(x) -> y\ny = x\n", "init y = 1\n", "", "", 600, "more than 512 init");
    car_cell_free(
        compile_ok("cell a(x) -> y\n"
                   "y = ((((((((((((((((((((((((((((((((x))))))))))))))))))))))))))))))))\n"));
}

/* Any beginning of a good text either compiles or is refused with a place. */
static void truncations(void **unused) {
    (void)unused;
    const car_zoo_entry *entries;
    int count = car_zoo_entries(&entries), refused = 0;
    for (int i = 0; i < count; i++)
        for (size_t length = 0; length < strlen(entries[i].text); length++) {
            car_cell *cell;
            car_error error = {.status = CAR_OK};
            car_status status =
                car_cell_compile(entries[i].text, length, entries[i].name, NULL, &cell, &error);
            if (status == CAR_OK) {
                car_cell_free(cell);
                continue;
            }
            assert_int_equal(status, CAR_DATA);
            assert_true(error.line >= 1 && error.column >= 1);
            refused++;
        }
    assert_true(refused > 1000);
}

/* One byte of a good text replaced: no crash, and a place whenever it is refused. */
static void damaged_texts(void **unused) {
    (void)unused;
    const char *text = car_zoo_text("lstm-peephole");
    static const char bytes[] = {'\0', '\n', '(', ')', '@',    '\'', '=',
                                 '9',  'W',  'x', '#', '\xff', ',',  '-'};
    size_t length = strlen(text);
    char *copy = malloc(length);
    assert_non_null(copy);
    for (size_t at = 0; at < length; at++)
        for (size_t b = 0; b < sizeof bytes; b++) {
            memcpy(copy, text, length);
            copy[at] = bytes[b];
            car_cell *cell;
            car_error error = {.status = CAR_OK};
            car_status status = car_cell_compile(copy, length, "test.cell", NULL, &cell, &error);
            assert_true(status == CAR_OK || (status == CAR_DATA && *error.message));
            if (status == CAR_OK)
                car_cell_free(cell);
        }
    free(copy);
}

/* ---- Memory ------------------------------------------------------------------------------------------- */

typedef struct failing {
    int left, blocks;
} failing;

static void *failing_allocate(void *context, size_t size, size_t alignment) {
    failing *state = context;
    if (state->left-- <= 0)
        return NULL;
    state->blocks++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void failing_release(void *context, void *block) {
    failing *state = context;
    state->blocks--;
    free(block);
}

static void every_allocation_fails_once(void **unused) {
    (void)unused;
    const char *text = car_zoo_text("slstm");
    bool compiled = false;
    for (int n = 0; !compiled; n++) {
        assert_true(n < 1000);
        failing state = {.left = n};
        car_allocator allocator = {&state, failing_allocate, failing_release};
        car_cell *cell;
        car_error error = {.status = CAR_OK};
        car_status status =
            car_cell_compile(text, strlen(text), "slstm", &allocator, &cell, &error);
        compiled = status == CAR_OK;
        if (!compiled) {
            assert_int_equal(status, CAR_MEMORY);
            assert_null(cell);
            assert_true(strlen(error.message) > 0);
        } else {
            assert_true(n > 3);
            car_cell_free(cell);
        }
        assert_int_equal(state.blocks, 0);
    }
}

/* ---- What is in a cell -------------------------------------------------------------------------------- */

static const car_parameter *parameter(const struct car_cell *cell, const char *name) {
    for (int i = 0; i < cell->parameter_count; i++)
        if (strcmp(cell->parameters[i].name, name) == 0)
            return &cell->parameters[i];
    fail_msg("no parameter %s", name);
    return NULL;
}

static void parameters_and_inits(void **unused) {
    (void)unused;
    struct car_cell *cell = compile_ok("cell a(x) -> h\nstate h, m\n"
                                       "h' = tanh(W@[x, h] + p*h + bias) + m'\n"
                                       "m' = m + K@x\n"
                                       "init W.h = identity*0.5\ninit p = uniform(0.1)\n"
                                       "init bias = chrono(100)\ninit m = -1e30\n"
                                       "torch a = W.x K\ntorch b = 0 bias\ntorch c = 0\n");
    assert_string_equal(car_cell_name(cell), "a");
    assert_int_equal(cell->parameter_count, 5);
    assert_int_equal(parameter(cell, "W.x")->kind, CAR_MATRIX);
    assert_true(parameter(cell, "W.x")->from_input);
    assert_int_equal(parameter(cell, "W.x")->init.kind, CAR_INIT_DEFAULT);
    assert_false(parameter(cell, "W.h")->from_input);
    assert_int_equal(parameter(cell, "W.h")->init.kind, CAR_INIT_IDENTITY);
    assert_true(parameter(cell, "W.h")->init.value == 0.5);
    assert_int_equal(parameter(cell, "p")->kind, CAR_VECTOR);
    assert_int_equal(parameter(cell, "p")->init.kind, CAR_INIT_UNIFORM);
    assert_int_equal(parameter(cell, "bias")->kind, CAR_BIAS);
    assert_int_equal(parameter(cell, "bias")->init.kind, CAR_INIT_CHRONO);
    assert_int_equal(parameter(cell, "bias")->line, 3);
    assert_int_equal(parameter(cell, "bias")->column, 28);
    assert_false(cell->input_is_hidden);
    assert_true(cell->state_init[0].value == 0 && cell->state_init[1].value == -1e30);
    assert_int_equal(cell->torch_count, 3);
    assert_int_equal(cell->torch[0].count, 2);
    assert_int_equal(cell->torch[1].count, 2);
    assert_int_equal(cell->torch[1].parameters[0], -1);
    assert_ptr_equal(&cell->parameters[cell->torch[1].parameters[1]], parameter(cell, "bias"));
    assert_int_equal(cell->torch[2].count, 0);
    car_cell_free(cell);
}

static void input_of_the_layer_size(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        int line, column;
    } cases[] = {
        {"cell a(x) -> y\ny = W@x\n", 0, 0},
        {"cell a(x) -> y\nu = x\ny = W@u\n", 0, 0},
        {"cell a(x) -> y\ny = W@x + x\n", 2, 11},
        {"cell a(x) -> y\ny = W@tanh(x)\n", 2, 12},
        {"cell a(x) -> y\nu = x\ny = W@x*u\n", 3, 9},
        {"cell a(x) -> h\nstate h\nh' = W@x + W@h\n", 3, 12},
        {"cell a(x) -> y\nstate p\np' = x\ny = W@p\n", 3, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct car_cell *cell = compile_ok(cases[i].text);
        assert_int_equal(cell->input_is_hidden, cases[i].line > 0);
        assert_int_equal(cell->input_line, cases[i].line);
        assert_int_equal(cell->input_column, cases[i].column);
        car_cell_free(cell);
    }
}

static void gates_of_cells(void **unused) {
    (void)unused;
    struct car_cell *cell = compile_ok(car_zoo_text("lstm"));
    assert_int_equal(cell->gate_count, 3);
    for (int g = 0; g < 3; g++)
        assert_int_equal(cell->graph.nodes[cell->gates[g]].op, CAR_OP_SIGMOID);
    assert_string_equal(cell->graph.names[cell->gates[0]], "i");
    car_cell_free(cell);
    cell = compile_ok("cell a(x) -> h\nstate h\nz = tanh(W@x)\nh' = z*h + V@x\ngate h, z\n");
    assert_int_equal(cell->gate_count, 2);
    assert_int_equal(cell->gates[0], cell->next[0]);
    assert_string_equal(cell->graph.names[cell->gates[1]], "z");
    car_cell_free(cell);
}

static void texts_of_inits(void **unused) {
    (void)unused;
    static const struct {
        const char *text, *printed;
        car_init_kind kind;
        double value;
    } good[] = {
        {"1", "1", CAR_INIT_NUMBER, 1},
        {" -0.25 ", "-0.25", CAR_INIT_NUMBER, -0.25},
        {"+3e2", "300", CAR_INIT_NUMBER, 300},
        {"uniform", "uniform", CAR_INIT_UNIFORM, 0},
        {"uniform(0.1)", "uniform(0.1)", CAR_INIT_UNIFORM, 0.1},
        {"orthogonal", "orthogonal", CAR_INIT_ORTHOGONAL, 1},
        {"orthogonal( 2 )", "orthogonal(2)", CAR_INIT_ORTHOGONAL, 2},
        {"identity", "identity", CAR_INIT_IDENTITY, 1},
        {"identity * -1", "identity*-1", CAR_INIT_IDENTITY, -1},
        {"walk", "walk", CAR_INIT_WALK, 0},
        {"walk(1.1)", "walk(1.1)", CAR_INIT_WALK, 1.1},
        {"chrono(200)", "chrono(200)", CAR_INIT_CHRONO, 200},
        {"- chrono(200)", "-chrono(200)", CAR_INIT_CHRONO, -200},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        car_init init, again;
        car_error error = {.message = ""};
        if (car_init_parse(good[i].text, &init, &error) != CAR_OK)
            fail_msg("%s", error.message);
        assert_int_equal(init.kind, good[i].kind);
        assert_true(init.value == good[i].value);
        car_text text;
        car_text_start(&text, NULL);
        car_init_print(&text, init);
        assert_string_equal(text.data, good[i].printed);
        assert_int_equal(car_init_parse(text.data, &again, NULL), CAR_OK);
        assert_true(again.kind == init.kind && again.value == init.value);
        car_text_free(&text);
    }
    static const char *const bad[] = {"",
                                      "x",
                                      "--1",
                                      "1e99",
                                      "uniform(",
                                      "uniform(0)",
                                      "uniform(-1)",
                                      "chrono",
                                      "chrono(1)",
                                      "-chrono",
                                      "-chrono(1)",
                                      "chrono(-9)",
                                      "--chrono(9)",
                                      "identity*",
                                      "identity(2)",
                                      "walk 2",
                                      "orthogonal(1) 2",
                                      "nan",
                                      "1 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        car_init init;
        if (car_init_parse(bad[i], &init, NULL) != CAR_DATA)
            fail_msg("accepted: %s", bad[i]);
    }
}

/* Numbers mean the same when the program has set a locale with a decimal comma. */
static void numbers_in_any_locale(void **unused) {
    (void)unused;
    const char *text = "cell a(x) -> y\ny = W@x*0.125\ninit W = uniform(1.5)\n";
    const char *names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "C"};
    for (int i = 0; i < 3; i++) {
        bool set = setlocale(LC_NUMERIC, names[i]) != NULL;
        if (!set)
            print_message("locale %s is not installed: skipped\n", names[i]);
        struct car_cell *cell = compile_ok(text);
        assert_true(cell->parameters[0].init.value == 1.5);
        car_text printed;
        car_text_start(&printed, NULL);
        car_cell_print(&printed, cell);
        assert_string_equal(printed.data, text);
        car_text_free(&printed);
        car_cell_free(cell);
    }
    setlocale(LC_NUMERIC, "C");
}

/* ---- Canonical form ----------------------------------------------------------------------------------- */

static void assert_graph(const char *text, const char *expected) {
    car_cell *cell = compile_ok(text);
    car_text printed;
    car_text_start(&printed, NULL);
    car_graph_print(&printed, cell, &cell->graph);
    if (strcmp(printed.data, expected) != 0)
        fail_msg("expected\n%sgot\n%s", expected, printed.data);
    car_text_free(&printed);
    car_cell_free(cell);
}

static void product_chains(void **unused) {
    (void)unused;
    /* bias, x, no state, others, the rest; whatever the order of the groups in the text */
    assert_graph("cell a(x) -> h\nstate h\nh' = tanh(h*h + U@h + V@tanh(x) + W@x + b)\n",
                 "%0 = state h\n%1 = multiply %0 %0\n%2 = input\n%3 = tanh %2\n%4 = vector b\n"
                 "%5 = product W %2 + %4\n%6 = product V %3 + %5\n%7 = product U %0 + %6\n"
                 "%8 = add %7 %1\n%9 = tanh %8 ; h'\n");
    /* equations in between are looked through; what is subtracted is no link */
    assert_graph("cell a(x) -> y\np = W@x\nq = p + V@x\ny = q - T@x\n",
                 "%0 = input\n%1 = product T %0\n%2 = product W %0\n%3 = product V %0 + %2\n"
                 "%4 = subtract %3 %1 ; y\n");
    /* a product with two users stands alone */
    assert_graph("cell a(x) -> y\np = W@x\ny = (p + V@x + b)*p\n",
                 "%0 = input\n%1 = product W %0 ; p\n%2 = vector b\n%3 = product V %0 + %2\n"
                 "%4 = add %3 %1\n%5 = multiply %1 %4 ; y\n");
    /* one bias in two sums heads both chains */
    assert_graph("cell a(x) -> y\ny = tanh(W@x + b)*tanh(V@x + b)\n",
                 "%0 = input\n%1 = vector b\n%2 = product W %0 + %1\n%3 = tanh %2\n%4 = vector b\n"
                 "%5 = product V %0 + %4\n%6 = tanh %5\n%7 = multiply %3 %6 ; y\n");
}

static void identities(void **unused) {
    (void)unused;
    assert_same_fingerprint("cell a(x) -> y\ny = --(W@x)*1/1\n", "cell a(x) -> y\ny = W@x\n");
    assert_same_fingerprint("cell a(x) -> y\ny = (W@x)*(0.5 + 0.25)\n",
                            "cell a(x) -> y\ny = 0.75*(W@x)\n");
    assert_same_fingerprint("cell a(x) -> y\ny = tanh(W@x)*tanh(W@x)\n",
                            "cell a(x) -> y\nt = tanh(W@x)\ny = t*t\n");
    /* 0.1 + 0.2 differs from 0.3 in float as in double: no folding may hide it */
    assert_other_fingerprint("cell a(x) -> y\ny = W@x*0.1*3\n", "cell a(x) -> y\ny = W@x*0.3\n");
}

/* What two constants make is not put in their place where no text could write it: the printed cell is read again. */
static void folded_constants_can_be_written(void **unused) {
    (void)unused;
    static const char *const texts[] = {
        "cell a(x) -> y\ny = W@x + 9/8e33/844575\n",  /* 1.3e-39 */
        "cell a(x) -> y\ny = W@x + 1e-30*-1e-10\n",   /* -1e-40 */
        "cell a(x) -> y\ny = W@x + 2e38*2\n",         /* 4e38 */
        "cell a(x) -> y\ny = W@x + 1.5e-38*0.9375\n", /* above the least float */
    };
    for (int i = 0; i < 4; i++) {
        struct car_cell *cell = compile_ok(texts[i]);
        car_text printed;
        car_text_start(&printed, NULL);
        car_cell_print(&printed, cell);
        assert_same_fingerprint(texts[i], printed.data);
        car_text_free(&printed);
        car_cell_free(cell);
    }
}

static void fingerprints_differ(void **unused) {
    (void)unused;
    static const char *const texts[] = {
        "cell a(x) -> h\nstate h\nh' = tanh(W@x + U@h + b)\n",
        "cell a(x) -> h\nstate h\nh' = tanh(W@x + U@h)\n",
        "cell a(x) -> h\nstate h\nh' = sigmoid(W@x + U@h + b)\n",
        "cell a(x) -> h\nstate h\nh' = tanh(W@x - U@h + b)\n",
        "cell a(x) -> h\nstate h\nh' = tanh(W@x + u*h + b)\n",
        "cell a(x) -> h\nstate h\nh' = tanh(W@x + W@h + b)\n",
        "cell a(x) -> h\nstate h\nh' = tanh(W@x + U@h + 1)\n",
        "cell a(x) -> h\nstate h\nh' = tanh(W@x + U@h + 2)\n",
        "cell a(x) -> h\nstate h, c\nh' = tanh(W@x + U@h + c)\nc' = h\n",
        "cell a(x) -> h\nstate h, c\nh' = tanh(W@x + U@h + c)\nc' = h'\n",
        "cell a(x) -> c\nstate h, c\nh' = tanh(W@x + U@h + c)\nc' = h\n",
        "cell a(x) -> h\nstate h\nh' = max(W@x, U@h) + min(V@x, b)\n",
        "cell a(x) -> h\nstate h\nh' = max(W@x, b) + min(V@x, U@h)\n",
        "cell a(x) -> h\nstate h\nh' = (W@x + b)/(U@h)\n",
        "cell a(x) -> h\nstate h\nh' = (U@h)/(W@x + b)\n",
    };
    int count = (int)(sizeof texts / sizeof texts[0]);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++)
            assert_other_fingerprint(texts[i], texts[j]);
}

/* A ring of six states and two rings of three look alike from every single state. */
static void fingerprint_of_rings(void **unused) {
    (void)unused;
    static const char *const head =
        "cell a(x) -> y\nstate p, q, r, s, t, u\ny = W@x + p*q*r*s*t*u\n";
    char six[400], threes[400], turned[400];
    snprintf(six, sizeof six,
             "%sp' = q+0.5\nq' = r+0.5\nr' = s+0.5\ns' = t+0.5\nt' = u+0.5\nu' = p+0.5\n", head);
    snprintf(threes, sizeof threes,
             "%sp' = q+0.5\nq' = r+0.5\nr' = p+0.5\ns' = t+0.5\nt' = u+0.5\nu' = s+0.5\n", head);
    snprintf(turned, sizeof turned,
             "%sp' = s+0.5\ns' = q+0.5\nq' = u+0.5\nu' = r+0.5\nr' = t+0.5\nt' = p+0.5\n", head);
    assert_other_fingerprint(six, threes);
    /* the order inside p*q*r*s*t*u is part of the maths, so `turned` is only equal where all are alike */
    static const char *const sums[] = {
        "cell a(x) -> p\nstate p, q, r\np' = W@x + q\nq' = r+0.5\nr' = p+0.5\n",
        "cell a(x) -> r\nstate q, p, r\nr' = W@x + p\np' = q+0.5\nq' = r+0.5\n"};
    assert_same_fingerprint(sums[0], sums[1]);
    assert_other_fingerprint(turned, threes);
}

/* ---- Renaming ----------------------------------------------------------------------------------------- */

static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_word(const char *name, size_t length) {
    static const char *const words[] = {"cell", "state", "init", "gate",      "sigmoid",  "tanh",
                                        "relu", "exp",   "log",  "sqrt",      "softplus", "abs",
                                        "max",  "min",   "mean", "layernorm", "uniform"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i]) == length && strncmp(words[i], name, length) == 0)
            return true;
    return false;
}

/* One line with every name replaced: the first letter stays, since it makes the kind. */
static void rename_line(car_text *out, const char *line, size_t length) {
    bool header = strncmp(line, "cell ", 5) == 0, number = false;
    for (size_t i = 0; i < length;) {
        size_t end = i;
        while (end < length && is_name_byte(line[end]))
            end++;
        if (end == i || number || (line[i] >= '0' && line[i] <= '9') ||
            is_word(line + i, end - i) || (header && i < strcspn(line, "("))) {
            end = end > i ? end : i + 1;
            car_text_add(out, line + i, end - i);
        } else {
            car_text_add(out, line + i, 1);
            car_text_add(out, "_new_", 5);
            car_text_add(out, line + i, end - i);
        }
        number = end < length && end > i && line[end - 1] >= '0' && line[end - 1] <= '9' &&
                 line[end] == '.';
        i = end;
    }
    car_text_add(out, "\n", 1);
}

/* The text with other names, its lines after the header in the opposite order, its states too. */
static void disguise(car_text *out, const char *text) {
    const char *lines[200] = {NULL};
    size_t lengths[200] = {0};
    int count = 0, header = -1;
    for (const char *at = text; *at; at += *at == '\n') {
        size_t length = strcspn(at, "\n");
        if (length && *at != '#' && strncmp(at, "torch", 5) != 0) {
            if (strncmp(at, "cell ", 5) == 0)
                header = count;
            lines[count] = at;
            lengths[count++] = strcspn(at, "#\n");
        }
        at += length;
    }
    assert_true(header == 0);
    rename_line(out, lines[0], lengths[0]);
    for (int i = count - 1; i > 0; i--) {
        if (strncmp(lines[i], "state ", 6) != 0) {
            rename_line(out, lines[i], lengths[i]);
            continue;
        }
        size_t end = lengths[i];
        while (end > 6) {
            size_t begin = end;
            while (begin > 6 && lines[i][begin - 1] != ',')
                begin--;
            car_text_add(out, "state ", 6);
            while (lines[i][begin] == ' ')
                begin++;
            rename_line(out, lines[i] + begin, end - begin);
            end = begin;
            while (end > 6 && (lines[i][end - 1] == ' ' || lines[i][end - 1] == ','))
                end--;
        }
    }
}

static void fingerprints_ignore_names_and_order(void **unused) {
    (void)unused;
    const car_zoo_entry *entries;
    int count = car_zoo_entries(&entries);
    for (int i = 0; i < count; i++) {
        car_text text;
        car_text_start(&text, NULL);
        disguise(&text, entries[i].text);
        assert_false(text.failed);
        assert_same_fingerprint(entries[i].text, text.data);
        assert_true(strstr(text.data, "_new_") != NULL);
        car_text_free(&text);
        for (int j = 0; j < i; j++)
            assert_other_fingerprint(entries[i].text, entries[j].text);
    }
}

/* ---- Printing ----------------------------------------------------------------------------------------- */

static void graph_lines_refused(void **unused) {
    (void)unused;
    static const char *const bad[] = {
        "",
        "%0 = input",
        "%1 = input\n",
        "%0 = input \n%0 = input\n",
        "%0 = nonsense\n",
        "%0 = state q\n",
        "%0 = vector W\n",
        "%0 = constant x\n",
        "%0 = constant 1e\n",
        "%0 = tanh %0\n",
        "%0 = tanh %1\n",
        "%0 = input\n%1 = add %0\n",
        "%0 = input\n%1 = tanh %0 %0\n",
        "%0 = input\n%1 = product b %0\n",
        "%0 = input\n%1 = product W %0 + \n",
        "%0 = input\n%1 = product W %0 + %9\n",
        "%0 = forward 99999\n",
        "%0 = forward 1000000000000\n",
        "%0 = output_gradient\n%1 = transposed_product 0 W %0\n",
        "%0 = state_gradient\n",
        "\n",
    };
    car_cell *cell = compile_ok(car_zoo_text("rnn"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        car_arena *arena = car_arena_create(NULL);
        car_graph graph;
        car_error error = {.message = ""};
        if (car_graph_parse(bad[i], cell, arena, &graph, &error) != CAR_DATA)
            fail_msg("accepted: %s", bad[i]);
        assert_true(strlen(error.message) > 0);
        car_arena_free(arena);
    }
    car_cell_free(cell);
}

static void explain_shows_everything(void **unused) {
    (void)unused;
    car_cell *cell = compile_ok(car_zoo_text("slstm"));
    car_text text;
    car_text_start(&text, NULL);
    car_cell_explain(cell, &text);
    assert_false(text.failed);
    assert_non_null(strstr(text.data, cell->fingerprint));
    assert_non_null(strstr(text.data, "m     state   [n]         -1e+30"));
    assert_non_null(strstr(text.data, "Wi    matrix  [n][input]  default"));
    assert_non_null(strstr(text.data, "bf    bias    [n]         1"));
    assert_non_null(strstr(text.data, "transposed_product"));
    assert_non_null(strstr(text.data, "dWi += outer("));
    car_text_free(&text);
    car_cell_free(cell);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_examples),
        cmocka_unit_test(refused_examples),
        cmocka_unit_test(zoo_in_page),
        cmocka_unit_test(places_of_errors),
        cmocka_unit_test(gate_without_value),
        cmocka_unit_test(nul_and_size),
        cmocka_unit_test(limits),
        cmocka_unit_test(truncations),
        cmocka_unit_test(damaged_texts),
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(parameters_and_inits),
        cmocka_unit_test(input_of_the_layer_size),
        cmocka_unit_test(gates_of_cells),
        cmocka_unit_test(texts_of_inits),
        cmocka_unit_test(numbers_in_any_locale),
        cmocka_unit_test(product_chains),
        cmocka_unit_test(identities),
        cmocka_unit_test(folded_constants_can_be_written),
        cmocka_unit_test(fingerprints_differ),
        cmocka_unit_test(fingerprint_of_rings),
        cmocka_unit_test(fingerprints_ignore_names_and_order),
        cmocka_unit_test(graph_lines_refused),
        cmocka_unit_test(explain_shows_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
