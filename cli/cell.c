#include "cli.h"
int cli_cell(int argc, char **argv) {
    (void)argc;
    return cli_say_fail(CAR_FAILED, "%s: not built yet", argv[0]);
}
