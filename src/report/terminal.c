/*
 * terminal.c: what stands at the other end of a file descriptor.
 */
#include "report.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool car_terminal_live(int descriptor) {
    const char *term = getenv("TERM");
    return isatty(descriptor) && term && *term && strcmp(term, "dumb") != 0;
}

int car_terminal_width(int descriptor) {
    struct winsize size;
    if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        return size.ws_col;
    return 80;
}

bool car_terminal_color(int descriptor) {
    const char *no_color = getenv("NO_COLOR");
    return car_terminal_live(descriptor) && !(no_color && *no_color);
}

bool car_terminal_utf8(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

size_t car_text_fit(const char *line, int columns) {
    size_t at = 0, length = strlen(line);
    while (at < length) {
        if (line[at] == '\033' && line[at + 1] == '[') {
            at += 2 + strcspn(line + at + 2, "m");
            at += line[at] == 'm';
            continue;
        }
        if (columns-- <= 0)
            break;
        uint32_t code_point;
        int bytes = car_utf8_decode(line + at, length - at, &code_point);
        at += bytes > 0 ? (size_t)bytes : 1;
    }
    return at;
}
