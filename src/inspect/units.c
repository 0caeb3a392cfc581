/*
 * units.c: units that follow something in the text, and the text in the colours of one unit.
 *
 * In:  a model that reads, ids, the text that they stand for. Out: for every pattern the unit whose state goes with it
 *      most; the values of one unit after every token.
 *
 * Patterns are numbers after each token, made from the text alone: inside quotes, inside brackets, inside a comment (0 or
 * 1), and how far into the line it is. The unit is chosen on the first half of the text, by the size of its correlation
 *      r = cov(value, pattern) / (spread of the value * spread of the pattern),
 * and r is measured again on the second half: the best of many units looks better than it is where it was chosen.
 */
#include "inspect.h"
#include <math.h>
#include <string.h>

enum { NAME_LIMIT = 64 };

/* ---- The patterns ---------------------------------------------------------------------------------------- */

static const char *const pattern_names[CAR_PATTERN_COUNT] = {"quotes", "brackets", "comment",
                                                             "line"};

const char *car_pattern_name(car_pattern pattern) {
    return pattern_names[pattern];
}

/* Where a reader stands in a text. */
typedef struct car_place_in_text {
    bool quoted, line_comment, block_comment;
    int brackets, column;
} car_place_in_text;

static bool starts(const char *text, size_t left, const char *word) {
    return left >= strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

/* Quotes and brackets end at an empty line at the latest: one that is never closed must not go on for ever. */
static void end_line(car_place_in_text *place) {
    if (place->column == 0) {
        place->quoted = false;
        place->brackets = 0;
    }
    place->line_comment = false;
    place->column = 0;
}

static void read_byte(car_place_in_text *place, const char *text, size_t at, size_t length) {
    bool comment = place->line_comment || place->block_comment;
    const char *here = text + at;
    size_t left = length - at;
    if (*here == '\n') {
        end_line(place);
        return;
    }
    place->column += ((unsigned char)*here & 0xc0) != 0x80;
    if (place->block_comment && at > 0 && *here == '/' && here[-1] == '*')
        place->block_comment = false;
    else if (!comment && !place->quoted && starts(here, left, "/*"))
        place->block_comment = true;
    else if (!comment && !place->quoted && starts(here, left, "//") && (at == 0 || here[-1] != ':'))
        place->line_comment = true;
    else if (!comment &&
             (*here == '"' || starts(here, left, "\u201c") || starts(here, left, "\u201d")))
        place->quoted = *here == '"' ? !place->quoted : starts(here, left, "\u201c");
    else if (!comment && strchr("([{", *here))
        place->brackets++;
    else if (!comment && strchr(")]}", *here) && place->brackets > 0)
        place->brackets--;
}

void car_patterns_of(const char *text, const size_t *ends, size_t count,
                     float (*patterns)[CAR_PATTERN_COUNT]) {
    car_place_in_text place = {.column = 0};
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        for (; at < ends[i]; at++)
            read_byte(&place, text, at, ends[count - 1]);
        patterns[i][CAR_PATTERN_QUOTES] = place.quoted;
        patterns[i][CAR_PATTERN_BRACKETS] = place.brackets > 0;
        patterns[i][CAR_PATTERN_COMMENT] = place.line_comment || place.block_comment;
        patterns[i][CAR_PATTERN_LINE] = (float)place.column;
    }
}

/* ---- Correlations ---------------------------------------------------------------------------------------- */

/* A state of a layer: where its values are read. */
typedef struct car_watched {
    int layer, tap, units;
    size_t first; /* of its units among all */
    const char *name;
} car_watched;

typedef struct car_unit_search {
    const car_probe *probe;
    car_watched *watched;
    int watched_count;
    size_t units; /* of all */
    /* [half][units]: sums of v, v*v; [half][units][patterns]: of v*p */
    double *sum[2], *square[2], *product[2];
    double pattern_sum[2][CAR_PATTERN_COUNT], pattern_square[2][CAR_PATTERN_COUNT];
    double steps[2];
} car_unit_search;

static car_status open_search(car_unit_search *search, const car_model *model, car_arena *arena,
                              car_error *error) {
    const struct car_net *net = model->net;
    size_t states = 0;
    for (int i = 0; i < net->layer_count; i++)
        states +=
            net->layers[i].kind == CAR_LAYER_CELL ? (size_t)net->layers[i].cell->state_count : 0;
    search->watched = car_arena_allocate(arena, states + 1, sizeof *search->watched);
    for (int i = 0; i < net->layer_count && search->watched; i++) {
        const struct car_cell *cell = net->layers[i].cell;
        for (int s = 0; net->layers[i].kind == CAR_LAYER_CELL && s < cell->state_count; s++) {
            char name[NAME_LIMIT + 2];
            snprintf(name, sizeof name, "%s'", cell->state_names[s]);
            int tap = car_probe_find(search->probe, i, name), units = model->layers[i].size.units;
            if (tap < 0)
                continue;
            search->watched[search->watched_count++] =
                (car_watched){i, tap, units, search->units, cell->state_names[s]};
            search->units += (size_t)units;
        }
    }
    bool there = search->watched != NULL;
    for (int half = 0; half < 2; half++) {
        search->sum[half] = car_arena_allocate(arena, search->units + 1, sizeof(double));
        search->square[half] = car_arena_allocate(arena, search->units + 1, sizeof(double));
        search->product[half] =
            car_arena_allocate(arena, search->units + 1, CAR_PATTERN_COUNT * sizeof(double));
        there = there && search->sum[half] && search->square[half] && search->product[half];
    }
    return there ? CAR_OK : car_fail(error, CAR_MEMORY, "no memory to look for units");
}

static void add_step(car_unit_search *search, int half, const float pattern[CAR_PATTERN_COUNT]) {
    search->steps[half]++;
    for (int p = 0; p < CAR_PATTERN_COUNT; p++) {
        search->pattern_sum[half][p] += (double)pattern[p];
        search->pattern_square[half][p] += (double)pattern[p] * (double)pattern[p];
    }
    for (int w = 0; w < search->watched_count; w++) {
        const car_watched *watched = &search->watched[w];
        for (int unit = 0; unit < watched->units; unit++) {
            size_t at = watched->first + (size_t)unit;
            double value = car_probe_value(search->probe, watched->layer, watched->tap, unit);
            search->sum[half][at] += value;
            search->square[half][at] += value * value;
            for (int p = 0; p < CAR_PATTERN_COUNT; p++)
                search->product[half][at * CAR_PATTERN_COUNT + (size_t)p] +=
                    value * (double)pattern[p];
        }
    }
}

/* r of a unit and a pattern in one half; NaN where one of them never changes. */
static double correlation(const car_unit_search *search, int half, size_t unit, int pattern) {
    double n = search->steps[half];
    double mean = search->sum[half][unit] / n, level = search->pattern_sum[half][pattern] / n;
    double variance = search->square[half][unit] / n - mean * mean;
    double spread = search->pattern_square[half][pattern] / n - level * level;
    double together =
        search->product[half][unit * CAR_PATTERN_COUNT + (size_t)pattern] / n - mean * level;
    return n > 1 && variance > 1e-12 && spread > 1e-9 ? together / sqrt(variance * spread) : NAN;
}

static car_follower best_unit(const car_unit_search *search, int pattern) {
    car_follower best = {.pattern = (car_pattern)pattern, .layer = -1, .chosen = 0, .tested = NAN};
    for (int w = 0; w < search->watched_count; w++)
        for (int unit = 0; unit < search->watched[w].units; unit++) {
            size_t at = search->watched[w].first + (size_t)unit;
            double r = correlation(search, 0, at, pattern);
            if (!(fabs(r) > fabs(best.chosen)))
                continue;
            best.chosen = r;
            best.tested = correlation(search, 1, at, pattern);
            best.layer = search->watched[w].layer;
            best.state = search->watched[w].name;
            best.unit = unit;
        }
    best.share = search->pattern_sum[1][pattern] / search->steps[1];
    return best;
}

static car_status search_units(car_unit_search *search, const car_model *model, const int32_t *ids,
                               const float (*patterns)[CAR_PATTERN_COUNT], size_t count,
                               car_arena *arena, car_error *error) {
    CAR_TRY(open_search(search, model, arena, error));
    for (size_t i = 0; i < count; i++) {
        CAR_TRY(car_probe_step((car_probe *)search->probe, ids[i], error));
        add_step(search, i >= count / 2, patterns[i]);
    }
    return CAR_OK;
}

car_status car_model_followers(const car_model *model, const int32_t *ids,
                               const float (*patterns)[CAR_PATTERN_COUNT], size_t count,
                               car_arena *arena, car_follower followers[CAR_PATTERN_COUNT],
                               car_error *error) {
    car_probe *probe;
    car_unit_search search = {0};
    CAR_TRY(car_probe_open(model, arena, &probe, error));
    search.probe = probe;
    car_status status = search_units(&search, model, ids, patterns, count, arena, error);
    for (int p = 0; p < CAR_PATTERN_COUNT && status == CAR_OK; p++)
        followers[p] = best_unit(&search, p);
    car_probe_close(probe);
    return status;
}

/* ---- One unit -------------------------------------------------------------------------------------------- */

static car_status find_unit(const car_probe *probe, const car_model *model,
                            const car_unit_choice *unit, int *tap, car_error *error) {
    char name[NAME_LIMIT + 2];
    const struct car_net *net = model->net;
    if (unit->layer < 0 || unit->layer >= net->layer_count ||
        net->layers[unit->layer].kind != CAR_LAYER_CELL)
        return car_fail(error, CAR_USAGE, "layer %d of %s is no cell", unit->layer + 1, net->text);
    snprintf(name, sizeof name, "%.*s'", NAME_LIMIT, unit->state);
    *tap = car_probe_find(probe, unit->layer, name);
    if (*tap < 0)
        *tap = car_probe_find(probe, unit->layer, unit->state);
    if (*tap < 0)
        return car_fail(error, CAR_USAGE, "%.60s: neither a state nor an equation of %s, layer %d",
                        unit->state, net->layers[unit->layer].cell->name, unit->layer + 1);
    if (unit->unit < 0 || unit->unit >= model->layers[unit->layer].size.units)
        return car_fail(error, CAR_USAGE, "unit %d: layer %d has units 1 to %d", unit->unit + 1,
                        unit->layer + 1, model->layers[unit->layer].size.units);
    return CAR_OK;
}

car_status car_model_unit_values(const car_model *model, const int32_t *ids, size_t count,
                                 const car_unit_choice *unit, car_arena *arena, float *values,
                                 car_error *error) {
    car_probe *probe;
    int tap = -1;
    CAR_TRY(car_probe_open(model, arena, &probe, error));
    car_status status = find_unit(probe, model, unit, &tap, error);
    for (size_t i = 0; i < count && status == CAR_OK; i++) {
        status = car_probe_step(probe, ids[i], error);
        values[i] =
            status == CAR_OK ? (float)car_probe_value(probe, unit->layer, tap, unit->unit) : 0;
    }
    car_probe_close(probe);
    return status;
}
