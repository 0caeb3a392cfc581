/*
 * signals.c: SIGINT and SIGTERM become a flag that long jobs look at.
 *
 * The first signal of a kind asks the job to finish its update, save and return; the handler is
 * then gone, so that the second ends the program at once. The flag is the one writable global that
 * a signal handler cannot do without.
 */
#include "cli.h"

static volatile sig_atomic_t signal_seen;

static void remember(int number) {
    signal_seen = number;
}

void cli_signals_catch(void) {
    struct sigaction action = {.sa_handler = remember, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

const volatile sig_atomic_t *cli_signal(void) {
    return &signal_seen;
}

int cli_signal_code(int code) {
    return signal_seen ? 128 + signal_seen : code;
}
