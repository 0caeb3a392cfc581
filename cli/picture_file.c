/*
 * picture_file.c: a scene to a file: SVG, PNG or PDF, by the end of its name; "-" is SVG on stdout.
 */
#include "picture_file.h"
#include <string.h>

typedef enum picture_format { FORMAT_SVG, FORMAT_PNG, FORMAT_PDF, FORMAT_UNKNOWN } picture_format;

static bool ends_in(const char *name, const char *suffix) {
    size_t length = strlen(name), tail = strlen(suffix);
    return length > tail && !strcmp(name + length - tail, suffix);
}

static picture_format format_of(const char *name) {
    if (!strcmp(name, "-") || ends_in(name, ".svg"))
        return FORMAT_SVG;
    return ends_in(name, ".png") ? FORMAT_PNG : ends_in(name, ".pdf") ? FORMAT_PDF : FORMAT_UNKNOWN;
}

car_status cli_check_picture(const char *path, car_error *error) {
    if (format_of(path) == FORMAT_UNKNOWN)
        return car_fail(error, CAR_USAGE, "%s: a picture ends in .svg, .png or .pdf", path);
    if (format_of(path) != FORMAT_SVG && !car_paint_built())
        return car_fail(error, CAR_USAGE,
                        "%s: this build is without cairo, which PNG and PDF need; write .svg, or "
                        "install libcairo2-dev and build again",
                        path);
    return CAR_OK;
}

car_status cli_write_scene(const char *path, const car_scene *scene, bool dark, double scale,
                           car_error *error) {
    car_text text;
    picture_format format = format_of(path);
    car_text_start(&text, NULL);
    car_status status = format == FORMAT_SVG
                            ? car_svg_write(scene, true, &text, error)
                            : car_paint(scene, format == FORMAT_PNG ? CAR_PAINT_PNG : CAR_PAINT_PDF,
                                        dark, scale, &text, error);
    if (status == CAR_OK && !strcmp(path, "-"))
        fwrite(text.data, 1, text.length, stdout);
    else if (status == CAR_OK)
        status = cli_write_file(path, &text, error);
    car_text_free(&text);
    return status;
}
