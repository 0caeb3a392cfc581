/*
 * report: what is drawn, for a terminal, a page or a file. Stands on base. Nothing here writes; the caller puts
 * the text or the bytes where they belong.
 *
 *   terminal.c   is there a terminal, how wide, may it have colour, does it show UTF-8
 *   draw.c       bar, curve of eighth blocks, durations, counts     braille.c  curves of braille dots, with axes
 *   ink.c        the colours, light and dark                        ticks.c    round numbers for an axis
 *   scene.c      a picture as a list of marks                       chart.c    lines, bars, histograms, heat maps
 *   svg.c        a scene as SVG, alone or inside a page             page.c     one HTML file
 *   paint.c      a scene as PNG or PDF, by cairo (paint_without.c: a build without it)
 *
 *   numbers ──chart.c──► scene ──svg.c────► SVG text ──page.c──► HTML text
 *                          └────paint.c──► PNG, PDF bytes
 */
#ifndef CAR_REPORT_H
#define CAR_REPORT_H

#include "base.h"

/* ---- terminal.c
 * --------------------------------------------------------------------------------------- */

bool car_terminal_live(
    int descriptor); /* a terminal on which a line can be rewritten (TERM is not dumb) */
int car_terminal_width(int descriptor);  /* columns; 80 when unknown */
bool car_terminal_color(int descriptor); /* live, and NO_COLOR is not set (no-color.org) */
bool car_terminal_utf8(void); /* LC_ALL, LC_CTYPE, LANG: the first that is set says UTF-8 */
/* Bytes of `line` that fill at most `columns` columns: one a code point, none for ESC[...m. */
size_t car_text_fit(const char *line, int columns);

/* ---- draw.c
 * ------------------------------------------------------------------------------------------- */

/* `columns` cells of which the fraction (0..1) is filled: eighth blocks with `utf8`, else # and
 * dots. */
void car_draw_bar(car_text *text, double fraction, int columns, bool utf8);
/* The last `columns` values as a row of blocks between their own least and greatest; NaN is a
 * blank. */
void car_draw_curve(car_text *text, const double *values, int count, int columns, bool utf8);
void car_draw_duration(car_text *text,
                       double seconds); /* 8s, 1m05s, 2h03m, 4d01h; ? for what is no duration */
void car_draw_count(car_text *text, double count); /* 950, 12.3k, 4.56M, 7.89G */
/* With so many decimals (0 .. 9) and a point, whatever the locale; "-" for what is not finite. */
void car_text_decimal(car_text *text, double value, int decimals);

/* ---- braille.c ---------------------------------------------------------------------------------------- */

typedef struct car_series {
    const char *name; /* for the legend; NULL: none */
    int count;
    const double *x, *y;      /* [count]; a value that is not finite leaves a gap */
    const double *low, *high; /* [count] the band around y, or both NULL */
} car_series;

/* Curves over `columns` x `rows` characters, each 2 x 4 dots (U+2800 ..; `*` in a cell without `utf8`), the range of
 * y at the left, that of x below; with `color` each series in a colour of its own (SGR). */
void car_draw_curves(car_text *text, const car_series *series, int count, int columns, int rows,
                     bool utf8, bool color);

/* ---- ink.c -------------------------------------------------------------------------------------------- */

/* What a mark is, not which colour it has: name, colour on light paper, on dark paper. The series are told apart
 * with every common colour blindness (after Okabe & Ito 2008), and by their dashes too. */
#define CAR_INK_MAP(X)                                                                             \
    X(NONE, "none", 0, 0)                                                                          \
    X(PAPER, "paper", 0xffffff, 0x14181f)                                                          \
    X(TEXT, "text", 0x1b1f24, 0xe8ebef)                                                            \
    X(MUTED, "muted", 0x586069, 0xa3acb8)                                                          \
    X(GRID, "grid", 0xe1e5ea, 0x2b323d)                                                            \
    X(BODY, "body", 0xf1f5f3, 0x1d242d)      /* of a cell */                                       \
    X(EDGE, "edge", 0x8fa39a, 0x5b6b78)      /* around it */                                       \
    X(GATE, "gate", 0xffe8a8, 0x6b5310)      /* a layer that is a gate */                          \
    X(LAYER, "layer", 0xcfe3f7, 0x1f4c73)    /* another layer */                                   \
    X(STEP, "step", 0xf7d3df, 0x6d2f47)      /* an elementwise step */                             \
    X(WIRE, "wire", 0x4a525b, 0xb4bcc6)      /* a value on its way */                              \
    X(SERIES_1, "series-1", 0x0072b2, 0x56b4e9)                                                    \
    X(SERIES_2, "series-2", 0xd55e00, 0xf08a52)                                                    \
    X(SERIES_3, "series-3", 0x00805e, 0x2fc59b)                                                    \
    X(SERIES_4, "series-4", 0xa8458a, 0xe6a0cb)                                                    \
    X(SERIES_5, "series-5", 0x6b5300, 0xe6c34a)                                                    \
    X(SERIES_6, "series-6", 0x3d3d52, 0xd5d9e2)                                                    \
    X(GOOD, "good", 0x00805e, 0x2fc59b)                                                            \
    X(BAD, "bad", 0xb3261e, 0xff8a80)

typedef enum car_ink {
#define X(name, text, light, dark) CAR_INK_##name,
    CAR_INK_MAP(X)
#undef X
        CAR_INK_COUNT
} car_ink;
enum { CAR_INK_SERIES = 6 };
const char *car_ink_name(car_ink ink);
uint32_t car_ink_color(car_ink ink, bool dark); /* 0xRRGGBB */
car_ink car_ink_of_series(int index);           /* from 0; goes round after CAR_INK_SERIES */
/* Contrast of two colours, 1 .. 21 (WCAG 2.1: 4.5 for text, 3 for what is drawn). */
double car_contrast(uint32_t one, uint32_t other);

/* ---- scene.c ------------------------------------------------------------------------------------------ */

typedef struct car_point {
    double x, y;
} car_point;
typedef enum car_dash { CAR_DASH_NONE, CAR_DASH_LONG, CAR_DASH_SHORT, CAR_DASH_MIXED } car_dash;
typedef struct car_style {
    car_ink fill, line;
    double thickness; /* of the line; 0: 1 */
    double opacity;   /* of both, above 0 to 1; 0: 1 */
    car_dash dash;
} car_style;
typedef enum car_anchor { CAR_ANCHOR_START, CAR_ANCHOR_MIDDLE, CAR_ANCHOR_END } car_anchor;
typedef struct car_font {
    double size; /* pixels */
    car_ink ink;
    car_anchor anchor;
    bool bold, italic;
    bool upright; /* turned a quarter to the left: the title of a y axis */
} car_font;

typedef enum car_mark_kind { CAR_MARK_RECTANGLE, CAR_MARK_CIRCLE, CAR_MARK_PATH, CAR_MARK_TEXT } car_mark_kind;
typedef struct car_mark {
    struct car_mark *next;
    car_mark_kind kind;
    car_style style;
    double x, y, width, height; /* rectangle: left top; circle, text: x, y */
    double radius;              /* of a circle, or of the corners */
    int count;                  /* PATH */
    const car_point *points;
    bool closed, arrow;
    car_font font; /* TEXT: y is the base line */
    const char *text, *hint; /* hint: shown when pointed at; NULL: none */
} car_mark;

/* x goes right, y goes down, in pixels. Memory that runs out, a place that is not finite and more than
 * CAR_MARK_LIMIT marks are remembered and reported by what is made of the scene. */
enum { CAR_MARK_LIMIT = 200000 };
typedef struct car_scene {
    car_arena *arena;
    double width, height;
    const char *title; /* what a reader who cannot see it is told */
    car_mark *first, *last;
    int count;
    bool no_memory, bad_place;
} car_scene;
void car_scene_start(car_scene *scene, double width, double height, const char *title,
                     const car_allocator *allocator);
void car_scene_free(car_scene *scene); /* a zeroed one is legal */
car_status car_scene_check(const car_scene *scene, car_error *error) CAR_CHECK_RESULT;
car_mark *car_scene_rectangle(car_scene *scene, double x, double y, double width, double height,
                              double radius, car_style style); /* NULL when it failed */
void car_scene_circle(car_scene *scene, double x, double y, double radius, car_style style);
/* From point to point, the corners rounded by `radius`; `arrow`: a head at the last point. */
void car_scene_path(car_scene *scene, const car_point *points, int count, double radius, bool closed,
                    bool arrow, car_style style);
void car_scene_line(car_scene *scene, double x1, double y1, double x2, double y2, car_style style);
void car_scene_text(car_scene *scene, double x, double y, car_font font, const char *text);
/* Sets what a mark shows when pointed at; NULL is legal. */
void car_scene_hint(car_scene *scene, car_mark *mark, const char *text);
/* The width of a text, from the letters of a wide font (so the text will not be wider). */
double car_font_width(const char *text, double size, bool bold);
/* Bytes of `text` that fit in `width`, cut at a space where there is one. */
size_t car_font_fit(const char *text, double width, double size, bool bold);
/* Text in lines of at most `width`; returns the base line that would come next. */
double car_scene_lines(car_scene *scene, double x, double y, double width, car_font font,
                       const char *text);
/* The corners of a path as a painter goes round them: before[i], points[i], after[i] for point i. */
void car_path_corner(const car_mark *path, int index, car_point *before, car_point *after);
/* The head of a path's arrow. */
void car_path_arrow(const car_mark *path, car_point head[3]);
/* Lengths of dashes and gaps; returns how many, 0 for none. */
int car_dash_lengths(const car_style *style, double lengths[4]);

/* ---- svg.c -------------------------------------------------------------------------------------------- */

/* `alone`: a file of its own, with colours for light and dark readers; else a part of a page that has them
 * (car_svg_colors). The same scene gives the same bytes, whatever the locale. CAR_MEMORY, CAR_FAILED. */
car_status car_svg_write(const car_scene *scene, bool alone, car_text *text, car_error *error) CAR_CHECK_RESULT;
void car_svg_colors(car_text *text);
/* Text for XML and HTML: < > & " ' as entities, what XML does not allow as U+FFFD. */
void car_text_escape(car_text *text, const char *data, size_t length);

/* ---- paint.c ------------------------------------------------------------------------------------------ */

typedef enum car_paint_kind { CAR_PAINT_PNG, CAR_PAINT_PDF } car_paint_kind;
bool car_paint_built(void); /* with cairo? */
/* `scale`: pixels of a PNG for one of the scene. Adds the bytes to `text`. CAR_USAGE in a build without cairo,
 * CAR_DATA for a PNG that would have more than 2^28 pixels, CAR_MEMORY, CAR_FAILED. */
car_status car_paint(const car_scene *scene, car_paint_kind kind, bool dark, double scale,
                     car_text *text, car_error *error) CAR_CHECK_RESULT;

/* ---- ticks.c ------------------------------------------------------------------------------------------ */

enum { CAR_TICK_LIMIT = 24 };
typedef struct car_ticks {
    int count;
    double at[CAR_TICK_LIMIT];
    int decimals;     /* for labels */
    bool logarithmic; /* labels as powers of ten */
} car_ticks;
/* Round numbers (1, 2 or 5 times a power of ten) within [low, high], at most about `most`; an axis of logarithms
 * gets decades. low < high, finite; logarithmic: low > 0. */
void car_ticks_choose(double low, double high, int most, bool logarithmic, car_ticks *ticks);
void car_ticks_label(const car_ticks *ticks, int index, car_text *text);

/* ---- chart.c ------------------------------------------------------------------------------------------ */

typedef struct car_axis {
    const char *title; /* with its unit: "distance (steps)"; NULL: none */
    bool logarithmic;
    double low, high; /* both 0: from the values */
} car_axis;
typedef struct car_chart {
    const char *title, *note; /* the note says what to see; may be NULL */
    double width, height;     /* 0: 640 x 360 */
    car_axis x, y;
} car_chart;

/* Each starts `scene` (free it in any case) and draws the whole chart. Values that are not finite, or not above 0 on
 * an axis of logarithms, are left out. */
void car_chart_lines(const car_chart *chart, const car_series *series, int count,
                     const car_allocator *allocator, car_scene *scene);
/* One group a label, in it one bar a series (y; its band as a whisker); series[k].count = labels, x unused. */
void car_chart_bars(const car_chart *chart, const char *const *labels, const car_series *series,
                    int count, const car_allocator *allocator, car_scene *scene);
/* Shares that are counted already: series[k].y [count], one for each of `count` equal parts of the axis x, which must
 * have its range; drawn as outlines, x of the series unused. */
void car_chart_steps(const car_chart *chart, const car_series *series, int count,
                     const car_allocator *allocator, car_scene *scene);
/* The same, counted here: y [count] are the values, in `bins` equal parts of [x.low, x.high] (both 0: from them). */
void car_chart_histogram(const car_chart *chart, const car_series *series, int count, int bins,
                         const car_allocator *allocator, car_scene *scene);
/* values [rows][columns]; a stronger colour is more, from y.low to y.high (both 0: from the values); with at most 16 x 16 cells
 * the numbers stand in them. Labels may be NULL. */
void car_chart_heat(const car_chart *chart, const double *values, int rows, int columns,
                    const char *const *row_labels, const char *const *column_labels,
                    const car_allocator *allocator, car_scene *scene);

/* ---- page.c ------------------------------------------------------------------------------------------- */

/* One HTML file without scripts or anything from a network, for light and dark readers. All texts are escaped. */
enum { CAR_PAGE_LIMIT = 2 << 20 }; /* bytes */
typedef enum car_verdict {
    CAR_VERDICT_HOLDS,
    CAR_VERDICT_IN_PART,
    CAR_VERDICT_FAILS,
    CAR_VERDICT_OPEN
} car_verdict;
typedef struct car_page {
    car_arena *arena; /* of car_page_text */
    car_text body, contents;
    const char *language, *title; /* borrowed */
    int sections;
    bool open; /* a section is */
    car_status status; /* of a scene that could not be written */
    car_error error;
} car_page;
/* `language`: "en" or "zh"; `subtitle` may be NULL. */
void car_page_start(car_page *page, const char *language, const char *title, const char *subtitle,
                    const car_allocator *allocator);
/* A text that lives as long as the page; "" when memory is out, which car_page_finish reports. */
const char *car_page_text(car_page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
void car_page_section(car_page *page, const char *title);
void car_page_paragraph(car_page *page, const char *text);
void car_page_code(car_page *page, const char *text);
/* A coloured word and the sentence after it. */
void car_page_verdict(car_page *page, car_verdict verdict, const char *word, const char *text);
void car_page_scene(car_page *page, const car_scene *scene, const char *caption); /* NULL: none */
/* cells [rows][columns]; a column of numbers stands right: `numeric` [columns] or NULL for none. */
void car_page_table(car_page *page, const char *const *heads, int columns, const char *const *cells,
                    int rows, const bool *numeric);
/* A text in colours: piece i ends at byte ends[i] and has the strength levels[i], -CAR_PAGE_LEVELS (orange) to
 * +CAR_PAGE_LEVELS (blue); 0 has none. A piece that ends within a character takes the rest of it along. */
enum { CAR_PAGE_LEVELS = 4 };
void car_page_colored(car_page *page, const char *text, const size_t *ends, const int *levels,
                      size_t count);
/* The whole file. CAR_DATA above CAR_PAGE_LIMIT, and whatever went wrong before. Frees the page in any case. */
car_status car_page_finish(car_page *page, car_text *text, car_error *error) CAR_CHECK_RESULT;
void car_page_free(car_page *page);

#endif
