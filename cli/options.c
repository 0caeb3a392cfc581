/*
 * options.c: reads a verb's command line by its table of options.
 *
 * In: the table, argc, argv. Out: values at the addresses that the table names, and the operands in
 * order. The values already there are the defaults, so that help, parsing and configuration can
 * never disagree about one. Anything that is not understood is an error that names the nearest
 * thing that would have been.
 */
#include "cli.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool cli_read_int(const char *text, int64_t *value) {
    const char *digits = text + (*text == '-' || *text == '+');
    if (!isdigit((unsigned char)*digits))
        return false;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || *end)
        return false;
    *value = number;
    return true;
}

/* Levenshtein's distance with the last row kept; words beyond 63 letters are as far as can be. */
static int distance(const char *a, const char *b) {
    int row[64];
    size_t columns = strlen(b);
    if (columns > 63)
        return 64;
    for (size_t j = 0; j <= columns; j++)
        row[j] = (int)j;
    for (size_t i = 0; a[i]; i++) {
        int diagonal = row[0];
        row[0] = (int)i + 1;
        for (size_t j = 0; j < columns; j++) {
            int substitute = diagonal + (a[i] != b[j]);
            int edit = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            diagonal = row[j + 1];
            row[j + 1] = substitute < edit ? substitute : edit;
        }
    }
    return row[columns];
}

const char *cli_nearest(const char *word, const char *const *names, int count) {
    const char *best = NULL;
    int best_distance = 1 + (int)strlen(word) / 3;
    for (int i = 0; i < count; i++) {
        int d = distance(word, names[i]);
        if (d <= best_distance && (!best || d < best_distance)) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}

/* One of "a|b|c"? */
bool cli_is_choice(const char *choices, const char *word) {
    size_t length = strlen(word);
    for (const char *p = choices; length; p++) {
        size_t span = strcspn(p, "|");
        if (span == length && !memcmp(p, word, length))
            return true;
        p += span;
        if (!*p)
            break;
    }
    return false;
}

static cli_option *find_option(const cli_verb *verb, const char *name, size_t length) {
    for (int i = 0; i < verb->option_count; i++) {
        cli_option *option = &verb->options[i];
        if (option->kind != CLI_HEADING && strlen(option->name) == length &&
            !memcmp(option->name, name, length))
            return option;
    }
    return NULL;
}

bool cli_given(const cli_verb *verb, const char *name) {
    const cli_option *option = find_option(verb, name, strlen(name));
    return option && option->given;
}

static int unknown_option(const cli_verb *verb, const char *text) {
    const char *names[128];
    int count = 0;
    for (int i = 0; i < verb->option_count && count < 128; i++)
        if (verb->options[i].kind != CLI_HEADING)
            names[count++] = verb->options[i].name;
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(text + 2, "="), text + 2);
    const char *near = text[1] == '-' ? cli_nearest(word, names, count) : NULL;
    if (near)
        return cli_say_fail(CAR_USAGE, "%s: unknown option --%s; did you mean --%s?", verb->name,
                            word, near);
    return cli_say_fail(CAR_USAGE, "%s: unknown option %.*s; see carousel help %s", verb->name,
                        (int)strcspn(text, "="), text, verb->name);
}

static int bad_range(const cli_verb *verb, const cli_option *option, const char *text) {
    const char *what = option->kind == CLI_INT ? "a whole number" : "a number";
    if (option->minimum == 0 && option->maximum == 0)
        return cli_say_fail(CAR_USAGE, "%s: --%s %s: must be %s", verb->name, option->name, text,
                            what);
    return cli_say_fail(CAR_USAGE, "%s: --%s %s: must be %s from %.10g to %.10g", verb->name,
                        option->name, text, what, option->minimum, option->maximum);
}

static bool in_range(const cli_option *option, double value) {
    return (option->minimum == 0 && option->maximum == 0) ||
           (value >= option->minimum && value <= option->maximum);
}

static int list_add(cli_arguments *arguments, int *count, const char ***items, const char *text) {
    const char **grown = *items;
    if ((*count & (*count - 1)) == 0) {
        grown =
            car_arena_allocate(arguments->arena, *count ? (size_t)*count * 2 : 1, sizeof *grown);
        if (!grown)
            return cli_say_fail(CAR_MEMORY, "out of memory while reading the command line");
        if (*count)
            memcpy(grown, *items, (size_t)*count * sizeof *grown);
    }
    grown[(*count)++] = text;
    *items = grown;
    return CLI_GO_ON;
}

static int set_option(const cli_verb *verb, cli_arguments *arguments, cli_option *option,
                      const char *text) {
    int64_t whole;
    double number;
    switch (option->kind) {
    case CLI_INT:
        if (!cli_read_int(text, &whole) || !in_range(option, (double)whole))
            return bad_range(verb, option, text);
        *(int64_t *)option->value = whole;
        break;
    case CLI_DOUBLE:
        if (!car_number_parse(text, strlen(text), &number) || !in_range(option, number))
            return bad_range(verb, option, text);
        *(double *)option->value = number;
        break;
    case CLI_CHOICE:
        if (!cli_is_choice(option->choices, text))
            return cli_say_fail(CAR_USAGE, "%s: --%s %s: must be one of %s", verb->name,
                                option->name, text, option->choices);
        *(const char **)option->value = text;
        break;
    case CLI_LIST: {
        cli_list *list = option->value;
        if (!option->given)
            *list = (cli_list){0};
        option->given = true;
        return list_add(arguments, &list->count, &list->items, text);
    }
    case CLI_TEXT:
        *(const char **)option->value = text;
        break;
    case CLI_FLAG:
    case CLI_HEADING:
        break;
    }
    option->given = true;
    return CLI_GO_ON;
}

/* Reads argv[*at], which starts with '-', and its value, if any; leaves *at on the last word used.
 */
static int read_option(const cli_verb *verb, cli_arguments *arguments, int argc, char **argv,
                       int *at) {
    const char *text = argv[*at], *value = NULL;
    cli_option *option = NULL;
    if (text[1] == '-') {
        size_t length = strcspn(text + 2, "=");
        option = find_option(verb, text + 2, length);
        value = text[2 + length] ? text + 3 + length : NULL;
    } else {
        for (int i = 0; i < verb->option_count; i++)
            if (verb->options[i].letter == text[1])
                option = &verb->options[i];
        value = text[2] ? text + 2 : NULL;
    }
    if (!option)
        return unknown_option(verb, text);
    if (option->kind == CLI_FLAG) {
        if (value)
            return cli_say_fail(CAR_USAGE, "%s: --%s takes no value", verb->name, option->name);
        *(bool *)option->value = true;
        option->given = true;
        return CLI_GO_ON;
    }
    if (!value) {
        const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
        if (!next || (next[0] == '-' && next[1] == '-'))
            return cli_say_fail(CAR_USAGE, "%s: --%s needs a value: --%s %s", verb->name,
                                option->name, option->name, option->argument);
        value = next;
        ++*at;
    }
    return set_option(verb, arguments, option, value);
}

static int check_operands(const cli_verb *verb, const cli_arguments *arguments) {
    if (arguments->count < verb->least_operands)
        return cli_say_fail(CAR_USAGE, "%s: too few arguments; usage: carousel %s %s", verb->name,
                            verb->name, verb->usage);
    if (verb->most_operands >= 0 && arguments->count > verb->most_operands)
        return cli_say_fail(CAR_USAGE, "%s: what is %s for? usage: carousel %s %s", verb->name,
                            arguments->operands[verb->most_operands], verb->name, verb->usage);
    return CLI_GO_ON;
}

static bool wants_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

int cli_parse(const cli_verb *verb, int argc, char **argv, cli_arguments *arguments) {
    *arguments = (cli_arguments){0};
    if (wants_help(argc, argv)) {
        car_text text;
        car_text_start(&text, NULL);
        cli_help(verb, &text);
        return cli_print(&text);
    }
    arguments->arena = car_arena_create(NULL);
    if (!arguments->arena)
        return cli_say_fail(CAR_MEMORY, "out of memory while reading the command line");
    bool options_end = false;
    int code = CLI_GO_ON;
    for (int i = 1; i < argc && code == CLI_GO_ON; i++) {
        const char *text = argv[i];
        if (!options_end && !strcmp(text, "--"))
            options_end = true;
        else if (!options_end && text[0] == '-' && text[1])
            code = read_option(verb, arguments, argc, argv, &i);
        else
            code = list_add(arguments, &arguments->count, &arguments->operands, text);
    }
    if (code == CLI_GO_ON)
        code = check_operands(verb, arguments);
    if (code != CLI_GO_ON)
        cli_arguments_free(arguments);
    return code;
}

void cli_arguments_free(cli_arguments *arguments) {
    car_arena_free(arguments->arena);
    *arguments = (cli_arguments){0};
}

int cli_dispatch(const char *verb, const char *summary, const cli_command *table, int count,
                 int argc, char **argv) {
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        car_text text;
        car_text_start(&text, NULL);
        car_text_format(&text, "carousel %s: %s\n\n", verb, summary);
        for (int i = 0; i < count; i++)
            car_text_format(&text, "  carousel %s %-10s %s\n", verb, table[i].name,
                            table[i].summary);
        car_text_format(&text, "\nMore: carousel help %s %s\n", verb, table[0].name);
        int code = cli_print(&text);
        if (argc >= 2 || code)
            return code;
        return cli_say_fail(CAR_USAGE, "%s: which one? (listed above)", verb);
    }
    for (int i = 0; i < count; i++)
        if (!strcmp(argv[1], table[i].name))
            return table[i].run(argc - 1, argv + 1);
    const char *names[16];
    for (int i = 0; i < count && i < 16; i++)
        names[i] = table[i].name;
    const char *near = cli_nearest(argv[1], names, count < 16 ? count : 16);
    if (near)
        return cli_say_fail(CAR_USAGE, "%s: unknown verb %s; did you mean carousel %s %s?", verb,
                            argv[1], verb, near);
    return cli_say_fail(CAR_USAGE, "%s: unknown verb %s; see carousel help %s", verb, argv[1],
                        verb);
}
