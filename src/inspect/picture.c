/*
 * picture.c: parts, places and wires become a scene.
 *
 * In: a cell, perhaps readings of a model's step. Out: title, the unit (or several side by side), a legend of what
 * occurs in it, and sentences that say what to see, all read off the figure.
 */
#include "figure.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PITCH = 14, MARGIN = 20, CORNER = 9 };

/* What is said in and around a picture. */
typedef struct car_picture_words {
    const char *title, *unrolled, *see, *stateless, *rides, *plain, *squashed, *anew, *inner,
        *reading;
    const char *gate, *layer, *inside, *step, *merged, *forked;
} car_picture_words;

static const car_picture_words english = {
    .title = "%.60s: one step",
    .unrolled = "%.60s, unrolled over %d steps",
    .see = "What to see: ",
    .stateless = "there is no state, so every step stands alone. ",
    .rides = "%s rides a belt",
    .plain = "; no matrix and no squashing stands in its way. ",
    .squashed = "; no matrix stands in its way. ",
    .anew = "%s has no belt: every step makes it anew. ",
    .inner = "of %s",
    .reading = "%.40s: mean %.3f, %.0f %% of the units below 0.1, %.0f %% above 0.9",
    .gate = "gate",
    .layer = "layer",
    .inside = "(its function bold, its weights below)",
    .step = "elementwise step",
    .merged = "concatenated",
    .forked = "copied",
};

static const car_picture_words chinese = {
    .title = "%.60s：一步",
    .unrolled = "%.60s，展开 %d 步",
    .see = "看点：",
    .stateless = "没有状态，每一步各自独立。",
    .rides = "%s 走在传送带上",
    .plain = "；路上没有矩阵，也没有压缩。",
    .squashed = "；路上没有矩阵。",
    .anew = "%s 没有传送带：每一步都重新算出。",
    .inner = "作用于 %s",
    .reading = "%.40s：平均 %.3f，%.0f %% 的单元小于 0.1，%.0f %% 大于 0.9",
    .gate = "门",
    .layer = "层",
    .inside = "（粗体是它的函数，下面是它的权重）",
    .step = "逐元素运算",
    .merged = "拼接",
    .forked = "复制",
};

typedef struct car_painter {
    const car_figure *figure;
    const car_wiring *wiring;
    const car_picture_options *options;
    const car_picture_words *words;
    car_scene *scene;
    double left, top; /* of grid place 0, 0 of the copy being painted */
    int copy, copies;
} car_painter;

/* ---- Wires -------------------------------------------------------------------------------------------- */

static car_point at(const car_painter *painter, int x, int y) {
    return (car_point){painter->left + x * PITCH, painter->top + y * PITCH};
}

/* A state's own colour from where it comes in to where it goes out; x has one too. */
static car_ink ink_of_state(const car_figure *figure, int state) {
    int place = 0;
    for (int b = figure->belt_count - 1; b >= 0; b--, place++)
        if (figure->belt_state[b] == state)
            return car_ink_of_series(place < 2 ? place : place + 1);
    for (int s = 0; s < state; s++) {
        bool belt = false;
        for (int b = 0; b < figure->belt_count; b++)
            belt |= figure->belt_state[b] == s;
        place += !belt;
    }
    return car_ink_of_series(place < 2 ? place : place + 1);
}

static car_ink ink_of_net(const car_figure *figure, int number) {
    const car_part *part = &figure->parts[number];
    if (part->kind == CAR_PART_INPUT)
        return CAR_INK_SERIES_3;
    if (part->kind == CAR_PART_STATE)
        return ink_of_state(figure, part->state);
    for (int i = 0; i < figure->count; i++)
        if (figure->parts[i].kind == CAR_PART_NEXT && figure->parts[i].feeds[0].part == number)
            return ink_of_state(figure, figure->parts[i].state);
    return part->belt >= 0 ? ink_of_state(figure, figure->belt_state[part->belt]) : CAR_INK_WIRE;
}

static double thickness_of(const car_figure *figure, const car_wire *wire) {
    const car_part *from = &figure->parts[wire->from], *to = &figure->parts[wire->to];
    bool belt = from->belt >= 0 && from->belt == to->belt;
    return belt ? 3.5 : from->kind == CAR_PART_MERGE ? 3 : 2;
}

static void paint_wire(car_painter *painter, const car_wire *wire, bool halo) {
    const car_figure *figure = painter->figure;
    const car_part *from = &figure->parts[wire->from], *to = &figure->parts[wire->to];
    car_point points[256];
    int count = wire->count < 256 ? wire->count : 256;
    double thickness = thickness_of(figure, wire);
    int right = figure->width - 4;
    for (int i = 0; i < count; i++) {
        int x = wire->points[i][0], y = wire->points[i][1];
        if (halo) { /* inside the body only */
            x = x < 2 ? 2 : x > right ? right : x;
            y = y < figure->top ? figure->top : y > figure->bottom ? figure->bottom : y;
        }
        points[i] = at(painter, x, y);
    }
    if (halo) {
        car_scene_path(painter->scene, points, count, CORNER, false, false,
                       (car_style){.line = CAR_INK_BODY, .thickness = thickness + 6});
        return;
    }
    bool belt = from->belt >= 0 && from->belt == to->belt && to->kind != CAR_PART_NEXT;
    bool joins = to->kind == CAR_PART_NEXT && painter->copy + 1 < painter->copies;
    bool arrow = to->kind != CAR_PART_MERGE && !belt && !joins;
    car_ink ink = ink_of_net(figure, wire->from);
    car_scene_path(painter->scene, points, count, CORNER, false, arrow,
                   (car_style){.line = ink, .thickness = thickness});
    if (wire->forked)
        car_scene_circle(painter->scene, points[0].x, points[0].y, 3.5, (car_style){.fill = ink});
}

/* Belts lie lowest; each net goes over those before it, with a gap of paper where they cross. */
static void paint_wires(car_painter *painter) {
    for (int pass = 0; pass < 2; pass++)
        for (int net = 0; net < painter->figure->count; net++) {
            if ((painter->figure->parts[net].belt < 0) == (pass == 0))
                continue;
            for (int halo = 1; halo >= 0; halo--)
                for (const car_wire *wire = painter->wiring->first; wire; wire = wire->next)
                    if (wire->from == net)
                        paint_wire(painter, wire, halo);
        }
}

static void paint_signs(car_painter *painter) {
    for (const car_wire *wire = painter->wiring->first; wire; wire = wire->next) {
        const char *sign = painter->figure->parts[wire->to].feeds[wire->feed].sign;
        if (!sign || wire->count < 2)
            continue;
        const int *end = wire->points[wire->count - 1], *before = wire->points[wire->count - 2];
        bool level = end[1] == before[1];
        car_point tip = at(painter, end[0], end[1]);
        bool right = before[0] > end[0]; /* names stand above, at the right */
        double x = tip.x + (level ? (right ? 12 : -12) : 9),
               y = tip.y + (level ? (right ? 14 : -5) : (before[1] < end[1] ? -8 : 16));
        car_scene_text(
            painter->scene, x, y,
            (car_font){.size = 13, .ink = CAR_INK_TEXT, .anchor = CAR_ANCHOR_MIDDLE, .bold = true},
            sign);
    }
}

/* ---- Names of values --------------------------------------------------------------------------------- */

/* What a part's value is called: its name, or how it is made of named ones. */
static void say_value(const car_figure *figure, int number, int depth, car_text *text) {
    const car_part *part = &figure->parts[number];
    if (part->name || part->feed_count == 0 || depth > 3) {
        car_text_format(text, "%s", part->name ? part->name : part->label);
        return;
    }
    const char *hole = strstr(part->label, "·");
    bool brackets = hole && depth > 0 && car_label_is_sum(part->label);
    bool pair = part->kind == CAR_PART_STEP, word = pair && (unsigned char)part->label[0] >= 'a' &&
                                                    (unsigned char)part->label[0] < 0x80;
    bool sum = !hole && !pair && car_label_is_sum(part->label);
    if (hole)
        car_text_format(text, "%s%.*s", brackets ? "(" : "", (int)(hole - part->label),
                        part->label);
    else
        car_text_format(text,
                        sum             ? "(%s"
                        : pair && !word ? "%s"
                                        : "%s(",
                        pair && !word ? "" : part->label);
    say_value(figure, part->feeds[0].part, depth + 1, text);
    if (pair) {
        car_text_format(text, "%s", word ? ", " : part->label);
        say_value(figure, part->feeds[1].part, depth + 1, text);
    }
    car_text_format(text, "%s", hole ? hole + strlen("·") : pair && !word ? "" : ")");
    if (brackets)
        car_text_format(text, ")");
}

/* ---- Parts -------------------------------------------------------------------------------------------- */

static const car_reading *reading_of(const car_painter *painter, const char *name) {
    int count = painter->options ? painter->options->reading_count : 0;
    for (int i = 0; name && i < count; i++) {
        const car_reading *reading = &painter->options->readings[painter->copy * count + i];
        if (strcmp(reading->name, name) == 0)
            return reading;
    }
    return NULL;
}

static void paint_text(car_painter *painter, double x, double y, double size, bool bold,
                       const char *text) {
    car_scene_text(
        painter->scene, x, y,
        (car_font){.size = size, .ink = CAR_INK_TEXT, .anchor = CAR_ANCHOR_MIDDLE, .bold = bold},
        text);
}

/* How far a gate is open: a bar along the foot of its box, and the mean as a number. */
static void paint_reading(car_painter *painter, const car_part *part, car_point middle,
                          double width, double height) {
    const car_reading *reading = reading_of(painter, part->name);
    if (!reading)
        return;
    double x = middle.x - width / 2 + 6, y = middle.y + height / 2 - 7, room = width - 12;
    char text[48];
    snprintf(text, sizeof text, "%.2f", reading->mean);
    car_scene_text(painter->scene, middle.x + width / 2 - 6, middle.y - height / 2 + 16,
                   (car_font){.size = 11, .ink = CAR_INK_TEXT, .anchor = CAR_ANCHOR_END}, text);
    if (!part->gate)
        return;
    double share = reading->mean < 0 ? 0 : reading->mean > 1 ? 1 : reading->mean;
    car_scene_rectangle(painter->scene, x, y, room, 4, 2,
                        (car_style){.fill = CAR_INK_PAPER, .opacity = 0.7});
    car_mark *bar = car_scene_rectangle(painter->scene, x, y, room * share, 4, 2,
                                        (car_style){.fill = CAR_INK_TEXT});
    char hint[128];
    snprintf(hint, sizeof hint, painter->words->reading, part->name, reading->mean,
             100 * reading->closed, 100 * reading->open);
    car_scene_hint(painter->scene, bar, hint);
}

static void paint_box(car_painter *painter, const car_part *part, car_point middle, int w, int h) {
    double width = 2.0 * w * PITCH, height = 2.0 * h * PITCH, top = middle.y - height / 2;
    car_scene_rectangle(
        painter->scene, middle.x - width / 2, top, width, height, 6,
        (car_style){.fill = part->gate ? CAR_INK_GATE : CAR_INK_LAYER, .line = CAR_INK_WIRE});
    if (part->name)
        car_scene_text(painter->scene, middle.x - width / 2 + 6, top + 16,
                       (car_font){.size = 14, .ink = CAR_INK_TEXT, .bold = true, .italic = true},
                       part->name);
    paint_text(painter, middle.x, top + 30, 15, true, part->label);
    if (*part->inner) {
        char inner[CAR_LABEL_LIMIT + 16];
        snprintf(inner, sizeof inner, painter->words->inner, part->inner);
        paint_text(painter, middle.x, top + 46, 11, false, inner);
    }
    paint_text(painter, middle.x, top + height - 12, 11, false, part->weights);
    paint_reading(painter, part, middle, width, height);
}

static void paint_step(car_painter *painter, const car_part *part, car_point middle, int w) {
    double width = 2.0 * w * PITCH;
    bool leaf = part->kind == CAR_PART_LEAF;
    car_style style = {.fill = leaf         ? CAR_INK_PAPER
                               : part->gate ? CAR_INK_GATE
                                            : CAR_INK_STEP,
                       .line = CAR_INK_WIRE};
    car_scene_rectangle(painter->scene, middle.x - width / 2, middle.y - PITCH, width, 2 * PITCH,
                        leaf ? 4 : PITCH, style);
    bool sign = part->kind == CAR_PART_STEP && w == 1 && (unsigned char)part->label[0] < 'a';
    sign |= part->kind == CAR_PART_STEP && (unsigned char)part->label[0] >= 0x80;
    paint_text(painter, middle.x, middle.y + (sign ? 6.5 : 5), sign ? 19 : 14, true, part->label);
    if (part->name && !strchr(part->name, '\'')) /* new states are named at the edge */
        car_scene_text(painter->scene, middle.x + width / 2 - 1, middle.y - PITCH + 1,
                       (car_font){.size = 13, .ink = CAR_INK_TEXT, .bold = true, .italic = true},
                       part->name);
}

static void paint_merge(car_painter *painter, const car_part *part, car_point middle) {
    car_text label;
    car_text_start(&label, NULL);
    car_scene_circle(painter->scene, middle.x, middle.y, 5, (car_style){.fill = CAR_INK_WIRE});
    for (int i = 0; i < part->feed_count; i++) {
        car_text_format(&label, i ? ", " : "[");
        say_value(painter->figure, part->feeds[i].part, 0, &label);
    }
    car_text_format(&label, "]");
    if (label.failed)
        painter->scene->no_memory = true;
    else
        car_scene_text(painter->scene, middle.x + 8, middle.y + 15,
                       (car_font){.size = 11, .ink = CAR_INK_MUTED}, label.data);
    car_text_free(&label);
}

/* "x" alone, or at its time when there are several steps. */
static void name_at_time(const car_painter *painter, const char *name, char *text, size_t size) {
    int shift = painter->copy - (painter->copies - 1) / 2;
    if (painter->copies == 1)
        snprintf(text, size, "%.40s", name);
    else if (shift == 0)
        snprintf(text, size, "%.40s(t)", name);
    else
        snprintf(text, size, "%.40s(t%s%d)", name, shift < 0 ? "−" : "+", abs(shift));
}

static void paint_state_name(car_painter *painter, car_point middle, bool before,
                             const char *name) {
    car_scene_text(painter->scene, middle.x + (before ? -7 : 9), middle.y + 5,
                   (car_font){.size = 15,
                              .ink = CAR_INK_TEXT,
                              .anchor = before ? CAR_ANCHOR_END : CAR_ANCHOR_START,
                              .bold = true,
                              .italic = true},
                   name);
}

static void paint_end(car_painter *painter, const car_part *part, car_point middle) {
    char text[64];
    const struct car_cell *cell = painter->figure->cell;
    if (part->kind == CAR_PART_INPUT || part->kind == CAR_PART_OUTPUT) {
        bool input = part->kind == CAR_PART_INPUT;
        const char *name = part->label;
        const car_part *from = input ? NULL : &painter->figure->parts[part->feeds[0].part];
        char own[CAR_LABEL_LIMIT];
        if (!input) {
            snprintf(own, sizeof own, "%.40s", from->name ? from->name : from->label);
            for (int s = cell->state_count - 1; s >= 0; s--)
                if (cell->next[s] == cell->output)
                    snprintf(own, sizeof own, painter->copies > 1 ? "%.40s" : "%.40s'",
                             cell->state_names[s]);
            name = own;
        }
        name_at_time(painter, name, text, sizeof text);
        double half = fmax(15, car_font_width(text, 14, true) / 2 + 6);
        double y = middle.y + (input ? 15 : -15);
        car_scene_rectangle(
            painter->scene, middle.x - half, y - 15, 2 * half, 30, 15,
            (car_style){.fill = CAR_INK_PAPER,
                        .line = input ? CAR_INK_SERIES_3
                                      : ink_of_net(painter->figure, part->feeds[0].part),
                        .thickness = 2});
        paint_text(painter, middle.x, y + 5, 14, true, text);
        if (input && painter->options && painter->options->inputs)
            car_scene_text(painter->scene, middle.x + half + 6, y + 5,
                           (car_font){.size = 12, .ink = CAR_INK_TEXT},
                           painter->options->inputs[painter->copy]);
        return;
    }
    bool before = part->kind == CAR_PART_STATE,
         outer = before ? painter->copy == 0 : painter->copy + 1 == painter->copies;
    snprintf(text, sizeof text, before ? "%.40s" : "%.40s'", cell->state_names[part->state]);
    if (outer)
        paint_state_name(painter, middle, before, text);
    const car_reading *reading = before ? NULL : reading_of(painter, text);
    if (reading) {
        snprintf(text, sizeof text, "|%.2f|", reading->size);
        car_scene_text(painter->scene, middle.x + (outer ? 9 : -PITCH), middle.y + 20,
                       (car_font){.size = 11,
                                  .ink = CAR_INK_MUTED,
                                  .anchor = outer ? CAR_ANCHOR_START : CAR_ANCHOR_MIDDLE},
                       text);
    }
}
static void paint_part(car_painter *painter, const car_part *part) {
    int w, h;
    car_point middle = at(painter, part->x, part->y);
    car_part_extent(part, &w, &h);
    switch (part->kind) {
    case CAR_PART_LAYER:
        paint_box(painter, part, middle, w, h);
        break;
    case CAR_PART_FUNCTION:
        if (*part->weights)
            paint_box(painter, part, middle, w, h);
        else
            paint_step(painter, part, middle, w);
        break;
    case CAR_PART_STEP:
    case CAR_PART_LEAF:
        paint_step(painter, part, middle, w);
        break;
    case CAR_PART_MERGE:
        paint_merge(painter, part, middle);
        break;
    default:
        paint_end(painter, part, middle);
    }
}

static void paint_copy(car_painter *painter) {
    const car_figure *figure = painter->figure;
    car_point corner = at(painter, 2, figure->top);
    car_scene_rectangle(painter->scene, corner.x, corner.y, (figure->width - 6.0) * PITCH,
                        (double)(figure->bottom - figure->top) * PITCH, 18,
                        (car_style){.fill = CAR_INK_BODY, .line = CAR_INK_EDGE, .thickness = 1.5});
    paint_wires(painter);
    for (int i = 0; i < figure->count; i++)
        paint_part(painter, &figure->parts[i]);
    paint_signs(painter);
}

/* ---- Words -------------------------------------------------------------------------------------------- */

/* The belt's next part after `number`, -1 at its end. */
static int next_on_belt(const car_figure *figure, int number, int belt) {
    for (int i = 0; i < figure->count; i++)
        for (int k = 0; k < figure->parts[i].feed_count; k++)
            if (figure->parts[i].belt == belt && figure->parts[i].kind != CAR_PART_NEXT &&
                figure->parts[i].feeds[k].part == number)
                return i;
    return -1;
}

static void say_belt(const car_figure *figure, const car_picture_words *words, int belt,
                     car_text *text) {
    int at = -1, steps = 0;
    bool plain = true;
    const char *name = figure->cell->state_names[figure->belt_state[belt]];
    for (int i = 0; i < figure->count; i++)
        if (figure->parts[i].belt == belt && figure->parts[i].kind == CAR_PART_STATE)
            at = i;
    car_text_format(text, words->rides, name);
    for (int next = next_on_belt(figure, at, belt); next >= 0;
         at = next, next = next_on_belt(figure, at, belt)) {
        const car_part *part = &figure->parts[next];
        car_text_format(text, steps++ ? ", " : ": ");
        plain &= part->kind == CAR_PART_STEP && (unsigned char)part->label[0] != 'm';
        if (part->kind == CAR_PART_FUNCTION) {
            bool hole = strncmp(part->label, "·", strlen("·")) == 0;
            car_text_format(text, "%s", part->label + (hole ? strlen("·") : 0));
            continue;
        }
        int other = part->feeds[0].part == at ? part->feeds[1].part : part->feeds[0].part;
        car_text_format(text, "%s ", part->label);
        say_value(figure, other, 0, text);
    }
    car_text_add(text, plain ? words->plain : words->squashed,
                 strlen(plain ? words->plain : words->squashed));
}

static void say_bus(const car_figure *figure, const car_picture_words *words, car_text *text) {
    for (int s = 0; s < figure->cell->state_count; s++) {
        bool belt = false;
        for (int b = 0; b < figure->belt_count; b++)
            belt |= figure->belt_state[b] == s;
        if (!belt)
            car_text_format(text, words->anew, figure->cell->state_names[s]);
    }
}

static void say_what_to_see(const car_painter *painter, car_text *text) {
    const car_figure *figure = painter->figure;
    car_text_format(text, "%s", painter->words->see);
    if (figure->cell->state_count == 0)
        car_text_format(text, "%s", painter->words->stateless);
    for (int b = figure->belt_count - 1; b >= 0; b--)
        say_belt(figure, painter->words, b, text);
    say_bus(figure, painter->words, text);
    if (painter->options && painter->options->note)
        car_text_format(text, "%s", painter->options->note);
}

/* The first comment line of the cell's text. */
static void summary_of(const struct car_cell *cell, char *summary, size_t size) {
    const char *text = cell->text;
    *summary = '\0';
    if (*text != '#')
        return;
    text += 1 + strspn(text + 1, "# \t");
    snprintf(summary, size, "%.*s", (int)strcspn(text, "\r\n"), text);
}

/* ---- The legend --------------------------------------------------------------------------------------- */

typedef struct car_legend {
    car_scene *scene;
    double left, right, x, y;
} car_legend;

/* What stands in the picture, to be explained. */
static bool has_box(const car_figure *figure, bool gate) {
    for (int i = 0; i < figure->count; i++)
        if (*figure->parts[i].weights && figure->parts[i].gate == gate)
            return true;
    return false;
}

static bool has_step(const car_figure *figure) {
    for (int i = 0; i < figure->count; i++)
        if ((figure->parts[i].kind == CAR_PART_STEP ||
             figure->parts[i].kind == CAR_PART_FUNCTION) &&
            !*figure->parts[i].weights)
            return true;
    return false;
}

/* Room for one entry whose sign is `wide`; returns where the sign stands. */
static car_point next_entry(car_legend *legend, double wide, const char *text) {
    double needed = wide + 8 + car_font_width(text, 12, false) + 22;
    if (legend->x + needed - 22 > legend->right && legend->x > legend->left) {
        legend->x = legend->left;
        legend->y += 22;
    }
    car_point place = {legend->x, legend->y};
    car_scene_text(legend->scene, place.x + wide + 8, place.y + 4,
                   (car_font){.size = 12, .ink = CAR_INK_TEXT}, text);
    legend->x += needed;
    return place;
}

static void legend_box(car_legend *legend, car_ink fill, bool round, const char *text) {
    double wide = round ? 16 : 26;
    car_point place = next_entry(legend, wide, text);
    car_scene_rectangle(legend->scene, place.x, place.y - 8, wide, 16, round ? 8 : 4,
                        (car_style){.fill = fill, .line = CAR_INK_WIRE});
}

static void legend_wires(car_legend *legend, bool merge, const char *text) {
    car_point place = next_entry(legend, 28, text);
    double x = place.x, y = place.y, end = merge ? x : x + 28;
    car_style style = {.line = CAR_INK_WIRE, .thickness = 2};
    car_scene_line(legend->scene, x, y - 4, x + 28, y - 4, style);
    car_scene_path(legend->scene,
                   (const car_point[]){{end, y + 7}, {x + 14, y + 7}, {x + 14, y - 4}}, 3, 6, false,
                   false, style);
    car_scene_circle(legend->scene, x + 14, y - 4, merge ? 4.5 : 3.5,
                     (car_style){.fill = CAR_INK_WIRE});
}

static double paint_legend(const car_painter *painter, double y) {
    const car_figure *figure = painter->figure;
    car_legend legend = {painter->scene, MARGIN, painter->scene->width - MARGIN, MARGIN, y};
    bool merged = false, forked = false, gate = false;
    for (int i = 0; i < figure->count; i++) {
        merged |= figure->parts[i].kind == CAR_PART_MERGE;
        gate |= figure->parts[i].gate;
    }
    for (const car_wire *wire = painter->wiring->first; wire; wire = wire->next)
        forked |= wire->forked;
    if (gate)
        legend_box(&legend, CAR_INK_GATE, false, painter->words->gate);
    if (has_box(figure, false))
        legend_box(&legend, CAR_INK_LAYER, false, painter->words->layer);
    if (gate || has_box(figure, false))
        next_entry(&legend, -8, painter->words->inside);
    if (has_step(figure))
        legend_box(&legend, CAR_INK_STEP, true, painter->words->step);
    if (merged)
        legend_wires(&legend, true, painter->words->merged);
    if (forked)
        legend_wires(&legend, false, painter->words->forked);
    return legend.y;
}

/* ---- The whole ---------------------------------------------------------------------------------------- */

static double lines_height(const char *text, double width, double size) {
    int lines = 0;
    while (*text) {
        text += car_font_fit(text, width, size, false);
        text += strspn(text, " ");
        lines++;
    }
    return lines * size * 1.35;
}

/* Beside the unit, for the names of the states and, with readings, for their sizes. */
static double side_room(const struct car_cell *cell, bool readings) {
    double most = readings ? car_font_width("|00.00|", 11, false) : 30;
    for (int s = 0; s < cell->state_count; s++)
        most = fmax(most, car_font_width(cell->state_names[s], 15, true) + 6);
    return most + 22;
}

static void paint_all(car_painter *painter, const char *words, const car_allocator *allocator) {
    const car_figure *figure = painter->figure;
    const struct car_cell *cell = figure->cell;
    double step = (figure->width - 2.0) * PITCH,
           side = side_room(cell, painter->options && painter->options->reading_count > 0),
           inner = 2 * side + step * painter->copies;
    double width = fmax(inner, 560), room = width - 2 * MARGIN;
    char title[160], summary[400];
    summary_of(cell, summary, sizeof summary);
    if (painter->words == &chinese)
        *summary = '\0'; /* it is written in the language of the cell's text */
    double head = 46 + lines_height(summary, room, 12.5), grid = head + 34,
           foot = grid + figure->height * PITCH + 34;
    double height = foot + lines_height(words, room, 13) + 66;
    snprintf(title, sizeof title,
             painter->copies > 1 ? painter->words->unrolled : painter->words->title, cell->name,
             painter->copies);
    car_scene_start(painter->scene, width, height, title, allocator);
    car_scene_text(painter->scene, MARGIN, 32,
                   (car_font){.size = 20, .ink = CAR_INK_TEXT, .bold = true}, title);
    car_scene_lines(painter->scene, MARGIN, 52, room,
                    (car_font){.size = 12.5, .ink = CAR_INK_MUTED}, summary);
    painter->top = grid;
    for (painter->copy = 0; painter->copy < painter->copies; painter->copy++) {
        painter->left = (width - inner) / 2 + side + step * painter->copy;
        paint_copy(painter);
    }
    double y = car_scene_lines(painter->scene, MARGIN, foot, room,
                               (car_font){.size = 13, .ink = CAR_INK_TEXT}, words);
    painter->scene->height = paint_legend(painter, y + 8) + 20;
}

car_status car_cell_picture(const struct car_cell *cell, const car_picture_options *options,
                            const car_allocator *allocator, car_scene *scene, car_error *error) {
    *scene = (car_scene){.arena = NULL};
    car_arena *arena = car_arena_create(allocator);
    if (!arena)
        return car_fail(error, CAR_MEMORY, "no memory for the picture of %s", cell->name);
    car_figure figure;
    car_wiring wiring;
    car_text words;
    car_text_start(&words, allocator);
    car_status status = car_figure_read(&figure, cell, arena, error);
    if (status == CAR_OK)
        status = car_arrange(&figure, allocator, &wiring, error);
    if (status == CAR_OK) {
        car_painter painter = {.figure = &figure,
                               .wiring = &wiring,
                               .options = options,
                               .words = options && options->chinese ? &chinese : &english,
                               .scene = scene,
                               .copies = options && options->unroll > 1 ? options->unroll : 1};
        say_what_to_see(&painter, &words);
        if (words.failed)
            status = car_fail(error, CAR_MEMORY, "no memory for the picture of %s", cell->name);
        else
            paint_all(&painter, words.data, allocator);
    }
    car_text_free(&words);
    car_arena_free(arena);
    return status;
}
