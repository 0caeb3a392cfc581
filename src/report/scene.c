/*
 * scene.c: a picture as a list of marks, and the geometry that every painter shares.
 *
 * In: rectangles, circles, paths and texts with their styles. Out: the list, in the order in which it is painted.
 * What goes wrong (memory, a place that is not finite, too many marks) is remembered and asked for once.
 *
 * A path goes from point to point; at an inner point it leaves the straight line `radius` before it (or half the way
 * to its neighbour) and comes back `radius` after it, by a quadratic curve with the point as its handle.
 */
#include "report.h"
#include <math.h>
#include <string.h>

void car_scene_start(car_scene *scene, double width, double height, const char *title,
                     const car_allocator *allocator) {
    *scene = (car_scene){.arena = car_arena_create(allocator), .width = width, .height = height};
    if (!title)
        title = "";
    if (scene->arena)
        scene->title = car_arena_copy(scene->arena, title, strlen(title));
    scene->no_memory = scene->title == NULL;
    scene->bad_place = !isfinite(width) || !isfinite(height) || width <= 0 || height <= 0 ||
                       width > 1e6 || height > 1e6;
}

void car_scene_free(car_scene *scene) {
    car_arena_free(scene->arena);
    *scene = (car_scene){.arena = NULL};
}

car_status car_scene_check(const car_scene *scene, car_error *error) {
    if (scene->no_memory)
        return car_fail(error, CAR_MEMORY, "no memory for the picture");
    if (scene->count > CAR_MARK_LIMIT)
        return car_fail(error, CAR_FAILED, "the picture has more than %d marks; draw fewer values",
                        CAR_MARK_LIMIT);
    if (scene->bad_place)
        return car_fail(error, CAR_FAILED,
                        "the picture has a mark whose place is not a finite number; "
                        "leave such values out");
    return CAR_OK;
}

static bool in_reach(double value) {
    return isfinite(value) && fabs(value) <= 1e7;
}

/* NULL: nothing can be added any more. */
static car_mark *add_mark(car_scene *scene, car_mark mark) {
    if (scene->no_memory || scene->count > CAR_MARK_LIMIT)
        return NULL;
    if (!in_reach(mark.x) || !in_reach(mark.y) || !in_reach(mark.width) || !in_reach(mark.height) ||
        !in_reach(mark.radius)) {
        scene->bad_place = true;
        return NULL;
    }
    if (++scene->count > CAR_MARK_LIMIT)
        return NULL;
    car_mark *kept = car_arena_allocate(scene->arena, 1, sizeof *kept);
    if (!kept) {
        scene->no_memory = true;
        return NULL;
    }
    *kept = mark;
    if (scene->last)
        scene->last->next = kept;
    else
        scene->first = kept;
    scene->last = kept;
    return kept;
}

static const char *keep_text(car_scene *scene, const char *text) {
    char *copy = car_arena_copy(scene->arena, text, strlen(text));
    scene->no_memory |= copy == NULL;
    return copy;
}

car_mark *car_scene_rectangle(car_scene *scene, double x, double y, double width, double height,
                              double radius, car_style style) {
    return add_mark(scene, (car_mark){.kind = CAR_MARK_RECTANGLE,
                                      .style = style,
                                      .x = x,
                                      .y = y,
                                      .width = width,
                                      .height = height,
                                      .radius = radius});
}

void car_scene_circle(car_scene *scene, double x, double y, double radius, car_style style) {
    add_mark(scene,
             (car_mark){.kind = CAR_MARK_CIRCLE, .style = style, .x = x, .y = y, .radius = radius});
}

void car_scene_path(car_scene *scene, const car_point *points, int count, double radius,
                    bool closed, bool arrow, car_style style) {
    for (int i = 0; i < count; i++)
        if (!in_reach(points[i].x) || !in_reach(points[i].y))
            scene->bad_place = true;
    if (count < 2 || scene->bad_place || scene->no_memory)
        return;
    car_point *kept = car_arena_allocate(scene->arena, (size_t)count, sizeof *kept);
    if (!kept) {
        scene->no_memory = true;
        return;
    }
    memcpy(kept, points, (size_t)count * sizeof *kept);
    add_mark(scene, (car_mark){.kind = CAR_MARK_PATH,
                               .style = style,
                               .radius = radius,
                               .count = count,
                               .points = kept,
                               .closed = closed,
                               .arrow = arrow});
}

void car_scene_line(car_scene *scene, double x1, double y1, double x2, double y2, car_style style) {
    car_scene_path(scene, (const car_point[]){{x1, y1}, {x2, y2}}, 2, 0, false, false, style);
}

void car_scene_text(car_scene *scene, double x, double y, car_font font, const char *text) {
    if (!*text || scene->no_memory)
        return;
    const char *kept = keep_text(scene, text);
    if (kept)
        add_mark(scene,
                 (car_mark){.kind = CAR_MARK_TEXT, .x = x, .y = y, .font = font, .text = kept});
}

void car_scene_hint(car_scene *scene, car_mark *mark, const char *text) {
    if (mark && !scene->no_memory)
        mark->hint = keep_text(scene, text);
}

double car_scene_lines(car_scene *scene, double x, double y, double width, car_font font,
                       const char *text) {
    char line[512];
    while (*text) {
        size_t bytes = car_font_fit(text, width, font.size, font.bold);
        size_t kept = bytes < sizeof line ? bytes : sizeof line - 1;
        memcpy(line, text, kept);
        line[kept] = '\0';
        car_scene_text(scene, x, y, font, line);
        text += bytes;
        text += strspn(text, " ");
        y += font.size * 1.35;
    }
    return y;
}

/* ---- The width of a text ------------------------------------------------------------------------------ */

/* Thousandths of the size that ' ' .. '~' are wide in DejaVu Sans, which is wider than most. */
static const uint16_t widths[] = {
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361,  318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635,  611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352,  635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592,  525, 636, 337, 636, 838};

static double letter_width(uint32_t letter) {
    if (letter >= ' ' && letter <= '~')
        return widths[letter - ' '] / 1000.0;
    if (letter >= 0x300 && letter < 0x370)
        return 0; /* set over the letter before */
    return letter >= 0x2e80 ? 1 : 0.8;
}

static int next_letter(const char *text, uint32_t *letter) {
    int bytes = car_utf8_decode(text, strlen(text), letter);
    if (bytes >= 1)
        return bytes;
    *letter = 0xfffd;
    return 1;
}

double car_font_width(const char *text, double size, bool bold) {
    double width = 0;
    uint32_t letter;
    for (; *text; text += next_letter(text, &letter)) {
        next_letter(text, &letter);
        width += letter_width(letter);
    }
    return width * size * (bold ? 1.12 : 1);
}

size_t car_font_fit(const char *text, double width, double size, bool bold) {
    double used = 0, factor = size * (bold ? 1.12 : 1);
    size_t at = 0, space = 0;
    while (text[at]) {
        uint32_t letter;
        int bytes = next_letter(text + at, &letter);
        used += letter_width(letter) * factor;
        if (used > width && at > 0)
            return space > 0 && letter < 0x2e80 ? space : at;
        if (letter == ' ')
            space = at;
        at += (size_t)bytes;
    }
    return at;
}

/* ---- What every painter needs to know of a path ------------------------------------------------------- */

static car_point towards(car_point from, car_point to, double distance) {
    double length = hypot(to.x - from.x, to.y - from.y);
    double share = length > 0 ? fmin(distance / length, 0.5) : 0;
    return (car_point){from.x + share * (to.x - from.x), from.y + share * (to.y - from.y)};
}

void car_path_corner(const car_mark *path, int index, car_point *before, car_point *after) {
    car_point here = path->points[index];
    bool inner = path->closed || (index > 0 && index < path->count - 1);
    *before = *after = here;
    if (!inner || path->radius <= 0)
        return;
    *before = towards(here, path->points[(index + path->count - 1) % path->count], path->radius);
    *after = towards(here, path->points[(index + 1) % path->count], path->radius);
}

void car_path_arrow(const car_mark *path, car_point head[3]) {
    double size = 4.5 + 1.5 * (path->style.thickness > 0 ? path->style.thickness : 1);
    car_point tip = path->points[path->count - 1], from = path->points[path->count - 2];
    double length = hypot(tip.x - from.x, tip.y - from.y);
    double dx = length > 0 ? (tip.x - from.x) / length : 1,
           dy = length > 0 ? (tip.y - from.y) / length : 0;
    head[0] = tip;
    head[1] = (car_point){tip.x - dx * size - dy * size * 0.5, tip.y - dy * size + dx * size * 0.5};
    head[2] = (car_point){tip.x - dx * size + dy * size * 0.5, tip.y - dy * size - dx * size * 0.5};
}

int car_dash_lengths(const car_style *style, double lengths[4]) {
    double unit = style->thickness > 0 ? style->thickness : 1;
    static const double patterns[][4] = {
        [CAR_DASH_LONG] = {5, 3}, [CAR_DASH_SHORT] = {1.5, 2}, [CAR_DASH_MIXED] = {5, 2, 1.5, 2}};
    int count = style->dash == CAR_DASH_NONE ? 0 : style->dash == CAR_DASH_MIXED ? 4 : 2;
    for (int i = 0; i < count; i++)
        lengths[i] = patterns[style->dash][i] * unit;
    return count;
}
