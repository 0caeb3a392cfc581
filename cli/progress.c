/*
 * progress.c: one line on stderr that says how far a job is.
 *
 * On a terminal the line is rewritten ten times a second and cut to the window; elsewhere (a file,
 * a pipe, CI) a plain line is written every five seconds, the first one at once.
 */
#include "cli.h"
#include "report.h"
#include <unistd.h>

void cli_progress_start(cli_progress *progress) {
    *progress = (cli_progress){.terminal = car_terminal_live(STDERR_FILENO),
                               .width = car_terminal_width(STDERR_FILENO)};
}

bool cli_progress_due(const cli_progress *progress) {
    return car_seconds() >= progress->next;
}

void cli_progress_show(cli_progress *progress, const char *line) {
    progress->next = car_seconds() + (progress->terminal ? 0.1 : 5.0);
    if (!progress->terminal) {
        cli_note("%s", line);
        return;
    }
    progress->width = car_terminal_width(STDERR_FILENO);
    fprintf(stderr, "\r%.*s\033[K", (int)car_text_fit(line, progress->width - 1), line);
    fflush(stderr);
    progress->open = true;
}

void cli_progress_end(cli_progress *progress) {
    if (progress->open)
        fputc('\n', stderr);
    progress->open = false;
}
