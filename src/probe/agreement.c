/*
 * agreement.c: the verb that must agree with a noun far before it (after Linzen, Dupoux & Goldberg 2016; a grammar of ours).
 *
 *   the cat which chased the dogs near the gardens and already saw the birds  ─► was
 *   the cats which chased the dogs near the gardens and already saw the birds ─► were
 *
 * In:  d, the number of words between the noun and the place of the verb. Out: 2 + d words, one-hot; the class is the number
 * of the first noun (0: was, 1: were), at the last word.
 *
 *   sentence = "the" noun filler ;                        filler: exactly d words
 *   filler   = adverb {adverb} | "which" verb object {phrase} ;
 *   phrase   = preposition object | "and" verb object | adverb ;        object = "the" noun
 *
 * Every noun is drawn from the same list and each has a number of its own, a coin: half of the nouns in between speak
 * against the answer and none tells it. Verbs in between stand in the past, which has no number, so only the first noun
 * does. Always saying the number of the nearest noun is right in one half of the sentences.
 */
#include "probe.h"

enum { NOUNS = 8, VERBS = 8, PREPOSITIONS = 6, ADVERBS = 6 };
enum {
    WORD_THE,
    WORD_WHICH,
    WORD_AND,
    FIRST_NOUN,
    FIRST_VERB = FIRST_NOUN + 2 * NOUNS,
    FIRST_PREPOSITION = FIRST_VERB + VERBS,
    FIRST_ADVERB = FIRST_PREPOSITION + PREPOSITIONS,
    WORDS = FIRST_ADVERB + ADVERBS
};
enum { CLAUSE = 4, PHRASE = 3 }; /* words of `and saw the dogs`, of `near the dogs` */

static const char *const words[WORDS] = {
    "the",     "which",    "and",     "cat",     "cats",   "dog",    "dogs",   "bird",
    "birds",   "boy",      "boys",    "girl",    "girls",  "car",    "cars",   "garden",
    "gardens", "house",    "houses",  "chased",  "saw",    "heard",  "liked",  "passed",
    "found",   "followed", "reached", "near",    "behind", "beside", "under",  "above",
    "around",  "already",  "often",   "quietly", "soon",   "never",  "always",
};

const char *car_probe_agreement_word(int index) {
    return index >= 0 && index < WORDS ? words[index] : NULL;
}

void car_probe_agreement_shape(car_probe_problem *problem) {
    problem->inputs = WORDS;
    problem->outputs = 2;
    problem->most_steps = 2 + problem->distance;
}

typedef struct sentence {
    const car_probe_lane *lane;
    car_probe_draws *draws;
    int step;
} sentence;

static void say(sentence *to, int word) {
    to->lane->input[(size_t)to->step++ * to->lane->input_stride + (size_t)word] = 1;
}

static void say_one_of(sentence *to, int first, int count) {
    say(to, first + car_probe_draw_below(to->draws, count));
}

/* Returns the noun's number: 0 or 1. */
static int say_noun(sentence *to) {
    int noun = car_probe_draw_below(to->draws, 2 * NOUNS);
    say(to, WORD_THE);
    say(to, FIRST_NOUN + noun);
    return noun % 2;
}

static void say_clause(sentence *to, int conjunction) {
    say(to, conjunction);
    say_one_of(to, FIRST_VERB, VERBS);
    say_noun(to);
}

static void say_phrase(sentence *to, int left) {
    int kind = car_probe_draw_below(to->draws, 10);
    if (left >= CLAUSE && kind < 3) {
        say_clause(to, WORD_AND);
    } else if (left >= PHRASE && kind < 8) {
        say_one_of(to, FIRST_PREPOSITION, PREPOSITIONS);
        say_noun(to);
    } else {
        say_one_of(to, FIRST_ADVERB, ADVERBS);
    }
}

void car_probe_agreement_make(const car_probe_problem *problem, car_probe_draws *draws,
                              const car_probe_lane *lane) {
    sentence to = {lane, draws, 0};
    int length = 2 + problem->distance;
    lane->classes[0] = say_noun(&to);
    if (problem->distance >= CLAUSE)
        say_clause(&to, WORD_WHICH);
    while (to.step < length)
        say_phrase(&to, problem->distance >= CLAUSE ? length - to.step : 1);
}
