/*
 * test_store.c: studies in SQLite: rows that give the same bits again, tokens that keep trials from counting twice, tries that
 * end, and databases that are not ours.
 */
#include "store.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char place[512];

static void check(car_status status, const car_error *error) {
    if (status != CAR_OK)
        fail_msg("%s", error->message);
}

static void forget(void) {
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s%s", place, ends[i]);
        unlink(path);
    }
}

static int begin_test(void **state) {
    (void)state;
    const char *folder = getenv("TMPDIR");
    snprintf(place, sizeof place, "%s/carousel-store-%d.db", folder ? folder : "/tmp",
             (int)getpid());
    forget();
    return 0;
}

static int end_test(void **state) {
    (void)state;
    forget();
    return 0;
}

static struct car_cell *zoo_cell(const char *name) {
    struct car_cell *cell;
    car_error error = {0};
    const char *text = car_zoo_text(name);
    check(car_cell_compile(text, strlen(text), name, NULL, &cell, &error), &error);
    return cell;
}

static car_search_settings small_settings(void) {
    car_search_settings settings = car_search_defaults();
    settings.tasks[settings.task_count++] = "arithmetic@2";
    settings.tasks[settings.task_count++] = "xml";
    settings.weights = 500;
    settings.updates = 12;
    settings.settings = settings.first_settings = 2;
    settings.lanes = 4;
    settings.steps = 6;
    settings.checks = 2;
    settings.memory_letters = 2;
    settings.memory_updates = 12;
    settings.memory_least = 0.01;
    settings.least = 0.5;
    settings.trials = 12;
    return settings;
}

static car_store *open_store(bool create) {
    car_store *store = NULL;
    car_error error = {0};
    check(car_store_open(place, create, NULL, &store, &error), &error);
    return store;
}

static car_study start_study(car_store *store) {
    car_study study;
    car_error error = {0};
    car_search_settings settings = small_settings();
    struct car_cell *cells[] = {zoo_cell("gru-v1"), zoo_cell("lstm")};
    check(car_study_start(store, "s", &settings, (const car_cell *const *)cells, 2, &error),
          &error);
    car_cell_free(cells[0]);
    car_cell_free(cells[1]);
    check(car_study_open(store, "s", &study, &error), &error);
    return study;
}

static car_claim claim_as(const car_study *study, const char *worker, double lease) {
    car_claim claim;
    car_error error = {0};
    bool got;
    check(car_queue_claim(study, worker, lease, &got, &claim, &error), &error);
    assert_true(got);
    return claim;
}

static car_trial_outcome made_up_outcome(double measure) {
    return (car_trial_outcome){
        .ended = "finished",
        .seconds = 1,
        .updates = 10,
        .count = 2,
        .results = {{"arithmetic@2", 0.5, NAN, measure, 5, 3, 0, {1, 0.5, 5, 1}},
                    {"xml", 0.25, 1.0 / 3, measure, 5, 3, 0, {1, 0.1, 2.5, 2}}}};
}

static bool finish(const car_study *study, const car_claim *claim, double measure) {
    car_error error = {0};
    bool counted;
    car_trial_outcome outcome = made_up_outcome(measure);
    check(car_queue_finish(study, claim, &outcome, &counted, &error), &error);
    return counted;
}

/* ---- Tokens ------------------------------------------------------------------------------------------- */

static void test_late_worker_does_not_count(void **state) {
    (void)state;
    car_store *store = open_store(true);
    car_study study = start_study(store);
    car_error error = {0};
    bool ours;
    car_claim early = claim_as(&study, "far 1 1", 0.02);
    usleep(60000);
    car_claim late = claim_as(&study, "far 1 2", 60);
    assert_int_equal(early.number, late.number);
    assert_int_equal(early.fence + 1, late.fence);
    check(car_queue_keep(&study, &early, 60, &ours, &error), &error);
    assert_false(ours);
    check(car_queue_keep(&study, &late, 60, &ours, &error), &error);
    assert_true(ours);
    assert_false(finish(&study, &early, 0.1));
    check(car_queue_return(&study, &early, &error), &error); /* changes nothing */
    assert_true(finish(&study, &late, 0.7));
    assert_true(
        finish(&study, &late, 0.7)); /* its answer may have been lost: once more is no harm */
    assert_false(finish(&study, &early, 0.1));
    car_study_view view;
    check(car_study_look(&study, &view, &error), &error);
    assert_int_equal(view.result_count, 2);
    assert_true(view.results[0].measure == 0.7 && isnan(view.results[0].nats));
    assert_true(view.results[1].nats == 1.0 / 3);
    assert_true(view.cells[0].score == 1);
    car_study_view_free(&view);
    car_claim_free(&early);
    car_claim_free(&late);
    car_study_close(&study);
    car_store_close(store);
}

static void test_tries_end(void **state) {
    (void)state;
    car_store *store = open_store(true);
    car_study study = start_study(store);
    car_error error = {0};
    car_claim back = claim_as(&study, "far 1 1", 60);
    check(car_queue_return(&study, &back, &error), &error); /* does not count as a try */
    car_claim_free(&back);
    for (int i = 0; i < CAR_STUDY_TRIES; i++) {
        car_claim claim = claim_as(&study, "far 1 1", 0.01);
        assert_int_equal(claim.number, 1);
        car_claim_free(&claim);
        usleep(40000);
    }
    car_claim next = claim_as(&study, "far 1 2", 60);
    assert_int_equal(next.number, 2);
    assert_true(finish(&study, &next, 0.5));
    car_claim_free(&next);
    car_next what; /* nothing to measure by, and nothing that could bring it */
    assert_int_equal(car_propose(&study, &what, &error), CAR_FAILED);
    assert_non_null(strstr(error.message,
                           "trial 1, of the cell that the others are compared with, was given up"));
    car_study_view view;
    check(car_study_look(&study, &view, &error), &error);
    assert_string_equal(view.trials[0].ended, "given up");
    assert_string_equal(view.trials[0].state, "done");
    assert_int_equal(view.trials[0].tries, CAR_STUDY_TRIES);
    car_study_view_free(&view);
    car_study_close(&study);
    car_store_close(store);
}

/* A claim of this machine's process that is no more goes back at once; so does one of my own that I know nothing of. */
static void test_dead_processes(void **state) {
    (void)state;
    car_store *store = open_store(true);
    car_study study = start_study(store);
    char me[400], dead[400];
    car_worker_name(me, sizeof me);
    snprintf(dead, sizeof dead, "%.*s 4194399", (int)(strrchr(me, ' ') - me), me);
    car_claim first = claim_as(&study, dead, 1000);
    car_claim second = claim_as(&study, me, 1000);
    assert_int_equal(first.number, second.number);
    car_claim third = claim_as(&study, me, 1000);
    assert_int_equal(third.number, second.number);
    car_claim other = claim_as(&study, "far 1 1", 1000); /* mine runs: the next one */
    assert_int_equal(other.number, third.number + 1);
    car_claim_free(&first);
    car_claim_free(&second);
    car_claim_free(&third);
    car_claim_free(&other);
    car_study_close(&study);
    car_store_close(store);
}

/* ---- Rows --------------------------------------------------------------------------------------------- */

/* Every stored row of a whole study, run again, gives what is stored, bit for bit. */
static void test_rows_repeat(void **state) {
    (void)state;
    car_store *store = open_store(true);
    car_study study = start_study(store);
    car_error error = {0};
    const car_work_options options = {.lease = 60};
    check(car_work(&study, &options, &error), &error);
    car_study_view view;
    check(car_study_look(&study, &view, &error), &error);
    assert_int_equal(view.trial_count, 12);
    car_trial_tasks tasks;
    check(car_trial_open(&study.settings, &tasks, &error), &error);
    int at = 0, mutants = 0;
    for (int i = 0; i < view.trial_count; i++) {
        const car_study_trial *trial = &view.trials[i];
        car_trial_outcome outcome;
        bool stopped;
        check(car_trial_run(&study.settings, &tasks, view.cells[trial->cell].text, trial->proposal,
                            (uint64_t)trial->seed, NULL, &stopped, &outcome, &error),
              &error);
        assert_string_equal(outcome.ended, trial->ended);
        assert_int_equal(outcome.updates, trial->updates);
        for (int r = 0; r < outcome.count; r++) {
            const char *task = outcome.results[r].task;
            int found = at;
            while (strcmp(view.results[found].task, task) != 0)
                found++;
            assert_int_equal(view.results[found].trial, i);
            assert_true(memcmp(&view.results[found].measure, &outcome.results[r].measure,
                               sizeof(double)) == 0);
        }
        at += outcome.count;
        mutants += strcmp(trial->kind, "mutation") == 0;
    }
    assert_int_equal(at, view.result_count);
    assert_true(mutants >= 5);
    car_trial_close(&tasks);
    car_study_view_free(&view);
    car_study_close(&study);
    car_store_close(store);
}

static void test_names(void **state) {
    (void)state;
    car_store *store = open_store(true);
    car_study study = start_study(store), other;
    car_error error = {0};
    car_search_settings settings = small_settings();
    struct car_cell *cell = zoo_cell("gru-v1");
    const car_cell *same[] = {cell, cell};
    assert_int_equal(car_study_start(store, "s", &settings, same, 1, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "--name"));
    assert_int_equal(car_study_start(store, "t", &settings, same, 2, &error), CAR_USAGE);
    assert_int_equal(car_study_open(store, "t", &other, &error),
                     CAR_USAGE); /* nothing was left of it */
    assert_non_null(strstr(error.message, "one of: s"));
    check(car_study_start(store, "t", &settings, same, 1, &error), &error);
    check(car_study_open(store, "t", &other, &error), &error);
    car_study_close(&other);
    car_cell_free(cell);
    car_study_close(&study);
    car_store_close(store);
}

/* lstm without its forget gate is the zoo's lstm-nof; a torch clause and the init of what is gone go too. */
static void test_ablations(void **state) {
    (void)state;
    struct car_cell *cell = zoo_cell("lstm"), *nof = zoo_cell("lstm-nof"),
                    *noo = zoo_cell("lstm-noo");
    int found = 0;
    for (int g = 0; g < cell->gate_count; g++) {
        struct car_cell *without;
        car_error error = {0};
        const char *gate = car_ablate_gate(cell, g);
        assert_non_null(gate);
        check(car_ablate(cell, g, &without, &error), &error);
        if (strcmp(gate, "f") == 0 || strcmp(gate, "o") == 0) {
            const struct car_cell *wanted = *gate == 'f' ? nof : noo;
            assert_string_equal(car_cell_fingerprint(without), car_cell_fingerprint(wanted));
            found++;
        }
        car_cell_free(without);
    }
    assert_int_equal(found, 2);
    assert_null(car_ablate_gate(cell, cell->gate_count));
    car_cell_free(cell);
    car_cell_free(nof);
    car_cell_free(noo);
}

/* ---- Databases that are not ours ---------------------------------------------------------------------- */

static void run_sql(car_store *store, const char *sql) {
    car_error error = {0};
    check(car_store_query(store, sql, NULL, 0, NULL, NULL, &error), &error);
}

static void refuse_open(bool create, car_status expected, const char *words) {
    car_store *store;
    car_error error = {0};
    assert_int_equal(car_store_open(place, create, NULL, &store, &error), expected);
    if (!strstr(error.message, words))
        fail_msg("%s", error.message);
}

static void write_place(const char *data, size_t length) {
    FILE *file = fopen(place, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void test_other_databases(void **state) {
    (void)state;
    refuse_open(false, CAR_IO, "search start");
    write_place("This is a letter to my aunt and no database at all, although it is long enough.\n"
                "It goes on and on, for more than a hundred bytes, as letters to aunts do.\n",
                153);
    refuse_open(true, CAR_DATA, "no database");
    refuse_open(false, CAR_DATA, "no database");
    write_place("", 0);
    refuse_open(false, CAR_DATA, "no study");
    car_store *store = open_store(true);
    run_sql(store, "DROP TABLE carousel_schema");
    run_sql(store, "CREATE TABLE recipes (name TEXT)");
    car_store_close(store);
    refuse_open(true, CAR_DATA, "another program");
    refuse_open(false, CAR_DATA, "another program");
    forget();
    store = open_store(true);
    run_sql(store, "UPDATE carousel_schema SET version = 0");
    car_store_close(store);
    refuse_open(true, CAR_DATA, "version 0");
    assert_true(car_store_is_network(0x6969) && car_store_is_network((long)0xFF534D42));
    assert_false(car_store_is_network(0xEF53) || car_store_is_network(0x01021994));
}

/* Pages overwritten: an error, never a crash. */
static void test_damaged_database(void **state) {
    (void)state;
    car_store *store = open_store(true);
    car_study study = start_study(store);
    car_study_close(&study);
    run_sql(store, "PRAGMA wal_checkpoint(TRUNCATE)");
    car_store_close(store);
    FILE *file = fopen(place, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 4096, SEEK_SET), 0);
    for (int i = 0; i < 60000; i++)
        fputc(0x5a, file);
    assert_int_equal(fclose(file), 0);
    car_error error = {0};
    car_status status = car_store_open(place, false, NULL, &store, &error);
    if (status == CAR_OK) {
        status = car_study_open(store, "s", &study, &error);
        assert_true(status != CAR_OK);
        car_store_close(store);
    }
    assert_int_equal(status, CAR_DATA);
    assert_non_null(strstr(error.message, "damaged"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_late_worker_does_not_count, begin_test, end_test),
        cmocka_unit_test_setup_teardown(test_tries_end, begin_test, end_test),
        cmocka_unit_test_setup_teardown(test_dead_processes, begin_test, end_test),
        cmocka_unit_test_setup_teardown(test_rows_repeat, begin_test, end_test),
        cmocka_unit_test_setup_teardown(test_names, begin_test, end_test),
        cmocka_unit_test(test_ablations),
        cmocka_unit_test_setup_teardown(test_other_databases, begin_test, end_test),
        cmocka_unit_test_setup_teardown(test_damaged_database, begin_test, end_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
