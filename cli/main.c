/*
 * main.c: the table of verbs, help and the version.
 *
 * In: argv. Out: the exit code of the verb, or 5 when its output could not be written. SIGPIPE is
 * ignored, so that a reader that leaves early never ends a job that has a model to save.
 */
#include "cli.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_command verbs[] = {
    {"demo", "an LSTM learns C from the headers of this machine, in a minute", cli_demo},
    {"lm", "language models: train, eval, sample, score", cli_lm},
    {"probe", "which cell learns a long lag, and how far it reaches", cli_probe},
    {"story", "ten claims about recurrent nets, measured again", cli_story},
    {"cell", "cells, the zoo's and yours: list, show, check, explain, draw", cli_cell},
    {"inspect", "what the gates of a model do, how long it remembers", cli_inspect},
    {"search", "better cells, found by mutation", cli_search},
    {"forecast", "time series: predict, backtest beside what costs nothing", cli_forecast},
    {"quantize", "a model with weights in int8: a quarter of the size, to be run", cli_quantize},
    {"classify", "sequences into classes: train, eval, predict", cli_classify},
    {"tag", "words of a text into classes: train, eval, predict", cli_tag},
    {"watch", "rows of numbers as they come: an answer to each at once", cli_watch},
    {"info", "what is in a model file; without one: this machine", cli_info},
    {"bench", "how fast this machine is, and how near Carousel comes", cli_bench},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

static int overview(void) {
    car_text text;
    car_text_start(&text, NULL);
    car_text_format(&text, "carousel %s: recurrent networks whose cells are equations\n\n",
                    car_version());
    car_text_format(&text,
                    "Examples\n"
                    "  carousel lm train book.txt -o m.safetensors --minutes 5\n"
                    "  carousel lm sample m.safetensors --prompt 'Once'\n"
                    "  carousel cell show lstm > my.cell\n"
                    "  carousel lm train book.txt -o m.safetensors --cell my.cell\n\nVerbs\n");
    for (int i = 0; i < VERBS; i++)
        car_text_format(&text, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    car_text_format(&text, "  %-8s %s\n", "help", "help VERB: examples and every option of a verb");
    car_text_format(
        &text, "\nExit codes: 0 fine, 1 failed, 2 usage, 3 bad data, 4 bad model, 5 cannot read\n"
               "or write, 6 out of memory, 7 diverged, 130 and 143 interrupted after saving.\n");
    return cli_print(&text);
}

static int run(int argc, char **argv) {
    for (int i = 0; i < VERBS; i++)
        if (!strcmp(argv[0], verbs[i].name))
            return verbs[i].run(argc, argv);
    const char *names[VERBS + 1] = {"help"};
    for (int i = 0; i < VERBS; i++)
        names[i + 1] = verbs[i].name;
    const char *near = cli_nearest(argv[0], names, VERBS + 1);
    if (near)
        return cli_say_fail(CAR_USAGE, "unknown verb %s; did you mean carousel %s?", argv[0], near);
    return cli_say_fail(CAR_USAGE, "unknown verb %s; see carousel help", argv[0]);
}

/* `help lm train` is `lm train --help`. */
static int help(int argc, char **argv) {
    if (argc < 2)
        return overview();
    char *words[4] = {0}, option[] = "--help";
    int count = argc - 1 < 2 ? argc - 1 : 2;
    for (int i = 0; i < count; i++)
        words[i] = argv[i + 1];
    words[count] = option;
    return run(count + 1, words);
}

static int version(void) {
    car_text text;
    car_text_start(&text, NULL);
    const char *level = car_cpu_level_name(NULL);
    car_text_format(&text, "carousel %s (cpu level %s)\n", car_version(),
                    level ? level : "unknown");
    return cli_print(&text);
}

static int start(int argc, char **argv) {
    if (argc < 2) {
        overview();
        return cli_say_fail(CAR_USAGE, "which verb? (listed above)");
    }
    if (!strcmp(argv[1], "--version"))
        return version();
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return overview();
    if (!strcmp(argv[1], "help"))
        return help(argc - 1, argv + 1);
    if (argv[1][0] == '-')
        return cli_say_fail(CAR_USAGE, "unknown option %s; the verb comes first: see carousel help",
                            argv[1]);
    return run(argc - 1, argv + 1);
}

/* Between two jobs the threads of gcc's OpenMP spin for milliseconds before they sleep. On a machine that others
 * use too, that spends the very time slices that the next job needs: beside two busy processes 1,000 small updates
 * took 4.2 s, and 0.8 to 2.5 s with short spins. libgomp reads the variable before main, so the program starts itself once more;
 * who has set a policy of their own keeps it. Threads that are bound to processors would start the second time with the first one's alone. */
static void spin_briefly(char **argv) {
    static const char *const own[] = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_PROC_BIND",
                                      "OMP_PLACES", "GOMP_CPU_AFFINITY"};
    for (size_t k = 0; k < sizeof own / sizeof *own; k++)
        if (getenv(own[k]))
            return;
    if (setenv("GOMP_SPINCOUNT", "10000", 1) == 0)
        execv("/proc/self/exe", argv); /* returns only when it fails: then we go on as we are */
}

int main(int argc, char **argv) {
    spin_briefly(argv);
    signal(SIGPIPE, SIG_IGN);
    return cli_finish(start(argc, argv));
}
