/*
 * test_picture.c: scenes, SVG, charts and pages: escaping, numbers, ticks, contrast of the colours, sizes,
 * hostile strings.
 */
#include "report.h"
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const car_style plain = {.fill = CAR_INK_GATE, .line = CAR_INK_WIRE};

static void assert_holds(const car_text *text, const char *part) {
    assert_false(text->failed);
    if (!strstr(text->data, part))
        fail_msg("%s is not in:\n%.2000s", part, text->data);
}

static int occurrences(const char *text, const char *part) {
    int count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        count++;
    return count;
}

static void test_escape(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
        size_t length;
    } cases[] = {
        {"a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;", 7},
        {"\x01\x7f\x1b[31m", "\uFFFD\uFFFD\uFFFD[31m", 7},
        {"x\0y", "x\uFFFDy", 3},
        {"\xff\xc3", "\uFFFD\uFFFD", 2},
        {"\xef\xbf\xbf", "\uFFFD", 3},
        {"\xc2\x85", "\uFFFD", 2},
        {"记忆\n", "记忆\n", 7},
        {"</script>]]>", "&lt;/script&gt;]]&gt;", 12},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        car_text text;
        car_text_start(&text, NULL);
        car_text_escape(&text, cases[i].in, cases[i].length);
        assert_string_equal(text.data, cases[i].out);
        car_text_free(&text);
    }
}

static void test_decimal(void **state) {
    (void)state;
    static const struct {
        double value;
        int decimals;
        const char *expected;
    } cases[] = {{0.125, 2, "0.13"}, {-0.001, 2, "0.00"},  {-1.5, 1, "-1.5"}, {3, 0, "3"},
                 {NAN, 2, "-"},      {1e300, 2, "1e+300"}, {0.05, 3, "0.050"}};
    setlocale(LC_ALL, "de_DE.UTF-8"); /* a comma must not matter, where this locale is installed */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        car_text text;
        car_text_start(&text, NULL);
        car_text_decimal(&text, cases[i].value, cases[i].decimals);
        assert_string_equal(text.data, cases[i].expected);
        car_text_free(&text);
    }
    setlocale(LC_ALL, "C");
}

static void assert_ticks(double low, double high, int most, bool logarithmic,
                         const char *expected) {
    car_ticks ticks;
    car_text text;
    car_text_start(&text, NULL);
    car_ticks_choose(low, high, most, logarithmic, &ticks);
    for (int i = 0; i < ticks.count; i++) {
        car_text_format(&text, i ? " " : "");
        car_ticks_label(&ticks, i, &text);
    }
    assert_string_equal(text.data, expected);
    car_text_free(&text);
}

static void test_ticks(void **state) {
    (void)state;
    assert_ticks(0, 1, 6, false, "0 0.2 0.4 0.6 0.8 1.0");
    assert_ticks(0, 100, 5, false, "0 20 40 60 80 100");
    assert_ticks(-3.2, 7.9, 6, false, "-2 0 2 4 6");
    assert_ticks(0.31, 0.34, 4, false, "0.31 0.32 0.33 0.34");
    assert_ticks(0, 2e6, 4, false, "0 5e5 1e6 1.5e6 2e6");
}

static void test_tick_limits(void **state) {
    (void)state;
    assert_ticks(1, 1e4, 6, true, "1 10 100 1000 10000");
    assert_ticks(1e-12, 1, 6, true, "1e-12 1e-9 1e-6 0.001 1");
    assert_ticks(2, 60, 6, true, "2 5 10 20 50");
    assert_ticks(1.432e-6, 0.17, 6, true, "1e-5 1e-4 0.001 0.01 0.1");
    assert_ticks(5, 40, 8, true, "5 10 20 40");
    assert_ticks(7, 150, 8, true, "7 10 20 50 100 150");
    assert_ticks(0.03, 41.7, 8, true, "0.03 0.1 1 10");
    assert_ticks(3, 4, 8, true, "3 4");
    assert_ticks(0.03, 9, 1, true, "0.03 9");
    assert_ticks(1, 1, 6, false, "");
    assert_ticks(NAN, 1, 6, false, "");
    assert_ticks(-1e308, 1e308, 6, false, "");
    assert_ticks(-1, 1, 6, true, "");
    car_ticks ticks;
    car_ticks_choose(0, 1, 1000000, false, &ticks);
    assert_in_range(ticks.count, 2, CAR_TICK_LIMIT);
}

/* What a person without the green (or red) cones sees (Machado, Oliveira & Fernandes 2009, severity 1). */
static const double blind[3][9] = {
    {1, 0, 0, 0, 1, 0, 0, 0, 1},
    {0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881},
    {0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998}};

static double linear(uint32_t channel) {
    double value = channel / 255.0;
    return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4);
}

/* CIE L*a*b* (D65) of a colour as seen through `eye`. */
static void lab(uint32_t color, const double *eye, double out[3]) {
    double rgb[3] = {linear(color >> 16 & 255), linear(color >> 8 & 255), linear(color & 255)};
    double seen[3], xyz[3], f[3];
    static const double to_xyz[9] = {0.4124, 0.3576, 0.1805, 0.2126, 0.7152,
                                     0.0722, 0.0193, 0.1192, 0.9505};
    static const double white[3] = {0.9505, 1, 1.089};
    for (int i = 0; i < 3; i++)
        seen[i] = eye[3 * i] * rgb[0] + eye[3 * i + 1] * rgb[1] + eye[3 * i + 2] * rgb[2];
    for (int i = 0; i < 3; i++) {
        xyz[i] =
            (to_xyz[3 * i] * seen[0] + to_xyz[3 * i + 1] * seen[1] + to_xyz[3 * i + 2] * seen[2]) /
            white[i];
        f[i] = xyz[i] > 0.008856 ? cbrt(xyz[i]) : 7.787 * xyz[i] + 16.0 / 116;
    }
    out[0] = 116 * f[1] - 16;
    out[1] = 500 * (f[0] - f[1]);
    out[2] = 200 * (f[1] - f[2]);
}

static double difference(uint32_t one, uint32_t other, const double *eye) {
    double a[3], b[3];
    lab(one, eye, a);
    lab(other, eye, b);
    return sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]) +
                (a[2] - b[2]) * (a[2] - b[2]));
}

static void test_colors(void **state) {
    (void)state;
    static const car_ink fills[] = {CAR_INK_PAPER, CAR_INK_BODY, CAR_INK_GATE, CAR_INK_LAYER,
                                    CAR_INK_STEP};
    assert_true(fabs(car_contrast(0xffffff, 0x000000) - 21) < 1e-9);
    for (int dark = 0; dark < 2; dark++) {
        uint32_t paper = car_ink_color(CAR_INK_PAPER, dark);
        for (size_t i = 0; i < sizeof fills / sizeof *fills; i++)
            assert_true(car_contrast(car_ink_color(CAR_INK_TEXT, dark),
                                     car_ink_color(fills[i], dark)) >= 4.5);
        assert_true(car_contrast(car_ink_color(CAR_INK_MUTED, dark), paper) >= 4.5);
        for (int i = 0; i < CAR_INK_SERIES; i++) {
            uint32_t color = car_ink_color(car_ink_of_series(i), dark);
            assert_true(car_contrast(color, paper) >= 3);
            for (int k = 0; k < i; k++)
                for (int eye = 0; eye < 3; eye++) {
                    double apart =
                        difference(color, car_ink_color(car_ink_of_series(k), dark), blind[eye]);
                    if (apart < 11) /* 2.3 is just noticeable */
                        fail_msg("series %d and %d, dark %d, eye %d: %.1f", k, i, dark, eye, apart);
                }
        }
    }
}

static void test_svg(void **state) {
    (void)state;
    car_scene scene;
    car_text text, again;
    car_scene_start(&scene, 100, 50.5, "a <title> & \"more\"", NULL);
    car_mark *box = car_scene_rectangle(&scene, 1, 2, 30, 20, 4, plain);
    car_scene_hint(&scene, box, "x < y");
    car_scene_circle(&scene, 50, 25, 6.25, plain);
    car_scene_path(&scene, (const car_point[]){{0, 0}, {10, 0}, {10, 10}}, 3, 4, false, true,
                   (car_style){.line = CAR_INK_WIRE, .thickness = 2, .dash = CAR_DASH_LONG});
    car_scene_text(&scene, 5, 5, (car_font){.size = 12, .ink = CAR_INK_TEXT, .upright = true},
                   "</text><script>alert(1)</script>");
    car_text_start(&text, NULL);
    car_text_start(&again, NULL);
    assert_int_equal(car_svg_write(&scene, true, &text, NULL), CAR_OK);
    assert_int_equal(car_svg_write(&scene, true, &again, NULL), CAR_OK);
    assert_string_equal(text.data, again.data);
    assert_holds(&text, "<title>a &lt;title&gt; &amp; &quot;more&quot;</title>");
    assert_holds(&text, "viewBox=\"0 0 100 50.5\"");
    assert_holds(&text, "<title>x &lt; y</title></rect>");
    assert_holds(&text, "<path d=\"M0 0L6 0Q10 0 10 4L10 10\"");
    assert_holds(&text, "stroke-dasharray=\"10,6\"");
    assert_holds(&text, "&lt;/text&gt;&lt;script&gt;");
    assert_holds(&text, "prefers-color-scheme:dark");
    assert_null(strstr(text.data, "<script"));
    assert_null(strstr(text.data, "series-1"));
    car_text_free(&text);
    car_text_free(&again);
    car_scene_free(&scene);
}

static void test_scene_refuses(void **state) {
    (void)state;
    car_scene scene;
    car_text text;
    car_error error;
    car_text_start(&text, NULL);
    car_scene_start(&scene, 10, 10, "t", NULL);
    car_scene_circle(&scene, NAN, 0, 1, plain);
    assert_int_equal(car_svg_write(&scene, true, &text, &error), CAR_FAILED);
    assert_non_null(strstr(error.message, "not a finite number"));
    car_scene_free(&scene);
    car_scene_start(&scene, INFINITY, 10, "t", NULL);
    assert_int_equal(car_svg_write(&scene, true, &text, &error), CAR_FAILED);
    car_scene_free(&scene);
    car_scene_start(&scene, 10, 10, NULL, NULL);
    for (int i = 0; i <= CAR_MARK_LIMIT; i++)
        car_scene_circle(&scene, 1, 1, 1, plain);
    assert_int_equal(car_svg_write(&scene, true, &text, &error), CAR_FAILED);
    assert_non_null(strstr(error.message, "marks"));
    car_scene_free(&scene);
    assert_int_equal(text.length, 0);
    car_text_free(&text);
}

static void test_font(void **state) {
    (void)state;
    assert_true(fabs(car_font_width("iiii", 10, false) - 4 * 2.78) < 1e-9);
    assert_true(car_font_width("记忆", 10, false) == 20);
    assert_true(car_font_width("\xff\xff", 10, false) > 0);
    assert_int_equal(car_font_fit("one two three", 1000, 10, false), 13);
    assert_int_equal(car_font_fit("one two three", 45, 10, false), 7);
    assert_int_equal(car_font_fit("WWWWWW", 1, 10, false), 1);
    assert_int_equal(car_font_fit("", 10, 10, false), 0);
}

static void test_charts(void **state) {
    (void)state;
    const double x[] = {0, 1, 2, 3, 4}, y[] = {1, NAN, 4, 9, INFINITY}, low[] = {0, 0, 3, 7, 0},
                 high[] = {2, 0, 5, 11, 0};
    const char *const labels[] = {"a<b", "two", "three", "four", "five"};
    const car_series series[] = {{"first & best", 5, x, y, low, high},
                                 {"second", 5, x, x, NULL, NULL}};
    const car_chart chart = {.title = "A chart",
                             .note = "What to see",
                             .x = {.title = "steps"},
                             .y = {.title = "loss (nats)"}};
    for (int kind = 0; kind < 4; kind++) {
        car_scene scene;
        car_text text;
        car_text_start(&text, NULL);
        if (kind == 0)
            car_chart_lines(&chart, series, 2, NULL, &scene);
        else if (kind == 1)
            car_chart_bars(&chart, labels, series, 2, NULL, &scene);
        else if (kind == 2)
            car_chart_histogram(&chart, series, 2, 4, NULL, &scene);
        else
            car_chart_heat(&chart, y, 1, 5, labels, labels, NULL, &scene);
        assert_int_equal(car_svg_write(&scene, false, &text, NULL), CAR_OK);
        assert_holds(&text, "A chart");
        assert_holds(&text, "What to see");
        assert_holds(&text, "loss (nats)");
        if (kind < 3)
            assert_holds(&text, "first &amp; best");
        if (kind == 1 || kind == 3)
            assert_holds(&text, "a&lt;b");
        assert_null(strstr(text.data, "nan"));
        car_text_free(&text);
        car_scene_free(&scene);
    }
}

static void test_empty_charts(void **state) {
    (void)state;
    const car_series nothing = {"none", 0, NULL, NULL, NULL, NULL};
    const double same[] = {2, 2}, bad[] = {NAN, -1};
    const car_series flat = {"flat", 2, same, same, NULL, NULL},
                     wrong = {"x", 2, bad, bad, NULL, NULL};
    const car_chart chart = {.x = {.logarithmic = true}, .y = {.logarithmic = true}};
    const car_series *cases[] = {&nothing, &flat, &wrong};
    for (int i = 0; i < 3; i++) {
        car_scene scene;
        car_text text;
        car_text_start(&text, NULL);
        car_chart_lines(&chart, cases[i], 1, NULL, &scene);
        assert_int_equal(car_svg_write(&scene, true, &text, NULL), CAR_OK);
        car_scene_free(&scene);
        car_chart_histogram(&chart, cases[i], 1, 0, NULL, &scene);
        assert_int_equal(car_svg_write(&scene, true, &text, NULL), CAR_OK);
        car_scene_free(&scene);
        car_text_free(&text);
    }
    car_scene scene;
    car_chart_heat(&chart, NULL, 0, 3, NULL, NULL, NULL, &scene);
    assert_int_equal(car_scene_check(&scene, NULL), CAR_FAILED);
    car_scene_free(&scene);
}

static void test_page(void **state) {
    (void)state;
    car_page page;
    car_scene scene;
    car_text text;
    car_error error;
    const char *const heads[] = {"<name>", "value"}, *const cells[] = {"a&b", "1", "c", "2"};
    const bool numeric[] = {false, true};
    car_text_start(&text, NULL);
    car_page_start(&page, "zh", "报告 <1>", "sub & title", NULL);
    car_page_section(&page, "One");
    car_page_paragraph(&page, "</p><img src=x onerror=alert(1)>");
    car_page_table(&page, heads, 2, cells, 2, numeric);
    car_page_verdict(&page, CAR_VERDICT_IN_PART, "holds in part", "0.93 of 1");
    car_page_section(&page, "Two");
    car_page_code(&page, "c' = f*c + i*g");
    car_scene_start(&scene, 10, 10, "t", NULL);
    car_scene_circle(&scene, 5, 5, 2, plain);
    car_page_scene(&page, &scene, "caption");
    assert_int_equal(car_page_finish(&page, &text, &error), CAR_OK);
    assert_holds(&text, "<html lang=\"zh-CN\">");
    assert_holds(&text, "<title>报告 &lt;1&gt;</title>");
    assert_holds(&text, "<li><a href=\"#s2\">Two</a></li>");
    assert_holds(&text, "c&#39; = f*c + i*g");
    assert_holds(&text, "<td class=\"number\">2</td>");
    assert_null(strstr(text.data, "<script"));
    assert_null(strstr(text.data, "<img"));
    assert_null(strstr(text.data, "http:"));
    assert_null(strstr(text.data, "https:"));
    assert_int_equal(occurrences(text.data, "<section"), 2);
    assert_int_equal(occurrences(text.data, "</section>"), 2);
    car_text_free(&text);
    car_scene_free(&scene);
}

static void test_page_limits(void **state) {
    (void)state;
    car_page page;
    car_text text;
    car_error error;
    car_scene scene;
    static char long_text[200001];
    memset(long_text, '<', sizeof long_text - 1);
    car_text_start(&text, NULL);
    car_page_start(&page, "en", "t", NULL, NULL);
    for (int i = 0; i < 3; i++)
        car_page_paragraph(&page, long_text);
    assert_int_equal(car_page_finish(&page, &text, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "bytes, more than"));
    car_text_free(&text);
    car_text_start(&text, NULL);
    car_page_start(&page, "en", "t", NULL, NULL);
    car_scene_start(&scene, NAN, 1, "t", NULL);
    car_page_scene(&page, &scene, NULL);
    assert_int_equal(car_page_finish(&page, &text, &error), CAR_FAILED);
    assert_non_null(strstr(error.message, "finite"));
    car_scene_free(&scene);
    car_text_free(&text);
}

static void test_curves(void **state) {
    (void)state;
    const double x[] = {0, 1, 2, 3}, y[] = {0, 1, NAN, 3};
    const car_series series[] = {{"loss", 4, x, y, NULL, NULL}};
    car_text text;
    car_text_start(&text, NULL);
    car_draw_curves(&text, series, 1, 30, 4, true, false);
    assert_holds(&text, "loss");
    assert_int_equal(occurrences(text.data, "\n"), 6);
    assert_null(strstr(text.data, "\033"));
    car_text_free(&text);
    car_text_start(&text, NULL);
    car_draw_curves(&text, series, 1, 30, 4, false, true);
    assert_holds(&text, "\033[34m*\033[0m");
    car_text_free(&text);
    car_text_start(&text, NULL);
    car_draw_curves(&text, series, 0, 1000000, 1000000, true, false);
    assert_string_equal(text.data, "(nothing to draw)\n");
    car_draw_curves(&text, series, 1, -5, -5, true, false);
    car_text_free(&text);
}

static void test_paint(void **state) {
    (void)state;
    car_scene scene;
    car_text text;
    car_error error;
    car_text_start(&text, NULL);
    car_scene_start(&scene, 60, 40, "t", NULL);
    car_scene_rectangle(&scene, 5, 5, 20, 20, 3, plain);
    car_scene_text(&scene, 5, 5, (car_font){.size = 12, .ink = CAR_INK_TEXT}, "bad \xff\x01 text");
    car_status status = car_paint(&scene, CAR_PAINT_PNG, true, 2, &text, &error);
    if (!car_paint_built()) {
        assert_int_equal(status, CAR_USAGE);
        assert_non_null(strstr(error.message, "cairo"));
    } else {
        assert_int_equal(status, CAR_OK);
        assert_memory_equal(text.data, "\x89PNG\r\n\x1a\n", 8);
        const unsigned char *header = (const unsigned char *)text.data + 16;
        assert_int_equal(header[2] << 8 | header[3], 120);
        assert_int_equal(header[6] << 8 | header[7], 80);
        assert_int_equal(car_paint(&scene, CAR_PAINT_PNG, false, 1e6, &text, &error), CAR_DATA);
        car_text_free(&text);
        car_text_start(&text, NULL);
        assert_int_equal(car_paint(&scene, CAR_PAINT_PDF, false, 1, &text, &error), CAR_OK);
        assert_memory_equal(text.data, "%PDF-", 5);
    }
    car_text_free(&text);
    car_scene_free(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),        cmocka_unit_test(test_decimal),
        cmocka_unit_test(test_ticks),         cmocka_unit_test(test_tick_limits),
        cmocka_unit_test(test_colors),        cmocka_unit_test(test_svg),
        cmocka_unit_test(test_scene_refuses), cmocka_unit_test(test_font),
        cmocka_unit_test(test_charts),        cmocka_unit_test(test_empty_charts),
        cmocka_unit_test(test_page),          cmocka_unit_test(test_page_limits),
        cmocka_unit_test(test_curves),        cmocka_unit_test(test_paint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
