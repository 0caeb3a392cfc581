/*
 * classify_data.c: the sequences of a classifier's training.
 *
 * In:  a file, and what is held out: --valid or a share of each class, drawn by the seed.
 * Out: the two parts; mean and deviation of each channel and the most frequent class, of the part that is learned from
 *      alone; for the checkpoint which files they were.
 */
#include "classify.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the split ---------------------------------------------------------------------------------------- */

/* Fisher & Yates. */
void car_classify_shuffle(car_random_key key, int64_t epoch, int *order, int count) {
    for (int i = count - 1; i > 0; i--) {
        uint32_t words[4];
        car_random_block(key, (uint64_t)epoch, (uint64_t)i, words);
        int other = (int)((((uint64_t)words[0] << 32) | words[1]) % (uint64_t)(i + 1));
        int kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

/* How many of `count` sequences of a class are held out: none of a single one, and at least one is left. */
static int held_out(double fraction, int count) {
    int out = (int)lround(fraction * count);
    return out < count ? out : count - 1;
}

/* order: the sequences to learn from, then those to validate on, each class with its share. */
static car_status split(const car_classify_options *options, car_classify_data *data,
                        car_error *error) {
    const car_sequences *set = &data->train;
    int classes = set->each ? 1 : set->classes.count, count = set->count;
    int *drawn = car_allocate(data->allocator, (size_t)count + 2 * (size_t)classes, sizeof *drawn);
    data->order = car_allocate(data->allocator, (size_t)count, sizeof *data->order);
    if (!drawn || !data->order) {
        car_release(data->allocator, drawn);
        return car_fail(error, CAR_MEMORY, "no memory for the order of %d sequences", count);
    }
    int *of_class = drawn + count, *left = of_class + classes;
    for (int i = 0; i < count; i++) {
        drawn[i] = i;
        of_class[set->each ? 0 : set->labels[i]]++;
    }
    double fraction = options->valid || options->folds > 0 ? 0 : options->valid_fraction;
    int judged = 0, learned = 0;
    for (int c = 0; c < classes; c++)
        judged += left[c] = of_class[c] > 0 ? held_out(fraction, of_class[c]) : 0;
    const car_random_key key = {
        .seed = (uint64_t)options->seed, .purpose = CAR_RANDOM_SHUFFLE, .layer = 1};
    car_classify_shuffle(key, 0, drawn, count);
    int learn = 0, judge = count - judged;
    for (int i = 0; i < count; i++) {
        int class = set->each ? 0 : set->labels[drawn[i]];
        if (left[class]-- > 0)
            data->order[judge++] = drawn[i];
        else
            data->order[learn++] = drawn[i];
    }
    learned = count - judged;
    car_release(data->allocator, drawn);
    data->learned = (car_part){set, learned, data->order};
    data->judged = (car_part){set, judged, data->order + learned};
    return CAR_OK;
}

/* Words that the part to learn from holds less than --least times become <unk>, characters that it lacks too. */
static car_status keep_frequent(const car_classify_options *options, car_classify_data *data,
                                car_error *error) {
    car_sequences *set = &data->train;
    size_t symbols = (size_t)set->symbols.count;
    int64_t *counts = car_allocate(data->allocator, symbols, sizeof *counts);
    bool *keep = car_allocate(data->allocator, symbols, sizeof *keep);
    car_status status =
        counts && keep ? CAR_OK : car_fail(error, CAR_MEMORY, "no memory for %zu words", symbols);
    for (int i = 0; status == CAR_OK && i < data->learned.count; i++) {
        int index = data->learned.index[i];
        for (size_t row = set->begin[index]; row < set->begin[index + 1]; row++)
            counts[set->ids[row]]++;
    }
    for (size_t s = 0; status == CAR_OK && s < symbols; s++)
        keep[s] = counts[s] >= (set->symbols.names[s][0] == 'w' ? options->least : 1);
    if (status == CAR_OK)
        status = car_sequences_keep_symbols(set, keep, error);
    car_release(data->allocator, counts);
    car_release(data->allocator, keep);
    return status;
}

/* ---- what is known of the part to learn from ----------------------------------------------------------- */

static int count_majority(const car_part *part, car_arena *arena) {
    const car_sequences *set = part->set;
    int64_t *counts = car_arena_allocate(arena, (size_t)set->classes.count, sizeof *counts);
    int best = 0;
    for (int i = 0; counts && i < part->count; i++) {
        size_t begin = set->begin[part->index[i]], end = set->begin[part->index[i] + 1];
        if (!set->each)
            counts[set->labels[part->index[i]]]++;
        for (size_t row = begin; set->each && row < end; row++)
            if (set->labels[row] >= 0)
                counts[set->labels[row]]++;
    }
    for (int c = 1; counts && c < set->classes.count; c++)
        best = counts[c] > counts[best] ? c : best;
    return best;
}

/* The class that each symbol has most often where it is labelled; the most frequent one for those without. */
static car_status find_usual(const car_part *part, car_classifier *shape, car_error *error) {
    const car_sequences *set = part->set;
    size_t classes = (size_t)shape->classes, symbols = (size_t)shape->symbols, cells;
    int32_t *usual = car_arena_allocate(shape->arena, symbols, sizeof *usual);
    int32_t *counts = car_multiply(symbols, classes, &cells)
                          ? car_allocate(shape->allocator, cells, sizeof *counts)
                          : NULL;
    if (!usual || !counts) {
        car_release(shape->allocator, counts);
        return car_fail(error, CAR_MEMORY, "no memory for the tags of %zu words", symbols);
    }
    for (int i = 0; i < part->count; i++)
        for (size_t row = set->begin[part->index[i]]; row < set->begin[part->index[i] + 1]; row++)
            if (set->labels[row] >= 0)
                counts[(size_t)set->ids[row] * classes + (size_t)set->labels[row]]++;
    for (size_t s = 0; s < symbols; s++) {
        const int32_t *row = counts + s * classes;
        usual[s] = shape->majority;
        for (size_t c = 0; c < classes; c++)
            usual[s] = row[c] > row[usual[s]] ? (int32_t)c : usual[s];
    }
    shape->usual = usual;
    car_release(shape->allocator, counts);
    return CAR_OK;
}

/* Sums in double over the part's rows: mean, then deviation; a constant channel keeps deviation 1. `change`: of the
 * differences to the step before, 0 at the first step. */
static void measure_channel(const car_part *part, int first, int channels, bool change,
                            double *mean, double *deviation) {
    const car_sequences *set = part->set;
    size_t width = (size_t)set->channels;
    double sum = 0, squares = 0, count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < part->count; i++)
            for (size_t row = set->begin[part->index[i]]; row < set->begin[part->index[i] + 1];
                 row++)
                for (int c = first; c < first + channels; c++) {
                    const float *at = set->values + row * width + (size_t)c;
                    bool begins = row == set->begin[part->index[i]];
                    double value = !change  ? (double)*at
                                   : begins ? 0
                                            : (double)*at - (double)*(at - width);
                    sum += pass == 0 ? value : 0;
                    count += pass == 0;
                    squares += pass == 1 ? (value - *mean) * (value - *mean) : 0;
                }
        if (pass == 0)
            *mean = sum / count;
    }
    *deviation = sqrt(squares / count);
    if (!(*deviation > 1e-6 * fabs(*mean) && *deviation > 1e-30))
        *deviation = 1;
}

static car_status measure(const car_classify_options *options, const car_classifier *known,
                          const car_classify_data *data, car_classifier *shape, car_error *error) {
    const car_sequences *set = &data->train;
    int inputs = car_classifier_inputs(shape), channels = set->channels;
    shape->mean = car_arena_allocate(shape->arena, (size_t)inputs + 1, sizeof *shape->mean);
    shape->deviation =
        car_arena_allocate(shape->arena, (size_t)inputs + 1, sizeof *shape->deviation);
    if (!shape->mean || !shape->deviation)
        return car_fail(error, CAR_MEMORY, "no memory for the scaling");
    bool all = strcmp(options->scaling, "all") == 0;
    bool each = strcmp(options->scaling, "channel") == 0;
    double mean = 0, deviation = 1;
    for (int i = 0; i < inputs; i++) {
        int c = i % channels;
        if (each || (all && c == 0))
            measure_channel(&data->learned, c, each ? 1 : channels, i >= channels, &mean,
                            &deviation);
        shape->mean[i] = known ? known->mean[i] : (float)mean;
        shape->deviation[i] = known ? known->deviation[i] : (float)deviation;
    }
    return CAR_OK;
}

/* The arena of the shape lives as long as the data; the names are the set's own. */
static car_status describe(const car_classify_options *options, const car_classifier *known,
                           car_classify_data *data, car_error *error) {
    car_classifier *shape = &data->shape;
    const car_sequences *set = &data->train;
    *shape = (car_classifier){.allocator = data->allocator,
                              .arena = car_arena_create(data->allocator),
                              .each = set->each,
                              .classes = set->classes.count,
                              .channels = set->channels,
                              .differences = known ? known->differences : options->differences,
                              .class_names = set->classes.names,
                              .channel_names = set->channel_names,
                              .symbols = set->symbols.count,
                              .symbol_names = set->symbols.names,
                              .level = options->level,
                              .temperature = 1};
    if (!shape->arena)
        return car_fail(error, CAR_MEMORY, "no memory for the classes");
    shape->majority = count_majority(&data->learned, shape->arena);
    if (shape->symbols > 0)
        CAR_TRY(find_usual(&data->learned, shape, error));
    return measure(options, known, data, shape, error);
}

/* ---- folds --------------------------------------------------------------------------------------------- */

/* part->order: the sequences to learn from, then those of the fold. The sequences of a class are dealt out in turn, where the
 * class before has stopped. */
static car_status deal(const car_classify_data *data, int fold, int folds, car_classify_data *part,
                       car_error *error) {
    const car_part *all = &data->learned;
    const car_sequences *set = all->set;
    int classes = set->each ? 1 : set->classes.count;
    int *place = car_allocate(data->allocator, (size_t)classes + 1, sizeof *place);
    part->order = car_allocate(data->allocator, (size_t)all->count, sizeof *part->order);
    if (!place || !part->order) {
        car_release(data->allocator, place);
        return car_fail(error, CAR_MEMORY, "no memory for the folds of %d sequences", all->count);
    }
    for (int i = 0; i < all->count; i++)
        place[set->each ? 1 : set->labels[all->index[i]] + 1]++;
    for (int c = 0; c < classes; c++)
        place[c + 1] += place[c];
    int learn = 0, judge = all->count;
    for (int i = 0; i < all->count; i++) {
        int number = place[set->each ? 0 : set->labels[all->index[i]]]++;
        if (number % folds == fold)
            part->order[--judge] = all->index[i];
        else
            part->order[learn++] = all->index[i];
    }
    car_release(data->allocator, place);
    part->learned = (car_part){set, learn, part->order};
    part->judged = (car_part){set, all->count - judge, part->order + judge};
    return CAR_OK;
}

car_status car_classify_fold(const car_classify_options *options, const car_classify_data *data,
                             int fold, int folds, car_classify_data *part, car_error *error) {
    *part = (car_classify_data){.allocator = data->allocator, .train = data->train};
    car_status status = deal(data, fold, folds, part, error);
    if (status == CAR_OK)
        status = describe(options, NULL, part, error);
    if (status != CAR_OK)
        car_classify_fold_free(part);
    return status;
}

void car_classify_fold_free(car_classify_data *part) {
    car_arena_free(part->shape.arena);
    car_release(part->allocator, part->order);
    *part = (car_classify_data){0};
}

/* ---- files -------------------------------------------------------------------------------------------- */

/* {"path":"/...","sha256":"..."}; false: standard input has no place to come back to. */
static bool describe_file(const char *path, const car_sequences *set, car_text *text) {
    char digest[65], *absolute = strcmp(path, "-") == 0 ? NULL : realpath(path, NULL);
    if (!absolute)
        return false;
    car_sequences_digest(set, digest);
    car_text_format(text, "{\"path\":");
    car_text_json_string(text, absolute, strlen(absolute));
    car_text_format(text, ",\"sha256\":\"%s\"}", digest);
    free(absolute);
    return true;
}

static car_status describe_files(const car_classify_options *options, const char *path,
                                 car_classify_data *data, car_error *error) {
    car_text text;
    car_text_start(&text, data->allocator);
    car_text_format(&text, "{\"train\":");
    bool known = describe_file(path, &data->train, &text);
    car_text_format(&text, ",\"valid\":");
    if (options->valid)
        known = describe_file(options->valid, &data->valid, &text) && known;
    else
        car_text_format(&text, "null");
    car_text_format(&text, "}");
    if (text.failed) {
        car_text_free(&text);
        return car_fail(error, CAR_MEMORY, "no memory for the names of the files");
    }
    if (known)
        data->files = text.data;
    else
        car_text_free(&text);
    return CAR_OK;
}

static car_sequences_options reading(const car_classify_options *options, bool each,
                                     const char *labels) {
    return (car_sequences_options){.format = options->format,
                                   .layout = options->layout,
                                   .id = options->id,
                                   .step = options->step,
                                   .label = options->label,
                                   .value = options->value,
                                   .labels = labels,
                                   .channels = (int)options->channels,
                                   .each = each,
                                   .level = options->level};
}

/* The validation file is read as the training file's classes and channels ask. */
static car_status read_valid(const car_classify_options *options, car_classify_data *data,
                             car_error *error) {
    const car_sequences *train = &data->train;
    const car_classifier like = {.symbols = train->symbols.count,
                                 .symbol_names = train->symbols.names,
                                 .level = options->level,
                                 .each = train->each,
                                 .classes = train->classes.count,
                                 .class_names = train->classes.names,
                                 .channels = train->channels,
                                 .channel_names = train->channel_names};
    CAR_TRY(car_classifier_read(&like, options->valid, reading(options, train->each, NULL),
                                data->allocator, &data->valid, error));
    data->judged = (car_part){&data->valid, data->valid.count, NULL};
    return CAR_OK;
}

static car_status read_all(const car_classify_options *options, const char *path, bool each,
                           const car_classifier *known, car_classify_data *data, car_error *error) {
    car_sequences_options how = reading(options, each, options->labels);
    if (known)
        CAR_TRY(car_classifier_read(known, path, how, data->allocator, &data->train, error));
    else if (options->task->text)
        CAR_TRY(car_sequences_read_conll(path, &how, data->allocator, &data->train, error));
    else
        CAR_TRY(car_sequences_read(path, &how, data->allocator, &data->train, error));
    CAR_TRY(split(options, data, error));
    if (!known && options->task->text)
        CAR_TRY(keep_frequent(options, data, error));
    if (options->valid)
        CAR_TRY(read_valid(options, data, error));
    CAR_TRY(describe(options, known, data, error));
    return describe_files(options, path, data, error);
}

car_status car_classify_read(const car_classify_options *options, const char *path, bool each,
                             const car_classifier *known, const car_allocator *allocator,
                             car_classify_data *data, car_error *error) {
    *data = (car_classify_data){.allocator = allocator};
    car_status status = read_all(options, path, each, known, data, error);
    if (status != CAR_OK)
        car_classify_data_free(data);
    return status;
}

void car_classify_data_free(car_classify_data *data) {
    car_sequences_free(&data->train);
    car_sequences_free(&data->valid);
    car_arena_free(data->shape.arena);
    car_release(data->allocator, data->order);
    car_release(data->allocator, data->files);
    *data = (car_classify_data){0};
}
