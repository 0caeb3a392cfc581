/*
 * test_train.c: updates, optimizers, schedules and divergence.
 *
 * In:  small nets and made-up tasks.
 * Out: optimizers and schedules against plain double formulas; the same bits with 1, 2 and 3 threads; small tasks
 *      learned; layer, gate and time step of what is not finite.
 */
#include "train_helpers.h"

/* ---- schedules ---------------------------------------------------------------------------------------- */

static void test_schedules(void **state) {
    (void)state;
    enum { PER_EPOCH = 10, LAST = 200 };
    car_schedule step = {.kind = CAR_SCHEDULE_STEP, .rate = 1, .factor = 0.5, .after = 4};
    car_schedule plateau = {
        .kind = CAR_SCHEDULE_PLATEAU, .rate = 0.3, .factor = 0.1, .patience = 1};
    car_schedule cosine = {.kind = CAR_SCHEDULE_COSINE, .rate = 0.2, .final = 0.1, .warmup = 20};
    car_schedule constant = {.kind = CAR_SCHEDULE_CONSTANT, .rate = 0.7, .warmup = 8};
    for (int update = 0; update < LAST; update++) {
        int epoch = update / PER_EPOCH + 1;
        double warm = update < 20 ? (update + 1) / 20.0 : 1;
        double turn = update < 20 ? 0 : (update - 20) / (double)(LAST - 1 - 20);
        double expected = 0.2 * (0.1 + 0.9 * 0.5 * (1 + cos(3.14159265358979323846 * turn))) * warm;
        assert_near(car_schedule_rate(&cosine, update, PER_EPOCH, LAST, 0), expected, 1e-12);
        assert_near(car_schedule_rate(&step, update, PER_EPOCH, LAST, 0),
                    epoch > 4 ? ldexp(1, 4 - epoch) : 1, 1e-15);
        assert_near(car_schedule_rate(&constant, update, PER_EPOCH, -1, 0),
                    update < 8 ? 0.7 * (update + 1) / 8 : 0.7, 1e-15);
    }
    assert_near(car_schedule_rate(&cosine, LAST - 1, PER_EPOCH, LAST, 0), 0.02, 1e-15);
    assert_near(car_schedule_rate(&cosine, 60, PER_EPOCH, -1, 0), 0.2, 1e-15);
    assert_near(car_schedule_rate(&plateau, 77, PER_EPOCH, LAST, 2), 0.003, 1e-15);
    car_schedule bad[] = {{.rate = 0},
                          {.rate = NAN},
                          {.rate = 1, .warmup = -1},
                          {.kind = CAR_SCHEDULE_STEP, .rate = 1, .factor = 0},
                          {.kind = CAR_SCHEDULE_STEP, .rate = 1, .factor = 0.5, .after = -1},
                          {.kind = CAR_SCHEDULE_PLATEAU, .rate = 1, .factor = 0.5, .patience = 0},
                          {.kind = CAR_SCHEDULE_COSINE, .rate = 1, .final = 1.5}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(car_schedule_check(&bad[i], NULL), CAR_USAGE);
    assert_int_equal(car_schedule_check(&cosine, NULL), CAR_OK);
}

/* ---- options ------------------------------------------------------------------------------------------ */

static void test_options_refused(void **state) {
    (void)state;
    static const struct {
        car_trainer_options options;
        const char *mention;
    } cases[] = {
        {{.batch = 0, .steps = 4}, "batch"},
        {{.batch = 4, .steps = 0}, "steps"},
        {{.batch = 4, .steps = -7}, "steps"},
        {{.batch = 1 << 16, .steps = 1 << 16}, "rows"},
        {{.batch = 2, .steps = 2, .threads = -1}, "threads"},
        {{.batch = 2, .steps = 2, .optimizer = "newton"}, "newton"},
        {{.batch = 2, .steps = 2, .optimizer = "sgd", .momentum = 1}, "momentum"},
        {{.batch = 2, .steps = 2, .optimizer = "adam", .momentum = 0.5f}, "momentum"},
        {{.batch = 2, .steps = 2, .beta1 = 1.5f}, "beta1"},
        {{.batch = 2, .steps = 2, .beta2 = -0.1f}, "beta2"},
        {{.batch = 2, .steps = 2, .epsilon = NAN}, "epsilon"},
        {{.batch = 2, .steps = 2, .decay = -1}, "decay"},
        {{.batch = 2, .steps = 2, .clip_norm = INFINITY}, "clip_norm"},
        {{.batch = 2, .steps = 2, .clip_value = -1}, "clip_value"},
    };
    car_model *model = make_model("embed 4 | rnn 4 | softmax", NULL, 0, SYMBOLS, SYMBOLS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        car_trainer *trainer;
        car_error error = {0};
        assert_int_equal(car_trainer_create(model, &cases[i].options, NULL, &trainer, &error),
                         CAR_USAGE);
        assert_null(trainer);
        assert_mentions(error.message, cases[i].mention);
    }
    car_model_free(model);
}

static void test_batches_refused(void **state) {
    (void)state;
    car_trainer *trainer =
        make_trainer("embed 4 | rnn 4 | softmax", SYMBOLS, SYMBOLS,
                     &(car_trainer_options){.batch = 2, .steps = 3, .threads = 1});
    car_trainer *twin = make_trainer("embed 4 | rnn 4 | softmax", SYMBOLS, SYMBOLS,
                                     &(car_trainer_options){.batch = 2, .steps = 3, .threads = 1});
    language_batch data;
    car_error error = {0};
    make_batch(&data, 2, 3, 0);
    car_batch bad = data.batch;
    bad.steps = 4;
    assert_int_equal(car_trainer_step(trainer, &bad, 0.1f, NULL, &error), CAR_USAGE);
    bad.steps = 0;
    assert_int_equal(car_trainer_evaluate(trainer, &bad, NULL, &error), CAR_USAGE);
    bad = data.batch;
    bad.target = NULL;
    assert_int_equal(car_trainer_step(trainer, &bad, 0.1f, NULL, &error), CAR_USAGE);
    assert_int_equal(car_trainer_step(trainer, &data.batch, NAN, NULL, &error), CAR_USAGE);
    run_updates(trainer, 1, 3);
    run_updates(twin, 1, 3);
    data.input[4] = SYMBOLS; /* out of range: state and weights must stay, despite `reset` */
    assert_int_equal(car_trainer_step(trainer, &data.batch, 0.1f, NULL, &error), CAR_DATA);
    run_updates(trainer, 3, 5);
    run_updates(twin, 3, 5);
    assert_same_weights(trainer, twin);
    car_trainer_free(trainer);
    car_trainer_free(twin);
}

/* ---- optimizers against plain double formulas ---------------------------------------------------------- */

typedef struct plain_state {
    double *weights, *first, *second;
    size_t count;
} plain_state;

static void plain_update(plain_state *plain, const car_trainer *trainer, double rate, int update) {
    const car_trainer_options *o = &trainer->options;
    double norm = 0;
    for (size_t i = 0; i < plain->count; i++)
        norm += (double)trainer->gradient[i] * (double)trainer->gradient[i];
    norm = sqrt(norm);
    double scale =
        o->clip_norm > 0 && norm > (double)o->clip_norm ? (double)o->clip_norm / norm : 1;
    double beta1 = (double)o->beta1, beta2 = (double)o->beta2, decay = (double)o->decay;
    for (size_t i = 0; i < plain->count; i++) {
        double g = scale * (double)trainer->gradient[i], *w = &plain->weights[i];
        if (o->clip_value > 0)
            g = fmax(-(double)o->clip_value, fmin((double)o->clip_value, g));
        if (trainer->optimizer == CAR_OPTIMIZER_ADAMW)
            *w -= rate * decay * *w;
        else
            g += decay * *w;
        double *m = &plain->first[i], *v = &plain->second[i];
        if (trainer->optimizer == CAR_OPTIMIZER_SGD) {
            *m = (double)o->momentum * *m + g;
            *w -= rate * *m;
        } else if (trainer->optimizer == CAR_OPTIMIZER_RMSPROP) {
            *v = beta2 * *v + (1 - beta2) * g * g;
            *w -= rate * g / (sqrt(*v) + (double)o->epsilon);
        } else {
            *m = beta1 * *m + (1 - beta1) * g;
            *v = beta2 * *v + (1 - beta2) * g * g;
            double mean = *m / (1 - pow(beta1, update)), square = *v / (1 - pow(beta2, update));
            *w -= rate * mean / (sqrt(square) + (double)o->epsilon);
        }
    }
}

static void check_optimizer(const car_trainer_options *options) {
    car_trainer *trainer = make_trainer("embed 5 | lstm 7 | softmax", SYMBOLS, SYMBOLS, options);
    size_t count = trainer->weight_floats;
    plain_state plain = {calloc(count, sizeof(double)), calloc(count, sizeof(double)),
                         calloc(count, sizeof(double)), count};
    assert_true(plain.weights && plain.first && plain.second);
    double moved = 0;
    for (size_t i = 0; i < count; i++)
        plain.weights[i] = (double)trainer->model->weights[i];
    for (int update = 1; update <= 4; update++) {
        language_batch data;
        float before = trainer->model->weights[0];
        make_batch(&data, options->batch, options->steps, update);
        ok(car_trainer_step(trainer, &data.batch, 0.01f, NULL, fault));
        plain_update(&plain, trainer, (double)0.01f, update);
        moved += fabs((double)(trainer->model->weights[0] - before));
        for (size_t i = 0; i < count; i++) {
            double difference = fabs((double)trainer->model->weights[i] - plain.weights[i]);
            if (difference > 2e-6 * (1 + fabs(plain.weights[i])))
                fail_msg("%s: weight %zu after update %d is %.9g, should be %.9g",
                         trainer->options.optimizer, i, update, (double)trainer->model->weights[i],
                         plain.weights[i]);
            plain.weights[i] = (double)trainer->model->weights[i];
        }
    }
    assert_true(moved > 0);
    free(plain.weights);
    free(plain.first);
    free(plain.second);
    car_trainer_free(trainer);
}

static void test_optimizers(void **state) {
    (void)state;
    const char *const names[] = {"sgd", "adam", "adamw", "rmsprop"};
    for (int i = 0; i < 4; i++) {
        car_trainer_options options = {.batch = 3, .steps = 5, .threads = 1, .optimizer = names[i]};
        check_optimizer(&options);
        options.momentum = i == 0 ? 0.9f : 0;
        options.decay = 0.01f;
        options.clip_norm = 0.05f;
        check_optimizer(&options);
        options.clip_norm = 0;
        options.clip_value = 0.003f;
        check_optimizer(&options);
    }
}

/* A small step along the gradient lowers the loss by rate * norm^2. */
static void test_gradient_is_the_slope(void **state) {
    (void)state;
    const char *const nets[] = {"embed 9 | lstm 9 x2 residual | softmax",
                                "embed 6 | gru 5 bi | rnn 5 | softmax",
                                "embed 8 | rnn 8 | softmax tie", "embed 6 | lstm 5 bi | softmax"};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        car_trainer *trainer = make_trainer(
            nets[i], SYMBOLS, SYMBOLS,
            &(car_trainer_options){.batch = 4, .steps = 6, .threads = 1, .optimizer = "sgd"});
        language_batch data;
        car_step_result before, after, step;
        make_batch(&data, 4, 6, 0);
        ok(car_trainer_evaluate(trainer, &data.batch, &before, fault));
        ok(car_trainer_step(trainer, &data.batch, 0.002f, &step, fault));
        ok(car_trainer_evaluate(trainer, &data.batch, &after, fault));
        assert_near(step.loss, before.loss, 1e-6);
        assert_int_equal(step.counted, 24);
        double slope =
            (before.loss - after.loss) / (0.002 * step.gradient_norm * step.gradient_norm);
        if (!(slope > 0.95 && slope < 1.05))
            fail_msg("%s: slope %.4f of what the gradient says", nets[i], slope);
        car_trainer_free(trainer);
    }
}

/* How far one update of plain SGD with rate 1 moves the weights: norm and largest size. */
typedef struct movement {
    car_step_result step;
    double norm;
    float largest;
} movement;

static movement move_once(const car_trainer_options *options) {
    car_trainer *trainer = make_trainer("embed 6 | rnn 9 | softmax", SYMBOLS, SYMBOLS, options);
    size_t bytes = trainer->weight_floats * sizeof(float);
    float *before = malloc(bytes);
    assert_non_null(before);
    memcpy(before, trainer->model->weights, bytes);
    language_batch data;
    movement moved = {.norm = 0};
    make_batch(&data, 4, 6, 0);
    ok(car_trainer_step(trainer, &data.batch, 1, &moved.step, fault));
    for (size_t i = 0; i < trainer->weight_floats; i++) {
        float by = trainer->model->weights[i] - before[i];
        moved.norm += pow((double)by, 2);
        moved.largest = fmaxf(moved.largest, fabsf(by));
    }
    moved.norm = sqrt(moved.norm);
    free(before);
    car_trainer_free(trainer);
    return moved;
}

static void test_clipping(void **state) {
    (void)state;
    for (int clip = 0; clip < 2; clip++) {
        car_trainer_options options = {.batch = 4,
                                       .steps = 6,
                                       .threads = 1,
                                       .optimizer = "sgd",
                                       .clip_norm = clip ? 1e-3f : 1e3f};
        movement moved = move_once(&options);
        assert_int_equal(moved.step.clipped, clip);
        assert_near(moved.norm, clip ? 1e-3 : moved.step.gradient_norm, clip ? 1e-5 : 1e-4);
    }
}

static void test_clipping_by_value(void **state) {
    (void)state;
    for (int clip = 0; clip < 2; clip++) {
        car_trainer_options options = {.batch = 4,
                                       .steps = 6,
                                       .threads = 2,
                                       .optimizer = "sgd",
                                       .clip_value = clip ? 1e-4f : 1e2f};
        movement moved = move_once(&options);
        assert_int_equal(moved.step.clipped, clip);
        assert_int_equal(moved.largest < 1.01e-4f, clip);
    }
}

/* ---- the same bits ------------------------------------------------------------------------------------ */

static void check_threads(int batch, int steps) {
    car_trainer *trainers[3];
    for (int i = 0; i < 3; i++) {
        trainers[i] =
            make_trainer("embed 40 | lstm 70 x2 dropout 0.2 weightdrop 0.3 | gru 30 bi | softmax",
                         SYMBOLS, SYMBOLS,
                         &(car_trainer_options){
                             .batch = batch, .steps = steps, .threads = i + 1, .clip_norm = 0.5f});
        run_updates(trainers[i], 0, 6);
        if (i > 0)
            assert_same_weights(trainers[0], trainers[i]);
    }
    assert_true(trainers[0]->chunks > 3);
    for (int i = 0; i < 3; i++)
        car_trainer_free(trainers[i]);
}

/* As one shard, and as three. */
static void test_threads_do_not_matter(void **state) {
    (void)state;
    check_threads(13, 9);
    check_threads(27, 29);
}

/* Two halves give the loss of the whole when the state is carried, another one when it is reset. */
static void test_state_is_carried(void **state) {
    (void)state;
    enum { LANES = 3, STEPS = 8 };
    car_trainer_options options = {
        .batch = LANES, .steps = STEPS, .threads = 1, .optimizer = "sgd"};
    car_trainer *trainer = make_trainer("embed 6 | gru 9 | softmax", SYMBOLS, SYMBOLS, &options);
    language_batch data;
    car_step_result whole, first, second, apart;
    make_batch(&data, LANES, STEPS, 0);
    car_batch half = {
        .steps = STEPS / 2, .reset = true, .input = data.input, .target = data.target};
    car_batch rest = {.steps = STEPS / 2,
                      .reset = false,
                      .input = data.input + LANES * STEPS / 2,
                      .target = data.target + LANES * STEPS / 2};
    ok(car_trainer_step(trainer, &data.batch, 0, &whole, fault));
    ok(car_trainer_step(trainer, &half, 0, &first, fault));
    ok(car_trainer_step(trainer, &rest, 0, &second, fault));
    assert_near((first.loss + second.loss) / 2, whole.loss, 1e-6);
    ok(car_trainer_evaluate(trainer, &half, &first, fault));
    ok(car_trainer_step(trainer, &data.batch, 0, NULL,
                        fault)); /* leaves the evaluation's state alone */
    ok(car_trainer_evaluate(trainer, &rest, &second, fault));
    assert_near((first.loss + second.loss) / 2, whole.loss, 1e-6);
    rest.reset = true;
    ok(car_trainer_evaluate(trainer, &rest, &apart, fault));
    assert_true(fabs(apart.loss - second.loss) > 1e-4);
    car_trainer_free(trainer);
}

static double loss_with_dropout(car_trainer *trainer) {
    language_batch data;
    car_step_result result;
    make_batch(&data, 4, 6, 0);
    ok(car_trainer_step(trainer, &data.batch, 0, &result, fault));
    return result.loss;
}

/* Masks follow the seed and the time; evaluation has none. */
static void test_dropout(void **state) {
    (void)state;
    const char net[] = "embed 6 | lstm 9 dropout 0.5 | softmax";
    car_trainer_options options = {.batch = 4, .steps = 6, .threads = 1, .seed = 8};
    car_trainer *a = make_trainer(net, SYMBOLS, SYMBOLS, &options);
    car_trainer *b = make_trainer(net, SYMBOLS, SYMBOLS, &options);
    options.seed = 9;
    car_trainer *c = make_trainer(net, SYMBOLS, SYMBOLS, &options);
    double now = loss_with_dropout(a), later = loss_with_dropout(a);
    assert_near(loss_with_dropout(b), now, 0);
    assert_near(loss_with_dropout(b), later, 0);
    assert_true(fabs(later - now) > 1e-6);
    assert_true(fabs(loss_with_dropout(c) - now) > 1e-6);
    language_batch data;
    car_step_result first, second;
    make_batch(&data, 4, 6, 0);
    ok(car_trainer_evaluate(a, &data.batch, &first, fault));
    ok(car_trainer_evaluate(c, &data.batch, &second, fault));
    assert_near(first.loss, second.loss, 0);
    car_trainer_free(a);
    car_trainer_free(b);
    car_trainer_free(c);
}

/* Weights are dropped within an update alone: which ones follows the seed and the update, judging and the model as the
 * caller sees it have all of them, after a step that failed too. */
static void test_weight_drop(void **state) {
    (void)state;
    const char net[] = "embed 6 | gru 9 weightdrop 0.5 | softmax";
    car_trainer_options options = {.batch = 4, .steps = 6, .threads = 1, .seed = 8};
    car_trainer *a = make_trainer(net, SYMBOLS, SYMBOLS, &options);
    car_trainer *b = make_trainer(net, SYMBOLS, SYMBOLS, &options);
    car_trainer *whole = make_trainer("embed 6 | gru 9 | softmax", SYMBOLS, SYMBOLS, &options);
    language_batch data;
    car_step_result first, second;
    make_batch(&data, 4, 6, 0);
    double now = loss_with_dropout(a), later = loss_with_dropout(a);
    assert_near(loss_with_dropout(b), now, 0);
    assert_near(loss_with_dropout(b), later, 0);
    assert_true(fabs(later - now) > 1e-6);
    assert_true(fabs(loss_with_dropout(whole) - now) > 1e-6);
    int32_t kept = data.target[3];
    data.target[3] = SYMBOLS;
    assert_int_equal(car_trainer_step(a, &data.batch, 0.01f, NULL, NULL), CAR_DATA);
    data.target[3] = kept;
    ok(car_trainer_evaluate(a, &data.batch, &first, fault));
    ok(car_trainer_evaluate(whole, &data.batch, &second, fault));
    assert_near(first.loss, second.loss, 0);
    for (int i = 0; i < 6; i++)
        ok(car_trainer_step(a, &data.batch, 0.01f, NULL, fault));
    car_model *copy;
    ok(car_model_copy(a->model, NULL, &copy, fault));
    car_trainer_free(b);
    ok(car_trainer_adopt(copy, &options, NULL, &b, fault));
    ok(car_trainer_evaluate(a, &data.batch, &first, fault));
    ok(car_trainer_evaluate(b, &data.batch, &second, fault));
    assert_near(first.loss, second.loss, 0);
    car_trainer_free(a);
    car_trainer_free(b);
    car_trainer_free(whole);
}

static void test_state_floats(void **state) {
    (void)state;
    car_trainer *trainer =
        make_trainer("embed 6 | lstm 9 x2 | gru 5 bi | softmax", SYMBOLS, SYMBOLS,
                     &(car_trainer_options){.batch = 2, .steps = 3, .threads = 1});
    assert_int_equal(trainer->state_floats, 2 * 9 * 2 + 5);
    car_trainer_free(trainer);
}

/* ---- small tasks are learned -------------------------------------------------------------------------- */

typedef struct copy_task {
    const char *net;
    int steps, classes;
    /* target of lane: every step (each) or one a lane */
    void (*fill)(int lanes, int steps, int classes, uint64_t number, int32_t *input,
                 int32_t *target);
    int updates;
} copy_task;

static int draw(uint64_t number, int lane, int step, int below) {
    uint32_t r[4];
    car_random_block((car_random_key){.seed = 9, .purpose = CAR_RANDOM_TEST}, number,
                     (uint64_t)lane * 1000 + (uint64_t)step, r);
    return (int)(r[0] % (uint32_t)below);
}

/* Say what was seen two steps ago: needs memory. */
static void fill_delayed(int lanes, int steps, int classes, uint64_t number, int32_t *input,
                         int32_t *target) {
    for (int t = 0; t < steps; t++)
        for (int b = 0; b < lanes; b++) {
            input[t * lanes + b] = draw(number, b, t, classes);
            target[t * lanes + b] = t < 2 ? -1 : input[(t - 2) * lanes + b];
        }
}

/* Say what comes next: nobody can without the direction from the end. */
static void fill_ahead(int lanes, int steps, int classes, uint64_t number, int32_t *input,
                       int32_t *target) {
    for (int t = 0; t < steps; t++)
        for (int b = 0; b < lanes; b++) {
            input[t * lanes + b] = draw(number, b, t, classes);
            target[t * lanes + b] = t + 1 < steps ? draw(number, b, t + 1, classes) : -1;
        }
}

/* One step of the sequence is marked by a symbol that is not blank (0): say which it was. */
static void fill_marked(int lanes, int steps, int classes, uint64_t number, int32_t *input,
                        int32_t *target) {
    for (int b = 0; b < lanes; b++) {
        int at = draw(number, b, 500, steps), symbol = 1 + draw(number, b, 501, classes - 1);
        for (int t = 0; t < steps; t++)
            input[t * lanes + b] = t == at ? symbol : 0;
        target[b] = symbol;
    }
}

static void test_tasks_are_learned(void **state) {
    (void)state;
    static const copy_task tasks[] = {
        {"embed 8 | lstm 24 | softmax", 12, 4, fill_delayed, 500},
        {"embed 8 | lstm 24 bi | softmax each", 8, 4, fill_ahead, 300},
        {"embed 8 | lstm 16 bi | softmax last", 8, 4, fill_marked, 300},
        {"embed 8 | lstm 16 bi | softmax mean", 8, 4, fill_marked, 300},
        {"embed 8 | gru 16 | softmax last", 8, 4, fill_marked, 300},
    };
    enum { LANES = 16 };
    int32_t input[LANES * 12], target[LANES * 12];
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        const copy_task *task = &tasks[i];
        car_trainer *trainer =
            make_trainer(task->net, task->classes, task->classes,
                         &(car_trainer_options){
                             .batch = LANES, .steps = task->steps, .threads = 1, .clip_norm = 1});
        car_batch batch = {.steps = task->steps, .reset = true, .input = input, .target = target};
        for (int update = 0; update < task->updates; update++) {
            task->fill(LANES, task->steps, task->classes, (uint64_t)update, input, target);
            ok(car_trainer_step(trainer, &batch, 0.01f, NULL, fault));
        }
        car_step_result result;
        task->fill(LANES, task->steps, task->classes, 1000000, input, target); /* never seen */
        ok(car_trainer_evaluate(trainer, &batch, &result, fault));
        print_message("    %s: loss %.4f of %.4f by guessing\n", task->net, result.loss,
                      log(task->classes));
        assert_true(result.loss < 0.1);
        car_trainer_free(trainer);
    }
}

/* Without a number given, a net is shared out only when that pays. */
static void test_threads_that_pay(void **state) {
    (void)state;
    const struct {
        const char *net;
        int given, threads;
    } cases[] = {{"embed 8 | rnn 8 | softmax", 0, 1},
                 {"embed 8 | rnn 8 | softmax", 2, 2},
                 {"embed 128 | lstm 128 x2 | softmax", 0, car_thread_count(0)}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        car_trainer *trainer = make_trainer(
            cases[i].net, SYMBOLS, SYMBOLS,
            &(car_trainer_options){.batch = 8, .steps = 16, .threads = cases[i].given});
        assert_int_equal(trainer->threads, cases[i].threads);
        car_trainer_free(trainer);
    }
}

/* ---- divergence --------------------------------------------------------------------------------------- */

static const char linear_cell[] = "cell plain(x) -> y\ny = W@x + b\n";
static const char summing_cell[] = "cell summing(x) -> h\n"
                                   "state h\n"
                                   "first = tanh(Wa@x + Ua@h + ba)\n"
                                   "second = Wb@x + Ub@h + bb\n"
                                   "h' = first*second\n";

static car_cell *compile(const char *text) {
    car_cell *cell;
    ok(car_cell_compile(text, strlen(text), "test", NULL, &cell, fault));
    return cell;
}

static void set_tensor(car_model *model, const char *name, float value) {
    for (int i = 0; i < car_model_tensor_count(model); i++) {
        car_model_tensor tensor;
        car_model_tensor_at(model, i, &tensor);
        if (strcmp(tensor.name, name) != 0)
            continue;
        size_t floats = car_model_tensor_floats(model, i);
        float *logical = malloc(floats * sizeof(float));
        assert_non_null(logical);
        for (size_t k = 0; k < floats; k++)
            logical[k] = value;
        car_model_pack(model, i, logical, model->weights);
        free(logical);
        return;
    }
    fail_msg("no tensor %s", name);
}

enum { BAD_LANES = 3, BAD_STEPS = 8 };

/* Values 1e20 at step 5 of lane 1 through a weight 1e30: equation `second` of the second layer overflows there. */
static void check_named(const char *net, int step, const char *layer, const char *gate,
                        const char *when) {
    const car_cell *cells[] = {compile(linear_cell), compile(summing_cell)};
    car_model *model = make_model(net, cells, 2, 2, 2);
    set_tensor(model, "layers.0.W", 1);
    set_tensor(model, strstr(net, "bi") ? "layers.1.Wb_reverse" : "layers.1.Wb", 1e30f);
    car_trainer_options options = {
        .batch = BAD_LANES, .steps = BAD_STEPS, .threads = 2, .optimizer = "sgd"};
    car_trainer *trainer, *twin;
    ok(car_trainer_create(model, &options, NULL, &trainer, fault));
    ok(car_trainer_create(model, &options, NULL, &twin, fault));
    float input[BAD_STEPS][BAD_LANES][2], target[BAD_STEPS][BAD_LANES][2];
    memset(input, 0, sizeof input);
    memset(target, 0, sizeof target);
    for (int t = 0; t < BAD_STEPS; t++)
        for (int b = 0; b < BAD_LANES; b++)
            input[t][b][0] = 0.25f;
    input[step][1][0] = 1e20f;
    set_tensor(trainer->model, "layers.1.Ua", 0);
    car_batch batch = {.steps = BAD_STEPS, .reset = true, .input = input, .target = target};
    car_error error = {0};
    assert_int_equal(car_trainer_step(trainer, &batch, 0.1f, NULL, &error), CAR_DIVERGED);
    print_message("    %s\n", error.message);
    assert_mentions(error.message, layer);
    assert_mentions(error.message, gate);
    assert_mentions(error.message, when);
    set_tensor(twin->model, "layers.1.Ua", 0);
    assert_same_weights(trainer, twin);
    assert_int_equal(car_trainer_updates(trainer), 0);
    car_trainer_free(trainer);
    car_trainer_free(twin);
    car_model_free(model);
    car_cell_free((car_cell *)cells[0]);
    car_cell_free((car_cell *)cells[1]);
}

static void test_divergence_is_named(void **state) {
    (void)state;
    check_named("plain 2 | summing 4 | linear", 5, "layer 2 (summing)", "'second'", "step 6 of 8");
    check_named("plain 2 | summing 4 | linear", 0, "layer 2 (summing)", "'second'", "step 1 of 8");
    check_named("plain 2 | summing 4 bi | linear", 3, "layer 2 (summing) backwards", "'second'",
                "step 4 of 8");
}

static void test_bad_data_is_named(void **state) {
    (void)state;
    car_trainer *trainer =
        make_trainer("lstm 4 | linear", 1, 1, &(car_trainer_options){.batch = 2, .steps = 3});
    float input[6] = {0, 0, 0, NAN, 0, 0}, target[6] = {0};
    car_batch batch = {.steps = 3, .reset = true, .input = input, .target = target};
    car_error error = {0};
    assert_int_equal(car_trainer_step(trainer, &batch, 0.1f, NULL, &error), CAR_DIVERGED);
    assert_mentions(error.message, "input is nan at time step 2 of 3 (lane 2");
    input[3] = 0;
    target[4] = INFINITY;
    assert_int_equal(car_trainer_step(trainer, &batch, 0.1f, NULL, &error), CAR_DIVERGED);
    assert_mentions(error.message, "target is inf at time step 3 of 3 (lane 1");
    target[4] = 0;
    ok(car_trainer_step(trainer, &batch, 0.1f, NULL, fault));
    car_trainer_free(trainer);
}

/* The gradient of W is dL/dh * x = 1e30 * 1e30 while the forward pass and the loss are finite. */
static void test_infinite_gradient_is_named(void **state) {
    (void)state;
    const car_cell *cell = compile(linear_cell);
    car_model *model = make_model("plain 1 | linear", &cell, 1, 1, 1);
    set_tensor(model, "layers.0.W", 1e-30f);
    set_tensor(model, "decoder.weight", 1e15f);
    set_tensor(model, "decoder.bias", 0);
    car_trainer *trainer;
    ok(car_trainer_create(model, &(car_trainer_options){.batch = 1, .steps = 1, .threads = 1}, NULL,
                          &trainer, fault));
    float input = 1e30f, target = 0;
    car_error error = {0};
    assert_int_equal(
        car_trainer_step(
            trainer, &(car_batch){.steps = 1, .reset = true, .input = &input, .target = &target},
            0.1f, NULL, &error),
        CAR_DIVERGED);
    print_message("    %s\n", error.message);
    assert_mentions(error.message, "layer 1 (plain): gradient of W");
    car_trainer_free(trainer);
    car_model_free(model);
    car_cell_free((car_cell *)cell);
}

/* h' = x + 1e10 h: all values are 0, but dL/dh of one lane grows by 1e10 a step on its way back and overflows at the fifth
 * step from its end. lengths NULL: all steps. */
static void check_exploding(int lanes, int steps, const int *lengths, int lane, const char *place) {
    static const char text[] = "cell grow(x) -> h\nstate h\nkept = W@x + U@h\nh' = kept\n";
    enum { MOST_ROWS = 1024 };
    const car_cell *cell = compile(text);
    car_model *model = make_model("grow 1 | linear", &cell, 1, 1, 1);
    set_tensor(model, "layers.0.U", 1e10f);
    set_tensor(model, "decoder.weight", 1);
    set_tensor(model, "decoder.bias", 0);
    car_trainer *trainer;
    ok(car_trainer_create(model,
                          &(car_trainer_options){.batch = lanes, .steps = steps, .threads = 2},
                          NULL, &trainer, fault));
    float input[MOST_ROWS] = {0}, target[MOST_ROWS] = {0};
    int rows = 0;
    for (int k = 0; k < lanes; k++)
        rows += lengths ? lengths[k] : steps;
    const int last = (lengths ? lengths[lane] : steps) - 1;
    target[last * lanes + lane] = (float)rows / 2; /* its dL/dy: -1 */
    car_error error = {0};
    assert_int_equal(car_trainer_step(trainer,
                                      &(car_batch){.steps = steps,
                                                   .lengths = lengths,
                                                   .reset = true,
                                                   .input = input,
                                                   .target = target},
                                      0.1f, NULL, &error),
                     CAR_DIVERGED);
    print_message("    %s\n", error.message);
    assert_mentions(error.message, "layer 1 (grow): the gradient of gate 'kept' is -inf");
    assert_mentions(error.message, place);
    car_trainer_free(trainer);
    car_model_free(model);
    car_cell_free((car_cell *)cell);
}

static void test_exploding_gradient_is_named(void **state) {
    (void)state;
    check_exploding(1, 8, NULL, 0, "time step 4 of 8 (lane 1,");
    check_exploding(30, 34, NULL, 29, "time step 30 of 34 (lane 30,");
    check_exploding(3, 8, (const int[]){3, 6, 8}, 1, "time step 2 of 8 (lane 2,");
}

/* An update that would leave float's range is undone and never reported as ok. */
static void test_update_out_of_range_is_undone(void **state) {
    (void)state;
    const char *const names[] = {"sgd", "adam", "adamw", "rmsprop"};
    for (int i = 0; i < 4; i++) {
        car_trainer_options options = {
            .batch = 2, .steps = 4, .threads = 2, .optimizer = names[i], .decay = 10};
        car_trainer *trainer =
            make_trainer("embed 6 | lstm 9 | softmax", SYMBOLS, SYMBOLS, &options);
        car_trainer *twin = make_trainer("embed 6 | lstm 9 | softmax", SYMBOLS, SYMBOLS, &options);
        language_batch data;
        car_error error = {0};
        make_batch(&data, 2, 4, 0);
        run_updates(trainer, 0, 2);
        run_updates(twin, 0, 2);
        assert_int_equal(car_trainer_step(trainer, &data.batch, 3e38f, NULL, &error), CAR_DIVERGED);
        assert_mentions(error.message, "undone");
        run_updates(trainer, 2, 4);
        run_updates(twin, 2, 4);
        assert_same_weights(trainer, twin);
        car_trainer_free(trainer);
        car_trainer_free(twin);
    }
}

/* A velocity of 1e30 lies in wait for a rate that makes it overflow, whatever the gradient is by then. */
static void test_large_moments_are_remembered(void **state) {
    (void)state;
    const car_cell *cell = compile(linear_cell);
    car_model *model = make_model("plain 1 | linear", &cell, 1, 1, 1);
    car_trainer_options options = {
        .batch = 1, .steps = 1, .threads = 1, .optimizer = "sgd", .momentum = 0.9f};
    car_trainer *trainer;
    car_error error = {0};
    ok(car_trainer_create(model, &options, NULL, &trainer, fault));
    float input = 1e15f, target = 0;
    car_batch batch = {.steps = 1, .reset = true, .input = &input, .target = &target};
    ok(car_trainer_step(trainer, &batch, 0, NULL, fault));
    input = 1e-3f;
    float before = trainer->model->weights[0];
    assert_int_equal(car_trainer_step(trainer, &batch, 1e10f, NULL, &error), CAR_DIVERGED);
    assert_mentions(error.message, "undone");
    assert_near(trainer->model->weights[0], before, 0);
    car_trainer_free(trainer);
    car_model_free(model);
    car_cell_free((car_cell *)cell);
}

/* With a rate that is far too high every reported update leaves finite weights, until one is refused. */
static void test_high_rates_diverge_cleanly(void **state) {
    (void)state;
    const float rates[] = {3, 1e4f, 1e12f, 1e30f};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        car_trainer *trainer = make_trainer(
            "rnn 9 | linear", 1, 1,
            &(car_trainer_options){.batch = 4, .steps = 6, .optimizer = "sgd", .threads = 1});
        float input[24], target[24];
        for (int i = 0; i < 24; i++) {
            input[i] = sinf((float)i);
            target[i] = 3 + cosf((float)i);
        }
        car_status status = CAR_OK;
        car_error error = {0};
        int updates = 0;
        while (status == CAR_OK && updates < 1000) {
            car_batch batch = {.steps = 6, .reset = true, .input = input, .target = target};
            status = car_trainer_step(trainer, &batch, rates[r], NULL, &error);
            for (size_t i = 0; i < trainer->weight_floats; i++)
                assert_true(isfinite(trainer->model->weights[i]));
            updates += status == CAR_OK;
        }
        print_message("    rate %g, %d updates: %s\n", (double)rates[r], updates, error.message);
        assert_int_equal(status, CAR_DIVERGED);
        assert_int_equal(car_trainer_updates(trainer), updates);
        car_trainer_free(trainer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_options_refused),
        cmocka_unit_test(test_batches_refused),
        cmocka_unit_test(test_optimizers),
        cmocka_unit_test(test_gradient_is_the_slope),
        cmocka_unit_test(test_clipping),
        cmocka_unit_test(test_clipping_by_value),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_threads_that_pay),
        cmocka_unit_test_setup_teardown(test_threads_do_not_matter, in_bf16, in_f32),
        cmocka_unit_test(test_state_is_carried),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_weight_drop),
        cmocka_unit_test_setup_teardown(test_weight_drop, in_bf16, in_f32),
        cmocka_unit_test(test_state_floats),
        cmocka_unit_test(test_tasks_are_learned),
        cmocka_unit_test_setup_teardown(test_tasks_are_learned, in_bf16, in_f32),
        cmocka_unit_test(test_divergence_is_named),
        cmocka_unit_test_setup_teardown(test_divergence_is_named, in_bf16, in_f32),
        cmocka_unit_test(test_bad_data_is_named),
        cmocka_unit_test(test_infinite_gradient_is_named),
        cmocka_unit_test(test_exploding_gradient_is_named),
        cmocka_unit_test(test_update_out_of_range_is_undone),
        cmocka_unit_test(test_large_moments_are_remembered),
        cmocka_unit_test(test_high_rates_diverge_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
