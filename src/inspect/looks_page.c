/*
 * looks_page.c: what was seen beyond gates and memory, as charts and as sections of a page, in English or Chinese.
 *
 * In:  gradients through time, norms of updates, frozen gates, units and their text. Out: scenes; sections of a page.
 */
#include "inspect.h"
#include <math.h>
#include <string.h>

enum { CURVES_SHOWN = 6, LABEL_LENGTH = 80, BARS_SHOWN = 24 };

/* Every sentence. */
typedef struct car_look_phrases {
    const char *flow, *flow_title, *flow_note, *flow_x, *flow_y, *flow_text, *state, *input;
    const char *clipping, *clipping_on, *clipping_off;
    const char *flow_values, *flow_sequences, *flow_patch, *flow_none, *freezing_values,
        *freezing_sequences, *freezing, *freezing_title, *freezing_note, *freezing_y, *held[2],
        *gate, *freezing_text;
    const char *units, *units_text, *unit_heads[6], *none, *patterns[CAR_PATTERN_COUNT], *colored,
        *unit;
    const char *gates_title, *gates_note, *gates_y, *ends[2];
} car_look_phrases;

static const car_look_phrases english = {
    .flow = "Gradients through time",
    .flow_title = "Gradient of the loss, k steps back",
    .flow_note =
        "A curve that falls steadily is a gradient that vanishes: what stood so far back no "
        "longer teaches anything. One that rises explodes.",
    .flow_x = "k, steps before the loss",
    .flow_y = "size of the gradient (median)",
    .flow_text =
        "The loss of one token alone, gone back through %d steps, in %d windows of the text. At "
        "each step: how strongly the loss depends on every state, and on what was read there.",
    .flow_values = "The loss behind a window, gone back through %d steps, in %d windows of the "
                   "series. At each step: how strongly the loss depends on every state, and on "
                   "the values that were read there.",
    .flow_sequences = "The loss of the last class of a sequence (judged after its last step alone, "
                      "even where the "
                      "net takes a mean over time), gone back through %d steps, in %d sequences. "
                      "At each step: how strongly the loss depends on every state, and on what was "
                      "read there.",
    .flow_patch = "A step of this net is %d steps of the data (`patch`), and k counts those of the "
                  "net.",
    .flow_none = "This net reads from both ends (`bi`): a loss stands no number of steps behind an "
                 "input, so no gradients through time are shown.",
    .freezing_sequences =
        "The loss over %lld classes is %.4f nats a class. Each gate in turn is held at 0, then at "
        "1, in all units and at every step; nothing else is changed and nothing is trained anew.",
    .freezing_values =
        "The loss over %lld targets is %.4f. Each gate in turn is held at 0, then at 1, in all "
        "units and at every step; nothing else is changed and nothing is trained anew.",
    .state = "%s, layer %d",
    .input = "what is read",
    .clipping = "Clipping",
    .clipping_on =
        "In %d updates made as in training (but changing nothing) the gradient's norm was %.3g in "
        "the median and %.3g at most. Clipping at norm %.3g would touch %.0f %% of them and take "
        "away %.1f %% of the gradient's length on average.",
    .clipping_off =
        "In %d updates made as in training (but changing nothing) the gradient's norm was %.3g in "
        "the median and %.3g at most. The training record names no threshold to clip at.",
    .freezing = "Which gate matters",
    .freezing_title = "Loss added by holding a gate shut or open",
    .freezing_note =
        "A long bar is a gate that the net cannot do without; a bar at zero, one that changes "
        "nothing.",
    .freezing_y = "added loss",
    .held = {"held at 0 (shut)", "held at 1 (open)"},
    .gate = "%s, layer %d",
    .freezing_text =
        "The loss over %lld tokens is %.4f nats a token. Each gate in turn is held at 0, then at "
        "1, in all units and at every step; nothing else is changed and nothing is trained anew.",
    .units = "Units that follow the text",
    .units_text =
        "For each pattern the unit whose state goes with it most. It is chosen on the first half "
        "of "
        "the text by its correlation r (from -1 to 1, 0: none); r beside it is of the second half, "
        "which had no say in the choice.",
    .unit_heads = {"pattern", "layer", "state and unit", "r where chosen", "r on the rest",
                   "pattern's mean"},
    .none = "not in the first half",
    .patterns = {"inside quotes", "inside brackets", "inside a comment",
                 "characters into the line"},
    .colored = "The second half of the text in the colours of unit %d of %s, layer %d (%s): blue "
               "where its "
               "value is high, orange where it is low, the stronger the farther from zero.",
    .unit = "as asked for",
    .gates_title = "How often each gate is shut or open",
    .gates_note = "Two long bars: the gate decides. Two short ones: it mixes.",
    .gates_y = "share of all units and steps",
    .ends = {"below 0.1", "above 0.9"},
};

static const car_look_phrases chinese = {
    .flow = "梯度沿时间的回传",
    .flow_title = "损失对 k 步之前的梯度",
    .flow_note = "曲线持续下降就是梯度消失：那么早的内容已经学不到了；上升则是梯度爆炸。",
    .flow_x = "k：距损失的步数",
    .flow_y = "梯度的大小（各窗口的中位数）",
    .flow_text = "只取一个词元的损失，沿 %d 步往回传，在文本的 %d 个窗口里各做一次。每一步上："
                 "损失对每个状态、对当时读入的内容有多敏感。",
    .flow_values = "窗口之后的损失，沿 %d 步往回传，在序列的 %d "
                   "个窗口里各做一次。每一步上：损失对每个状态、对当时读入的数值有多敏感。",
    .flow_sequences =
        "取一个序列最后一个类别的损失（只按最后一步判断，即使网络对时间取平均），沿 %d "
        "步往回传，在 %d 个序列里各做一次。每一步上：损失对每个状态、对当时读入的内容有多敏感。",
    .flow_patch = "这个网络的一步是数据的 %d 步（`patch`），k 按网络的步数计。",
    .flow_none = "这个网络从两端读（`bi`）：损失与输入之间没有确定的步数，因此不显示沿时间的梯度。",
    .freezing_sequences =
        "在 %lld 个类别上的损失是每个类别 %.4f "
        "奈特。依次把每个门在所有单元、所有步上固定为 0、再固定为 1；其余不变，也不重新训练。",
    .freezing_values = "在 %lld 个目标上的损失是 %.4f。依次把每个门在所有单元、所有步上固定为 "
                       "0、再固定为 1；其余不变，也不重新训练。",
    .state = "%s，第 %d 层",
    .input = "读入的内容",
    .clipping = "梯度裁剪",
    .clipping_on =
        "像训练时那样做 %d 次更新（但不改变权重），梯度范数的中位数是 %.3g，最大 %.3g。按范数 %.3g "
        "裁剪会影响其中的 %.0f %%，平均去掉梯度长度的 %.1f %%。",
    .clipping_off = "像训练时那样做 %d 次更新（但不改变权重），梯度范数的中位数是 %.3g，最大 "
                    "%.3g。训练记录里没有裁剪阈值。",
    .freezing = "哪个门重要",
    .freezing_title = "把一个门固定为关或开所增加的损失",
    .freezing_note = "横条越长，网络越离不开这个门；接近零则几乎没有影响。",
    .freezing_y = "增加的损失",
    .held = {"固定为 0（关）", "固定为 1（开）"},
    .gate = "%s，第 %d 层",
    .freezing_text = "在 %lld 个词元上的损失是每个词元 %.4f "
                     "奈特。依次把每个门在所有单元、所有步上固定为 0、再固定为 "
                     "1；其余不变，也不重新训练。",
    .units = "跟随文本的单元",
    .units_text =
        "对每种模式，找出状态与它最一致的单元。单元按文本前半部分的相关系数 r（-1 到 1，0 "
        "表示无关）选出；旁边的 r 是在没有参与选择的后半部分上测得的。",
    .unit_heads = {"模式", "层", "状态与单元", "选择时的 r", "其余部分的 r", "模式的平均值"},
    .none = "前半部分没有出现",
    .patterns = {"引号之内", "括号之内", "注释之内", "行内的字符位置"},
    .colored = "文本后半部分，按第 %d 个单元（%s，第 %d "
               "层；%s）着色：值高为蓝，值低为橙，离零越远颜色越深。",
    .unit = "按要求选定",
    .gates_title = "每个门有多常关、多常开",
    .gates_note = "两条都长：这个门在做决定；两条都短：它在混合。",
    .gates_y = "占所有单元和步的比例",
    .ends = {"小于 0.1", "大于 0.9"},
};

static const car_look_phrases *phrases_of(bool chinese_page) {
    return chinese_page ? &chinese : &english;
}

/* A printed text in the arena; "" when memory is out, which the scene or page then reports. */
__attribute__((format(printf, 2, 0))) static const char *print(car_arena *arena, const char *format,
                                                               ...) {
    char text[LABEL_LENGTH];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *kept = car_arena_copy(arena, text, strlen(text));
    return kept ? kept : "";
}

/* ---- Scenes ---------------------------------------------------------------------------------------------- */

static void no_scene(const char *title, const car_allocator *allocator, car_scene *scene) {
    car_scene_start(scene, 1, 1, title, allocator);
    scene->no_memory = true;
}

void car_flow_scene(const car_flow *flow, bool in_chinese, car_arena *arena,
                    const car_allocator *allocator, car_scene *scene) {
    const car_look_phrases *phrases = phrases_of(in_chinese);
    car_series series[CURVES_SHOWN] = {{0}};
    int count = flow->curve_count < CURVES_SHOWN ? flow->curve_count : CURVES_SHOWN;
    size_t steps = (size_t)flow->distance;
    double *back = car_arena_allocate(arena, 2 * steps, sizeof *back);
    if (!back) {
        no_scene(phrases->flow_title, allocator, scene);
        return;
    }
    for (size_t i = 0; i < steps; i++) {
        back[i] = (double)i; /* the input's */
        back[steps + i] = (double)i + 1;
    }
    for (int i = 0; i < count; i++) {
        const car_flow_curve *curve = &flow->curves[flow->curve_count - count + i];
        series[i] = (car_series){
            .name = curve->input ? phrases->input
                                 : print(arena, phrases->state, curve->name, curve->layer + 1),
            .count = flow->distance,
            .x = curve->input ? back : back + steps,
            .y = curve->median,
            .low = curve->low,
            .high = curve->high};
    }
    const car_chart chart = {.title = phrases->flow_title,
                             .note = phrases->flow_note,
                             .x = {.title = phrases->flow_x},
                             .y = {.title = phrases->flow_y, .logarithmic = true}};
    car_chart_lines(&chart, series, count, allocator, scene);
}

void car_freezing_scene(const car_freezing *freezing, bool in_chinese, car_arena *arena,
                        const car_allocator *allocator, car_scene *scene) {
    const car_look_phrases *phrases = phrases_of(in_chinese);
    int count = freezing->count < BARS_SHOWN ? freezing->count : BARS_SHOWN;
    const char *labels[BARS_SHOWN];
    double added[2][BARS_SHOWN];
    for (int i = 0; i < count; i++) {
        labels[i] =
            print(arena, phrases->gate, freezing->gates[i].gate, freezing->gates[i].layer + 1);
        for (int value = 0; value < 2; value++)
            added[value][i] = freezing->gates[i].loss[value] - freezing->loss;
    }
    const car_series series[] = {{.name = phrases->held[0], .count = count, .y = added[0]},
                                 {.name = phrases->held[1], .count = count, .y = added[1]}};
    const car_chart chart = {.title = phrases->freezing_title,
                             .note = phrases->freezing_note,
                             .y = {.title = phrases->freezing_y}};
    car_chart_bars(&chart, labels, series, 2, allocator, scene);
}

void car_gates_scene(const car_survey *survey, bool in_chinese, car_arena *arena,
                     const car_allocator *allocator, car_scene *scene) {
    const car_look_phrases *phrases = phrases_of(in_chinese);
    const char *labels[BARS_SHOWN];
    double closed[BARS_SHOWN], open[BARS_SHOWN];
    int count = 0;
    for (int k = 0; k < survey->layer_count; k++)
        for (int g = 0; g < survey->layers[k].gate_count && count < BARS_SHOWN; g++, count++) {
            const car_gate_survey *gate = &survey->layers[k].gates[g];
            labels[count] = print(arena, phrases->gate, gate->name, survey->layers[k].layer + 1);
            closed[count] = gate->closed;
            open[count] = gate->open;
        }
    const car_series series[] = {{.name = phrases->ends[0], .count = count, .y = closed},
                                 {.name = phrases->ends[1], .count = count, .y = open}};
    const car_chart chart = {.title = phrases->gates_title,
                             .note = phrases->gates_note,
                             .y = {.title = phrases->gates_y, .low = 0, .high = 1}};
    car_chart_bars(&chart, labels, series, 2, allocator, scene);
}

/* ---- Sections -------------------------------------------------------------------------------------------- */

static void add_scene(const car_looks *looks, car_page *page, const car_allocator *allocator,
                      bool flow) {
    car_scene scene;
    if (flow)
        car_flow_scene(looks->flow, looks->chinese, page->arena, allocator, &scene);
    else
        car_freezing_scene(looks->freezing, looks->chinese, page->arena, allocator, &scene);
    car_page_scene(page, &scene, NULL);
    car_scene_free(&scene);
}

static void write_flow(const car_looks *looks, car_page *page, const car_allocator *allocator) {
    const car_look_phrases *phrases = phrases_of(looks->chinese);
    const car_clipping *clipping = looks->clipping;
    const char *const texts[] = {phrases->flow_text, phrases->flow_values, phrases->flow_sequences};
    car_page_section(page, phrases->flow);
    if (looks->from_both_ends) {
        car_page_paragraph(page, phrases->flow_none);
    } else {
        car_page_paragraph(page, car_page_text(page, texts[looks->reads], looks->flow->distance,
                                               looks->flow->lanes));
        if (looks->flow->patch > 1)
            car_page_paragraph(page, car_page_text(page, phrases->flow_patch, looks->flow->patch));
        add_scene(looks, page, allocator, true);
    }
    if (!clipping || clipping->updates == 0)
        return;
    car_page_section(page, phrases->clipping);
    car_page_paragraph(page,
                       clipping->threshold > 0
                           ? car_page_text(page, phrases->clipping_on, clipping->updates,
                                           clipping->median, clipping->most, clipping->threshold,
                                           100 * clipping->clipped, 100 * clipping->lost)
                           : car_page_text(page, phrases->clipping_off, clipping->updates,
                                           clipping->median, clipping->most));
}

static void write_freezing(const car_looks *looks, car_page *page, const car_allocator *allocator) {
    const car_look_phrases *phrases = phrases_of(looks->chinese);
    if (looks->freezing->count == 0)
        return;
    const char *const texts[] = {phrases->freezing_text, phrases->freezing_values,
                                 phrases->freezing_sequences};
    car_page_section(page, phrases->freezing);
    car_page_paragraph(page,
                       car_page_text(page, texts[looks->reads], (long long)looks->freezing->targets,
                                     looks->freezing->loss));
    add_scene(looks, page, allocator, false);
}

static void write_follower_table(const car_looks *looks, car_page *page) {
    static const bool numeric[] = {false, true, false, true, true, true};
    const car_look_phrases *phrases = phrases_of(looks->chinese);
    const char *cells[CAR_PATTERN_COUNT * 6];
    for (int p = 0; p < CAR_PATTERN_COUNT; p++) {
        const car_follower *found = &looks->followers[p];
        const char **row = cells + (size_t)p * 6;
        row[0] = phrases->patterns[p];
        row[1] = row[2] = row[3] = row[4] = "";
        if (found->layer < 0) {
            row[2] = phrases->none;
        } else {
            row[1] = car_page_text(page, "%d", found->layer + 1);
            row[2] = car_page_text(page, "%s %d", found->state, found->unit + 1);
            row[3] = car_page_text(page, "%.2f", found->chosen);
            row[4] = isfinite(found->tested) ? car_page_text(page, "%.2f", found->tested) : "–";
        }
        row[5] = car_page_text(page, "%.3g", found->share);
    }
    car_page_table(page, phrases->unit_heads, 6, cells, CAR_PATTERN_COUNT, numeric);
}

static void write_colored(const car_looks *looks, car_page *page) {
    const car_look_phrases *phrases = phrases_of(looks->chinese);
    for (int i = 0; i < looks->colored_count; i++) {
        const car_colored *colored = &looks->colored[i];
        const char *why =
            colored->pattern < 0 ? phrases->unit : phrases->patterns[colored->pattern];
        car_page_paragraph(page, car_page_text(page, phrases->colored, colored->unit.unit + 1,
                                               colored->unit.state, colored->unit.layer + 1, why));
        car_page_colored(page, colored->text, colored->ends, colored->levels, colored->count);
    }
}

void car_looks_sections(const car_looks *looks, car_page *page, const car_allocator *allocator) {
    const car_look_phrases *phrases = phrases_of(looks->chinese);
    if (looks->flow)
        write_flow(looks, page, allocator);
    if (looks->freezing)
        write_freezing(looks, page, allocator);
    if (!looks->followers && looks->colored_count == 0)
        return;
    car_page_section(page, phrases->units);
    if (looks->followers) {
        car_page_paragraph(page, phrases->units_text);
        write_follower_table(looks, page);
    }
    write_colored(looks, page);
}

void car_color_levels(const float *values, size_t count, int *levels) {
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(values[i]));
    for (size_t i = 0; i < count; i++) {
        float share = most > 0 ? values[i] / most * CAR_PAGE_LEVELS : 0;
        levels[i] = (int)lroundf(isfinite(share) ? share : 0);
    }
}
