/*
 * search_cli.h of the command line: what the sub-verbs of `carousel search` share.
 *
 *   search.c          the table of sub-verbs          search_options.c  the options that make up a study's settings
 *   search_compare.c  cells side by side on tasks     search_study.c    start, work
 *   search_show.c     status, top, show, export       search_report.c   a study as a page
 *   search_tell.c     ask, tell
 */
#ifndef CAR_CLI_SEARCH_H
#define CAR_CLI_SEARCH_H

#include "cli.h"
#include "store.h"

/* ---- search_options.c ---- */

enum { CLI_SEARCH_OPTIONS = 40 };
typedef struct cli_search_options {
    car_search_settings settings;
    cli_list tasks;
    cli_option options[CLI_SEARCH_OPTIONS];
    int count;
} cli_search_options;
/* The options of a study's settings; `searches`: those of a search too. Others may be added behind them. */
void cli_search_options_fill(cli_search_options *options, bool searches);
/* After cli_parse: the tasks go into the settings, and all is checked. */
car_status cli_search_options_take(cli_search_options *options, car_error *error) CAR_CHECK_RESULT;

/* ---- search_study.c ---- */

/* --name NAME, --json: the same everywhere. */
cli_option cli_search_name(const char **name);
cli_option cli_search_json(bool *json);
/* A study that is there. */
car_status cli_search_open(const char *place, const char *name, car_store **store, car_study *study,
                           car_error *error) CAR_CHECK_RESULT;

/* ---- The sub-verbs ---- */

int cli_search_start(int argc, char **argv);
int cli_search_work(int argc, char **argv);
int cli_search_status(int argc, char **argv);
int cli_search_top(int argc, char **argv);
int cli_search_show(int argc, char **argv);
int cli_search_export(int argc, char **argv);
int cli_search_ask(int argc, char **argv);
int cli_search_tell(int argc, char **argv);
int cli_search_report(int argc, char **argv);
int cli_search_compare(int argc, char **argv);

#endif
