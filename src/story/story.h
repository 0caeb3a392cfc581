/*
 * story: what people say about recurrent nets, measured again. Stands on probe, inspect and report.
 *
 *   rules.c      the ten claims, the comparisons that decide each, and how a verdict follows from figures
 *   lab.c        studies of the probe (which cells are trained on what), the budget, trained nets to look into
 *   trained.c    figures from trained nets: reach, belts, gates, biases, GRU, ablation
 *   untrained.c  figures that need no training: scales, clipping, random walks, depth
 *   words.c      every sentence, in English and Chinese     charts.c      charts as they are collected
 *   story_page.c one HTML file                              story_json.c  the same as JSON; as lines of text
 *
 *   seeds ─► lab ─► trained.c ───┐
 *   seeds ─────────► untrained.c ┴─► samples[rule][seed] ─► mean, 95 % interval ─► rules.c ─► verdict ─► page
 *
 * No sentence is decided before the figures are: a claim's verdict is computed from the outcomes of its rules, and the
 * rules, thresholds and the least number of seeds stand in one table (rules.c). Everything is a function of the seed, the
 * number of seeds and of updates; --minutes becomes these numbers once, before anything is trained.
 */
#ifndef CAR_STORY_H
#define CAR_STORY_H

#include "inspect.h"
#include "probe.h"

/* ---- rules.c -------------------------------------------------------------------------------------------- */

typedef struct car_words {
    const char *english, *chinese;
} car_words;
static inline const char *car_say(car_words words, bool chinese) {
    return chinese ? words.chinese : words.english;
}

enum { CAR_STORY_CLAIMS = 10, CAR_STORY_LEAST_SEEDS = 5 };

/* The comparisons, in the order of the claims. */
typedef enum car_rule_id {
    CAR_RULE_RNN_FAILS_FAR,  /* 1: accuracy of the rnn at the farthest distance */
    CAR_RULE_LSTM_READS_FAR, /*    that of the lstm, whose forget gate starts at a bias of 1 */
    CAR_RULE_KEEP_READS_FAR, /*    of the lstm at a bias of 3 */
    CAR_RULE_SMALL_VANISHES, /* 2: log10 of the gradient's factor over STEPS steps, scale 0.5 */
    CAR_RULE_LARGE_EXPLODES, /*    scale 2 */
    CAR_RULE_NORM_KEEPS_WAY, /* 3: loss fell: share of steps with clipping by norm */
    CAR_RULE_VALUE_TURNS,    /*    cosine of the gradient clipped by value to the raw one */
    CAR_RULE_NEAR_IS_ALL,    /*    cosine of the whole gradient to that of the last steps alone */
    CAR_RULE_BELT_FRESH,     /* 4: log10 of belt's factor minus that of the rnn, untrained */
    CAR_RULE_BELT_TRAINED,   /*    trained */
    CAR_RULE_FORGET_EXTREME, /* 5: share of the gate's values below 0.1 or above 0.9 */
    CAR_RULE_INPUT_EXTREME,
    CAR_RULE_OUTPUT_EXTREME,
    CAR_RULE_FORGET_BIAS, /* 6: log2 of updates, no bias / bias 1 on the forget gate */
    CAR_RULE_NOT_OUTPUT,  /*    bias on the output gate / on the forget gate */
    CAR_RULE_GRU_RIGHT,   /* 7: accuracy, gru - lstm, over all distances */
    CAR_RULE_GRU_FAST,    /*    log2 of updates, lstm / gru */
    CAR_RULE_FORGET_OVER_INPUT, /* 8: log2 of updates without the forget gate / without the input gate */
    CAR_RULE_INPUT_OVER_OUTPUT,
    CAR_RULE_FROZEN_FORGET, /*    added loss when held open, forget - input */
    CAR_RULE_FROZEN_INPUT,
    CAR_RULE_WALK_KEEPS,   /* 9: |log10 of the gradient's factor| through a deep net, random walk */
    CAR_RULE_PLAIN_LOSES,  /*    log10 of it with uniform weights */
    CAR_RULE_WALK_HELPS,   /*    accuracy of the rnn, random walk - uniform */
    CAR_RULE_DEEP_KEEPS,   /* 10: |log10| of the deep net at the scale chosen on other seeds */
    CAR_RULE_REPEAT_LOSES, /*     |log10| of the rnn at that scale minus that of the deep net */
    CAR_RULE_COUNT
} car_rule_id;

typedef struct car_story_rule {
    int claim;        /* from 0 */
    car_words what;   /* the figure */
    bool above;       /* it holds when the figure is above the threshold; else below */
    double threshold;
    int decimals;
} car_story_rule;
const car_story_rule *car_story_rule_at(car_rule_id rule);

typedef enum car_outcome { CAR_OUTCOME_YES, CAR_OUTCOME_NO, CAR_OUTCOME_OPEN } car_outcome;
typedef struct car_story_figure {
    int seeds; /* samples that are finite */
    double mean, low, high; /* 95 % interval of the mean over the seeds (Student's t) */
    car_outcome outcome;
} car_story_figure;
/* YES when the whole interval is on the rule's side of the threshold, NO when it is on the other; OPEN else, and with
 * fewer than CAR_STORY_LEAST_SEEDS seeds. */
car_story_figure car_story_judge(const car_story_rule *rule, const double *samples, int count);
/* All of a claim's rules YES: holds; all NO: does not; some YES and some NO: in part; else undecided. */
car_verdict car_story_verdict(const car_outcome *outcomes, int count);

/* ---- lab.c ---------------------------------------------------------------------------------------------- */

enum {
    CAR_STORY_STEPS = 50,  /* gradients are followed back so far */
    CAR_STORY_LANES = 32,  /* sequences side by side */
    CAR_STORY_MIDDLE = 20, /* words between noun and verb where cells are compared */
    CAR_STORY_DISTANCES = 4,
    CAR_STORY_SEEDS = 200
};
extern const int car_story_distances[CAR_STORY_DISTANCES];

/* What is trained: one study of the probe's agreement task each. */
typedef enum car_story_study {
    CAR_STUDY_REACH, /* rnn, gru, lstm at all distances, biases as in the zoo */
    CAR_STUDY_KEEP,  /* gru, lstm at all distances, gates that keep (bf, bz) start at a bias of 3 */
    CAR_STUDY_GATES, /* lstm without forget, input, output gate */
    CAR_STUDY_PLAIN, /* lstm with every bias 0 */
    CAR_STUDY_OUTPUT, /* lstm with a bias of 1 on the output gate alone */
    CAR_STUDY_WALK,  /* rnn from random-walk weights */
    CAR_STUDY_MIDDLE, /* rnn and lstm as in REACH, with as many seeds as GATES and WALK, which they stand beside */
    CAR_STUDY_COUNT
} car_story_study;

typedef enum car_chart_kind { CAR_CHART_LINES, CAR_CHART_BARS, CAR_CHART_STEPS } car_chart_kind;
typedef struct car_story_chart {
    struct car_story_chart *next;
    int claim;
    car_chart_kind kind;
    car_words title, note, x, y;
    bool logarithmic_x, logarithmic_y;
    bool cheap; /* samples of request.cheap seeds; else of request.seeds */
    double low, high; /* of y; both 0: from the values */
    int count, label_count;
    car_words names[CAR_INK_SERIES];
    car_series series[CAR_INK_SERIES];
    const car_words *labels; /* BARS: [label_count] */
} car_story_chart;

typedef struct car_story_request {
    int64_t seed, updates, seeds; /* updates 0: from minutes */
    int64_t cheap; /* seeds of what costs little, no fewer than seeds; 0: as seeds, or from minutes */
    double minutes;
    int threads;
    const char *folder; /* where the studies stand; it exists */
    const volatile sig_atomic_t *stop;
    void *context;
    /* What is being done, and how much of all training; may be NULL. */
    void (*progress)(void *context, car_words doing, double share);
} car_story_request;

typedef struct car_story {
    const car_allocator *allocator;
    car_arena *arena;
    car_story_request request; /* updates and seeds as they were fixed */
    car_cell *cells[16];
    int cell_count;
    car_probe_study *studies[CAR_STUDY_COUNT];
    double *samples[CAR_RULE_COUNT]; /* [request.cheap] NaN: none */
    car_story_chart *first, *last;
    car_story_figure figures[CAR_RULE_COUNT];
    car_verdict verdicts[CAR_STORY_CLAIMS];
    bool no_memory;
    double sure_seeds; /* while the least number of seeds is trained to count more: how many there will be for certain; else 0 */
} car_story;

/* Trains and measures everything; *stopped: the signal came, what is trained is stored. Release with car_story_free. */
car_status car_story_run(const car_story_request *request, const car_allocator *allocator,
                         car_story **story, bool *stopped, car_error *error) CAR_CHECK_RESULT;
void car_story_free(car_story *story);
/* A cell by its name in the zoo with one more line of text ("init U = walk(1)"; NULL: none). */
car_status car_story_cell(car_story *story, const char *name, const char *line, car_cell **cell,
                          car_error *error) CAR_CHECK_RESULT;
/* The trained net of a run. */
car_status car_story_net(const car_story *story, car_story_study study, const char *cell, int distance,
                         int seed, car_model **model, car_error *error) CAR_CHECK_RESULT;
/* The same, trained for the rest of the budget too (a run stops where it is solved). */
car_status car_story_long_net(const car_story *story, car_story_study study, const char *cell, int distance,
                              int seed, car_model **model, car_error *error) CAR_CHECK_RESULT;
const car_probe_record *car_story_record(const car_story *story, car_story_study study, const char *cell,
                                         int distance, int seed);
/* The agreement task at a distance, for a seed, with CAR_STORY_LANES test sequences. */
car_status car_story_batch(const car_story *story, int distance, int seed, car_probe_problem *problem,
                           car_probe_batch **batch, car_error *error) CAR_CHECK_RESULT;

/* ---- trained.c, untrained.c ----------------------------------------------------------------------------- */

car_status car_story_trained(car_story *story, car_error *error) CAR_CHECK_RESULT;
car_status car_story_untrained(car_story *story, car_error *error) CAR_CHECK_RESULT;

/* ---- charts.c ------------------------------------------------------------------------------------------- */

/* A chart of a claim, to be filled in; a static one when memory is out (story->no_memory). */
car_story_chart *car_story_add_chart(car_story *story, int claim, car_chart_kind kind, car_words title,
                                     car_words note, car_words x, car_words y);
/* A curve of the median over samples [seeds][count], its band from the least to the largest; x NULL: 0, 1, 2 ... */
void car_story_add_curve(car_story *story, car_story_chart *chart, car_words name, const double *x,
                         const double *samples, int count);
double car_median(double *values, int count); /* sorts them */

/* ---- words.c -------------------------------------------------------------------------------------------- */

typedef struct car_claim_words {
    car_words title, said, done; /* the claim; what the article says; what was measured */
} car_claim_words;
const car_claim_words *car_story_claim(int claim);
car_words car_verdict_word(car_verdict verdict);
car_words car_outcome_word(car_outcome outcome);

/* ---- story_page.c, story_json.c ------------------------------------------------------------------------- */

car_status car_story_page(const car_story *story, bool chinese, const char *command, car_text *html,
                          car_error *error) CAR_CHECK_RESULT;
void car_story_to_json(const car_story *story, car_text *text);
/* A line a claim, a line a figure. */
void car_story_to_text(const car_story *story, bool chinese, car_text *text);
/* The scene of a chart; to be freed. */
void car_story_scene(const car_story_chart *chart, bool chinese, const car_allocator *allocator,
                     car_scene *scene);

#endif
