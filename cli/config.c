/*
 * config.c: the resolved options of a run as one JSON object, and back.
 *
 * In a checkpoint this object is what lets `--resume FILE` need no other flag. What is read comes
 * from a file from outside: only the shape that cli_config_write writes is accepted, every value is
 * checked against its option's kind, range and choices, and a name that the table does not know is
 * refused.
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

/* ---- Reading --------------------------------------------------------------------------------- */

static car_status bad(const char *origin, const char *name, car_error *error) {
    return car_fail(
        error, CAR_MODEL,
        "%s: the option %s stored in it is not one that this version of carousel writes", origin,
        name);
}

static bool read_list(car_arena *arena, const car_json *value, cli_list *list) {
    if (value->kind != CAR_JSON_ARRAY)
        return false;
    list->count = 0;
    list->items = car_arena_allocate(arena, (size_t)value->count + 1, sizeof *list->items);
    if (!list->items)
        return false;
    for (const car_json *item = value->first; item; item = item->next) {
        if (item->kind != CAR_JSON_STRING)
            return false;
        list->items[list->count++] = item->text;
    }
    return true;
}

static bool in_range(const cli_option *option, double value) {
    return (option->minimum == 0 && option->maximum == 0) ||
           (value >= option->minimum && value <= option->maximum);
}

/* Does this value fit its option? Sets it then. */
static bool set_value(car_arena *arena, const cli_option *option, const car_json *value) {
    switch (option->kind) {
    case CLI_FLAG:
        if (value->kind != CAR_JSON_BOOL)
            return false;
        *(bool *)option->value = value->truth;
        return true;
    case CLI_INT:
        if (value->kind != CAR_JSON_NUMBER || !value->whole || !in_range(option, value->number))
            return false;
        *(int64_t *)option->value = (int64_t)value->number;
        return true;
    case CLI_DOUBLE:
        if (value->kind != CAR_JSON_NUMBER || !in_range(option, value->number))
            return false;
        *(double *)option->value = value->number;
        return true;
    case CLI_CHOICE:
        if (value->kind != CAR_JSON_STRING || !cli_is_choice(option->choices, value->text))
            return false;
        *(const char **)option->value = value->text;
        return true;
    case CLI_TEXT:
        if (value->kind != CAR_JSON_STRING && value->kind != CAR_JSON_NULL)
            return false;
        *(const char **)option->value = value->kind == CAR_JSON_STRING ? value->text : NULL;
        return true;
    case CLI_LIST:
        return read_list(arena, value, option->value);
    case CLI_HEADING:
        break;
    }
    return false;
}

static const cli_option *find(const cli_verb *verb, const char *name) {
    for (int i = 0; i < verb->option_count; i++) {
        const cli_option *option = &verb->options[i];
        if (option->kind != CLI_HEADING && !option->transient && !strcmp(option->name, name))
            return option;
    }
    return NULL;
}

car_status cli_config_read(const cli_verb *verb, cli_arguments *arguments, const char *json,
                           const char *origin, car_error *error) {
    const car_json *root;
    car_status status =
        car_json_parse(json, strlen(json), origin, 4, 65536, arguments->arena, &root, error);
    if (status != CAR_OK) {
        if (status == CAR_DATA && error)
            error->status = CAR_MODEL;
        return status == CAR_DATA ? CAR_MODEL : status;
    }
    if (root->kind != CAR_JSON_OBJECT)
        return bad(origin, "object", error);
    for (const car_json *member = root->first; member; member = member->next) {
        if (!strcmp(member->name, "operands")) {
            cli_list list;
            if (!read_list(arguments->arena, member, &list))
                return bad(origin, member->name, error);
            if (arguments->count == 0) {
                arguments->count = list.count;
                arguments->operands = list.items;
            }
            continue;
        }
        const cli_option *option = find(verb, member->name);
        if (!option)
            return bad(origin, member->name, error);
        if (!option->given && !set_value(arguments->arena, option, member))
            return bad(origin, member->name, error);
    }
    return CAR_OK;
}
