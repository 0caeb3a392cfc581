/* training.h: what every `train` verb shares: the table of its options, going on with --resume, the live line. */
#ifndef CAR_CLI_TRAINING_H
#define CAR_CLI_TRAINING_H

#include "cli.h"
#include "report.h"
#include "tasks.h"

enum { CLI_TRAINING_OPTIONS = 96 };

/* The options of a `train` verb, and those that are no setting. */
typedef struct cli_training {
    const char *resume, *load;
    bool print_config, json;
    cli_option table[CLI_TRAINING_OPTIONS];
    int count;
} cli_training;

/* A table of settings as options; `options` is the struct that they are read into. */
void cli_training_add_settings(cli_training *call, const car_setting *table, int count,
                               void *options);
/* --load, --resume, --print-config and --json. */
void cli_training_add_rest(cli_training *call, const char *load_help);
/* With --resume no operand and nothing but --minutes, --epochs, --updates, --threads may be given; without it an
 * operand and --output must be. CAR_USAGE. `operand`: what is trained on, "a text". */
car_status cli_training_check(const cli_verb *verb, const cli_training *call,
                              const cli_arguments *arguments, const char *operand,
                              car_error *error) CAR_CHECK_RESULT;
/* Refuses options (names, up to NULL) that would be without effect, since `by` brings what they say. CAR_USAGE. */
car_status cli_training_refuse(const cli_verb *verb, const char *const *names, const char *by,
                               car_error *error) CAR_CHECK_RESULT;
/* --print-config: prints the resolved options; returns the exit code. */
int cli_training_print_config(const cli_verb *verb, const cli_arguments *arguments);

/* How a training run looks while it goes on. */
typedef struct cli_training_view {
    cli_progress line;
    const char *unit; /* what is counted a second: "token" */
    void (*add_loss)(car_text *text, double loss);
    bool nats;  /* the loss itself is shown too */
    bool brief; /* validations are many and short: no line of their own */
    bool quiet; /* --json: nothing but errors on stderr */
} cli_training_view;
/* For car_fit_options.progress; the context is a cli_training_view. */
void cli_training_progress(void *view, const car_fit_progress *progress);

#endif
