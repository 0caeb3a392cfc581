/*
 * random_cells.h: texts of random cells, for the tests that hold for every cell. A generator's seed gives always the
 * same text; it knows the grammar of docs/cells.md and nothing of the compiler.
 */
#ifndef RANDOM_CELLS_H
#define RANDOM_CELLS_H

#include "base.h"

typedef struct generator {
    car_text text;
    uint64_t seed, drawn;
    int states, equations, matrices, vectors;
    int updated;        /* states 0 .. updated-1 have their equations */
    bool input_by_unit; /* x may be used elementwise */
    bool used[40];      /* equations */
    bool read[3];       /* states */
} generator;

static inline int draw(generator *g, int below) {
    car_random_key key = {g->seed, CAR_RANDOM_TEST, 1};
    return (int)(car_random_uniform(key, 0, g->drawn++) * (float)below);
}

/* A state, a new state, an earlier equation or x: something that changes from step to step. */
static inline void write_value(generator *g, bool product) {
    int choice = draw(g, 4);
    if (choice == 0 && (product || g->input_by_unit)) {
        car_text_format(&g->text, "x");
    } else if (choice == 1 && g->equations > 0) {
        int equation = draw(g, g->equations);
        g->used[equation] = true;
        car_text_format(&g->text, "e%d", equation);
    } else if (choice == 2 && g->updated > 0) {
        int state = draw(g, g->updated);
        g->read[state] = true;
        car_text_format(&g->text, "s%d'", state);
    } else {
        int state = draw(g, g->states);
        g->read[state] = true;
        car_text_format(&g->text, "s%d", state);
    }
}

static inline void write_expression(generator *g, int depth);

static inline void write_product(generator *g, int depth) {
    bool again = g->input_by_unit && g->matrices > 0 && draw(g, 4) == 0;
    car_text_format(&g->text, "M%d@", again ? draw(g, g->matrices) : g->matrices++);
    if (depth > 1 && draw(g, 3) == 0) {
        car_text_format(&g->text, "(");
        write_expression(g, depth - 1);
        car_text_format(&g->text, ")");
    } else {
        write_value(g, true);
    }
}

static inline void write_leaf(generator *g) {
    int choice = draw(g, 5);
    if (choice == 0)
        car_text_format(&g->text, "%d.%d", draw(g, 3), draw(g, 100));
    else if (choice == 1)
        car_text_format(&g->text, "%c%d", draw(g, 2) ? 'b' : 'p', draw(g, ++g->vectors));
    else
        write_value(g, false);
}

/* `begin` and `end` around a sub-expression keep its value where the function around it is smooth and tame. */
static inline void write_wrapped(generator *g, const char *begin, int depth, const char *end) {
    car_text_format(&g->text, "%s", begin);
    write_expression(g, depth - 1);
    car_text_format(&g->text, "%s", end);
}

static inline void write_function(generator *g, int depth) {
    static const char *const wraps[][2] = {{"sigmoid(", ")"},
                                           {"tanh(", ")"},
                                           {"relu(", ")"},
                                           {"exp(tanh(", "))"},
                                           {"log(1.5 + abs(", "))"},
                                           {"sqrt(0.5 + softplus(", "))"},
                                           {"softplus(", ")"},
                                           {"abs(", ")"},
                                           {"mean(", ")"},
                                           {"0.5*layernorm(", ")"},
                                           {"-(", ")"},
                                           {"-tanh(", ")"}};
    int choice = draw(g, (int)(sizeof wraps / sizeof wraps[0]));
    write_wrapped(g, wraps[choice][0], depth, wraps[choice][1]);
}

static inline void write_pair(generator *g, int depth) {
    static const char *const pairs[][3] = {{"(", " + ", ")"},     {"(", " - ", ")"},
                                           {"tanh(", ")*(", ")"}, {"(", ")/(1.5 + sigmoid(", "))"},
                                           {"max(", ", ", ")"},   {"min(", ", ", ")"}};
    int choice = draw(g, 6);
    write_wrapped(g, pairs[choice][0], depth, pairs[choice][1]);
    write_wrapped(g, "", depth, pairs[choice][2]);
}

/* An expression that changes from step to step. */
static inline void write_expression(generator *g, int depth) {
    int choice = draw(g, 10);
    if (depth <= 1 || choice == 0) {
        write_product(g, depth);
    } else if (choice <= 2) {
        write_product(g, depth);
        car_text_format(&g->text, draw(g, 4) ? " + " : " - ");
        write_expression(g, depth - 1);
    } else if (choice <= 4) {
        write_function(g, depth);
    } else if (choice <= 6) {
        write_pair(g, depth);
    } else {
        write_leaf(g);
        static const char *const signs[] = {" + ", " - ", "*"};
        car_text_format(&g->text, "%s(", signs[draw(g, 3)]);
        write_expression(g, depth - 1);
        car_text_format(&g->text, ")");
    }
}

/* One to three states; what nothing else uses ends in the output. */
static inline void generate(generator *g, uint64_t seed) {
    *g = (generator){.seed = seed};
    car_text_start(&g->text, NULL);
    g->states = 1 + draw(g, 3);
    g->input_by_unit = draw(g, 3) == 0;
    car_text_format(&g->text, "cell random(x) -> y\nstate s0%s%s\n", g->states > 1 ? ", s1" : "",
                    g->states > 2 ? ", s2" : "");
    for (int s = 0; s < g->states; s++) {
        for (int inner = draw(g, 3); inner > 0; inner--) {
            car_text_format(&g->text, "e%d = %s", g->equations, draw(g, 2) ? "tanh(" : "(");
            write_expression(g, 3);
            car_text_format(&g->text, ")\n");
            g->equations++;
        }
        if (draw(g, 6) == 0) { /* a delay line or a second name */
            car_text_format(&g->text, "s%d' = ", s);
            write_value(g, false);
        } else {
            car_text_format(&g->text, "s%d' = %s", s, draw(g, 2) ? "tanh(" : "sigmoid(0.5*");
            write_expression(g, 3);
            car_text_format(&g->text, ")");
        }
        car_text_format(&g->text, "\n");
        g->updated = s + 1;
    }
    car_text_format(&g->text, "y = tanh(Last@x");
    for (int s = 0; s < g->states; s++)
        if (!g->read[s])
            car_text_format(&g->text, " + s%d", s);
    for (int e = 0; e < g->equations; e++)
        if (!g->used[e])
            car_text_format(&g->text, " + e%d", e);
    car_text_format(&g->text, " + ");
    write_expression(g, 3);
    car_text_format(&g->text, ")\n");
}

#endif
