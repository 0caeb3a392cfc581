/* classify_show.h: what `classify` and `tag` print of a training and of a judgement. */
#ifndef CAR_CLI_CLASSIFY_SHOW_H
#define CAR_CLI_CLASSIFY_SHOW_H

#include "classify.h"
#include "training.h"

/* How a training looks; for cli_training_progress and cli_classify_started. */
cli_training_view cli_classify_view(bool quiet);
void cli_classify_started(void *view, const car_classify_facts *facts);
void cli_classify_result(const car_classify_result *result, bool json, car_text *text);

/* A judgement: how good, how sure, and beside it what always saying the most frequent class gives. */
typedef struct cli_judgement {
    const char *unit; /* "sequence", "step", "word" */
    const char *const *class_names;
    const car_class_score *score;
    double error_before; /* calibration error at temperature 1 */
    double temperature;
    int models; /* that were averaged */
    int majority;
} cli_judgement;
void cli_judgement_text(const cli_judgement *judgement, car_text *text);
/* The members of an object, without its braces. */
void cli_judgement_json(const cli_judgement *judgement, car_text *text);

/* Beside the judgement of a tagger: spans, unknown words, each word's usual tag. JSON: further members. */
void cli_spans_text(const car_span_score *spans, car_text *text);
void cli_spans_json(const car_span_score *spans, car_text *text);

#endif
