/*
 * page.c: one HTML file that a browser shows without a network, a script or another file.
 *
 * In: sections, paragraphs, tables, scenes. Out: the text of the page, with a list of its sections, in the colours of
 * the reader's system. A Content-Security-Policy forbids whatever a page of ours does not need.
 */
#include "report.h"
#include <stdarg.h>
#include <string.h>

static void add(car_text *text, const char *plain) {
    car_text_add(text, plain, strlen(plain));
}

static void add_escaped(car_text *text, const char *plain) {
    car_text_escape(text, plain, strlen(plain));
}

static void add_element(car_text *text, const char *open, const char *plain, const char *close) {
    add(text, open);
    add_escaped(text, plain);
    add(text, close);
}

void car_page_start(car_page *page, const char *language, const char *title, const char *subtitle,
                    const car_allocator *allocator) {
    *page = (car_page){.language = strcmp(language, "zh") == 0 ? "zh-CN" : "en",
                       .title = title,
                       .arena = car_arena_create(allocator)};
    car_text_start(&page->body, allocator);
    car_text_start(&page->contents, allocator);
    add_element(&page->body, "<header><h1>", title, "</h1>");
    if (subtitle)
        add_element(&page->body, "<p>", subtitle, "</p>");
    add(&page->body, "</header>\n");
}

void car_page_free(car_page *page) {
    car_arena_free(page->arena);
    page->arena = NULL;
    car_text_free(&page->body);
    car_text_free(&page->contents);
}

const char *car_page_text(car_page *page, const char *format, ...) {
    va_list arguments;
    char *kept = NULL;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0 && page->arena)
        kept = car_arena_allocate(page->arena, (size_t)length + 1, 1);
    if (!kept) {
        page->status = car_fail(&page->error, CAR_MEMORY, "no memory for the page");
        return "";
    }
    va_start(arguments, format);
    vsnprintf(kept, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return kept;
}

void car_page_section(car_page *page, const char *title) {
    if (page->open)
        add(&page->body, "</section>\n");
    page->open = true;
    page->sections++;
    car_text_format(&page->body, "<section id=\"s%d\">", page->sections);
    add_element(&page->body, "<h2>", title, "</h2>\n");
    car_text_format(&page->contents, "<li><a href=\"#s%d\">", page->sections);
    add_escaped(&page->contents, title);
    add(&page->contents, "</a></li>\n");
}

void car_page_paragraph(car_page *page, const char *text) {
    add_element(&page->body, "<p>", text, "</p>\n");
}

void car_page_code(car_page *page, const char *text) {
    add_element(&page->body, "<pre><code>", text, "</code></pre>\n");
}

void car_page_verdict(car_page *page, car_verdict verdict, const char *word, const char *text) {
    static const char *const classes[] = {"holds", "part", "fails", "open"};
    car_text_format(&page->body, "<p class=\"verdict %s\">", classes[verdict]);
    add_element(&page->body, "<strong>", word, "</strong> ");
    add_element(&page->body, "", text, "</p>\n");
}

void car_page_scene(car_page *page, const car_scene *scene, const char *caption) {
    add(&page->body, "<figure>");
    if (page->status == CAR_OK)
        page->status = car_svg_write(scene, false, &page->body, &page->error);
    if (caption)
        add_element(&page->body, "<figcaption>", caption, "</figcaption>");
    add(&page->body, "</figure>\n");
}

void car_page_table(car_page *page, const char *const *heads, int columns, const char *const *cells,
                    int rows, const bool *numeric) {
    add(&page->body, "<div class=\"wide\"><table><thead><tr>");
    for (int c = 0; c < columns; c++)
        add_element(&page->body,
                    numeric && numeric[c] ? "<th scope=\"col\" class=\"number\">"
                                          : "<th scope=\"col\">",
                    heads[c], "</th>");
    add(&page->body, "</tr></thead><tbody>\n");
    for (int r = 0; r < rows; r++) {
        add(&page->body, "<tr>");
        for (int c = 0; c < columns; c++)
            add_element(&page->body, numeric && numeric[c] ? "<td class=\"number\">" : "<td>",
                        cells[(size_t)r * (size_t)columns + (size_t)c], "</td>");
        add(&page->body, "</tr>\n");
    }
    add(&page->body, "</tbody></table></div>\n");
}

/* Bytes to go on to the end of the character that `at` stands in. */
static size_t rest_of_character(const char *text, size_t at, size_t end) {
    size_t more = 0;
    while (at + more < end && ((unsigned char)text[at + more] & 0xc0) == 0x80)
        more++;
    return more;
}

void car_page_colored(car_page *page, const char *text, const size_t *ends, const int *levels,
                      size_t count) {
    size_t at = 0, end = count > 0 ? ends[count - 1] : 0;
    add(&page->body, "<pre class=\"colored\">");
    for (size_t i = 0; i < count;) {
        int level = levels[i];
        size_t next = at;
        while (i < count && levels[i] == level)
            next = ends[i++];
        next += rest_of_character(text, next, end);
        if (next <= at)
            continue;
        if (level != 0)
            car_text_format(&page->body, "<span class=\"%c%d\">", level < 0 ? 'n' : 'p',
                            level < 0 ? -level : level);
        car_text_escape(&page->body, text + at, next - at);
        if (level != 0)
            add(&page->body, "</span>");
        at = next;
    }
    add(&page->body, "</pre>\n");
}

static void add_color(car_text *text, const char *name, car_ink ink, bool dark) {
    car_text_format(text, "--%s:#%06x;", name, (unsigned)car_ink_color(ink, dark));
}

static void add_variables(car_text *text, bool dark) {
    add(text, ":root{");
    add_color(text, "paper", CAR_INK_PAPER, dark);
    add_color(text, "text", CAR_INK_TEXT, dark);
    add_color(text, "muted", CAR_INK_MUTED, dark);
    add_color(text, "grid", CAR_INK_GRID, dark);
    add_color(text, "link", CAR_INK_SERIES_1, dark);
    add_color(text, "good", CAR_INK_GOOD, dark);
    add_color(text, "orange", CAR_INK_SERIES_2, dark);
    add_color(text, "part", CAR_INK_SERIES_5, dark);
    add_color(text, "bad", CAR_INK_BAD, dark);
    add(text, "}");
}

/* Backgrounds of coloured text; weak enough that the text's own colour stays readable on them. */
static void add_levels(car_text *text) {
    for (int level = 1; level <= CAR_PAGE_LEVELS; level++)
        for (int side = 0; side < 2; side++)
            car_text_format(text, ".%c%d{background:color-mix(in srgb,var(--%s) %d%%,transparent)}",
                            side ? 'p' : 'n', level, side ? "link" : "orange",
                            60 * level / CAR_PAGE_LEVELS);
    add(text, "\n");
}

static void add_style(car_text *text) {
    add(text, "<style>\n:root{color-scheme:light dark}");
    add_variables(text, false);
    add(text, "\n@media (prefers-color-scheme:dark){");
    add_variables(text, true);
    add(text, "}\n");
    add(text,
        "body{margin:0 auto;max-width:56rem;padding:1.5rem 1rem 4rem;line-height:1.55;"
        "background:var(--paper);color:var(--text);font-family:system-ui,\"Helvetica Neue\","
        "Arial,\"Noto Sans\",\"Noto Sans CJK SC\",\"Microsoft YaHei\",sans-serif}\n"
        "h1{font-size:1.8rem;line-height:1.2}h2{font-size:1.3rem;margin-top:2.5rem}"
        "header p,figcaption{color:var(--muted)}a{color:var(--link)}\n"
        "nav ol{list-style:none;padding:0}figure{margin:1.5rem 0}svg{max-width:100%;height:auto}\n"
        ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.95rem}"
        "th,td{padding:.3rem .8rem;border-bottom:1px solid var(--grid);text-align:left;"
        "vertical-align:top}.number{text-align:right;font-variant-numeric:tabular-nums}\n"
        "pre{overflow-x:auto;border:1px solid var(--grid);border-radius:6px;padding:.8rem}\n"
        ".verdict{border-left:4px solid var(--muted);padding-left:.8rem}"
        ".holds{border-color:var(--good)}.part{border-color:var(--part)}"
        ".fails{border-color:var(--bad)}.holds strong{color:var(--good)}"
        ".part strong{color:var(--part)}.fails strong{color:var(--bad)}\n");
    add(text, ".colored{white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.6}\n");
    add_levels(text);
    car_svg_colors(text);
    add(text, "</style>\n");
}

static void add_head(car_text *text, const car_page *page) {
    car_text_format(text, "<!DOCTYPE html>\n<html lang=\"%s\">\n<head>\n<meta charset=\"utf-8\">\n",
                    page->language);
    add(text, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
              "style-src 'unsafe-inline'; img-src data:\">\n"
              "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    add_element(text, "<title>", page->title, "</title>\n");
    add_style(text);
    add(text, "</head>\n<body>\n");
}

car_status car_page_finish(car_page *page, car_text *text, car_error *error) {
    car_status status = page->status;
    if (page->open)
        add(&page->body, "</section>\n");
    add_head(text, page);
    size_t heading = 0;
    if (!page->body.failed && !page->contents.failed) {
        const char *end = strstr(page->body.data, "</header>\n");
        heading = (size_t)(end - page->body.data) + strlen("</header>\n");
        car_text_add(text, page->body.data, heading);
        if (page->sections > 1)
            car_text_format(text, "<nav><ol>\n%s</ol></nav>\n", page->contents.data);
        car_text_add(text, page->body.data + heading, page->body.length - heading);
    }
    add(text, "</body>\n</html>\n");
    if (status != CAR_OK)
        car_fail(error, status, "%s", page->error.message);
    else if (page->body.failed || page->contents.failed || text->failed)
        status = car_fail(error, CAR_MEMORY, "no memory for the page");
    else if (text->length > CAR_PAGE_LIMIT)
        status = car_fail(error, CAR_DATA,
                          "the page would have %zu bytes, more than %d; show fewer values",
                          text->length, CAR_PAGE_LIMIT);
    car_page_free(page);
    return status;
}
