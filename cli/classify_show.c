/*
 * classify_show.c: a classifier's training and its judgement, for people and as JSON.
 *
 * In:  facts, progress and scores of tasks/classify.h. Out: lines on stderr, text for stdout.
 */
#include "classify_show.h"
#include "report.h"
#include <math.h>
#include <string.h>

enum { MATRIX_CLASSES = 16, CONFUSIONS = 20, FEW_JUDGED = 50 };

/* ---- training ----------------------------------------------------------------------------------------- */

static void add_loss(car_text *text, double nats) {
    car_text_format(text, "loss %.4f", nats);
}

cli_training_view cli_classify_view(bool quiet) {
    return (cli_training_view){
        .unit = "target", .add_loss = add_loss, .brief = true, .quiet = quiet};
}

void cli_classify_started(void *context, const car_classify_facts *facts) {
    const cli_training_view *view = context;
    if (view->quiet)
        return;
    cli_note("%d sequences to learn from, %d to validate on, up to %d steps, %d classes",
             facts->learned, facts->judged, facts->longest, facts->classes);
    cli_note("the most frequent class is `%.60s`: %.1f %%%s", facts->majority_name,
             100 * facts->majority_share,
             facts->majority_share * facts->classes > 1.5
                 ? "; the classes are uneven, look at macro-F1 too"
                 : "");
    cli_note("%s: %lld parameters, %lld updates an epoch, %d thread%s", facts->net,
             (long long)facts->parameters, (long long)facts->updates_per_epoch, facts->threads,
             facts->threads == 1 ? "" : "s");
    if (facts->updates_done > 0)
        cli_note("going on after update %lld", (long long)facts->updates_done);
}

static void result_json(const car_classify_result *result, car_text *text) {
    const car_classify_facts *facts = &result->facts;
    car_text_format(text, "{\"model\": ");
    if (result->saved)
        car_text_json_string(text, result->output, strlen(result->output));
    else
        car_text_format(text, "null");
    car_text_format(text,
                    ", \"classes\": %d, \"parameters\": %lld, \"learned\": %d, \"folds\": %d, "
                    "\"judged\": %d, \"updates\": %lld, \"epochs\": %.6g, \"best_update\": %lld",
                    facts->classes, (long long)facts->parameters, facts->learned, result->folds,
                    result->folds > 0 ? facts->learned : facts->judged,
                    (long long)result->fit.updates,
                    (double)result->fit.updates / (double)facts->updates_per_epoch,
                    (long long)result->fit.best_update);
    const char *const names[] = {"validation_nats",   "accuracy",
                                 "accuracy_low",      "accuracy_high",
                                 "macro_f1",          "majority_accuracy",
                                 "temperature",       "calibration_error_before",
                                 "calibration_error", "seconds"};
    bool judged = result->judged > 0;
    const double values[] = {
        result->fit.best_validation,        judged ? result->accuracy : NAN,
        judged ? result->low : NAN,         judged ? result->high : NAN,
        judged ? result->macro_f1 : NAN,    judged ? result->majority : NAN,
        judged ? result->temperature : NAN, judged ? result->error_before : NAN,
        judged ? result->error_after : NAN, result->seconds};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        car_text_format(text, ", \"%s\": ", names[i]);
        car_text_json_number(text, values[i]);
    }
    car_text_format(text, ", \"stopped_early\": %s, \"interrupted\": %s}\n",
                    result->fit.stopped_early ? "true" : "false",
                    result->fit.stopped_by_signal ? "true" : "false");
}

void cli_classify_result(const car_classify_result *result, bool json, car_text *text) {
    if (json) {
        result_json(result, text);
        return;
    }
    if (result->saved)
        car_text_format(text, "%s: ", result->output);
    car_text_format(text, "%lld updates, %.1f epochs, ", (long long)result->fit.updates,
                    (double)result->fit.updates / (double)result->facts.updates_per_epoch);
    car_draw_duration(text, result->seconds);
    if (result->judged == 0) {
        car_text_format(text, "; no validation part: the last weights are kept and nothing is said "
                              "about how good they are\n");
        return;
    }
    if (result->folds > 0)
        car_text_format(text,
                        "; learned from all, after the %d nets of the cross-validation\n%d-fold ",
                        result->folds, result->folds);
    else
        car_text_format(text, "; kept after update %lld\n", (long long)result->fit.best_update);
    car_text_format(text,
                    "validation: accuracy %.1f %% (%.1f to %.1f, %lld judged), macro-F1 %.3f, loss "
                    "%.4f; always the most frequent class: %.1f %%\n"
                    "calibration: temperature %.2f, expected calibration error %.3f before, %.3f "
                    "after (on the part it was fitted to)\n",
                    100 * result->accuracy, 100 * result->low, 100 * result->high,
                    (long long)result->judged, result->macro_f1, result->fit.best_validation,
                    100 * result->majority, result->temperature, result->error_before,
                    result->error_after);
    if (result->folds == 0 && result->judged < FEW_JUDGED && result->facts.channels > 0)
        car_text_format(text, "so few say little: --folds 10 judges by all sequences\n");
}

/* ---- a judgement -------------------------------------------------------------------------------------- */

static int width_of(const char *const *names, int count) {
    int width = 5;
    for (int i = 0; i < count; i++)
        width = (int)strlen(names[i]) > width ? (int)strlen(names[i]) : width;
    return width < 20 ? width : 20;
}

static void add_classes(const cli_judgement *judgement, int width, car_text *text) {
    const car_class_score *score = judgement->score;
    car_text_format(text, "\n%-*s %8s %10s %8s %8s\n", width, "class", "count", "precision",
                    "recall", "F1");
    for (int c = 0; c < score->classes; c++) {
        const car_class_figures *one = &score->figures[c];
        car_text_format(text, "%-*.20s %8lld %10.3f %8.3f %8.3f\n", width,
                        judgement->class_names[c], (long long)one->count, one->precision,
                        one->recall, one->f1);
    }
}

static void add_matrix(const cli_judgement *judgement, int width, car_text *text) {
    const car_class_score *score = judgement->score;
    car_text_format(text, "\nrows: the class it is, columns: the class that was said\n%-*s", width,
                    "");
    for (int c = 0; c < score->classes; c++)
        car_text_format(text, " %7.7s", judgement->class_names[c]);
    for (int c = 0; c < score->classes; c++) {
        car_text_format(text, "\n%-*.20s", width, judgement->class_names[c]);
        for (int k = 0; k < score->classes; k++)
            car_text_format(text, " %7lld", (long long)score->confusion[c * score->classes + k]);
    }
    car_text_format(text, "\n");
}

/* Too many classes for a matrix: the most frequent mistakes. */
static void add_mistakes(const cli_judgement *judgement, car_text *text) {
    const car_class_score *score = judgement->score;
    int64_t below = INT64_MAX;
    int shown = 0;
    car_text_format(text, "\nthe most frequent mistakes (--json has all)\n");
    while (shown < CONFUSIONS) {
        int64_t most = 0;
        for (int i = 0; i < score->classes * score->classes; i++)
            if (i / score->classes != i % score->classes && score->confusion[i] < below &&
                score->confusion[i] > most)
                most = score->confusion[i];
        for (int i = 0; most > 0 && i < score->classes * score->classes; i++)
            if (i / score->classes != i % score->classes && score->confusion[i] == most &&
                shown++ < CONFUSIONS)
                car_text_format(text, "%8lld  `%.30s` said to be `%.30s`\n", (long long)most,
                                judgement->class_names[i / score->classes],
                                judgement->class_names[i % score->classes]);
        if (most == 0)
            return;
        below = most;
    }
}

void cli_judgement_text(const cli_judgement *judgement, car_text *text) {
    const car_class_score *score = judgement->score;
    int width = width_of(judgement->class_names, score->classes);
    car_text_format(text, "%lld %s%s, %d classes: accuracy %.2f %% (%.2f to %.2f), macro-F1 %.4f\n",
                    (long long)score->items, judgement->unit, score->items == 1 ? "" : "s",
                    score->classes, 100 * score->accuracy, 100 * score->low, 100 * score->high,
                    score->macro_f1);
    car_text_format(
        text, "always `%.60s`, the most frequent in training: %.2f %%%s\n",
        judgement->class_names[judgement->majority], 100 * score->majority,
        score->low <= score->majority ? "; no evidence that the model is better than that" : "");
    car_text_format(text, "loss %.4f nats; expected calibration error %.4f, ", score->nats,
                    judgement->error_before);
    if (judgement->models == 1)
        car_text_format(text, "%.4f with temperature %.2f\n", score->calibration_error,
                        judgement->temperature);
    else
        car_text_format(text, "%.4f with temperatures; mean of %d models\n",
                        score->calibration_error, judgement->models);
    add_classes(judgement, width, text);
    if (score->classes <= MATRIX_CLASSES)
        add_matrix(judgement, width, text);
    else
        add_mistakes(judgement, text);
}

void cli_judgement_json(const cli_judgement *judgement, car_text *text) {
    const car_class_score *score = judgement->score;
    const char *const names[] = {"accuracy",
                                 "accuracy_low",
                                 "accuracy_high",
                                 "macro_f1",
                                 "majority_accuracy",
                                 "nats_per_item",
                                 "calibration_error_before",
                                 "calibration_error"};
    const double values[] = {score->accuracy,
                             score->low,
                             score->high,
                             score->macro_f1,
                             score->majority,
                             score->nats,
                             judgement->error_before,
                             score->calibration_error};
    car_text_format(text, "\"unit\": \"%s\", \"items\": %lld, \"models\": %d, \"majority\": ",
                    judgement->unit, (long long)score->items, judgement->models);
    const char *majority = judgement->class_names[judgement->majority];
    car_text_json_string(text, majority, strlen(majority));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        car_text_format(text, ", \"%s\": ", names[i]);
        car_text_json_number(text, values[i]);
    }
    car_text_format(text, ", \"classes\": [");
    for (int c = 0; c < score->classes; c++) {
        const car_class_figures *one = &score->figures[c];
        car_text_format(text, "%s{\"name\": ", c ? ", " : "");
        car_text_json_string(text, judgement->class_names[c], strlen(judgement->class_names[c]));
        car_text_format(text,
                        ", \"count\": %lld, \"said\": %lld, \"right\": %lld, \"precision\": %.9g, "
                        "\"recall\": %.9g, \"f1\": %.9g, \"confusion\": [",
                        (long long)one->count, (long long)one->said, (long long)one->right,
                        one->precision, one->recall, one->f1);
        for (int k = 0; k < score->classes; k++)
            car_text_format(text, "%s%lld", k ? ", " : "",
                            (long long)score->confusion[c * score->classes + k]);
        car_text_format(text, "]}");
    }
    car_text_format(text, "]");
}

/* ---- taggers ------------------------------------------------------------------------------------------ */

void cli_spans_text(const car_span_score *spans, car_text *text) {
    if (spans->there)
        car_text_format(text,
                        "spans: F1 %.4f, precision %.4f, recall %.4f (%lld right of %lld, %lld "
                        "said)\n",
                        spans->f1, spans->precision, spans->recall, (long long)spans->right,
                        (long long)spans->count, (long long)spans->said);
    if (spans->unknown > 0)
        car_text_format(text, "words without a symbol of their own: %.2f %% of %lld right\n",
                        100 * (double)spans->unknown_right / (double)spans->unknown,
                        (long long)spans->unknown);
    car_text_format(text,
                    "each word's usual tag, the most frequent one for unknown words: %.2f %%\n",
                    100 * spans->usual);
}

void cli_spans_json(const car_span_score *spans, car_text *text) {
    const char *const names[] = {"span_f1", "span_precision", "span_recall", "usual_accuracy"};
    const double values[] = {spans->there ? spans->f1 : NAN, spans->there ? spans->precision : NAN,
                             spans->there ? spans->recall : NAN, spans->usual};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        car_text_format(text, ", \"%s\": ", names[i]);
        car_text_json_number(text, values[i]);
    }
    car_text_format(text,
                    ", \"spans\": %lld, \"spans_said\": %lld, \"spans_right\": %lld, "
                    "\"unknown_words\": %lld, \"unknown_right\": %lld",
                    (long long)spans->count, (long long)spans->said, (long long)spans->right,
                    (long long)spans->unknown, (long long)spans->unknown_right);
}
