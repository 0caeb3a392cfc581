/*
 * cli: the command-line program. Stands on all rooms of src/.
 *
 *   main.c     the table of verbs; help, --version     options.c   option tables: parsing, nearest name
 *   cell.c     list, show, check, explain, emit (draw: cell_draw.c)  help.c  --help, in 80 columns
 *   bytes.c    of a model, a session, a trainer
 *   info.c     a model file, or this machine           config.c    resolved options as JSON
 *   lm*.c      train, eval, sample, score              output.c    stdout, errors, exit codes
 *   demo.c     the main job                            signals.c   SIGINT and SIGTERM
 *   inspect.c  gates and memory of a model
 *   story.c    ten claims, measured again
 *   probe.c    which cell learns a long lag (its table, curves, page: probe_show.c)
 *   search*.c  better cells by mutation (search_cli.h)
 *   forecast.c series: predict, backtest               quantize.c  a model in int8
 *   training.c what every `train` shares (training.h)
 *   classify.c sequences: train, eval, predict (its tables: classify_show.c)
 *   tag.c      words of a text: the same (what both share: labelling.h)
 *   watch.c    an answer to every row as it comes (watch_rows.c)
 *   bench.c    the machine's peak, our share of it     progress.c  the live line on stderr
 *
 * A verb is `int cli_VERB(int argc, char **argv)` (argv[0] is the verb) in a file of its own, named in
 * the table of main.c; what it returns is the exit code: a car_status, or 128 + signal. Data goes to
 * stdout, all else to stderr.
 *
 *   int cli_example(int argc, char **argv) {
 *       int64_t hidden = 128;                 // its value now is the default that --help shows
 *       const char *output = NULL;
 *       cli_option options[] = {
 *           {.name = "hidden", .kind = CLI_INT, .value = &hidden, .minimum = 1, .maximum = 65536,
 *            .argument = "N", .help = "units of a layer"},
 *           {.name = "output", .letter = 'o', .kind = CLI_TEXT, .value = &output,
 *            .argument = "FILE", .help = "the model", .default_text = "none"},
 *       };
 *       cli_verb verb = {.name = "example", .summary = "...", .usage = "[options] FILE",
 *           .examples = "carousel example a.txt -o m.safetensors\n", .options = options,
 *           .option_count = 2, .least_operands = 1, .most_operands = 1};
 *       cli_arguments arguments;
 *       int code = cli_parse(&verb, argc, argv, &arguments);
 *       if (code != CLI_GO_ON)
 *           return code;                      // help was printed, or an error
 *       ... work with hidden, output, arguments.operands[0] ...
 *       cli_arguments_free(&arguments);
 *       return status == CAR_OK ? 0 : cli_fail(&error);
 *   }
 */
#ifndef CAR_CLI_H
#define CAR_CLI_H

#include "base.h"
#include <signal.h>

/* ---- options.c ------------------------------------------------------------------------------- */

typedef enum cli_kind {
    CLI_HEADING, /* no option: `help` is a heading of the options that follow */
    CLI_FLAG,    /* bool */
    CLI_INT,     /* int64_t within [minimum, maximum] */
    CLI_DOUBLE,  /* double within [minimum, maximum]; never NaN or infinite */
    CLI_TEXT,    /* const char * */
    CLI_LIST,    /* cli_list: the option may be given many times */
    CLI_CHOICE   /* const char *, one of `choices` */
} cli_kind;

typedef struct cli_list {
    int count;
    const char **items;
} cli_list;

typedef struct cli_option {
    const char *name; /* "hidden" for --hidden */
    char letter;      /* 'o' for -o; 0: none */
    cli_kind kind;
    bool transient; /* not part of the printed configuration (--json, --resume) */
    void *value;    /* where the value goes; what it holds before cli_parse is the default */
    double minimum, maximum; /* INT, DOUBLE; both 0: any */
    const char *choices;     /* CHOICE: "byte|char|word" */
    const char *argument;    /* how help names the value: "N", "FILE" */
    const char *help;
    const char *default_text; /* help shows it in place of the default ("all processors") */
    bool given;               /* set by cli_parse */
} cli_option;

typedef struct cli_verb {
    const char *name;     /* "lm train" */
    const char *summary;  /* one line, no full stop */
    const char *usage;    /* what follows the name: "[options] FILE... -o MODEL" */
    const char *examples; /* lines, each ending in \n; shown first */
    const char *notes;    /* lines shown last; may be NULL */
    cli_option *options;
    int option_count;
    int least_operands, most_operands; /* -1: no limit */
} cli_verb;

typedef struct cli_arguments {
    car_arena *arena;
    int count;
    const char **operands;
} cli_arguments;

enum { CLI_GO_ON = -1 };

/* `--name value`, `--name=value`, `-o value`, flags; `--` ends the options, `-` is an operand;
 * --help and -h print the help. Returns CLI_GO_ON, or the exit code with everything said and
 * *arguments already released. */
int cli_parse(const cli_verb *verb, int argc, char **argv, cli_arguments *arguments);
void cli_arguments_free(cli_arguments *arguments);
/* Was this option on the command line? */
bool cli_given(const cli_verb *verb, const char *name);
/* A whole decimal number: all of the text, no blanks, no hex. */
bool cli_read_int(const char *text, int64_t *value);
/* Is `word` one of "a|b|c"? */
bool cli_is_choice(const char *choices, const char *word);
/* The name nearest to `word` if it is near enough to be meant, else NULL. */
const char *cli_nearest(const char *word, const char *const *names, int count);

/* A verb with sub-verbs: `table[i].run` gets argv from the sub-verb's name on. */
typedef struct cli_command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} cli_command;
/* Runs the one that argv[1] names; without one or with --help prints the list. `verb` is
 * "cell", "lm". */
int cli_dispatch(const char *verb, const char *summary, const cli_command *table, int count,
                 int argc, char **argv);

/* ---- help.c ---------------------------------------------------------------------------------- */

void cli_help(const cli_verb *verb, car_text *text);

/* ---- config.c -------------------------------------------------------------------------------- */

/* The resolved options and operands as one JSON object: {"hidden": 128, "operands": ["a"]}. */
void cli_config_write(const cli_verb *verb, const cli_arguments *arguments, car_text *text);

/* ---- output.c -------------------------------------------------------------------------------- */

/* `carousel: MESSAGE` on stderr, one line without control characters; returns the exit code. */
int cli_fail(const car_error *error);
/* The same with a message of one's own. */
int cli_say_fail(car_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line on stderr, not an error. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes a text to stdout and releases it; CAR_MEMORY (said) if it had failed. Returns the exit
 * code. */
int cli_print(car_text *text);
/* A whole file at once: it is there complete or not at all. CAR_IO. */
car_status cli_write_file(const char *path, const car_text *text, car_error *error) CAR_CHECK_RESULT;
/* Flushes stdout; false when nothing more can be written (disk full, reader gone): stop then, and
 * return. */
bool cli_flush(void);
/* A field of CSV, quoted where it has to be. */
void cli_add_field(car_text *text, const char *field);
/* Nine digits: all that a net's float32 outputs hold, and three times as fast to write as the shortest text that reads back
 * exactly. null where it is not finite. */
void cli_add_number(car_text *text, double number);
/* The last word on the exit code: 5 when stdout could not be written; a reader that has left is no
 * error. */
int cli_finish(int code);

/* ---- signals.c ------------------------------------------------------------------------------- */

/* From here on SIGINT and SIGTERM set the flag; the second of a kind ends the program at once. */
void cli_signals_catch(void);
/* 0, or the number of the signal that came. Borrow it for car_fit_options.stop. */
const volatile sig_atomic_t *cli_signal(void);
/* 128 + signal if one came, else `code`. */
int cli_signal_code(int code);

/* ---- progress.c ------------------------------------------------------------------------------ */

/* One live line on stderr, rewritten on a terminal; elsewhere a plain line every few seconds. */
typedef struct cli_progress {
    bool terminal, open; /* open: a line without its newline stands there */
    int width;           /* columns to use */
    double next;         /* seconds: when the next line is due */
} cli_progress;
void cli_progress_start(cli_progress *progress);
/* Is it time for a line? Ask before composing one. */
bool cli_progress_due(const cli_progress *progress);
/* Shows `line`; cut to the width on a terminal. */
void cli_progress_show(cli_progress *progress, const char *line);
/* Leaves the last line standing and goes to the next. Before any other text on stderr, and at the
 * end. */
void cli_progress_end(cli_progress *progress);

/* ---- cell.c ---------------------------------------------------------------------------------- */

/* A cell of the zoo by name, or of a file (`name` contains / or ends in .cell; "-": standard input). */
car_status cli_cell_load(const char *name, car_cell **cell, car_error *error) CAR_CHECK_RESULT;
/* `carousel cell draw`, in cell_draw.c. */
int cli_cell_draw(int argc, char **argv);
/* The sub-verb `cell mutate` (cell_mutate.c). */
int cli_cell_mutate(int argc, char **argv);

/* Bytes of memory (bytes.c): of a model, of a session with its defaults, and of a trainer with Adam; 0: there is none. */
typedef struct cli_bytes {
    size_t model, session, trainer;
    int64_t batch, unroll; /* of the trainer */
} cli_bytes;
cli_bytes cli_count_bytes(const car_model *model, int64_t batch, int64_t unroll);
/* "model 1.2 MB, session 0.1 MB, trainer 9.5 MB (...)", a line. */
void cli_add_bytes(car_text *text, const cli_bytes *bytes);

/* ---- The verbs ------------------------------------------------------------------------------- */

int cli_cell(int argc, char **argv);
int cli_info(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_lm(int argc, char **argv);
int cli_probe(int argc, char **argv);
int cli_story(int argc, char **argv);
int cli_search(int argc, char **argv);
int cli_demo(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_forecast(int argc, char **argv);
int cli_quantize(int argc, char **argv);
int cli_classify(int argc, char **argv);
int cli_tag(int argc, char **argv);
int cli_watch(int argc, char **argv);

#endif
