/* lm.h: what `lm` and `demo` share: how a training run looks while it goes on; the verb of a file of its own. */
#ifndef CAR_CLI_LM_H
#define CAR_CLI_LM_H

#include "cli.h"
#include "report.h"
#include "tasks.h"

typedef struct lm_view {
    cli_progress line;
    car_level level;
    bool quiet; /* --json: nothing but errors on stderr */
} lm_view;

/* The sub-verb `lm score` (lm_score.c). */
int cli_lm_score(int argc, char **argv);
/* "char", "byte" or "token", for figures that are per one of them. */
const char *cli_lm_unit(car_level level);
/* For car_lm_watch.progress; the context is a lm_view. */
void cli_lm_progress(void *view, const car_fit_progress *progress);
/* The bits that a character costs; at word level from the length of the words. */
double cli_lm_bits_per_char(const car_lm_score *score);
/* For car_lm_sample: to stdout at once; false when nothing more can be written. */
bool cli_lm_write(void *context, const char *text, size_t length);
/* A model file, with machine code for cells that are not the zoo's where that can be had; the same bits without it. */
car_status cli_lm_load(const char *path, car_lm *lm, car_error *error) CAR_CHECK_RESULT;

#endif
