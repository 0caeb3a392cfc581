/*
 * config.c: the resolved options of a run as one JSON object, for --print-config.
 */
#include "cli.h"
#include <string.h>

static void write_list(car_text *text, int count, const char *const *items) {
    car_text_add(text, "[", 1);
    for (int i = 0; i < count; i++) {
        if (i)
            car_text_add(text, ", ", 2);
        car_text_json_string(text, items[i], strlen(items[i]));
    }
    car_text_add(text, "]", 1);
}

static void write_value(car_text *text, const cli_option *option) {
    switch (option->kind) {
    case CLI_FLAG:
        car_text_format(text, "%s", *(const bool *)option->value ? "true" : "false");
        break;
    case CLI_INT:
        car_text_format(text, "%lld", (long long)*(const int64_t *)option->value);
        break;
    case CLI_DOUBLE:
        car_text_json_number(text, *(const double *)option->value);
        break;
    case CLI_LIST: {
        const cli_list *list = option->value;
        write_list(text, list->count, list->items);
        break;
    }
    case CLI_TEXT:
    case CLI_CHOICE: {
        const char *value = *(const char *const *)option->value;
        if (value)
            car_text_json_string(text, value, strlen(value));
        else
            car_text_format(text, "null");
        break;
    }
    case CLI_HEADING:
        break;
    }
}

void cli_config_write(const cli_verb *verb, const cli_arguments *arguments, car_text *text) {
    car_text_add(text, "{", 1);
    for (int i = 0; i < verb->option_count; i++) {
        const cli_option *option = &verb->options[i];
        if (option->kind == CLI_HEADING || option->transient)
            continue;
        car_text_format(text, "\"%s\": ", option->name);
        write_value(text, option);
        car_text_add(text, ", ", 2);
    }
    car_text_format(text, "\"operands\": ");
    write_list(text, arguments->count, arguments->operands);
    car_text_add(text, "}", 1);
}
