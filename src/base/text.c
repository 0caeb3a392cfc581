/*
 * text: a text that grows, UTF-8, and the writing of JSON.
 *
 * In:  pieces of text, formats, strings and numbers to be written as JSON.
 * Out: one NUL-terminated text. Memory running out is remembered in `failed` and asked for once at
 * the end; after it nothing more is added.
 *
 * Numbers are written with the fewest digits of 15, 16 and 17 that read back as the same double,
 * with a point whatever the locale. Bytes of a string that are no UTF-8 are written as U+FFFD: JSON
 * is UTF-8 always.
 */
#include "base.h"
#include <langinfo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 128

void car_text_start(car_text *text, const car_allocator *allocator) {
    *text = (car_text){.allocator = allocator, .capacity = FIRST_CAPACITY};
    text->data = car_allocate(allocator, FIRST_CAPACITY, 1);
    text->failed = text->data == NULL;
}

/* Makes room for `extra` bytes and a NUL. */
static bool reserve(car_text *text, size_t extra) {
    size_t needed, doubled;
    if (text->failed)
        return false;
    if (!car_add(text->length, extra, &needed) || !car_add(needed, 1, &needed) ||
        !car_multiply(text->capacity, 2, &doubled)) {
        text->failed = true;
        return false;
    }
    if (needed <= text->capacity)
        return true;
    size_t capacity = needed > doubled ? needed : doubled;
    char *grown = car_allocate(text->allocator, capacity, 1);
    if (!grown) {
        text->failed = true;
        return false;
    }
    memcpy(grown, text->data, text->length + 1);
    car_release(text->allocator, text->data);
    text->data = grown;
    text->capacity = capacity;
    return true;
}

void car_text_add(car_text *text, const char *data, size_t length) {
    if (length == 0 || !reserve(text, length))
        return;
    memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void car_text_format(car_text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

static void add_json_escape(car_text *text, uint32_t code_point) {
    static const char short_names[] = "btn?fr"; /* 8 .. 13 */
    if (code_point == '"' || code_point == '\\')
        car_text_format(text, "\\%c", (char)code_point);
    else if (code_point >= 8 && code_point <= 13 && code_point != 11)
        car_text_format(text, "\\%c", short_names[code_point - 8]);
    else
        car_text_format(text, "\\u%04x", (unsigned)code_point);
}

void car_text_json_string(car_text *text, const char *data, size_t length) {
    car_text_add(text, "\"", 1);
    size_t plain = 0, position = 0; /* [plain, position) is still to be copied as it is */
    while (position < length) {
        uint32_t code_point = 0;
        int bytes = car_utf8_decode(data + position, length - position, &code_point);
        bool escaped =
            code_point < 0x20 || code_point == '"' || code_point == '\\' || code_point == 0x7f;
        if (bytes > 0 && !escaped) {
            position += (size_t)bytes;
            continue;
        }
        car_text_add(text, data + plain, position - plain);
        if (bytes > 0)
            add_json_escape(text, code_point);
        else
            car_text_add(text, "\xEF\xBF\xBD", 3);
        position += bytes > 0 ? (size_t)bytes : 1;
        plain = position;
    }
    car_text_add(text, data + plain, position - plain);
    car_text_add(text, "\"", 1);
}

/* The decimal mark of the locale, if it is not a point, becomes one. */
static void point_for_locale(char *number) {
    size_t whole = strspn(number, "+-0123456789");
    size_t mark = strcspn(number + whole, "0123456789eE");
    if (mark == 0)
        return;
    number[whole] = '.';
    memmove(number + whole + 1, number + whole + mark, strlen(number + whole + mark) + 1);
}

void car_text_json_number(car_text *text, double value) {
    if (!isfinite(value)) {
        car_text_add(text, "null", 4);
        return;
    }
    char number[64];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(number, sizeof number, "%.*g", digits, value);
        if (strtod(number, NULL) == value)
            break;
    }
    point_for_locale(number);
    car_text_add(text, number, strlen(number));
}

void car_text_free(car_text *text) {
    car_release(text->allocator, text->data);
    *text = (car_text){.allocator = text->allocator};
}

int car_utf8_decode(const char *data, size_t length, uint32_t *code_point) {
    if (length == 0)
        return 0;
    const unsigned char *bytes = (const unsigned char *)data;
    if (bytes[0] < 0x80) {
        *code_point = bytes[0];
        return 1;
    }
    int count = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || length < (size_t)count)
        return -1;
    uint32_t value = bytes[0] & (0x7fu >> count);
    for (int k = 1; k < count; k++) {
        if ((bytes[k] & 0xc0) != 0x80)
            return -1;
        value = value << 6 | (bytes[k] & 0x3fu);
    }
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < smallest[count] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return -1;
    *code_point = value;
    return count;
}

int car_utf8_encode(uint32_t code_point, char out[4]) {
    if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point <= 0xdfff))
        return 0;
    int count = code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    if (count == 1) {
        out[0] = (char)code_point;
        return 1;
    }
    for (int k = count - 1; k > 0; k--) {
        out[k] = (char)(0x80 | (code_point & 0x3f));
        code_point >>= 6;
    }
    out[0] = (char)((0xf00 >> count & 0xff) | code_point);
    return count;
}

/* Copies the run of digits at *position; returns how many. */
static size_t copy_digits(const char *data, size_t length, size_t *position, char *out) {
    size_t count = 0;
    while (*position < length && data[*position] >= '0' && data[*position] <= '9')
        out[count++] = data[(*position)++];
    return count;
}

bool car_number_parse(const char *data, size_t length, double *value) {
    char copy[512]; /* the number as strtod wants it: with the mark of the locale */
    const char *mark = nl_langinfo(RADIXCHAR);
    size_t position = 0, written = 0;
    if (length + strlen(mark) >= sizeof copy)
        return false;
    if (length > 0 && (data[0] == '-' || data[0] == '+'))
        copy[written++] = data[position++];
    size_t digits = copy_digits(data, length, &position, copy + written);
    written += digits;
    if (position < length && data[position] == '.') {
        position++;
        memcpy(copy + written, mark, strlen(mark));
        written += strlen(mark);
        size_t fraction = copy_digits(data, length, &position, copy + written);
        written += fraction;
        digits += fraction;
    }
    if (digits == 0)
        return false;
    if (position < length && (data[position] == 'e' || data[position] == 'E')) {
        copy[written++] = data[position++];
        if (position < length && (data[position] == '-' || data[position] == '+'))
            copy[written++] = data[position++];
        size_t exponent = copy_digits(data, length, &position, copy + written);
        written += exponent;
        if (exponent == 0)
            return false;
    }
    copy[written] = '\0';
    *value = strtod(copy, NULL);
    return position == length && isfinite(*value);
}
