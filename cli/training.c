/*
 * training.c: what every `train` verb shares.
 *
 * In:  the settings of a task (tasks/settings.c), the command line; the progress of car_fit.
 * Out: options; what may change when a run goes on; a live line on stderr and a line for every validation.
 */
#include "training.h"
#include <math.h>
#include <string.h>

/* ---- options ------------------------------------------------------------------------------------------ */

void cli_training_add_settings(cli_training *call, const car_setting *table, int count,
                               void *options) {
    static const cli_kind kinds[] = {CLI_HEADING, CLI_INT,    CLI_DOUBLE,
                                     CLI_TEXT,    CLI_CHOICE, CLI_FLAG};
    for (int i = 0; i < count && call->count < CLI_TRAINING_OPTIONS; i++) {
        const car_setting *setting = &table[i];
        bool none = setting->kind == CAR_SETTING_TEXT && !setting->text;
        cli_option option = {.name = setting->name,
                             .kind = kinds[setting->kind],
                             .value = (char *)options + setting->offset,
                             .minimum = setting->minimum,
                             .maximum = setting->maximum,
                             .choices = setting->choices,
                             .argument = setting->argument,
                             .help = setting->help,
                             .default_text = none ? "none"
                                             : setting->kind == CAR_SETTING_INT ||
                                                     setting->kind == CAR_SETTING_NUMBER
                                                 ? setting->text
                                                 : NULL};
        if (setting->name && strcmp(setting->name, "output") == 0)
            option.letter = 'o';
        call->table[call->count++] = option;
    }
}

void cli_training_add_rest(cli_training *call, const char *load_help) {
    const cli_option rest[] = {{.name = "load",
                                .kind = CLI_TEXT,
                                .value = &call->load,
                                .argument = "FILE",
                                .help = load_help,
                                .default_text = "none"},
                               {.name = "resume",
                                .kind = CLI_TEXT,
                                .transient = true,
                                .value = &call->resume,
                                .argument = "FILE",
                                .help = "go on from a checkpoint, as if never interrupted",
                                .default_text = "none"},
                               {.name = "print-config",
                                .kind = CLI_FLAG,
                                .transient = true,
                                .value = &call->print_config,
                                .help = "print all settings as JSON and stop"},
                               {.name = "json",
                                .kind = CLI_FLAG,
                                .transient = true,
                                .value = &call->json,
                                .help = "the result as JSON, no progress"}};
    memcpy(call->table + call->count, rest, sizeof rest);
    call->count += (int)(sizeof rest / sizeof *rest);
}

car_status cli_training_check(const cli_verb *verb, const cli_training *call,
                              const cli_arguments *arguments, const char *operand,
                              car_error *error) {
    static const char *const may_change[] = {"minutes", "epochs", "updates", "threads",
                                             "resume",  "json",   NULL};
    if (!call->resume) {
        if (arguments->count == 0)
            return car_fail(error, CAR_USAGE, "%s: name %s: carousel %s FILE... -o m.safetensors",
                            verb->name, operand, verb->name);
        return cli_given(verb, "output")
                   ? CAR_OK
                   : car_fail(error, CAR_USAGE, "%s: say where the model goes: -o m.safetensors",
                              verb->name);
    }
    if (arguments->count > 0)
        return car_fail(error, CAR_USAGE,
                        "%s: --resume knows its data; give no file, or start anew", verb->name);
    for (int i = 0; i < call->count; i++) {
        bool allowed = !call->table[i].given;
        for (int k = 0; !allowed && may_change[k]; k++)
            allowed = strcmp(call->table[i].name, may_change[k]) == 0;
        if (!allowed)
            return car_fail(error, CAR_USAGE,
                            "%s: --%s cannot change when a run goes on; --minutes, --epochs, "
                            "--updates and --threads can",
                            verb->name, call->table[i].name);
    }
    return CAR_OK;
}

car_status cli_training_refuse(const cli_verb *verb, const char *const *names, const char *by,
                               car_error *error) {
    for (int i = 0; names[i]; i++) {
        if (cli_given(verb, names[i]))
            return car_fail(error, CAR_USAGE, "%s: %s brings its own %s; take --%s away",
                            verb->name, by, names[i], names[i]);
    }
    return CAR_OK;
}

int cli_training_print_config(const cli_verb *verb, const cli_arguments *arguments) {
    car_text text;
    car_text_start(&text, NULL);
    cli_config_write(verb, arguments, &text);
    car_text_add(&text, "\n", 1);
    return cli_print(&text);
}

/* ---- the live line ------------------------------------------------------------------------------------ */

static void add_progress(car_text *text, const cli_training_view *view,
                         const car_fit_progress *progress) {
    double left = progress->seconds_left;
    double share = progress->last_update > 0
                       ? (double)progress->update / (double)progress->last_update
                       : progress->seconds / (progress->seconds + fmax(left, 1));
    if (view->line.terminal) {
        car_draw_bar(text, share, 16, car_terminal_utf8());
        car_text_format(text, " ");
    }
    car_text_format(text, "%3.0f %%  ", 100 * share);
    view->add_loss(text, progress->loss);
    if (!isnan(progress->validation)) {
        car_text_format(text, "  valid ");
        view->add_loss(text, progress->validation);
    }
    car_text_format(text, "  ");
    car_draw_count(text, progress->tokens_per_second);
    car_text_format(text, " %ss/s", view->unit);
    if (isfinite(left)) {
        car_text_format(text, "  ");
        car_draw_duration(text, left);
        car_text_format(text, " left");
    }
    if (progress->clipped * 2 > progress->update)
        car_text_format(text, "  (clipped: %lld of %lld)", (long long)progress->clipped,
                        (long long)progress->update);
}

void cli_training_progress(void *context, const car_fit_progress *progress) {
    cli_training_view *view = context;
    bool validated = progress->validated && !view->brief;
    if (view->quiet || (!validated && !cli_progress_due(&view->line)))
        return;
    car_text text;
    car_text_start(&text, NULL);
    if (validated) {
        car_text_format(&text, "epoch %.2f, update %lld: valid ", progress->epoch,
                        (long long)progress->update);
        view->add_loss(&text, progress->validation);
        if (view->nats)
            car_text_format(&text, " (%.4f nats)", progress->validation);
        car_text_format(&text, "%s, training ",
                        progress->validation <= progress->best ? ", the best so far" : "");
        view->add_loss(&text, progress->loss);
        if (!text.failed) {
            cli_progress_end(&view->line);
            cli_note("%s", text.data);
        }
    } else {
        add_progress(&text, view, progress);
        if (!text.failed)
            cli_progress_show(&view->line, text.data);
    }
    car_text_free(&text);
}
