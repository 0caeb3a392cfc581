/*
 * tag_score.c: tags judged as spans, and beside what costs nothing.
 *
 * In:  probabilities of the rows of a tagged text. Out: precision, recall and F1 of spans; accuracy on words without a
 *      symbol of their own; accuracy of each word's usual tag.
 *
 * A span begins at B-X or S-X, and at I-X or E-X where none of type X is open; it ends before a word that does not go on with
 * it and after E-X and S-X (the rules of conlleval, Tjong Kim Sang 2000). It is right when begin, end and type are.
 */
#include "classify.h"
#include <string.h>

typedef struct span_tag {
    char place; /* B I E S; O: outside */
    const char *type;
} span_tag;

static span_tag read_tag(const char *name) {
    span_tag tag = {'O', ""};
    if (strlen(name) > 2 && name[1] == '-' && strchr("BIES", name[0]))
        tag = (span_tag){name[0], name + 2};
    return tag;
}

/* One reading of a sentence: the span that is open. */
typedef struct span_state {
    size_t begin;
    span_tag before; /* the last word's tag */
} span_state;

static bool begins(span_tag before, span_tag tag) {
    return tag.place == 'B' || tag.place == 'S' ||
           (tag.place != 'O' && (before.place == 'O' || before.place == 'E' ||
                                 before.place == 'S' || strcmp(before.type, tag.type) != 0));
}

static bool ends(span_tag before, span_tag next) {
    return before.place != 'O' && (before.place == 'E' || before.place == 'S' ||
                                   next.place == 'O' || begins(before, next));
}

/* A word (or the sentence's end: O) comes: does a span end before it? */
static bool take_word(span_state *state, span_tag tag, size_t word, size_t *begin) {
    bool ended = ends(state->before, tag);
    *begin = state->begin;
    if (begins(state->before, tag))
        state->begin = word;
    state->before = tag;
    return ended;
}

static void take_both(span_state states[2], span_tag is, span_tag said, size_t word,
                      car_span_score *score) {
    size_t begin_is, begin_said;
    const char *type_is = states[0].before.type, *type_said = states[1].before.type;
    bool ended_is = take_word(&states[0], is, word, &begin_is);
    bool ended_said = take_word(&states[1], said, word, &begin_said);
    score->count += ended_is;
    score->said += ended_said;
    score->right +=
        ended_is && ended_said && begin_is == begin_said && strcmp(type_is, type_said) == 0;
}

void car_tag_judge(const car_classifier *classifier, const car_sequences *set,
                   const float *probabilities, car_span_score *score) {
    const span_tag outside = {'O', ""};
    int64_t words = 0, usual = 0;
    *score = (car_span_score){0};
    for (int c = 0; c < classifier->classes; c++)
        score->there = score->there || read_tag(classifier->class_names[c]).place != 'O';
    for (int i = 0; i < set->count; i++) {
        span_state states[2] = {{0, outside}, {0, outside}};
        for (size_t row = set->begin[i]; row < set->begin[i + 1]; row++) {
            int32_t is = set->labels[row];
            if (is < 0)
                continue;
            int said = car_likeliest(probabilities + row * (size_t)classifier->classes,
                                     classifier->classes);
            bool unknown = set->ids[row] == CAR_UNKNOWN_WORD;
            words++;
            usual += classifier->usual[set->ids[row]] == is;
            score->unknown += unknown;
            score->unknown_right += unknown && said == is;
            take_both(states, read_tag(classifier->class_names[is]),
                      read_tag(classifier->class_names[said]), row, score);
        }
        take_both(states, outside, outside, set->begin[i + 1], score);
    }
    score->usual = words > 0 ? (double)usual / (double)words : 0;
    score->precision = score->said > 0 ? (double)score->right / (double)score->said : 0;
    score->recall = score->count > 0 ? (double)score->right / (double)score->count : 0;
    score->f1 = score->count + score->said > 0
                    ? 2 * (double)score->right / (double)(score->count + score->said)
                    : 0;
}
