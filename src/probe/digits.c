/*
 * digits.c: images of digits, read row by row or pixel by pixel in a fixed shuffled order.
 *
 *   rows       28 steps of 28 pixels, for images of 28 x 28
 *   permuted   784 steps of one pixel (Le, Jaitly & Hinton 2015); one order for all images, all seeds and all cells
 *
 * In:  images from idx files, pixels 0 .. 255 as 0 .. 1. Out: the class at the last step.
 * Training draws from the first nine tenths of the images, a check looks at the last tenth, the test at the test images
 * (without any: at the last tenth again). With a shift of N each image learned from is moved by -N .. N pixels down and
 * right, drawn after its number, and what it leaves is 0; the shuffled order is that of the places, not of the pixels.
 */
#include "probe.h"

static const uint64_t order_seed = 1;

void car_probe_rows_shape(car_probe_problem *problem) {
    problem->inputs = problem->digits->train.columns;
    problem->outputs = problem->digits->train.classes;
    problem->most_steps = problem->digits->train.rows;
}

void car_probe_permuted_shape(car_probe_problem *problem) {
    problem->inputs = 1;
    problem->outputs = problem->digits->train.classes;
    problem->most_steps = problem->digits->train.rows * problem->digits->train.columns;
}

/* An image as a sequence shows it. */
typedef struct shown_image {
    const uint8_t *pixels; /* [rows][columns] */
    int rows, columns;
    int down, right; /* how far it is moved, in pixels */
} shown_image;

/* -most .. most, as likely each. */
static int draw_move(car_probe_draws *draws, int most) {
    return car_probe_draw_below(draws, 2 * most + 1) - most;
}

/* Sets the class and says which image a sequence shows. */
static shown_image choose_image(const car_probe_problem *problem, car_probe_draws *draws,
                                const car_probe_lane *lane) {
    const car_images *images = &problem->digits->train;
    int held_out = images->count / 10, learned = images->count - held_out, index;
    car_probe_set set = (car_probe_set)draws->key.layer;
    shown_image shown = {.rows = images->rows, .columns = images->columns};
    if (set == CAR_PROBE_TRAIN) {
        index = car_probe_draw_below(draws, learned);
        shown.down = problem->shift > 0 ? draw_move(draws, problem->shift) : 0;
        shown.right = problem->shift > 0 ? draw_move(draws, problem->shift) : 0;
    } else if (set == CAR_PROBE_TEST && problem->digits->test.count > 0) {
        images = &problem->digits->test;
        index = (int)(draws->sequence % (uint64_t)images->count);
    } else {
        index = learned + (int)(draws->sequence % (uint64_t)held_out);
    }
    lane->classes[0] = images->labels[index];
    shown.pixels = images->pixels + (size_t)index * (size_t)shown.rows * (size_t)shown.columns;
    return shown;
}

/* The pixel that stands at a place, 0 .. 1. */
static float pixel_at(const shown_image *image, int row, int column) {
    int from_row = row - image->down, from_column = column - image->right;
    bool inside =
        from_row >= 0 && from_row < image->rows && from_column >= 0 && from_column < image->columns;
    return inside ? (float)image->pixels[from_row * image->columns + from_column] / 255 : 0;
}

void car_probe_rows_make(const car_probe_problem *problem, car_probe_draws *draws,
                         const car_probe_lane *lane) {
    const shown_image image = choose_image(problem, draws, lane);
    for (int t = 0; t < lane->steps; t++)
        for (int i = 0; i < problem->inputs; i++)
            lane->input[(size_t)t * lane->input_stride + (size_t)i] = pixel_at(&image, t, i);
}

void car_probe_permuted_make(const car_probe_problem *problem, car_probe_draws *draws,
                             const car_probe_lane *lane) {
    const shown_image image = choose_image(problem, draws, lane);
    for (int t = 0; t < lane->steps; t++) {
        int place = problem->digits->order[t];
        lane->input[(size_t)t * lane->input_stride] =
            pixel_at(&image, place / image.columns, place % image.columns);
    }
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

/* Fisher & Yates. */
static void shuffle(int count, int *order) {
    car_probe_draws draws = car_probe_draws_of(order_seed, CAR_PROBE_TRAIN, 0);
    for (int i = 0; i < count; i++) {
        int other = car_probe_draw_below(&draws, i + 1);
        order[i] = order[other];
        order[other] = i;
    }
}

static void add_digest(car_sha256 *hash, const car_images *images) {
    size_t pixels = (size_t)images->rows * (size_t)images->columns;
    car_sha256_add(hash, images->pixels, pixels * (size_t)images->count);
    car_sha256_add(hash, images->labels, (size_t)images->count);
}

static car_status complete(car_probe_digits *digits, const car_allocator *allocator,
                           car_error *error) {
    const car_images *train = &digits->train, *test = &digits->test;
    if (train->count < 100)
        return car_fail(error, CAR_DATA, "%d images are too few to learn from; give 100 or more",
                        train->count);
    if (test->count > 0 && (test->rows != train->rows || test->columns != train->columns ||
                            test->classes > train->classes))
        return car_fail(
            error, CAR_DATA,
            "images of %dx%d in %d classes to learn from, of %dx%d in %d classes to test "
            "with; they must be alike",
            train->rows, train->columns, train->classes, test->rows, test->columns, test->classes);
    int pixels = train->rows * train->columns;
    digits->order = car_allocate(allocator, (size_t)pixels, sizeof *digits->order);
    if (!digits->order)
        return car_fail(error, CAR_MEMORY, "no memory for the order of %d pixels", pixels);
    shuffle(pixels, digits->order);
    car_sha256 hash;
    car_sha256_start(&hash);
    add_digest(&hash, train);
    if (test->count > 0)
        add_digest(&hash, test);
    car_sha256_finish(&hash, digits->sha256);
    return CAR_OK;
}

car_status car_probe_digits_read(const char *images, const char *labels, const char *test_images,
                                 const char *test_labels, const car_allocator *allocator,
                                 car_probe_digits *digits, car_error *error) {
    *digits = (car_probe_digits){.allocator = allocator};
    car_status status = car_images_read(images, labels, allocator, &digits->train, error);
    if (status == CAR_OK && test_images)
        status = car_images_read(test_images, test_labels, allocator, &digits->test, error);
    if (status == CAR_OK)
        status = complete(digits, allocator, error);
    if (status != CAR_OK)
        car_probe_digits_free(digits);
    return status;
}

void car_probe_digits_free(car_probe_digits *digits) {
    car_images_free(&digits->train);
    car_images_free(&digits->test);
    car_release(digits->allocator, digits->order);
    *digits = (car_probe_digits){0};
}
