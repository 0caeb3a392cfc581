/*
 * setting_table.h: how the lines of a table of settings are written, for files that hold one. Before it is included,
 * SETTINGS_OF names the struct of options that the settings are in.
 */
#ifndef CAR_SETTING_TABLE_H
#define CAR_SETTING_TABLE_H

#include <stddef.h>

#define AT(field) offsetof(SETTINGS_OF, field)
#define HEADING(words)                                                                             \
    { .kind = CAR_SETTING_HEADING, .help = words }
#define INT(option, field, preset, least, most, shown, argument_name, words)                       \
    {                                                                                              \
        .name = option, .kind = CAR_SETTING_INT, .offset = AT(field), .number = preset,            \
        .minimum = least, .maximum = most, .text = shown, .argument = argument_name, .help = words \
    }
#define NUMBER(option, field, preset, least, most, shown, words)                                   \
    {                                                                                              \
        .name = option, .kind = CAR_SETTING_NUMBER, .offset = AT(field), .number = preset,         \
        .minimum = least, .maximum = most, .text = shown, .argument = "X", .help = words           \
    }
#define TEXT(option, field, preset, argument_name, words)                                          \
    {                                                                                              \
        .name = option, .kind = CAR_SETTING_TEXT, .offset = AT(field), .text = preset,             \
        .argument = argument_name, .help = words                                                   \
    }
#define CHOICE(option, field, preset, names, words)                                                \
    {                                                                                              \
        .name = option, .kind = CAR_SETTING_CHOICE, .offset = AT(field), .text = preset,           \
        .choices = names, .help = words                                                            \
    }
#define FLAG(option, field, words)                                                                 \
    { .name = option, .kind = CAR_SETTING_FLAG, .offset = AT(field), .help = words }

#endif
