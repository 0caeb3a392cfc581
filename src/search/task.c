/*
 * task.c: the text of a task -> its data.
 *
 *   arithmetic[@DIGITS], xml              endless strings, made up: as many symbols as UPDATES_WORTH updates need, then again
 *   words:FILE or words:TRAIN,CHECK,TEST  words of a text, a line end is the word <eos>
 *   music:FILE or music:TRAIN,CHECK,TEST  piano rolls
 *   NAME[@DISTANCE]                       a task of probe
 *
 * In:  the text, sizes, a seed. Out: a task, from which batches.c makes batches.
 */
#include "search.h"
#include <stdlib.h>
#include <string.h>

enum { UPDATES_WORTH = 1000, PATH_ROOM = 4096, PATHS = 3 };
static const double held_out = 0.1; /* of a single file, for the check, and for the test */

const char car_task_help[] =
    "arithmetic[@DIGITS], xml, words:FILE, music:FILE (or TRAIN,CHECK,TEST), or a task of probe "
    "as in adding@50";

/* ---- Text --------------------------------------------------------------------------------------------- */

static car_status take_strings(car_task *task, int digits, car_error *error) {
    size_t symbols = (size_t)task->options.lanes * (size_t)(task->options.steps + 1);
    for (int set = 0; set < CAR_TASK_SETS; set++) {
        size_t updates = set == CAR_PROBE_TRAIN ? UPDATES_WORTH : (size_t)task->options.checks;
        car_strings strings = {.allocator = task->allocator};
        car_probe_set which = (car_probe_set)set;
        uint64_t seed = task->options.seed;
        car_status status =
            digits > 0
                ? car_strings_arithmetic(digits, seed, which, updates * symbols, &strings, error)
                : car_strings_xml(seed, which, updates * symbols, &strings, error);
        task->symbols[set] = (car_task_symbols){strings.ids, strings.counted, strings.count};
        CAR_TRY(status);
    }
    task->inputs = task->outputs = digits > 0 ? CAR_ARITHMETIC_SYMBOLS : CAR_XML_SYMBOLS;
    return CAR_OK;
}

/* The texts of the three sets within what has been read. */
typedef struct set_text {
    const char *data;
    size_t length;
} set_text;

static void cut_text(const car_corpus *corpus, set_text text[CAR_TASK_SETS]) {
    size_t test = car_corpus_cut(CAR_LEVEL_WORD, corpus->data, corpus->length, held_out);
    size_t check = car_corpus_cut(CAR_LEVEL_WORD, corpus->data, test, held_out / (1 - held_out));
    text[CAR_PROBE_TRAIN] = (set_text){corpus->data, check};
    text[CAR_PROBE_CHECK] = (set_text){corpus->data + check, test - check};
    text[CAR_PROBE_TEST] = (set_text){corpus->data + test, corpus->length - test};
}

static car_status encode_words(car_task *task, const set_text text[CAR_TASK_SETS],
                               const char *origin, car_error *error) {
    car_vocabulary *vocabulary;
    const set_text *train = &text[CAR_PROBE_TRAIN];
    CAR_TRY(car_vocabulary_build(CAR_LEVEL_WORD, train->data, train->length,
                                 task->options.vocabulary, task->allocator, &vocabulary, error));
    task->inputs = task->outputs = vocabulary->count;
    car_status status = CAR_OK;
    for (int set = 0; set < CAR_TASK_SETS && status == CAR_OK; set++) {
        car_tokens tokens = {0};
        status = car_vocabulary_encode(vocabulary, text[set].data, text[set].length, true,
                                       task->allocator, &tokens, error);
        task->symbols[set] = (car_task_symbols){.ids = tokens.ids, .count = tokens.count};
    }
    car_vocabulary_free(vocabulary);
    CAR_TRY(status);
    size_t least = (size_t)task->options.lanes * (size_t)(task->options.steps + 1);
    if (task->symbols[CAR_PROBE_TRAIN].count < least || task->symbols[CAR_PROBE_CHECK].count < 2 ||
        task->symbols[CAR_PROBE_TEST].count < 2)
        return car_fail(error, CAR_DATA,
                        "words:%.200s: %zu words to train on, %zu to check, %zu to test; an update "
                        "takes %zu; give a longer text",
                        origin, task->symbols[CAR_PROBE_TRAIN].count,
                        task->symbols[CAR_PROBE_CHECK].count, task->symbols[CAR_PROBE_TEST].count,
                        least);
    return CAR_OK;
}

static car_status read_words(car_task *task, char *const *paths, int count, car_error *error) {
    set_text text[CAR_TASK_SETS];
    car_corpus corpus[PATHS] = {0};
    car_status status = CAR_OK;
    for (int i = 0; i < count && status == CAR_OK; i++) {
        const char *path = paths[i];
        status = car_corpus_read(&path, 1, CAR_LEVEL_WORD, task->allocator, &corpus[i], error);
        text[i] = (set_text){corpus[i].data, corpus[i].length};
    }
    if (status == CAR_OK && count == 1)
        cut_text(&corpus[0], text);
    if (status == CAR_OK)
        status = encode_words(task, text, paths[0], error);
    for (int i = 0; i < count; i++)
        car_corpus_free(&corpus[i]);
    return status;
}

/* ---- Music -------------------------------------------------------------------------------------------- */

int64_t car_task_piece_batches(const car_task_pieces *pieces, int lanes, int steps) {
    int64_t batches = 0;
    for (int piece = pieces->first; piece < pieces->last; piece += lanes) {
        size_t longest = 0;
        for (int i = piece; i < piece + lanes && i < pieces->last; i++) {
            size_t length = pieces->roll->begin[i + 1] - pieces->roll->begin[i];
            longest = length > longest ? length : longest;
        }
        batches += (int64_t)((longest - 1 + (size_t)steps - 1) / (size_t)steps);
    }
    return batches;
}

static car_status read_music(car_task *task, char *const *paths, int count, car_error *error) {
    for (int i = 0; i < count; i++)
        CAR_TRY(car_roll_read(paths[i], task->allocator, &task->rolls[i], error));
    int pieces = task->rolls[0].pieces, tenth = (int)(held_out * pieces);
    const int cuts[] = {0, pieces - 2 * tenth, pieces - tenth, pieces};
    for (int set = 0; set < CAR_TASK_SETS; set++) {
        car_task_pieces *part = &task->pieces[set];
        if (count == 1)
            *part = (car_task_pieces){&task->rolls[0], cuts[set], cuts[set + 1], 0};
        else
            *part = (car_task_pieces){&task->rolls[set], 0, task->rolls[set].pieces, 0};
        part->batches = car_task_piece_batches(part, task->options.lanes, task->options.steps);
        if (part->batches == 0)
            return car_fail(error, CAR_DATA,
                            "music:%.200s: too few pieces or steps for a training, a check and a "
                            "test part; give 10 pieces or more, or three files",
                            paths[0]);
    }
    task->inputs = task->outputs = CAR_ROLL_PITCHES;
    return CAR_OK;
}

/* ---- Tasks of probe ----------------------------------------------------------------------------------- */

static car_status open_probe(car_task *task, const char *name, int distance, car_error *error) {
    const car_probe_task *probe = car_probe_task_find(name);
    if (!probe)
        return car_fail(error, CAR_USAGE, "--task %.60s: no such task; there are %s", name,
                        car_task_help);
    if (probe->stream || probe->digits)
        return car_fail(error, CAR_USAGE, "--task %s: %s; carousel probe %s has it", name,
                        probe->stream ? "its sequences never end" : "it reads images", name);
    CAR_TRY(car_probe_problem_make(probe, distance > 0 ? distance : probe->distance,
                                   task->options.seed, NULL, &task->problem, error));
    CAR_TRY(car_probe_batch_create(&task->problem, task->options.lanes, task->allocator,
                                   &task->probe, error));
    task->head = probe->head;
    task->pool = probe->pool;
    task->inputs = task->problem.inputs;
    task->outputs = task->problem.outputs;
    task->steps = task->problem.most_steps;
    return CAR_OK;
}

/* ---- The text of a task ------------------------------------------------------------------------------- */

void car_task_label(const char *text, char *label, size_t size) {
    const char *file = strchr(text, ':'), *end = file ? strchr(file, ',') : NULL;
    size_t length = end ? (size_t)(end - text) : strlen(text);
    size_t kind = file ? (size_t)(file - text) + 1 : 0, begin = kind;
    for (size_t i = begin; file && i < length; i++)
        begin = text[i] == '/' ? i + 1 : begin;
    snprintf(label, size, "%.*s%.*s", (int)kind, text, (int)(length - begin), text + begin);
}

/* Cuts `rest` at its commas, in place. */
static car_status split_paths(const char *task, char *rest, char *paths[PATHS], int *count,
                              car_error *error) {
    for (*count = 0; rest && *count < PATHS;) {
        paths[(*count)++] = rest;
        rest = strchr(rest, ',');
        if (rest)
            *rest++ = '\0';
    }
    if (rest || *count == 2 || !*paths[0])
        return car_fail(error, CAR_USAGE, "--task %.100s: give one file, or TRAIN,CHECK,TEST",
                        task);
    return CAR_OK;
}

static car_status open_files(car_task *task, const char *text, char *rest, car_error *error) {
    char *paths[PATHS];
    int count;
    CAR_TRY(split_paths(text, rest, paths, &count, error));
    if (strcmp(task->name, "words") == 0) {
        task->kind = CAR_TASK_TEXT;
        return read_words(task, paths, count, error);
    }
    if (strcmp(task->name, "music") != 0)
        return car_fail(error, CAR_USAGE,
                        "--task %.100s: only words and music read files; there "
                        "are %s",
                        text, car_task_help);
    task->kind = CAR_TASK_ROLL;
    task->head = CAR_HEAD_SIGMOID;
    return read_music(task, paths, count, error);
}

static car_status open_made_up(car_task *task, const char *text, const char *size,
                               car_error *error) {
    long number = size ? strtol(size, NULL, 10) : 0;
    if (size &&
        (!*size || strspn(size, "0123456789") != strlen(size) || number < 1 || number > 1 << 20))
        return car_fail(error, CAR_USAGE, "--task %.100s: a whole number is to stand behind @",
                        text);
    bool arithmetic = strcmp(task->name, "arithmetic") == 0, xml = strcmp(task->name, "xml") == 0;
    if (!arithmetic && !xml) {
        task->kind = CAR_TASK_PROBE;
        return open_probe(task, task->name, (int)number, error);
    }
    if ((xml && size) || number > CAR_ARITHMETIC_DIGITS)
        return car_fail(error, CAR_USAGE,
                        "--task %.100s: arithmetic takes 1 to %d digits, xml no "
                        "size",
                        text, CAR_ARITHMETIC_DIGITS);
    task->kind = CAR_TASK_TEXT;
    int digits = number > 0 ? (int)number : CAR_ARITHMETIC_DIGITS;
    return take_strings(task, arithmetic ? digits : 0, error);
}

static car_status open_text(car_task *task, const char *text, car_error *error) {
    char room[PATH_ROOM];
    size_t length = strlen(text);
    if (length >= sizeof room)
        return car_fail(error, CAR_USAGE, "--task %.100s...: too long", text);
    memcpy(room, text, length + 1);
    size_t name = strcspn(room, ":@");
    if (name >= sizeof task->name_room)
        return car_fail(error, CAR_USAGE, "--task %.100s: no such task; there are %s", text,
                        car_task_help);
    memcpy(task->name_room, room, name);
    task->name = task->name_room;
    if (room[name] == ':')
        return open_files(task, text, room + name + 1, error);
    return open_made_up(task, text, room[name] == '@' ? room + name + 1 : NULL, error);
}

/* ---- A task ------------------------------------------------------------------------------------------- */

/* The memory of the batch at hand; probe has its own. */
static car_status make_buffers(car_task *task, car_error *error) {
    size_t rows = (size_t)task->options.lanes * (size_t)task->steps, values, outputs;
    const car_allocator *allocator = task->allocator;
    bool fits = car_multiply(rows, (size_t)task->inputs, &values) &&
                car_multiply(rows, (size_t)task->outputs, &outputs);
    task->embeds = task->kind == CAR_TASK_TEXT;
    if (task->kind == CAR_TASK_PROBE)
        return CAR_OK;
    if (fits) {
        task->input = car_allocate(allocator, task->embeds ? rows : values, sizeof(float));
        task->target = car_allocate(allocator, task->embeds ? rows : outputs, sizeof(float));
        task->mask = car_allocate(allocator, rows, sizeof *task->mask);
        task->unused = car_allocate(allocator, rows, sizeof *task->unused);
        task->lengths = car_allocate(allocator, (size_t)task->options.lanes, sizeof(int));
        task->output = car_allocate(allocator, outputs, sizeof(float));
    }
    if (!task->input || !task->target || !task->mask || !task->unused || !task->lengths ||
        !task->output)
        return car_fail(error, CAR_MEMORY, "%s: no memory for batches of %d x %d; lower --batch",
                        task->name, task->options.lanes, task->steps);
    return CAR_OK;
}

car_status car_task_open(const char *text, const car_task_options *options,
                         const car_allocator *allocator, car_task **task, car_error *error) {
    car_task *made = car_allocate(allocator, 1, sizeof *made);
    if (!made)
        return car_fail(error, CAR_MEMORY, "--task %.100s: out of memory", text);
    *made = (car_task){.allocator = allocator, .options = *options, .steps = options->steps};
    car_status status = open_text(made, text, error);
    if (status == CAR_OK)
        status = make_buffers(made, error);
    if (status == CAR_OK)
        *task = made;
    else
        car_task_free(made);
    return status;
}

void car_task_free(car_task *task) {
    if (!task)
        return;
    const car_allocator *allocator = task->allocator;
    for (int set = 0; set < CAR_TASK_SETS; set++) {
        car_release(allocator, task->symbols[set].ids);
        car_release(allocator, task->symbols[set].counted);
        car_roll_free(&task->rolls[set]);
    }
    car_release(allocator, task->probe);
    car_release(allocator, task->input);
    car_release(allocator, task->target);
    car_release(allocator, task->mask);
    car_release(allocator, task->unused);
    car_release(allocator, task->lengths);
    car_release(allocator, task->output);
    car_release(allocator, task);
}

void car_task_net(const car_task *task, const char *cell, int units, int layers, car_text *text) {
    static const char *const heads[] = {"softmax", "sigmoid", "linear"};
    static const char *const pools[] = {"", " last", " mean"};
    car_text_format(text, "%s %d | %s %d", task->embeds ? "embed" : "project", units, cell, units);
    if (layers > 1)
        car_text_format(text, " x%d", layers);
    car_text_format(text, " | %s%s", heads[task->head], pools[task->pool]);
}
