/* forecast_demo.h: the sub-verb `forecast demo` and the series that it shows. */
#ifndef CAR_CLI_FORECAST_DEMO_H
#define CAR_CLI_FORECAST_DEMO_H

/* sunspots.csv, as it is. */
extern const char cli_sunspots[];
int cli_forecast_demo(int argc, char **argv);

#endif
