/*
 * explain.c: what a compiled cell is, as text for a person.
 *
 * Comes in: a cell. Goes out: tables of its states and parameters (`cell check`), and for `cell explain`
 * the equations, the canonical graph, the gradient graph and what is added to each parameter's gradient.
 * The plan room goes on with stages, FLOPs and bytes.
 */
#include "syntax.h"
#include <string.h>

static const char *kind_text(const car_parameter *parameter) {
    static const char *const texts[] = {
        [CAR_MATRIX] = "matrix", [CAR_BIAS] = "bias", [CAR_VECTOR] = "vector"};
    return texts[parameter->kind];
}

static const char *shape_text(const struct car_cell *cell, const car_parameter *parameter) {
    if (parameter->kind != CAR_MATRIX)
        return "[n]";
    return parameter->from_input && !cell->input_is_hidden ? "[n][input]" : "[n][n]";
}

void car_cell_describe(const struct car_cell *cell, car_text *text) {
    int width = 4;
    for (int p = 0; p < cell->parameter_count; p++)
        if ((int)strlen(cell->parameters[p].name) > width)
            width = (int)strlen(cell->parameters[p].name);
    for (int s = 0; s < cell->state_count; s++)
        if ((int)strlen(cell->state_names[s]) > width)
            width = (int)strlen(cell->state_names[s]);
    car_text_format(text, "%-*s  kind    shape       starts as\n", width, "name");
    for (int s = 0; s < cell->state_count; s++) {
        car_text_format(text, "%-*s  state   [n]         ", width, cell->state_names[s]);
        car_init_print(text, cell->state_init[s]);
        car_text_format(text, "\n");
    }
    for (int p = 0; p < cell->parameter_count; p++) {
        const car_parameter *parameter = &cell->parameters[p];
        car_text_format(text, "%-*s  %-6s  %-10s  ", width, parameter->name, kind_text(parameter),
                        shape_text(cell, parameter));
        car_init_print(text, parameter->init);
        car_text_format(text, "\n");
    }
    if (cell->input_is_hidden)
        car_text_format(text,
                        "%s must have the size n of the layer (line %d): put `dense n` before it\n",
                        cell->input_name, cell->input_line);
}

static void explain_gradient(const struct car_cell *cell, car_text *text) {
    const car_gradient *gradient = &cell->gradient;
    car_text_format(text, "\ngradient graph of one step\n");
    car_graph_print(text, cell, &gradient->graph);
    if (gradient->input >= 0)
        car_text_format(text, "dL/d%s = %%%d\n", cell->input_name, gradient->input);
    for (int s = 0; s < cell->state_count; s++)
        if (gradient->state[s] >= 0)
            car_text_format(text, "dL/d%s = %%%d\n", cell->state_names[s], gradient->state[s]);
        else
            car_text_format(text, "dL/d%s = 0\n", cell->state_names[s]);
    car_text_format(text, "\ngradients of parameters, summed over steps and lanes\n");
    for (int i = 0; i < gradient->contribution_count; i++) {
        const car_contribution *part = &gradient->contributions[i];
        const char *name = cell->parameters[part->parameter].name;
        if (part->operand >= 0)
            car_text_format(text, "d%s += outer(%%%d, forward %d)\n", name, part->gradient,
                            part->operand);
        else
            car_text_format(text, "d%s += %%%d\n", name, part->gradient);
    }
}

void car_cell_explain(const struct car_cell *cell, car_text *text) {
    car_text_format(text, "equations of %s, fingerprint %s\n", cell->name, cell->fingerprint);
    car_text_add(text, cell->text, strlen(cell->text));
    car_text_format(text, "\nstates and parameters\n");
    car_cell_describe(cell, text);
    car_text_format(text, "\ngraph of one step\n");
    car_graph_print(text, cell, &cell->graph);
    car_text_format(text, "output = %%%d\n", cell->output);
    for (int s = 0; s < cell->state_count; s++)
        car_text_format(text, "%s' = %%%d\n", cell->state_names[s], cell->next[s]);
    for (int g = 0; g < cell->gate_count; g++)
        car_text_format(text, "%s%%%d%s", g ? ", " : "gates = ", cell->gates[g],
                        g + 1 == cell->gate_count ? "\n" : "");
    explain_gradient(cell, text);
}
