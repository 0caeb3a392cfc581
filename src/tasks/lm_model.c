/*
 * lm_model.c: a trained language model put to use: how likely is a text?
 *
 * In:  a model file with lm.vocabulary in its metadata, texts as ids.
 * Out: -log P(token | all before it) summed, in nats:
 *      -log softmax(y)[k] = log(sum_j exp(y_j - m)) + m - y_k,  m = max y, summed in double.
 *
 * The state is carried through the whole text; a text is run in chunks, which changes no bit. Or the model goes on
 * learning while it is judged: piece by piece, judged first, then learned from.
 */
#include "tasks.h"
#include <math.h>
#include <string.h>

enum { CHUNK_STEPS = 64, CHUNK_OUTPUTS = 1 << 22, LEARN_STEPS = 32 };

static car_status check_model(const char *path, const car_lm *lm, car_error *error) {
    int symbols = lm->vocabulary->count;
    car_error cause;
    if (car_model_input_size(lm->model) != symbols || car_model_output_size(lm->model) != symbols)
        return car_fail(error, CAR_MODEL,
                        "%.200s: its vocabulary has %d symbols, but its net reads %d and foretells "
                        "%d; the file is damaged",
                        path, symbols, car_model_input_size(lm->model),
                        car_model_output_size(lm->model));
    if (car_lm_check_net(lm->model->net, &cause) != CAR_OK)
        return car_fail(error, CAR_MODEL, "%.200s: %.280s", path, cause.message);
    return CAR_OK;
}

car_status car_lm_load(const char *path, const car_allocator *allocator, car_lm *lm,
                       car_error *error) {
    *lm = (car_lm){.allocator = allocator};
    CAR_TRY(car_model_load(path, allocator, &lm->model, error));
    const char *json = car_model_metadata(lm->model, "lm.vocabulary");
    car_status status =
        json ? car_vocabulary_from_json(json, path, allocator, &lm->vocabulary, error)
             : car_fail(error, CAR_MODEL,
                        "%.200s: a model without a vocabulary, so not a language model; make one "
                        "with `carousel lm train`",
                        path);
    if (status == CAR_OK)
        status = check_model(path, lm, error);
    if (status != CAR_OK)
        car_lm_free(lm);
    return status;
}

void car_lm_free(car_lm *lm) {
    car_model_free(lm->model);
    car_vocabulary_free(lm->vocabulary);
    *lm = (car_lm){0};
}

car_status car_lm_convert(car_lm *lm, const char *precision, car_error *error) {
    car_model *converted;
    CAR_TRY(car_model_convert(lm->model, precision, lm->allocator, &converted, error));
    car_model_free(lm->model);
    lm->model = converted;
    return CAR_OK;
}

/* -log softmax(outputs)[target] */
static double nats_of(const float *outputs, int count, int target) {
    float largest = outputs[0];
    for (int i = 1; i < count; i++)
        largest = outputs[i] > largest ? outputs[i] : largest;
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += (double)expf(outputs[i] - largest);
    return log(sum) + (double)largest - (double)outputs[target];
}

/* Runs the stream through the session and adds up what its targets cost. */
static car_status judge_stream(const car_lm *lm, const car_stream *stream, car_session *session,
                               int32_t *input, int32_t *target, float *outputs, car_lm_score *score,
                               car_error *error) {
    int symbols = lm->vocabulary->count;
    for (int64_t i = 0; i < stream->batches; i++) {
        int steps = car_stream_batch(stream, i, input, target);
        CAR_TRY(car_session_run(session, steps, input, outputs, error));
        for (int row = 0; row < steps * stream->lanes; row++) {
            if (target[row] < 0)
                continue;
            score->nats += nats_of(outputs + (size_t)row * (size_t)symbols, symbols, target[row]);
            score->unknown += target[row] == lm->vocabulary->unknown;
            score->tokens++;
        }
    }
    if (!isfinite(score->nats))
        return car_fail(error, CAR_MODEL,
                        "the model's outputs are not finite numbers; train it again");
    return CAR_OK;
}

static car_status check_count(const car_tokens *tokens, car_error *error) {
    if (tokens->count >= 2)
        return CAR_OK;
    return car_fail(error, CAR_DATA,
                    "the text has %zu token%s; two are the least, since each is judged from "
                    "those before it",
                    tokens->count, tokens->count == 1 ? "" : "s");
}

/* What a score has beside its sums. */
static void finish_score(const car_lm *lm, const car_tokens *tokens, double begin,
                         car_lm_score *score) {
    bool words = lm->vocabulary->level == CAR_LEVEL_WORD;
    score->characters = words ? tokens->characters : score->tokens;
    score->seconds = car_seconds() - begin;
}

car_status car_lm_judge(const car_lm *lm, const car_tokens *tokens, int lanes, int threads,
                        car_lm_score *score, car_error *error) {
    *score = (car_lm_score){0};
    CAR_TRY(check_count(tokens, error));
    double begin = car_seconds();
    size_t row = (size_t)lanes * (size_t)lm->vocabulary->count;
    int steps = row * CHUNK_STEPS <= CHUNK_OUTPUTS ? CHUNK_STEPS : (int)(CHUNK_OUTPUTS / row) + 1;
    car_stream stream = car_stream_for_judging(tokens->ids, tokens->count, lanes, steps);
    car_session_options options = {.lanes = lanes, .steps = steps, .threads = threads};
    car_session *session = NULL;
    CAR_TRY(car_session_create(lm->model, &options, lm->allocator, &session, error));
    size_t rows = (size_t)steps * (size_t)lanes;
    int32_t *ids = car_allocate(lm->allocator, rows, 2 * sizeof *ids);
    float *outputs = car_allocate(lm->allocator, row * (size_t)steps, sizeof *outputs);
    car_status status =
        ids && outputs
            ? judge_stream(lm, &stream, session, ids, ids + rows, outputs, score, error)
            : car_fail(error, CAR_MEMORY, "no memory for the outputs of %zu steps", rows);
    car_release(lm->allocator, ids);
    car_release(lm->allocator, outputs);
    car_session_free(session);
    finish_score(lm, tokens, begin, score);
    return status;
}

static car_status judge_and_learn(const car_lm *lm, const car_stream *stream, car_trainer *trainer,
                                  double rate, int32_t *input, int32_t *target, car_lm_score *score,
                                  car_error *error) {
    for (int64_t i = 0; i < stream->batches; i++) {
        int steps = car_stream_batch(stream, i, input, target);
        car_batch batch = {.steps = steps, .reset = i == 0, .input = input, .target = target};
        car_step_result judged;
        CAR_TRY(car_trainer_evaluate(trainer, &batch, &judged, error));
        CAR_TRY(car_trainer_step(trainer, &batch, (float)rate, NULL, error));
        score->nats += judged.loss * (double)judged.counted;
        score->tokens += (size_t)judged.counted;
        for (int row = 0; row < steps; row++)
            score->unknown += target[row] == lm->vocabulary->unknown;
    }
    return CAR_OK;
}

car_status car_lm_judge_learning(const car_lm *lm, const car_tokens *tokens, double rate,
                                 int threads, car_lm_score *score, car_error *error) {
    *score = (car_lm_score){0};
    CAR_TRY(check_count(tokens, error));
    double begin = car_seconds();
    car_stream stream = car_stream_for_judging(tokens->ids, tokens->count, 1, LEARN_STEPS);
    const car_trainer_options options = {
        .batch = 1, .steps = LEARN_STEPS, .threads = threads, .clip_norm = 1};
    car_trainer *trainer = NULL;
    CAR_TRY(car_trainer_create(lm->model, &options, lm->allocator, &trainer, error));
    int32_t input[LEARN_STEPS], target[LEARN_STEPS];
    car_status status = judge_and_learn(lm, &stream, trainer, rate, input, target, score, error);
    car_trainer_free(trainer);
    finish_score(lm, tokens, begin, score);
    return status;
}

car_status car_lm_score_line(const car_lm *lm, const char *line, size_t length, bool end,
                             car_lm_score *score, car_error *error) {
    *score = (car_lm_score){0};
    const car_vocabulary *vocabulary = lm->vocabulary;
    if (vocabulary->line_end < 0)
        return car_fail(error, CAR_DATA,
                        "the model has never seen a line end, so lines cannot be scored on their "
                        "own; use `lm eval`");
    CAR_TRY(car_level_check(vocabulary->level, line, length, "line", error));
    car_tokens tokens;
    CAR_TRY(car_vocabulary_encode(vocabulary, line, length, false, lm->allocator, &tokens, error));
    size_t count = 1 + tokens.count + end;
    int32_t *ids = car_allocate(lm->allocator, count, sizeof *ids);
    if (!ids) {
        car_tokens_free(&tokens);
        return car_fail(error, CAR_MEMORY, "no memory for a line of %zu tokens", count);
    }
    ids[0] = ids[count - 1] = vocabulary->line_end;
    if (tokens.count > 0)
        memcpy(ids + 1, tokens.ids, tokens.count * sizeof *ids);
    car_tokens framed = {
        .ids = ids, .count = count, .characters = tokens.characters + (end ? 1 : 0)};
    car_status status = count > 1 ? car_lm_judge(lm, &framed, 1, 1, score, error) : CAR_OK;
    car_release(lm->allocator, ids);
    car_tokens_free(&tokens);
    return status;
}
