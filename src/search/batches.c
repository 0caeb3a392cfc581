/*
 * batches.c: batches of a task, and what a net's outputs are worth.
 *
 *   text    lanes of a contiguous stream side by side; the state is carried on, and begins anew when the text does
 *   rolls   pieces side by side, `steps` steps at a time; the state is carried on within a group of pieces; each step
 *           but the first of a piece is foretold from those before it
 *   probe   sequences of their own, from the initial state
 *
 * In:  a task, a set, the number of a batch. Out: a car_batch; a score.
 */
#include "search.h"
#include <math.h>
#include <string.h>

/* ---- Text --------------------------------------------------------------------------------------------- */

static car_stream stream_of(const car_task *task, car_probe_set set, const int32_t *ids) {
    const car_task_options *options = &task->options;
    size_t count = task->symbols[set].count;
    if (set == CAR_PROBE_TRAIN)
        return car_stream_for_training(ids, count, options->lanes, options->steps);
    size_t most = (size_t)options->lanes * (size_t)options->steps * (size_t)options->checks + 1;
    return car_stream_for_judging(ids, count < most ? count : most, options->lanes, options->steps);
}

static void fill_text(car_task *task, car_probe_set set, int64_t index, car_batch *batch) {
    const car_task_symbols *symbols = &task->symbols[set];
    car_stream stream = stream_of(task, set, symbols->ids);
    int64_t at = index % stream.batches;
    int32_t *target = task->target;
    int steps = car_stream_batch(&stream, at, task->input, target);
    if (symbols->counted) {
        stream = stream_of(task, set, symbols->counted);
        car_stream_batch(&stream, at, task->unused, task->mask);
        for (int i = 0; i < steps * task->options.lanes; i++)
            target[i] = task->mask[i] > 0 ? target[i] : -1;
    }
    *batch =
        (car_batch){.steps = steps, .reset = at == 0, .input = task->input, .target = task->target};
}

/* ---- Rolls -------------------------------------------------------------------------------------------- */

static void write_step(const uint64_t notes[2], float *values) {
    for (int p = 0; p < CAR_ROLL_PITCHES; p++)
        values[p] = (float)(notes[p / 64] >> (p % 64) & 1);
}

/* Steps [from, from + steps) of pieces first .. first + lanes - 1. Returns the most steps that a lane has. */
static int write_pieces(car_task *task, const car_task_pieces *pieces, int first, size_t from) {
    int lanes = task->options.lanes, most = 0;
    const car_roll *roll = pieces->roll;
    float *input = task->input, *target = task->target;
    for (int lane = 0; lane < lanes; lane++) {
        int piece = first + lane;
        task->lengths[lane] = 0;
        if (piece >= pieces->last)
            continue;
        size_t begin = roll->begin[piece] + from, end = roll->begin[piece + 1];
        for (int t = 0; t < task->steps && begin + (size_t)t + 1 < end; t++) {
            size_t place = ((size_t)t * (size_t)lanes + (size_t)lane) * CAR_ROLL_PITCHES;
            write_step(roll->notes[begin + (size_t)t], input + place);
            write_step(roll->notes[begin + (size_t)t + 1], target + place);
            task->lengths[lane] = t + 1;
        }
        most = task->lengths[lane] > most ? task->lengths[lane] : most;
    }
    return most;
}

static void fill_rolls(car_task *task, car_probe_set set, int64_t index, car_batch *batch) {
    const car_task_pieces *pieces = &task->pieces[set];
    int lanes = task->options.lanes;
    car_task_pieces group = {.roll = pieces->roll, .first = pieces->first};
    int64_t left = index % pieces->batches;
    int steps = 0;
    size_t from = 0;
    for (; group.first < pieces->last; group.first += lanes) {
        int end = group.first + lanes;
        group.last = end < pieces->last ? end : pieces->last;
        int64_t batches = car_task_piece_batches(&group, lanes, task->steps);
        if (left < batches) {
            from = (size_t)left * (size_t)task->steps;
            steps = write_pieces(task, pieces, group.first, from);
            break;
        }
        left -= batches;
    }
    *batch = (car_batch){.steps = steps,
                         .reset = from == 0,
                         .input = task->input,
                         .target = task->target,
                         .lengths = task->lengths};
}

/* ---- All ---------------------------------------------------------------------------------------------- */

int64_t car_task_batches(const car_task *task, car_probe_set set) {
    int64_t checks = task->options.checks;
    if (task->kind == CAR_TASK_PROBE)
        return checks;
    int64_t there = task->kind == CAR_TASK_ROLL
                        ? task->pieces[set].batches
                        : stream_of(task, set, task->symbols[set].ids).batches;
    return there < checks ? there : checks;
}

void car_task_fill(car_task *task, car_probe_set set, int64_t index, car_batch *batch) {
    if (task->kind == CAR_TASK_TEXT) {
        fill_text(task, set, index, batch);
        return;
    }
    if (task->kind == CAR_TASK_ROLL) {
        fill_rolls(task, set, index, batch);
        return;
    }
    car_probe_batch *probe = task->probe;
    car_probe_fill(&task->problem, set, (uint64_t)index * (uint64_t)task->options.lanes, probe);
    *batch = (car_batch){.steps = probe->steps,
                         .reset = true,
                         .input = probe->input,
                         .lengths = probe->lengths,
                         .target = probe->classes ? (void *)probe->classes : probe->values};
}

float *car_task_outputs(car_task *task) {
    return task->kind == CAR_TASK_PROBE ? task->probe->output : task->output;
}

/* ---- Judging ------------------------------------------------------------------------------------------ */

static void judge_symbol(const float *row, int count, int32_t class, car_task_score *score) {
    int best = 0;
    double sum = 0;
    for (int i = 1; i < count; i++)
        best = row[i] > row[best] ? i : best;
    for (int i = 0; i < count; i++)
        sum += exp((double)(row[i] - row[best]));
    score->right += best == class;
    score->items++;
    score->targets++;
    score->nats += log(sum) - (double)(row[class] - row[best]);
}

static void judge_step(const float *row, const float *target, car_task_score *score) {
    for (int i = 0; i < CAR_ROLL_PITCHES; i++) {
        double z = (double)row[i];
        bool sounds = target[i] > 0, said = z > 0;
        score->right += sounds && said;
        score->items += sounds || said;
        score->nats += fmax(z, 0) - (sounds ? z : 0) + log1p(exp(-fabs(z)));
    }
    score->targets++;
}

static void judge_probe(car_task *task, car_task_score *score) {
    car_probe_score judged = {0};
    car_probe_activate(&task->problem, task->probe);
    for (int lane = 0; lane < task->probe->lanes; lane++) {
        car_probe_lane one = car_probe_lane_of(&task->problem, task->probe, lane);
        task->problem.task->judge(&task->problem, &one, &judged);
    }
    score->right += (double)judged.right;
    score->items += (double)judged.items;
}

void car_task_judge(car_task *task, const car_batch *batch, car_task_score *score) {
    int lanes = task->options.lanes;
    if (task->kind == CAR_TASK_PROBE) {
        judge_probe(task, score);
        return;
    }
    for (int row = 0; row < batch->steps * lanes; row++) {
        const float *output = task->output + (size_t)row * (size_t)task->outputs;
        if (task->kind == CAR_TASK_ROLL) {
            const float *target = (const float *)batch->target + (size_t)row * CAR_ROLL_PITCHES;
            if (row / lanes < batch->lengths[row % lanes])
                judge_step(output, target, score);
        } else {
            int32_t class = ((const int32_t *)batch->target)[row];
            if (class >= 0)
                judge_symbol(output, task->outputs, class, score);
        }
    }
}

double car_task_accuracy(const car_task_score *score) {
    return score->items > 0 ? score->right / score->items : 0;
}

double car_task_nats(const car_task_score *score) {
    return score->targets > 0 ? score->nats / score->targets : NAN;
}

double car_task_measure(const car_task *task, const car_task_score *score) {
    if (task->kind != CAR_TASK_ROLL)
        return car_task_accuracy(score);
    double nats = car_task_nats(score);
    return nats > 0 ? 1 / nats : 0;
}
