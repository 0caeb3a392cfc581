/* watch_rows.h: rows of numbers from a pipe as they come, for `carousel watch`. */
#ifndef CAR_CLI_WATCH_ROWS_H
#define CAR_CLI_WATCH_ROWS_H

#include "cli.h"

typedef struct cli_rows cli_rows;

/* What the rows are to hold. */
typedef struct cli_rows_options {
    int channels;
    const char *const *names; /* [channels]; NULL: whatever is no id, in order */
    const char
        *id; /* column or key that names the stream; NULL: id, unique_id or sequence if there */
} cli_rows_options;

typedef struct cli_row {
    const char *id; /* "" without ids; until the next row */
    double *values; /* [channels]; until the next row */
    bool restart;   /* an empty line stood before: a new sequence begins */
    bool end;       /* no row: the input has ended, or a signal came */
} cli_row;

/* From standard input. The first row decides: `{` or `[` is JSON lines, else CSV, with a header unless all its fields
 * are numbers. */
car_status cli_rows_open(const cli_rows_options *options, cli_rows **rows,
                         car_error *error) CAR_CHECK_RESULT;
/* Waits for a row; a signal ends the waiting. CAR_DATA with line and column. */
car_status cli_rows_next(cli_rows *rows, cli_row *row, car_error *error) CAR_CHECK_RESULT;
void cli_rows_free(cli_rows *rows); /* NULL is legal */

#endif
