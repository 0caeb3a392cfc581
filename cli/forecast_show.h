/* forecast_show.h: what `carousel forecast` shows: tables, CSV and JSON (forecast_show.c). */
#ifndef CAR_CLI_FORECAST_SHOW_H
#define CAR_CLI_FORECAST_SHOW_H

#include "cli.h"
#include "forecast.h"

/* What was done to the data, on stderr; `quiet`: only where something was. */
void cli_forecast_note(const car_series_set *set, bool quiet);
/* The table of a backtest and its verdict, or the same as one JSON object. */
void cli_forecast_backtest_text(const car_backtest *result, car_text *text);
void cli_forecast_backtest_json(const car_backtest *result, car_text *text);
/* The last line of that table; the lines between the table and it. */
void cli_forecast_verdict(const car_backtest *result, car_text *text);
void cli_forecast_details(const car_backtest *result, car_text *text);
/* Forecasts as CSV, or as one JSON object: a header, then the rows of a series each, then an end. */
void cli_forecast_rows_begin(const car_forecast_settings *settings, bool json, car_text *text);
void cli_forecast_rows(const car_forecast_settings *settings, const car_forecast_case *one,
                       bool json, bool first, car_text *text);
void cli_forecast_rows_end(bool json, car_text *text);

#endif
