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

/* ---- Reading
 * ------------------------------------------------------------------------------------------ */

typedef struct config_reader {
    const char *at;
    const cli_verb *verb;
    cli_arguments *arguments;
    const char *origin;
    car_error *error;
} config_reader;

static car_status bad(config_reader *reader, const char *what) {
    return car_fail(reader->error, CAR_MODEL,
                    "%s: the options stored in it are damaged (%s); it was not written by this "
                    "version of carousel",
                    reader->origin, what);
}

static void skip_blanks(config_reader *reader) {
    reader->at += strspn(reader->at, " \t\r\n");
}

static bool take(config_reader *reader, const char *word) {
    skip_blanks(reader);
    size_t length = strlen(word);
    if (strncmp(reader->at, word, length) != 0)
        return false;
    reader->at += length;
    return true;
}

/* Four hex digits after \u. */
static bool read_unit(config_reader *reader, uint32_t *unit) {
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef", *digit;
        char c = *reader->at;
        if (!c || !(digit = strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c)))
            return false;
        *unit = *unit * 16 + (uint32_t)(digit - digits);
        reader->at++;
    }
    return true;
}

/* What stands after a backslash, as UTF-8 in out; the bytes written, 0 when it is no escape. */
static int read_escape(config_reader *reader, char out[4]) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = *reader->at++;
    const char *simple = c ? strchr(names, c) : NULL;
    if (simple) {
        out[0] = values[simple - names];
        return 1;
    }
    uint32_t high, low;
    if (c != 'u' || !read_unit(reader, &high) || !high)
        return 0;
    if (high >= 0xD800 && high < 0xDC00) {
        if (reader->at[0] != '\\' || reader->at[1] != 'u')
            return 0;
        reader->at += 2;
        if (!read_unit(reader, &low) || low < 0xDC00 || low > 0xDFFF)
            return 0;
        high = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    }
    return car_utf8_encode(high, out);
}

static car_status read_string(config_reader *reader, const char **string) {
    if (!take(reader, "\""))
        return bad(reader, "a string was expected");
    char *out = car_arena_allocate(reader->arguments->arena, strlen(reader->at) + 1, 1);
    if (!out)
        return car_fail(reader->error, CAR_MEMORY, "%s: out of memory", reader->origin);
    *string = out;
    while (*reader->at != '"') {
        if ((unsigned char)*reader->at < 0x20)
            return bad(reader, "a string does not end");
        if (*reader->at != '\\') {
            *out++ = *reader->at++;
            continue;
        }
        reader->at++;
        char bytes[4];
        int length = read_escape(reader, bytes);
        if (length <= 0)
            return bad(reader, "an escape is not one");
        memcpy(out, bytes, (size_t)length);
        out += length;
    }
    reader->at++;
    return CAR_OK;
}

static car_status read_strings(config_reader *reader, cli_list *list) {
    enum { MOST = 4096 };
    *list = (cli_list){0};
    if (!take(reader, "["))
        return bad(reader, "a list was expected");
    list->items = car_arena_allocate(reader->arguments->arena, MOST, sizeof *list->items);
    if (!list->items)
        return car_fail(reader->error, CAR_MEMORY, "%s: out of memory", reader->origin);
    if (take(reader, "]"))
        return CAR_OK;
    do {
        if (list->count == MOST)
            return bad(reader, "a list is too long");
        CAR_TRY(read_string(reader, &list->items[list->count++]));
    } while (take(reader, ","));
    return take(reader, "]") ? CAR_OK : bad(reader, "a list does not end");
}

static car_status read_number(config_reader *reader, const cli_option *option, int64_t *whole,
                              double *number) {
    char word[64];
    skip_blanks(reader);
    size_t length = strspn(reader->at, "+-.0123456789eE");
    if (length >= sizeof word)
        return bad(reader, option->name);
    memcpy(word, reader->at, length);
    word[length] = 0;
    reader->at += length;
    if (option->kind == CLI_INT) {
        if (!cli_read_int(word, whole))
            return bad(reader, option->name);
        *number = (double)*whole;
    } else if (!cli_read_double(word, number)) {
        return bad(reader, option->name);
    }
    if ((option->minimum != 0 || option->maximum != 0) &&
        !(*number >= option->minimum && *number <= option->maximum))
        return bad(reader, option->name);
    return CAR_OK;
}

/* Reads a value; it takes effect unless the option was given on the command line. */
static car_status read_value(config_reader *reader, cli_option *option) {
    bool truth = false;
    int64_t whole = 0;
    double number = 0;
    const char *string = NULL;
    cli_list list;
    switch (option->kind) {
    case CLI_FLAG:
        truth = take(reader, "true");
        if (!truth && !take(reader, "false"))
            return bad(reader, option->name);
        if (!option->given)
            *(bool *)option->value = truth;
        break;
    case CLI_INT:
        CAR_TRY(read_number(reader, option, &whole, &number));
        if (!option->given)
            *(int64_t *)option->value = whole;
        break;
    case CLI_DOUBLE:
        CAR_TRY(read_number(reader, option, &whole, &number));
        if (!option->given)
            *(double *)option->value = number;
        break;
    case CLI_TEXT:
    case CLI_CHOICE:
        if (!take(reader, "null"))
            CAR_TRY(read_string(reader, &string));
        if (option->kind == CLI_CHOICE && (!string || !cli_is_choice(option->choices, string)))
            return bad(reader, option->name);
        if (!option->given)
            *(const char **)option->value = string;
        break;
    case CLI_LIST:
        CAR_TRY(read_strings(reader, &list));
        if (!option->given)
            *(cli_list *)option->value = list;
        break;
    case CLI_HEADING:
        break;
    }
    return CAR_OK;
}

static cli_option *find(const cli_verb *verb, const char *name) {
    for (int i = 0; i < verb->option_count; i++) {
        cli_option *option = &verb->options[i];
        if (option->kind != CLI_HEADING && !option->transient && !strcmp(option->name, name))
            return option;
    }
    return NULL;
}

static car_status read_member(config_reader *reader) {
    const char *name;
    CAR_TRY(read_string(reader, &name));
    if (!take(reader, ":"))
        return bad(reader, "a colon is missing");
    if (!strcmp(name, "operands")) {
        cli_list list;
        CAR_TRY(read_strings(reader, &list));
        if (reader->arguments->count == 0) {
            reader->arguments->count = list.count;
            reader->arguments->operands = list.items;
        }
        return CAR_OK;
    }
    cli_option *option = find(reader->verb, name);
    return option ? read_value(reader, option) : bad(reader, "an option is unknown");
}

car_status cli_config_read(const cli_verb *verb, cli_arguments *arguments, const char *json,
                           const char *origin, car_error *error) {
    config_reader reader = {json, verb, arguments, origin, error};
    if (!take(&reader, "{"))
        return bad(&reader, "an object was expected");
    if (!take(&reader, "}")) {
        do {
            CAR_TRY(read_member(&reader));
        } while (take(&reader, ","));
        if (!take(&reader, "}"))
            return bad(&reader, "the object does not end");
    }
    skip_blanks(&reader);
    return *reader.at ? bad(&reader, "something follows the object") : CAR_OK;
}
