/*
 * lm_score.c: `carousel lm score`: how likely a model finds each line, or which line of a pair.
 *
 * In:  a model; lines, or with --pairs lines `right<TAB>wrong[<TAB>group]`.
 * Out: a line (with --json an object) for each line of input; for pairs a table (with --json one object): how many
 *      there are, how many the vocabulary covers (tasks/lm_pairs.c), and of those the share in which the
 *      right one is likelier, with Wilson's (1927) 95 % interval.
 */
#include "lm.h"
#include "series.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines -------------------------------------------------------------------------------------------- */

static car_status score_line(const car_lm *lm, const char *line, size_t length, bool end, bool json,
                             bool *open, car_error *error) {
    car_lm_score score;
    CAR_TRY(car_lm_score_line(lm, line, length, end, &score, error));
    car_text text;
    car_text_start(&text, NULL);
    if (json) {
        car_text_format(&text, "{\"nats\": ");
        car_text_json_number(&text, score.nats);
        car_text_format(&text, ", \"tokens\": %zu, \"unknown\": %zu, \"text\": ", score.tokens,
                        score.unknown);
        car_text_json_string(&text, line, length);
        car_text_format(&text, "}\n");
    } else {
        car_text_format(&text, "%.6f\t%zu\t", score.nats, score.tokens);
        car_text_add(&text, line, length);
        car_text_add(&text, "\n", 1);
    }
    *open = cli_print(&text) == 0 && cli_flush();
    return CAR_OK;
}

static car_status score_lines(const char *path, const char *const *files, int count, bool end,
                              bool json, car_error *error) {
    car_lm lm = {0};
    car_corpus corpus = {0};
    CAR_TRY(cli_lm_load(path, &lm, error));
    car_status status = car_corpus_read(files, count, lm.vocabulary->level, NULL, &corpus, error);
    bool open = true;
    for (size_t at = 0; status == CAR_OK && open && at < corpus.length;) {
        const char *line = corpus.data + at;
        const char *stop = memchr(line, '\n', corpus.length - at);
        size_t length = stop ? (size_t)(stop - line) : corpus.length - at;
        status = score_line(&lm, line, length, end, json, &open, error);
        at += length + 1;
    }
    car_corpus_free(&corpus);
    car_lm_free(&lm);
    return status;
}

/* ---- pairs -------------------------------------------------------------------------------------------- */

enum { MOST_GROUPS = 256, GROUP_NAME = 64 };

typedef struct pair_group {
    char name[GROUP_NAME];
    int64_t pairs, covered, right;
} pair_group;

typedef struct pair_table {
    int count;
    pair_group groups[MOST_GROUPS], all;
} pair_table;

static pair_group *group_of(pair_table *table, const char *name, size_t length) {
    for (int k = 0; k < table->count; k++)
        if (strlen(table->groups[k].name) == length && !memcmp(table->groups[k].name, name, length))
            return &table->groups[k];
    if (table->count == MOST_GROUPS)
        return NULL;
    pair_group *group = &table->groups[table->count++];
    memcpy(group->name, name, length);
    return group;
}

static void count_pair(pair_group *group, const car_lm_pair *pair) {
    group->pairs++;
    group->covered += pair->covered;
    group->right += pair->covered && pair->margin > 0;
}

/* right<TAB>wrong[<TAB>group] */
static car_status judge_line(const car_lm *lm, const char *line, size_t length, bool end,
                             int64_t number, pair_table *table, car_error *error) {
    const char *tab = memchr(line, '\t', length), *stop = line + length;
    if (!tab)
        return car_fail_at(error, CAR_DATA, (int)number, 0,
                           "pairs: line %lld has no tab; a line is right<TAB>wrong[<TAB>group]",
                           (long long)number);
    const char *second = tab + 1, *next = memchr(second, '\t', (size_t)(stop - second));
    car_lm_line right = {line, (size_t)(tab - line)};
    car_lm_line wrong = {second, (size_t)((next ? next : stop) - second)};
    const char *name = next ? next + 1 : "all";
    size_t name_length = next ? (size_t)(stop - name) : strlen(name);
    if (right.length == wrong.length && !memcmp(right.text, wrong.text, right.length))
        return car_fail_at(error, CAR_DATA, (int)number, 0,
                           "pairs: line %lld holds the same text twice", (long long)number);
    pair_group *group = name_length < GROUP_NAME ? group_of(table, name, name_length) : NULL;
    if (!group)
        return car_fail_at(
            error, CAR_DATA, (int)number, 0,
            "pairs: line %lld: a group's name has at most %d bytes, and there are at "
            "most %d groups",
            (long long)number, GROUP_NAME - 1, MOST_GROUPS);
    car_lm_pair pair;
    CAR_TRY(car_lm_judge_pair(lm, &right, &wrong, end, &pair, error));
    count_pair(group, &pair);
    count_pair(&table->all, &pair);
    return CAR_OK;
}

static void add_group(const pair_group *group, bool json, car_text *text) {
    double low = 0, high = 0;
    if (group->covered)
        car_wilson(group->right, group->covered, &low, &high);
    double share = group->covered ? (double)group->right / (double)group->covered : NAN;
    if (!json) {
        car_text_format(text, "%-40s %7lld %8lld ", group->name, (long long)group->pairs,
                        (long long)group->covered);
        if (group->covered)
            car_text_format(text, "%8.1f %%   %.1f to %.1f %%\n", 100 * share, 100 * low,
                            100 * high);
        else
            car_text_format(text, "%10s\n", "-");
        return;
    }
    car_text_format(text, "{\"group\": ");
    car_text_json_string(text, group->name, strlen(group->name));
    car_text_format(text, ", \"pairs\": %lld, \"covered\": %lld, \"right\": %lld, \"accuracy\": ",
                    (long long)group->pairs, (long long)group->covered, (long long)group->right);
    car_text_json_number(text, share);
    car_text_format(text, ", \"low\": ");
    car_text_json_number(text, group->covered ? low : NAN);
    car_text_format(text, ", \"high\": ");
    car_text_json_number(text, group->covered ? high : NAN);
    car_text_format(text, "}");
}

static void print_table(const pair_table *table, bool json) {
    car_text text;
    car_text_start(&text, NULL);
    car_text_format(&text, json ? "{\"groups\": [" : "%-40s %7s %8s %10s   %s\n", "group", "pairs",
                    "covered", "right", "95 % interval");
    for (int k = 0; k < table->count; k++) {
        if (json && k)
            car_text_format(&text, ", ");
        add_group(&table->groups[k], json, &text);
    }
    if (json)
        car_text_format(&text, "], \"all\": ");
    if (json || table->count > 1)
        add_group(&table->all, json, &text);
    if (json)
        car_text_format(&text, "}\n");
    cli_print(&text);
}

static car_status score_pairs(const char *path, const char *file, bool end, bool json,
                              car_error *error) {
    car_lm lm = {0};
    car_corpus corpus = {0};
    pair_table *table = calloc(1, sizeof *table);
    if (!table)
        return car_fail(error, CAR_MEMORY, "pairs: out of memory");
    memcpy(table->all.name, "all", 4);
    car_status status = cli_lm_load(path, &lm, error);
    if (status == CAR_OK)
        status = car_corpus_read(&file, 1, lm.vocabulary->level, NULL, &corpus, error);
    int64_t number = 1;
    for (size_t at = 0; status == CAR_OK && at < corpus.length; number++) {
        const char *line = corpus.data + at;
        const char *stop = memchr(line, '\n', corpus.length - at);
        size_t length = stop ? (size_t)(stop - line) : corpus.length - at;
        if (length)
            status = judge_line(&lm, line, length, end, number, table, error);
        at += length + 1;
    }
    if (status == CAR_OK)
        print_table(table, json);
    car_corpus_free(&corpus);
    car_lm_free(&lm);
    free(table);
    return status;
}

/* ---- the verb ----------------------------------------------------------------------------------------- */

int cli_lm_score(int argc, char **argv) {
    bool no_end = false, json = false;
    const char *pairs = NULL;
    cli_option options[] = {
        {.name = "no-end",
         .kind = CLI_FLAG,
         .value = &no_end,
         .help = "leave the line end out: the lines are beginnings, as in pairs of verb forms"},
        {.name = "pairs",
         .kind = CLI_TEXT,
         .value = &pairs,
         .argument = "FILE",
         .help = "lines right<TAB>wrong[<TAB>group]: in how many is the right one likelier?",
         .default_text = "none"},
        {.name = "json",
         .kind = CLI_FLAG,
         .value = &json,
         .help = "one JSON object a line; with --pairs one in all"}};
    const cli_verb verb = {
        .name = "lm score",
        .summary = "how likely a model finds each line, or which of two",
        .usage = "[options] MODEL [FILE...]",
        .examples = "printf 'the cats were\\nthe cats was\\n' | carousel lm score m.safetensors "
                    "--no-end\n"
                    "carousel lm score m.safetensors lines.txt --json\n"
                    "printf 'the cats were\\tthe cats was\\tplural\\n' | carousel lm score "
                    "m.safetensors --no-end --pairs -\n",
        .notes = "Writes for each line: -log probability in nats, tokens, the line. Each line is\n"
                 "judged on its own, as if it stood behind a line end. Without FILE: standard "
                 "input.\n"
                 "--pairs counts the pairs in which the right line is strictly likelier. Only "
                 "pairs that "
                 "the\nvocabulary covers are counted: it knows every word in which the two differ. "
                 "The\ninterval is Wilson's, at 95 %.\n",
        .options = options,
        .option_count = 3,
        .least_operands = 1,
        .most_operands = -1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    static const char *const pipe[] = {"-"};
    bool piped = arguments.count == 1;
    car_error error = {0};
    car_status status;
    if (pairs && !piped)
        status =
            car_fail(&error, CAR_USAGE, "lm score: --pairs FILE takes the place of other files");
    else if (pairs)
        status = score_pairs(arguments.operands[0], pairs, !no_end, json, &error);
    else
        status = score_lines(arguments.operands[0], piped ? pipe : arguments.operands + 1,
                             piped ? 1 : arguments.count - 1, !no_end, json, &error);
    code = status == CAR_OK ? 0 : cli_fail(&error);
    cli_arguments_free(&arguments);
    return code;
}
