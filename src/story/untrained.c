/*
 * untrained.c: the claims that need no trained net: scales of the recurrent matrix, clipping, random walks, depth.
 *
 * In: seeds. Out: samples for the rules; charts.
 */
#include "story.h"
#include <math.h>
#include <string.h>

enum {
    STEPS = CAR_STORY_STEPS,
    LANES = CAR_STORY_LANES,
    UNITS = 32,   /* of the rnn */
    DEPTH = 50,   /* layers, and steps of the repeated matrix */
    WIDTH = 64,   /* of a layer */
    UPDATES = 60, /* of the comparison of clippings */
    RECENT = 10,
    SCALES = 5,
    WALKS = 6,
    CHOICE_SEEDS = 5,
    CHOICE_OFFSET = 1000000 /* seeds that only choose a scale */
};
static const double scales[SCALES] = {0.5, 0.9, 1.1, 1.5, 2};
static const double walks[WALKS] = {0.8, 1, 1.1, 1.2, 1.3, 1.4};
static const double TINY = 1e-45, THRESHOLD = 1, RATE = 0.3;

static void note(const car_story *story, car_rule_id rule, int seed, double value) {
    story->samples[rule][seed] = value;
}

static double *make_numbers(car_story *story, size_t count) {
    double *numbers = car_arena_allocate(story->arena, count, sizeof *numbers);
    story->no_memory |= numbers == NULL;
    return numbers;
}

/* ---- Nets ----------------------------------------------------------------------------------------------- */

/* `net` with cells of the story's own; values in, one value out. */
static car_status make_net(const car_story *story, const char *text, const char *cell_text,
                           int inputs, uint64_t seed, const char *init, car_model **model,
                           car_error *error) {
    car_cell *cell = NULL;
    car_net *net = NULL;
    const car_model_options options = {
        .input_size = inputs, .output_size = 1, .seed = seed, .init = init};
    *model = NULL;
    if (cell_text)
        CAR_TRY(car_cell_compile(cell_text, strlen(cell_text), "story", story->allocator, &cell,
                                 error));
    const car_cell *cells[] = {cell};
    car_status status = car_net_parse(text, cells, cell != NULL, story->allocator, &net, error);
    if (status == CAR_OK)
        status = car_model_create(net, &options, story->allocator, model, error);
    car_net_free(net);
    car_cell_free(cell);
    return status;
}

static void fill_normal(float *values, size_t count, uint64_t seed, uint64_t sequence) {
    car_probe_draws draws = car_probe_draws_of(seed, CAR_PROBE_TEST, sequence);
    for (size_t i = 0; i < count; i++)
        values[i] = car_probe_draw_normal(&draws);
}

/* The rnn with its recurrent matrix by a scheme, over `steps` steps; how the gradient at h shrinks or grows on its way
 * back. Input: weak noise at every step, or normal values at the first step alone. */
static car_status flow_of_rnn(car_story *story, const char *scheme, int units, int steps,
                              bool first_only, uint64_t seed, double *shares, car_error *error) {
    char text[512], net[40];
    car_model *model;
    car_flow flow = {0};
    snprintf(text, sizeof text,
             "cell story-rnn(x) -> h\nstate h\nh' = tanh(W@x + U@h + b)\ninit W = walk(1)\ninit U "
             "= %.60s\n",
             scheme);
    snprintf(net, sizeof net, "story-rnn %d | linear", units);
    CAR_TRY(make_net(story, net, text, units, seed, NULL, &model, error));
    car_arena *arena = car_arena_create(story->allocator);
    size_t row = (size_t)LANES * (size_t)units, count = row * (size_t)steps;
    float *input = arena ? car_arena_allocate(arena, count + LANES, sizeof *input) : NULL;
    car_status status = CAR_OK;
    if (input) {
        fill_normal(input, first_only ? row : count, seed, 0);
        for (size_t i = 0; i < count && !first_only; i++)
            input[i] *= 0.1f;
        fill_normal(input + count, LANES, seed, 1);
        const car_batch batch = {.steps = steps, .input = input, .target = input + count};
        status = car_model_flow(model, &batch, LANES, arena, &flow, error);
    } else {
        status = car_fail(error, CAR_MEMORY, "no memory for the story");
    }
    for (int k = 0; k < steps && status == CAR_OK && flow.curve_count > 0; k++)
        shares[k] = fmax(flow.curves[0].median[k], TINY) / fmax(flow.curves[0].median[0], TINY);
    car_arena_free(arena);
    car_model_free(model);
    return status;
}

/* ---- 2: the recurrent matrix's scale -------------------------------------------------------------------- */

static car_status measure_scales(car_story *story, car_error *error) {
    static const car_words names[SCALES] = {{"scale 0.5", "尺度 0.5"},
                                            {"scale 0.9", "尺度 0.9"},
                                            {"scale 1.1", "尺度 1.1"},
                                            {"scale 1.5", "尺度 1.5"},
                                            {"scale 2", "尺度 2"}};
    size_t seeds = (size_t)story->request.seeds;
    double *shares[SCALES], back[STEPS];
    for (int s = 0; s < SCALES; s++)
        shares[s] = make_numbers(story, seeds * STEPS);
    for (int k = 0; k < STEPS; k++)
        back[k] = k + 1;
    for (size_t seed = 0; seed < seeds && !story->no_memory; seed++)
        for (int s = 0; s < SCALES; s++) {
            char scheme[40];
            snprintf(scheme, sizeof scheme, "orthogonal(%g)", scales[s]);
            double *own = shares[s] + seed * STEPS;
            CAR_TRY(flow_of_rnn(story, scheme, UNITS, STEPS, false,
                                (uint64_t)story->request.seed + seed, own, error));
            if (s == 0 || s == SCALES - 1)
                note(story, s ? CAR_RULE_LARGE_EXPLODES : CAR_RULE_SMALL_VANISHES, (int)seed,
                     log10(own[STEPS - 1]));
        }
    car_story_chart *chart = car_story_add_chart(
        story, 1, CAR_CHART_LINES,
        (car_words){"One matrix, again and again", "同一个矩阵，一乘再乘"},
        (car_words){"A line that falls is a gradient that vanishes, one that rises a gradient that "
                    "explodes. The matrix is an orthogonal one times the scale.",
                    "线往下是梯度消失，往上是梯度爆炸。矩阵是正交矩阵乘以该尺度。"},
        (car_words){"k, steps before the loss", "k：距损失的步数"},
        (car_words){"gradient, as a share of that at k = 1", "梯度（相对于 k = 1）"});
    if (!chart || story->no_memory)
        return CAR_OK;
    chart->logarithmic_y = true;
    for (int s = 0; s < SCALES; s++)
        car_story_add_curve(story, chart, names[s], back, shares[s], STEPS);
    return CAR_OK;
}

/* ---- 3: clipping ---------------------------------------------------------------------------------------- */

typedef enum clipping { CLIP_NONE, CLIP_NORM, CLIP_VALUE, CLIP_COUNT } clipping;

static double cosine(const float *one, const float *other, size_t count) {
    double product = 0, a = 0, b = 0;
    for (size_t i = 0; i < count; i++) {
        product += (double)one[i] * (double)other[i];
        a += (double)one[i] * (double)one[i];
        b += (double)other[i] * (double)other[i];
    }
    return a > 0 && b > 0 ? product / sqrt(a * b) : NAN;
}

static double cosine_when_cut(const float *gradient, size_t count, double most) {
    double product = 0, a = 0, b = 0;
    for (size_t i = 0; i < count; i++) {
        double raw = (double)gradient[i], cut = fmin(fmax(raw, -most), most);
        product += raw * cut;
        a += raw * raw;
        b += cut * cut;
    }
    return a > 0 && b > 0 ? product / sqrt(a * b) : NAN;
}

typedef struct clipped_training {
    double fell, cosine; /* shares and means over the updates in which something was clipped */
    int clipped;
} clipped_training;

/* A few updates of plain gradient descent on the agreement task, from a recurrent matrix that explodes. */
static car_status train_clipped(car_story *story, const car_model *model, clipping kind, int seed,
                                clipped_training *out, car_error *error) {
    car_probe_problem problem;
    car_probe_batch *batch;
    car_trainer *trainer = NULL;
    double most = THRESHOLD / sqrt((double)car_model_parameter_count(model));
    CAR_TRY(car_story_batch(story, CAR_STORY_MIDDLE, seed, &problem, &batch, error));
    const car_trainer_options options = {.batch = LANES,
                                         .steps = problem.most_steps,
                                         .threads = 1,
                                         .optimizer = "sgd",
                                         .clip_norm = kind == CLIP_NORM ? (float)THRESHOLD : 0,
                                         .clip_value = kind == CLIP_VALUE ? (float)most : 0};
    car_status status = car_trainer_create(model, &options, story->allocator, &trainer, error);
    *out = (clipped_training){0};
    for (int i = 0; i < UPDATES && status == CAR_OK; i++) {
        car_step_result before, after;
        car_probe_fill(&problem, CAR_PROBE_TRAIN, (uint64_t)i * LANES, batch);
        const car_batch given = {
            .steps = batch->steps, .reset = true, .input = batch->input, .target = batch->classes};
        status = car_trainer_step(trainer, &given, (float)RATE, &before, error);
        if (status == CAR_DIVERGED) {
            status = CAR_OK;
            break;
        }
        if (status == CAR_OK)
            status = car_trainer_evaluate(trainer, &given, &after, error);
        bool counts = kind == CLIP_NONE ? before.gradient_norm > THRESHOLD : before.clipped;
        if (status != CAR_OK || !counts)
            continue;
        out->clipped++;
        out->fell += after.loss < before.loss;
        out->cosine += kind == CLIP_VALUE
                           ? cosine_when_cut(trainer->gradient, trainer->weight_floats, most)
                           : 1;
    }
    out->fell = out->clipped ? out->fell / out->clipped : NAN;
    out->cosine = out->clipped ? out->cosine / out->clipped : NAN;
    car_trainer_free(trainer);
    car_release(story->allocator, batch);
    return status;
}

/* The gradient of all weights, gone back through all steps or through the last ones alone. */
static car_status compare_near(const car_story *story, const car_model *model, int seed,
                               double *near, car_error *error) {
    car_probe_problem problem;
    car_probe_batch *batch;
    car_model *copy = NULL;
    CAR_TRY(car_story_batch(story, CAR_STORY_MIDDLE, seed, &problem, &batch, error));
    car_status status = car_model_copy(model, story->allocator, &copy, error);
    const car_stack_shape shape = {
        .batch = LANES, .steps = problem.most_steps, .threads = 1, .backward = true};
    size_t bytes = copy ? car_stack_size(copy, &shape) : 0, floats = copy ? copy->weight_floats : 0;
    void *memory = bytes ? car_allocate(story->allocator, bytes, 1) : NULL;
    float *gradient = car_allocate(story->allocator, 2 * floats + 1, sizeof *gradient);
    if (status == CAR_OK && (!memory || !gradient))
        status = car_fail(error, CAR_MEMORY, "no memory for the story");
    double loss;
    int64_t counted;
    for (int whole = 0; whole < 2 && status == CAR_OK; whole++) {
        int early = whole ? 0 : batch->steps - RECENT;
        car_stack *stack = car_stack_place(copy, &shape, memory);
        const float *late = batch->input + (size_t)early * LANES * (size_t)problem.inputs;
        car_stack_reset(stack, -1);
        if (early > 0)
            status = car_stack_forward(stack, early, NULL, batch->input, NULL, 0, error);
        if (early > 0)
            car_stack_carry(stack);
        if (status == CAR_OK)
            status = car_stack_forward(stack, batch->steps - early, NULL, late, NULL, 0, error);
        if (status == CAR_OK)
            status = car_stack_loss(stack, batch->classes, gradient + (size_t)whole * floats, &loss,
                                    &counted, error);
        if (status == CAR_OK)
            car_stack_backward(stack, late, gradient + (size_t)whole * floats);
        if (memory)
            memset(memory, 0, bytes);
    }
    *near = status == CAR_OK ? cosine(gradient, gradient + floats, floats) : NAN;
    car_release(story->allocator, gradient);
    car_release(story->allocator, memory);
    car_release(story->allocator, batch);
    car_model_free(copy);
    return status;
}

static car_status make_agreement_net(const car_story *story, const char *line, int seed,
                                     car_model **model, car_error *error) {
    char text[512];
    car_probe_problem problem;
    car_cell *cell;
    snprintf(text, sizeof text, "%.400s\n%s\n", car_zoo_text("rnn"), line);
    CAR_TRY(car_probe_problem_make(car_probe_task_find("agreement"), CAR_STORY_MIDDLE,
                                   (uint64_t)(story->request.seed + seed), NULL, &problem, error));
    CAR_TRY(car_cell_compile(text, strlen(text), "rnn", story->allocator, &cell, error));
    car_status status =
        car_probe_model_make(&problem, cell, UNITS, NULL, NULL, story->allocator, model, error);
    car_cell_free(cell);
    return status;
}

static car_status measure_one_clipping(car_story *story, int seed, double *fell, car_error *error) {
    car_model *model;
    double near = NAN;
    CAR_TRY(make_agreement_net(story, "init U = orthogonal(2)", seed, &model, error));
    car_status status = CAR_OK;
    for (int kind = 0; kind < CLIP_COUNT && status == CAR_OK; kind++) {
        clipped_training result = {.fell = NAN, .cosine = NAN};
        status = train_clipped(story, model, (clipping)kind, seed, &result, error);
        fell[seed * CLIP_COUNT + kind] = result.fell;
        if (kind == CLIP_NORM)
            note(story, CAR_RULE_NORM_KEEPS_WAY, seed, result.fell);
        if (kind == CLIP_VALUE)
            note(story, CAR_RULE_VALUE_TURNS, seed, result.cosine);
    }
    car_model_free(model);
    if (status != CAR_OK)
        return status;
    CAR_TRY(make_agreement_net(story, "", seed, &model, error));
    status = compare_near(story, model, seed, &near, error);
    note(story, CAR_RULE_NEAR_IS_ALL, seed, near);
    car_model_free(model);
    return status;
}

static car_status measure_clipping(car_story *story, car_error *error) {
    static const car_words labels[CLIP_COUNT] = {
        {"not clipped", "不裁剪"}, {"by norm", "按范数"}, {"by value", "按数值"}};
    double *fell = make_numbers(story, (size_t)(story->request.seeds * CLIP_COUNT));
    for (int seed = 0; seed < story->request.seeds && !story->no_memory; seed++)
        CAR_TRY(measure_one_clipping(story, seed, fell, error));
    car_story_chart *chart = car_story_add_chart(
        story, 2, CAR_CHART_BARS,
        (car_words){"After how many steps was the loss lower?", "多少步之后损失下降了？"},
        (car_words){"Only steps whose gradient was above the threshold count; at 1 every one of "
                    "them led downhill. Median; whisker: worst to best seed.",
                    "只数梯度超过阈值的步；1 表示每一步都在下降。中位数；须线：最差到最好的种子。"},
        (car_words){NULL, NULL}, (car_words){"share of the steps", "更新后损失下降的步数比例"});
    if (!chart || story->no_memory)
        return CAR_OK;
    chart->labels = labels;
    chart->label_count = CLIP_COUNT;
    chart->low = 0;
    chart->high = 1;
    car_story_add_curve(story, chart, (car_words){"share", "比例"}, NULL, fell, CLIP_COUNT);
    return CAR_OK;
}

/* ---- 9, 10: a deep net, and one matrix repeated --------------------------------------------------------- */

/* log10 of |dL/db| of the first layer over that of the last: b's gradient is that of the layer's sums. */
static double log_factor_of_biases(const car_trainer *trainer) {
    const car_model *model = trainer->model;
    float values[WIDTH];
    double first = 0, last = 0;
    for (int i = 0; i < model->tensor_count; i++) {
        const car_tensor_place *place = &model->tensors[i];
        bool end = place->layer == 0 || place->layer == DEPTH - 1;
        if (place->role != CAR_TENSOR_CELL || place->rank != 1 || !end)
            continue;
        double sum = 0;
        car_model_unpack(model, i, trainer->gradient, values);
        for (int u = 0; u < WIDTH; u++)
            sum += (double)values[u] * (double)values[u];
        *(place->layer == 0 ? &first : &last) = sqrt(sum);
    }
    return log10(fmax(first, TINY) / fmax(last, TINY));
}

static car_status deep_factor(const car_story *story, const char *init, uint64_t seed,
                              double *factor, car_error *error) {
    float input[LANES * WIDTH], target[LANES];
    char net[60];
    car_model *model;
    car_trainer *trainer = NULL;
    car_step_result result;
    const car_trainer_options options = {
        .batch = LANES, .steps = 1, .threads = 1, .optimizer = "sgd"};
    snprintf(net, sizeof net, "dense %d x%d | linear", WIDTH, DEPTH);
    CAR_TRY(make_net(story, net, NULL, WIDTH, seed, init, &model, error));
    fill_normal(input, LANES * WIDTH, seed, 0);
    fill_normal(target, LANES, seed, 1);
    const car_batch batch = {.steps = 1, .reset = true, .input = input, .target = target};
    car_status status = car_trainer_create(model, &options, story->allocator, &trainer, error);
    if (status == CAR_OK)
        status = car_trainer_step(trainer, &batch, 0, &result, error);
    if (status == CAR_OK)
        *factor = log_factor_of_biases(trainer);
    car_trainer_free(trainer);
    car_model_free(model);
    return status;
}

static car_status walk_factor(const car_story *story, int walk, uint64_t seed, double *factor,
                              car_error *error) {
    char init[40];
    snprintf(init, sizeof init, "walk(%g)", walks[walk]);
    return deep_factor(story, init, seed, factor, error);
}

static car_status repeated_factor(car_story *story, int walk, uint64_t seed, double *factor,
                                  car_error *error) {
    char init[40];
    double shares[DEPTH];
    snprintf(init, sizeof init, "walk(%g)", walks[walk]);
    CAR_TRY(flow_of_rnn(story, init, WIDTH, DEPTH, true, seed, shares, error));
    *factor = log10(shares[DEPTH - 1]);
    return CAR_OK;
}

/* The scale at which the deep net's gradient changes least, on seeds that no figure comes from. */
static car_status choose_walk(const car_story *story, int *best, car_error *error) {
    double least = INFINITY;
    for (int walk = 0; walk < WALKS; walk++) {
        double sum = 0;
        for (uint64_t i = 0; i < CHOICE_SEEDS; i++) {
            double factor;
            CAR_TRY(walk_factor(story, walk, (uint64_t)story->request.seed + CHOICE_OFFSET + i,
                                &factor, error));
            sum += fabs(factor);
        }
        if (sum < least) {
            least = sum;
            *best = walk;
        }
    }
    return CAR_OK;
}

/* factors [seeds][2]: uniform weights, random walk at the chosen scale. */
static void draw_walk(car_story *story, const double *factors) {
    static const car_words labels[2] = {{"uniform weights", "均匀分布初值"},
                                        {"random walk, best scale", "随机游走，最佳尺度"}};
    car_story_chart *chart = car_story_add_chart(
        story, 8, CAR_CHART_BARS,
        (car_words){"The gradient through fifty layers", "梯度穿过五十层"},
        (car_words){
            "At 0 the gradient arrives as large as it set out; -10 is a ten-billionth of it. "
            "Median; "
            "whisker: least to largest seed.",
            "0 表示梯度到达时与出发时一样大，-10 是百亿分之一。中位数；须线：最小到最大的种子。"},
        (car_words){NULL, NULL}, (car_words){"log10 of the gradient's factor", "梯度倍数的 log10"});
    if (!chart)
        return;
    chart->cheap = true;
    chart->labels = labels;
    chart->label_count = 2;
    car_story_add_curve(story, chart, (car_words){"first layer to last", "首层比末层"}, NULL,
                        factors, 2);
}

static car_status measure_depth(car_story *story, double *deep, double *repeated,
                                car_error *error) {
    int best = 0;
    double *factors = make_numbers(story, 2 * (size_t)story->request.cheap);
    if (!factors)
        return CAR_OK;
    CAR_TRY(choose_walk(story, &best, error));
    for (int seed = 0; seed < story->request.cheap; seed++) {
        double plain;
        uint64_t own = (uint64_t)(story->request.seed + seed);
        for (int walk = 0; walk < WALKS; walk++) {
            CAR_TRY(walk_factor(story, walk, own, &deep[seed * WALKS + walk], error));
            CAR_TRY(repeated_factor(story, walk, own, &repeated[seed * WALKS + walk], error));
        }
        CAR_TRY(deep_factor(story, "uniform", own, &plain, error));
        double kept = fabs(deep[seed * WALKS + best]);
        factors[2 * seed] = plain;
        factors[2 * seed + 1] = deep[seed * WALKS + best];
        note(story, CAR_RULE_PLAIN_LOSES, seed, plain);
        note(story, CAR_RULE_WALK_KEEPS, seed, kept);
        note(story, CAR_RULE_DEEP_KEEPS, seed, kept);
        note(story, CAR_RULE_REPEAT_LOSES, seed, fabs(repeated[seed * WALKS + best]) - kept);
    }
    draw_walk(story, factors);
    return CAR_OK;
}

static void draw_depth(car_story *story, const double *deep, const double *repeated) {
    car_story_chart *chart = car_story_add_chart(
        story, 9, CAR_CHART_LINES,
        (car_words){"Fifty layers of their own, or one layer fifty times",
                    "五十层各有权重，还是一层重复五十次"},
        (car_words){
            "At 0 the gradient arrives as large as it set out; a wide band is a matter of "
            "luck. Line: median of the seeds; band: least to largest.",
            "0 "
            "表示梯度到达时与出发时一样大；带宽说明全凭运气。线是各种子的中位数，带是最小到最大。"},
        (car_words){"scale g of the random-walk weights (variance g²/n)",
                    "随机游走初值的尺度 g（方差 g²/n）"},
        (car_words){"log10 of the gradient's factor, first to last", "梯度倍数的 log10（首比尾）"});
    if (!chart)
        return;
    chart->cheap = true;
    car_story_add_curve(story, chart,
                        (car_words){"50 layers, each with its own weights", "50 层，各有权重"},
                        walks, deep, WALKS);
    car_story_add_curve(story, chart,
                        (car_words){"the rnn: one matrix, 50 times", "rnn：同一矩阵 50 次"}, walks,
                        repeated, WALKS);
}

car_status car_story_untrained(car_story *story, car_error *error) {
    size_t count = (size_t)story->request.cheap * WALKS;
    double *deep = make_numbers(story, count), *repeated = make_numbers(story, count);
    CAR_TRY(measure_scales(story, error));
    CAR_TRY(measure_clipping(story, error));
    if (story->no_memory)
        return CAR_OK;
    CAR_TRY(measure_depth(story, deep, repeated, error));
    draw_depth(story, deep, repeated);
    return CAR_OK;
}
