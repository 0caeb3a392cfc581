/*
 * test_network: nets, models, model files and sessions. (test_network_gradient.c has the gradients.)
 *
 * The tables of accepted and refused nets are those of docs/nets.md, read from there.
 */
#include "network_helpers.h"
#include <math.h>
#include <unistd.h>

/* ---- Nets --------------------------------------------------------------------------------------------- */

static void read_document(char **text) {
    size_t length;
    car_error error = {0};
    require(car_file_read(SOURCE_ROOT "/docs/nets.md", 1 << 20, NULL, text, &length, &error),
            &error);
}

/* The lines of the block that starts with ```name, one by one; each ends up NUL-terminated. */
static char *block_of(char *document, const char *name) {
    char fence[32];
    snprintf(fence, sizeof fence, "\n```%s\n", name);
    char *begin = strstr(document, fence);
    assert_non_null(begin);
    begin += strlen(fence);
    char *end = strstr(begin, "```");
    assert_non_null(end);
    *end = '\0';
    return begin;
}

static void test_accepted(void **state) {
    (void)state;
    char *document;
    read_document(&document);
    int count = 0;
    for (char *line = strtok(block_of(document, "accepted"), "\n"); line;
         line = strtok(NULL, "\n")) {
        car_error error = {0};
        car_net *net;
        if (car_net_parse(line, NULL, 0, NULL, &net, &error) != CAR_OK)
            fail_msg("%s: column %d: %s", line, error.column, error.message);
        assert_string_equal(car_net_text(net), line);
        car_net_free(net);
        count++;
    }
    assert_true(count >= 12);
    car_release(NULL, document);
}

static void test_refused(void **state) {
    (void)state;
    char *document;
    read_document(&document);
    int count = 0;
    for (char *line = strtok(block_of(document, "refused"), "\n"); line;
         line = strtok(NULL, "\n")) {
        char *comment = strchr(line, '#');
        assert_non_null(comment);
        int column = atoi(comment + 1);
        const char *part = strstr(comment, ": ") + 2;
        while (comment > line && comment[-1] == ' ')
            comment--;
        *comment = '\0';
        car_error error = {0};
        car_net *net;
        car_status status = car_net_parse(line, NULL, 0, NULL, &net, &error);
        assert_null(net);
        if (status != (strstr(line, "cell:") ? CAR_IO : CAR_USAGE) || error.column != column ||
            error.line != 1 || !strstr(error.message, part))
            fail_msg("%s: status %d, column %d (not %d): %s (not: %s)", line, (int)status,
                     error.column, column, error.message, part);
        count++;
    }
    assert_true(count >= 29);
    car_release(NULL, document);
}

static void test_layers(void **state) {
    (void)state;
    car_error error = {0};
    car_net *net;
    require(car_net_parse(
                "embed 24\n| gru 24 x2 bi dropout 0.25 weightdrop 0.5 | layernorm residual init "
                "walk\n|linear mean dropout 0.5 locked",
                NULL, 0, NULL, &net, &error),
            &error);
    assert_int_equal(net->layer_count, 4);
    assert_int_equal(net->layers[0].units, 24);
    for (int i = 1; i <= 2; i++) {
        assert_true(net->layers[i].bidirectional);
        assert_true(net->layers[i].dropout.probability == 0.25f);
        assert_false(net->layers[i].dropout.locked);
        assert_true(net->layers[i].weight_drop == 0.5f);
        assert_string_equal(car_cell_name(net->layers[i].cell), "gru");
    }
    assert_int_equal(net->layers[3].init.kind, CAR_INIT_WALK);
    assert_int_equal(net->layers[3].line, 2);
    assert_int_equal(net->layers[3].column, 46);
    assert_int_equal(net->cell_count, 2);
    assert_int_equal(net->pool, CAR_POOL_MEAN);
    assert_true(net->head_dropout.probability == 0.5f);
    assert_true(net->head_dropout.locked);
    car_layer_sizes sizes[4];
    require(car_net_sizes(net, 100, sizes, &error), &error);
    assert_int_equal(sizes[1].output, 48);
    assert_int_equal(sizes[3].units, 48);
    car_net_free(net);
}

static const char decay_text[] =
    "# a leaky sum\ncell decay(x) -> y\nstate y\ny' = f*y + W@x\ninit f = 0.5\n";

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_own_cells(void **state) {
    (void)state;
    car_error error = {0};
    car_cell *cell;
    car_net *net;
    require(car_cell_compile(decay_text, strlen(decay_text), "t", NULL, &cell, &error), &error);
    const car_cell *cells[] = {cell};
    require(car_net_parse("decay 4 | linear", cells, 1, NULL, &net, &error), &error);
    car_cell_free(cell);
    assert_string_equal(car_cell_text(net->layers[0].cell), decay_text);
    car_net_free(net);

    char path[] = "/tmp/carousel-cell-XXXXXX";
    close(mkstemp(path));
    write_file(path, decay_text);
    char text[200];
    snprintf(text, sizeof text, "cell:%s 4 x2 | decay 3|linear", path);
    require(car_net_parse(text, NULL, 0, NULL, &net, &error), &error);
    assert_string_equal(car_net_text(net), "decay 4 x2 | decay 3|linear");
    assert_int_equal(net->cell_count, 1);
    car_net_free(net);
    assert_int_equal(car_net_parse_with(text, NULL, 0, false, NULL, &net, &error), CAR_USAGE);

    write_file(path, "cell rnn(x) -> y\ny = W@x\n");
    snprintf(text, sizeof text, "rnn 4 | cell:%s 4 | linear", path);
    assert_int_equal(car_net_parse(text, NULL, 0, NULL, &net, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "two different cells"));
    assert_int_equal(error.column, 9);

    write_file(path, "cell broken(x) -> y\ny = W@\n");
    assert_int_equal(car_net_parse(text, NULL, 0, NULL, &net, &error), CAR_DATA);
    unlink(path);
}

/* ---- Models ------------------------------------------------------------------------------------------- */

static car_status create_status(const char *text, const car_model_options *options,
                                car_error *error) {
    car_net *net;
    car_model *model;
    require(car_net_parse(text, NULL, 0, NULL, &net, error), error);
    car_status status = car_model_create(net, options, NULL, &model, error);
    car_net_free(net);
    if (status == CAR_OK)
        car_model_free(model);
    else
        assert_null(model);
    return status;
}

static void test_model_refusals(void **state) {
    (void)state;
    static const struct {
        const char *net;
        car_model_options options;
        const char *part;
    } cases[] = {
        {"rnn 4 | softmax", {.input_size = 0, .output_size = 4}, "input size is 0"},
        {"rnn 4 | softmax", {.input_size = 3, .output_size = 1}, "number of classes is 1"},
        {"rnn 4 | linear", {.input_size = 1 << 25, .output_size = 1}, "input size is 33554432"},
        {"layernorm 8 | linear", {.input_size = 5, .output_size = 1}, "needs 8 values, but gets 5"},
        {"rnn 8 residual | linear", {.input_size = 5, .output_size = 1}, "5 and 8"},
        {"embed 4 | rnn 4 | softmax tie", {.input_size = 5, .output_size = 6}, "6 and 5"},
        {"rnn 4 | linear", {.input_size = 5, .output_size = 1, .init = "often"}, "`often`"},
        {"rnn 4 | linear", {.input_size = 5, .output_size = 1, .init = "0.5"}, "`0.5`"},
        {"rnn 4 | linear", {.input_size = 5, .output_size = 1, .bias_init = "b"}, "bf=1"},
        {"rnn 4 | linear", {.input_size = 5, .output_size = 1, .bias_init = "b=x"}, "b=x"},
        {"rnn 4 | gru 4 | linear",
         {.input_size = 5, .output_size = 1, .bias_init = "bq=1"},
         "rnn has W U b; gru has"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        car_error error = {0};
        car_status status = create_status(cases[i].net, &cases[i].options, &error);
        if (status != CAR_USAGE || !strstr(error.message, cases[i].part))
            fail_msg("%s: %d: %s (not: %s)", cases[i].net, (int)status, error.message,
                     cases[i].part);
    }
}

/* A parameter's logical values, by the tensor's name. */
static float *tensor_of(const car_model *model, const char *name, size_t *count) {
    for (int i = 0; i < car_model_tensor_count(model); i++) {
        car_model_tensor tensor;
        car_model_tensor_at(model, i, &tensor);
        if (strcmp(tensor.name, name) != 0)
            continue;
        *count = car_model_tensor_floats(model, i);
        float *values = calloc(*count, sizeof *values);
        car_model_unpack(model, i, model->weights, values);
        return values;
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

static void check_range(const car_model *model, const char *name, double bound) {
    size_t count;
    float *values = tensor_of(model, name, &count);
    double low = 0, high = 0;
    for (size_t i = 0; i < count; i++) {
        low = fmin(low, (double)values[i]);
        high = fmax(high, (double)values[i]);
    }
    if (low < -bound || high > bound || low > -0.8 * bound || high < 0.8 * bound)
        fail_msg("%s lies in %g .. %g, not in +-%g", name, low, high, bound);
    free(values);
}

static void test_uniform(void **state) {
    (void)state;
    car_model *model = make_model("embed 20 | lstm 25 | dense 30 | softmax", 40, 50, NULL);
    check_range(model, "encoder.weight", 1);
    check_range(model, "layers.0.weight_ih_l0", 0.2);
    check_range(model, "layers.0.weight_hh_l0", 0.2);
    check_range(model, "layers.1.weight", 0.2);
    check_range(model, "decoder.weight", 1 / sqrt(30));
    size_t count;
    float *bias = tensor_of(model, "layers.0.bias_ih_l0", &count);
    assert_int_equal(count, 100);
    for (size_t i = 0; i < count; i++)
        assert_true(bias[i] == (i / 25 == 1 ? 1 : 0));
    free(bias);
    car_model_free(model);

    model = make_model("embed 20 | lstm 25 | dense 30 | softmax", 40, 50, "uniform(0.05)");
    check_range(model, "encoder.weight", 0.05);
    check_range(model, "layers.0.weight_hh_l0", 0.05);
    check_range(model, "decoder.weight", 0.05);
    car_model_free(model);
}

/* The same numbers stand at the same logical places whatever stands beside them. */
static void test_init_by_index(void **state) {
    (void)state;
    car_model *a = make_model("rnn 20 | softmax", 7, 50, NULL);
    car_model *b = make_model("gru 20 | rnn 20 | softmax", 20, 50, NULL);
    size_t count;
    float *weight = tensor_of(a, "layers.0.weight_ih_l0", &count);
    const car_random_key key = {7, CAR_RANDOM_INIT, 0};
    for (size_t i = 0; i < count; i++) {
        uint32_t four[4];
        car_random_block(key, 0, i / 4, four);
        double u = (double)(four[i % 4] >> 8) * 0x1p-24, bound = 1 / sqrt(20);
        assert_true(weight[i] == (float)(-bound + 2 * bound * u));
    }
    float *other = tensor_of(b, "layers.1.weight_ih_l0", &count);
    assert_true(memcmp(weight, other, 7 * sizeof *weight) != 0);
    free(weight);
    free(other);
    car_model_free(a);
    car_model_free(b);
}

static void check_orthogonal(const char *init, const char *name, int rows, int columns,
                             double scale) {
    char text[100];
    snprintf(text, sizeof text, "dense %d init %s | linear", rows, init);
    car_model *model = make_model(text, columns, 3, NULL);
    size_t count;
    float *w = tensor_of(model, name, &count);
    assert_int_equal(count, rows * columns);
    int small = rows < columns ? rows : columns, large = rows < columns ? columns : rows;
    for (int i = 0; i < small; i++)
        for (int j = 0; j < small; j++) {
            double sum = 0;
            for (int k = 0; k < large; k++)
                sum += rows < columns ? (double)w[i * columns + k] * (double)w[j * columns + k]
                                      : (double)w[k * columns + i] * (double)w[k * columns + j];
            assert_true(fabs(sum - (i == j ? scale * scale : 0)) < 1e-6);
        }
    free(w);
    car_model_free(model);
}

static void test_schemes(void **state) {
    (void)state;
    check_orthogonal("orthogonal", "layers.0.weight", 20, 20, 1);
    check_orthogonal("orthogonal(2)", "layers.0.weight", 13, 37, 2);
    check_orthogonal("orthogonal", "layers.0.weight", 37, 13, 1);
    check_orthogonal("identity*0.5", "layers.0.weight", 19, 19, 0.5);
    car_model *model = make_model("dense 200 init walk | linear", 150, 3, NULL);
    size_t count;
    float *w = tensor_of(model, "layers.0.weight", &count);
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += (double)w[i] * (double)w[i];
    /* variance g^2/columns within five standard errors: sqrt(2/30000) of it */
    double variance = exp(1.0 / 150) / 150;
    assert_true(fabs(squares / (double)count / variance - 1) < 5 * sqrt(2.0 / (double)count));
    free(w);
    car_model_free(model);
}

/* Tallec & Ollivier 2018: a forget gate's bias is log U[1, T-1], the input gate's minus the same number. */
static void test_chrono(void **state) {
    (void)state;
    car_error error = {0};
    car_net *net;
    car_model *model;
    require(car_net_parse("lstm 200 | softmax", NULL, 0, NULL, &net, &error), &error);
    const car_model_options options = {.input_size = 5,
                                       .output_size = 3,
                                       .seed = 4,
                                       .bias_init = "bf=chrono(100),bi=-chrono(100)"};
    require(car_model_create(net, &options, NULL, &model, &error), &error);
    size_t count;
    float *bias = tensor_of(model, "layers.0.bias_ih_l0", &count);
    double mean = 0;
    for (size_t i = 0; i < 200; i++) {
        double span = exp((double)bias[200 + i]);
        assert_true(span >= 0.9999 && span < 99.001);
        assert_true(bias[i] == -bias[200 + i]);
        mean += span / 200;
    }
    assert_true(fabs(mean - 50) < 5 * 98 / sqrt(12.0 * 200)); /* five standard errors */
    free(bias);
    car_model_free(model);
    car_net_free(net);
}

static void test_precedence(void **state) {
    (void)state;
    car_error error = {0};
    car_net *net;
    car_model *model;
    require(
        car_net_parse("lstm 20 | rnn 20 init identity*2 | softmax", NULL, 0, NULL, &net, &error),
        &error);
    const car_model_options options = {.input_size = 20,
                                       .output_size = 3,
                                       .init = "uniform",
                                       .bias_init = " bo = 2, bf=0 ,W=0.25"};
    require(car_model_create(net, &options, NULL, &model, &error), &error);
    size_t count;
    float *values = tensor_of(model, "layers.0.bias_ih_l0", &count);
    for (size_t i = 0; i < count; i++)
        assert_true(values[i] == (i / 20 == 3 ? 2 : 0));
    free(values);
    values = tensor_of(model, "layers.1.weight_ih_l0", &count);
    for (size_t i = 0; i < count; i++)
        assert_true(values[i] == 0.25f);
    free(values);
    check_range(model, "layers.1.weight_hh_l0", 1 / sqrt(20));
    car_model_free(model);
    const car_model_options plain = {.input_size = 20, .output_size = 3};
    require(car_model_create(net, &plain, NULL, &model, &error), &error);
    values = tensor_of(model, "layers.1.weight_hh_l0", &count);
    for (size_t i = 0; i < count; i++)
        assert_true(values[i] == (i % 21 == 0 ? 2 : 0));
    free(values);
    car_model_free(model);
    car_net_free(net);
}

static void test_counts(void **state) {
    (void)state;
    car_model *model = make_model("embed 20 | lstm 30 bi | gru 10 | softmax", 40, 50, NULL);
    int64_t lstm = 4 * 30 * (20 + 30 + 1), gru = 3 * 10 * (60 + 10 + 1) + 10;
    assert_int_equal(car_model_parameter_count(model), 40 * 20 + 2 * lstm + gru + 50 * 11);
    assert_int_equal(car_model_input_size(model), 40);
    assert_int_equal(car_model_output_size(model), 50);
    car_model_free(model);
    model = make_model("embed 20 | rnn 20 | softmax tie", 40, 40, NULL);
    assert_int_equal(car_model_parameter_count(model), 40 * 20 + 20 * 41 + 40);
    car_model_free(model);
    car_error error = {0};
    assert_non_null(car_cpu_level_name(&error));
}

static void test_metadata(void **state) {
    (void)state;
    car_error error = {0};
    car_model *model = make_model("rnn 4 | softmax", 4, 4, NULL);
    assert_null(car_model_metadata(model, "a"));
    require(car_model_set_metadata(model, "a", "1", &error), &error);
    require(car_model_set_metadata(model, "b", "2", &error), &error);
    require(car_model_set_metadata(model, "a", "three", &error), &error);
    assert_string_equal(car_model_metadata(model, "a"), "three");
    require(car_model_set_metadata(model, "a", NULL, &error), &error);
    assert_null(car_model_metadata(model, "a"));
    assert_string_equal(car_model_metadata(model, "b"), "2");
    assert_int_equal(car_model_set_metadata(model, "carousel.net", "x", &error), CAR_USAGE);
    assert_int_equal(car_model_set_metadata(model, "carousel.cell.rnn", "x", &error), CAR_USAGE);
    car_model_free(model);
}

/* ---- Model files -------------------------------------------------------------------------------------- */

static void temporary_path(char path[64]) {
    strcpy(path, "/tmp/carousel-model-XXXXXX");
    close(mkstemp(path));
}

static void check_same(const car_model *a, const car_model *b) {
    assert_string_equal(car_model_net(a), car_model_net(b));
    assert_int_equal(a->weight_floats, b->weight_floats);
    assert_memory_equal(a->weights, b->weights, a->weight_floats * sizeof(float));
    assert_int_equal(car_model_parameter_count(a), car_model_parameter_count(b));
    assert_string_equal(car_model_precision(a), car_model_precision(b));
    assert_int_equal(a->rounded_floats, b->rounded_floats);
    if (a->rounded)
        assert_memory_equal(a->rounded, b->rounded, a->rounded_floats * sizeof(float));
}

static void test_round_trip(void **state) {
    (void)state;
    static const char *const nets[] = {"embed 20 | lstm 33 x2 | softmax",
                                       "embed 17 | gru 17 | softmax tie",
                                       "rnn 5 bi | layernorm | lstm-peephole 20 | sigmoid last",
                                       "indrnn 7 | slstm 6 | dense 3 | linear"};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        char path[64];
        car_error error = {0};
        car_model *model = make_model(nets[i], 21, 21, NULL), *loaded;
        require(car_model_set_metadata(model, "vocabulary", "a\nb\xc3\xa9", &error), &error);
        temporary_path(path);
        require(car_model_save(model, path, &error), &error);
        require(car_model_load(path, NULL, &loaded, &error), &error);
        check_same(model, loaded);
        assert_string_equal(car_model_metadata(loaded, "vocabulary"), "a\nb\xc3\xa9");
        assert_null(car_model_metadata(loaded, "carousel.net"));
        car_model_free(loaded);
        car_container *container;
        require(car_container_load(path, NULL, &container, &error), &error);
        require(car_model_read(container, path, NULL, &loaded, &error), &error);
        assert_non_null(loaded->transposed);
        check_same(model, loaded);
        car_container_free(container);
        car_model_free(loaded);
        car_model_free(model);
        unlink(path);
    }
}

/* Converted there and back the weights are the same: they are kept in f32. */
static void test_convert(void **state) {
    (void)state;
    car_error error = {0};
    car_model *model = make_model("embed 20 | gru 33 bi | lstm 40 | softmax", 21, 130, NULL);
    car_model *half, *back;
    require(car_model_set_metadata(model, "note", "kept", &error), &error);
    require(car_model_convert(model, "bf16", NULL, &half, &error), &error);
    assert_string_equal(car_model_precision(half), "bf16");
    assert_string_equal(car_model_metadata(half, "note"), "kept");
    assert_null(model->rounded);
    assert_non_null(half->rounded);
    assert_true(half->rounded_floats < model->weight_floats);
    require(car_model_convert(half, "f32", NULL, &back, &error), &error);
    check_same(model, back);
    car_model_free(back);
    assert_int_equal(car_model_convert(model, "f16", NULL, &back, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "'f16'"));
    car_model_free(half);
    car_model_free(model);
}

static void test_tensor_names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t rows, columns;
    } expected[] = {{"encoder.weight", 9, 5},
                    {"layers.0.weight_ih_l0", 28, 5},
                    {"layers.0.weight_hh_l0", 28, 7},
                    {"layers.0.bias_ih_l0", 28, 1},
                    {"layers.0.bias_hh_l0", 28, 1},
                    {"layers.0.weight_ih_l0_reverse", 28, 5},
                    {"layers.0.weight_hh_l0_reverse", 28, 7},
                    {"layers.0.bias_ih_l0_reverse", 28, 1},
                    {"layers.0.bias_hh_l0_reverse", 28, 1},
                    {"layers.1.weight", 6, 14},
                    {"layers.1.bias", 6, 1},
                    {"layers.2.W", 3, 6},
                    {"layers.2.u", 3, 1},
                    {"layers.2.b", 3, 1},
                    {"decoder.weight", 4, 3},
                    {"decoder.bias", 4, 1}};
    car_model *model =
        make_model("embed 5 | lstm 7 bi | dense 6 | indrnn 3 | softmax mean", 9, 4, NULL);
    assert_int_equal(car_model_tensor_count(model), sizeof expected / sizeof *expected);
    for (int i = 0; i < car_model_tensor_count(model); i++) {
        car_model_tensor tensor;
        car_model_tensor_at(model, i, &tensor);
        assert_string_equal(tensor.name, expected[i].name);
        assert_int_equal(tensor.shape[0], expected[i].rows);
        assert_int_equal(tensor.shape[1], expected[i].columns);
    }
    car_model_free(model);
}

/* A model's file with one thing changed. */
typedef struct change {
    const char *tensor; /* changed or left out; NULL: an extra one called "extra" */
    bool leave_out;
    car_tensor with;         /* rank 0: as it is */
    const char *key, *value; /* metadata; value NULL: left out */
    const char *part;        /* of the message; NULL: loads */
} change;

static void write_changed(const car_model *model, const change *what, const char *path) {
    car_error error = {0};
    car_container_builder *plain, *builder;
    car_container *container;
    require(car_container_builder_create(NULL, &plain, &error), &error);
    require(car_model_write(model, plain, &error), &error);
    require(car_container_builder_save(plain, path, &error), &error);
    car_container_builder_free(plain);
    require(car_container_load(path, NULL, &container, &error), &error);
    require(car_container_builder_create(NULL, &builder, &error), &error);
    for (int i = 0; i < car_container_metadata_count(container); i++) {
        const char *key = car_container_metadata_key(container, i);
        const char *value = car_container_metadata(container, key);
        if (what->key && strcmp(key, what->key) == 0)
            value = what->value;
        if (value)
            require(car_container_builder_metadata(builder, key, value, &error), &error);
    }
    for (int i = 0; i < car_container_tensor_count(container); i++) {
        car_tensor tensor = *car_container_tensor(container, i);
        bool changed = what->tensor && strcmp(what->tensor, tensor.name) == 0;
        if (changed && what->leave_out)
            continue;
        const char *name = tensor.name;
        if (changed && what->with.rank > 0) {
            tensor = what->with;
            tensor.name = name;
        }
        require(car_container_builder_tensor(builder, &tensor, &error), &error);
    }
    if (!what->tensor && what->with.rank > 0)
        require(car_container_builder_tensor(builder, &what->with, &error), &error);
    require(car_container_builder_save(builder, path, &error), &error);
    car_container_builder_free(builder);
    car_container_free(container);
}

static void test_changed_files(void **state) {
    (void)state;
    static const float zeros[64];
    float ones[12];
    for (int i = 0; i < 12; i++)
        ones[i] = 1;
    const car_tensor square = {.rank = 2, .shape = {3, 3}, .data = zeros, .bytes = 36};
    const car_tensor row = {.rank = 1, .shape = {9}, .data = zeros, .bytes = 36};
    const car_tensor whole = {
        .dtype = CAR_I32, .rank = 1, .shape = {9}, .data = zeros, .bytes = 36};
    const car_tensor bias = {.rank = 1, .shape = {9}, .data = ones, .bytes = 36};
    car_tensor extra = row, trainer = row;
    extra.name = "extra";
    trainer.name = "trainer.first";
    const change changes[] = {
        {.part = NULL},
        {.tensor = "layers.0.bias_ih_l0",
         .leave_out = true,
         .part = "layers.0.bias_ih_l0 [9] is missing"},
        {.tensor = "decoder.weight", .leave_out = true, .part = "decoder.weight [2, 3] is missing"},
        {.tensor = "decoder.weight",
         .with = square,
         .part = "decoder.weight is [3, 3], but the net asks for [2, 3]"},
        {.tensor = "decoder.weight", .with = row, .part = "is [9], but the net asks for [2, 3]"},
        {.tensor = "layers.0.bias_ih_l0", .with = whole, .part = "is I32"},
        {.with = extra, .part = "extra [9] has no place"},
        {.with = trainer, .part = NULL},
        {.key = "carousel.format", .value = NULL, .part = "carousel.format is missing"},
        {.key = "carousel.format", .value = "2", .part = "format 2"},
        {.key = "carousel.net", .value = NULL, .part = "carousel.net is missing"},
        {.key = "carousel.net",
         .value = "gru 4 | softmax",
         .part = "layers.0.weight_ih_l0 is [9, 5], but the net asks for [12, 5]"},
        {.key = "carousel.net",
         .value = "gru 1000000 x200 | softmax",
         .part = "asks for [3000000, 5]"},
        {.key = "carousel.net", .value = "cell:/etc/passwd 3 | softmax", .part = "not allowed"},
        {.key = "carousel.net", .value = "gru", .part = "needs a size"},
        {.key = "carousel.input_size", .value = "-5", .part = "carousel.input_size"},
        {.key = "carousel.input_size", .value = "99999999999", .part = "carousel.input_size"},
        {.key = "carousel.output_size", .value = "16777216", .part = "asks for [16777216, 3]"},
        {.key = "carousel.output_size", .value = NULL, .part = "is missing"},
        {.key = "carousel.cell.gru",
         .value = "cell gru(x) -> y\ny = ",
         .part = "carousel.cell.gru"},
        {.key = "carousel.cell.gru",
         .value = "cell other(x) -> y\ny = W@x\n",
         .part = "named `other`"},
        {.key = "carousel.cell.gru", .value = NULL, .part = NULL}, /* the zoo's */
        {.tensor = "layers.0.bias_hh_l0", .with = bias, .part = NULL},
    };
    char path[64];
    temporary_path(path);
    car_model *model = make_model("gru 3 | softmax", 5, 2, NULL), *loaded;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        car_error error = {0};
        write_changed(model, &changes[i], path);
        car_status status = car_model_load(path, NULL, &loaded, &error);
        if (changes[i].part && (status != CAR_MODEL || !strstr(error.message, changes[i].part)))
            fail_msg("change %zu: %d: %s (not: %s)", i, (int)status, error.message,
                     changes[i].part);
        if (!changes[i].part)
            require(status, &error);
        /* the last one: PyTorch's second biases are added where the cell has one bias */
        if (i + 1 == sizeof changes / sizeof *changes) {
            size_t count;
            float *before = tensor_of(model, "layers.0.bias_ih_l0", &count);
            float *after = tensor_of(loaded, "layers.0.bias_ih_l0", &count);
            for (size_t k = 0; k < 9; k++)
                assert_true(after[k] == before[k] + (k < 6 ? 1 : 0));
            free(before);
            free(after);
            after = tensor_of(loaded, "layers.0.bias_hh_l0", &count);
            for (size_t k = 0; k < 9; k++)
                assert_true(after[k] == (k < 6 ? 0 : 1));
            free(after);
        }
        car_model_free(loaded);
    }
    car_model_free(model);
    unlink(path);
}

/* No prefix and no flipped bit of a file is taken for a model. */
static void test_damaged_files(void **state) {
    (void)state;
    char path[64], *data;
    size_t length;
    car_error error = {0};
    temporary_path(path);
    car_model *model = make_model("project 1 | linear", 1, 1, NULL), *loaded;
    require(car_model_save(model, path, &error), &error);
    car_model_free(model);
    require(car_file_read(path, 1 << 20, NULL, &data, &length, &error), &error);
    for (size_t bit = 0; bit < 8 * length; bit++) {
        car_container *container;
        bool cut = bit % 8 == 0;
        data[bit / 8] = (char)(data[bit / 8] ^ (1 << bit % 8));
        for (int attempt = 0; attempt < (cut ? 2 : 1); attempt++) {
            size_t size = attempt ? bit / 8 : length;
            car_status status = car_container_parse(data, size, "t", NULL, &container, &error);
            if (status == CAR_OK) {
                status = car_model_read(container, "t", NULL, &loaded, &error);
                car_container_free(container);
            }
            if (status != CAR_MODEL)
                fail_msg("%s %zu: status %d", attempt ? "cut at byte" : "flipped bit",
                         attempt ? size : bit, (int)status);
            if (attempt == 0)
                data[bit / 8] = (char)(data[bit / 8] ^ (1 << bit % 8));
        }
    }
    car_release(NULL, data);
    assert_int_equal(car_model_load("/no/such/model", NULL, &loaded, &error), CAR_IO);
    unlink(path);
}

/* ---- Memory that runs out ----------------------------------------------------------------------------- */

typedef struct counting {
    int left, live;
} counting;

static void *count_allocate(void *context, size_t size, size_t alignment) {
    counting *counts = context;
    if (counts->left-- <= 0)
        return NULL;
    void *block = NULL;
    if (posix_memalign(&block, alignment, size) != 0)
        return NULL;
    counts->live++;
    return block;
}

static void count_release(void *context, void *block) {
    ((counting *)context)->live--;
    free(block);
}

/* A whole life with an allocator that fails at its `left`th call. */
static car_status live(const car_allocator *allocator, const char *path, car_error *error) {
    car_net *net;
    CAR_TRY(car_net_parse("embed 4 | lstm 5 init orthogonal | dense 3 | softmax", NULL, 0,
                          allocator, &net, error));
    const car_model_options options = {.input_size = 6, .output_size = 4, .bias_init = "bf=2"};
    car_model *model = NULL, *copy = NULL, *loaded = NULL;
    car_session *session = NULL;
    car_status status = car_model_create(net, &options, allocator, &model, error);
    if (status == CAR_OK)
        status = car_model_set_metadata(model, "key", "value", error);
    if (status == CAR_OK)
        status = car_model_copy(model, allocator, &copy, error);
    if (status == CAR_OK)
        status = car_model_save(copy, path, error);
    if (status == CAR_OK)
        status = car_model_load(path, allocator, &loaded, error);
    if (status == CAR_OK)
        status = car_session_create(loaded, NULL, allocator, &session, error);
    car_session_free(session);
    car_model_free(loaded);
    car_model_free(copy);
    car_model_free(model);
    car_net_free(net);
    return status;
}

static void test_memory(void **state) {
    (void)state;
    char path[64];
    temporary_path(path);
    int failures = 0;
    for (int left = 0;; left++) {
        counting counts = {.left = left};
        const car_allocator allocator = {&counts, count_allocate, count_release};
        car_error error = {0};
        car_status status = live(&allocator, path, &error);
        assert_int_equal(counts.live, 0);
        if (status == CAR_OK)
            break;
        if (status != CAR_MEMORY)
            fail_msg("allocation %d: %d: %s", left, (int)status, error.message);
        failures++;
    }
    assert_true(failures > 50);
    unlink(path);
}

/* ---- Sessions ----------------------------------------------------------------------------------------- */

static car_session *make_session(const car_model *model, int lanes, int steps, int threads) {
    car_error error = {0};
    car_session *session;
    const car_session_options options = {lanes, steps, threads};
    require(car_session_create(model, &options, NULL, &session, &error), &error);
    return session;
}

static const void *row_of(const car_model *model, const void *input, int row) {
    size_t width = starts_with_ids(model) ? 1 : (size_t)model->input_size;
    return (const char *)input + (size_t)row * width * 4;
}

enum { STEPS = 23, LANES = 5 };

/* One way of running all steps: pieces of `piece` steps (0: single steps by car_session_step). */
static float *run_in(const car_model *model, const int *lane_of, int lanes, int capacity, int piece,
                     int threads) {
    car_error error = {0};
    car_session *session = make_session(model, lanes, capacity, threads);
    size_t row = (size_t)lanes * (size_t)model->output_size;
    float *output = calloc(STEPS * row, sizeof *output);
    void *input = make_input(model, STEPS, lanes, lane_of);
    for (int t = 0; t < STEPS;) {
        int count = piece > STEPS - t ? STEPS - t : piece;
        const void *at = row_of(model, input, t * lanes);
        /* with pieces of 0 every seventh step comes as a run, so that states change stacks */
        if (piece == 0 && t % 7 != 6)
            require(car_session_step(session, at, output + (size_t)t * row, &error), &error);
        else
            require(
                car_session_run(session, piece ? count : 1, at, output + (size_t)t * row, &error),
                &error);
        t += piece ? count : 1;
    }
    free(input);
    car_session_free(session);
    return output;
}

static void check_lanes(const car_model *model, const float *a, const float *b, const int *lane_of,
                        int lanes, const char *what) {
    size_t outputs = (size_t)model->output_size;
    for (int t = 0; t < STEPS; t++)
        for (int lane = 0; lane < lanes; lane++) {
            const float *from = a + ((size_t)t * LANES + (size_t)lane_of[lane]) * outputs;
            const float *to = b + ((size_t)t * (size_t)lanes + (size_t)lane) * outputs;
            if (memcmp(from, to, outputs * sizeof *from) != 0)
                fail_msg("%s, %s: step %d, lane %d differs", car_model_net(model), what, t, lane);
        }
}

static void test_streaming(void **state) {
    (void)state;
    static const char *const nets[] = {"embed 20 | lstm 33 x2 dropout 0.5 | softmax",
                                       "gru 40 | layernorm | rnn 40 residual | linear",
                                       "embed 24 | gru-v1 24 | softmax tie",
                                       "dense 17 | slstm 130 | sigmoid"};
    static const int same[LANES] = {0, 1, 2, 3, 4}, mixed[LANES] = {3, 0, 4, 1, 2}, one[1] = {3};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        car_model *model = make_model(nets[i], 71, 71, NULL);
        float *whole = run_in(model, NULL, LANES, STEPS, STEPS, 1);
        for (size_t k = 0; k < STEPS * LANES * 71; k++)
            assert_true(isfinite(whole[k]));
        assert_true(memcmp(whole, whole + 71, 71 * sizeof *whole) != 0);
        const struct {
            const char *what;
            const int *lane_of;
            int lanes, capacity, piece, threads;
        } ways[] = {{"single steps", same, LANES, 4, 0, 1},
                    {"runs of 3", same, LANES, STEPS, 3, 1},
                    {"chunks of 5", same, LANES, 5, STEPS, 1},
                    {"2 threads", same, LANES, 9, STEPS, 2},
                    {"3 threads", same, LANES, STEPS, STEPS, 3},
                    {"steps and runs with 3 threads", same, LANES, 4, 0, 3},
                    {"other lane order", mixed, LANES, STEPS, STEPS, 1},
                    {"alone", one, 1, STEPS, STEPS, 1},
                    {"alone, single steps", one, 1, 1, 0, 1}};
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            float *output = run_in(model, ways[w].lane_of, ways[w].lanes, ways[w].capacity,
                                   ways[w].piece, ways[w].threads);
            check_lanes(model, whole, output, ways[w].lane_of, ways[w].lanes, ways[w].what);
            free(output);
        }
        free(whole);
        car_model_free(model);
    }
}

/* Steps whose outputs nobody asks for move the states as others do: the last step shows it, of single steps and of runs. */
static void test_silent_steps(void **state) {
    (void)state;
    static const char *const nets[] = {"embed 20 | lstm 33 x2 | softmax",
                                       "dense 17 | gru 20 | linear"};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        car_error error = {0};
        car_model *model = make_model(nets[i], 71, 71, NULL);
        float *whole = run_in(model, NULL, LANES, STEPS, STEPS, 1);
        void *input = make_input(model, STEPS, LANES, NULL);
        float last[LANES * 71];
        for (int piece = 0; piece < 3; piece++) {
            car_session *session = make_session(model, LANES, 4, 1);
            for (int t = 0, count; t < STEPS; t += count) {
                const void *at = row_of(model, input, t * LANES);
                const int most = STEPS - 1 - t;
                count = piece * 3 > most || piece == 0 ? 1 : piece * 3;
                float *output = t == STEPS - 1 ? last : NULL;
                require(piece ? car_session_run(session, count, at, output, &error)
                              : car_session_step(session, at, output, &error),
                        &error);
            }
            assert_memory_equal(last, whole + (STEPS - 1) * LANES * 71, sizeof last);
            memset(last, 0, sizeof last);
            car_session_free(session);
        }
        free(input);
        free(whole);
        car_model_free(model);
    }
}

static void test_state(void **state) {
    (void)state;
    car_error error = {0};
    car_model *model = make_model("embed 9 | lstm 19 | slstm 6 | softmax", 12, 12, NULL);
    car_session *a = make_session(model, 3, 8, 1), *b = make_session(model, 2, 8, 2);
    size_t floats = car_session_state_size(a);
    assert_int_equal(floats, 2 * 19 + 6 * model->net->layers[2].cell->state_count);
    float *fresh = calloc(floats, sizeof *fresh), *later = calloc(floats, sizeof *later);
    float out_a[3 * 12], out_b[2 * 12];
    car_session_get_state(a, 2, fresh);
    const int32_t first[3] = {1, 2, 3};
    require(car_session_step(a, first, out_a, &error), &error);
    car_session_get_state(a, 2, later);
    assert_true(memcmp(fresh, later, floats * sizeof *fresh) != 0);
    car_session_set_state(b, 1, later);
    const int32_t next_a[3] = {4, 5, 6}, next_b[2] = {7, 6};
    require(car_session_step(a, next_a, out_a, &error), &error);
    require(car_session_step(b, next_b, out_b, &error), &error);
    assert_memory_equal(out_a + 24, out_b + 12, 12 * sizeof(float));
    car_session_reset(a, 2);
    car_session_get_state(a, 2, later);
    assert_memory_equal(fresh, later, floats * sizeof *fresh);
    car_session_get_state(a, 1, later);
    assert_true(memcmp(fresh, later, floats * sizeof *fresh) != 0);
    car_session_reset(a, -1);
    car_session_get_state(a, 1, later);
    assert_memory_equal(fresh, later, floats * sizeof *fresh);
    free(fresh);
    free(later);
    car_session_free(a);
    car_session_free(b);
    car_model_free(model);
}

static void test_session_refusals(void **state) {
    (void)state;
    static const char *const nets[] = {"rnn 4 bi | linear", "rnn 4 | linear last",
                                       "rnn 4 | linear mean"};
    static const char *const parts[] = {"`bi`", "`last`", "`mean`"};
    car_error error = {0};
    car_session *session;
    for (int i = 0; i < 3; i++) {
        car_model *model = make_model(nets[i], 4, 4, NULL);
        assert_int_equal(car_session_create(model, NULL, NULL, &session, &error), CAR_USAGE);
        assert_non_null(strstr(error.message, parts[i]));
        car_model_free(model);
    }
    car_model *model = make_model("embed 4 | rnn 4 | softmax", 6, 4, NULL);
    session = make_session(model, 2, 2, 1);
    float output[4 * 2 * 4], before[4], after[4];
    const int32_t bad[8] = {0, 1, 2, 3, 4, 6, 0, 0};
    car_session_get_state(session, 0, before);
    assert_int_equal(car_session_run(session, 4, bad, output, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "id 6 at step 2, lane 1"));
    car_session_get_state(session, 0, after);
    assert_memory_equal(before, after, sizeof before);
    const int32_t negative[2] = {0, -1};
    assert_int_equal(car_session_step(session, negative, output, &error), CAR_DATA);
    assert_int_equal(car_session_run(session, -1, bad, output, &error), CAR_USAGE);
    const car_session_options options = {.lanes = -1};
    car_session *other;
    assert_int_equal(car_session_create(model, &options, NULL, &other, &error), CAR_USAGE);
    const car_session_options huge = {.lanes = 1 << 30, .steps = 1 << 30};
    assert_int_equal(car_session_create(model, &huge, NULL, &other, &error), CAR_MEMORY);
    car_session_free(session);
    car_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_own_cells),
        cmocka_unit_test(test_model_refusals),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_init_by_index),
        cmocka_unit_test(test_schemes),
        cmocka_unit_test(test_chrono),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_tensor_names),
        cmocka_unit_test(test_changed_files),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_streaming),
        cmocka_unit_test(test_silent_steps),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_session_refusals),
        cmocka_unit_test(test_convert),
        cmocka_unit_test_setup_teardown(test_round_trip, in_bf16, in_f32),
        cmocka_unit_test_setup_teardown(test_memory, in_bf16, in_f32),
        cmocka_unit_test_setup_teardown(test_streaming, in_bf16, in_f32),
        cmocka_unit_test_setup_teardown(test_streaming, in_int8, in_f32),
        cmocka_unit_test_setup_teardown(test_state, in_int8, in_f32),
    };
    return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
