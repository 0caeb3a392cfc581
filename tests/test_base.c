/*
 * test_base: errors, memory, random numbers, teams, text, JSON and files. (test_container.c has the rest.)
 *
 * The expected values of random and sha256 are published ones (Random123's known answers, FIPS 180-4's
 * examples); everything else is checked by its own definition.
 */
#include "base.h"
#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Errors ------------------------------------------------------------------------------------------- */

static void test_error_text(void **state) {
    (void)state;
    car_error error;
    assert_int_equal(car_fail(&error, CAR_DATA, "a.txt: %d\n\x1b[31m\x7f\xc2\x9b\xff; stop", 7),
                     CAR_DATA);
    assert_string_equal(error.message, "a.txt: 7??[31m???; stop");
    assert_int_equal(error.line, 0);
    assert_int_equal(car_fail_at(&error, CAR_USAGE, 3, 4, "x"), CAR_USAGE);
    assert_int_equal(error.line, 3);
    assert_int_equal(error.column, 4);
    assert_int_equal(error.status, CAR_USAGE);
    assert_int_equal(car_fail(NULL, CAR_IO, "nobody listens"), CAR_IO);
    assert_string_equal(car_status_text(CAR_MODEL), "bad model file");
    assert_non_null(car_status_text((car_status)99));
}

static void test_error_cut(void **state) {
    (void)state;
    char name[2000];
    for (int shift = 0; shift < 3; shift++) {
        memset(name, 'a', sizeof name);
        for (size_t k = (size_t)shift; k + 3 < sizeof name; k += 3)
            memcpy(name + k, "\xe4\xb8\xad", 3);
        name[sizeof name - 1] = '\0';
        car_error error;
        car_fail(&error, CAR_DATA, "%s", name);
        size_t length = strlen(error.message);
        assert_in_range(length, sizeof error.message - 5, sizeof error.message - 1);
        assert_string_equal(error.message + length - 3, "...");
        assert_null(strchr(error.message, '?'));
    }
}

/* ---- Memory ------------------------------------------------------------------------------------------- */

static void *allocate_dirty(void *context, size_t size, size_t alignment) {
    int *live = context;
    void *block = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (block) {
        memset(block, 0xa5, size);
        ++*live;
    }
    return block;
}

static void release_dirty(void *context, void *block) {
    int *live = context;
    --*live;
    free(block);
}

static void test_allocate(void **state) {
    (void)state;
    int live = 0;
    const car_allocator dirty = {&live, allocate_dirty, release_dirty};
    const car_allocator *allocators[] = {NULL, &dirty};
    for (int k = 0; k < 2; k++) {
        for (size_t size = 0; size < 300; size += 7) {
            unsigned char *block = car_allocate(allocators[k], size, 1);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % 64, 0);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(block[i], 0);
            car_release(allocators[k], block);
        }
        assert_null(car_allocate(allocators[k], SIZE_MAX / 2, 3));
        assert_null(car_allocate(allocators[k], SIZE_MAX, 1));
        car_release(allocators[k], NULL);
    }
    assert_int_equal(live, 0);
}

static void test_checked_sizes(void **state) {
    (void)state;
    size_t result;
    assert_true(car_multiply(SIZE_MAX, 1, &result) && result == SIZE_MAX);
    assert_true(car_multiply(0, SIZE_MAX, &result) && result == 0);
    assert_false(car_multiply(SIZE_MAX / 2 + 1, 2, &result));
    assert_true(car_add(SIZE_MAX - 1, 1, &result) && result == SIZE_MAX);
    assert_false(car_add(SIZE_MAX, 1, &result));
}

static void test_layout_take(void **state) {
    (void)state;
    car_layout counted = {0}, placed = {0};
    _Alignas(64) char block[256];
    assert_null(car_layout_take(&counted, NULL, 3, 5, 4));
    assert_null(car_layout_take(&counted, NULL, 2, 7, 8));
    assert_int_equal(counted.size, 64 + 128);
    assert_ptr_equal(car_layout_take(&placed, block, 3, 5, 4), block);
    assert_ptr_equal(car_layout_take(&placed, block, 2, 7, 8), block + 64);
    assert_int_equal(placed.size, counted.size);
    assert_null(car_layout_take(&placed, block, SIZE_MAX / 2, 3, 1));
    assert_true(placed.overflow);
    assert_null(car_layout_take(&placed, block, 1, 1, 1));
}

static void test_layout(void **state) {
    (void)state;
    car_layout layout = {0};
    assert_int_equal(car_layout_add(&layout, 3, 4), 0);
    assert_int_equal(car_layout_add(&layout, 0, 8), 64);
    assert_int_equal(car_layout_add(&layout, 16, 4), 64);
    assert_int_equal(car_layout_add(&layout, 65, 1), 128);
    assert_int_equal(layout.size, 256);
    assert_false(layout.overflow);
    const size_t counts[] = {SIZE_MAX / 4, SIZE_MAX, SIZE_MAX - 200, SIZE_MAX - 270};
    const size_t sizes[] = {8, 1, 1, 1};
    for (int k = 0; k < 4; k++) {
        car_layout large = {.size = 256};
        car_layout_add(&large, counts[k], sizes[k]);
        assert_true(large.overflow);
        car_layout_add(&large, 1, 1);
        assert_true(large.overflow);
    }
}

static void test_arena(void **state) {
    (void)state;
    int live = 0;
    const car_allocator dirty = {&live, allocate_dirty, release_dirty};
    car_arena *arena = car_arena_create(&dirty);
    assert_non_null(arena);
    uint32_t *blocks[200];
    for (uint32_t k = 0; k < 200; k++) {
        blocks[k] = car_arena_allocate(arena, k + 1, sizeof(uint32_t) * 2);
        assert_non_null(blocks[k]);
        assert_int_equal((uintptr_t)blocks[k] % 16, 0);
        for (uint32_t i = 0; i < 2 * (k + 1); i++) {
            assert_int_equal(blocks[k][i], 0);
            blocks[k][i] = k;
        }
    }
    for (uint32_t k = 0; k < 200; k++)
        for (uint32_t i = 0; i < 2 * (k + 1); i++)
            assert_int_equal(blocks[k][i], k);
    assert_non_null(car_arena_allocate(arena, 100000, 1));
    assert_string_equal(car_arena_copy(arena, "gate and more", 4), "gate");
    assert_string_equal(car_arena_copy(arena, NULL, 0), "");
    assert_null(car_arena_allocate(arena, SIZE_MAX, 2));
    assert_null(car_arena_allocate(arena, SIZE_MAX - 3, 1));
    car_arena_free(arena);
    car_arena_free(NULL);
    assert_int_equal(live, 0);
}

/* ---- Random numbers ----------------------------------------------------------------------------------- */

static void test_philox_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
        uint32_t out[4];
        car_random_philox(known[k].counter, known[k].key, out);
        assert_memory_equal(out, known[k].out, sizeof out);
    }
}

/* Places that differ in one part give different numbers, the same place the same. */
static void test_random_places(void **state) {
    (void)state;
    const car_random_key keys[] = {{1, CAR_RANDOM_INIT, 0},
                                   {2, CAR_RANDOM_INIT, 0},
                                   {1, CAR_RANDOM_DROPOUT, 0},
                                   {1, CAR_RANDOM_INIT, 1},
                                   {1ull << 40, CAR_RANDOM_INIT, 0}};
    const uint64_t counters[][2] = {{0, 0}, {0, 1}, {1, 0}, {0, 1ull << 32}, {1ull << 32, 0}};
    uint32_t seen[25][4];
    int count = 0;
    for (int k = 0; k < 5; k++) {
        for (int c = 0; c < 5; c++, count++) {
            uint32_t again[4];
            car_random_block(keys[k], counters[c][0], counters[c][1], seen[count]);
            car_random_block(keys[k], counters[c][0], counters[c][1], again);
            assert_memory_equal(seen[count], again, sizeof again);
            for (int other = 0; other < count; other++)
                assert_memory_not_equal(seen[count], seen[other], sizeof again);
        }
    }
}

static void test_random_distributions(void **state) {
    (void)state;
    enum { COUNT = 200000 };
    const car_random_key key = {42, CAR_RANDOM_TEST, 3};
    double mean = 0, square = 0, fourth = 0, uniform = 0;
    int bins[16] = {0};
    for (uint64_t k = 0; k < COUNT; k++) {
        float u = car_random_uniform(key, 1, k);
        assert_true(u >= 0 && u < 1 && u * 0x1p24f == floorf(u * 0x1p24f));
        bins[(int)(u * 16)]++;
        uniform += u;
        double z = car_random_normal(key, 2, k);
        mean += z, square += z * z, fourth += z * z * z * z;
    }
    /* Five standard deviations of each estimate. */
    double root = sqrt(COUNT);
    assert_true(fabs(uniform / COUNT - 0.5) < 5 * sqrt(1.0 / 12) / root);
    assert_true(fabs(mean / COUNT) < 5 / root);
    assert_true(fabs(square / COUNT - 1) < 5 * sqrt(2) / root);
    assert_true(fabs(fourth / COUNT - 3) < 5 * sqrt(96) / root);
    for (int k = 0; k < 16; k++)
        assert_true(fabs(bins[k] - COUNT / 16.0) < 5 * sqrt(COUNT / 16.0));
}

/* ---- Teams -------------------------------------------------------------------------------------------- */

enum { PHASES = 300 };

typedef struct team_record {
    atomic_int arrivals;
    atomic_int mistakes;
    int members;
    int phase_of[64]; /* plain: the barrier alone orders the accesses */
    float tiny;
    float products[64];
} team_record;

static void check_phases(void *argument, car_team *team, int member, int members) {
    team_record *record = argument;
    volatile float tiny = record->tiny;
    record->products[member] = tiny * 0.5f;
    if (member == 0)
        record->members = members;
    for (int phase = 1; phase <= PHASES; phase++) {
        record->phase_of[member] = phase;
        atomic_fetch_add(&record->arrivals, 1);
        car_team_barrier(team, member);
        if (atomic_load(&record->arrivals) != phase * members)
            atomic_fetch_add(&record->mistakes, 1);
        for (int other = 0; other < members; other++)
            if (record->phase_of[other] != phase)
                atomic_fetch_add(&record->mistakes, 1);
        car_team_barrier(team, member);
    }
}

static void test_team(void **state) {
    (void)state;
    for (int threads = 0; threads <= 4; threads++) {
        team_record *record = calloc(1, sizeof *record);
        assert_non_null(record);
        record->tiny = 1.5e-38f;
        car_team_run(threads, check_phases, record);
        assert_in_range(record->members, 1, threads < 1 ? 1 : threads);
        assert_int_equal(atomic_load(&record->arrivals), PHASES * record->members);
        assert_int_equal(atomic_load(&record->mistakes), 0);
#if defined(__x86_64__)
        for (int k = 0; k < record->members; k++)
            assert_true(record->products[k] == 0);
#endif
        volatile float tiny = record->tiny;
        assert_true(tiny * 0.5f > 0);
        free(record);
    }
}

#if defined(__x86_64__)
static void halve(void *argument, car_team *team, int member, int members) {
    volatile float *tiny = argument;
    (void)team, (void)members;
    tiny[member] *= 0.5f;
}

/* One number by a member of a team, three by teams that it opens, one by itself again. */
static void halve_within(void *argument, car_team *team, int member, int members) {
    float *tiny = argument;
    halve(tiny, team, member, members);
    car_team_run(1, halve, tiny + 1);
    car_team_run(2, halve, tiny + 2);
    halve(tiny + 4, team, member, members);
}

/* Teams within a team leave its mode as it is, and the outer one restores the caller's, each time anew. */
static void test_teams_within(void **state) {
    (void)state;
    for (int run = 0; run < 2; run++) {
        float tiny[5] = {1.5e-38f, 1.5e-38f, 1.5e-38f, 1.5e-38f, 1.5e-38f};
        volatile float own = 1.5e-38f;
        car_team_run(1, halve_within, tiny);
        for (int k = 0; k < 5; k++) /* the team of two may have had but one member */
            assert_true(tiny[k] == 0 || (k == 3 && tiny[k] == 1.5e-38f));
        assert_true(own * 0.5f > 0);
    }
}
#endif

#if defined(__linux__)
typedef struct places {
    bool gather; /* onto the first processor, from where all are free to go */
    int processor[2];
} places;

static void note_place(void *argument, car_team *team, int member, int members) {
    (void)team, (void)members;
    places *of = argument;
    if (of->gather) {
        cpu_set_t all, first;
        CPU_ZERO(&first);
        if (sched_getaffinity(0, sizeof all, &all) == 0) {
            for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&first) == 0; i++)
                if (CPU_ISSET(i, &all))
                    CPU_SET(i, &first);
            sched_setaffinity(0, sizeof first, &first);
            sched_setaffinity(0, sizeof all, &all);
        }
    }
    of->processor[member] = sched_getcpu();
}

/* Beside a busy process a scheduler may wake one member on the processor of the other and leave both there. */
static void test_members_part(void **state) {
    (void)state;
    enum { ROUNDS = 50, MOST_MOVED_BY_OTHERS = 10 };
    if (car_thread_count(0) < 2)
        skip();
    int apart = 0;
    for (int round = 0; round < ROUNDS; round++) {
        places together = {.gather = true}, after = {.gather = false};
        car_team_run(2, note_place, &together);
        car_team_run(2, note_place, &after);
        apart += after.processor[0] != after.processor[1];
    }
    assert_in_range(apart, ROUNDS - MOST_MOVED_BY_OTHERS, ROUNDS);
}
#endif

static void test_team_share(void **state) {
    (void)state;
    const int grains[] = {1, 3, 16, 64};
    for (int g = 0; g < 4; g++) {
        for (int members = 1; members <= 9; members++) {
            for (int count = 0; count < 400; count += 13) {
                int next = 0, least = count, most = 0;
                for (int member = 0; member < members; member++) {
                    int begin, end;
                    car_team_share(count, grains[g], member, members, &begin, &end);
                    assert_int_equal(begin, next);
                    assert_true(end >= begin && (begin % grains[g] == 0 || begin == count));
                    int units = (end - begin + grains[g] - 1) / grains[g];
                    least = units < least ? units : least;
                    most = units > most ? units : most;
                    next = end;
                }
                assert_int_equal(next, count);
                assert_true(most - least <= 1);
            }
        }
    }
    int begin, end;
    car_team_share(INT32_MAX, 64, 63, 64, &begin, &end);
    assert_int_equal(end, INT32_MAX);
    assert_in_range(car_thread_count(0), 1, 64);
    assert_int_equal(car_thread_count(3), 3);
    assert_int_equal(car_thread_count(1000), 64);
}

/* ---- SHA-256 ------------------------------------------------------------------------------------------ */

static void digest(const char *piece, size_t length, int times, char hex[65]) {
    car_sha256 hash;
    car_sha256_start(&hash);
    for (int k = 0; k < times; k++)
        car_sha256_add(&hash, piece, length);
    car_sha256_finish(&hash, hex);
}

static void test_sha256(void **state) {
    (void)state;
    char hex[65];
    digest("", 0, 1, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest("abc", 3, 1, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    digest(two_blocks, 56, 1, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char many[1000];
    memset(many, 'a', sizeof many);
    digest(many, 1000, 1000, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* The pieces in which bytes come do not matter. */
static void test_sha256_pieces(void **state) {
    (void)state;
    char data[200], whole[65], pieces[65];
    for (size_t k = 0; k < sizeof data; k++)
        data[k] = (char)(k * 37);
    for (size_t length = 0; length <= sizeof data; length++) {
        digest(data, length, 1, whole);
        for (size_t first = 0; first <= length; first += 9) {
            car_sha256 hash;
            car_sha256_start(&hash);
            car_sha256_add(&hash, data, first);
            car_sha256_add(&hash, data + first, length - first);
            car_sha256_finish(&hash, pieces);
            assert_string_equal(pieces, whole);
        }
    }
}

/* ---- Text --------------------------------------------------------------------------------------------- */

static void test_utf8(void **state) {
    (void)state;
    char bytes[4];
    for (uint32_t code_point = 0; code_point <= 0x110001; code_point++) {
        int length = car_utf8_encode(code_point, bytes);
        bool legal = code_point <= 0x10ffff && (code_point < 0xd800 || code_point > 0xdfff);
        assert_true((length > 0) == legal);
        if (!legal)
            continue;
        uint32_t decoded = 0;
        assert_true(car_utf8_decode(bytes, (size_t)length, &decoded) == length);
        assert_true(decoded == code_point);
        assert_true(length == 1 || car_utf8_decode(bytes, (size_t)length - 1, &decoded) == -1);
    }
    const char *bad[] = {"\x80",
                         "\xc0\x80",
                         "\xc1\xbf",
                         "\xe0\x9f\xbf",
                         "\xed\xa0\x80",
                         "\xed\xbf\xbf",
                         "\xf0\x8f\xbf\xbf",
                         "\xf4\x90\x80\x80",
                         "\xf5\x80\x80",
                         "\xf8\x90\x80\x80",
                         "\xff",
                         "\xc3(",
                         "\xe2\x82("};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        uint32_t ignored;
        assert_int_equal(car_utf8_decode(bad[k], strlen(bad[k]), &ignored), -1);
    }
    uint32_t ignored;
    assert_int_equal(car_utf8_decode("", 0, &ignored), 0);
}

static void test_text(void **state) {
    (void)state;
    car_text text;
    car_text_start(&text, NULL);
    assert_string_equal(text.data, "");
    for (int k = 0; k < 1000; k++)
        car_text_format(&text, "%d,", k % 10);
    assert_false(text.failed);
    assert_int_equal(text.length, 2000);
    assert_string_equal(text.data + 1990, "5,6,7,8,9,");
    car_text_free(&text);
    car_text_start(&text, NULL);
    const char raw[] = "a\"\\\b\f\n\r\t\x01\x7f\0\xff\xe4\xb8\xad";
    car_text_json_string(&text, raw, sizeof raw - 1);
    assert_string_equal(text.data, "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u007f\\u0000"
                                   "\xef\xbf\xbd\xe4\xb8\xad\"");
    car_text_free(&text);
}

static void test_json_numbers(void **state) {
    (void)state;
    const double values[] = {0, -0.0, 3, 0.1, 1.0 / 3, 1e300, 5e-324, -2.5, 123456789012, 1e21};
    for (int k = 0; k < 2010; k++) {
        double value = k < 10 ? values[k] : 0;
        uint32_t bits[4];
        car_random_block((car_random_key){9, CAR_RANDOM_TEST, 0}, 0, (uint64_t)k, bits);
        if (k >= 10)
            memcpy(&value, bits, sizeof value);
        car_text text;
        car_text_start(&text, NULL);
        car_text_json_number(&text, value);
        double again = 0;
        if (isfinite(value)) {
            assert_true(car_number_parse(text.data, text.length, &again));
            assert_true(again == value && signbit(again) == signbit(value));
        } else {
            assert_string_equal(text.data, "null");
        }
        car_text_free(&text);
    }
}

static void test_number_parse(void **state) {
    (void)state;
    const char *bad[] = {"",   "-",  ".",   "1e",   "1e+",  "0x1",   "inf", "nan",
                         "1 ", " 1", "1,5", "1..2", "1e5.", "1e999", "--1", "1f"};
    double value;
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
        assert_false(car_number_parse(bad[k], strlen(bad[k]), &value));
    assert_true(car_number_parse("1.5e3x", 5, &value) && value == 1500);
    assert_true(car_number_parse("+.5", 3, &value) && value == 0.5);
    assert_true(car_number_parse("7.", 2, &value) && value == 7);
    char long_number[1000];
    memset(long_number, '1', sizeof long_number);
    assert_false(car_number_parse(long_number, sizeof long_number, &value));
}

/* Numbers keep their point in a locale that writes a comma. */
static void test_locale(void **state) {
    (void)state;
    const char *names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "nl_NL.UTF-8"};
    bool found = false;
    for (int k = 0; k < 4 && !found; k++)
        found = setlocale(LC_NUMERIC, names[k]) != NULL;
    if (!found) {
        print_message("skipped: no locale with a decimal comma on this machine\n");
        skip();
    }
    car_text text;
    car_text_start(&text, NULL);
    car_text_json_number(&text, -1.5e-7);
    double value = 0;
    bool parsed = car_number_parse("2.25", 4, &value);
    setlocale(LC_NUMERIC, "C");
    assert_string_equal(text.data, "-1.5e-07");
    assert_true(parsed && value == 2.25);
    car_text_free(&text);
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

static car_status parse_json(const char *text, size_t length, car_arena *arena,
                             const car_json **root, car_error *error) {
    return car_json_parse(text, length, "test", 4, 20, arena, root, error);
}

static void test_json_accepts(void **state) {
    (void)state;
    const char text[] =
        " {\"b\": [1, -2.5e1, true, false, null], \"a\": \"\\u00e9\\ud83d\\ude00\\n/\","
        " \"\": {}, \"n\": 9007199254740991}\n";
    car_arena *arena = car_arena_create(NULL);
    const car_json *root = NULL;
    assert_int_equal(parse_json(text, sizeof text - 1, arena, &root, NULL), CAR_OK);
    assert_int_equal(root->kind, CAR_JSON_OBJECT);
    assert_int_equal(root->count, 4);
    const car_json *list = car_json_member(root, "b");
    assert_non_null(list);
    assert_int_equal(list->count, 5);
    assert_true(list->first->whole && list->first->number == 1);
    assert_true(!list->first->next->whole && list->first->next->number == -25);
    assert_true(list->first->next->next->truth);
    assert_string_equal(car_json_member(root, "a")->text, "\xc3\xa9\xf0\x9f\x98\x80\n/");
    assert_int_equal(car_json_member(root, "a")->length, 8);
    assert_true(car_json_member(root, "n")->whole);
    assert_int_equal(car_json_member(root, "")->kind, CAR_JSON_OBJECT);
    assert_null(car_json_member(root, "c"));
    assert_null(car_json_member(list, "c"));
    assert_null(car_json_member(NULL, "c"));
    assert_string_equal(root->members[3]->name, "n");
    const char *not_whole[] = {"9007199254740992", "9007199254740993", "-0", "1.0", "1e3"};
    for (int k = 0; k < 5; k++) {
        assert_int_equal(parse_json(not_whole[k], strlen(not_whole[k]), arena, &root, NULL),
                         CAR_OK);
        assert_false(root->whole);
    }
    car_arena_free(arena);
}

/* Strings and lists longer than a chunk of the arena, with quotes inside. */
static void test_json_long(void **state) {
    (void)state;
    enum { LENGTH = 50000 };
    char *text = malloc(LENGTH);
    assert_non_null(text);
    memset(text, 'x', LENGTH);
    memcpy(text, "[\"\\\"", 4);
    memcpy(text + LENGTH - 6, "\\\"\",", 4);
    memcpy(text + LENGTH - 2, "7]", 2);
    car_arena *arena = car_arena_create(NULL);
    const car_json *root = NULL;
    assert_int_equal(parse_json(text, LENGTH, arena, &root, NULL), CAR_OK);
    assert_int_equal(root->first->length, LENGTH - 8);
    assert_true(root->first->text[0] == '"' && root->first->text[LENGTH - 9] == '"');
    assert_int_equal(root->first->text[LENGTH - 8], 0);
    assert_true(root->first->next->number == 7);
    car_arena_free(arena);
    free(text);
}

static void test_json_refuses(void **state) {
    (void)state;
    const char *bad[] = {"",
                         " ",
                         "{",
                         "[",
                         "[1,]",
                         "[1 2]",
                         "{\"a\"}",
                         "{\"a\":}",
                         "{\"a\":1,}",
                         "{a:1}",
                         "[1]]",
                         "01",
                         "-",
                         "+1",
                         "1.",
                         ".5",
                         "1e",
                         "0x1",
                         "1e999",
                         "NaN",
                         "Infinity",
                         "tru",
                         "nul",
                         "'a'",
                         "\"",
                         "\"\\",
                         "\"\\x\"",
                         "\"\\u12\"",
                         "\"\\u12g4\"",
                         "\"\\u0000\"",
                         "\"\\ud800\"",
                         "\"\\udc00\"",
                         "\"\\ud800\\u0041\"",
                         "\"\\ud800\\ud800\"",
                         "\"\\udc00\\udc00\"",
                         "\"\x01\"",
                         "\"\n\"",
                         "\"\xff\"",
                         "\"\xc0\x80\"",
                         "\"\xed\xa0\x80\"",
                         "\xef\xbb\xbf{}",
                         "{}x",
                         "[[[[[1]]]]]",
                         "{\"a\":1,\"b\":2,\"a\":3}",
                         "{\"a\":1,\"\\u0061\":2}",
                         "{\"x\":{\"a\":1,\"a\":1}}",
                         "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
                         "// c\n1",
                         "[1]/**/"};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        car_arena *arena = car_arena_create(NULL);
        const car_json *root = NULL;
        car_error error = {0};
        if (parse_json(bad[k], strlen(bad[k]), arena, &root, &error) != CAR_DATA)
            fail_msg("accepted: %s", bad[k]);
        assert_true(error.line >= 1 && error.column >= 1);
        car_arena_free(arena);
    }
    car_arena *arena = car_arena_create(NULL);
    const car_json *root = NULL;
    car_error error = {0};
    assert_int_equal(parse_json("{}\0", 3, arena, &root, &error), CAR_DATA);
    assert_int_equal(parse_json("[1,\n \"\xc3\xa9\", ?]", 13, arena, &root, &error), CAR_DATA);
    assert_int_equal(error.line, 2);
    assert_int_equal(error.column, 7);
    car_arena_free(arena);
}

/* ---- Files -------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/test_base_XXXXXX";

static int enter_folder(void **state) {
    (void)state;
    umask(022);
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state) {
    (void)state;
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static car_status write_file(const char *path, const char *text, car_error *error) {
    car_file_writer *writer = NULL;
    CAR_TRY(car_file_writer_open(path, NULL, &writer, error));
    car_status status = car_file_writer_write(writer, text, strlen(text), error);
    if (status == CAR_OK)
        return car_file_writer_commit(writer, error);
    car_file_writer_abandon(writer);
    return status;
}

static int files_here(void) {
    DIR *here = opendir(".");
    assert_non_null(here);
    int count = 0;
    while (readdir(here))
        count++;
    closedir(here);
    return count - 2;
}

static void assert_file_holds(const char *path, const char *text) {
    char *data = NULL;
    size_t length = 0;
    assert_int_equal(car_file_read(path, 1 << 20, NULL, &data, &length, NULL), CAR_OK);
    assert_int_equal(length, strlen(text));
    assert_string_equal(data, text);
    car_release(NULL, data);
}

static unsigned mode_of(const char *path) {
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    return about.st_mode & 07777;
}

static void test_file_write_and_replace(void **state) {
    (void)state;
    assert_int_equal(write_file("new", "first", NULL), CAR_OK);
    assert_file_holds("new", "first");
    assert_int_equal(mode_of("new"), 0644);
    assert_int_equal(chmod("new", 0600), 0);
    char path[200];
    snprintf(path, sizeof path, "%s/new", folder);
    assert_int_equal(write_file(path, "second, and longer", NULL), CAR_OK);
    assert_file_holds("new", "second, and longer");
    assert_int_equal(mode_of("new"), 0600);
    assert_int_equal(chmod("new", 0666), 0);
    assert_int_equal(write_file("new", "third", NULL), CAR_OK);
    assert_int_equal(mode_of("new"), 0666);
    assert_int_equal(symlink("new", "link"), 0);
    assert_int_equal(write_file("link", "through the link", NULL), CAR_OK);
    assert_file_holds("new", "through the link");
    struct stat about;
    assert_int_equal(lstat("link", &about), 0);
    assert_true(S_ISLNK(about.st_mode));
    assert_int_equal(unlink("link") | unlink("new"), 0);
}

static void test_file_abandon(void **state) {
    (void)state;
    assert_int_equal(write_file("kept", "old", NULL), CAR_OK);
    car_file_writer *writer = NULL;
    assert_int_equal(car_file_writer_open("kept", NULL, &writer, NULL), CAR_OK);
    assert_int_equal(car_file_writer_write(writer, "new", 3, NULL), CAR_OK);
    assert_file_holds("kept", "old");
    assert_int_equal(files_here(), 2);
    car_file_writer_abandon(writer);
    assert_int_equal(files_here(), 1);
    car_file_writer_abandon(NULL);
    assert_file_holds("kept", "old");
    assert_int_equal(unlink("kept"), 0);
}

/* A write that fails half way (a limit on the size of files stands for a full disk). */
static void test_file_full(void **state) {
    (void)state;
    assert_int_equal(write_file("kept", "old", NULL), CAR_OK);
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    car_error error = {0};
    car_status status = write_file("kept", "more than ten bytes", &error);
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, before);
    assert_int_equal(status, CAR_IO);
    assert_int_equal(files_here(), 1);
    assert_non_null(strstr(error.message, "kept"));
    assert_file_holds("kept", "old");
    assert_int_equal(unlink("kept"), 0);
}

static void test_file_refused_targets(void **state) {
    (void)state;
    car_error error = {0};
    assert_int_equal(mkdir("inside", 0755), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    const char *paths[] = {"inside",   "inside/", "dangling", "missing/file",
                           "missing/", "",        "/dev/full"};
    for (size_t k = 0; k < sizeof paths / sizeof paths[0]; k++) {
        error.message[0] = '\0';
        assert_int_equal(write_file(paths[k], "text", &error), CAR_IO);
        assert_true(error.message[0] != '\0');
    }
    assert_int_equal(write_file("/dev/null", "text", &error), CAR_OK);
    struct stat about;
    assert_true(stat("/dev/null", &about) == 0 && S_ISCHR(about.st_mode));
    assert_int_equal(unlink("dangling"), 0);
    assert_int_equal(rmdir("inside"), 0);
}

/* Folders and files without permission, as somebody who is not root. */
static void test_file_permissions(void **state) {
    (void)state;
    uid_t nobody = 65534;
    bool root = geteuid() == 0;
    assert_int_equal(chmod(folder, 0755) | mkdir("inside", 0755), 0);
    if (root)
        assert_int_equal(chown("inside", nobody, (gid_t)-1) | seteuid(nobody), 0);
    car_error error = {0};
    char *data = NULL;
    size_t length = 0;
    assert_int_equal(write_file("inside/kept", "old", NULL), CAR_OK);
    assert_int_equal(chmod("inside", 0555), 0);
    assert_int_equal(write_file("inside/kept", "new", &error), CAR_IO);
    assert_int_equal(write_file("inside/other", "new", &error), CAR_IO);
    assert_file_holds("inside/kept", "old");
    assert_int_equal(chmod("inside", 0755) | chmod("inside/kept", 0444), 0);
    assert_int_equal(write_file("inside/kept", "new", &error), CAR_IO);
    assert_file_holds("inside/kept", "old");
    assert_int_equal(chmod("inside/kept", 0), 0);
    assert_int_equal(car_file_read("inside/kept", 100, NULL, &data, &length, &error), CAR_IO);
    assert_int_equal(unlink("inside/kept"), 0);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(rmdir("inside"), 0);
}

static void test_file_read(void **state) {
    (void)state;
    char *data = NULL;
    size_t length = 0;
    car_error error = {0};
    assert_int_equal(car_file_read(".", 100, NULL, &data, &length, &error), CAR_IO);
    assert_int_equal(car_file_read("missing", 100, NULL, &data, &length, &error), CAR_IO);
    assert_non_null(strstr(error.message, "missing"));
    assert_int_equal(write_file("ten", "0123456789", NULL), CAR_OK);
    assert_int_equal(car_file_read("ten", 9, NULL, &data, &length, &error), CAR_DATA);
    assert_int_equal(car_file_read("ten", 10, NULL, &data, &length, &error), CAR_OK);
    assert_int_equal(length, 10);
    car_release(NULL, data);
    assert_int_equal(write_file("ten", "", NULL), CAR_OK);
    assert_file_holds("ten", "");
    assert_int_equal(car_file_read("/dev/zero", 100000, NULL, &data, &length, &error), CAR_DATA);
    assert_int_equal(unlink("ten"), 0);
}

static void ignore_alarm(int number) {
    (void)number;
}

/* Signals every millisecond that interrupt system calls. */
static void start_alarms(void) {
    const struct sigaction action = {.sa_handler = ignore_alarm};
    const struct itimerval fast = {{0, 1000}, {0, 1000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &fast, NULL);
}

static void stop_alarms(void) {
    const struct itimerval off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &off, NULL);
    signal(SIGALRM, SIG_DFL);
}

/* A slow pipe on standard input, with signals that interrupt the reads. */
static void test_file_read_pipe(void **state) {
    (void)state;
    enum { PIECES = 20, PIECE = 10007 };
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static char piece[PIECE];
        memset(piece, 'p', sizeof piece);
        bool fine = true;
        for (int k = 0; k < PIECES; k++) {
            usleep(3000);
            fine = fine && write(ends[1], piece, sizeof piece) == PIECE;
        }
        _exit(fine ? 0 : 1);
    }
    close(ends[1]);
    int standard_input = dup(0);
    assert_int_equal(dup2(ends[0], 0), 0);
    start_alarms();
    char *data = NULL;
    size_t length = 0;
    car_status status = car_file_read("-", 1 << 20, NULL, &data, &length, NULL);
    stop_alarms();
    if (standard_input >= 0) {
        dup2(standard_input, 0);
        close(standard_input);
    } else {
        close(0);
    }
    close(ends[0]);
    int result = -1;
    waitpid(child, &result, 0);
    assert_int_equal(result, 0);
    assert_int_equal(status, CAR_OK);
    assert_int_equal(length, PIECES * PIECE);
    for (size_t k = 0; k < length; k++)
        assert_true(data[k] == 'p');
    car_release(NULL, data);
}

/* A named pipe is written to as it stands; signals cut its writes into parts. */
static void test_file_write_pipe(void **state) {
    (void)state;
    enum { LENGTH = 1 << 20 };
    assert_int_equal(mkfifo("pipe", 0600), 0);
    uint8_t *sent = malloc(LENGTH);
    assert_non_null(sent);
    for (size_t k = 0; k < LENGTH; k++)
        sent[k] = (uint8_t)((uint32_t)k * 2654435761u >> 24);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        FILE *pipe_end = fopen("pipe", "rb");
        bool fine = pipe_end != NULL;
        for (size_t k = 0; k < LENGTH && fine; k++) {
            fine = fgetc(pipe_end) == sent[k];
            if (k % 65536 == 0)
                usleep(3000);
        }
        _exit(fine && fgetc(pipe_end) == EOF ? 0 : 1);
    }
    car_file_writer *writer = NULL;
    assert_int_equal(car_file_writer_open("pipe", NULL, &writer, NULL), CAR_OK);
    start_alarms();
    car_status status = car_file_writer_write(writer, sent, LENGTH, NULL);
    stop_alarms();
    assert_int_equal(status, CAR_OK);
    assert_int_equal(car_file_writer_commit(writer, NULL), CAR_OK);
    int result = -1;
    waitpid(child, &result, 0);
    assert_int_equal(result, 0);
    assert_int_equal(unlink("pipe"), 0);
    free(sent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_text),
        cmocka_unit_test(test_error_cut),
        cmocka_unit_test(test_allocate),
        cmocka_unit_test(test_checked_sizes),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_layout_take),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_random_places),
        cmocka_unit_test(test_random_distributions),
        cmocka_unit_test(test_team),
#if defined(__x86_64__)
        cmocka_unit_test(test_teams_within),
#endif
        cmocka_unit_test(test_team_share),
#if defined(__linux__)
        cmocka_unit_test(test_members_part),
#endif
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_sha256_pieces),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json_numbers),
        cmocka_unit_test(test_number_parse),
        cmocka_unit_test(test_locale),
        cmocka_unit_test(test_json_accepts),
        cmocka_unit_test(test_json_long),
        cmocka_unit_test(test_json_refuses),
    };
    const struct CMUnitTest file_tests[] = {
        cmocka_unit_test(test_file_write_and_replace),
        cmocka_unit_test(test_file_abandon),
        cmocka_unit_test(test_file_full),
        cmocka_unit_test(test_file_refused_targets),
        cmocka_unit_test(test_file_permissions),
        cmocka_unit_test(test_file_read),
        cmocka_unit_test(test_file_read_pipe),
        cmocka_unit_test(test_file_write_pipe),
    };
    int failed = cmocka_run_group_tests_name("base", tests, NULL, NULL);
    failed += cmocka_run_group_tests_name("base: files", file_tests, enter_folder, leave_folder);
    return failed;
}
