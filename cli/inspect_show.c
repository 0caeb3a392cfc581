/*
 * inspect_show.c: what `carousel inspect` has seen, for the terminal and as JSON.
 *
 * In: an inspect_sight. Out: text.
 */
#include "inspect_parts.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { CURVE_ROWS = 12, CURVES = 6, COLORED_SHOWN = 600, PAGE_COLUMNS = 100 };

/* ---- Text ------------------------------------------------------------------------------------------------ */

static void add_steps(car_text *text, double steps) {
    if (isinf(steps))
        car_text_format(text, "never");
    else
        car_text_format(text, steps < 10 ? "%.1f" : "%.0f", steps);
}

static void add_gate(car_text *text, const car_gate_survey *gate, const car_gate_survey *fresh,
                     bool utf8) {
    car_text_format(text, "  %-12.40s %5.3f  %7.1f %%  %7.1f %%  0 ", gate->name, gate->mean,
                    100 * gate->closed, 100 * gate->open);
    car_draw_curve(text, gate->shares, CAR_SURVEY_BINS, CAR_SURVEY_BINS, utf8);
    car_text_format(text, " 1\n  %-12s %5.3f  %7.1f %%  %7.1f %%  0 ", "  before", fresh->mean,
                    100 * fresh->closed, 100 * fresh->open);
    car_draw_curve(text, fresh->shares, CAR_SURVEY_BINS, CAR_SURVEY_BINS, utf8);
    car_text_format(text, " 1\n");
}

static void add_memory(car_text *text, const car_memory_survey *memory) {
    car_text_format(text, "  %s is half gone after ", memory->name);
    add_steps(text, memory->median);
    car_text_format(text, " steps in the median unit (quartiles ");
    add_steps(text, memory->low);
    car_text_format(text, " and ");
    add_steps(text, memory->high);
    car_text_format(text, "); %.1f %% of the units keep half for more than 100\n",
                    100 * memory->beyond_hundred);
}

static void add_survey(car_text *text, const car_survey *survey, const car_survey *fresh,
                       car_reads reads) {
    for (int k = 0; k < survey->layer_count; k++) {
        const car_layer_survey *layer = &survey->layers[k];
        car_text_format(text, "%slayer %d%s: %s, %d units, %lld %s\n", k ? "\n" : "",
                        layer->layer + 1, layer->backwards ? " from the end" : "",
                        layer->cell->name, layer->units, (long long)survey->steps,
                        reads == CAR_READS_TEXT ? "tokens" : "steps");
        if (layer->gate_count)
            car_text_format(text, "  gate          mean  below 0.1  above 0.9  histogram\n");
        for (int g = 0; g < layer->gate_count; g++)
            add_gate(text, &layer->gates[g], &fresh->layers[k].gates[g], car_terminal_utf8());
        for (int m = 0; m < layer->memory_count; m++)
            add_memory(text, &layer->memories[m]);
        if (layer->memory_count == 0)
            car_text_format(text,
                            "  no state with a half-life: none is only multiplied and added to\n");
    }
}

/* ---- Text: gradients, frozen gates, units ---------------------------------------------------------------- */

/* Curves of log10 |dL/ds|: an even fall is an even loss of gradient a step. */
static void add_flow(car_text *text, const car_flow *flow, car_arena *arena) {
    car_series series[CURVES];
    char names[CURVES][96];
    int count = flow->curve_count < CURVES ? flow->curve_count : CURVES;
    size_t steps = (size_t)flow->distance;
    double *values = car_arena_allocate(arena, 2 * steps * CURVES, sizeof *values);
    if (!values || flow->distance < 2)
        return;
    for (int i = 0; i < count; i++) {
        const car_flow_curve *curve = &flow->curves[flow->curve_count - count + i];
        double *x = values + 2 * steps * (size_t)i, *y = x + steps;
        for (size_t k = 0; k < steps; k++) {
            x[k] = (double)k + !curve->input;
            y[k] = log10(curve->median[k]);
        }
        snprintf(names[i], sizeof names[i], "%.60s of layer %d",
                 curve->input ? "input" : curve->name, curve->layer + 1);
        series[i] = (car_series){.name = names[i], .count = flow->distance, .x = x, .y = y};
    }
    int columns = car_terminal_width(STDOUT_FILENO);
    car_text_format(text,
                    "\ngradients: log10 of the size of dL/ds of the states, dL/dx of the input, "
                    "k steps\nbefore the loss (median of %d windows)\n",
                    flow->lanes);
    if (flow->patch > 1)
        car_text_format(text, "k counts steps of the net: `patch` makes one of %d\n", flow->patch);
    car_draw_curves(text, series, count, columns > PAGE_COLUMNS ? PAGE_COLUMNS : columns - 1,
                    CURVE_ROWS, car_terminal_utf8(), car_terminal_color(STDOUT_FILENO));
    for (int i = 0; i < count; i++) {
        const car_flow_curve *curve = &flow->curves[flow->curve_count - count + i];
        car_text_format(text, "  %-20s %.3g at k = %d, %.3g at k = %d\n", names[i],
                        curve->median[0], !curve->input, curve->median[steps - 1],
                        flow->distance - curve->input);
    }
}

static void add_clipping(car_text *text, const car_clipping *clipping) {
    if (clipping->updates == 0)
        return;
    car_text_format(text,
                    "\nclipping: norm of the gradient over %d updates: median %.3g, at most %.3g",
                    clipping->updates, clipping->median, clipping->most);
    if (clipping->threshold > 0)
        car_text_format(text,
                        "; clipping at %.3g would\ntouch %.0f %% of them and take %.1f %% of their "
                        "length away\n",
                        clipping->threshold, 100 * clipping->clipped, 100 * clipping->lost);
    else
        car_text_format(text, "; no threshold is recorded\n");
}

static void add_freezing(car_text *text, const car_freezing *freezing, car_reads reads) {
    static const char *const units[] = {" nats a token", "", " nats a class"};
    if (freezing->count == 0)
        return;
    car_text_format(text,
                    "\nfrozen gates: loss %.4f%s as it is; added when a gate is held\n"
                    "  layer  gate            at 0 (shut)  at 1 (open)\n",
                    freezing->loss, units[reads]);
    for (int i = 0; i < freezing->count; i++) {
        const car_freeze *gate = &freezing->gates[i];
        car_text_format(text, "  %5d  %-12.40s %+13.4f %+12.4f\n", gate->layer + 1, gate->gate,
                        gate->loss[0] - freezing->loss, gate->loss[1] - freezing->loss);
    }
}

static void add_followers(car_text *text, const car_follower *followers) {
    static const char *const words[] = {"inside quotes", "inside brackets", "inside a comment",
                                        "characters into the line"};
    car_text_format(text,
                    "\nunits that follow the text: the best for each pattern on the first half, "
                    "with its\ncorrelation there and on the rest\n");
    for (int p = 0; p < CAR_PATTERN_COUNT; p++) {
        const car_follower *found = &followers[p];
        if (found->layer < 0)
            car_text_format(text, "  %-25s not in the first half\n", words[p]);
        else if (!isfinite(found->tested))
            car_text_format(text, "  %-25s layer %d, %s, unit %d: %.2f, only in the first half\n",
                            words[p], found->layer + 1, found->state, found->unit + 1,
                            found->chosen);
        else
            car_text_format(text, "  %-25s layer %d, %s, unit %d: %.2f, then %.2f\n", words[p],
                            found->layer + 1, found->state, found->unit + 1, found->chosen,
                            found->tested);
    }
}

/* Blue where the unit is high, orange where it is low. Control characters of the text do not reach the terminal. */
static void add_colored(car_text *text, const car_colored *colored) {
    static const int inks[2][CAR_PAGE_LEVELS + 1] = {{0, 230, 223, 216, 209},
                                                     {0, 195, 153, 117, 75}};
    size_t shown = colored->count < COLORED_SHOWN ? colored->count : COLORED_SHOWN, at = 0;
    car_text_format(
        text, "\nlayer %d, %s, unit %d (%s): blue where it is high, orange where it is low\n",
        colored->unit.layer + 1, colored->unit.state, colored->unit.unit + 1,
        colored->pattern < 0 ? "as asked for" : car_pattern_name((car_pattern)colored->pattern));
    for (size_t i = 0; i < shown; i++) {
        int level = colored->levels[i];
        size_t end = colored->ends[i];
        while (end < colored->ends[shown - 1] && ((unsigned char)colored->text[end] & 0xc0) == 0x80)
            end++;
        if (level != 0 && at < end)
            car_text_format(text, "\033[38;5;16;48;5;%dm",
                            inks[level > 0][level > 0 ? level : -level]);
        for (; at < end; at++) {
            unsigned char byte = (unsigned char)colored->text[at];
            if (byte == '\n' && level != 0)
                car_text_format(text, "\033[0m");
            car_text_add(
                text, byte == '\n' || (byte >= ' ' && byte != 127) ? &colored->text[at] : " ", 1);
        }
        if (level != 0)
            car_text_format(text, "\033[0m");
    }
    car_text_format(text, "\n");
}

void cli_inspect_text(const inspect_sight *sight, car_text *text) {
    car_arena *arena = car_arena_create(NULL);
    add_survey(text, &sight->survey, &sight->fresh, sight->reads);
    car_text_format(
        text, sight->record.known
                  ? "(before: the first weights, made again from the seed in the training record)\n"
                  : "(before: first weights of seed 1; the model has no training record)\n");
    if (arena)
        add_flow(text, &sight->flow, arena);
    if (sight->from_both_ends)
        car_text_format(text,
                        "\nno gradients through time: the net reads from both ends (`bi`), so "
                        "a loss stands\nno number of steps behind an input\n");
    add_clipping(text, &sight->clipping);
    add_freezing(text, &sight->freezing, sight->reads);
    if (sight->reads == CAR_READS_TEXT)
        add_followers(text, sight->followers);
    for (int i = 0; i < sight->colored_count && car_terminal_color(STDOUT_FILENO); i++)
        add_colored(text, &sight->colored[i]);
    car_arena_free(arena);
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

static void add_numbers(car_text *text, const char *name, const double *values, int count) {
    car_text_format(text, ", \"%s\": [", name);
    for (int i = 0; i < count; i++) {
        car_text_format(text, i ? ", " : "");
        car_text_json_number(text, values[i]);
    }
    car_text_format(text, "]");
}

static void add_number(car_text *text, const char *name, double value) {
    car_text_format(text, ", \"%s\": ", name);
    car_text_json_number(text, value);
}

static void add_gate_json(car_text *text, const car_gate_survey *gate, int units) {
    car_text_format(text, "{\"name\": \"%s\"", gate->name);
    add_number(text, "mean", gate->mean);
    add_number(text, "below_0.1", gate->closed);
    add_number(text, "above_0.9", gate->open);
    add_numbers(text, "histogram", gate->shares, CAR_SURVEY_BINS);
    add_numbers(text, "unit_mean", gate->unit_mean, units);
    add_numbers(text, "unit_below_0.1", gate->unit_closed, units);
    add_numbers(text, "unit_above_0.9", gate->unit_open, units);
    car_text_format(text, "}");
}

static void add_memory_json(car_text *text, const car_memory_survey *memory, int units) {
    car_text_format(text, "{\"name\": \"%s\"", memory->name);
    add_number(text, "half_life_median", memory->median);
    add_number(text, "half_life_low_quartile", memory->low);
    add_number(text, "half_life_high_quartile", memory->high);
    add_number(text, "beyond_100_steps", memory->beyond_hundred);
    add_numbers(text, "half_life", memory->half_life, units);
    car_text_format(text, "}");
}

static void add_survey_json(car_text *text, const car_survey *survey) {
    car_text_format(text, "\"layers\": [");
    for (int k = 0; k < survey->layer_count; k++) {
        const car_layer_survey *layer = &survey->layers[k];
        car_text_format(
            text,
            "%s{\"layer\": %d, \"from_the_end\": %s, \"cell\": \"%s\", \"units\": %d, \"gates\": [",
            k ? ",\n" : "", layer->layer + 1, layer->backwards ? "true" : "false",
            layer->cell->name, layer->units);
        for (int g = 0; g < layer->gate_count; g++) {
            car_text_format(text, g ? ",\n" : "");
            add_gate_json(text, &layer->gates[g], layer->units);
        }
        car_text_format(text, "], \"memories\": [");
        for (int m = 0; m < layer->memory_count; m++) {
            car_text_format(text, m ? ",\n" : "");
            add_memory_json(text, &layer->memories[m], layer->units);
        }
        car_text_format(text, "]}");
    }
    car_text_format(text, "]");
}

static void add_flow_json(car_text *text, const car_flow *flow) {
    car_text_format(text, ", \"gradients\": [");
    for (int i = 0; i < flow->curve_count; i++) {
        const car_flow_curve *curve = &flow->curves[i];
        car_text_format(text, "%s{\"layer\": %d, \"of\": \"%s\", \"first_k\": %d", i ? ",\n" : "",
                        curve->layer + 1, curve->input ? "input" : curve->name, !curve->input);
        add_numbers(text, "median", curve->median, flow->distance);
        add_numbers(text, "low_quartile", curve->low, flow->distance);
        add_numbers(text, "high_quartile", curve->high, flow->distance);
        car_text_format(text, "}");
    }
    car_text_format(text, "]");
}

static void add_clipping_json(car_text *text, const car_clipping *clipping) {
    car_text_format(text, ",\n\"clipping\": {\"updates\": %d", clipping->updates);
    add_number(text, "threshold", clipping->threshold > 0 ? clipping->threshold : NAN);
    add_number(text, "norm_median", clipping->updates ? clipping->median : NAN);
    add_number(text, "norm_most", clipping->updates ? clipping->most : NAN);
    add_number(text, "clipped", clipping->clipped);
    add_number(text, "lost", clipping->lost);
    car_text_format(text, "}");
}

static void add_freezing_json(car_text *text, const car_freezing *freezing) {
    car_text_format(text, ",\n\"importance\": {\"targets\": %lld", (long long)freezing->targets);
    add_number(text, "loss", freezing->loss);
    car_text_format(text, ", \"gates\": [");
    for (int i = 0; i < freezing->count; i++) {
        const car_freeze *gate = &freezing->gates[i];
        car_text_format(text, "%s{\"layer\": %d, \"gate\": \"%s\"", i ? ", " : "", gate->layer + 1,
                        gate->gate);
        add_number(text, "loss_at_0", gate->loss[0]);
        add_number(text, "loss_at_1", gate->loss[1]);
        car_text_format(text, "}");
    }
    car_text_format(text, "]}");
}

static void add_followers_json(car_text *text, const car_follower *followers) {
    car_text_format(text, ",\n\"units\": [");
    for (int p = 0; p < CAR_PATTERN_COUNT; p++) {
        const car_follower *found = &followers[p];
        car_text_format(text, "%s{\"pattern\": \"%s\"", p ? ", " : "",
                        car_pattern_name((car_pattern)p));
        if (found->layer >= 0) {
            car_text_format(text, ", \"layer\": %d, \"state\": \"%s\", \"unit\": %d",
                            found->layer + 1, found->state, found->unit + 1);
            add_number(text, "r_chosen", found->chosen);
            add_number(text, "r_tested", found->tested);
        }
        car_text_format(text, "}");
    }
    car_text_format(text, "]");
}

void cli_inspect_json(const inspect_sight *sight, car_text *text) {
    car_text_format(text, "{\"tokens\": %lld, \"seed_of_first_weights\": %lld, ",
                    (long long)sight->survey.steps, (long long)sight->record.seed);
    add_survey_json(text, &sight->survey);
    add_flow_json(text, &sight->flow);
    add_clipping_json(text, &sight->clipping);
    add_freezing_json(text, &sight->freezing);
    if (sight->reads == CAR_READS_TEXT)
        add_followers_json(text, sight->followers);
    car_text_format(text, "}\n");
}
