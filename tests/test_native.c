/*
 * test_native.c: cells that are compiled at run time give the interpreter's bits; whatever is wrong with the compiler or
 * the cache folder, the interpreter runs them.
 *
 * Every test has a cache folder of its own. Without a C compiler the tests that need one say that they are skipped.
 */
#include "network.h"

#include "emitted_helpers.h"
#include "random_cells.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RANDOM_CELLS = 5, PATH_BYTES = 512 };

static const char plain[] = "cell own(x) -> h\n"
                            "state h, slow\n"
                            "k = sigmoid(Wk@x + Uk@h + bk)\n"
                            "slow' = k*slow + (1 - k)*tanh(W@x + U@h + b)\n"
                            "h' = 0.75*slow' + 0.125*h\n";
/* Every function, a mean, and a division; all their gradients. */
static const char rich[] = "cell rich(x) -> y\n"
                           "state h, c\n"
                           "a = relu(Wa@x + Ua@h + ba)\n"
                           "e = exp(tanh(We@x)) + log(1.5 + abs(c)) - sqrt(0.5 + softplus(h))\n"
                           "m = max(a, p*c) - min(e, h) + mean(e)\n"
                           "c' = layernorm(m)*sigmoid(Wc@x + Uc@h)\n"
                           "h' = tanh(c')/(1.5 + a)\n"
                           "y = h' + 0.5*c'\n";

/* ---- Folders ------------------------------------------------------------------------------------------ */

static char cache_home[PATH_BYTES], cache_folder[PATH_BYTES * 2];

static bool have_compiler(void) {
    return system("${CC:-cc} --version >/dev/null 2>&1") == 0;
}

static void must_do(const char *command) {
    if (system(command) != 0)
        fail_msg("%s", command);
}

static int fresh_cache(void **state) {
    (void)state;
    const char *temporary = getenv("TMPDIR");
    snprintf(cache_home, sizeof cache_home, "%s/carousel-native-XXXXXX",
             temporary ? temporary : "/tmp");
    if (!mkdtemp(cache_home))
        return -1;
    snprintf(cache_folder, sizeof cache_folder, "%s/carousel", cache_home);
    unsetenv("CAROUSEL_NATIVE");
    unsetenv("CAROUSEL_CPU");
    return setenv("XDG_CACHE_HOME", cache_home, 1);
}

static int remove_cache(void **state) {
    (void)state;
    char command[PATH_BYTES + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", cache_home);
    return system(command);
}

/* How many entries the folder has; `path` of one of them. Nothing else may be in it. */
static int entries(char path[PATH_BYTES * 3]) {
    DIR *folder = opendir(cache_folder);
    int count = 0;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        size_t length = strlen(entry->d_name);
        if (length < 4 || strcmp(entry->d_name + length - 3, ".so") != 0)
            fail_msg("left behind: %s", entry->d_name);
        snprintf(path, PATH_BYTES * 3, "%s/%s", cache_folder, entry->d_name);
        count++;
    }
    if (folder)
        closedir(folder);
    return count;
}

static struct car_cell *compile(const char *text) {
    struct car_cell *cell;
    car_error error = {0};
    if (car_cell_compile(text, strlen(text), "own", NULL, &cell, &error) != CAR_OK)
        fail_msg("%s", error.message);
    return cell;
}

/* car_cell_compile_native must fail with this word in its message, and the description too. */
static void interpreted_because(struct car_cell *cell, const char *word) {
    car_error error = {0};
    car_text text;
    assert_int_equal(car_cell_compile_native(cell, &error), CAR_FAILED);
    if (!strstr(error.message, word))
        fail_msg("'%s' is not in: %s", word, error.message);
    car_text_start(&text, NULL);
    car_native_describe(cell, &text);
    if (strncmp(text.data, "interpreted: ", 13) != 0 || !strstr(text.data, word))
        fail_msg("'%s' is not in: %s", word, text.data);
    car_text_free(&text);
    assert_null(car_native_table(cell, car_cpu_highest()));
}

static void compiled(struct car_cell *cell) {
    car_error error = {0};
    if (car_cell_compile_native(cell, &error) != CAR_OK)
        fail_msg("%s", error.message);
}

/* ---- The same bits ------------------------------------------------------------------------------------ */

static void compare_at(struct car_cell *cell, car_cpu_level level) {
    static const int units[] = {1, 16, 17, 40};
    const car_kernels *kernels = car_kernels_of(level);
    assert_int_equal(setenv("CAROUSEL_CPU", kernels->name, 1), 0);
    compiled(cell);
    assert_non_null(car_native_table(cell, level));
    for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
        compare(cell, kernels, units[k], car_emitted_of(level), car_native_table(cell, level));
        compare_lone(cell, kernels, units[k], car_emitted_of(level), car_native_table(cell, level));
    }
    assert_int_equal(unsetenv("CAROUSEL_CPU"), 0);
}

static void own_cells_give_the_interpreters_bits_at_every_level(void **state) {
    (void)state;
    if (!have_compiler())
        skip();
    static const char *const texts[] = {plain, rich};
    for (int level = 0; level <= (int)car_cpu_highest(); level++)
        for (int i = 0; i < 2; i++) {
            struct car_cell *cell = compile(texts[i]);
            compare_at(cell, (car_cpu_level)level);
            car_cell_free(cell);
        }
}

/* Its programs are so long that a block's vectors stand alone in them. */
static void a_long_cell_gives_the_interpreters_bits(void **state) {
    (void)state;
    if (!have_compiler())
        skip();
    car_text text;
    car_text_start(&text, NULL);
    car_text_format(&text, "cell long(x) -> h\nstate h, c\na0 = W@x + U@h + b\n");
    enum { LINES = 30 };
    for (int i = 1; i <= LINES; i++)
        car_text_format(&text, "a%d = tanh(a%d*c + 0.%d) - 0.5*a%d*a%d\n", i, i - 1, i, i / 2,
                        i - 1);
    car_text_format(&text, "c' = sigmoid(a%d)*c + 0.1*a0\nh' = tanh(c') + 0.1*a%d\n", LINES, LINES);
    struct car_cell *cell = compile(text.data);
    const car_cpu_level highest = car_cpu_highest();
    compare_at(cell, highest > CAR_CPU_AVX2 ? CAR_CPU_AVX2 : highest);
    car_cell_free(cell);
    car_text_free(&text);
}

static void random_cells_give_the_interpreters_bits(void **state) {
    (void)state;
    if (!have_compiler())
        skip();
    for (int i = 0; i < RANDOM_CELLS; i++) {
        generator random;
        generate(&random, (uint64_t)i);
        struct car_cell *cell = compile(random.text.data);
        compare_at(cell, car_cpu_highest());
        car_cell_free(cell);
        car_text_free(&random.text);
    }
}

/* ---- When a compiler is needed, and when not ---------------------------------------------------------- */

/* The equations of a cell of the zoo under other names: its programs are built in. */
static void what_is_built_in_needs_no_compiler(void **state) {
    (void)state;
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo);
    assert_int_equal(setenv("CC", "/nowhere/compiler", 1), 0);
    for (int i = 0; i < count; i++) {
        struct car_cell *cell = compile(zoo[i].text);
        compiled(cell);
        car_cell_free(cell);
    }
    assert_int_equal(access(cache_folder, F_OK), -1);
    assert_int_equal(unsetenv("CC"), 0);
}

static void the_second_time_no_compiler_runs(void **state) {
    (void)state;
    if (!have_compiler())
        skip();
    char path[PATH_BYTES * 3];
    struct stat first, second, folder;
    for (int time = 0; time < 2; time++) {
        struct car_cell *cell = compile(plain);
        assert_int_equal(car_native_attach(cell, time == 0, NULL), CAR_OK);
        assert_non_null(car_native_table(cell, car_cpu_highest()));
        assert_int_equal(entries(path), 1);
        assert_int_equal(stat(path, time ? &second : &first), 0);
        car_cell_free(cell);
    }
    assert_int_equal(first.st_ino, second.st_ino);
    assert_int_equal(first.st_mode & 0777, 0600);
    assert_int_equal(stat(cache_folder, &folder), 0);
    assert_int_equal(folder.st_mode & 0777, 0700);
}

/* Entries of others in the folder, last used `ago` seconds before now and some. */
static void add_entries(int from, int to, int ago) {
    for (int k = from; k < to; k++) {
        char path[PATH_BYTES * 3];
        snprintf(path, sizeof path, "%s/%03d.so", cache_folder, k);
        int file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        assert_true(file >= 0);
        const struct timespec then[2] = {{.tv_sec = time(NULL) - ago - k},
                                         {.tv_sec = time(NULL) - ago - k}};
        assert_int_equal(futimens(file, then), 0);
        close(file);
    }
}

static bool has_entry(int k) {
    char path[PATH_BYTES * 3];
    snprintf(path, sizeof path, "%s/%03d.so", cache_folder, k);
    return access(path, F_OK) == 0;
}

static void what_was_not_used_for_longest_goes(void **state) {
    (void)state;
    if (!have_compiler())
        skip();
    enum { MOST = 64, OTHERS = 80 };
    char own[PATH_BYTES * 3], any[PATH_BYTES * 3];
    struct car_cell *first = compile(plain);
    compiled(first);
    assert_int_equal(entries(own), 1);
    const struct timespec never[2] = {{0}, {0}};
    assert_int_equal(utimensat(AT_FDCWD, own, never, 0), 0);
    car_cell_free(first);
    first = compile(plain);
    compiled(first); /* used again: the newest */
    add_entries(0, OTHERS, 100);
    struct car_cell *second = compile(rich);
    compiled(second);
    assert_int_equal(entries(any), MOST);
    assert_int_equal(access(own, F_OK), 0);
    for (int k = 0; k < OTHERS; k++)
        assert_int_equal(has_entry(k), k < MOST - 2);
    compare_at(first, car_cpu_highest()); /* what is loaded stays loaded */
    car_cell_free(second);
    car_cell_free(first);
}

static void only_compiled_when_asked(void **state) {
    (void)state;
    struct car_cell *cell = compile(plain);
    assert_null(car_native_table(cell, car_cpu_highest()));
    assert_int_equal(car_native_attach(cell, false, NULL), CAR_FAILED);
    assert_int_equal(access(cache_folder, F_OK), -1);
    car_cell_free(cell);
}

/* ---- What is wrong makes the interpreter run ---------------------------------------------------------- */

static void no_compiler_no_machine_code(void **state) {
    (void)state;
    struct car_cell *cell = compile(plain);
    assert_int_equal(setenv("CAROUSEL_NATIVE", "0", 1), 0);
    interpreted_because(cell, "CAROUSEL_NATIVE=0");
    assert_int_equal(unsetenv("CAROUSEL_NATIVE"), 0);
    assert_int_equal(setenv("CC", "/nowhere/compiler", 1), 0);
    interpreted_because(cell, "no C compiler");
    assert_int_equal(access(cache_folder, F_OK), -1);
    assert_int_equal(setenv("CC", "/bin/false -x  y", 1), 0);
    interpreted_because(cell, "the C compiler failed");
    assert_int_equal(setenv("CC", "/bin/true", 1), 0);
    interpreted_because(cell, "cannot be read");
    char path[PATH_BYTES * 3];
    assert_int_equal(entries(path), 0);
    assert_int_equal(unsetenv("CC"), 0);
    const char *old = getenv("PATH");
    char *kept = strdup(old ? old : "");
    assert_int_equal(setenv("PATH", "", 1), 0);
    interpreted_because(cell, "no C compiler");
    assert_int_equal(setenv("PATH", kept, 1), 0);
    free(kept);
    car_cell_free(cell);
}

static void a_folder_that_others_can_write_to_is_refused(void **state) {
    (void)state;
    if (!have_compiler())
        skip();
    struct car_cell *cell = compile(plain);
    char other[PATH_BYTES * 2];
    assert_int_equal(mkdir(cache_folder, 0700), 0);
    assert_int_equal(chmod(cache_folder, 0770), 0);
    interpreted_because(cell, "others can write");
    assert_int_equal(rmdir(cache_folder), 0);
    snprintf(other, sizeof other, "%s/other", cache_home);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(symlink(other, cache_folder), 0);
    interpreted_because(cell, "no cache folder");
    assert_int_equal(unlink(cache_folder), 0);
    assert_int_equal(close(open(cache_folder, O_CREAT | O_WRONLY, 0600)), 0);
    interpreted_because(cell, "no cache folder");
    if (geteuid() == 0) { /* somebody else's folder: only root can make one */
        assert_int_equal(unlink(cache_folder), 0);
        assert_int_equal(mkdir(cache_folder, 0700), 0);
        assert_int_equal(chown(cache_folder, 12345, 12345), 0);
        interpreted_because(cell, "belongs to somebody else");
    }
    assert_int_equal(setenv("XDG_CACHE_HOME", "/proc/self", 1), 0);
    interpreted_because(cell, "no cache folder");
    car_cell_free(cell);
}

/* Cut off, changed in its code or digest, another key's, or a symbolic link: none of them is loaded, all are replaced. */
static void a_poisoned_entry_is_replaced(void **state) {
    (void)state;
    if (!have_compiler())
        skip();
    static const char *const poisons[] = {
        ": >'%1$s'",
        "head -c 3000 '%1$s' >'%1$s.cut' && mv '%1$s.cut' '%1$s'",
        "printf x | dd of='%1$s' bs=1 seek=600 conv=notrunc 2>/dev/null",
        "printf 'no digest at all, but long enough to hold one, which is 64 digits long' >>'%1$s'",
        "mv '%1$s' '%1$s.moved' && ln -s '%1$s.moved' '%1$s'",
    };
    char path[PATH_BYTES * 3], command[PATH_BYTES * 16];
    struct car_cell *cell = compile(plain), *other = compile(rich);
    compiled(cell);
    assert_int_equal(entries(path), 1);
    car_cell_free(cell);
    for (size_t i = 0; i < sizeof poisons / sizeof *poisons; i++) {
        snprintf(command, sizeof command, poisons[i], path);
        must_do(command);
        cell = compile(plain);
        assert_int_equal(car_native_attach(cell, false, NULL), CAR_FAILED);
        compiled(cell);
        assert_non_null(car_native_table(cell, car_cpu_highest()));
        snprintf(command, sizeof command, "%s.moved", path);
        unlink(command);
        assert_int_equal(entries(path), 1);
        car_cell_free(cell);
    }
    /* The whole and right entry of another key. */
    snprintf(command, sizeof command, "mv '%s' '%s/theirs'", path, cache_home);
    must_do(command);
    compiled(other);
    char second[PATH_BYTES * 3];
    assert_int_equal(entries(second), 1);
    snprintf(command, sizeof command, "cp '%s/theirs' '%s'", cache_home, second);
    must_do(command);
    car_cell_free(other);
    other = compile(rich);
    assert_int_equal(car_native_attach(other, false, NULL), CAR_FAILED);
    car_cell_free(other);
}

static void processes_at_once(void **state) {
    (void)state;
    if (!have_compiler())
        skip();
    enum { PROCESSES = 3 };
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct car_cell *cell;
            bool good =
                car_cell_compile(plain, strlen(plain), "own", NULL, &cell, NULL) == CAR_OK &&
                car_cell_compile_native(cell, NULL) == CAR_OK &&
                car_native_table(cell, car_cpu_highest()) != NULL;
            _exit(good ? 0 : 1);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int result;
        assert_int_equal(waitpid(children[i], &result, 0), children[i]);
        assert_int_equal(result, 0);
    }
    char path[PATH_BYTES * 3];
    assert_int_equal(entries(path), 1);
}

/* ---- Models ------------------------------------------------------------------------------------------- */

static void assert_all_compiled(const car_model *model, bool expected) {
    for (int i = 0; i < model->net->layer_count; i++) {
        const car_model_layer *layer = &model->layers[i];
        for (int k = 0; layer->plan && k < 2; k++) {
            int programs, functions;
            car_plan_programs(k ? layer->training_plan : layer->plan, &programs, &functions);
            assert_true(programs > 0);
            assert_true(expected ? functions == programs : functions < programs);
        }
    }
}

static void outputs_of(const car_model *model, float output[8][2]) {
    car_session *session;
    assert_int_equal(car_session_create(model, NULL, NULL, &session, NULL), CAR_OK);
    for (int t = 0; t < 8; t++) {
        float x[3] = {(float)t, 1, -0.5f * (float)t};
        assert_int_equal(car_session_step(session, x, output[t], NULL), CAR_OK);
    }
    car_session_free(session);
}

/* A net, its model and the model's copy outlive the cell; a loaded model is compiled on its own. */
static void models_use_what_was_compiled(void **state) {
    (void)state;
    if (!have_compiler())
        skip();
    car_error error = {0};
    car_net *net;
    car_model *model, *copy, *loaded;
    struct car_cell *cell = compile(plain);
    float before[8][2], after[8][2];
    char path[PATH_BYTES * 2];
    compiled(cell);
    const car_cell *cells[] = {cell};
    assert_int_equal(car_net_parse("own 20 x2 | linear", cells, 1, NULL, &net, &error), CAR_OK);
    car_cell_free(cell);
    const car_model_options sizes = {.input_size = 3, .output_size = 2, .seed = 3};
    assert_int_equal(car_model_create(net, &sizes, NULL, &model, &error), CAR_OK);
    car_net_free(net);
    assert_all_compiled(model, true);
    snprintf(path, sizeof path, "%s/m.safetensors", cache_home);
    assert_int_equal(car_model_save(model, path, &error), CAR_OK);
    assert_int_equal(car_model_copy(model, NULL, &copy, &error), CAR_OK);
    outputs_of(model, before);
    car_model_free(model);
    assert_all_compiled(copy, true);
    outputs_of(copy, after);
    assert_memory_equal(before, after, sizeof before);
    car_model_free(copy);

    assert_int_equal(car_model_load(path, NULL, &loaded, &error), CAR_OK);
    assert_all_compiled(loaded, false);
    outputs_of(loaded, after);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(car_model_compile_native(loaded, &error), CAR_OK);
    assert_all_compiled(loaded, true);
    outputs_of(loaded, after);
    assert_memory_equal(before, after, sizeof before);
    car_model_free(loaded);
}

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, fresh_cache, remove_cache)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_CACHE(own_cells_give_the_interpreters_bits_at_every_level),
        WITH_CACHE(a_long_cell_gives_the_interpreters_bits),
        WITH_CACHE(random_cells_give_the_interpreters_bits),
        WITH_CACHE(the_second_time_no_compiler_runs),
        WITH_CACHE(what_was_not_used_for_longest_goes),
        WITH_CACHE(only_compiled_when_asked),
        WITH_CACHE(no_compiler_no_machine_code),
        WITH_CACHE(a_folder_that_others_can_write_to_is_refused),
        WITH_CACHE(a_poisoned_entry_is_replaced),
        WITH_CACHE(processes_at_once),
        WITH_CACHE(models_use_what_was_compiled),
        WITH_CACHE(what_is_built_in_needs_no_compiler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
