/*
 * test_inspect.c: drawings of cells: what is read off a graph, that no wire runs through a part or along another, for
 * every cell of the zoo and some awkward ones; readings of a model against its own session.
 */
#include "figure.h"
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static car_cell *compile(const char *text, const char *name) {
    car_cell *cell = NULL;
    car_error error = {0};
    if (car_cell_compile(text, strlen(text), name, NULL, &cell, &error) != CAR_OK)
        fail_msg("%s", error.message);
    return cell;
}

static const char *const awkward[] = {
    "cell swap(x) -> y\nstate a, c\na' = tanh(c + W@x)\nc' = a\ny = max(a', c')\n",
    "cell delay(x) -> y\nstate p\np' = x\ny = tanh(W@x + V@p + b)\n",
    "cell late(x) -> y\nstate h, s\ny = relu(P@s' + bp)\ns' = 0.9*s + h'\nh' = tanh(W@x + U@s + "
    "b)\n",
    "cell peak(x) -> m\nstate m\nm' = max(m - 0.01, W@x)\ninit m = -1e30\n",
    "cell low-rank(x) -> h\nstate h\nf = sigmoid(Wf@x + U@V@h + bf)\nh' = f*h + (1 - "
    "f)*tanh(Wg@x)\n",
    "cell twice(x) -> y\ny = x*x + x\n",
    "cell gated(x) -> y\ny = x*sigmoid(W@x + b)\n",
    "cell same(x) -> h\nstate h, k\nk' = k\nh' = tanh(W@x + k)\n",
    "cell leaf(x) -> h\nstate h\nh' = max(h, v) / (W@x - 3) - abs(p*x + b)\n",
    "cell all(x) -> y\nstate a, b1, c, d\na' = a*d + W@x\nb1' = b1 + a'*c\nc' = tanh(c)/b1'\n"
    "d' = min(d, exp(-a'))\ny = a' + b1' - c'/d'\n",
    "cell averagely_long_name_for_a_cell(input_of_the_cell) -> hidden_state_of_the_cell\n"
    "state hidden_state_of_the_cell\na_rather_long_gate = sigmoid(W_long_name@input_of_the_cell + "
    "another_long_parameter*hidden_state_of_the_cell)\nhidden_state_of_the_cell' = "
    "a_rather_long_gate*hidden_state_of_the_cell + 1.25e-07\n",
};
enum { AWKWARD = sizeof awkward / sizeof *awkward };

/* ---- Wires --------------------------------------------------------------------------------------------- */

typedef struct car_sheet {
    const car_figure *figure;
    int *across, *along; /* [height][width] net on the edge to the right, below; -1 */
} car_sheet;

static int body_at(const car_figure *figure, int x, int y) {
    for (int i = 0; i < figure->count; i++) {
        int w, h;
        car_part_extent(&figure->parts[i], &w, &h);
        if (abs(x - figure->parts[i].x) <= w && abs(y - figure->parts[i].y) <= h)
            return i;
    }
    return -1;
}

static void draw_edge(const car_sheet *sheet, int x, int y, bool right, int net) {
    int *edge = (right ? sheet->across : sheet->along) + y * sheet->figure->width + x;
    assert_true(*edge < 0 || *edge == net);
    *edge = net;
}

static void check_wire(const car_sheet *sheet, const car_wire *wire) {
    const car_figure *figure = sheet->figure;
    const int *last = wire->points[wire->count - 1];
    assert_true(wire->count >= 2);
    assert_int_equal(body_at(figure, last[0], last[1]), wire->to);
    if (!wire->forked)
        assert_int_equal(body_at(figure, wire->points[0][0], wire->points[0][1]), wire->from);
    for (int i = 1; i < wire->count; i++) {
        int x = wire->points[i - 1][0], y = wire->points[i - 1][1];
        int dx = wire->points[i][0] - x, dy = wire->points[i][1] - y;
        assert_true((dx == 0) != (dy == 0));
        for (int k = abs(dx + dy); k > 0; k--) {
            if (dx != 0)
                draw_edge(sheet, dx > 0 ? x : x - 1, y, true, wire->from);
            else
                draw_edge(sheet, x, dy > 0 ? y : y - 1, false, wire->from);
            x += (dx > 0) - (dx < 0);
            y += (dy > 0) - (dy < 0);
            bool inner = i < wire->count - 1 || k > 1;
            if (inner)
                assert_int_equal(body_at(figure, x, y), -1);
        }
    }
}

/* Parts stand apart, belts are straight, every feed has its wire, no edge belongs to two nets. */
static void check_drawing(const car_figure *figure, const car_wiring *wiring) {
    size_t size = (size_t)figure->width * (size_t)figure->height;
    car_sheet sheet = {figure, malloc(size * sizeof(int)), malloc(size * sizeof(int))};
    memset(sheet.across, -1, size * sizeof(int));
    memset(sheet.along, -1, size * sizeof(int));
    int feeds = 0, wires = 0;
    for (int i = 0; i < figure->count; i++) {
        int w, h;
        car_part_extent(&figure->parts[i], &w, &h);
        feeds += figure->parts[i].feed_count;
        for (int y = figure->parts[i].y - h; y <= figure->parts[i].y + h; y++)
            for (int x = figure->parts[i].x - w; x <= figure->parts[i].x + w; x++)
                assert_int_equal(body_at(figure, x, y), i);
    }
    for (const car_wire *wire = wiring->first; wire; wire = wire->next, wires++) {
        check_wire(&sheet, wire);
        const car_part *from = &figure->parts[wire->from], *to = &figure->parts[wire->to];
        if (from->belt >= 0 && from->belt == to->belt)
            assert_int_equal(wire->count, 2);
    }
    assert_int_equal(wires, feeds);
    free(sheet.across);
    free(sheet.along);
}

static void check_cell(const car_cell *cell) {
    car_error error = {0};
    car_figure figure;
    car_wiring wiring;
    car_arena *arena = car_arena_create(NULL);
    if (car_figure_read(&figure, cell, arena, &error) != CAR_OK ||
        car_arrange(&figure, NULL, &wiring, &error) != CAR_OK)
        fail_msg("%s", error.message);
    check_drawing(&figure, &wiring);
    car_arena_free(arena);
}

static void test_wires_of_the_zoo(void **state) {
    (void)state;
    for (int i = 0; i < car_zoo_count(); i++) {
        car_cell *cell = compile(car_zoo_text(car_zoo_name(i)), car_zoo_name(i));
        check_cell(cell);
        car_cell_free(cell);
    }
}

static void test_wires_of_awkward_cells(void **state) {
    (void)state;
    for (int i = 0; i < AWKWARD; i++) {
        car_cell *cell = compile(awkward[i], "awkward");
        check_cell(cell);
        car_cell_free(cell);
    }
}

/* ---- What is read off a graph -------------------------------------------------------------------------- */

/* Is there a part with this name (NULL: none), label, inner label and weights? */
static void assert_part(const char *cell_name, const char *name, const char *label,
                        const char *inner, const char *weights) {
    car_figure figure;
    bool found = false;
    car_arena *arena = car_arena_create(NULL);
    car_cell *cell = compile(car_zoo_text(cell_name), cell_name);
    assert_int_equal(car_figure_read(&figure, cell, arena, NULL), CAR_OK);
    for (int i = 0; i < figure.count; i++) {
        const car_part *part = &figure.parts[i];
        bool named = name ? part->name && !strcmp(part->name, name) : !part->name;
        found |= named && !strcmp(part->label, label) && !strcmp(part->inner, inner) &&
                 !strcmp(part->weights, weights);
    }
    if (!found)
        fail_msg("%s: no part %s = %s of %s with %s", cell_name, name ? name : "-", label, inner,
                 weights);
    car_cell_free(cell);
    car_arena_free(arena);
}

static void test_labels(void **state) {
    (void)state;
    assert_part("lstm", "f", "σ", "", "Wf Uf bf");
    assert_part("lstm", "g", "tanh", "", "Wg Ug bg");
    assert_part("lstm", NULL, "tanh", "", "");
    assert_part("lstm", "c'", "+", "", "");
    assert_part("lstm-peephole", "o", "σ", "", "Wo Uo po bo");
    assert_part("lstm-1997", "g", "4σ−2", "", "Wg Ug bg");
    assert_part("lstm-1997", NULL, "2σ−1", "", "");
    assert_part("layernorm-lstm", "i", "σ", "norm", "Wi Ui ai bi");
    assert_part("layernorm-lstm", NULL, "tanh", "norm", "ac bc");
    assert_part("layernorm", "y", "scale", "norm", "g b");
    assert_part("slstm", "l", "log σ", "", "Wf Uf bf");
    assert_part("janet", NULL, "1−σ(·−1)", "", "");
    assert_part("indrnn", "h'", "relu", "", "W u b");
    assert_part("gru", NULL, "linear", "", "Un bhn");
}

static int belts_of(const char *name) {
    car_figure figure;
    car_arena *arena = car_arena_create(NULL);
    car_cell *cell = compile(car_zoo_text(name), name);
    assert_int_equal(car_figure_read(&figure, cell, arena, NULL), CAR_OK);
    assert_true(car_layout_prepare(&figure));
    int belts = figure.belt_count;
    car_cell_free(cell);
    car_arena_free(arena);
    return belts;
}

static void test_belts(void **state) {
    (void)state;
    assert_int_equal(belts_of("rnn"), 0);
    assert_int_equal(belts_of("dense"), 0);
    assert_int_equal(belts_of("lstm"), 1);
    assert_int_equal(belts_of("gru"), 1);
    assert_int_equal(belts_of("slstm"), 3);
}

/* ---- Pictures ------------------------------------------------------------------------------------------ */

static void test_picture(void **state) {
    (void)state;
    car_cell *cell = compile(car_zoo_text("lstm"), "lstm");
    const car_reading readings[] = {{.name = "f", .mean = 0.93, .size = 0.93, .open = 0.5},
                                    {.name = "c'", .mean = -0.25, .size = 1.75}};
    const car_reading steps[] = {{.name = "f", .mean = 0.11},
                                 {.name = "c'", .size = 2.11},
                                 {.name = "f", .mean = 0.22},
                                 {.name = "c'", .size = 2.22}};
    const char *const inputs[] = {"<a>", "b"};
    const car_picture_options plain = {.unroll = 1}, chain = {.unroll = 3},
                              read = {.reading_count = 2, .readings = readings, .note = "<note>"},
                              both = {.unroll = 2,
                                      .reading_count = 2,
                                      .readings = steps,
                                      .inputs = inputs};
    const car_picture_options *cases[] = {&plain, &plain, &chain, &read, &both};
    char *pictures[5];
    for (int i = 0; i < 5; i++) {
        car_scene scene;
        car_text text;
        car_text_start(&text, NULL);
        assert_int_equal(car_cell_picture(cell, cases[i], NULL, &scene, NULL), CAR_OK);
        assert_int_equal(car_svg_write(&scene, true, &text, NULL), CAR_OK);
        pictures[i] = strdup(text.data);
        car_text_free(&text);
        car_scene_free(&scene);
    }
    assert_string_equal(pictures[0], pictures[1]);
    assert_non_null(strstr(pictures[0], "× f, + i×g"));
    assert_null(strstr(pictures[0], "0.93"));
    assert_non_null(strstr(pictures[2], "x(t−1)"));
    assert_non_null(strstr(pictures[2], "h(t+1)"));
    assert_non_null(strstr(pictures[3], "0.93"));
    assert_non_null(strstr(pictures[3], "50 % above 0.9"));
    assert_non_null(strstr(pictures[3], "|1.75|"));
    assert_non_null(strstr(pictures[3], "&lt;note&gt;"));
    static const char *const numbers[] = {"0.11", "|2.11|", "&lt;a&gt;", "0.22", "|2.22|"};
    for (int i = 0; i < 5; i++)
        assert_non_null(strstr(pictures[4], numbers[i]));
    for (int i = 0; i < 5; i++)
        free(pictures[i]);
    car_cell_free(cell);
}

static void test_too_large(void **state) {
    (void)state;
    car_text text;
    car_text_start(&text, NULL);
    car_text_format(&text, "cell big(x) -> h\nstate h\n");
    for (int i = 0; i < 60; i++)
        car_text_format(&text, "g%d = sigmoid(W%d@x + U%d@h)\n", i, i, i);
    car_text_format(&text, "h' = g0");
    for (int i = 1; i < 60; i++)
        car_text_format(&text, "*g%d", i);
    car_cell *cell = compile(text.data, "big.cell");
    car_scene scene;
    car_error error;
    assert_int_equal(car_cell_picture(cell, NULL, NULL, &scene, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "big.cell: too large"));
    car_scene_free(&scene);
    car_cell_free(cell);
    car_text_free(&text);
}

/* ---- Readings ------------------------------------------------------------------------------------------ */

static car_model *make_model(const char *net_text) {
    car_net *net;
    car_model *model = NULL;
    car_error error = {0};
    const car_model_options options = {.input_size = 11, .output_size = 11, .seed = 3};
    if (car_net_parse(net_text, NULL, 0, NULL, &net, &error) != CAR_OK ||
        car_model_create(net, &options, NULL, &model, &error) != CAR_OK)
        fail_msg("%s", error.message);
    car_net_free(net);
    return model;
}

/* The new states that are read are those that a session has after the same steps. */
static void test_readings(void **state) {
    (void)state;
    enum { UNITS = 19, STEPS = 5 };
    const int32_t ids[STEPS] = {3, 1, 4, 1, 5};
    car_model *model = make_model("embed 7 | lstm 19 x2 | softmax");
    car_session *session;
    car_arena *arena = car_arena_create(NULL);
    const car_reading *readings;
    int count, states = 0;
    float output[11], values[4 * UNITS];
    assert_int_equal(car_session_create(model, NULL, NULL, &session, NULL), CAR_OK);
    for (int i = 0; i < STEPS; i++)
        assert_int_equal(car_session_step(session, &ids[i], output, NULL), CAR_OK);
    assert_int_equal(car_session_state_size(session), 4 * UNITS);
    car_session_get_state(session, 0, values);
    for (int layer = 1; layer <= 2; layer++) {
        assert_int_equal(
            car_model_read_steps(model, layer, ids, STEPS, 2, arena, &readings, &count, NULL),
            CAR_OK);
        readings += count; /* of the last step */
        for (int r = 0; r < count; r++) {
            int place = !strcmp(readings[r].name, "h'")   ? 0
                        : !strcmp(readings[r].name, "c'") ? 1
                                                          : -1;
            if (place < 0)
                continue;
            double mean = 0, size = 0;
            for (int u = 0; u < UNITS; u++) {
                double value = values[((layer - 1) * 2 + place) * UNITS + u];
                mean += value / UNITS;
                size += fabs(value) / UNITS;
            }
            assert_true(fabs(mean - readings[r].mean) < 1e-12);
            assert_true(fabs(size - readings[r].size) < 1e-12);
            states++;
        }
    }
    assert_int_equal(states, 4);
    car_session_free(session);
    car_model_free(model);
    car_arena_free(arena);
}

static void assert_refused(const char *net, int layer, int32_t id, car_status expected) {
    car_model *model = make_model(net);
    car_arena *arena = car_arena_create(NULL);
    const car_reading *readings;
    int count;
    assert_int_equal(car_model_read_steps(model, layer, &id, 1, 1, arena, &readings, &count, NULL),
                     expected);
    assert_int_equal(count, 0);
    car_arena_free(arena);
    car_model_free(model);
}

static void test_readings_refused(void **state) {
    (void)state;
    assert_refused("lstm 8 | softmax", 0, 1, CAR_USAGE);
    assert_refused("embed 8 | lstm 8 bi | softmax last", 1, 1, CAR_USAGE);
    assert_refused("embed 8 | lstm 8 | softmax", 0, 1, CAR_USAGE);
    assert_refused("embed 8 | lstm 8 | softmax", 2, 1, CAR_USAGE);
    assert_refused("embed 8 | lstm 8 | softmax", 1, 11, CAR_DATA);
}

/* ---- Surveys ------------------------------------------------------------------------------------------- */

static void check_layer(const car_layer_survey *layer, int memories) {
    assert_int_equal(layer->memory_count, memories);
    for (int g = 0; g < layer->gate_count; g++) {
        const car_gate_survey *gate = &layer->gates[g];
        double shares = 0, mean = 0;
        for (int bin = 0; bin < CAR_SURVEY_BINS; bin++)
            shares += gate->shares[bin];
        for (int unit = 0; unit < layer->units; unit++)
            mean += gate->unit_mean[unit] / layer->units;
        assert_true(fabs(shares - 1) < 1e-9);
        assert_true(fabs(mean - gate->mean) < 1e-9);
    }
    for (int m = 0; m < memories; m++)
        for (int unit = 0; unit < layer->units; unit++)
            assert_true(layer->memories[m].half_life[unit] > 0);
}

static void survey_net(const char *net, int gates, int memories) {
    const int32_t ids[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    car_model *model = make_model(net);
    car_arena *arena = car_arena_create(NULL);
    car_survey survey;
    assert_int_equal(car_model_survey(model, ids, 10, arena, &survey, NULL), CAR_OK);
    assert_int_equal(survey.layer_count, 1);
    assert_int_equal(survey.steps, 10);
    assert_int_equal(survey.layers[0].gate_count, gates);
    check_layer(&survey.layers[0], memories);
    car_arena_free(arena);
    car_model_free(model);
}

static void test_survey_of_cells(void **state) {
    (void)state;
    survey_net("embed 7 | lstm 5 | softmax", 3, 1);
    survey_net("embed 7 | gru 17 | softmax", 2, 1);
    survey_net("embed 7 | cifg 5 | softmax", 2, 1);
    survey_net("embed 7 | mgu 5 | softmax", 1, 1);
    survey_net("embed 7 | slstm 5 | softmax", 3, 2);
    survey_net("embed 7 | rnn 5 | softmax", 0, 0);
}

/* Sequences side by side count as they do one by one, and both halves of a `bi` layer count. */
static void test_survey_of_batches(void **state) {
    (void)state;
    const int32_t lanes[] = {1, 5, 2, 6, 3, 7, 4, 0}; /* [4][2]: 1 2 3 4; 5 6 */
    const int32_t first[] = {1, 2, 3, 4}, second[] = {5, 6};
    const int lengths[] = {4, 2};
    const car_batch batch = {.steps = 4, .input = lanes, .lengths = lengths};
    car_model *model = make_model("embed 7 | lstm 5 | softmax");
    car_arena *arena = car_arena_create(NULL);
    car_survey both, one, other;
    assert_int_equal(car_model_survey_batch(model, &batch, 2, arena, &both, NULL), CAR_OK);
    assert_int_equal(car_model_survey(model, first, 4, arena, &one, NULL), CAR_OK);
    assert_int_equal(car_model_survey(model, second, 2, arena, &other, NULL), CAR_OK);
    assert_int_equal(both.steps, 6);
    for (int g = 0; g < 3; g++)
        assert_true(fabs(6 * both.layers[0].gates[g].mean - 4 * one.layers[0].gates[g].mean -
                         2 * other.layers[0].gates[g].mean) < 1e-6);
    car_model_free(model);

    model = make_model("embed 7 | lstm 5 bi | lstm 3 | softmax last");
    assert_int_equal(car_model_survey_batch(model, &batch, 2, arena, &both, NULL), CAR_OK);
    assert_int_equal(both.layer_count, 3);
    assert_true(!both.layers[0].backwards && both.layers[1].backwards && !both.layers[2].backwards);
    assert_true(both.layers[0].layer == both.layers[1].layer);
    assert_true(both.layers[0].gates[0].mean != both.layers[1].gates[0].mean);
    for (int k = 0; k < 3; k++)
        check_layer(&both.layers[k], 1);
    car_model_free(model);
    car_arena_free(arena);
}

/* A gate that is g at every step has the half-life ln 2 / -ln g, and a belt without a factor none. */
static void test_half_life(void **state) {
    (void)state;
    static const char keep[] = "cell keep(x) -> h\nstate h, c\ng = sigmoid(0*(W@x) + bg)\n"
                               "h' = g*h + (1 - g)*tanh(V@x)\nc' = c + h'\ninit bg = 3\n";
    const int32_t ids[] = {1, 2, 3};
    const double gate = 1 / (1 + exp(-3.0));
    car_cell *cell = compile(keep, "keep.cell");
    const car_cell *cells[] = {cell};
    car_net *net;
    car_model *model;
    car_error error = {0};
    car_survey survey;
    car_arena *arena = car_arena_create(NULL);
    const car_model_options options = {.input_size = 11, .output_size = 11, .seed = 3};
    if (car_net_parse("embed 4 | keep 6 | softmax", cells, 1, NULL, &net, &error) != CAR_OK ||
        car_model_create(net, &options, NULL, &model, &error) != CAR_OK ||
        car_model_survey(model, ids, 3, arena, &survey, &error) != CAR_OK)
        fail_msg("%s", error.message);
    const car_layer_survey *layer = &survey.layers[0];
    assert_int_equal(layer->memory_count, 2);
    for (int m = 0; m < 2; m++) {
        double expected = strcmp(layer->memories[m].name, "h") ? INFINITY : log(2) / -log(gate);
        for (int unit = 0; unit < 6; unit++)
            assert_true(layer->memories[m].half_life[unit] == expected ||
                        fabs(layer->memories[m].half_life[unit] / expected - 1) < 1e-4);
    }
    assert_true(fabs(layer->gates[0].mean - gate) < 1e-5);
    assert_true(fabs(layer->gates[0].open - 1) < 1e-9 && layer->gates[0].closed == 0);
    car_model_free(model);
    car_net_free(net);
    car_cell_free(cell);
    car_arena_free(arena);
}

static void test_survey_page(void **state) {
    (void)state;
    const int32_t ids[] = {1, 2, 3};
    car_model *model = make_model("embed 7 | gru 9 | lstm 5 | softmax");
    car_arena *arena = car_arena_create(NULL);
    car_survey survey;
    assert_int_equal(car_model_survey(model, ids, 3, arena, &survey, NULL), CAR_OK);
    for (int chinese = 0; chinese < 2; chinese++) {
        const car_survey_words words = {"<model>", "a & b", chinese};
        const car_looks looks = {.chinese = chinese};
        car_text html;
        car_text_start(&html, NULL);
        assert_int_equal(car_survey_page(&survey, &survey, &looks, &words, NULL, &html, NULL),
                         CAR_OK);
        assert_non_null(strstr(html.data, chinese ? "lang=\"zh-CN\"" : "lang=\"en\""));
        assert_non_null(strstr(html.data, "&lt;model&gt;"));
        assert_non_null(strstr(html.data, "a &amp; b"));
        assert_non_null(strstr(html.data, chinese ? "第 3 层" : "Layer 3: lstm"));
        assert_null(strstr(html.data, "<model>"));
        assert_null(strstr(html.data, "nan"));
        car_text_free(&html);
    }
    car_arena_free(arena);
    car_model_free(model);
}

/* ---- Gradients through time ---------------------------------------------------------------------------- */

/* The mean loss of the token behind `steps` ids when the state before them is given. */
static double loss_from(const car_model *model, const int32_t *ids, int steps, const float *state) {
    car_session *session;
    float output[11];
    double sum = 0;
    assert_int_equal(car_session_create(model, NULL, NULL, &session, NULL), CAR_OK);
    if (state)
        car_session_set_state(session, 0, state);
    for (int i = 0; i < steps; i++)
        assert_int_equal(car_session_step(session, &ids[i], output, NULL), CAR_OK);
    for (int k = 0; k < 11; k++)
        sum += exp((double)output[k]);
    car_session_free(session);
    return log(sum) - (double)output[ids[steps]];
}

/* |dL/ds| of one state by central differences in the session's state before the last k steps. */
static double difference_norm(const car_model *model, const int32_t *ids, int steps, int k,
                              int first, int units) {
    float state[64], output[11];
    car_session *session;
    double squares = 0;
    assert_int_equal(car_session_create(model, NULL, NULL, &session, NULL), CAR_OK);
    for (int i = 0; i < steps - k; i++)
        assert_int_equal(car_session_step(session, &ids[i], output, NULL), CAR_OK);
    car_session_get_state(session, 0, state);
    car_session_free(session);
    for (int unit = first; unit < first + units; unit++) {
        const float kept = state[unit], step = 0.01f;
        state[unit] = kept + step;
        double above = loss_from(model, ids + steps - k, k, state);
        state[unit] = kept - step;
        double below = loss_from(model, ids + steps - k, k, state);
        state[unit] = kept;
        double slope = (above - below) / (2 * (double)step);
        squares += slope * slope;
    }
    return sqrt(squares);
}

static void check_flow(const char *net, int units) {
    enum { STEPS = 5 };
    const int32_t ids[STEPS + 1] = {3, 1, 4, 1, 5, 9};
    car_model *model = make_model(net);
    car_arena *arena = car_arena_create(NULL);
    const car_batch batch = {.steps = STEPS, .reset = true, .input = ids, .target = ids + STEPS};
    car_flow flow;
    car_error error = {0};
    if (car_model_flow(model, &batch, 1, arena, &flow, &error) != CAR_OK)
        fail_msg("%s", error.message);
    assert_true(fabs(flow.loss - loss_from(model, ids, STEPS, NULL)) < 1e-5);
    assert_true(flow.curves[0].input && flow.curves[0].median[0] > 0);
    for (int i = 1; i < flow.curve_count; i++)
        for (int k = 1; k <= STEPS; k++) {
            double expected = difference_norm(model, ids, STEPS, k, (i - 1) * units, units);
            assert_true(fabs(flow.curves[i].median[k - 1] - expected) < 0.01 * expected + 1e-6);
        }
    car_arena_free(arena);
    car_model_free(model);
}

static void test_flow(void **state) {
    (void)state;
    check_flow("embed 7 | lstm 6 x2 | softmax", 6);
    check_flow("embed 7 | gru 6 | softmax", 6);
    check_flow("embed 7 | rnn 5 | rnn 5 residual | softmax", 5);
}

/* Values instead of ids, a step of the net made of two: dL/dx by central differences in the values themselves. */
static void test_flow_of_values(void **state) {
    (void)state;
    enum { STEPS = 8, INPUTS = 3, PATCH = 2, VALUES = PATCH * INPUTS };
    float input[STEPS * INPUTS];
    const int32_t target[] = {2};
    const car_model_options sizes = {.input_size = INPUTS, .output_size = 4, .seed = 5};
    const car_batch batch = {.steps = STEPS, .reset = true, .input = input, .target = target};
    car_net *net;
    car_model *model;
    car_flow flow, moved;
    car_arena *arena = car_arena_create(NULL);
    assert_int_equal(
        car_net_parse("patch 2 | lstm 5 | gru 6 | softmax last", NULL, 0, NULL, &net, NULL),
        CAR_OK);
    assert_int_equal(car_model_create(net, &sizes, NULL, &model, NULL), CAR_OK);
    for (int i = 0; i < STEPS * INPUTS; i++)
        input[i] = (float)sin(i);
    assert_int_equal(car_model_flow(model, &batch, 1, arena, &flow, NULL), CAR_OK);
    assert_int_equal(flow.distance, STEPS / PATCH);
    assert_int_equal(flow.patch, PATCH);
    assert_int_equal(flow.curve_count, 4);
    assert_true(flow.curves[0].input && flow.curves[0].layer == 0 && !flow.curves[1].input);
    for (int k = 0; k < flow.distance; k++) {
        double squares = 0;
        for (int v = 0; v < VALUES; v++) {
            float *value = &input[(flow.distance - 1 - k) * VALUES + v];
            const float kept = *value, step = 0.01f;
            *value = kept + step;
            assert_int_equal(car_model_flow(model, &batch, 1, arena, &moved, NULL), CAR_OK);
            double above = moved.loss;
            *value = kept - step;
            assert_int_equal(car_model_flow(model, &batch, 1, arena, &moved, NULL), CAR_OK);
            *value = kept;
            squares += pow((above - moved.loss) / (2 * (double)step), 2);
        }
        assert_true(fabs(flow.curves[0].median[k] / sqrt(squares) - 1) < 0.01);
    }
    car_arena_free(arena);
    car_model_free(model);
    car_net_free(net);
}

/* Several lanes: medians and quartiles over the flows of each alone. */
static void test_flow_of_lanes(void **state) {
    (void)state;
    enum { STEPS = 4, LANES = 3 };
    const int32_t text[LANES][STEPS + 1] = {{1, 2, 3, 4, 5}, {5, 4, 3, 2, 1}, {7, 7, 7, 7, 8}};
    int32_t ids[(STEPS + 1) * LANES];
    double alone[LANES];
    car_model *model = make_model("embed 7 | lstm 6 | softmax");
    car_arena *arena = car_arena_create(NULL);
    car_flow flow;
    for (int lane = 0; lane < LANES; lane++) {
        const car_batch one = {.steps = STEPS, .input = text[lane], .target = text[lane] + STEPS};
        assert_int_equal(car_model_flow(model, &one, 1, arena, &flow, NULL), CAR_OK);
        alone[lane] = flow.curves[2].median[2];
        for (int step = 0; step <= STEPS; step++)
            ids[step * LANES + lane] = text[lane][step];
    }
    const car_batch all = {.steps = STEPS, .input = ids, .target = ids + STEPS * LANES};
    assert_int_equal(car_model_flow(model, &all, LANES, arena, &flow, NULL), CAR_OK);
    double low = fmin(fmin(alone[0], alone[1]), alone[2]);
    double high = fmax(fmax(alone[0], alone[1]), alone[2]);
    double middle = alone[0] + alone[1] + alone[2] - low - high;
    assert_true(fabs(flow.curves[2].median[2] / middle - 1) < 1e-4);
    assert_true(fabs(flow.curves[2].low[2] / low - 1) < 1e-4);
    assert_true(fabs(flow.curves[2].high[2] / high - 1) < 1e-4);
    car_arena_free(arena);
    car_model_free(model);
}

static void test_flow_refused(void **state) {
    (void)state;
    const int32_t ids[] = {1, 2, 3};
    const car_batch batch = {.steps = 2, .input = ids, .target = ids + 2};
    car_model *model = make_model("embed 7 | lstm 6 bi | softmax last");
    car_arena *arena = car_arena_create(NULL);
    car_flow flow;
    car_error error;
    assert_int_equal(car_model_flow(model, &batch, 1, arena, &flow, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "bi"));
    car_arena_free(arena);
    car_model_free(model);
}

/* ---- Frozen gates -------------------------------------------------------------------------------------- */

static const int32_t frozen_ids[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static car_status frozen_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                               car_error *error) {
    (void)context;
    (void)epoch;
    (void)error;
    *batch = (car_batch){.steps = 4,
                         .reset = index == 0,
                         .input = frozen_ids + 4 * index,
                         .target = frozen_ids + 4 * index + 1};
    return CAR_OK;
}

/* A model of a cell whose gate is the number itself has the loss that freezing it there gives, bit for bit. */
static void test_freeze(void **state) {
    (void)state;
    static const char *const texts[] = {
        "cell g(x) -> h\nstate h\nh' = z*h + (1 - z)*tanh(W@x + U@h)\nz = sigmoid(Wz@x + bz)\n",
        "cell g(x) -> h\nstate h\nh' = 0*h + (1 - 0)*tanh(W@x + U@h)\n",
        "cell g(x) -> h\nstate h\nh' = 1*h + (1 - 1)*tanh(W@x + U@h)\n"};
    const car_fit_source source = {.updates_per_epoch = 2, .batch = frozen_batch};
    car_arena *arena = car_arena_create(NULL);
    double loss[3], frozen[2] = {0};
    for (int i = 0; i < 3; i++) {
        car_cell *cell = compile(texts[i], "g.cell");
        const car_cell *cells[] = {cell};
        const car_model_options options = {
            .input_size = 11, .output_size = 11, .seed = 3, .init = "uniform(1)"};
        car_net *net;
        car_model *model;
        car_error error = {0};
        car_freezing freezing;
        if (car_net_parse("embed 7 | g 6 | softmax", cells, 1, NULL, &net, &error) != CAR_OK ||
            car_model_create(net, &options, NULL, &model, &error) != CAR_OK ||
            car_model_freeze(model, &source, 1, 4, arena, &freezing, &error) != CAR_OK)
            fail_msg("%s", error.message);
        assert_int_equal(freezing.targets, 8);
        assert_int_equal(freezing.count, i == 0);
        loss[i] = freezing.loss;
        for (int value = 0; i == 0 && value < 2; value++)
            frozen[value] = freezing.gates[0].loss[value];
        car_model_free(model);
        car_net_free(net);
        car_cell_free(cell);
    }
    assert_true(frozen[0] == loss[1] && frozen[1] == loss[2]);
    assert_true(loss[0] != loss[1] && loss[0] != loss[2]);
    car_arena_free(arena);
}

/* ---- Units --------------------------------------------------------------------------------------------- */

static void test_patterns(void **state) {
    (void)state;
    static const char text[] = "a \"b(\" (c) // d\" (\ne /* f\n */ g \u201ch\u201d";
    enum { LENGTH = sizeof text - 1 };
    size_t ends[LENGTH];
    float patterns[LENGTH][CAR_PATTERN_COUNT];
    for (size_t i = 0; i < LENGTH; i++)
        ends[i] = i + 1;
    car_patterns_of(text, ends, LENGTH, patterns);
    const char *b = strchr(text, 'b'), *c = strchr(text, 'c'), *d = strchr(text, 'd');
    const char *f = strchr(text, 'f'), *g = strchr(text, 'g'), *h = strchr(text, 'h');
    assert_true(patterns[b - text][CAR_PATTERN_QUOTES] == 1);
    assert_true(patterns[c - text][CAR_PATTERN_QUOTES] == 0);
    assert_true(patterns[c - text][CAR_PATTERN_BRACKETS] == 1);
    assert_true(patterns[d - text][CAR_PATTERN_COMMENT] == 1);
    assert_true(patterns[d - text + 1][CAR_PATTERN_QUOTES] == 0);
    assert_true(patterns[f - text][CAR_PATTERN_COMMENT] == 1);
    assert_true(patterns[g - text][CAR_PATTERN_COMMENT] == 0);
    assert_true(patterns[h - text][CAR_PATTERN_QUOTES] == 1);
    assert_true(patterns[LENGTH - 1][CAR_PATTERN_QUOTES] == 0);
    assert_true(patterns[0][CAR_PATTERN_LINE] == 1);
    assert_true(patterns[g - text][CAR_PATTERN_LINE] == 5);
}

/* A net in which unit 2 is, by its weights, the token itself: it follows a pattern that is the token. */
static void test_followers(void **state) {
    (void)state;
    enum { COUNT = 400 };
    static int32_t ids[COUNT];
    static float patterns[COUNT][CAR_PATTERN_COUNT], values[COUNT];
    car_model *model = make_model("embed 7 | rnn 6 | softmax");
    car_arena *arena = car_arena_create(NULL);
    car_follower followers[CAR_PATTERN_COUNT];
    const car_unit_choice unit = {1, "h", 2};
    uint32_t random = 12345;
    for (int i = 0; i < COUNT; i++) {
        random = random * 1664525 + 1013904223;
        ids[i] = (int32_t)(random >> 16) % 11;
    }
    assert_int_equal(car_model_unit_values(model, ids, COUNT, &unit, arena, values, NULL), CAR_OK);
    for (int i = 0; i < COUNT; i++)
        patterns[i][CAR_PATTERN_QUOTES] = -3 * values[i] + 1;
    assert_int_equal(car_model_followers(model, ids, (const float(*)[CAR_PATTERN_COUNT])patterns,
                                         COUNT, arena, followers, NULL),
                     CAR_OK);
    assert_int_equal(followers[CAR_PATTERN_QUOTES].layer, 1);
    assert_int_equal(followers[CAR_PATTERN_QUOTES].unit, 2);
    assert_true(fabs(followers[CAR_PATTERN_QUOTES].tested + 1) < 1e-4);
    assert_int_equal(followers[CAR_PATTERN_LINE].layer, -1);
    const car_unit_choice wrong[] = {{0, "h", 2}, {1, "q", 2}, {1, "h", 6}, {9, "h", 0}};
    for (int i = 0; i < 4; i++)
        assert_int_equal(car_model_unit_values(model, ids, 1, &wrong[i], arena, values, NULL),
                         CAR_USAGE);
    car_arena_free(arena);
    car_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wires_of_the_zoo),
        cmocka_unit_test(test_wires_of_awkward_cells),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_belts),
        cmocka_unit_test(test_picture),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_readings),
        cmocka_unit_test(test_readings_refused),
        cmocka_unit_test(test_survey_of_cells),
        cmocka_unit_test(test_survey_of_batches),
        cmocka_unit_test(test_half_life),
        cmocka_unit_test(test_survey_page),
        cmocka_unit_test(test_flow),
        cmocka_unit_test(test_flow_of_values),
        cmocka_unit_test(test_flow_of_lanes),
        cmocka_unit_test(test_flow_refused),
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_followers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
