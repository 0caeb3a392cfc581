/*
 * output.c: stdout for data, stderr for the rest, and what a failed write does to the exit code.
 *
 * stdio remembers a failed write; cli_finish asks it once at the end. A pipe whose reader has left
 * (head, less) is no error of ours: poll() tells it from a full disk.
 */
#include "cli.h"
#include <math.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static void write_line(const char *prefix, const char *message) {
    char line[1200];
    size_t length = (size_t)snprintf(line, sizeof line - 1, "%s%s", prefix, message);
    if (length > sizeof line - 2)
        length = sizeof line - 2;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = line[i] == '\t' ? ' ' : '?';
    line[length] = '\n';
    fwrite(line, 1, length + 1, stderr);
}

int cli_fail(const car_error *error) {
    write_line("carousel: ", error->message[0] ? error->message : car_status_text(error->status));
    return (int)error->status;
}

int cli_say_fail(car_status status, const char *format, ...) {
    char message[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    write_line("carousel: ", message);
    return (int)status;
}

void cli_note(const char *format, ...) {
    char message[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    write_line("", message);
}

void cli_add_field(car_text *text, const char *field) {
    if (!strpbrk(field, ",\"\n\r")) {
        car_text_format(text, "%s", field);
        return;
    }
    car_text_format(text, "\"");
    for (const char *at = field; *at; at++)
        car_text_format(text, *at == '"' ? "\"\"" : "%c", *at);
    car_text_format(text, "\"");
}

void cli_add_number(car_text *text, double number) {
    car_text_format(text, isfinite(number) ? "%.9g" : "null", number);
}

int cli_print(car_text *text) {
    int code = 0;
    if (text->failed)
        code = cli_say_fail(CAR_MEMORY, "out of memory while writing the output");
    else if (text->length)
        fwrite(text->data, 1, text->length, stdout);
    car_text_free(text);
    return code;
}

car_status cli_write_file(const char *path, const car_text *text, car_error *error) {
    car_file_writer *writer;
    CAR_TRY(car_file_writer_open(path, NULL, &writer, error));
    car_status status = car_file_writer_write(writer, text->data, text->length, error);
    if (status != CAR_OK) {
        car_file_writer_abandon(writer);
        return status;
    }
    return car_file_writer_commit(writer, error);
}

bool cli_flush(void) {
    return fflush(stdout) == 0 && !ferror(stdout);
}

static bool reader_is_gone(void) {
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP));
}

int cli_finish(int code) {
    if (cli_flush() || reader_is_gone())
        return code;
    return cli_say_fail(
        CAR_IO, "standard output: cannot write; is the disk full? The output is not complete");
}
