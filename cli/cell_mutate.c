/*
 * cell_mutate.c: `carousel cell mutate`: other cells that come out of one by chance.
 *
 * In:  a cell, a seed, how many. Out: that many new cells as text on stdout, each a file of its own with --folder.
 */
#include "cli.h"
#include "search.h"
#include <string.h>

enum { MOST_MUTANTS = 10000, PATH_BYTES = 4096 };

/* The fingerprints so far: a mutant that was there is no news. */
typedef struct found_cells {
    int count;
    char fingerprints[MOST_MUTANTS][33];
} found_cells;

static car_status is_known(void *context, const struct car_cell *cell, bool *known,
                           car_error *error) {
    const found_cells *found = context;
    (void)error;
    *known = false;
    for (int i = 0; i < found->count && !*known; i++)
        *known = strcmp(found->fingerprints[i], car_cell_fingerprint(cell)) == 0;
    return CAR_OK;
}

static car_status hand_out(const car_cell *mutant, const char *folder, int number,
                           car_error *error) {
    car_text text;
    car_text_start(&text, NULL);
    car_text_format(&text, "%s%s", number && !folder ? "\n" : "", car_cell_text(mutant));
    if (!folder) {
        cli_print(&text);
        return CAR_OK;
    }
    char path[PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/%s.cell", folder, car_cell_name(mutant));
    car_status status = length >= 0 && length < PATH_BYTES
                            ? cli_write_file(path, &text, error)
                            : car_fail(error, CAR_USAGE, "--folder: the path is too long");
    car_text_free(&text);
    return status;
}

static car_status mutate_all(const car_cell *parent, uint64_t seed, int count, const char *folder,
                             car_error *error) {
    found_cells *found = car_allocate(NULL, 1, sizeof *found);
    if (!found)
        return car_fail(error, CAR_MEMORY, "cell mutate: out of memory");
    const car_mutant_filter filter = {found, is_known};
    car_status status = CAR_OK;
    for (int i = 0; i < count && status == CAR_OK; i++) {
        car_cell *mutant;
        status = car_mutate(parent, seed, (uint64_t)i, &filter, &mutant, error);
        if (status != CAR_OK)
            break;
        if (!mutant) {
            status = car_fail(error, CAR_FAILED,
                              "%s: after %d mutants 200 attempts found nothing new; take another "
                              "cell or --seed",
                              car_cell_name(parent), i);
            break;
        }
        memcpy(found->fingerprints[found->count++], car_cell_fingerprint(mutant), 33);
        status = hand_out(mutant, folder, i, error);
        car_cell_free(mutant);
    }
    car_release(NULL, found);
    return status;
}

int cli_cell_mutate(int argc, char **argv) {
    int64_t count = 1, seed = 1;
    const char *folder = NULL;
    cli_option options[] = {{.name = "count",
                             .kind = CLI_INT,
                             .value = &count,
                             .minimum = 1,
                             .maximum = MOST_MUTANTS,
                             .argument = "N",
                             .help = "how many, all different"},
                            {.name = "seed",
                             .kind = CLI_INT,
                             .value = &seed,
                             .maximum = 9e15,
                             .argument = "N",
                             .help = "the same seed gives the same cells"},
                            {.name = "folder",
                             .kind = CLI_TEXT,
                             .value = &folder,
                             .argument = "FOLDER",
                             .help = "write each to FOLDER/NAME.cell",
                             .default_text = "none: all to stdout"}};
    const cli_verb verb = {
        .name = "cell mutate",
        .summary = "other cells that come out of one by chance",
        .usage = "[options] NAME|FILE",
        .examples = "carousel cell mutate gru-v1 --seed 3\n"
                    "carousel cell mutate lstm --count 20 --folder mutants\n",
        .notes = "One to three of the six transformations of Jozefowicz, Zaremba &\n"
                 "Sutskever (2015). What comes out compiles, differs from its parent and from\n"
                 "the others by fingerprint, and names its ancestors. A name is `m` and 10\n"
                 "digits of the fingerprint.\n",
        .options = options,
        .option_count = 3,
        .least_operands = 1,
        .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_cell *cell;
    car_error error = {0};
    car_status status = cli_cell_load(arguments.operands[0], &cell, &error);
    if (status == CAR_OK) {
        status = mutate_all(cell, (uint64_t)seed, (int)count, folder, &error);
        car_cell_free(cell);
    }
    code = status == CAR_OK ? 0 : cli_fail(&error);
    cli_arguments_free(&arguments);
    return code;
}
