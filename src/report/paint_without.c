/*
 * paint_without.c: what stands in for paint.c in a build without cairo: a clear refusal.
 */
#include "report.h"

bool car_paint_built(void) {
    return false;
}

car_status car_paint(const car_scene *scene, car_paint_kind kind, bool dark, double scale,
                     car_text *text, car_error *error) {
    (void)scene, (void)dark, (void)scale, (void)text;
    return car_fail(error, CAR_USAGE,
                    "%s needs cairo, which this build is without; write .svg, or install "
                    "libcairo2-dev and build again",
                    kind == CAR_PAINT_PNG ? "PNG" : "PDF");
}
