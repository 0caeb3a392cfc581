/*
 * svg.c: a scene as SVG 1.1.
 *
 * In: a scene. Out: its text, the same bytes for the same scene. Colours stand in a style sheet, once for light and
 * once for dark readers; a mark has classes (`f-gate`: filled as a gate, `l-wire`: drawn as a wire). No scripts, no
 * links; every text is escaped.
 */
#include "report.h"
#include <math.h>
#include <string.h>

#define FONTS "\"Helvetica Neue\",Arial,\"DejaVu Sans\",\"Noto Sans CJK SC\",sans-serif"

void car_text_escape(car_text *text, const char *data, size_t length) {
    static const char special[] = "<>&\"'";
    static const char *const entities[] = {"&lt;", "&gt;", "&amp;", "&quot;", "&#39;"};
    for (size_t at = 0; at < length;) {
        uint32_t letter = 0;
        int bytes = car_utf8_decode(data + at, length - at, &letter);
        bool allowed = bytes > 0 && letter != 0x7f && letter != 0xfffe && letter != 0xffff &&
                       (letter >= 0x20 || letter == '\n' || letter == '\t') &&
                       !(letter >= 0x80 && letter < 0xa0);
        const char *place = letter && letter < 0x80 ? strchr(special, (int)letter) : NULL;
        if (!allowed)
            car_text_add(text, "\xEF\xBF\xBD", 3);
        else if (place)
            car_text_format(text, "%s", entities[place - special]);
        else
            car_text_add(text, data + at, (size_t)bytes);
        at += bytes > 0 ? (size_t)bytes : 1;
    }
}

/* At most two decimals, no zeros at the end. */
static void add_number(car_text *text, double value) {
    size_t before = text->length;
    car_text_decimal(text, value, 2);
    if (text->failed)
        return;
    while (text->length > before && text->data[text->length - 1] == '0')
        text->data[--text->length] = '\0';
    if (text->data[text->length - 1] == '.')
        text->data[--text->length] = '\0';
}

static void add_attribute(car_text *text, const char *name, double value) {
    car_text_format(text, " %s=\"", name);
    add_number(text, value);
    car_text_format(text, "\"");
}

/* ---- Colours ------------------------------------------------------------------------------------------ */

static void add_rules(car_text *text, const bool *filled, const bool *drawn, bool dark) {
    for (int ink = CAR_INK_NONE + 1; ink < CAR_INK_COUNT; ink++) {
        unsigned color = car_ink_color((car_ink)ink, dark);
        if (filled[ink])
            car_text_format(text, ".f-%s{fill:#%06x}", car_ink_name((car_ink)ink), color);
        if (drawn[ink])
            car_text_format(text, ".l-%s{stroke:#%06x}", car_ink_name((car_ink)ink), color);
    }
}

static void add_colors(car_text *text, const bool *filled, const bool *drawn) {
    car_text_format(text, "text{font-family:" FONTS "}.n{fill:none}\n");
    add_rules(text, filled, drawn, false);
    car_text_format(text, "\n@media (prefers-color-scheme:dark){");
    add_rules(text, filled, drawn, true);
    car_text_format(text, "}\n");
}

void car_svg_colors(car_text *text) {
    bool all[CAR_INK_COUNT];
    memset(all, true, sizeof all);
    add_colors(text, all, all);
}

static void add_used_colors(car_text *text, const car_scene *scene) {
    bool filled[CAR_INK_COUNT] = {[CAR_INK_PAPER] = true}, drawn[CAR_INK_COUNT] = {false};
    for (const car_mark *mark = scene->first; mark; mark = mark->next) {
        filled[mark->kind == CAR_MARK_TEXT ? mark->font.ink : mark->style.fill] = true;
        drawn[mark->style.line] = true;
        if (mark->arrow)
            filled[mark->style.line] = true;
    }
    car_text_format(text, "<style>");
    add_colors(text, filled, drawn);
    car_text_format(text, "</style>\n");
}

/* ---- Marks -------------------------------------------------------------------------------------------- */

static void add_style(car_text *text, const car_style *style) {
    double dashes[4];
    int count = car_dash_lengths(style, dashes);
    bool drawn = style->line != CAR_INK_NONE;
    if (style->fill == CAR_INK_NONE)
        car_text_format(text, " class=\"n");
    else
        car_text_format(text, " class=\"f-%s", car_ink_name(style->fill));
    if (drawn)
        car_text_format(text, " l-%s", car_ink_name(style->line));
    car_text_format(text, "\"");
    if (drawn && style->thickness > 0 && style->thickness != 1)
        add_attribute(text, "stroke-width", style->thickness);
    if (style->opacity > 0 && style->opacity < 1)
        add_attribute(text, "opacity", style->opacity);
    for (int i = 0; i < count; i++) {
        car_text_format(text, i ? "," : " stroke-dasharray=\"");
        add_number(text, dashes[i]);
    }
    if (count)
        car_text_format(text, "\"");
}

static void add_point(car_text *text, char command, car_point point) {
    car_text_add(text, &command, 1);
    add_number(text, point.x);
    car_text_add(text, " ", 1);
    add_number(text, point.y);
}

static void add_path(car_text *text, const car_mark *path) {
    car_text_format(text, "<path d=\"");
    for (int i = 0; i < path->count; i++) {
        car_point before, after;
        car_path_corner(path, i, &before, &after);
        bool round = before.x != after.x || before.y != after.y;
        if (i == 0) {
            add_point(text, 'M', after);
            continue;
        }
        add_point(text, 'L', before);
        if (round) {
            add_point(text, 'Q', path->points[i]);
            add_point(text, ' ', after);
        }
    }
    if (path->closed)
        car_text_format(text, "Z");
    car_text_format(text, "\"");
    add_style(text, &path->style);
    car_text_format(text, "/>\n");
    if (!path->arrow)
        return;
    car_point head[3];
    car_path_arrow(path, head);
    car_text_format(text, "<path d=\"");
    add_point(text, 'M', head[0]);
    add_point(text, 'L', head[1]);
    add_point(text, 'L', head[2]);
    car_text_format(text, "Z\" class=\"f-%s\"/>\n", car_ink_name(path->style.line));
}

static void add_text(car_text *text, const car_mark *mark) {
    static const char *const anchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
    const car_font *font = &mark->font;
    car_text_format(text, "<text");
    add_attribute(text, "x", mark->x);
    add_attribute(text, "y", mark->y);
    add_attribute(text, "font-size", font->size);
    car_text_format(text, "%s%s%s class=\"f-%s\"", anchors[font->anchor],
                    font->bold ? " font-weight=\"bold\"" : "",
                    font->italic ? " font-style=\"italic\"" : "", car_ink_name(font->ink));
    if (font->upright) {
        car_text_format(text, " transform=\"rotate(-90 ");
        add_number(text, mark->x);
        car_text_add(text, " ", 1);
        add_number(text, mark->y);
        car_text_format(text, ")\"");
    }
    car_text_format(text, ">");
    car_text_escape(text, mark->text, strlen(mark->text));
    car_text_format(text, "</text>\n");
}

/* Ends the element of a shape, with its hint inside. */
static void end_shape(car_text *text, const car_mark *mark, const char *name) {
    add_style(text, &mark->style);
    if (!mark->hint) {
        car_text_format(text, "/>\n");
        return;
    }
    car_text_format(text, "><title>");
    car_text_escape(text, mark->hint, strlen(mark->hint));
    car_text_format(text, "</title></%s>\n", name);
}

static void add_mark(car_text *text, const car_mark *mark) {
    switch (mark->kind) {
    case CAR_MARK_RECTANGLE:
        car_text_format(text, "<rect");
        add_attribute(text, "x", mark->x);
        add_attribute(text, "y", mark->y);
        add_attribute(text, "width", mark->width);
        add_attribute(text, "height", mark->height);
        if (mark->radius > 0)
            add_attribute(text, "rx", mark->radius);
        end_shape(text, mark, "rect");
        break;
    case CAR_MARK_CIRCLE:
        car_text_format(text, "<circle");
        add_attribute(text, "cx", mark->x);
        add_attribute(text, "cy", mark->y);
        add_attribute(text, "r", mark->radius);
        end_shape(text, mark, "circle");
        break;
    case CAR_MARK_PATH:
        add_path(text, mark);
        break;
    case CAR_MARK_TEXT:
        add_text(text, mark);
        break;
    }
}

car_status car_svg_write(const car_scene *scene, bool alone, car_text *text, car_error *error) {
    CAR_TRY(car_scene_check(scene, error));
    car_text_format(text, "<svg%s", alone ? " xmlns=\"http://www.w3.org/2000/svg\"" : "");
    add_attribute(text, "width", scene->width);
    add_attribute(text, "height", scene->height);
    car_text_format(text, " viewBox=\"0 0 ");
    add_number(text, scene->width);
    car_text_add(text, " ", 1);
    add_number(text, scene->height);
    car_text_format(text, "\" role=\"img\">\n<title>");
    car_text_escape(text, scene->title, strlen(scene->title));
    car_text_format(text, "</title>\n");
    if (alone) {
        add_used_colors(text, scene);
        car_text_format(text,
                        "<rect width=\"100%%\" height=\"100%%\" rx=\"8\" class=\"f-paper\"/>\n");
    }
    for (const car_mark *mark = scene->first; mark; mark = mark->next)
        add_mark(text, mark);
    car_text_format(text, "</svg>\n");
    return text->failed ? car_fail(error, CAR_MEMORY, "no memory for the picture") : CAR_OK;
}
