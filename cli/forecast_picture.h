/* forecast_picture.h: the pictures of `carousel forecast` (forecast_picture.c). */
#ifndef CAR_CLI_FORECAST_PICTURE_H
#define CAR_CLI_FORECAST_PICTURE_H

#include "forecast.h"
#include "report.h"

/* A fan chart: what was, what is foretold with its interval, a baseline beside it, and what came. */
typedef struct cli_fan {
    char title[256], note[200], axis[80], label[48];
    int count;
    car_series lines[3];
    double *memory;
} cli_fan;
/* The baseline is the one to be compared with. `truth`: the series goes on behind the origin. */
car_status cli_fan_make(const car_forecast_settings *settings, const car_forecast_case *one,
                        car_baseline baseline, bool truth, cli_fan *fan,
                        car_error *error) CAR_CHECK_RESULT;
void cli_fan_free(cli_fan *fan); /* a zeroed one is legal */
/* In braille dots, for this terminal. */
void cli_fan_text(const cli_fan *fan, int descriptor, car_text *text);
void cli_fan_scene(const cli_fan *fan, car_scene *scene); /* free it in any case */

/* Errors by updates, as training goes on. */
enum { CLI_CURVE_LIMIT = 4096 };
typedef struct cli_curve {
    int count;
    double update[CLI_CURVE_LIMIT], training[CLI_CURVE_LIMIT], validation[CLI_CURVE_LIMIT];
} cli_curve;
void cli_curve_add(cli_curve *curve, const car_fit_progress *progress);
void cli_curve_scene(const cli_curve *curve, car_scene *scene); /* free it in any case */

/* One HTML file: verdict, table, worst series first, training curve, the command (NULL: none). */
car_status cli_forecast_report(const char *path, const char *name, const car_series_set *set,
                               const car_backtest *result, const cli_curve *curve,
                               car_error *error) CAR_CHECK_RESULT;
/* The fan chart of one series of a backtest, the worst one for 0, at the last origin. */
car_status cli_backtest_fan(const car_series_set *set, const car_backtest *result, int rank,
                            cli_fan *fan, car_error *error) CAR_CHECK_RESULT;

#endif
