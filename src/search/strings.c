/*
 * strings.c: arithmetic and XML (Jozefowicz, Zaremba & Sutskever 2015, section 3.5) as strings of symbols.
 *
 *   arithmetic  `3e36d9-h1h39f94eeh43keg3c=-13991064.`: sum or difference of two numbers; letters that mean nothing stand
 *               between the characters; targets are the characters of the answer and its point.
 *               Ours, where the paper is silent: 1 to `digits` digits, as likely each, the first no 0 unless it is all;
 *               half of the numbers have a minus; behind each character k letters with chance 0.7 * 0.3^k.
 *   xml         `<wezq><zmgsx></zmgsx></wezq>`: a name has 2 to 10 letters; with one half, and after 50 turns, the tag opened
 *               last is closed, or, when none is open, the string ends; else a tag is opened. All symbols are targets.
 *               Ours: empty strings are passed over.
 *
 * In:  seed, set. Out: strings 0, 1, 2 ... of the set, each of its own random numbers, until there are enough symbols.
 */
#include "search.h"
#include <string.h>

enum { LETTERS = 26, PLUS = 36, MINUS, EQUALS, POINT };
enum { OPEN = 26, CLOSE, SLASH };
enum { TURNS = 50, NAME_LEAST = 2, NAME_MOST = 10, FIRST_CAPACITY = 4096 };

char car_arithmetic_character(int symbol) {
    return "abcdefghijklmnopqrstuvwxyz0123456789+-=."[symbol];
}

char car_xml_character(int symbol) {
    return "abcdefghijklmnopqrstuvwxyz<>/"[symbol];
}

void car_strings_free(car_strings *strings) {
    car_release(strings->allocator, strings->ids);
    car_release(strings->allocator, strings->counted);
    *strings = (car_strings){.allocator = strings->allocator};
}

/* Room for one symbol more. */
static bool grow(car_strings *strings) {
    if (strings->count < strings->capacity)
        return true;
    size_t capacity = strings->capacity ? strings->capacity * 2 : FIRST_CAPACITY;
    int32_t *ids = car_allocate(strings->allocator, capacity, sizeof *ids);
    int32_t *counted = car_allocate(strings->allocator, capacity, sizeof *counted);
    if (!ids || !counted) {
        car_release(strings->allocator, ids);
        car_release(strings->allocator, counted);
        return false;
    }
    if (strings->count > 0) {
        memcpy(ids, strings->ids, strings->count * sizeof *ids);
        memcpy(counted, strings->counted, strings->count * sizeof *counted);
    }
    car_release(strings->allocator, strings->ids);
    car_release(strings->allocator, strings->counted);
    strings->ids = ids;
    strings->counted = counted;
    strings->capacity = capacity;
    return true;
}

static bool put(car_strings *strings, int symbol, bool counted) {
    if (!grow(strings))
        return false;
    strings->ids[strings->count] = symbol;
    strings->counted[strings->count++] = counted;
    return true;
}

static int symbol_of(char character) {
    if (character >= '0' && character <= '9')
        return LETTERS + character - '0';
    return character == '+' ? PLUS : character == '-' ? MINUS : character == '=' ? EQUALS : POINT;
}

/* ---- Arithmetic --------------------------------------------------------------------------------------- */

static int64_t draw_number(int most_digits, car_probe_draws *draws) {
    int digits = 1 + car_probe_draw_below(draws, most_digits);
    int64_t number = 0;
    for (int i = 0; i < digits; i++) {
        bool first = i == 0 && digits > 1;
        number = 10 * number + first + car_probe_draw_below(draws, first ? 9 : 10);
    }
    return car_probe_draw_below(draws, 2) ? -number : number;
}

static bool put_question(const char *question, car_probe_draws *draws, car_strings *strings) {
    for (const char *at = question; *at; at++) {
        if (!put(strings, symbol_of(*at), false))
            return false;
        while (car_probe_draw_below(draws, 10) < 3)
            if (!put(strings, car_probe_draw_below(draws, LETTERS), false))
                return false;
    }
    return true;
}

static bool put_arithmetic(int digits, car_probe_draws *draws, car_strings *strings) {
    char question[64], answer[32];
    int64_t first = draw_number(digits, draws), second = draw_number(digits, draws);
    bool adds = car_probe_draw_below(draws, 2);
    snprintf(question, sizeof question, "%lld%c%lld", (long long)first, adds ? '+' : '-',
             (long long)second);
    snprintf(answer, sizeof answer, "%lld.", (long long)(adds ? first + second : first - second));
    bool room = put_question(question, draws, strings) && put(strings, EQUALS, false);
    for (const char *at = answer; *at && room; at++)
        room = put(strings, symbol_of(*at), true);
    return room;
}

car_status car_strings_arithmetic(int digits, uint64_t seed, car_probe_set set, size_t least,
                                  car_strings *strings, car_error *error) {
    for (uint64_t sequence = 0; strings->count < least; sequence++) {
        car_probe_draws draws = car_probe_draws_of(seed, set, sequence);
        if (!put_arithmetic(digits, &draws, strings))
            return car_fail(error, CAR_MEMORY, "arithmetic: no memory for %zu symbols", least);
    }
    return CAR_OK;
}

/* ---- XML ---------------------------------------------------------------------------------------------- */

typedef struct xml_tag {
    int length;
    int letters[NAME_MOST];
} xml_tag;

static bool put_tag(const xml_tag *tag, bool closes, car_strings *strings) {
    bool room = put(strings, OPEN, true) && (!closes || put(strings, SLASH, true));
    for (int i = 0; i < tag->length && room; i++)
        room = put(strings, tag->letters[i], true);
    return room && put(strings, CLOSE, true);
}

static void draw_tag(car_probe_draws *draws, xml_tag *tag) {
    tag->length = NAME_LEAST + car_probe_draw_below(draws, NAME_MOST - NAME_LEAST + 1);
    for (int i = 0; i < tag->length; i++)
        tag->letters[i] = car_probe_draw_below(draws, LETTERS);
}

static bool put_xml(car_probe_draws *draws, car_strings *strings) {
    xml_tag open[TURNS];
    int depth = 0;
    for (int turn = 0;; turn++) {
        bool closes = car_probe_draw_below(draws, 2) || turn >= TURNS;
        if (closes && depth == 0)
            return true;
        if (!closes)
            draw_tag(draws, &open[depth++]);
        if (!put_tag(&open[closes ? --depth : depth - 1], closes, strings))
            return false;
    }
}

car_status car_strings_xml(uint64_t seed, car_probe_set set, size_t least, car_strings *strings,
                           car_error *error) {
    for (uint64_t sequence = 0; strings->count < least; sequence++) {
        car_probe_draws draws = car_probe_draws_of(seed, set, sequence);
        if (!put_xml(&draws, strings))
            return car_fail(error, CAR_MEMORY, "xml: no memory for %zu symbols", least);
    }
    return CAR_OK;
}
