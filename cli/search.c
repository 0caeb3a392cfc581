/*
 * search.c: `carousel search`: architectures by mutation.
 */
#include "search_cli.h"

int cli_search(int argc, char **argv) {
    static const cli_command table[] = {
        {"start", "begin a study", cli_search_start},
        {"work", "work on it until it ends; start as many as you like", cli_search_work},
        {"status", "how far it is, and who works on it", cli_search_status},
        {"top", "the best cells", cli_search_top},
        {"show", "a cell of it", cli_search_show},
        {"export", "all of it as JSON", cli_search_export},
        {"report", "all of it as one HTML page", cli_search_report},
        {"ask", "take the next trial, to run it elsewhere", cli_search_ask},
        {"tell", "its results, and cells to be tried, as JSON lines", cli_search_tell},
        {"compare", "cells side by side on the tasks of a search", cli_search_compare},
    };
    return cli_dispatch("search", "better cells, found by mutation", table,
                        sizeof table / sizeof *table, argc, argv);
}
