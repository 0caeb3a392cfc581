/* labelling.h: what `classify` and `tag` share: training, and asking trained models. */
#ifndef CAR_CLI_LABELLING_H
#define CAR_CLI_LABELLING_H

#include "classify.h"
#include "classify_show.h"

/* ---- labelling.c -------------------------------------------------------------------------------------- */

/* Runs `classify train` or `tag train`: `verb` brings name, summary, usage, examples and notes; `operand`: what is
 * trained on. Returns the exit code. */
int cli_labelling_train(const car_labelling *task, cli_verb verb, const char *operand, int argc,
                        char **argv);

/* ---- labelling_ask.c ---------------------------------------------------------------------------------- */

enum { CLI_ASK_OPTIONS = 12 };

typedef struct cli_ask_call {
    car_sequences_options reading;
    int64_t threads;
    bool text;      /* tagged text */
    bool json, all; /* all: every class's probability (predict) */
    cli_option table[CLI_ASK_OPTIONS];
    int count;
    car_classifier *models;
    int model_count;
    car_sequences set;
    car_part part;
    size_t items;
    float *plain,
        *probabilities; /* [items][classes] at temperature 1, and as calibrated; means of the models */
} cli_ask_call;

/* The options that say how DATA is read (not of text), --threads and --json; a verb may add its own. */
void cli_ask_options(cli_ask_call *call);
/* Loads the models, reads the data (the last operand), runs them, and prints the judgement. Returns the exit code. */
int cli_ask_eval(cli_ask_call *call, const cli_verb *verb, int argc, char **argv);
/* The same, but `answers` writes what is printed. */
typedef void cli_answers(const cli_ask_call *call, car_text *text);
int cli_ask_predict(cli_ask_call *call, const cli_verb *verb, cli_answers *answers, int argc,
                    char **argv);

#endif
