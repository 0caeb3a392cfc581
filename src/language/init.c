/*
 * init.c: "number | uniform[(a)] | orthogonal[(a)] | identity[*a] | walk[(g)] | [-]chrono(T)" <-> car_init.
 *
 * Comes in: a text from an `init` line, a net or the command line. Goes out: the kind and its number.
 * What the kinds mean is language.h's; the drawing of the values is the network room's.
 */
#include "syntax.h"
#include <float.h>
#include <math.h>
#include <string.h>

static const char *skip_spaces(const char *text) {
    while (*text == ' ' || *text == '\t')
        text++;
    return text;
}

/* A number with an optional sign; NULL when there is none that a float holds. */
static const char *read_number(const char *text, double *value) {
    text = skip_spaces(text);
    bool negative = *text == '-';
    if (*text == '-' || *text == '+')
        text = skip_spaces(text + 1);
    int length = car_lex_number(text, strlen(text), value);
    if (length == 0 || !(fabs(*value) <= FLT_MAX))
        return NULL;
    if (negative)
        *value = -*value;
    return text + length;
}

static car_status refuse(const char *text, car_error *error) {
    return car_fail(error, CAR_DATA,
                    "'%.60s' is no initial value; write a number, uniform, uniform(a), orthogonal, "
                    "identity*a, walk, chrono(T) or -chrono(T)",
                    text);
}

car_status car_init_parse(const char *text, car_init *init, car_error *error) {
    static const struct {
        const char *word;
        car_init_kind kind;
        double value; /* when none is written */
        bool required;
    } kinds[] = {{"uniform", CAR_INIT_UNIFORM, 0, false},
                 {"orthogonal", CAR_INIT_ORTHOGONAL, 1, false},
                 {"identity", CAR_INIT_IDENTITY, 1, false},
                 {"walk", CAR_INIT_WALK, 0, false},
                 {"chrono", CAR_INIT_CHRONO, 0, true}};
    const char *at = skip_spaces(text);
    bool negative = *at == '-' && *skip_spaces(at + 1) == 'c';
    at = negative ? skip_spaces(at + 1) : at;
    *init = (car_init){CAR_INIT_NUMBER, 0};
    size_t word = strspn(at, "abcdefghijklmnopqrstuvwxyz");
    if (word == 0) {
        at = read_number(at, &init->value);
        return at && *skip_spaces(at) == '\0' ? CAR_OK : refuse(text, error);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strlen(kinds[i].word) != word || strncmp(kinds[i].word, at, word) != 0)
            continue;
        bool product = kinds[i].kind == CAR_INIT_IDENTITY;
        *init = (car_init){kinds[i].kind, kinds[i].value};
        at = skip_spaces(at + word);
        if (*at == '\0' && !kinds[i].required)
            return CAR_OK;
        if (*at != (product ? '*' : '('))
            return refuse(text, error);
        at = read_number(at + 1, &init->value);
        if (at && !product)
            at = *(at = skip_spaces(at)) == ')' ? at + 1 : NULL;
        if (!at || *skip_spaces(at) != '\0')
            return refuse(text, error);
        if (!product && init->value <= 0)
            return car_fail(error, CAR_DATA, "%s(%g) makes no sense; give a number above 0",
                            kinds[i].word, init->value);
        if (kinds[i].required && init->value < 2)
            return car_fail(
                error, CAR_DATA,
                "chrono(T) draws from log U[1, T-1]; give a longest dependency T of 2 or more");
        if (negative)
            init->value = -init->value;
        return CAR_OK;
    }
    return refuse(text, error);
}

void car_init_print(car_text *text, car_init init) {
    static const char *const words[] = {[CAR_INIT_UNIFORM] = "uniform",
                                        [CAR_INIT_ORTHOGONAL] = "orthogonal",
                                        [CAR_INIT_IDENTITY] = "identity",
                                        [CAR_INIT_WALK] = "walk",
                                        [CAR_INIT_CHRONO] = "chrono"};
    bool bare = (init.kind == CAR_INIT_UNIFORM || init.kind == CAR_INIT_WALK) ? init.value == 0
                                                                              : init.value == 1;
    if (init.kind == CAR_INIT_DEFAULT) {
        car_text_format(text, "default");
    } else if (init.kind == CAR_INIT_NUMBER) {
        car_number_print(text, init.value);
    } else if (bare) {
        car_text_format(text, "%s", words[init.kind]);
    } else {
        bool negative = init.kind == CAR_INIT_CHRONO && init.value < 0;
        if (negative)
            car_text_format(text, "-");
        car_text_format(text, init.kind == CAR_INIT_IDENTITY ? "%s*" : "%s(", words[init.kind]);
        car_number_print(text, negative ? -init.value : init.value);
        if (init.kind != CAR_INIT_IDENTITY)
            car_text_format(text, ")");
    }
}
