/*
 * lm_sample.c: text drawn from a language model, token by token.
 *
 * In:  a model, a prompt, temperature T, top-p P, a seed.
 * Out: tokens drawn from p_i = exp((y_i - m) / T) / sum, cut to the likeliest that together reach P
 *      (nucleus sampling, Holtzman et al. 2020); T = 0: the likeliest. Text leaves in whole UTF-8
 *      characters as soon as they are complete.
 *
 * Token number n uses the random number (seed, CAR_RANDOM_SAMPLE, n): the same seed gives the same text.
 */
#include "tasks.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 32 }; /* tokens of a prompt that are read at once */

typedef struct choice {
    double weight;
    int id;
} choice;

typedef struct lm_sampler {
    const car_lm *lm;
    const car_lm_sample_options *options;
    car_session *session;
    float *outputs;  /* [symbols] */
    choice *choices; /* [symbols] */
    car_lm_write write;
    void *context;
    char pending[4]; /* the beginning of a UTF-8 character */
    size_t pending_length;
} lm_sampler;

/* ---- whole characters --------------------------------------------------------------------------------- */

/* How many bytes a character that begins with `first` has; 1 for a byte that can begin none. */
static size_t character_length(unsigned char first) {
    return first >= 0xF0 && first <= 0xF4 ? 4
           : first >= 0xE0                ? first < 0xF0 ? 3 : 1
           : first >= 0xC2                ? 2
                                          : 1;
}

/* Hands on what is complete; a byte that cannot belong to a character becomes U+FFFD. `last`: nothing follows. */
static bool hand_on(lm_sampler *sampler, bool last) {
    while (sampler->pending_length > 0) {
        size_t needed = character_length((unsigned char)sampler->pending[0]);
        uint32_t code_point;
        int length = car_utf8_decode(sampler->pending, sampler->pending_length, &code_point);
        bool may_grow = needed > sampler->pending_length && !last;
        for (size_t i = 1; i < sampler->pending_length; i++)
            may_grow = may_grow && ((unsigned char)sampler->pending[i] & 0xC0) == 0x80;
        if (length <= 0 && may_grow)
            return true;
        size_t used = length > 0 ? (size_t)length : 1;
        bool go_on = length > 0 ? sampler->write(sampler->context, sampler->pending, used)
                                : sampler->write(sampler->context, "\xEF\xBF\xBD", 3);
        sampler->pending_length -= used;
        memmove(sampler->pending, sampler->pending + used, sampler->pending_length);
        if (!go_on)
            return false;
    }
    return true;
}

static bool put(lm_sampler *sampler, const char *text, size_t length) {
    if (sampler->lm->vocabulary->level != CAR_LEVEL_BYTE)
        return sampler->write(sampler->context, text, length);
    for (size_t i = 0; i < length; i++) {
        sampler->pending[sampler->pending_length++] = text[i];
        if (!hand_on(sampler, false))
            return false;
    }
    return true;
}

/* ---- choosing ----------------------------------------------------------------------------------------- */

static int by_weight(const void *left, const void *right) {
    const choice *a = left, *b = right;
    if (a->weight != b->weight)
        return a->weight > b->weight ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* The likeliest known token; -1 when the outputs are not finite. */
static int likeliest(const lm_sampler *sampler) {
    int best = -1;
    for (int id = 0; id < sampler->lm->vocabulary->count; id++) {
        if (!isfinite(sampler->outputs[id]))
            return -1;
        if (id != sampler->lm->vocabulary->unknown &&
            (best < 0 || sampler->outputs[id] > sampler->outputs[best]))
            best = id;
    }
    return best;
}

static int draw(const lm_sampler *sampler, uint64_t number) {
    const car_lm_sample_options *options = sampler->options;
    int best = likeliest(sampler);
    if (best < 0 || options->temperature == 0)
        return best;
    choice *choices = sampler->choices;
    int count = 0;
    double total = 0;
    for (int id = 0; id < sampler->lm->vocabulary->count; id++) {
        if (id == sampler->lm->vocabulary->unknown)
            continue;
        double above = (double)sampler->outputs[id] - (double)sampler->outputs[best];
        choices[count] = (choice){exp(above / options->temperature), id};
        total += choices[count++].weight;
    }
    if (options->top_p < 1) {
        qsort(choices, (size_t)count, sizeof *choices, by_weight);
        double wanted = options->top_p * total, kept = 0;
        int nucleus = 0;
        while (nucleus < count && (nucleus == 0 || kept < wanted))
            kept += choices[nucleus++].weight;
        count = nucleus;
        total = kept;
    }
    car_random_key key = {.seed = options->seed, .purpose = CAR_RANDOM_SAMPLE};
    double left = (double)car_random_uniform(key, 0, number) * total;
    int chosen = 0;
    while (chosen < count - 1 && left >= choices[chosen].weight)
        left -= choices[chosen++].weight;
    return choices[chosen].id;
}

/* ---- the run ------------------------------------------------------------------------------------------ */

/* The outputs are wanted after the last token alone. */
static car_status read_tokens(lm_sampler *sampler, const int32_t *ids, size_t count,
                              car_error *error) {
    for (size_t done = 0, piece; done + 1 < count; done += piece) {
        piece = count - 1 - done < PIECE ? count - 1 - done : PIECE;
        CAR_TRY(car_session_run(sampler->session, (int)piece, ids + done, NULL, error));
    }
    return car_session_step(sampler->session, &ids[count - 1], sampler->outputs, error);
}

/* The prompt's tokens go in; a line end stands before it. */
static car_status read_prompt(lm_sampler *sampler, car_error *error) {
    const car_vocabulary *vocabulary = sampler->lm->vocabulary;
    const car_lm_sample_options *options = sampler->options;
    int32_t start = vocabulary->line_end >= 0 ? vocabulary->line_end : 0;
    CAR_TRY(read_tokens(sampler, &start, 1, error));
    if (options->prompt_length == 0)
        return CAR_OK;
    CAR_TRY(car_level_check(vocabulary->level, options->prompt, options->prompt_length,
                            "the prompt", error));
    car_tokens tokens;
    CAR_TRY(car_vocabulary_encode(vocabulary, options->prompt, options->prompt_length, false,
                                  sampler->lm->allocator, &tokens, error));
    car_status status =
        tokens.count > 0 ? read_tokens(sampler, tokens.ids, tokens.count, error) : CAR_OK;
    car_tokens_free(&tokens);
    return status;
}

static car_status draw_text(lm_sampler *sampler, car_error *error) {
    const car_lm_sample_options *options = sampler->options;
    const car_vocabulary *vocabulary = sampler->lm->vocabulary;
    bool words = vocabulary->level == CAR_LEVEL_WORD;
    char before = options->prompt_length > 0 ? options->prompt[options->prompt_length - 1] : '\n';
    bool at_start = before == '\n' || before == ' '; /* no space before a word */
    CAR_TRY(read_prompt(sampler, error));
    for (int64_t n = 0; n < options->length; n++) {
        int32_t id = draw(sampler, (uint64_t)n);
        if (id < 0)
            return car_fail(error, CAR_MODEL,
                            "the model's outputs are not finite numbers; train it again");
        size_t length;
        const char *symbol = car_vocabulary_symbol(vocabulary, id, &length);
        if (words && !at_start && id != vocabulary->line_end &&
            !sampler->write(sampler->context, " ", 1))
            return CAR_OK;
        at_start = id == vocabulary->line_end;
        if (!put(sampler, symbol, length))
            return CAR_OK;
        CAR_TRY(car_session_step(sampler->session, &id, sampler->outputs, error));
    }
    hand_on(sampler, true);
    return CAR_OK;
}

car_status car_lm_sample(const car_lm *lm, const car_lm_sample_options *options, car_lm_write write,
                         void *context, car_error *error) {
    if (!(options->temperature >= 0 && options->temperature <= 1e6) ||
        !(options->top_p > 0 && options->top_p <= 1) || options->length < 0)
        return car_fail(error, CAR_USAGE,
                        "sample: give a temperature of 0 or more, top-p above 0 and at most 1, "
                        "a length of 0 or more");
    lm_sampler sampler = {.lm = lm, .options = options, .write = write, .context = context};
    size_t symbols = (size_t)lm->vocabulary->count;
    const car_session_options one = {.lanes = 1, .steps = PIECE, .threads = 1};
    CAR_TRY(car_session_create(lm->model, &one, lm->allocator, &sampler.session, error));
    sampler.outputs = car_allocate(lm->allocator, symbols, sizeof *sampler.outputs);
    sampler.choices = car_allocate(lm->allocator, symbols, sizeof *sampler.choices);
    car_status status =
        sampler.outputs && sampler.choices
            ? draw_text(&sampler, error)
            : car_fail(error, CAR_MEMORY, "no memory to draw from %zu symbols", symbols);
    car_release(lm->allocator, sampler.outputs);
    car_release(lm->allocator, sampler.choices);
    car_session_free(sampler.session);
    return status;
}
