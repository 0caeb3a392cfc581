/*
 * test_options.c: one table of options read from a command line, printed as help and as JSON, and
 * read back.
 */
#include "cli.h"
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    int64_t hidden;
    double rate;
    bool json;
    const char *output, *level;
    cli_list biases;
    cli_option options[8];
    cli_verb verb;
    cli_arguments arguments;
} fixture;

static void prepare(fixture *f) {
    *f = (fixture){.hidden = 128, .rate = 0.002, .level = "byte"};
    const cli_option options[] = {
        {.kind = CLI_HEADING, .help = "Net"},
        {.name = "hidden",
         .kind = CLI_INT,
         .value = &f->hidden,
         .minimum = 1,
         .maximum = 65536,
         .argument = "N",
         .help = "units of a layer"},
        {.name = "rate",
         .kind = CLI_DOUBLE,
         .value = &f->rate,
         .argument = "X",
         .help = "learning rate"},
        {.name = "json",
         .kind = CLI_FLAG,
         .value = &f->json,
         .transient = true,
         .help = "results as JSON"},
        {.name = "output",
         .letter = 'o',
         .kind = CLI_TEXT,
         .value = &f->output,
         .argument = "FILE",
         .help = "where the model goes, which is a sentence long enough to be wrapped over two "
                 "lines of "
                 "eighty columns"},
        {.name = "level",
         .kind = CLI_CHOICE,
         .value = &f->level,
         .choices = "byte|char|word",
         .help = "what a token is"},
        {.name = "bias", .kind = CLI_LIST, .value = &f->biases, .argument = "B", .help = "biases"},
    };
    memcpy(f->options, options, sizeof options);
    f->verb = (cli_verb){.name = "try",
                         .summary = "a verb of the tests",
                         .usage = "[options] FILE...",
                         .examples = "carousel try a.txt\n",
                         .options = f->options,
                         .option_count = sizeof options / sizeof *options,
                         .most_operands = 3};
}

/* The words of `line`, split at blanks, through cli_parse. */
static int parse(fixture *f, const char *line) {
    static char words[256];
    char *argv[32] = {0};
    int argc = 0;
    snprintf(words, sizeof words, "try %s", line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return cli_parse(&f->verb, argc, argv, &f->arguments);
}

static void test_accepted(void **state) {
    (void)state;
    fixture f;
    prepare(&f);
    assert_int_equal(parse(&f, "a --hidden 7 --rate=-1e-3 -o m --bias x --bias y -- --json"),
                     CLI_GO_ON);
    assert_int_equal(f.hidden, 7);
    assert_true(f.rate == -1e-3);
    assert_string_equal(f.output, "m");
    assert_int_equal(f.biases.count, 2);
    assert_string_equal(f.biases.items[1], "y");
    assert_false(f.json);
    assert_int_equal(f.arguments.count, 2);
    assert_string_equal(f.arguments.operands[1], "--json");
    assert_true(cli_given(&f.verb, "rate"));
    assert_false(cli_given(&f.verb, "level"));
    cli_arguments_free(&f.arguments);

    prepare(&f);
    assert_int_equal(parse(&f, "- --level=word -om2 --json"), CLI_GO_ON);
    assert_string_equal(f.arguments.operands[0], "-");
    assert_string_equal(f.level, "word");
    assert_string_equal(f.output, "m2");
    assert_true(f.json);
    cli_arguments_free(&f.arguments);
}

static void test_refused(void **state) {
    (void)state;
    const char *const lines[] = {"--hidden 0",
                                 "--hidden 65537",
                                 "--hidden 1e3",
                                 "--hidden 0x10",
                                 "--hidden",
                                 "--hidden --json",
                                 "--hidden=",
                                 "--hidden 99999999999999999999",
                                 "--rate nan",
                                 "--rate inf",
                                 "--rate 1e999",
                                 "--rate 1,5",
                                 "--rate 0x1p3",
                                 "--rate 1e",
                                 "--json=yes",
                                 "--level bytes",
                                 "--level byte|char",
                                 "--level=",
                                 "--hiden 3",
                                 "-x",
                                 "a b c d",
                                 "--",
                                 "--=3",
                                 "--hidden 3k"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        fixture f;
        prepare(&f);
        f.verb.least_operands = !strcmp(lines[i], "--");
        if (parse(&f, lines[i]) != CAR_USAGE)
            fail_msg("accepted: %s", lines[i]);
        assert_null(f.arguments.arena);
    }
}

static void test_nearest(void **state) {
    (void)state;
    const char *const names[] = {"hidden", "layers", "level"};
    assert_string_equal(cli_nearest("hiden", names, 3), "hidden");
    assert_string_equal(cli_nearest("leve", names, 3), "level");
    assert_null(cli_nearest("temperature", names, 3));
    assert_null(cli_nearest("xy", names, 3));
}

static void test_help(void **state) {
    (void)state;
    fixture f;
    prepare(&f);
    car_text text;
    car_text_start(&text, NULL);
    cli_help(&f.verb, &text);
    assert_false(text.failed);
    assert_true(strstr(text.data, "Examples") < strstr(text.data, "--hidden"));
    assert_non_null(strstr(text.data, "(default: 128)"));
    assert_non_null(strstr(text.data, "(default: 0.002)"));
    assert_non_null(strstr(text.data, "--level byte|char|word"));
    for (const char *line = text.data; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
    car_text_free(&text);
}

static void test_config(void **state) {
    (void)state;
    fixture f;
    prepare(&f);
    assert_int_equal(parse(&f, "a\"\\\xc3\xa9 b --hidden 7 --rate 0.1 --bias x --json"), CLI_GO_ON);
    car_text text;
    car_text_start(&text, NULL);
    cli_config_write(&f.verb, &f.arguments, &text);
    assert_string_equal(text.data, "{\"hidden\": 7, \"rate\": 0.1, \"output\": null, \"level\": "
                                   "\"byte\", \"bias\": [\"x\"], \"operands\": "
                                   "[\"a\\\"\\\\\xc3\xa9\", \"b\"]}");
    car_text_free(&text);
    cli_arguments_free(&f.arguments);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_nearest),  cmocka_unit_test(test_help),
        cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
