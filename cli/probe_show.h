/*
 * probe_show.h: what probe.c and probe_show.c share.
 */
#ifndef CAR_CLI_PROBE_SHOW_H
#define CAR_CLI_PROBE_SHOW_H

#include "cli.h"
#include "probe.h"

/* The table of a study for a person, with curves of accuracy against distance if there are several. */
void cli_probe_table(const car_probe_study *study, bool utf8, bool color, int columns,
                     car_text *text);
/* One HTML file: what the task is, the table, the curves, the command. */
car_status cli_probe_report(const car_probe_study *study, const char *command, const char *path,
                            car_error *error) CAR_CHECK_RESULT;

#endif
