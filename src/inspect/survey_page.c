/*
 * survey_page.c: gates and memory of a model as one HTML page, in English or Chinese.
 *
 * In: the survey of a model over a text, and that of the same net before training. Out: for every layer its unit as a
 * drawing with how far the gates are open, a table of the gates, histograms before and after, half-lives.
 */
#include "inspect.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HALF_LIFE_BINS = 30, LAYERS_SHOWN = 16 };

/* Every sentence of the page. */
typedef struct car_phrases {
    const char *title, *subtitle, *how, *layer, *backwards, *drawing, *gate_heads[5], *gates,
        *before, *after;
    const char *histogram, *histogram_note, *value, *share, *memory, *memory_text, *memory_heads[6],
        *memory_note;
    const char *half_life, *units, *no_memory, *unit_chart, *unit_note, *unit_axis, *never, *more;
} car_phrases;

static const car_phrases english = {
    .title = "Inside %.120s",
    .subtitle = "What its gates do and how long it remembers, over %lld steps of %.120s.",
    .how = "A gate is a number between 0 (shut) and 1 (open) in every unit at every step. Near 0 "
           "and near 1 it "
           "decides; in between it mixes. Fresh is the same net with first weights, before any "
           "training.",
    .layer = "Layer %d: %.60s, %d units",
    .backwards = "Layer %d, from the end: %.60s, %d units",
    .drawing = "One step of this layer; the bar of a gate is its mean over all steps and units.",
    .gate_heads = {"gate", "mean", "below 0.1", "above 0.9", "below or above, fresh"},
    .gates = "Gates",
    .before = "fresh",
    .after = "trained",
    .histogram = "Gate %.40s",
    .histogram_note =
        "Mass at the two ends means that the gate decides; mass in the middle, that it mixes.",
    .value = "value of the gate (0 shut, 1 open)",
    .share = "share of values",
    .memory = "Memory of %.40s",
    .memory_text =
        "How long a state keeps what it holds: its half-life in steps, until half is left "
        "if nothing is added.",
    .memory_heads = {"state", "a quarter of the units below", "median", "a quarter above",
                     "units beyond 100 steps", "median, fresh"},
    .memory_note = "Every bar counts units; farther right remembers longer.",
    .half_life = "half-life in steps: until half of what a unit holds is left",
    .units = "share of the units",
    .no_memory = "No state of this layer rides a belt that only multiplies and adds, so it has no "
                 "half-life.",
    .unit_chart = "Units of gate %.40s, sorted",
    .unit_note = "Share of the steps at which each unit's gate is above 0.9, and below 0.1.",
    .unit_axis = "units, sorted by how often they are open",
    .never = "never halves",
    .more = "More layers are left out here; --json has them all.",
};

static const car_phrases chinese = {
    .title = "%.120s 的内部",
    .subtitle = "门在做什么、记忆能保持多久：统计了 %lld 步，文件 %.120s。",
    .how = "门在每一步、每个单元里都是 0（关）到 1（开）之间的数。接近 0 或 1 "
           "时它在做决定，居中时它在混合。"
           "“训练前”是同一个网络、刚初始化的权重。",
    .layer = "第 %d 层：%.60s，%d 个单元",
    .backwards = "第 %d 层（从末尾读起）：%.60s，%d 个单元",
    .drawing = "这一层的一步；门上的横条是它在所有步和单元上的平均值。",
    .gate_heads = {"门", "平均", "小于 0.1", "大于 0.9", "训练前两端合计"},
    .gates = "门",
    .before = "训练前",
    .after = "训练后",
    .histogram = "门 %.40s",
    .histogram_note = "两端的质量说明门在做决定，中间的质量说明它在混合。",
    .value = "门的值（0 关，1 开）",
    .share = "所占比例",
    .memory = "%.40s 的记忆",
    .memory_text = "状态能保持多久：半衰期（步），即不再加入任何内容时，只剩一半所需的步数。",
    .memory_heads = {"状态", "四分之一单元低于", "中位数", "四分之一单元高于", "超过 100 步的单元",
                     "训练前的中位数"},
    .memory_note = "每一条是单元的比例；越靠右记得越久。",
    .half_life = "半衰期（步）：单元里的内容只剩一半所需的步数",
    .units = "单元的比例",
    .no_memory = "这一层没有只靠乘和加前进的状态，因此没有半衰期。",
    .unit_chart = "门 %.40s 的各个单元（已排序）",
    .unit_note = "每个单元的门大于 0.9 和小于 0.1 的步数比例。",
    .unit_axis = "单元，按打开的频率排序",
    .never = "从不减半",
    .more = "其余的层没有列出；--json 有全部。",
};

typedef struct car_survey_writer {
    car_page *page;
    const car_phrases *phrases;
    const car_allocator *allocator;
    car_arena *arena;
    bool no_memory;
} car_survey_writer;

/* A text that lives as long as the page is written; "" when memory is out. */
__attribute__((format(printf, 2, 0))) static const char *phrase(car_survey_writer *writer,
                                                                const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *kept = car_arena_copy(writer->arena, text, strlen(text));
    writer->no_memory |= kept == NULL;
    return kept ? kept : "";
}

static const char *percent(car_survey_writer *writer, double share) {
    return phrase(writer, "%.1f %%", 100 * share);
}

static const char *steps_text(car_survey_writer *writer, double steps) {
    return isinf(steps) ? writer->phrases->never
                        : phrase(writer, steps < 10 ? "%.1f" : "%.0f", steps);
}

/* ---- Gates ---------------------------------------------------------------------------------------------- */

static void write_gate_table(car_survey_writer *writer, const car_layer_survey *layer,
                             const car_layer_survey *fresh) {
    static const bool numeric[] = {false, true, true, true, true};
    size_t cells = (size_t)layer->gate_count * 5;
    const char **texts = car_arena_allocate(writer->arena, cells + 1, sizeof *texts);
    if (!texts) {
        writer->no_memory = true;
        return;
    }
    for (int g = 0; g < layer->gate_count; g++) {
        const car_gate_survey *gate = &layer->gates[g], *before = &fresh->gates[g];
        const char **row = texts + (size_t)g * 5;
        row[0] = gate->name;
        row[1] = phrase(writer, "%.3f", gate->mean);
        row[2] = percent(writer, gate->closed);
        row[3] = percent(writer, gate->open);
        row[4] = percent(writer, before->closed + before->open);
    }
    car_page_table(writer->page, writer->phrases->gate_heads, 5, texts, layer->gate_count, numeric);
}

static void write_histogram(car_survey_writer *writer, const car_gate_survey *gate,
                            const car_gate_survey *fresh) {
    car_scene scene;
    const car_series series[] = {
        {.name = writer->phrases->after, .count = CAR_SURVEY_BINS, .y = gate->shares},
        {.name = writer->phrases->before, .count = CAR_SURVEY_BINS, .y = fresh->shares}};
    const car_chart chart = {.title = phrase(writer, writer->phrases->histogram, gate->name),
                             .note = writer->phrases->histogram_note,
                             .height = 280,
                             .x = {.title = writer->phrases->value, .low = 0, .high = 1},
                             .y = {.title = writer->phrases->share}};
    car_chart_steps(&chart, series, 2, writer->allocator, &scene);
    car_page_scene(writer->page, &scene, NULL);
    car_scene_free(&scene);
}

static int compare_down(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a < b) - (a > b);
}

/* Two curves over the units: how often open (falling) and how often shut, each sorted by itself. */
static void write_units(car_survey_writer *writer, const car_gate_survey *gate, int units) {
    double *numbers = car_arena_allocate(writer->arena, (size_t)units * 3, sizeof *numbers);
    car_scene scene;
    if (!numbers) {
        writer->no_memory = true;
        return;
    }
    double *place = numbers, *open = numbers + units, *closed = numbers + 2 * (size_t)units;
    for (int unit = 0; unit < units; unit++) {
        place[unit] = unit + 1;
        open[unit] = gate->unit_open[unit];
        closed[unit] = gate->unit_closed[unit];
    }
    qsort(open, (size_t)units, sizeof *open, compare_down);
    qsort(closed, (size_t)units, sizeof *closed, compare_down);
    const car_series series[] = {{.name = "> 0.9", .count = units, .x = place, .y = open},
                                 {.name = "< 0.1", .count = units, .x = place, .y = closed}};
    const car_chart chart = {.title = phrase(writer, writer->phrases->unit_chart, gate->name),
                             .note = writer->phrases->unit_note,
                             .height = 240,
                             .x = {.title = writer->phrases->unit_axis},
                             .y = {.title = writer->phrases->share, .low = 0, .high = 1}};
    car_chart_lines(&chart, series, 2, writer->allocator, &scene);
    car_page_scene(writer->page, &scene, NULL);
    car_scene_free(&scene);
}

/* ---- Memory --------------------------------------------------------------------------------------------- */

/* Shares of the units in HALF_LIFE_BINS equal parts of the logarithm from 0.1 to 10,000; the rest in the ends. */
static void count_half_lives(const double *half_life, int units, double *shares) {
    for (int unit = 0; unit < units; unit++) {
        double place = (log10(fmax(half_life[unit], 0.1)) + 1) / 5 * HALF_LIFE_BINS;
        int bin = (int)fmin(fmax(place, 0), HALF_LIFE_BINS - 1);
        shares[bin] += 1.0 / units;
    }
}

static void write_half_lives(car_survey_writer *writer, const car_memory_survey *memory,
                             const car_memory_survey *fresh, int units) {
    double after[HALF_LIFE_BINS] = {0}, before[HALF_LIFE_BINS] = {0};
    car_scene scene;
    count_half_lives(memory->half_life, units, after);
    count_half_lives(fresh->half_life, units, before);
    const car_series series[] = {
        {.name = writer->phrases->after, .count = HALF_LIFE_BINS, .y = after},
        {.name = writer->phrases->before, .count = HALF_LIFE_BINS, .y = before}};
    const car_chart chart = {
        .title = phrase(writer, writer->phrases->memory, memory->name),
        .note = writer->phrases->memory_note,
        .height = 280,
        .x = {.title = writer->phrases->half_life, .logarithmic = true, .low = 0.1, .high = 1e4},
        .y = {.title = writer->phrases->units}};
    car_chart_steps(&chart, series, 2, writer->allocator, &scene);
    car_page_scene(writer->page, &scene, NULL);
    car_scene_free(&scene);
}

static void write_memories(car_survey_writer *writer, const car_layer_survey *layer,
                           const car_layer_survey *fresh) {
    static const bool numeric[] = {false, true, true, true, true, true};
    if (layer->memory_count == 0) {
        car_page_paragraph(writer->page, writer->phrases->no_memory);
        return;
    }
    const char **texts =
        car_arena_allocate(writer->arena, (size_t)layer->memory_count * 6, sizeof *texts);
    if (!texts) {
        writer->no_memory = true;
        return;
    }
    for (int m = 0; m < layer->memory_count; m++) {
        const car_memory_survey *memory = &layer->memories[m];
        const char **row = texts + (size_t)m * 6;
        row[0] = memory->name;
        row[1] = steps_text(writer, memory->low);
        row[2] = steps_text(writer, memory->median);
        row[3] = steps_text(writer, memory->high);
        row[4] = percent(writer, memory->beyond_hundred);
        row[5] = steps_text(writer, fresh->memories[m].median);
    }
    car_page_paragraph(writer->page, writer->phrases->memory_text);
    car_page_table(writer->page, writer->phrases->memory_heads, 6, texts, layer->memory_count,
                   numeric);
    for (int m = 0; m < layer->memory_count; m++)
        write_half_lives(writer, &layer->memories[m], &fresh->memories[m], layer->units);
}

/* ---- The page ------------------------------------------------------------------------------------------- */

static void write_drawing(car_survey_writer *writer, const car_layer_survey *layer) {
    car_scene scene;
    size_t gates = (size_t)layer->gate_count;
    car_reading *readings = car_arena_allocate(writer->arena, gates + 1, sizeof *readings);
    if (!readings) {
        writer->no_memory = true;
        return;
    }
    for (int g = 0; g < layer->gate_count; g++)
        readings[g] = (car_reading){.name = layer->gates[g].name,
                                    .mean = layer->gates[g].mean,
                                    .size = layer->gates[g].mean,
                                    .closed = layer->gates[g].closed,
                                    .open = layer->gates[g].open};
    const car_picture_options options = {.unroll = 1,
                                         .reading_count = layer->gate_count,
                                         .readings = readings,
                                         .chinese = writer->phrases == &chinese};
    if (car_cell_picture(layer->cell, &options, writer->allocator, &scene, NULL) == CAR_OK)
        car_page_scene(writer->page, &scene, writer->phrases->drawing);
    car_scene_free(&scene);
}

static void write_layer(car_survey_writer *writer, const car_layer_survey *layer,
                        const car_layer_survey *fresh) {
    const car_phrases *phrases = writer->phrases;
    car_page_section(writer->page,
                     phrase(writer, layer->backwards ? phrases->backwards : phrases->layer,
                            layer->layer + 1, layer->cell->name, layer->units));
    write_drawing(writer, layer);
    if (layer->gate_count > 0)
        write_gate_table(writer, layer, fresh);
    write_memories(writer, layer, fresh);
    for (int g = 0; g < layer->gate_count; g++) {
        write_histogram(writer, &layer->gates[g], &fresh->gates[g]);
        write_units(writer, &layer->gates[g], layer->units);
    }
}

car_status car_survey_page(const car_survey *survey, const car_survey *fresh,
                           const car_looks *looks, const car_survey_words *words,
                           const car_allocator *allocator, car_text *html, car_error *error) {
    car_page page;
    car_survey_writer writer = {.page = &page,
                                .phrases = words->chinese ? &chinese : &english,
                                .allocator = allocator,
                                .arena = car_arena_create(allocator)};
    if (!writer.arena)
        return car_fail(error, CAR_MEMORY, "no memory for the page");
    car_page_start(&page, words->chinese ? "zh" : "en",
                   phrase(&writer, writer.phrases->title, words->model),
                   phrase(&writer, writer.phrases->subtitle, (long long)survey->steps, words->text),
                   allocator);
    car_page_paragraph(&page, writer.phrases->how);
    for (int k = 0; k < survey->layer_count && k < LAYERS_SHOWN; k++)
        write_layer(&writer, &survey->layers[k], &fresh->layers[k]);
    if (survey->layer_count > LAYERS_SHOWN)
        car_page_paragraph(&page, writer.phrases->more);
    car_looks_sections(looks, &page, allocator);
    car_status status = car_page_finish(&page, html, error);
    if (status == CAR_OK && writer.no_memory)
        status = car_fail(error, CAR_MEMORY, "no memory for the page");
    car_arena_free(writer.arena);
    return status;
}
