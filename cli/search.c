/*
 * search.c: `carousel search`: architectures by mutation.
 */
#include "search_cli.h"

int cli_search(int argc, char **argv) {
    static const cli_command table[] = {
        {"compare", "cells side by side on the tasks of a search", cli_search_compare},
    };
    return cli_dispatch("search", "better cells, found by mutation", table,
                        sizeof table / sizeof *table, argc, argv);
}
