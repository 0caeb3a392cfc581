/*
 * lex.c: the text of a cell -> tokens, one at a time.
 *
 * Comes in: bytes of any kind (checked here: length by the caller, NUL and other control bytes, UTF-8).
 * Goes out: names (with their prime), numbers, punctuation, one NEWLINE per line that is not inside
 * brackets, END. Comments and white space are dropped.
 */
#include "syntax.h"
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

car_status car_report(const car_reporter *reporter, car_place place, const char *format, ...) {
    char message[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return car_fail_at(reporter->error, CAR_DATA, place.line, place.column, "%.80s:%d:%d: %s",
                       reporter->origin, place.line, place.column, message);
}

car_status car_report_memory(const car_reporter *reporter) {
    return car_fail(reporter->error, CAR_MEMORY,
                    "%.80s: out of memory while compiling the cell; free some and try again",
                    reporter->origin);
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name_character(char c) {
    return is_letter(c) || is_digit(c) || c == '_';
}

static char peek(const car_lexer *lexer, size_t ahead) {
    size_t place = lexer->position + ahead;
    return place < lexer->length ? lexer->text[place] : '\0';
}

int car_lex_number(const char *text, size_t length, double *value) {
    size_t end = 0, digits = 0;
    while (end < length && is_digit(text[end]))
        end++, digits++;
    if (end < length && text[end] == '.') {
        end++;
        while (end < length && is_digit(text[end]))
            end++, digits++;
    }
    if (digits == 0)
        return 0;
    if (end < length && (text[end] == 'e' || text[end] == 'E')) {
        size_t exponent = end + 1;
        if (exponent < length && (text[exponent] == '+' || text[exponent] == '-'))
            exponent++;
        if (exponent < length && is_digit(text[exponent])) {
            while (exponent < length && is_digit(text[exponent]))
                exponent++;
            end = exponent;
        }
    }
    char copy[64];
    if (end >= sizeof copy)
        return 0;
    memcpy(copy, text, end);
    copy[end] = '\0';
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* static in libc: never fails */
    *value = strtod_l(copy, NULL, plain);
    return (int)end;
}

bool car_number_fits(double value) {
    const double size = fabs(value);
    return value == 0 || (size >= FLT_MIN && size <= FLT_MAX);
}

static car_status lex_number(car_lexer *lexer, car_token *token) {
    int length = car_lex_number(token->start, lexer->length - lexer->position, &token->value);
    if (length == 0)
        return car_report(
            lexer->reporter, token->place,
            "this is not a number; write it like 0.5 or 1e-5, in fewer than 64 characters");
    if (!car_number_fits(token->value))
        return car_report(lexer->reporter, token->place,
                          "%.*s is beyond what a float holds; use a number from 1.2e-38 to 3.4e38",
                          length, token->start);
    token->kind = CAR_TOKEN_NUMBER;
    token->length = length;
    lexer->position += (size_t)length;
    return CAR_OK;
}

static car_status lex_name(car_lexer *lexer, car_token *token) {
    size_t length = 1;
    while (is_name_character(peek(lexer, length)))
        length++;
    if (peek(lexer, length) == '.' && is_letter(peek(lexer, length + 1))) {
        token->dotted = true;
        length++;
        while (is_name_character(peek(lexer, length)))
            length++;
    }
    if (length > CAR_NAME_LIMIT)
        return car_report(lexer->reporter, token->place, "a name of %zu characters; use at most %d",
                          length, CAR_NAME_LIMIT);
    token->kind = CAR_TOKEN_NAME;
    token->length = (int)length;
    lexer->position += length;
    if (peek(lexer, 0) == '\'') {
        token->primed = true;
        lexer->position++;
    }
    return CAR_OK;
}

/* Skips white space and a comment; a line break too when inside brackets. */
static car_status skip_blank(car_lexer *lexer, bool *skipped) {
    bool comment = false;
    for (; lexer->position < lexer->length; *skipped = true) {
        char c = lexer->text[lexer->position];
        car_place place = {lexer->line, (int)(lexer->position - lexer->line_start) + 1};
        if (c == '\n') {
            if (lexer->depth == 0)
                return CAR_OK;
            comment = false;
            lexer->position++;
            lexer->line++;
            lexer->line_start = lexer->position;
        } else if (c == '#' || comment) {
            uint32_t code_point;
            int length = car_utf8_decode(lexer->text + lexer->position,
                                         lexer->length - lexer->position, &code_point);
            if (length < 1 || c == '\0')
                return car_report(lexer->reporter, place,
                                  "byte 0x%02x is not UTF-8 text; save the file as UTF-8",
                                  (unsigned char)c);
            comment = true;
            lexer->position += (size_t)length;
        } else if (c == ' ' || c == '\t' || c == '\r') {
            lexer->position++;
        } else {
            return CAR_OK;
        }
    }
    return CAR_OK;
}

car_status car_lex(car_lexer *lexer, car_token *token) {
    *token = (car_token){.kind = CAR_TOKEN_END};
    CAR_TRY(skip_blank(lexer, &token->spaced));
    token->place = (car_place){lexer->line, (int)(lexer->position - lexer->line_start) + 1};
    token->start = lexer->text + lexer->position;
    if (lexer->position >= lexer->length)
        return CAR_OK;
    char c = *token->start;
    if (is_letter(c))
        return lex_name(lexer, token);
    if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1))))
        return lex_number(lexer, token);
    token->length = 1;
    token->kind = (unsigned char)c;
    if (c == '-' && peek(lexer, 1) == '>') {
        token->kind = CAR_TOKEN_ARROW;
        token->length = 2;
    } else if (c == '\n') {
        token->kind = CAR_TOKEN_NEWLINE;
        lexer->line++;
        lexer->line_start = lexer->position + 1;
    } else if (c == '(' || c == '[') {
        lexer->depth++;
    } else if (c == ')' || c == ']') {
        if (lexer->depth > 0)
            lexer->depth--;
    } else if (c == '\0' || strchr("=+-*/@,", c) == NULL) {
        bool printable = c > ' ' && c <= '~';
        return car_report(lexer->reporter, token->place,
                          printable
                              ? "the character '%c' means nothing here; see docs/cells.md"
                              : "byte 0x%02x means nothing here; use plain ASCII outside comments",
                          (unsigned char)c);
    }
    lexer->position += (size_t)token->length;
    return CAR_OK;
}
