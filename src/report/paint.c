/*
 * paint.c: a scene as PNG or PDF, painted by cairo.
 *
 * In: a scene, light or dark. Out: the bytes of the file. The same marks in the same order as svg.c writes; letters
 * are those of the machine's sans-serif font, so the bytes differ between machines.
 */
#include "report.h"
#include <cairo-pdf.h>
#include <cairo.h>
#include <math.h>
#include <string.h>

bool car_paint_built(void) {
    return true;
}

static void set_ink(cairo_t *cairo, car_ink ink, bool dark, double opacity) {
    uint32_t color = car_ink_color(ink, dark);
    cairo_set_source_rgba(cairo, (color >> 16 & 255) / 255.0, (color >> 8 & 255) / 255.0,
                          (color & 255) / 255.0, opacity);
}

/* Fills and draws the present path of cairo. */
static void finish_path(cairo_t *cairo, const car_style *style, bool dark) {
    double dashes[4], opacity = style->opacity > 0 ? style->opacity : 1;
    if (style->fill != CAR_INK_NONE) {
        set_ink(cairo, style->fill, dark, opacity);
        cairo_fill_preserve(cairo);
    }
    if (style->line != CAR_INK_NONE) {
        set_ink(cairo, style->line, dark, opacity);
        cairo_set_line_width(cairo, style->thickness > 0 ? style->thickness : 1);
        cairo_set_dash(cairo, dashes, car_dash_lengths(style, dashes), 0);
        cairo_stroke_preserve(cairo);
    }
    cairo_new_path(cairo);
}

static void paint_rectangle(cairo_t *cairo, const car_mark *mark) {
    double r = fmin(mark->radius, fmin(mark->width, mark->height) / 2);
    double x = mark->x, y = mark->y, right = x + mark->width, bottom = y + mark->height;
    if (r <= 0) {
        cairo_rectangle(cairo, x, y, mark->width, mark->height);
        return;
    }
    cairo_new_sub_path(cairo);
    cairo_arc(cairo, right - r, y + r, r, -M_PI / 2, 0);
    cairo_arc(cairo, right - r, bottom - r, r, 0, M_PI / 2);
    cairo_arc(cairo, x + r, bottom - r, r, M_PI / 2, M_PI);
    cairo_arc(cairo, x + r, y + r, r, M_PI, 1.5 * M_PI);
    cairo_close_path(cairo);
}

/* A quadratic curve as a cubic one. */
static void curve(cairo_t *cairo, car_point from, car_point handle, car_point to) {
    cairo_curve_to(cairo, from.x + 2.0 / 3 * (handle.x - from.x),
                   from.y + 2.0 / 3 * (handle.y - from.y), to.x + 2.0 / 3 * (handle.x - to.x),
                   to.y + 2.0 / 3 * (handle.y - to.y), to.x, to.y);
}

static void paint_path(cairo_t *cairo, const car_mark *path, bool dark) {
    for (int i = 0; i < path->count; i++) {
        car_point before, after;
        car_path_corner(path, i, &before, &after);
        if (i == 0) {
            cairo_move_to(cairo, after.x, after.y);
            continue;
        }
        cairo_line_to(cairo, before.x, before.y);
        if (before.x != after.x || before.y != after.y)
            curve(cairo, before, path->points[i], after);
    }
    if (path->closed)
        cairo_close_path(cairo);
    finish_path(cairo, &path->style, dark);
    if (!path->arrow)
        return;
    car_point head[3];
    car_path_arrow(path, head);
    for (int i = 0; i < 3; i++)
        cairo_line_to(cairo, head[i].x, head[i].y);
    cairo_close_path(cairo);
    set_ink(cairo, path->style.line, dark, 1);
    cairo_fill(cairo);
}

/* This interface takes a whole text from one font, so a text with Chinese, Japanese or Korean in it names one that has
 * them; where it is not installed, fontconfig takes what is nearest. */
static const char *family_of(const char *text) {
    uint32_t code_point;
    size_t left = strlen(text);
    for (int bytes; (bytes = car_utf8_decode(text, left, &code_point)) > 0; left -= (size_t)bytes) {
        if (code_point >= 0x2e80)
            return "Noto Sans CJK SC";
        text += bytes;
    }
    return "sans-serif";
}

static void paint_text(cairo_t *cairo, const car_mark *mark, bool dark, const char *text) {
    const car_font *font = &mark->font;
    cairo_text_extents_t extents;
    cairo_select_font_face(cairo, family_of(text),
                           font->italic ? CAIRO_FONT_SLANT_ITALIC : CAIRO_FONT_SLANT_NORMAL,
                           font->bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo, font->size);
    cairo_text_extents(cairo, text, &extents);
    double shift = font->anchor == CAR_ANCHOR_START    ? 0
                   : font->anchor == CAR_ANCHOR_MIDDLE ? extents.x_advance / 2
                                                       : extents.x_advance;
    cairo_save(cairo);
    cairo_translate(cairo, mark->x, mark->y);
    if (font->upright)
        cairo_rotate(cairo, -M_PI / 2);
    cairo_move_to(cairo, -shift, 0);
    set_ink(cairo, font->ink, dark, 1);
    cairo_show_text(cairo, text);
    cairo_restore(cairo);
    cairo_new_path(cairo);
}

/* Text without what is no UTF-8 and no letter: cairo refuses to go on after the first. */
static bool clean_text(const char *text, car_text *clean) {
    for (size_t at = 0, length = strlen(text); at < length;) {
        uint32_t letter = 0;
        int bytes = car_utf8_decode(text + at, length - at, &letter);
        if (bytes <= 0 || letter < 0x20 || letter == 0x7f)
            car_text_add(clean, "\xEF\xBF\xBD", 3);
        else
            car_text_add(clean, text + at, (size_t)bytes);
        at += bytes > 0 ? (size_t)bytes : 1;
    }
    return !clean->failed;
}

static bool paint_mark(cairo_t *cairo, const car_mark *mark, bool dark) {
    bool done = true;
    if (mark->kind == CAR_MARK_TEXT) {
        car_text clean;
        car_text_start(&clean, NULL);
        done = clean_text(mark->text, &clean);
        if (done)
            paint_text(cairo, mark, dark, clean.data);
        car_text_free(&clean);
    } else if (mark->kind == CAR_MARK_PATH) {
        paint_path(cairo, mark, dark);
    } else {
        if (mark->kind == CAR_MARK_RECTANGLE)
            paint_rectangle(cairo, mark);
        else
            cairo_arc(cairo, mark->x, mark->y, mark->radius, 0, 2 * M_PI);
        finish_path(cairo, &mark->style, dark);
    }
    return done;
}

static cairo_status_t add_bytes(void *context, const unsigned char *data, unsigned length) {
    car_text *text = context;
    car_text_add(text, (const char *)data, length);
    return text->failed ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

static cairo_status_t paint_on(cairo_surface_t *surface, const car_scene *scene,
                               car_paint_kind kind, bool dark, double scale, car_text *text) {
    cairo_t *cairo = cairo_create(surface);
    bool done = true;
    cairo_scale(cairo, scale, scale);
    set_ink(cairo, CAR_INK_PAPER, dark, 1);
    cairo_paint(cairo);
    for (const car_mark *mark = scene->first; mark && done; mark = mark->next)
        done = paint_mark(cairo, mark, dark);
    cairo_status_t status = done ? cairo_status(cairo) : CAIRO_STATUS_NO_MEMORY;
    cairo_destroy(cairo);
    if (status == CAIRO_STATUS_SUCCESS && kind == CAR_PAINT_PNG)
        status = cairo_surface_write_to_png_stream(surface, add_bytes, text);
    cairo_surface_finish(surface);
    return status == CAIRO_STATUS_SUCCESS ? cairo_surface_status(surface) : status;
}

car_status car_paint(const car_scene *scene, car_paint_kind kind, bool dark, double scale,
                     car_text *text, car_error *error) {
    CAR_TRY(car_scene_check(scene, error));
    double width = ceil(scene->width * scale), height = ceil(scene->height * scale);
    if (!(width >= 1 && height >= 1 && width * height <= (double)(1 << 28)) || width > 32767 ||
        height > 32767)
        return car_fail(error, CAR_DATA,
                        "the picture would have %.0f x %.0f pixels, more than a PNG of this "
                        "program may; write .svg",
                        width, height);
    cairo_surface_t *surface =
        kind == CAR_PAINT_PNG
            ? cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height)
            : cairo_pdf_surface_create_for_stream(add_bytes, text, width, height);
    cairo_status_t status = paint_on(surface, scene, kind, dark, scale, text);
    cairo_surface_destroy(surface);
    if (text->failed || status == CAIRO_STATUS_NO_MEMORY)
        return car_fail(error, CAR_MEMORY, "no memory for the picture");
    if (status != CAIRO_STATUS_SUCCESS)
        return car_fail(error, CAR_FAILED, "cairo: %s", cairo_status_to_string(status));
    return CAR_OK;
}
