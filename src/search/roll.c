/*
 * roll.c: piano rolls (Boulanger-Lewandowski, Bengio & Vincent 2012) as text.
 *
 * In:  a file: one step a line, the MIDI pitches that sound (21 .. 108) in rising order with a blank between, `-` for
 *      silence, an empty line between pieces.
 * Out: 88 bits a step, and where each piece begins.
 */
#include "search.h"
#include <string.h>

enum { ROLL_LIMIT = 1 << 28 }; /* bytes */

void car_roll_free(car_roll *roll) {
    car_release(roll->allocator, roll->notes);
    car_release(roll->allocator, roll->begin);
    *roll = (car_roll){.allocator = roll->allocator};
}

static car_status wrong(const char *origin, size_t line, const char *what, car_error *error) {
    return car_fail_at(error, CAR_DATA, (int)line, 0,
                       "%.200s, line %zu: %s; a line is pitches 21 to 108 in rising order, - for "
                       "silence, or empty between pieces",
                       origin, line, what);
}

/* The pitches of a line; NULL, or what is wrong with it. */
static const char *read_step(const char *line, size_t length, uint64_t notes[2]) {
    int last = CAR_ROLL_LOWEST - 1;
    if (length == 1 && line[0] == '-')
        return NULL;
    for (size_t at = 0; at < length;) {
        int pitch = 0;
        size_t begin = at;
        for (; at < length && line[at] >= '0' && line[at] <= '9' && at - begin < 4; at++)
            pitch = 10 * pitch + line[at] - '0';
        if (at == begin || (at < length && line[at++] != ' '))
            return "no number";
        if (pitch <= last || pitch >= CAR_ROLL_LOWEST + CAR_ROLL_PITCHES)
            return "a pitch out of range or order";
        last = pitch;
        int bit = pitch - CAR_ROLL_LOWEST;
        notes[bit / 64] |= 1ULL << (bit % 64);
    }
    return NULL;
}

static size_t count_lines(const char *data, size_t length) {
    size_t lines = 1;
    for (size_t i = 0; i < length; i++)
        lines += data[i] == '\n';
    return lines;
}

static car_status read_lines(const char *data, size_t length, const char *origin, car_roll *roll,
                             car_error *error) {
    size_t number = 1;
    for (size_t at = 0; at < length; number++) {
        const char *end = memchr(data + at, '\n', length - at);
        size_t next = end ? (size_t)(end - data) + 1 : length;
        size_t bytes = end ? next - 1 - at : next - at;
        bytes -= bytes > 0 && data[at + bytes - 1] == '\r';
        bool begun = roll->steps > roll->begin[roll->pieces];
        if (bytes == 0 && begun)
            roll->begin[++roll->pieces] = roll->steps;
        if (bytes > 0) {
            const char *what = read_step(data + at, bytes, roll->notes[roll->steps++]);
            if (what)
                return wrong(origin, number, what, error);
        }
        at = next;
    }
    if (roll->steps > roll->begin[roll->pieces])
        roll->begin[++roll->pieces] = roll->steps;
    if (roll->pieces == 0)
        return car_fail(error, CAR_DATA, "%.200s: no step of music in it", origin);
    return CAR_OK;
}

car_status car_roll_parse(const char *data, size_t length, const char *origin,
                          const car_allocator *allocator, car_roll *roll, car_error *error) {
    size_t lines = count_lines(data, length);
    *roll = (car_roll){.allocator = allocator};
    roll->notes = car_allocate(allocator, lines, sizeof *roll->notes);
    roll->begin = car_allocate(allocator, lines + 1, sizeof *roll->begin);
    car_status status = roll->notes && roll->begin
                            ? read_lines(data, length, origin, roll, error)
                            : car_fail(error, CAR_MEMORY, "%.200s: no memory for it", origin);
    if (status != CAR_OK)
        car_roll_free(roll);
    return status;
}

car_status car_roll_read(const char *path, const car_allocator *allocator, car_roll *roll,
                         car_error *error) {
    char *data;
    size_t length;
    CAR_TRY(car_file_read(path, ROLL_LIMIT, allocator, &data, &length, error));
    car_status status = car_roll_parse(data, length, path, allocator, roll, error);
    car_release(allocator, data);
    return status;
}
