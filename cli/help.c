/*
 * help.c: a verb's table of options as text: examples first, then every option with its default, in
 * 80 columns.
 */
#include "cli.h"
#include <string.h>

enum { WIDTH = 80, INDENT = 26 };

/* Adds `words` from column `column` on, going on at column `indent` of new lines; ends the line. */
static void wrap(car_text *text, const char *words, int column, int indent) {
    bool first = true;
    while (*words) {
        int length = (int)strcspn(words, " ");
        if (!first && column + 1 + length > WIDTH) {
            car_text_format(text, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        car_text_format(text, "%s%.*s", first ? "" : " ", length, words);
        column += length + !first;
        first = false;
        words += length;
        words += strspn(words, " ");
    }
    car_text_add(text, "\n", 1);
}

static void add_default(car_text *text, const cli_option *option) {
    if (option->default_text) {
        car_text_format(text, " (default: %s)", option->default_text);
        return;
    }
    switch (option->kind) {
    case CLI_INT:
        car_text_format(text, " (default: %lld)", (long long)*(const int64_t *)option->value);
        break;
    case CLI_DOUBLE:
        car_text_format(text, " (default: %g)", *(const double *)option->value);
        break;
    case CLI_TEXT:
    case CLI_CHOICE: {
        const char *value = *(const char *const *)option->value;
        car_text_format(text, " (default: %s)", value ? value : "none");
        break;
    }
    case CLI_LIST:
        car_text_format(text, " (may be repeated; default: none)");
        break;
    case CLI_FLAG:
    case CLI_HEADING:
        break;
    }
}

static void add_option(car_text *text, const cli_option *option) {
    if (option->kind == CLI_HEADING) {
        car_text_format(text, "\n%s\n", option->help);
        return;
    }
    char left[128], letter[8] = "    ";
    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    const char *argument = option->kind == CLI_CHOICE && !option->argument ? option->choices
                           : option->argument                              ? option->argument
                                                                           : "";
    int length = snprintf(left, sizeof left, "  %s--%s%s%s", letter, option->name,
                          *argument ? " " : "", argument);
    car_text words;
    car_text_start(&words, text->allocator);
    car_text_format(&words, "%s", option->help);
    add_default(&words, option);
    if (length < INDENT)
        car_text_format(text, "%-*s", INDENT, left);
    else
        car_text_format(text, "%s\n%*s", left, INDENT, "");
    if (words.failed)
        text->failed = true;
    else
        wrap(text, words.data, INDENT, INDENT);
    car_text_free(&words);
}

/* Lines as they are, each indented by two. */
static void add_lines(car_text *text, const char *lines) {
    while (*lines) {
        int length = (int)strcspn(lines, "\n");
        car_text_format(text, "  %.*s\n", length, lines);
        lines += length + (lines[length] == '\n');
    }
}

void cli_help(const cli_verb *verb, car_text *text) {
    car_text_format(text, "carousel %s: %s\n\nExamples\n", verb->name, verb->summary);
    add_lines(text, verb->examples);
    car_text_format(text, "\nUsage\n  carousel %s ", verb->name);
    wrap(text, verb->usage, 12 + (int)strlen(verb->name), 4);
    if (verb->option_count && verb->options[0].kind != CLI_HEADING)
        car_text_format(text, "\nOptions\n");
    for (int i = 0; i < verb->option_count; i++)
        add_option(text, &verb->options[i]);
    if (verb->notes) {
        car_text_add(text, "\n", 1);
        add_lines(text, verb->notes);
    }
}
