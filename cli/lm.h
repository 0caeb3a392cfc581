/* lm.h: what `lm` and `demo` share: how a training run looks while it goes on; the verb of a file of its own. */
#ifndef CAR_CLI_LM_H
#define CAR_CLI_LM_H

#include "training.h"

/* The sub-verb `lm score` (lm_score.c). */
int cli_lm_score(int argc, char **argv);
/* "char", "byte" or "token", for figures that are per one of them. */
const char *cli_lm_unit(car_level level);
/* How training looks: bits or perplexity. */
cli_training_view cli_lm_view(car_level level, bool quiet);
/* The bits that a character costs; at word level from the length of the words. */
double cli_lm_bits_per_char(const car_lm_score *score);
/* For car_lm_sample: to stdout at once; false when nothing more can be written. */
bool cli_lm_write(void *context, const char *text, size_t length);
/* A model file, with machine code for cells that are not the zoo's where that can be had; the same bits without it. */
car_status cli_lm_load(const char *path, car_lm *lm, car_error *error) CAR_CHECK_RESULT;

#endif
