/* analyzer.h: tells clang's analyzer, which sees one file at a time, that car_fail never returns CAR_OK. Put before every
 * file by run_tidy.py; no compiler ever sees it. */
#include "base.h"

#define car_fail(error, status_value, ...)                                                         \
    ((error) ? ((error)->status = (status_value)) : (status_value))
#define car_fail_at(error, status_value, ...)                                                      \
    ((error) ? ((error)->status = (status_value)) : (status_value))
