/*
 * trained.c: the claims that trained nets decide: how far each cell reads, belts, gates, biases, GRU and LSTM, ablation.
 *
 * In: the studies of lab.c. Out: samples, one a seed, for the rules; charts.
 */
#include "story.h"
#include <math.h>
#include <string.h>

enum { FAR = CAR_STORY_DISTANCES - 1, GATES = 3, CELLS = 3 };
static const double TINY = 1e-45; /* a gradient that float32 cannot tell from 0 */

typedef struct seed_sight {
    car_story *story;
    car_arena *arena; /* for one seed */
} seed_sight;

static void note(const car_story *story, car_rule_id rule, int seed, double value) {
    story->samples[rule][seed] = value;
}

static double *make_numbers(car_story *story, size_t count) {
    double *numbers = car_arena_allocate(story->arena, count, sizeof *numbers);
    story->no_memory |= numbers == NULL;
    return numbers;
}

/* Updates until solved; the whole budget for a run that was not. */
static double updates_of(const car_story *story, car_story_study study, const char *cell,
                         int seed) {
    return (double)car_story_record(story, study, cell, CAR_STORY_MIDDLE, seed)->updates;
}

static double log_ratio(double above, double below) {
    return log2(fmax(above, 1) / fmax(below, 1));
}

/* ---- 1: reach; 7: GRU and LSTM -------------------------------------------------------------------------- */

typedef struct contender {
    car_story_study study;
    const char *cell;
    car_words name;
} contender;

/* Accuracies [seeds][distances] of each, and their curves over the distance. */
static void draw_reach(car_story *story, int claim, const contender *list, int count,
                       car_words title, double *right[]) {
    double distances[CAR_STORY_DISTANCES];
    int seeds = (int)story->request.seeds;
    car_story_chart *chart = car_story_add_chart(
        story, claim, CAR_CHART_LINES, title,
        (car_words){
            "A cell that can reach stays at 1; one that cannot falls towards 0.5, which is a coin. "
            "Line: median of the seeds; band: worst to best.",
            "够得着的单元停在 1 附近；够不着的落向 "
            "0.5，也就是抛硬币。线是各种子的中位数，带是最差到最好。"},
        (car_words){"words between noun and verb", "名词与动词之间的词数"},
        (car_words){"share of was/were right", "was/were 判断正确的比例"});
    for (int d = 0; d < CAR_STORY_DISTANCES; d++)
        distances[d] = car_story_distances[d];
    for (int c = 0; c < count; c++) {
        right[c] = make_numbers(story, (size_t)seeds * CAR_STORY_DISTANCES);
        for (int i = 0; right[c] && i < seeds * CAR_STORY_DISTANCES; i++)
            right[c][i] = car_story_record(story, list[c].study, list[c].cell,
                                           car_story_distances[i % CAR_STORY_DISTANCES],
                                           i / CAR_STORY_DISTANCES)
                              ->accuracy;
    }
    if (story->no_memory)
        return;
    chart->logarithmic_x = true;
    chart->low = 0.4;
    chart->high = 1.02;
    for (int c = 0; c < count; c++)
        car_story_add_curve(story, chart, list[c].name, distances, right[c], CAR_STORY_DISTANCES);
}

static void measure_reach(car_story *story) {
    static const contender list[CELLS] = {
        {CAR_STUDY_REACH, "rnn", {"rnn", "rnn"}},
        {CAR_STUDY_REACH, "lstm", {"lstm, forget gate's bias 1", "lstm，遗忘门偏置 1"}},
        {CAR_STUDY_KEEP, "lstm", {"lstm, forget gate's bias 3", "lstm，遗忘门偏置 3"}}};
    static const car_rule_id rules[CELLS] = {CAR_RULE_RNN_FAILS_FAR, CAR_RULE_LSTM_READS_FAR,
                                             CAR_RULE_KEEP_READS_FAR};
    double *right[CELLS];
    draw_reach(story, 0, list, CELLS, (car_words){"How far each cell reads", "每种单元能读多远"},
               right);
    for (int c = 0; c < CELLS && !story->no_memory; c++)
        for (int seed = 0; seed < story->request.seeds; seed++)
            note(story, rules[c], seed, right[c][seed * CAR_STORY_DISTANCES + FAR]);
}

static void measure_gru(car_story *story) {
    static const contender list[] = {
        {CAR_STUDY_REACH, "gru", {"gru, biases 0", "gru，偏置 0"}},
        {CAR_STUDY_KEEP, "gru", {"gru, update gate's bias 3", "gru，更新门偏置 3"}},
        {CAR_STUDY_KEEP, "lstm", {"lstm, forget gate's bias 3", "lstm，遗忘门偏置 3"}}};
    double *right[CELLS];
    draw_reach(story, 6, list, CELLS,
               (car_words){"GRU and LSTM side by side", "GRU 与 LSTM 并排比较"}, right);
    for (int seed = 0; seed < story->request.seeds && !story->no_memory; seed++) {
        double gain = 0;
        for (int d = 0; d < CAR_STORY_DISTANCES; d++)
            gain += (right[1][seed * CAR_STORY_DISTANCES + d] -
                     right[2][seed * CAR_STORY_DISTANCES + d]) /
                    CAR_STORY_DISTANCES;
        note(story, CAR_RULE_GRU_RIGHT, seed, gain);
        note(story, CAR_RULE_GRU_FAST, seed,
             log_ratio(updates_of(story, CAR_STUDY_KEEP, "lstm", seed),
                       updates_of(story, CAR_STUDY_KEEP, "gru", seed)));
    }
}

/* ---- Updates needed: 6, 7, 8 ---------------------------------------------------------------------------- */

/* Bars of the updates that each of them needed. */
static void draw_updates(car_story *story, int claim, const contender *list, int count,
                         car_words title, car_words note_words) {
    car_words *labels = car_arena_allocate(story->arena, (size_t)count, sizeof *labels);
    bool cheap = list[0].study == CAR_STUDY_MIDDLE;
    int64_t seeds = cheap ? story->request.cheap : story->request.seeds;
    double *samples = make_numbers(story, (size_t)(seeds * count));
    car_story_chart *chart = car_story_add_chart(
        story, claim, CAR_CHART_BARS, title, note_words, (car_words){NULL, NULL},
        (car_words){"updates until solved (budget if never)",
                    "解出所需的更新数（未解出记为预算）"});
    if (!labels || !samples || !chart) {
        story->no_memory = true;
        return;
    }
    for (int i = 0; i < count; i++) {
        labels[i] = list[i].name;
        for (int seed = 0; seed < seeds; seed++)
            samples[seed * count + i] = updates_of(story, list[i].study, list[i].cell, seed);
    }
    chart->cheap = cheap;
    chart->labels = labels;
    chart->label_count = count;
    car_story_add_curve(
        story, chart,
        (car_words){"median; whisker: fastest to slowest seed", "中位数；须线：最快到最慢的种子"},
        NULL, samples, count);
}

static void measure_biases(car_story *story) {
    static const contender list[] = {
        {CAR_STUDY_REACH, "lstm", {"forget gate's bias 1", "遗忘门偏置 1"}},
        {CAR_STUDY_OUTPUT, "lstm", {"output gate's bias 1", "输出门偏置 1"}},
        {CAR_STUDY_PLAIN, "lstm", {"all biases 0", "偏置全为 0"}}};
    draw_updates(story, 5, list, 3,
                 (car_words){"Where a bias of 1 helps", "偏置 1 放在哪个门上有用"},
                 (car_words){"The shorter the bar, the faster it learned.", "条越短学得越快。"});
    for (int seed = 0; seed < story->request.seeds; seed++) {
        double forget = updates_of(story, CAR_STUDY_REACH, "lstm", seed);
        note(story, CAR_RULE_FORGET_BIAS, seed,
             log_ratio(updates_of(story, CAR_STUDY_PLAIN, "lstm", seed), forget));
        note(story, CAR_RULE_NOT_OUTPUT, seed,
             log_ratio(updates_of(story, CAR_STUDY_OUTPUT, "lstm", seed), forget));
    }
}

static void measure_ablation(car_story *story) {
    static const contender list[] = {
        {CAR_STUDY_MIDDLE, "lstm", {"lstm", "lstm"}},
        {CAR_STUDY_GATES, "lstm-nof", {"without forget gate", "无遗忘门"}},
        {CAR_STUDY_GATES, "lstm-noi", {"without input gate", "无输入门"}},
        {CAR_STUDY_GATES, "lstm-noo", {"without output gate", "无输出门"}}};
    draw_updates(story, 7, list, 4, (car_words){"Training without one gate", "去掉一个门来训练"},
                 (car_words){"The gate whose absence makes the longest bar matters most here.",
                             "缺了哪个门条最长，哪个门在这里就最重要。"});
    for (int seed = 0; seed < story->request.cheap; seed++) {
        double input = updates_of(story, CAR_STUDY_GATES, "lstm-noi", seed);
        note(story, CAR_RULE_FORGET_OVER_INPUT, seed,
             log_ratio(updates_of(story, CAR_STUDY_GATES, "lstm-nof", seed), input));
        note(story, CAR_RULE_INPUT_OVER_OUTPUT, seed,
             log_ratio(input, updates_of(story, CAR_STUDY_GATES, "lstm-noo", seed)));
    }
}

static void draw_pace(car_story *story) {
    static const contender list[] = {
        {CAR_STUDY_REACH, "gru", {"gru, biases 0", "gru，偏置 0"}},
        {CAR_STUDY_KEEP, "gru", {"gru, update gate's bias 3", "gru，更新门偏置 3"}},
        {CAR_STUDY_KEEP, "lstm", {"lstm, forget gate's bias 3", "lstm，遗忘门偏置 3"}}};
    draw_updates(
        story, 6, list, 3, (car_words){"How fast each cell learns", "每种单元学得多快"},
        (car_words){"20 words between noun and verb; equal units, so the gru has three quarters of "
                    "the lstm's weights.",
                    "名词与动词相隔 20 词；单元数相同，所以 gru 的权重是 lstm 的四分之三。"});
}

/* ---- 4: belts ------------------------------------------------------------------------------------------- */

static const car_flow_curve *curve_named(const car_flow *flow, const char *state) {
    for (int i = 0; i < flow->curve_count; i++)
        if (strcmp(flow->curves[i].name, state) == 0)
            return &flow->curves[i];
    return &flow->curves[0];
}

/* Sizes of the gradient at a state k steps back, as a share of that one step back. */
static car_status measure_flow(const seed_sight *sight, const car_model *model, int seed,
                               const char *state, double *shares, int count, car_error *error) {
    car_probe_problem problem;
    car_probe_batch *batch;
    car_flow flow;
    CAR_TRY(car_story_batch(sight->story, car_story_distances[FAR], seed, &problem, &batch, error));
    const car_batch given = {
        .steps = batch->steps, .input = batch->input, .target = batch->classes};
    car_status status = car_model_flow(model, &given, CAR_STORY_LANES, sight->arena, &flow, error);
    car_release(sight->story->allocator, batch);
    if (status != CAR_OK)
        return status;
    const car_flow_curve *curve = curve_named(&flow, state);
    for (int k = 0; k < count; k++)
        shares[k] = fmax(curve->median[k], TINY) / fmax(curve->median[0], TINY);
    return CAR_OK;
}

static car_status fresh_net(const seed_sight *sight, const char *name, int seed, car_model **model,
                            car_error *error) {
    car_probe_problem problem;
    car_cell *cell;
    CAR_TRY(car_probe_problem_make(car_probe_task_find("agreement"), car_story_distances[FAR],
                                   (uint64_t)(sight->story->request.seed + seed), NULL, &problem,
                                   error));
    CAR_TRY(car_cell_compile(car_zoo_text(name), strlen(car_zoo_text(name)), name,
                             sight->story->allocator, &cell, error));
    const char *biases = strcmp(name, "lstm") == 0 ? "bf=3" : NULL;
    car_status status = car_probe_model_make(&problem, cell, problem.task->hidden, NULL, biases,
                                             sight->story->allocator, model, error);
    car_cell_free(cell);
    return status;
}

static car_status measure_belts(const seed_sight *sight, int seed, double *shares[2][2], int count,
                                car_error *error) {
    static const char *const cells[2] = {"rnn", "lstm"}, *const states[2] = {"h", "c"};
    for (int trained = 0; trained < 2; trained++)
        for (int c = 0; c < 2; c++) {
            car_model *model;
            CAR_TRY(trained ? car_story_net(sight->story, c ? CAR_STUDY_KEEP : CAR_STUDY_REACH,
                                            cells[c], car_story_distances[FAR], seed, &model, error)
                            : fresh_net(sight, cells[c], seed, &model, error));
            car_status status =
                measure_flow(sight, model, seed, states[c],
                             shares[trained][c] + (size_t)seed * (size_t)count, count, error);
            car_model_free(model);
            if (status != CAR_OK)
                return status;
        }
    for (int trained = 0; trained < 2; trained++) {
        size_t last = (size_t)seed * (size_t)count + (size_t)count - 1;
        note(sight->story, trained ? CAR_RULE_BELT_TRAINED : CAR_RULE_BELT_FRESH, seed,
             log10(shares[trained][1][last]) - log10(shares[trained][0][last]));
    }
    return CAR_OK;
}

static void draw_belts(car_story *story, double *shares[2][2], int count) {
    static const car_words names[2][2] = {
        {{"rnn h, before training", "rnn 的 h，训练前"},
         {"lstm c, before training", "lstm 的 c，训练前"}},
        {{"rnn h, trained", "rnn 的 h，训练后"}, {"lstm c, trained", "lstm 的 c，训练后"}}};
    double *back = make_numbers(story, (size_t)count);
    car_story_chart *chart = car_story_add_chart(
        story, 3, CAR_CHART_LINES, (car_words){"The gradient on its way back", "梯度往回走"},
        (car_words){"The flatter the line, the more of the gradient arrives. Line: median of the "
                    "seeds; band: least to most.",
                    "线越平，到达的梯度越多。线是各种子的中位数，带是最小到最大。"},
        (car_words){"k, steps before the verb", "k：动词之前的步数"},
        (car_words){"gradient, as a share of that at k = 1", "梯度（相对于 k = 1）"});
    if (!back || !chart)
        return;
    for (int k = 0; k < count; k++)
        back[k] = k + 1;
    chart->logarithmic_y = true;
    for (int trained = 0; trained < 2; trained++)
        for (int c = 0; c < 2; c++)
            car_story_add_curve(story, chart, names[trained][c], back, shares[trained][c], count);
}

/* ---- 5: gates; 8: frozen gates -------------------------------------------------------------------------- */

typedef struct one_batch {
    car_batch batch;
} one_batch;

static car_status give_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                             car_error *error) {
    (void)epoch;
    (void)index;
    (void)error;
    *batch = ((const one_batch *)context)->batch;
    return CAR_OK;
}

static void note_frozen(const seed_sight *sight, int seed, const car_freezing *freezing,
                        double *added) {
    static const char *const gates[GATES] = {"f", "i", "o"};
    for (int g = 0; g < GATES; g++)
        for (int k = 0; k < freezing->count; k++)
            if (strcmp(freezing->gates[k].gate, gates[g]) == 0)
                for (int value = 0; value < 2; value++)
                    added[(value * sight->story->request.cheap + seed) * GATES + g] =
                        freezing->gates[k].loss[value] - freezing->loss;
    const double *open = added + (sight->story->request.cheap + seed) * GATES;
    note(sight->story, CAR_RULE_FROZEN_FORGET, seed, open[0] - open[1]);
    note(sight->story, CAR_RULE_FROZEN_INPUT, seed, open[1] - open[2]);
}

static void note_gates(const seed_sight *sight, int seed, const car_survey *survey,
                       double *shares) {
    static const char *const gates[GATES] = {"f", "i", "o"};
    static const car_rule_id rules[GATES] = {CAR_RULE_FORGET_EXTREME, CAR_RULE_INPUT_EXTREME,
                                             CAR_RULE_OUTPUT_EXTREME};
    const car_layer_survey *layer = &survey->layers[survey->layer_count - 1];
    size_t seeds = (size_t)sight->story->request.cheap;
    for (size_t g = 0; g < GATES; g++)
        for (int k = 0; k < layer->gate_count; k++)
            if (strcmp(layer->gates[k].name, gates[g]) == 0) {
                note(sight->story, rules[g], seed, layer->gates[k].closed + layer->gates[k].open);
                memcpy(shares + (g * seeds + (size_t)seed) * CAR_SURVEY_BINS,
                       layer->gates[k].shares, sizeof layer->gates[k].shares);
            }
}

static car_status look_into_gates(const seed_sight *sight, const car_model *model, int seed,
                                  double *shares, double *added, car_error *error) {
    car_probe_problem problem;
    car_probe_batch *batch;
    car_survey survey;
    car_freezing freezing;
    CAR_TRY(car_story_batch(sight->story, CAR_STORY_MIDDLE, seed, &problem, &batch, error));
    one_batch given = {
        {.steps = batch->steps, .reset = true, .input = batch->input, .target = batch->classes}};
    const car_fit_source source = {.context = &given, .updates_per_epoch = 1, .batch = give_batch};
    car_status status =
        car_model_survey_batch(model, &given.batch, CAR_STORY_LANES, sight->arena, &survey, error);
    if (status == CAR_OK)
        status = car_model_freeze(model, &source, CAR_STORY_LANES, batch->steps, sight->arena,
                                  &freezing, error);
    if (status == CAR_OK) {
        note_gates(sight, seed, &survey, shares);
        note_frozen(sight, seed, &freezing, added);
    }
    car_release(sight->story->allocator, batch);
    return status;
}

static car_status measure_gates(const seed_sight *sight, int seed, double *shares, double *added,
                                car_error *error) {
    car_model *model;
    CAR_TRY(car_story_long_net(sight->story, CAR_STUDY_MIDDLE, "lstm", CAR_STORY_MIDDLE, seed,
                               &model, error));
    car_status status = look_into_gates(sight, model, seed, shares, added, error);
    car_model_free(model);
    return status;
}

static void draw_gates(car_story *story, const double *shares) {
    static const car_words names[GATES] = {
        {"forget gate", "遗忘门"}, {"input gate", "输入门"}, {"output gate", "输出门"}};
    size_t seeds = (size_t)story->request.cheap;
    car_story_chart *chart = car_story_add_chart(
        story, 4, CAR_CHART_STEPS,
        (car_words){"Where the gates of the trained lstm stand", "训练后 lstm 的门停在哪里"},
        (car_words){"Mass at the two ends means that a gate decides; mass in the middle, that it "
                    "mixes. Median "
                    "of the seeds.",
                    "两端的质量说明门在做决定，中间的质量说明它在混合。各种子的中位数。"},
        (car_words){"value of the gate (0 shut, 1 open)", "门的值（0 关，1 开）"},
        (car_words){"share of all units and steps", "占所有单元和步的比例"});
    if (chart)
        chart->cheap = true;
    for (size_t g = 0; chart && g < GATES; g++)
        car_story_add_curve(story, chart, names[g], NULL, shares + g * seeds * CAR_SURVEY_BINS,
                            CAR_SURVEY_BINS);
}

static void draw_frozen(car_story *story, const double *added) {
    static const car_words labels[GATES] = {
        {"forget gate", "遗忘门"}, {"input gate", "输入门"}, {"output gate", "输出门"}};
    static const car_words names[2] = {{"held at 0 (shut)", "固定为 0（关）"},
                                       {"held at 1 (open)", "固定为 1（开）"}};
    car_story_chart *chart = car_story_add_chart(
        story, 7, CAR_CHART_BARS,
        (car_words){"A gate of the trained net held shut or open", "把训练后网络的一个门固定"},
        (car_words){"A long bar is a gate that the trained net cannot do without. Median of the "
                    "seeds; whisker: "
                    "least to most.",
                    "条越长，训练后的网络越离不开这个门。各种子的中位数；须线：最小到最大。"},
        (car_words){NULL, NULL},
        (car_words){"added loss (nats a sentence)", "增加的损失（每句，奈特）"});
    if (!chart)
        return;
    chart->cheap = true;
    chart->labels = labels;
    chart->label_count = GATES;
    for (int value = 0; value < 2; value++)
        car_story_add_curve(story, chart, names[value], NULL,
                            added + value * story->request.cheap * GATES, GATES);
}

/* ---- All of them ---------------------------------------------------------------------------------------- */

static car_status look_into_nets(car_story *story, car_error *error) {
    int count = car_story_distances[FAR];
    size_t seeds = (size_t)story->request.seeds, cheap = (size_t)story->request.cheap;
    double *belts[2][2], *shares = make_numbers(story, GATES * cheap * CAR_SURVEY_BINS);
    double *added = make_numbers(story, 2 * cheap * GATES);
    for (int i = 0; i < 4; i++)
        belts[i / 2][i % 2] = make_numbers(story, seeds * (size_t)count);
    for (int seed = 0; seed < story->request.cheap && !story->no_memory; seed++) {
        const seed_sight sight = {story, car_arena_create(story->allocator)};
        car_status status =
            sight.arena ? CAR_OK : car_fail(error, CAR_MEMORY, "no memory for the story");
        if (status == CAR_OK && seed < story->request.seeds)
            status = measure_belts(&sight, seed, belts, count, error);
        if (status == CAR_OK)
            status = measure_gates(&sight, seed, shares, added, error);
        car_arena_free(sight.arena);
        if (status != CAR_OK)
            return status;
    }
    if (story->no_memory)
        return CAR_OK;
    draw_belts(story, belts, count);
    draw_gates(story, shares);
    draw_frozen(story, added);
    return CAR_OK;
}

static void measure_walk(car_story *story) {
    for (int seed = 0; seed < story->request.cheap; seed++)
        note(
            story, CAR_RULE_WALK_HELPS, seed,
            car_story_record(story, CAR_STUDY_WALK, "rnn", CAR_STORY_MIDDLE, seed)->accuracy -
                car_story_record(story, CAR_STUDY_MIDDLE, "rnn", CAR_STORY_MIDDLE, seed)->accuracy);
}

car_status car_story_trained(car_story *story, car_error *error) {
    measure_reach(story);
    measure_biases(story);
    measure_gru(story);
    draw_pace(story);
    measure_ablation(story);
    measure_walk(story);
    return look_into_nets(story, error);
}
