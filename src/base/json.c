/*
 * json: a strict reader of JSON (RFC 8259) for files that nobody vouches for.
 *
 * In:  UTF-8 text, the depth and the number of values it may have.
 * Out: a tree in the caller's arena. CAR_DATA with line and column for anything else.
 *
 * Stricter than the RFC where parsers are known to differ: a key that comes twice, U+0000, a lone
 * surrogate, invalid UTF-8, a byte-order mark and anything after the value are refused. A number is
 * `whole` when it is plain digits and at most 2^53, so that no rounding can hide in it; others are
 * the nearest double.
 */
#include "base.h"
#include <stdlib.h>
#include <string.h>

#define LARGEST_EXACT 9007199254740992.0 /* 2^53 */

typedef struct reader {
    const char *data;
    size_t length, position;
    const char *origin;
    int depth_left, values_left;
    car_arena *arena;
    car_error *error;
} reader;

static car_status refuse(const reader *in, const char *cause) {
    int line = 1, column = 1;
    for (size_t k = 0; k < in->position && k < in->length; k++) {
        if (in->data[k] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)in->data[k] & 0xc0) != 0x80) {
            column++;
        }
    }
    return car_fail_at(in->error, CAR_DATA, line, column, "%s: JSON at line %d, column %d: %s",
                       in->origin, line, column, cause);
}

static car_status no_memory(const reader *in) {
    return car_fail(in->error, CAR_MEMORY, "%s: out of memory for its JSON; use a smaller file",
                    in->origin);
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The character at the position, '\0' at the end (a NUL in the text is no legal character anyway).
 */
static char peek(const reader *in) {
    return in->position < in->length ? in->data[in->position] : '\0';
}

static void skip_spaces(reader *in) {
    while (in->position < in->length && memchr(" \t\r\n", in->data[in->position], 4))
        in->position++;
}

static bool skip_text(reader *in, const char *text) {
    size_t length = strlen(text);
    if (in->length - in->position < length || memcmp(in->data + in->position, text, length) != 0)
        return false;
    in->position += length;
    return true;
}

static size_t skip_digits(reader *in) {
    size_t start = in->position;
    while (is_digit(peek(in)))
        in->position++;
    return in->position - start;
}

static car_status read_number(reader *in, car_json *value) {
    size_t start = in->position;
    bool negative = skip_text(in, "-");
    bool zero_first = peek(in) == '0';
    size_t digits = skip_digits(in);
    if (digits == 0 || (zero_first && digits > 1))
        return refuse(in, "a number starts with a digit, and with 0 only before a point");
    bool whole = !(negative && zero_first);
    if (skip_text(in, ".")) {
        whole = false;
        if (skip_digits(in) == 0)
            return refuse(in, "digits expected after the point");
    }
    if (skip_text(in, "e") || skip_text(in, "E")) {
        whole = false;
        if (!skip_text(in, "+"))
            skip_text(in, "-");
        if (skip_digits(in) == 0)
            return refuse(in, "digits expected in the exponent");
    }
    value->kind = CAR_JSON_NUMBER;
    if (!car_number_parse(in->data + start, in->position - start, &value->number))
        return refuse(in, "the number is too large or too long");
    /* 2^53 + 1 rounds to 2^53: only what is below it is surely as written. */
    value->whole = whole && value->number < LARGEST_EXACT && value->number > -LARGEST_EXACT;
    return CAR_OK;
}

/* Four hexadecimal digits; -1 when they are not there. */
static int32_t read_hex(reader *in) {
    if (in->length - in->position < 4)
        return -1;
    int32_t value = 0;
    for (int k = 0; k < 4; k++) {
        char c = in->data[in->position + (size_t)k];
        int digit = is_digit(c)              ? c - '0'
                    : (c >= 'a' && c <= 'f') ? c - 'a' + 10
                    : (c >= 'A' && c <= 'F') ? c - 'A' + 10
                                             : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    in->position += 4;
    return value;
}

/* The code point after `\u`; 0 when it is none that may stand here. */
static uint32_t read_unicode_escape(reader *in) {
    int32_t first = read_hex(in);
    if (first <= 0)
        return 0;
    if (first < 0xd800 || first > 0xdfff)
        return (uint32_t)first;
    if (first > 0xdbff || !skip_text(in, "\\u"))
        return 0;
    int32_t second = read_hex(in);
    if (second < 0xdc00 || second > 0xdfff)
        return 0;
    return 0x10000u + ((uint32_t)(first - 0xd800) << 10) + (uint32_t)(second - 0xdc00);
}

static car_status read_escape(reader *in, char *out, size_t *written) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char name = peek(in);
    const char *found = name ? strchr(names, name) : NULL;
    if (found) {
        in->position++;
        out[(*written)++] = values[found - names];
        return CAR_OK;
    }
    if (!skip_text(in, "u"))
        return refuse(in, "no such escape");
    uint32_t code_point = read_unicode_escape(in);
    if (code_point == 0)
        return refuse(in, "\\u needs four hexadecimal digits, no zero and no lone surrogate");
    *written += (size_t)car_utf8_encode(code_point, out + *written);
    return CAR_OK;
}

/* Bytes up to the closing quote: no text is longer decoded than it is written. */
static size_t quoted_length(const reader *in) {
    size_t end = in->position;
    while (end < in->length && in->data[end] != '"')
        end += in->data[end] == '\\' ? 2 : 1;
    return end - in->position;
}

static car_status read_string(reader *in, const char **text, size_t *length) {
    if (!skip_text(in, "\""))
        return refuse(in, "a string in double quotes expected");
    char *out = car_arena_allocate(in->arena, quoted_length(in) + 1, 1);
    if (!out)
        return no_memory(in);
    size_t written = 0;
    while (!skip_text(in, "\"")) {
        uint32_t code_point = 0;
        int bytes =
            car_utf8_decode(in->data + in->position, in->length - in->position, &code_point);
        if (bytes == 0)
            return refuse(in, "the string has no end");
        if (bytes < 0)
            return refuse(in, "invalid UTF-8");
        if (code_point < 0x20)
            return refuse(in, "a control character in a string");
        if (code_point == '\\') {
            in->position++;
            CAR_TRY(read_escape(in, out, &written));
            continue;
        }
        memcpy(out + written, in->data + in->position, (size_t)bytes);
        written += (size_t)bytes;
        in->position += (size_t)bytes;
    }
    *text = out;
    *length = written;
    return CAR_OK;
}

static int compare_names(const void *a, const void *b) {
    const car_json *const *first = a, *const *second = b;
    return strcmp((*first)->name, (*second)->name);
}

/* Sorts the members by name, for lookups and to find those that come twice. */
static car_status sort_members(reader *in, car_json *object) {
    const car_json **members =
        car_arena_allocate(in->arena, (size_t)object->count, sizeof *members);
    if (!members)
        return no_memory(in);
    int count = 0;
    for (const car_json *member = object->first; member; member = member->next)
        members[count++] = member;
    qsort(members, (size_t)count, sizeof *members, compare_names);
    for (int k = 1; k < count; k++) {
        if (strcmp(members[k - 1]->name, members[k]->name) == 0) {
            char cause[160];
            snprintf(cause, sizeof cause, "the key \"%.100s\" comes twice", members[k]->name);
            return refuse(in, cause);
        }
    }
    object->members = members;
    return CAR_OK;
}

static car_status read_value(reader *in, car_json *value);

/* The values between the brackets, each with its name before it in an object. */
static car_status read_children(reader *in, car_json *parent, char closing) {
    const char closing_text[2] = {closing, '\0'};
    const car_json **link = &parent->first;
    skip_spaces(in);
    if (skip_text(in, closing_text))
        return CAR_OK;
    do {
        car_json *child = car_arena_allocate(in->arena, 1, sizeof *child);
        if (!child)
            return no_memory(in);
        skip_spaces(in);
        if (closing == '}') {
            size_t length;
            CAR_TRY(read_string(in, &child->name, &length));
            skip_spaces(in);
            if (!skip_text(in, ":"))
                return refuse(in, "':' expected after a key");
        }
        CAR_TRY(read_value(in, child));
        *link = child;
        link = &child->next;
        parent->count++;
        skip_spaces(in);
    } while (skip_text(in, ","));
    return skip_text(in, closing_text) ? CAR_OK : refuse(in, "',' or a closing bracket expected");
}

static car_status read_nested(reader *in, car_json *value, char closing) {
    if (in->depth_left-- == 0)
        return refuse(in, "nested too deep");
    in->position++;
    value->kind = closing == '}' ? CAR_JSON_OBJECT : CAR_JSON_ARRAY;
    CAR_TRY(read_children(in, value, closing));
    in->depth_left++;
    return closing == '}' ? sort_members(in, value) : CAR_OK;
}

static car_status read_value(reader *in, car_json *value) {
    if (in->values_left-- == 0)
        return refuse(in, "too many values");
    skip_spaces(in);
    char c = peek(in);
    if (c == '{' || c == '[')
        return read_nested(in, value, c == '{' ? '}' : ']');
    if (c == '"') {
        value->kind = CAR_JSON_STRING;
        return read_string(in, &value->text, &value->length);
    }
    if (c == '-' || is_digit(c))
        return read_number(in, value);
    value->kind = CAR_JSON_BOOL;
    value->truth = true;
    if (skip_text(in, "true"))
        return CAR_OK;
    value->truth = false;
    if (skip_text(in, "false"))
        return CAR_OK;
    value->kind = CAR_JSON_NULL;
    return skip_text(in, "null") ? CAR_OK : refuse(in, "a value expected");
}

car_status car_json_parse(const char *data, size_t length, const char *origin, int depth,
                          int values, car_arena *arena, const car_json **root, car_error *error) {
    reader in = {.data = data,
                 .length = length,
                 .origin = origin,
                 .depth_left = depth,
                 .values_left = values,
                 .arena = arena,
                 .error = error};
    car_json *value = car_arena_allocate(arena, 1, sizeof *value);
    if (!value)
        return no_memory(&in);
    CAR_TRY(read_value(&in, value));
    skip_spaces(&in);
    if (in.position < in.length)
        return refuse(&in, "the text goes on after its value");
    *root = value;
    return CAR_OK;
}

static int compare_with_name(const void *name, const void *member) {
    const car_json *const *other = member;
    return strcmp(name, (*other)->name);
}

const car_json *car_json_member(const car_json *object, const char *name) {
    if (!object || object->kind != CAR_JSON_OBJECT || object->count == 0)
        return NULL;
    const car_json *const *found = bsearch(name, object->members, (size_t)object->count,
                                           sizeof *object->members, compare_with_name);
    return found ? *found : NULL;
}
