/*
 * error: fills a caller's car_error.
 *
 * In:  a status, perhaps a place in a text (line and column from 1), and a printf format.
 * Out: the same status, and the message cut to one printable line of valid UTF-8.
 *
 * Messages quote names that come from hostile files, so control characters (which could start a new
 * line or a terminal escape) and broken UTF-8 become '?'. A message that does not fit ends in
 * "...".
 */
#include "base.h"
#include <string.h>

const char *car_status_text(car_status status) {
    switch (status) {
#define X(name, value, text)                                                                       \
    case CAR_##name:                                                                               \
        return text;
        CAR_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

static bool is_control(uint32_t code_point) {
    return code_point < 0x20 || (code_point >= 0x7f && code_point <= 0x9f);
}

/* Replaces control characters and bytes that are no UTF-8 in place. */
static void make_printable(char *message) {
    size_t length = strlen(message);
    size_t read = 0, written = 0;
    while (read < length) {
        uint32_t code_point = 0;
        int bytes = car_utf8_decode(message + read, length - read, &code_point);
        if (bytes < 1 || is_control(code_point)) {
            message[written++] = '?';
            read += bytes < 1 ? 1 : (size_t)bytes;
        } else {
            memmove(message + written, message + read, (size_t)bytes);
            written += (size_t)bytes;
            read += (size_t)bytes;
        }
    }
    message[written] = '\0';
}

/* Ends a cut message in "..." without leaving a part of a character before it. */
static void mark_cut(char *message, size_t capacity) {
    size_t end = capacity - 4;
    while (end > 0 && ((unsigned char)message[end] & 0xc0) == 0x80)
        end--;
    memcpy(message + end, "...", 4);
}

static void fill(car_error *error, car_status status, int line, int column, const char *format,
                 va_list arguments) __attribute__((format(printf, 5, 0)));
static void fill(car_error *error, car_status status, int line, int column, const char *format,
                 va_list arguments) {
    error->status = status;
    error->line = line;
    error->column = column;
    int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    if (length < 0)
        snprintf(error->message, sizeof error->message, "%s", car_status_text(status));
    else if ((size_t)length >= sizeof error->message)
        mark_cut(error->message, sizeof error->message);
    make_printable(error->message);
}

car_status car_fail(car_error *error, car_status status, const char *format, ...) {
    if (!error)
        return status;
    va_list arguments;
    va_start(arguments, format);
    fill(error, status, 0, 0, format, arguments);
    va_end(arguments);
    return status;
}

car_status car_fail_at(car_error *error, car_status status, int line, int column,
                       const char *format, ...) {
    if (!error)
        return status;
    va_list arguments;
    va_start(arguments, format);
    fill(error, status, line, column, format, arguments);
    va_end(arguments);
    return status;
}
