/* analyzer.h: tells clang's analyzer, which sees one file at a time, that car_fail never returns CAR_OK. Put before every
 * file by run_tidy.py; no compiler ever sees it. */
#include "base.h"

static inline void car_analyzer_uses(const char *format, ...) {
    (void)format;
}
#define car_fail(error, failure, ...)                                                              \
    (car_analyzer_uses(__VA_ARGS__), (error) ? ((error)->status = (failure)) : (failure))
#define car_fail_at(error, failure, line_number, column_number, ...)                               \
    (car_analyzer_uses(__VA_ARGS__), (void)(line_number), (void)(column_number),                   \
     (error) ? ((error)->status = (failure)) : (failure))
