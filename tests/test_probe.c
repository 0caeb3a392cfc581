/*
 * test_probe.c: the generators against their definitions, and what a study promises.
 *
 * In:  sequences of every task, made-up images, small studies in a temporary folder.
 * Out: statistics, legal strings, balance, no leak; threads and interruptions do not change a bit.
 */
#include "probe.h"
#include <math.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        car_error fault_of_call = {0}, *fault = &fault_of_call;                                    \
        car_status status_of_call = (call);                                                        \
        if (status_of_call != CAR_OK)                                                              \
            print_error("%s\n", fault->message);                                                   \
        assert_int_equal(status_of_call, CAR_OK);                                                  \
    } while (0)

enum { LANES = 250, MOST_ROUNDS = 16 };

/* A task with its batches. */
typedef struct bench {
    car_probe_problem problem;
    car_probe_batch *batch;
    uint64_t next;
} bench;

static bench open_bench(const char *name, int distance, const car_probe_digits *digits) {
    bench made = {0};
    const car_probe_task *task = car_probe_task_find(name);
    assert_non_null(task);
    ok(car_probe_problem_make(task, distance, 7, digits, &made.problem, fault));
    ok(car_probe_batch_create(&made.problem, LANES, NULL, &made.batch, fault));
    return made;
}

static void fill(bench *at) {
    car_probe_fill(&at->problem, CAR_PROBE_TRAIN, at->next, at->batch);
    at->next += LANES;
}

static car_probe_lane lane_of(const bench *at, int lane) {
    return car_probe_lane_of(&at->problem, at->batch, lane);
}

static float input_at(const car_probe_lane *lane, int step, int value) {
    return lane->input[(size_t)step * lane->input_stride + (size_t)value];
}

/* The one-hot symbol of a step. */
static int symbol_at(const bench *at, const car_probe_lane *lane, int step) {
    int symbol = -1;
    for (int i = 0; i < at->problem.inputs; i++) {
        float value = input_at(lane, step, i);
        assert_true(value == 0 || (value == 1 && symbol < 0));
        symbol = value == 1 ? i : symbol;
    }
    assert_true(symbol >= 0);
    return symbol;
}

static void assert_near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.9g is not within %g of %.9g", value, tolerance, expected);
}

/* ---- Arithmetic --------------------------------------------------------------------------------------- */

static void check_pairs(bool product) {
    bench at = open_bench(product ? "multiplication" : "adding", 100, NULL);
    double sum = 0, squares = 0, lengths = 0;
    int values = 0;
    for (int round = 0; round < 8; round++) {
        fill(&at);
        for (int i = 0; i < LANES; i++) {
            car_probe_lane lane = lane_of(&at, i);
            double marked[2] = {product ? 1 : 0, product ? 1 : 0};
            int marks = 0, first = -1;
            assert_in_range(lane.steps, 100, 110);
            lengths += lane.steps;
            for (int t = 0; t < lane.steps; t++) {
                float marker = input_at(&lane, t, 1);
                bool end = t == 0 || t == lane.steps - 1;
                assert_true(marker == (end ? -1 : 0) || (!end && marker == 1));
                sum += (double)input_at(&lane, t, 0);
                squares += pow((double)input_at(&lane, t, 0), 2);
                values++;
                if (marker != 1)
                    continue;
                assert_in_range(t, 1, 48);
                first = first < 0 ? t : first;
                marked[marks++] = (double)input_at(&lane, t, 0);
            }
            assert_in_range(marks, 1, 2);
            assert_true(marks == 1 || first < 10);
            double target = product ? marked[0] * marked[1] : 0.5 + (marked[0] + marked[1]) / 4;
            assert_near((double)lane.values[0], target, 1e-6);
        }
    }
    assert_near(sum / values, product ? 0.5 : 0, 0.01);
    assert_near(squares / values, 1.0 / 3, 0.01);
    assert_near(lengths / (8 * LANES), 105, 0.4);
    car_release(NULL, at.batch);
}

static void adding_marks_two_numbers(void **state) {
    (void)state;
    check_pairs(false);
    check_pairs(true);
}

/* ---- Temporal order ----------------------------------------------------------------------------------- */

static void check_order(const char *name, const int (*ranges)[2], int count) {
    enum { E, B, X, Y };
    bench at = open_bench(name, 100, NULL);
    int classes[16] = {0}, all = 0;
    for (int round = 0; round < MOST_ROUNDS; round++) {
        fill(&at);
        for (int i = 0; i < LANES; i++) {
            car_probe_lane lane = lane_of(&at, i);
            int class = 0, found = 0;
            assert_in_range(lane.steps, 100, 110);
            assert_int_equal(symbol_at(&at, &lane, 0), E);
            assert_int_equal(symbol_at(&at, &lane, lane.steps - 1), B);
            for (int t = 1; t < lane.steps - 1; t++) {
                int symbol = symbol_at(&at, &lane, t);
                assert_true(symbol >= X);
                if (symbol != X && symbol != Y)
                    continue;
                assert_true(found < count);
                assert_in_range(t, ranges[found][0], ranges[found][1]);
                class = 2 * class + (symbol == Y);
                found++;
            }
            assert_int_equal(found, count);
            assert_int_equal(lane.classes[0], class);
            classes[class]++;
            all++;
        }
    }
    for (int i = 0; i < 1 << count; i++)
        assert_near((double)classes[i] / all, 1.0 / (1 << count), 0.03);
    car_release(NULL, at.batch);
}

static void order_names_the_classes(void **state) {
    (void)state;
    check_order("order2", (const int[][2]){{10, 20}, {50, 60}}, 2);
    check_order("order3", (const int[][2]){{10, 20}, {33, 43}, {66, 76}}, 3);
    check_order("order4", (const int[][2]){{10, 20}, {30, 40}, {50, 60}, {70, 80}}, 4);
}

/* ---- Lags --------------------------------------------------------------------------------------------- */

static void check_lag(const char *name, bool noise) {
    enum { P = 20 };
    bench at = open_bench(name, P, NULL);
    int keys = 0, in_order = 0;
    fill(&at);
    for (int i = 0; i < LANES; i++) {
        car_probe_lane lane = lane_of(&at, i);
        int key = symbol_at(&at, &lane, 0), ordered = 0;
        assert_int_equal(lane.steps, P);
        assert_in_range(key, 0, 1);
        keys += key;
        for (int t = 1; t < P; t++) {
            int symbol = symbol_at(&at, &lane, t);
            assert_true(symbol >= 2);
            ordered += symbol == t + 1;
            assert_int_equal(lane.classes[(size_t)(t - 1) * lane.class_stride], symbol);
        }
        in_order += ordered == P - 1;
        assert_int_equal(lane.classes[(size_t)(P - 1) * lane.class_stride], key);
    }
    assert_int_equal(in_order, noise ? 0 : LANES);
    assert_near((double)keys / LANES, 0.5, 0.12);
    car_release(NULL, at.batch);
}

static void lags_return_their_first_symbol(void **state) {
    (void)state;
    check_lag("noise-free", false);
    check_lag("local-noise", true);
    bench at = open_bench("noisy", 50, NULL);
    double extra = 0;
    int keys = 0;
    for (int round = 0; round < MOST_ROUNDS; round++) {
        fill(&at);
        for (int i = 0; i < LANES; i++) {
            car_probe_lane lane = lane_of(&at, i);
            int key = symbol_at(&at, &lane, 1);
            assert_int_equal(symbol_at(&at, &lane, 0), 2);
            assert_int_equal(symbol_at(&at, &lane, lane.steps - 1), 3);
            for (int t = 2; t < lane.steps - 1; t++)
                assert_true(symbol_at(&at, &lane, t) >= 4);
            assert_int_equal(lane.classes[0], key);
            keys += key;
            extra += lane.steps - 53;
        }
    }
    assert_near(extra / (MOST_ROUNDS * LANES), 9, 0.6); /* geometric: (1 - 0.1) / 0.1 */
    assert_near((double)keys / (MOST_ROUNDS * LANES), 0.5, 0.03);
    car_release(NULL, at.batch);
}

static void check_signal(const char *name, bool signal_noise, bool target_noise) {
    bench at = open_bench(name, 100, NULL);
    double noise = 0, signal = 0, target = 0, ones = 0;
    int numbers = 0, sequences = 4 * LANES;
    for (int round = 0; round < 4; round++) {
        fill(&at);
        for (int i = 0; i < LANES; i++) {
            car_probe_lane lane = lane_of(&at, i);
            double expected = target_noise ? (double)lane.truth[0] : (double)lane.values[0];
            bool one = expected > 0.5;
            assert_in_range(lane.steps, 100, 110);
            ones += one;
            for (int t = 0; t < 3; t++)
                signal += pow((double)input_at(&lane, t, 0) - (one ? 1 : -1), 2);
            for (int t = 3; t < lane.steps; t++, numbers++)
                noise += pow((double)input_at(&lane, t, 0), 2);
            target += pow((double)lane.values[0] - expected, 2);
            assert_near(expected, target_noise ? (one ? 0.8 : 0.2) : one, 1e-6);
        }
    }
    assert_near(noise / numbers, 0.2, 0.005);
    assert_near(signal / (3 * sequences), signal_noise ? 0.2 : 0, 0.02);
    assert_near(target / sequences, target_noise ? 0.1 : 0, 0.02);
    assert_near(ones / sequences, 0.5, 0.06);
    car_release(NULL, at.batch);
}

static void two_sequences_have_their_noise(void **state) {
    (void)state;
    check_signal("two-sequence", false, false);
    check_signal("noisy-signal", true, false);
    check_signal("noisy-target", true, true);
}

/* ---- Reber -------------------------------------------------------------------------------------------- */

#define LOWER "((XT*VP)*(S|XT*VV))"
#define INNER "B(TS*X" LOWER "|PT*V(V|P" LOWER "))E"
static const char *const strings = "^(BT(" INNER ")TE|BP(" INNER ")PE)$";
static const char letters[] = "BTSXPVE";

static void reber_strings_are_legal(void **state) {
    (void)state;
    bench at = open_bench("reber", 5, NULL);
    regex_t grammar;
    assert_int_equal(regcomp(&grammar, strings, REG_EXTENDED), 0);
    int keys = 0, shortest = 1000, forks = 0;
    double length = 0;
    for (int round = 0; round < 4; round++) {
        fill(&at);
        for (int i = 0; i < LANES; i++) {
            car_probe_lane lane = lane_of(&at, i);
            char text[256];
            for (int t = 0; t < lane.steps; t++) {
                unsigned legal = (unsigned)lane.truth[(size_t)t * lane.class_stride];
                int next = lane.classes[(size_t)t * lane.class_stride];
                text[t] = letters[symbol_at(&at, &lane, t)];
                assert_true(legal >> next & 1);
                forks += (legal & (legal - 1)) != 0;
                if (t + 1 < lane.steps)
                    assert_int_equal(next, symbol_at(&at, &lane, t + 1));
            }
            text[lane.steps] = letters[lane.classes[(size_t)(lane.steps - 1) * lane.class_stride]];
            text[lane.steps + 1] = '\0';
            if (regexec(&grammar, text, 0, NULL, 0) != 0)
                fail_msg("%s is no embedded Reber string", text);
            keys += text[1] == 'T';
            length += lane.steps + 1;
            shortest = lane.steps + 1 < shortest ? lane.steps + 1 : shortest;
        }
    }
    assert_int_equal(shortest, 9);
    assert_near(length / (4 * LANES), 11.5, 0.5);       /* Gers et al. 2000 */
    assert_near((double)keys / (4 * LANES), 0.5, 0.15); /* of 256 strings */
    assert_true(forks > 0);
    regfree(&grammar);
    car_release(NULL, at.batch);
}

/* One string follows the other; cut in chunks it is the same stream. */
static void streams_do_not_end(void **state) {
    (void)state;
    enum { STREAMS = 3, STEPS = 60 };
    car_probe_problem problem;
    car_probe_batch *batch;
    car_probe_walk walks[STREAMS];
    char text[STREAMS][STEPS * 10 + 1];
    regex_t grammar;
    const car_probe_task *task = car_probe_task_find("continual-reber");
    ok(car_probe_problem_make(task, 5, 3, NULL, &problem, fault));
    ok(car_probe_batch_create(&problem, STREAMS, NULL, &batch, fault));
    for (int cut = 0; cut < 2; cut++) {
        car_probe_stream_start(&problem, CAR_PROBE_TRAIN, 0, STREAMS, walks);
        for (int at = 0, steps; at < STEPS * 10; at += steps) {
            steps = cut ? STEPS : 20;
            car_probe_stream_fill(&problem, steps, walks, batch);
            for (int i = 0; i < STREAMS; i++) {
                car_probe_lane lane = car_probe_lane_of(&problem, batch, i);
                for (int t = 0; t < steps; t++) {
                    char letter = '?';
                    for (int k = 0; k < 7; k++)
                        letter = input_at(&lane, t, k) == 1 ? letters[k] : letter;
                    if (cut)
                        assert_int_equal(letter, text[i][at + t]);
                    text[i][at + t] = letter;
                }
            }
        }
    }
    assert_int_equal(regcomp(&grammar, "^((BT(" INNER ")TE|BP(" INNER ")PE)*)", REG_EXTENDED), 0);
    for (int i = 0; i < STREAMS; i++) {
        regmatch_t match;
        text[i][STEPS * 10] = '\0';
        assert_int_equal(regexec(&grammar, text[i], 1, &match, 0), 0);
        assert_true(match.rm_eo > STEPS * 10 - 45); /* all but the last, unfinished string */
    }
    regfree(&grammar);
    car_release(NULL, batch);
}

static void a_stream_stops_at_its_first_error(void **state) {
    (void)state;
    car_probe_problem problem;
    car_probe_batch *batch;
    car_probe_walk walk[1];
    ok(car_probe_problem_make(car_probe_task_find("continual-reber"), 5, 3, NULL, &problem, fault));
    ok(car_probe_batch_create(&problem, 1, NULL, &batch, fault));
    car_probe_stream_start(&problem, CAR_PROBE_TEST, 0, 1, walk);
    car_probe_stream_fill(&problem, 50, walk, batch);
    car_probe_lane lane = car_probe_lane_of(&problem, batch, 0);
    for (int t = 0; t < 50; t++)
        batch->output[t * 7 + lane.classes[(size_t)t * lane.class_stride]] = 0.31f;
    assert_int_equal(car_probe_stream_right(&lane), 50); /* 0.69^2 < 0.49 */
    batch->output[31 * 7 + lane.classes[31 * lane.class_stride]] = 0.29f;
    assert_int_equal(car_probe_stream_right(&lane), 31);
    car_release(NULL, batch);
}

/* ---- Recall, agreement -------------------------------------------------------------------------------- */

static void recalled_symbols_are_the_given_ones(void **state) {
    (void)state;
    enum { T = 30, KEPT = 5 };
    bench copy = open_bench("copy", T, NULL), letter = open_bench("memorisation", KEPT, NULL);
    fill(&copy);
    fill(&letter);
    int counts[9] = {0};
    for (int i = 0; i < LANES; i++) {
        car_probe_lane lane = lane_of(&copy, i);
        assert_int_equal(lane.steps, T + 20);
        for (int t = 0; t < lane.steps; t++) {
            int symbol = symbol_at(&copy, &lane, t),
                class = lane.classes[(size_t)t * lane.class_stride];
            if (t < 10) {
                assert_in_range(symbol, 1, 8);
                assert_int_equal(lane.classes[(size_t)(T + 10 + t) * lane.class_stride], symbol);
                counts[symbol]++;
            } else {
                assert_int_equal(symbol, t < T + 9 ? 0 : 9);
            }
            assert_true(t >= T + 10 || class == 0);
        }
        lane = lane_of(&letter, i);
        assert_int_equal(lane.steps, 2 * KEPT);
        assert_int_equal(symbol_at(&letter, &lane, KEPT), 26);
        for (int k = 0; k < KEPT; k++) {
            int given = symbol_at(&letter, &lane, k);
            assert_int_equal(lane.classes[(size_t)k * lane.class_stride], -1);
            assert_int_equal(lane.classes[(size_t)(KEPT + k) * lane.class_stride], given);
            if (k + 1 < KEPT)
                assert_int_equal(symbol_at(&letter, &lane, KEPT + 1 + k), given);
        }
    }
    for (int i = 1; i <= 8; i++)
        assert_near(counts[i] / (10.0 * LANES), 0.125, 0.03);
    car_release(NULL, copy.batch);
    car_release(NULL, letter.batch);
}

static bool is_noun(int word) {
    return word >= 3 && word < 19;
}

/* The verb's number is that of the first noun, and no word behind that noun tells it. */
static void agreement_does_not_leak(void **state) {
    (void)state;
    enum { DISTANCE = 17, WORDS = 39 };
    bench at = open_bench("agreement", DISTANCE, NULL);
    double seen[WORDS][2] = {{0}}, plural = 0, nearest = 0, misleading = 0, nouns = 0;
    int all = MOST_ROUNDS * LANES;
    for (int round = 0; round < MOST_ROUNDS; round++) {
        fill(&at);
        for (int i = 0; i < LANES; i++) {
            car_probe_lane lane = lane_of(&at, i);
            int last = -1, class = lane.classes[0];
            assert_int_equal(lane.steps, 2 + DISTANCE);
            assert_string_equal(car_probe_agreement_word(symbol_at(&at, &lane, 0)), "the");
            int subject = symbol_at(&at, &lane, 1);
            assert_true(is_noun(subject));
            const char *word = car_probe_agreement_word(subject);
            assert_int_equal(class, word[strlen(word) - 1] == 's');
            for (int t = 2; t < lane.steps; t++) {
                int symbol = symbol_at(&at, &lane, t);
                seen[symbol][class]++;
                if (!is_noun(symbol))
                    continue;
                last = (symbol - 3) % 2;
                nouns++;
                misleading += last != class;
            }
            plural += class;
            nearest += last == class;
        }
    }
    assert_near(plural / all, 0.5, 0.03);
    assert_near(nearest / all, 0.5, 0.03);
    assert_near(misleading / nouns, 0.5, 0.02);
    for (int word = 0; word < WORDS; word++) {
        double both = seen[word][0] + seen[word][1];
        assert_true(word >= 3 ? both > 0 : true);
        assert_near(both > 0 ? seen[word][1] / both : 0.5, plural / all,
                    4 * 0.5 / sqrt(both + 1) + 0.01);
    }
    assert_null(car_probe_agreement_word(WORDS));
    car_release(NULL, at.batch);
}

/* ---- All tasks ---------------------------------------------------------------------------------------- */

/* Whatever batch a sequence stands in, it is the same; another set, seed or number gives another. */
static void a_sequence_is_a_function_of_its_number(void **state) {
    (void)state;
    for (int k = 0; k < car_probe_task_count(); k++) {
        const car_probe_task *task = car_probe_task_at(k);
        if (task->digits || task->stream)
            continue;
        car_probe_problem problem;
        car_probe_batch *few, *many;
        ok(car_probe_problem_make(task, task->distance, 5, NULL, &problem, fault));
        ok(car_probe_batch_create(&problem, 3, NULL, &few, fault));
        ok(car_probe_batch_create(&problem, 8, NULL, &many, fault));
        car_probe_fill(&problem, CAR_PROBE_TEST, 16, many);
        car_probe_fill(&problem, CAR_PROBE_TEST, 20, few);
        int differing = 0;
        for (int i = 0; i < 3; i++) {
            car_probe_lane a = car_probe_lane_of(&problem, few, i);
            car_probe_lane b = car_probe_lane_of(&problem, many, 4 + i);
            car_probe_lane other = car_probe_lane_of(&problem, many, i);
            assert_int_equal(a.steps, b.steps);
            for (int t = 0; t < a.steps; t++)
                for (int v = 0; v < problem.inputs; v++) {
                    assert_true(input_at(&a, t, v) == input_at(&b, t, v));
                    differing += t >= other.steps || input_at(&a, t, v) != input_at(&other, t, v);
                }
        }
        assert_true(differing > 0);
        car_release(NULL, few);
        car_release(NULL, many);
    }
}

static void tasks_refuse_distances_out_of_range(void **state) {
    (void)state;
    car_probe_problem problem;
    car_error error;
    const car_probe_task *task = car_probe_task_find("adding");
    assert_int_equal(car_probe_problem_make(task, 9, 1, NULL, &problem, &error), CAR_USAGE);
    assert_int_equal(car_probe_problem_make(task, 2001, 1, NULL, &problem, &error), CAR_USAGE);
    task = car_probe_task_find("rows");
    assert_int_equal(car_probe_problem_make(task, 0, 1, NULL, &problem, &error), CAR_USAGE);
    assert_null(car_probe_task_find("addin"));
}

/* The shortest and longest sequences fit their batches, and the criterion is one that can be met. */
static void every_task_works_at_its_ends(void **state) {
    (void)state;
    for (int k = 0; k < car_probe_task_count(); k++) {
        const car_probe_task *task = car_probe_task_at(k);
        if (task->digits || task->stream)
            continue;
        for (int end = 0; end < 2; end++) {
            car_probe_problem problem;
            car_probe_batch *batch;
            car_probe_score score = {0};
            int distance = end ? task->distance_most / 4 : task->distance_least;
            ok(car_probe_problem_make(task, distance, 5, NULL, &problem, fault));
            ok(car_probe_batch_create(&problem, 4, NULL, &batch, fault));
            for (uint64_t first = 0; first < 80; first += 4) {
                car_probe_fill(&problem, CAR_PROBE_TRAIN, first, batch);
                assert_in_range(batch->steps, 1, problem.most_steps);
            }
            car_probe_activate(&problem, batch);
            for (int i = 0; i < 4; i++) {
                car_probe_lane lane = car_probe_lane_of(&problem, batch, i);
                task->judge(&problem, &lane, &score);
            }
            assert_true(score.items >= 4 && score.right <= score.items && isfinite(score.error));
            car_release(NULL, batch);
        }
        car_probe_score perfect = {.items = task->check, .right = task->check};
        car_probe_score hopeless = {.items = 100, .right = 0, .error = 100};
        assert_true(car_probe_passes(task, &perfect));
        assert_false(car_probe_passes(task, &hopeless));
    }
}

/* ---- Images ------------------------------------------------------------------------------------------- */

typedef struct folder {
    char path[64], images[96], labels[96], study[96];
} folder;

static void write_file(const char *path, const void *data, size_t length) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

enum { IMAGES = 200, SIDE = 4, PIXELS = SIDE * SIDE };

/* Not digits: squares whose brightness is their class. */
static void write_images(const folder *at, int labels, size_t cut) {
    static uint8_t images[16 + IMAGES * PIXELS], names[8 + IMAGES];
    const uint8_t head[16] = {0, 0, 8, 3, 0, 0, 0, IMAGES, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
    const uint8_t name_head[8] = {0, 0, 8, 1, 0, 0, 0, (uint8_t)labels};
    memcpy(images, head, sizeof head);
    memcpy(names, name_head, sizeof name_head);
    for (int i = 0; i < IMAGES; i++) {
        names[8 + i] = (uint8_t)(i % 2);
        for (int k = 0; k < PIXELS; k++)
            images[16 + i * PIXELS + k] = (uint8_t)(i % 2 * 200 + k);
    }
    write_file(at->images, images, sizeof images - cut);
    write_file(at->labels, names, 8 + (size_t)labels);
}

static int make_folder(void **state) {
    folder *at = calloc(1, sizeof *at);
    assert_non_null(at);
    strcpy(at->path, "/tmp/carousel-probe-XXXXXX");
    assert_non_null(mkdtemp(at->path));
    snprintf(at->images, sizeof at->images, "%s/images", at->path);
    snprintf(at->labels, sizeof at->labels, "%s/labels", at->path);
    snprintf(at->study, sizeof at->study, "%s/study", at->path);
    *state = at;
    return 0;
}

static int remove_folder(void **state) {
    folder *at = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", at->path);
    int code = system(command);
    free(at);
    return code;
}

static void images_are_read_and_checked(void **state) {
    const folder *at = *state;
    car_images images;
    car_error error;
    write_images(at, IMAGES, 0);
    ok(car_images_read(at->images, at->labels, NULL, &images, fault));
    assert_int_equal(images.count, IMAGES);
    assert_int_equal(images.rows, SIDE);
    assert_int_equal(images.classes, 2);
    assert_int_equal(images.pixels[PIXELS + 3], 203);
    assert_int_equal(images.labels[1], 1);
    car_images_free(&images);
    assert_int_equal(car_images_read(at->labels, at->labels, NULL, &images, &error), CAR_DATA);
    write_images(at, IMAGES, 1);
    assert_int_equal(car_images_read(at->images, at->labels, NULL, &images, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "cut short"));
    write_images(at, IMAGES - 1, 0);
    assert_int_equal(car_images_read(at->images, at->labels, NULL, &images, &error), CAR_DATA);
    assert_int_equal(car_images_read("/no/such", at->labels, NULL, &images, &error), CAR_IO);
    write_file(at->images, "\x1f\x8b nothing", 10);
    assert_int_not_equal(car_images_read(at->images, at->labels, NULL, &images, &error), CAR_OK);
    write_file(at->images, "\0\0\10\3\377\377\377\377\377\377\377\377\377\377\377\377", 16);
    assert_int_equal(car_images_read(at->images, at->labels, NULL, &images, &error), CAR_DATA);
}

/* Training images, held-out ones and test images are apart; the pixels are all there, in one order. */
static void digits_keep_their_sets_apart(void **state) {
    const folder *at = *state;
    car_probe_digits digits;
    write_images(at, IMAGES, 0);
    ok(car_probe_digits_read(at->images, at->labels, NULL, NULL, NULL, &digits, fault));
    int seen[PIXELS] = {0};
    for (int i = 0; i < PIXELS; i++)
        seen[digits.order[i]]++;
    for (int i = 0; i < PIXELS; i++)
        assert_int_equal(seen[i], 1);
    bench rows = open_bench("rows", 0, &digits), pixels = open_bench("permuted", 0, &digits);
    fill(&rows);
    fill(&pixels);
    for (int i = 0; i < LANES; i++) {
        car_probe_lane row = lane_of(&rows, i), pixel = lane_of(&pixels, i);
        assert_int_equal(row.steps, SIDE);
        assert_int_equal(pixel.steps, PIXELS);
        for (int k = 0; k < PIXELS; k++) {
            float value = input_at(&pixel, k, 0);
            assert_near((double)value, (pixel.classes[0] * 200 + digits.order[k]) / 255.0, 1e-6);
            assert_near((double)input_at(&row, k / SIDE, k % SIDE),
                        (row.classes[0] * 200 + k) / 255.0, 1e-6);
        }
    }
    car_release(NULL, rows.batch);
    car_release(NULL, pixels.batch);
    car_probe_digits_free(&digits);
}

/* Is this the image of `class` (write_images), moved? */
static bool is_moved(const car_probe_lane *lane, bool rows, const int *order, int down, int right) {
    for (int k = 0; k < PIXELS; k++) {
        int place = rows ? k : order[k], row = place / SIDE - down, column = place % SIDE - right;
        bool inside = row >= 0 && row < SIDE && column >= 0 && column < SIDE;
        int expected = inside ? lane->classes[0] * 200 + row * SIDE + column : 0;
        float value = rows ? input_at(lane, k / SIDE, k % SIDE) : input_at(lane, k, 0);
        if (fabs((double)value - expected / 255.0) > 1e-6)
            return false;
    }
    return true;
}

/* Moves by -1 .. 1 down and right all occur in training, none in the other sets; the images drawn are the same. */
static void shifted_digits_are_moved(void **state) {
    const folder *at = *state;
    car_probe_digits digits;
    write_images(at, IMAGES, 0);
    ok(car_probe_digits_read(at->images, at->labels, NULL, NULL, NULL, &digits, fault));
    for (int rows = 0; rows < 2; rows++) {
        int count[3][3] = {{0}};
        bench plain = open_bench(rows ? "rows" : "permuted", 0, &digits), moved = plain;
        ok(car_probe_batch_create(&moved.problem, LANES, NULL, &moved.batch, fault));
        moved.problem.shift = 1;
        fill(&plain);
        fill(&moved);
        for (int i = 0; i < LANES; i++) {
            car_probe_lane lane = lane_of(&moved, i);
            int found = 0;
            assert_int_equal(lane.classes[0], lane_of(&plain, i).classes[0]);
            for (int k = 0; k < 9; k++)
                if (is_moved(&lane, rows, digits.order, k / 3 - 1, k % 3 - 1)) {
                    count[k / 3][k % 3]++;
                    found++;
                }
            assert_int_equal(found, 1);
        }
        for (int k = 0; k < 9; k++)
            assert_true(count[k / 3][k % 3] > 0);
        for (car_probe_set set = CAR_PROBE_CHECK; set <= CAR_PROBE_TEST; set++) {
            car_probe_fill(&moved.problem, set, 0, moved.batch);
            for (int i = 0; i < LANES; i++) {
                car_probe_lane lane = lane_of(&moved, i);
                assert_true(is_moved(&lane, rows, digits.order, 0, 0));
            }
        }
        car_release(NULL, plain.batch);
        car_release(NULL, moved.batch);
    }
    car_probe_digits_free(&digits);
}

/* ---- Nets and studies --------------------------------------------------------------------------------- */

static car_cell *zoo_cell(const char *name) {
    car_cell *cell;
    const char *text = car_zoo_text(name);
    assert_non_null(text);
    ok(car_cell_compile(text, strlen(text), name, NULL, &cell, fault));
    return cell;
}

static void cells_get_as_many_weights(void **state) {
    (void)state;
    static const char *const names[] = {"rnn", "lstm", "gru", "mut1", "indrnn"};
    car_probe_problem problem;
    ok(car_probe_problem_make(car_probe_task_find("order2"), 100, 1, NULL, &problem, fault));
    for (int i = 0; i < 5; i++) {
        car_cell *cell = zoo_cell(names[i]);
        car_model *model;
        int units;
        ok(car_probe_units_for(&problem, cell, 5000, NULL, &units, fault));
        ok(car_probe_model_make(&problem, cell, units, NULL, NULL, NULL, &model, fault));
        assert_near((double)car_model_parameter_count(model), 5000, 5000 * 0.03);
        car_model_free(model);
        car_cell_free(cell);
    }
}

typedef struct small_study {
    car_cell *cells[2];
    car_probe_study *study;
    car_probe_request request;
} small_study;

static const int distances[] = {10, 14};

static small_study begin_small(const char *task, const char *path, int64_t updates) {
    small_study made = {.cells = {zoo_cell("rnn"), zoo_cell("lstm")}};
    made.request = (car_probe_request){.task = car_probe_task_find(task),
                                       .cells = (const car_cell *const *)made.cells,
                                       .distances = distances,
                                       .cell_count = 2,
                                       .distance_count = 2,
                                       .seeds = 2,
                                       .settings = {.hidden = 6,
                                                    .batch = 4,
                                                    .check_every = 10,
                                                    .seed = 3,
                                                    .clip = -1,
                                                    .bias_init = "bf=2"},
                                       .updates = updates,
                                       .folder = path};
    ok(car_probe_study_begin(&made.request, NULL, &made.study, fault));
    return made;
}

static void end_small(small_study *at) {
    car_probe_study_free(at->study);
    car_cell_free(at->cells[0]);
    car_cell_free(at->cells[1]);
}

static bool run_small(const small_study *at, int threads, const volatile sig_atomic_t *stop) {
    bool stopped;
    const car_probe_watch watch = {.threads = threads, .stop = stop};
    ok(car_probe_study_run(at->study, &watch, &stopped, fault));
    return stopped;
}

static void assert_same_records(const car_probe_study *one, const car_probe_study *other) {
    for (int i = 0; i < 8; i++) {
        const car_probe_record *a = &one->records[i], *b = &other->records[i];
        assert_int_equal(a->updates, b->updates);
        assert_int_equal(a->solved, b->solved);
        assert_true(a->tested && b->tested);
        assert_true(a->accuracy == b->accuracy && a->error == b->error && a->loss == b->loss);
        assert_true(memcmp(&a->check_accuracy, &b->check_accuracy, sizeof(double)) == 0);
    }
}

static void assert_same_weights(const char *one, const char *other) {
    static const char *const cells[] = {"rnn", "lstm"};
    for (int i = 0; i < 8; i++) {
        car_model *models[2];
        for (int k = 0; k < 2; k++) {
            char path[256];
            snprintf(path, sizeof path, "%s/%s-%d-%d.safetensors", k ? other : one, cells[i / 4],
                     distances[i / 2 % 2], 3 + i % 2);
            ok(car_model_load(path, NULL, &models[k], fault));
        }
        assert_memory_equal(models[0]->weights, models[1]->weights,
                            models[0]->weight_floats * sizeof(float));
        car_model_free(models[0]);
        car_model_free(models[1]);
    }
}

static void threads_do_not_change_a_study(void **state) {
    (void)state;
    small_study one = begin_small("adding", NULL, 30), two = begin_small("adding", NULL, 30);
    assert_false(run_small(&one, 1, NULL));
    assert_false(run_small(&two, 3, NULL));
    assert_same_records(one.study, two.study);
    assert_true(one.study->records[0].loss != one.study->records[1].loss);
    assert_null(one.study->cells[0].bias_init); /* the rnn has no bf */
    assert_string_equal(one.study->cells[1].bias_init, "bf=2");
    end_small(&one);
    end_small(&two);
}

/* 15 updates, then 35, then a study that was never interrupted; streams carry their state over the cut. */
static void check_going_on(const char *task, const folder *at) {
    char cut[128], whole[128];
    snprintf(cut, sizeof cut, "%s-%s-cut", at->study, task);
    snprintf(whole, sizeof whole, "%s-%s-whole", at->study, task);
    small_study first = begin_small(task, cut, 15);
    run_small(&first, 2, NULL);
    end_small(&first);
    small_study second = begin_small(task, cut, 35), other = begin_small(task, whole, 35);
    assert_true(second.study->resumed && !other.study->resumed);
    assert_true(second.study->records[0].updates <= 15 && second.study->records[0].updates > 0);
    run_small(&second, 1, NULL);
    run_small(&other, 2, NULL);
    assert_same_records(second.study, other.study);
    assert_same_weights(cut, whole);
    end_small(&second);
    end_small(&other);
}

static void a_longer_run_goes_on(void **state) {
    check_going_on("adding", *state);
    check_going_on("continual-reber", *state);
}

typedef struct interrupter {
    volatile sig_atomic_t stop;
    int64_t at;
} interrupter;

static void interrupt(void *context, const car_probe_progress *progress) {
    interrupter *self = context;
    if (progress->updates_done >= self->at)
        self->stop = 1;
}

static void an_interrupted_study_goes_on(void **state) {
    const folder *at = *state;
    char cut[128];
    interrupter self = {.at = 47};
    bool stopped;
    snprintf(cut, sizeof cut, "%s-stopped", at->study);
    small_study first = begin_small("reber", cut, 20);
    const car_probe_watch watch = {
        .context = &self, .progress = interrupt, .threads = 2, .stop = &self.stop};
    ok(car_probe_study_run(first.study, &watch, &stopped, fault));
    assert_true(stopped);
    end_small(&first);
    small_study second = begin_small("reber", cut, 20), whole = begin_small("reber", NULL, 20);
    run_small(&second, 1, NULL);
    run_small(&whole, 1, NULL);
    assert_same_records(second.study, whole.study);
    end_small(&second);
    end_small(&whole);
}

static void studies_refuse_what_does_not_fit(void **state) {
    const folder *at = *state;
    car_probe_study *study;
    car_error error;
    char path[160];
    small_study made = begin_small("adding", at->study, 5);
    run_small(&made, 1, NULL);
    made.request.cells = (const car_cell *const *)made.cells;
    car_probe_request request = made.request;
    request.settings.rate = 0.5;
    assert_int_equal(car_probe_study_begin(&request, NULL, &study, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "--rate"));
    request = made.request;
    request.task = car_probe_task_find("reber");
    assert_int_equal(car_probe_study_begin(&request, NULL, &study, &error), CAR_USAGE);
    request = made.request;
    request.settings.bias_init = "bf=1,nothing=2";
    assert_int_equal(car_probe_study_begin(&request, NULL, &study, &error), CAR_USAGE);
    const car_cell *twice[] = {made.cells[0], made.cells[0]};
    request = made.request;
    request.cells = twice;
    assert_int_equal(car_probe_study_begin(&request, NULL, &study, &error), CAR_USAGE);
    car_cell *changed;
    const char *text = "cell rnn(x) -> h\nstate h\nh' = tanh(W@x + U@h)\n";
    ok(car_cell_compile(text, strlen(text), "rnn", NULL, &changed, fault));
    const car_cell *cells[] = {changed};
    request = made.request;
    request.cells = cells;
    request.cell_count = 1;
    request.settings.bias_init = NULL;
    assert_int_equal(car_probe_study_begin(&request, NULL, &study, &error), CAR_USAGE);
    request.settings.bias_init = "bf=2";
    assert_int_equal(car_probe_study_begin(&request, NULL, &study, &error), CAR_USAGE);
    car_cell_free(changed);
    request = made.request;
    request.folder = at->path;
    snprintf(path, sizeof path, "%s/study.json", at->path);
    static const char *const bad[] = {"{", "{}", "[1]", "{\"carousel.probe\": 1, \"updates\": -1}"};
    for (int i = 0; i < 4; i++) {
        write_file(path, bad[i], strlen(bad[i]));
        assert_int_equal(car_probe_study_begin(&request, NULL, &study, &error), CAR_DATA);
    }
    request.folder = "/proc/no/folder";
    assert_int_equal(car_probe_study_begin(&request, NULL, &study, &error), CAR_IO);
    end_small(&made);
}

/* A changed cell is found by its text; so is a checkpoint of another run. */
static void a_changed_cell_is_refused(void **state) {
    const folder *at = *state;
    const char *texts[] = {"cell mine(x) -> h\nstate h\nh' = tanh(W@x + U@h)\n",
                           "cell mine(x) -> h\nstate h\nh' = tanh(W@x + U@h + b)\n"};
    car_error error;
    for (int i = 0; i < 2; i++) {
        car_cell *cell;
        car_probe_study *study = NULL;
        ok(car_cell_compile(texts[i], strlen(texts[i]), "mine", NULL, &cell, fault));
        const car_cell *cells[] = {cell};
        const car_probe_request request = {.task = car_probe_task_find("adding"),
                                           .cells = cells,
                                           .distances = distances,
                                           .cell_count = 1,
                                           .distance_count = 1,
                                           .seeds = 1,
                                           .settings = {.hidden = 4, .clip = -1},
                                           .updates = 3,
                                           .folder = at->study};
        car_status status = car_probe_study_begin(&request, NULL, &study, &error);
        assert_int_equal(status, i ? CAR_DATA : CAR_OK);
        bool stopped;
        const car_probe_watch watch = {.threads = 1};
        if (study)
            ok(car_probe_study_run(study, &watch, &stopped, fault));
        car_probe_study_free(study);
        car_cell_free(cell);
    }
}

static void minutes_become_updates_once(void **state) {
    const folder *at = *state;
    small_study first = begin_small("adding", NULL, 1);
    first.request.updates = 0;
    first.request.cells = (const car_cell *const *)first.cells;
    first.request.minutes = 0.002;
    first.request.folder = at->study;
    car_probe_study *study;
    bool stopped;
    const car_probe_watch watch = {.threads = 1};
    ok(car_probe_study_begin(&first.request, NULL, &study, fault));
    ok(car_probe_study_run(study, &watch, &stopped, fault));
    int64_t updates = study->updates;
    assert_true(updates >= 1);
    for (int i = 0; i < 8; i++)
        assert_true(study->records[i].tested &&
                    (study->records[i].solved || study->records[i].updates == updates));
    car_probe_study_free(study);
    ok(car_probe_study_begin(&first.request, NULL, &study, fault));
    assert_int_equal(study->updates, updates);
    car_probe_study_free(study);
    end_small(&first);
}

/* The shortest way to see that all of it learns. */
static void an_lstm_learns_embedded_reber(void **state) {
    (void)state;
    car_cell *cell = zoo_cell("lstm");
    const car_cell *cells[] = {cell};
    car_probe_study *study;
    bool stopped;
    const car_probe_watch watch = {.threads = 2};
    const car_probe_request request = {.task = car_probe_task_find("reber"),
                                       .cells = cells,
                                       .cell_count = 1,
                                       .seeds = 2,
                                       .settings = {.clip = -1, .seed = 2}};
    ok(car_probe_study_begin(&request, NULL, &study, fault));
    ok(car_probe_study_run(study, &watch, &stopped, fault));
    car_probe_summary summary = car_probe_summarize(study, 0);
    assert_int_equal(summary.runs, 2);
    assert_int_equal(summary.solved, 2);
    assert_true(summary.accuracy > 0.98 && summary.updates < (double)study->updates);
    car_probe_study_free(study);
    car_cell_free(cell);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adding_marks_two_numbers),
        cmocka_unit_test(order_names_the_classes),
        cmocka_unit_test(lags_return_their_first_symbol),
        cmocka_unit_test(two_sequences_have_their_noise),
        cmocka_unit_test(reber_strings_are_legal),
        cmocka_unit_test(streams_do_not_end),
        cmocka_unit_test(a_stream_stops_at_its_first_error),
        cmocka_unit_test(recalled_symbols_are_the_given_ones),
        cmocka_unit_test(agreement_does_not_leak),
        cmocka_unit_test(a_sequence_is_a_function_of_its_number),
        cmocka_unit_test(tasks_refuse_distances_out_of_range),
        cmocka_unit_test(every_task_works_at_its_ends),
        cmocka_unit_test_setup_teardown(images_are_read_and_checked, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(digits_keep_their_sets_apart, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(shifted_digits_are_moved, make_folder, remove_folder),
        cmocka_unit_test(cells_get_as_many_weights),
        cmocka_unit_test(threads_do_not_change_a_study),
        cmocka_unit_test_setup_teardown(a_longer_run_goes_on, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(an_interrupted_study_goes_on, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(studies_refuse_what_does_not_fit, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_changed_cell_is_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(minutes_become_updates_once, make_folder, remove_folder),
        cmocka_unit_test(an_lstm_learns_embedded_reber),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
