/*
 * layout.c: where every part stands.
 *
 * In: parts and feeds. Out: a place on the grid for each. From top to bottom:
 *
 *      c ──────×───────+──────────► c'    belts: states that elementwise steps alone carry to their next value,
 *              |      ×   tanh            the one that feeds others beneath them
 *              |      |    ×              mid parts: upwards from layers to belts, downwards from belts to the ends
 *             [f]  [i][g] [o]             layers, in one row
 *      h ──•───┴────┴──┴───┴──────► h'    bus: states that only layers carry on; merges
 *          x
 *
 * Parts are placed in the order in which they can be computed, each as soon as what feeds it stands: a step above the
 * last of its layers, a layer right of all before it.
 */
#include "figure.h"
#include <limits.h>
#include <string.h>

enum { LEFT_EDGE = 3, FIRST_MERGE = 7, ROW_GAP = 3, BUS_GAP = 3, NONE = INT_MAX };

static bool is_source(const car_part *part) {
    return part->kind == CAR_PART_INPUT || part->kind == CAR_PART_STATE;
}

static bool is_end(const car_part *part) {
    return part->kind == CAR_PART_NEXT || part->kind == CAR_PART_OUTPUT;
}

static int find_part(const car_figure *figure, car_part_kind kind, int state) {
    for (int i = 0; i < figure->count; i++)
        if (figure->parts[i].kind == kind && figure->parts[i].state == state)
            return i;
    return -1;
}

/* ---- Order, reach, belts ------------------------------------------------------------------------------ */

static void visit(car_figure *figure, int number, bool *seen, int *done) {
    if (seen[number])
        return;
    seen[number] = true;
    const car_part *part = &figure->parts[number];
    for (int i = 0; i < part->feed_count; i++)
        visit(figure, part->feeds[i].part, seen, done);
    figure->order[(*done)++] = number;
}

static void find_reach(car_figure *figure) {
    size_t count = (size_t)figure->count;
    for (int k = 0; k < figure->count; k++) {
        int number = figure->order[k];
        const car_part *part = &figure->parts[number];
        for (int i = 0; i < part->feed_count; i++) {
            int from = part->feeds[i].part;
            figure->reaches[(size_t)from * count + (size_t)number] = true;
            for (size_t a = 0; a < count; a++)
                if (figure->reaches[a * count + (size_t)from])
                    figure->reaches[a * count + (size_t)number] = true;
        }
    }
}

/* The shortest way from a state to its next value over free elementwise parts; marks them with `belt`. */
static bool claim_belt(car_figure *figure, int state, int belt) {
    int before[CAR_PART_LIMIT], queue[CAR_PART_LIMIT], read = 0, written = 0;
    int from = find_part(figure, CAR_PART_STATE, state),
        to = find_part(figure, CAR_PART_NEXT, state);
    for (int i = 0; i < figure->count; i++)
        before[i] = -1;
    queue[written++] = from;
    before[from] = from;
    while (read < written && before[to] < 0) {
        int at = queue[read++];
        for (int i = 0; i < figure->count; i++) {
            const car_part *part = &figure->parts[i];
            bool passes =
                i == to || ((part->kind == CAR_PART_STEP || part->kind == CAR_PART_FUNCTION) &&
                            part->belt < 0);
            for (int k = 0; k < part->feed_count && passes && before[i] < 0; k++)
                if (part->feeds[k].part == at) {
                    before[i] = at;
                    queue[written++] = i;
                }
        }
    }
    if (before[to] < 0)
        return false;
    for (int at = to; at != from; at = before[at])
        figure->parts[at].belt = belt;
    figure->parts[from].belt = belt;
    return true;
}

/* Does a part of belt a feed one of belt b? */
static bool feeds_belt(const car_figure *figure, int a, int b) {
    for (int i = 0; i < figure->count; i++)
        for (int k = 0; k < figure->count; k++)
            if (figure->parts[i].belt == a && figure->parts[i].kind != CAR_PART_STATE &&
                figure->parts[k].belt == b &&
                figure->reaches[(size_t)i * (size_t)figure->count + (size_t)k])
                return true;
    return false;
}

/* Numbers the belts from the bottom: one that feeds others stands beneath them, else the one declared later. */
static void sort_belts(car_figure *figure) {
    int count = figure->belt_count, place[CAR_PART_LIMIT], left = count, states[CAR_PART_LIMIT];
    bool done[CAR_PART_LIMIT] = {false};
    for (int next = 0; next < count; next++, left--) {
        int chosen = -1;
        for (int b = count - 1; b >= 0 && chosen < 0; b--) {
            bool ready = !done[b];
            for (int other = 0; other < count && ready; other++)
                ready = done[other] || other == b || !feeds_belt(figure, other, b);
            if (ready)
                chosen = b;
        }
        for (int b = count - 1; b >= 0 && chosen < 0; b--)
            if (!done[b])
                chosen = b;
        done[chosen] = true;
        place[chosen] = next;
        states[next] = figure->belt_state[chosen];
    }
    memcpy(figure->belt_state, states, sizeof *states * (size_t)count);
    for (int i = 0; i < figure->count; i++)
        if (figure->parts[i].belt >= 0)
            figure->parts[i].belt = place[figure->parts[i].belt];
}

/* The lowest belt that a mid part leads to by mid parts alone, NONE when none. */
static int target_of(const car_figure *figure, int number) {
    int target = NONE;
    for (int i = 0; i < figure->count; i++) {
        const car_part *part = &figure->parts[i];
        for (int k = 0; k < part->feed_count; k++) {
            if (part->feeds[k].part != number)
                continue;
            int reached = part->belt >= 0 && !is_end(part) ? part->belt
                          : part->mid                      ? part->region
                                                           : NONE;
            target = reached < target ? reached : target;
        }
    }
    return target;
}

/* Rows count from the bottom on the way up, from the top on the way down (from a belt to an end). */
static void choose_regions(car_figure *figure, bool *down) {
    for (int k = figure->count - 1; k >= 0; k--) {
        car_part *part = &figure->parts[figure->order[k]];
        part->mid = part->belt < 0 && !is_source(part) && !is_end(part) &&
                    part->kind != CAR_PART_LAYER && part->kind != CAR_PART_MERGE;
        part->region = part->mid ? target_of(figure, figure->order[k]) : NONE;
    }
    for (int k = 0; k < figure->count; k++) {
        int number = figure->order[k];
        car_part *part = &figure->parts[number];
        if (!part->mid)
            continue;
        int level = 0;
        for (int i = 0; i < part->feed_count; i++) {
            const car_part *from = &figure->parts[part->feeds[i].part];
            bool carried = from->belt >= 0 && !is_source(from);
            down[number] |= part->region == NONE && (carried || down[part->feeds[i].part]);
        }
        for (int i = 0; i < part->feed_count; i++) {
            const car_part *from = &figure->parts[part->feeds[i].part];
            bool same = from->mid && from->region == (part->region == NONE ? 0 : part->region) &&
                        down[part->feeds[i].part] == down[number];
            if (same && from->row > level)
                level = from->row;
        }
        part->row = level + 1;
        part->region = part->region == NONE ? 0 : part->region;
    }
}

static void turn_down_rows(car_figure *figure, const bool *down) {
    int most[CAR_PART_LIMIT + 1] = {0};
    for (int i = 0; i < figure->count; i++)
        if (figure->parts[i].mid && figure->parts[i].row > most[figure->parts[i].region])
            most[figure->parts[i].region] = figure->parts[i].row;
    for (int i = 0; i < figure->count; i++)
        if (down[i])
            figure->parts[i].row = most[figure->parts[i].region] + 1 - figure->parts[i].row;
}

bool car_layout_prepare(car_figure *figure) {
    size_t count = (size_t)figure->count;
    bool seen[CAR_PART_LIMIT] = {false}, down[CAR_PART_LIMIT] = {false};
    int done = 0;
    figure->order = car_arena_allocate(figure->arena, count, sizeof *figure->order);
    figure->reaches = car_arena_allocate(figure->arena, count * count, sizeof *figure->reaches);
    figure->belt_state = car_arena_allocate(figure->arena, count, sizeof *figure->belt_state);
    if (!figure->order || !figure->reaches || !figure->belt_state)
        return false;
    for (int i = 0; i < figure->count; i++)
        visit(figure, i, seen, &done);
    find_reach(figure);
    for (int s = 0; s < figure->cell->state_count; s++)
        if (claim_belt(figure, s, figure->belt_count))
            figure->belt_state[figure->belt_count++] = s;
    sort_belts(figure);
    choose_regions(figure, down);
    turn_down_rows(figure, down);
    return true;
}

/* ---- Layers in the order in which the belts meet them ------------------------------------------------- */

static void collect_layers(const car_figure *figure, int number, bool *seen, int *layers,
                           int *count) {
    if (seen[number])
        return;
    seen[number] = true;
    const car_part *part = &figure->parts[number];
    for (int i = 0; i < part->feed_count; i++)
        collect_layers(figure, part->feeds[i].part, seen, layers, count);
    if (part->kind == CAR_PART_LAYER)
        layers[(*count)++] = number;
}

int car_layout_layers(const car_figure *figure, int *layers) {
    bool seen[CAR_PART_LIMIT] = {false};
    int count = 0;
    for (int b = 0; b < figure->belt_count; b++)
        for (int k = 0; k < figure->count; k++)
            if (figure->parts[figure->order[k]].belt == b)
                collect_layers(figure, figure->order[k], seen, layers, &count);
    for (int i = 0; i < figure->count; i++)
        collect_layers(figure, i, seen, layers, &count);
    return count;
}

/* ---- Columns ------------------------------------------------------------------------------------------ */

typedef struct car_placer {
    car_figure *figure;
    bool placed[CAR_PART_LIMIT];
    int last_layer;               /* column */
    int belt_end[CAR_PART_LIMIT]; /* [belts] column of the last part placed on it */
} car_placer;

static bool is_ready(const car_placer *placer, int number) {
    const car_part *part = &placer->figure->parts[number];
    for (int i = 0; i < part->feed_count; i++)
        if (!placer->placed[part->feeds[i].part])
            return false;
    return !placer->placed[number];
}

static bool is_taken(const car_placer *placer, const car_part *wanted, int column) {
    for (int i = 0; i < placer->figure->count; i++) {
        const car_part *part = &placer->figure->parts[i];
        if (placer->placed[i] && part->mid && wanted->mid && part->column == column &&
            part->region == wanted->region && part->row == wanted->row)
            return true;
    }
    return false;
}

static void place_part(car_placer *placer, int number) {
    car_figure *figure = placer->figure;
    car_part *part = &figure->parts[number];
    int column = is_source(part) ? -1 : 0;
    for (int i = 0; i < part->feed_count; i++) {
        const car_part *from = &figure->parts[part->feeds[i].part];
        bool later = (part->kind == CAR_PART_LAYER && from->kind != CAR_PART_MERGE) ||
                     part->kind == CAR_PART_MERGE ||
                     (part->belt < 0 && from->belt >= 0 && !is_source(from));
        int least = from->column < 0 ? 0 : from->column + later;
        column = least > column ? least : column;
    }
    if (part->kind == CAR_PART_LAYER) {
        column = column > placer->last_layer ? column : placer->last_layer + 1;
        column += part->nudge;
        placer->last_layer = column;
    } else if (part->kind == CAR_PART_MERGE) {
        bool sources = true;
        for (int i = 0; i < part->feed_count; i++)
            sources &= is_source(&figure->parts[part->feeds[i].part]);
        column = sources ? -1 : column;
    } else if (part->belt >= 0 && !is_source(part)) {
        int *end = &placer->belt_end[part->belt];
        column = (column > *end ? column : *end + 1) + part->nudge;
        *end = column;
    } else if (part->mid) {
        column += part->nudge;
        while (is_taken(placer, part, column))
            column++;
    }
    part->column = is_end(part) ? -1 : column;
    placer->placed[number] = true;
}

static void place_columns(car_figure *figure, const int *layers, int layer_count) {
    car_placer placer = {.figure = figure, .last_layer = -1};
    for (int b = 0; b < figure->belt_count; b++)
        placer.belt_end[b] = -1;
    for (int left = figure->count; left > 0; left--) {
        int chosen = -1;
        for (int k = 0; k < figure->count && chosen < 0; k++)
            if (figure->parts[figure->order[k]].kind != CAR_PART_LAYER &&
                is_ready(&placer, figure->order[k]))
                chosen = figure->order[k];
        for (int k = 0; k < layer_count && chosen < 0; k++)
            if (is_ready(&placer, layers[k]))
                chosen = layers[k];
        if (chosen >= 0)
            place_part(&placer, chosen);
    }
}

/* ---- Places ------------------------------------------------------------------------------------------- */

/* Merges of sources stand at the left edge, unless one layer alone wants them: then beneath it. */
static int sole_user(const car_figure *figure, int number) {
    int user = -1, users = 0;
    for (int i = 0; i < figure->count; i++)
        for (int k = 0; k < figure->parts[i].feed_count; k++)
            if (figure->parts[i].feeds[k].part == number)
                user = i, users++;
    return users == 1 ? user : -1;
}

static void place_x(car_figure *figure, int gap) {
    int columns = 0, merges = 0, half[CAR_PART_LIMIT + 1] = {0}, middle[CAR_PART_LIMIT + 1];
    for (int i = 0; i < figure->count; i++) {
        const car_part *part = &figure->parts[i];
        int width, height;
        car_part_extent(part, &width, &height);
        if (part->column >= 0 && width > half[part->column])
            half[part->column] = width;
        columns = part->column >= columns ? part->column + 1 : columns;
        merges += part->kind == CAR_PART_MERGE && part->column < 0 && sole_user(figure, i) < 0;
    }
    int x = FIRST_MERGE + 3 * (merges > 1 ? merges - 1 : 0) + 2;
    for (int c = 0; c < columns; c++) {
        middle[c] = x + half[c];
        x += 2 * half[c] + 1 + gap;
    }
    int merge = 0;
    for (int i = 0; i < figure->count; i++) {
        car_part *part = &figure->parts[i];
        int user = part->kind == CAR_PART_MERGE ? sole_user(figure, i) : -1;
        if (part->column >= 0)
            part->x = middle[part->column];
        else if (part->kind == CAR_PART_MERGE)
            part->x = user >= 0 ? middle[figure->parts[user].column] : FIRST_MERGE + 3 * merge++;
        else
            part->x = is_end(part) ? x + LEFT_EDGE + 2 : 0;
        if (part->kind == CAR_PART_MERGE && user >= 0)
            part->x = middle[figure->parts[user].column];
        if (part->kind == CAR_PART_OUTPUT)
            part->x = x;
    }
    figure->width = x + LEFT_EDGE + 3;
}

/* x enters under the leftmost merge that it goes into, else under a layer. */
static void place_input(car_figure *figure) {
    int input = find_part(figure, CAR_PART_INPUT, -1), x = NONE;
    if (input < 0)
        return;
    for (int i = 0; i < figure->count; i++) {
        const car_part *part = &figure->parts[i];
        for (int k = 0; k < part->feed_count; k++)
            if (part->feeds[k].part == input && part->kind == CAR_PART_MERGE && part->x < x)
                x = part->x;
    }
    for (int i = 0; i < figure->count && x == NONE; i++)
        if (*figure->parts[i].weights && figure->parts[i].feeds[0].part == input)
            x = figure->parts[i].x;
    figure->parts[input].x = x == NONE ? FIRST_MERGE - 1 : x;
    figure->parts[input].y = figure->height - 1;
}

/* The height of a row of mid parts. */
static int row_height(const car_figure *figure, int region, int row) {
    int most = -1;
    for (int i = 0; i < figure->count; i++) {
        int width, height;
        car_part_extent(&figure->parts[i], &width, &height);
        if (figure->parts[i].mid && figure->parts[i].region == region &&
            figure->parts[i].row == row && height > most)
            most = height;
    }
    return most;
}

static int place_regions(car_figure *figure, int y) {
    for (int region = figure->belt_count > 0 ? figure->belt_count - 1 : 0; region >= 0; region--) {
        if (region < figure->belt_count) {
            for (int i = 0; i < figure->count; i++)
                if (figure->parts[i].belt == region)
                    figure->parts[i].y = y;
            y += 1 + ROW_GAP;
        }
        int rows = 0;
        while (row_height(figure, region, rows + 1) >= 0)
            rows++;
        for (int row = rows; row > 0; row--) {
            int half = row_height(figure, region, row);
            y += half;
            for (int i = 0; i < figure->count; i++)
                if (figure->parts[i].mid && figure->parts[i].region == region &&
                    figure->parts[i].row == row)
                    figure->parts[i].y = y;
            y += half + ROW_GAP;
        }
    }
    return y;
}

/* Rows of the bus: a merge and the first state that it takes share one. */
static int place_bus(car_figure *figure, int y) {
    for (int i = 0; i < figure->count; i++)
        if (figure->parts[i].belt < 0 && figure->parts[i].kind == CAR_PART_STATE)
            figure->parts[i].y = -1;
    for (int k = 0; k < figure->count; k++) {
        car_part *part = &figure->parts[figure->order[k]];
        if (part->kind != CAR_PART_MERGE)
            continue;
        part->y = y;
        bool shared = false;
        for (int i = 0; i < part->feed_count && !shared; i++) {
            car_part *from = &figure->parts[part->feeds[i].part];
            shared = from->kind == CAR_PART_STATE && from->belt < 0 && from->y < 0;
            if (shared)
                from->y = y;
        }
        y += BUS_GAP;
    }
    for (int i = 0; i < figure->count; i++) {
        car_part *part = &figure->parts[i];
        if (part->kind == CAR_PART_STATE && part->y < 0) {
            part->y = y;
            y += BUS_GAP;
        }
    }
    for (int i = 0; i < figure->count; i++) {
        car_part *part = &figure->parts[i];
        if (part->kind == CAR_PART_NEXT)
            part->y = figure->parts[find_part(figure, CAR_PART_STATE, part->state)].y;
    }
    return y;
}

static bool has_layers(const car_figure *figure) {
    for (int i = 0; i < figure->count; i++)
        if (figure->parts[i].kind == CAR_PART_LAYER)
            return true;
    return false;
}

/* Tracks beneath the layers: one for each net that feeds them. */
static int bus_nets(const car_figure *figure) {
    int nets = 0;
    for (int i = 0; i < figure->count; i++) {
        bool feeds = false;
        for (int k = 0; k < figure->count && figure->parts[i].kind != CAR_PART_MERGE; k++)
            for (int f = 0; f < figure->parts[k].feed_count; f++)
                feeds |=
                    figure->parts[k].feeds[f].part == i && figure->parts[k].kind == CAR_PART_LAYER;
        nets += feeds;
    }
    return nets;
}

static void place_y(car_figure *figure) {
    figure->top = 2;
    int y = place_regions(figure, figure->top + 4);
    if (has_layers(figure)) {
        y += 2;
        for (int i = 0; i < figure->count; i++)
            if (figure->parts[i].kind == CAR_PART_LAYER)
                figure->parts[i].y = y;
        y += 2 + BUS_GAP;
    }
    int nets = bus_nets(figure);
    y = place_bus(figure, y + (nets > 2 ? nets : 2) - 1);
    figure->bottom = y + 1;
    figure->height = figure->bottom + 3;
    for (int i = 0; i < figure->count; i++)
        if (figure->parts[i].kind == CAR_PART_OUTPUT)
            figure->parts[i].y = 0;
}

void car_layout_place(car_figure *figure, const int *layers, int layer_count, int gap) {
    place_columns(figure, layers, layer_count);
    place_x(figure, gap);
    place_y(figure);
    place_input(figure);
}
