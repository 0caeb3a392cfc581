/*
 * search_options.c: the options that make up a study's settings.
 *
 * In: the table of src/search/settings.c. Out: options of the command line; checked settings.
 */
#include "search_cli.h"

static void add(cli_search_options *options, cli_option option) {
    options->options[options->count++] = option;
}

static void add_numbers(cli_search_options *options, bool searches) {
    for (int i = 0; i < car_search_number_count; i++) {
        const car_search_number *number = &car_search_numbers[i];
        char *at = (char *)&options->settings + number->offset;
        if (number->searches == searches)
            add(options, (cli_option){.name = number->name,
                                      .kind = number->whole ? CLI_INT : CLI_DOUBLE,
                                      .value = at,
                                      .minimum = number->least,
                                      .maximum = number->most,
                                      .argument = number->whole ? "N" : "X",
                                      .help = number->help});
    }
}

void cli_search_options_fill(cli_search_options *options, bool searches) {
    options->settings = car_search_defaults();
    add(options, (cli_option){.kind = CLI_HEADING, .help = "What is trained"});
    add(options, (cli_option){.name = "task",
                              .kind = CLI_LIST,
                              .value = &options->tasks,
                              .argument = "TASK",
                              .help = "a task; may be given many times",
                              .default_text = "none"});
    add(options, (cli_option){.name = "optimizer",
                              .kind = CLI_CHOICE,
                              .value = &options->settings.optimizer,
                              .choices = "sgd|adam",
                              .help = "sgd is the paper's; each has rates of its own"});
    add_numbers(options, false);
    add(options, (cli_option){.name = "halving",
                              .kind = CLI_FLAG,
                              .value = &options->settings.halving,
                              .help = "stop the worse half of the settings at 1/4 and at 1/2"});
    if (searches) {
        add(options, (cli_option){.kind = CLI_HEADING, .help = "The search"});
        add_numbers(options, true);
    }
}

car_status cli_search_options_take(cli_search_options *options, car_error *error) {
    car_search_settings *settings = &options->settings;
    if (options->tasks.count > CAR_SEARCH_TASKS)
        return car_fail(error, CAR_USAGE, "--task: more than %d tasks", CAR_SEARCH_TASKS);
    settings->task_count = options->tasks.count;
    for (int i = 0; i < settings->task_count; i++)
        settings->tasks[i] = options->tasks.items[i];
    return car_search_settings_check(settings, error);
}
