/*
 * rules.c: the rules of every verdict, fixed before anything is measured.
 *
 * In: samples, one a seed. Out: mean and interval, the outcome of a rule, the verdict of a claim.
 */
#include "story.h"
#include <math.h>

/* A logarithm to base 10 of a factor over 50 steps: -3 is a thousandth. To base 2 of a ratio of updates: 1 is twice. */
static const car_story_rule rules[CAR_RULE_COUNT] = {
    [CAR_RULE_RNN_FAILS_FAR] = {0,
                                {"rnn: share right at the farthest distance",
                                 "rnn：最远距离上的正确率"},
                                false,
                                0.9,
                                3},
    [CAR_RULE_LSTM_READS_FAR] = {0,
                                 {"lstm whose forget gate starts at a bias of 1: the same",
                                  "lstm（遗忘门偏置从 1 开始）：同上"},
                                 true,
                                 0.99,
                                 3},
    [CAR_RULE_KEEP_READS_FAR] = {0,
                                 {"lstm whose forget gate starts at a bias of 3: the same",
                                  "lstm（遗忘门偏置从 3 开始）：同上"},
                                 true,
                                 0.99,
                                 3},
    [CAR_RULE_SMALL_VANISHES] =
        {1,
         {"matrix scaled to 0.5: log10 of the gradient's factor over 50 steps",
          "矩阵尺度 0.5：50 步后梯度倍数的 log10"},
         false,
         -3,
         2},
    [CAR_RULE_LARGE_EXPLODES] =
        {1,
         {"matrix scaled to 2: log10 of the gradient's factor over 50 steps",
          "矩阵尺度 2：50 步后梯度倍数的 log10"},
         true,
         1,
         2},
    [CAR_RULE_NORM_KEEPS_WAY] = {2,
                                 {"share of steps after which the loss was lower, clipped by norm",
                                  "按范数裁剪：更新后损失下降的步数比例"},
                                 true,
                                 0.9,
                                 3},
    [CAR_RULE_VALUE_TURNS] = {2,
                              {"cosine to the raw gradient, clipped by value",
                               "按数值裁剪：与原梯度的余弦"},
                              false,
                              0.99,
                              3},
    [CAR_RULE_NEAR_IS_ALL] = {2,
                              {"cosine of the whole gradient to that of the last 10 steps alone",
                               "完整梯度与只算最近 10 步的梯度的余弦"},
                              true,
                              0.99,
                              4},
    [CAR_RULE_BELT_FRESH] = {3,
                             {"before training: log10 of the factor of c minus that of the rnn's h",
                              "训练前：c 的梯度倍数的 log10 减去 rnn 的 h 的"},
                             true,
                             2,
                             2},
    [CAR_RULE_BELT_TRAINED] = {3, {"after training: the same", "训练后：同上"}, true, 2, 2},
    [CAR_RULE_FORGET_EXTREME] = {4,
                                 {"forget gate: share of values below 0.1 or above 0.9",
                                  "遗忘门：小于 0.1 或大于 0.9 的值所占比例"},
                                 true,
                                 0.5,
                                 3},
    [CAR_RULE_INPUT_EXTREME] =
        {4, {"input gate: the same share", "输入门：同样的比例"}, true, 0.5, 3},
    [CAR_RULE_OUTPUT_EXTREME] =
        {4, {"output gate: the same share", "输出门：同样的比例"}, true, 0.5, 3},
    [CAR_RULE_FORGET_BIAS] = {5,
                              {"log2 of updates needed: all biases 0 / forget gate's bias 1",
                               "所需更新数之比的 log2：偏置全 0 / 遗忘门偏置 1"},
                              true,
                              0,
                              2},
    [CAR_RULE_NOT_OUTPUT] = {5,
                             {"log2 of updates needed: output gate's bias 1 / forget gate's bias 1",
                              "所需更新数之比的 log2：输出门偏置 1 / 遗忘门偏置 1"},
                             true,
                             0,
                             2},
    [CAR_RULE_GRU_RIGHT] = {6,
                            {"share right, gru minus lstm, mean over the distances",
                             "正确率之差（gru 减 lstm），各距离平均"},
                            true,
                            -0.02,
                            3},
    [CAR_RULE_GRU_FAST] = {6,
                           {"log2 of updates needed: lstm / gru",
                            "所需更新数之比的 log2：lstm / gru"},
                           true,
                           -1,
                           2},
    [CAR_RULE_FORGET_OVER_INPUT] =
        {7,
         {"log2 of updates needed: without forget gate / without input gate",
          "所需更新数之比的 log2：无遗忘门 / 无输入门"},
         true,
         0,
         2},
    [CAR_RULE_INPUT_OVER_OUTPUT] =
        {7,
         {"log2 of updates needed: without input gate / without output gate",
          "所需更新数之比的 log2：无输入门 / 无输出门"},
         true,
         0,
         2},
    [CAR_RULE_FROZEN_FORGET] =
        {7,
         {"trained net, gate held open: added loss, forget minus input (nats)",
          "训练后把门固定为开：增加的损失，遗忘门减输入门（奈特）"},
         true,
         0,
         3},
    [CAR_RULE_FROZEN_INPUT] =
        {7,
         {"trained net, gate held open: added loss, input minus output (nats)",
          "训练后把门固定为开：增加的损失，输入门减输出门（奈特）"},
         true,
         0,
         3},
    [CAR_RULE_WALK_KEEPS] = {8,
                             {"50 layers, random-walk weights: |log10 of the gradient's factor|",
                              "50 层，随机游走初值：梯度倍数 log10 的绝对值"},
                             false,
                             1,
                             2},
    [CAR_RULE_PLAIN_LOSES] = {8,
                              {"50 layers, uniform weights: log10 of the gradient's factor",
                               "50 层，均匀分布初值：梯度倍数的 log10"},
                              false,
                              -3,
                              2},
    [CAR_RULE_WALK_HELPS] = {8,
                             {"rnn trained at 20 words: share right, random walk minus uniform",
                              "训练后的 rnn（相隔 20 词）：正确率之差（随机游走减均匀）"},
                             true,
                             0.02,
                             3},
    [CAR_RULE_DEEP_KEEPS] =
        {9,
         {"50 layers with weights of their own, best scale: |log10 of the factor|",
          "50 层各有权重、最佳尺度：倍数 log10 的绝对值"},
         false,
         1,
         2},
    [CAR_RULE_REPEAT_LOSES] =
        {9,
         {"the same scale, one matrix repeated 50 times: |log10|, more than that",
          "同一尺度、同一矩阵重复 50 次：log10 绝对值比上面多出"},
         true,
         1,
         2},
};

const car_story_rule *car_story_rule_at(car_rule_id rule) {
    return &rules[rule];
}

/* Student's t, 97.5 %, by degrees of freedom; above the table the nearest smaller entry, so never too narrow. */
static double student_t(int freedom) {
    static const double table[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                   2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                   2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                   2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
    enum { ENTRIES = sizeof table / sizeof *table };
    return table[freedom < ENTRIES ? freedom - 1 : ENTRIES - 1];
}

static car_outcome outcome_of(const car_story_rule *rule, const car_story_figure *figure) {
    double low = figure->low, high = figure->high;
    if (figure->seeds < CAR_STORY_LEAST_SEEDS)
        return CAR_OUTCOME_OPEN;
    if (rule->above ? low > rule->threshold : high < rule->threshold)
        return CAR_OUTCOME_YES;
    return (rule->above ? high < rule->threshold : low > rule->threshold) ? CAR_OUTCOME_NO
                                                                          : CAR_OUTCOME_OPEN;
}

car_story_figure car_story_judge(const car_story_rule *rule, const double *samples, int count) {
    car_story_figure figure = {.mean = NAN, .low = NAN, .high = NAN, .outcome = CAR_OUTCOME_OPEN};
    double sum = 0, squares = 0;
    for (int i = 0; i < count; i++)
        if (isfinite(samples[i])) {
            sum += samples[i];
            figure.seeds++;
        }
    if (figure.seeds == 0)
        return figure;
    figure.mean = sum / figure.seeds;
    for (int i = 0; i < count; i++)
        if (isfinite(samples[i]))
            squares += (samples[i] - figure.mean) * (samples[i] - figure.mean);
    if (figure.seeds < 2)
        return figure;
    double error = sqrt(squares / (figure.seeds - 1) / figure.seeds);
    figure.low = figure.mean - student_t(figure.seeds - 1) * error;
    figure.high = figure.mean + student_t(figure.seeds - 1) * error;
    figure.outcome = outcome_of(rule, &figure);
    return figure;
}

car_verdict car_story_verdict(const car_outcome *outcomes, int count) {
    int yes = 0, no = 0;
    for (int i = 0; i < count; i++) {
        yes += outcomes[i] == CAR_OUTCOME_YES;
        no += outcomes[i] == CAR_OUTCOME_NO;
    }
    if (yes == count)
        return CAR_VERDICT_HOLDS;
    if (no == count)
        return CAR_VERDICT_FAILS;
    return yes > 0 && no > 0 ? CAR_VERDICT_IN_PART : CAR_VERDICT_OPEN;
}
