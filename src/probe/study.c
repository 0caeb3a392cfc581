/*
 * study.c: cells x distances x seeds, side by side.
 *
 * In:  a request. Out: a record of every run; in a folder, study.json and the checkpoint of every run,
 *      CELL-DISTANCE-SEED.safetensors.
 *
 * Threads take one run after the other; each run is trained by one thread and is a function of its seed alone. --minutes
 * becomes a number of updates, the same for all runs, before the first one starts:
 *
 *   updates = 60 minutes * threads / (seeds * sum over cells and distances of the seconds of an update)
 */
#include "probe.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_LIMIT = 100, PATH_LIMIT = 4096 };

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "probe: no memory for a study; take fewer cells or seeds");
}

/* ---- Making ------------------------------------------------------------------------------------------- */

static void complete_settings(const car_probe_task *task, car_probe_settings *settings) {
    if (!settings->optimizer)
        settings->optimizer = "adam";
    if (settings->hidden == 0)
        settings->hidden = task->hidden;
    if (settings->batch == 0)
        settings->batch = task->batch;
    if (settings->check_every == 0)
        settings->check_every = task->check_every;
    if (settings->rate == 0)
        settings->rate = task->rate;
    if (settings->clip < 0)
        settings->clip = task->clip;
}

static const char *copy_text(car_arena *arena, const char *text) {
    return text ? car_arena_copy(arena, text, strlen(text)) : NULL;
}

static void digest_of(const char *text, char sha256[65]) {
    car_sha256 hash;
    car_sha256_start(&hash);
    car_sha256_add(&hash, text, strlen(text));
    car_sha256_finish(&hash, sha256);
}

static car_status take_cells(car_probe_study *study, const car_probe_request *request,
                             car_error *error) {
    for (int i = 0; i < study->cell_count; i++) {
        car_probe_cell *cell = &study->cells[i];
        cell->cell = request->cells[i];
        cell->name = car_cell_name(cell->cell);
        digest_of(car_cell_text(cell->cell), cell->sha256);
        for (int k = 0; k < i; k++)
            if (strcmp(study->cells[k].name, cell->name) == 0)
                return car_fail(error, CAR_USAGE,
                                "two cells of the name %.100s; name one differently after `cell`",
                                cell->name);
    }
    return CAR_OK;
}

static bool has_parameter(const struct car_cell *cell, const char *name, size_t length) {
    for (int i = 0; i < cell->parameter_count; i++)
        if (strlen(cell->parameters[i].name) == length &&
            strncmp(cell->parameters[i].name, name, length) == 0)
            return true;
    return false;
}

/* The entries of --bias-init whose parameter the cell has; an entry that no cell has is an error. */
static car_status choose_biases(car_probe_study *study, car_error *error) {
    const char *list = study->settings.bias_init;
    for (const char *entry = list; entry && *entry;) {
        size_t length = strcspn(entry, ","), name = strcspn(entry, "= ,");
        bool used = false;
        for (int i = 0; i < study->cell_count; i++) {
            car_probe_cell *cell = &study->cells[i];
            if (!has_parameter(cell->cell, entry, name))
                continue;
            used = true;
            const char *before = cell->bias_init ? cell->bias_init : "";
            size_t size = strlen(before) + length + 2;
            char *joined = car_arena_allocate(study->arena, size, 1);
            if (!joined)
                return no_memory(error);
            snprintf(joined, size, "%s%s%.*s", before, *before ? "," : "", (int)length, entry);
            cell->bias_init = joined;
        }
        if (!used)
            return car_fail(error, CAR_USAGE,
                            "--bias-init %.*s: none of the cells has a parameter of that name; see "
                            "carousel cell check CELL",
                            (int)(length < 80 ? length : 80), entry);
        entry += length + (entry[length] == ',');
    }
    return CAR_OK;
}

/* Net, units and weights of a cell at a distance; everything that can be wrong with them shows here. */
static car_status make_arm(car_probe_study *study, car_probe_arm *arm, car_error *error) {
    const car_probe_settings *settings = &study->settings;
    const car_cell *cell = study->cells[arm->cell].cell;
    car_probe_problem problem;
    CAR_TRY(car_probe_problem_make(study->task, arm->distance, (uint64_t)settings->seed,
                                   study->digits, &problem, error));
    arm->hidden = (int)settings->hidden;
    if (settings->weights > 0)
        CAR_TRY(car_probe_units_for(&problem, cell, settings->weights, study->allocator,
                                    &arm->hidden, error));
    car_model *model;
    CAR_TRY(car_probe_model_make(&problem, cell, arm->hidden, settings->init,
                                 study->cells[arm->cell].bias_init, study->allocator, &model,
                                 error));
    arm->weights = car_model_parameter_count(model);
    arm->net = copy_text(study->arena, car_model_net(model));
    car_model_free(model);
    return arm->net ? CAR_OK : no_memory(error);
}

static car_status take_distances(car_probe_study *study, const car_probe_request *request,
                                 car_error *error) {
    if (request->distances && !study->task->distance_name)
        return car_fail(error, CAR_USAGE,
                        "%s takes no --distance: its sequences are as long as its images",
                        study->task->name);
    for (int i = 0; i < study->distance_count; i++) {
        study->distances[i] = request->distances ? request->distances[i] : study->task->distance;
        for (int k = 0; k < i; k++)
            if (study->distances[k] == study->distances[i])
                return car_fail(error, CAR_USAGE, "--distance %d is there twice",
                                study->distances[i]);
    }
    return CAR_OK;
}

/* A shift needs images, and must leave something of them. */
static car_status check_shift(const car_probe_study *study, car_error *error) {
    long long shift = (long long)study->settings.shift;
    if (shift == 0)
        return CAR_OK;
    if (!study->task->digits)
        return car_fail(error, CAR_USAGE,
                        "--shift %lld moves images and %s reads none; take it away", shift,
                        study->task->name);
    if (!study->digits)
        return CAR_OK; /* car_probe_problem_make says that they are missing */
    int rows = study->digits->train.rows, columns = study->digits->train.columns;
    int least = rows < columns ? rows : columns;
    if (shift < 0 || shift >= least)
        return car_fail(error, CAR_USAGE, "--shift %lld: images of %dx%d take 0 to %d", shift, rows,
                        columns, least - 1);
    return CAR_OK;
}

static car_status fill_study(car_probe_study *study, const car_probe_request *request,
                             car_error *error) {
    size_t arms = (size_t)study->cell_count * (size_t)study->distance_count;
    study->cells =
        car_arena_allocate(study->arena, (size_t)study->cell_count, sizeof *study->cells);
    study->distances =
        car_arena_allocate(study->arena, (size_t)study->distance_count, sizeof *study->distances);
    study->arms = car_arena_allocate(study->arena, arms, sizeof *study->arms);
    study->records =
        car_arena_allocate(study->arena, arms * (size_t)study->seeds, sizeof *study->records);
    study->folder = copy_text(study->arena, request->folder);
    study->settings.optimizer = copy_text(study->arena, study->settings.optimizer);
    study->settings.init = copy_text(study->arena, study->settings.init);
    study->settings.bias_init = copy_text(study->arena, study->settings.bias_init);
    if (!study->cells || !study->distances || !study->arms || !study->records)
        return no_memory(error);
    CAR_TRY(take_cells(study, request, error));
    CAR_TRY(choose_biases(study, error));
    CAR_TRY(take_distances(study, request, error));
    CAR_TRY(check_shift(study, error));
    for (size_t i = 0; i < arms; i++) {
        study->arms[i].cell = (int)i / study->distance_count;
        study->arms[i].distance = study->distances[(int)i % study->distance_count];
        CAR_TRY(make_arm(study, &study->arms[i], error));
    }
    for (size_t i = 0; i < arms * (size_t)study->seeds; i++)
        study->records[i] = (car_probe_record){.check_accuracy = NAN, .check_error = NAN};
    return CAR_OK;
}

static car_status make_folder(const char *folder, car_error *error) {
    struct stat about;
    if (mkdir(folder, 0777) == 0 ||
        (errno == EEXIST && stat(folder, &about) == 0 && S_ISDIR(about.st_mode)))
        return CAR_OK;
    return car_fail(error, CAR_IO, "%.300s: cannot be made a folder (%s); give another with -o",
                    folder, strerror(errno));
}

/* What the budget of this call is; updates 0: to be measured. */
static void set_budget(car_probe_study *study, const car_probe_request *request, bool found,
                       double stored_minutes, int64_t stored_updates) {
    study->minutes = request->minutes;
    study->updates = request->updates;
    if (request->minutes == 0 && request->updates == 0)
        study->updates = study->task->updates;
    if (request->minutes > 0 && found && stored_minutes == request->minutes)
        study->updates = request->updates > 0 && request->updates < stored_updates
                             ? request->updates
                             : stored_updates;
    else if (request->minutes > 0)
        study->updates = 0;
}

static car_status begin(car_probe_study *study, const car_probe_request *request,
                        car_error *error) {
    bool found = false;
    CAR_TRY(fill_study(study, request, error));
    if (study->folder) {
        CAR_TRY(make_folder(study->folder, error));
        CAR_TRY(car_probe_study_load(study, &found, error));
    }
    set_budget(study, request, found, study->minutes, study->updates);
    study->most_updates = request->updates;
    study->resumed = found;
    return CAR_OK;
}

car_status car_probe_study_begin(const car_probe_request *request, const car_allocator *allocator,
                                 car_probe_study **study, car_error *error) {
    *study = NULL;
    car_arena *arena = car_arena_create(allocator);
    car_probe_study *made = arena ? car_arena_allocate(arena, 1, sizeof *made) : NULL;
    if (!made) {
        car_arena_free(arena);
        return no_memory(error);
    }
    *made = (car_probe_study){.allocator = allocator,
                              .arena = arena,
                              .task = request->task,
                              .digits = request->digits,
                              .settings = request->settings,
                              .cell_count = request->cell_count,
                              .distance_count = request->distances ? request->distance_count : 1,
                              .seeds = request->seeds};
    complete_settings(request->task, &made->settings);
    car_status status = begin(made, request, error);
    if (status == CAR_OK)
        *study = made;
    else
        car_probe_study_free(made);
    return status;
}

void car_probe_study_free(car_probe_study *study) {
    if (study)
        car_arena_free(study->arena);
}

/* ---- Running ------------------------------------------------------------------------------------------ */

typedef struct probe_crew {
    car_probe_study *study;
    const car_probe_watch *watch;
    pthread_mutex_t lock; /* for all below, and for study.json */
    int next, done, solved;
    int64_t updates_done, updates_left;
    car_status status; /* of the first run that failed */
    car_error error;
    bool stop;
} probe_crew;

/* One run, seen from the crew. */
typedef struct member_run {
    probe_crew *crew;
    int arm, seed;
    int64_t updates; /* counted so far */
    car_probe_record *record;
} member_run;

static bool is_over(const car_probe_study *study, const car_probe_record *record) {
    bool trained = record->solved || record->diverged || record->updates >= study->updates;
    return trained && record->tested;
}

static int64_t left_of(const car_probe_study *study, const car_probe_record *record) {
    if (record->solved || record->diverged || record->updates >= study->updates)
        return 0;
    return study->updates - record->updates;
}

static void tell(const member_run *run, bool ended) {
    const probe_crew *crew = run->crew;
    const car_probe_study *study = crew->study;
    const car_probe_arm *arm = &study->arms[run->arm];
    if (!crew->watch->progress)
        return;
    const car_probe_progress progress = {.runs = study->cell_count * study->distance_count *
                                                 study->seeds,
                                         .done = crew->done,
                                         .solved = crew->solved,
                                         .arm = arm,
                                         .cell = study->cells[arm->cell].name,
                                         .seed = (uint64_t)(study->settings.seed + run->seed),
                                         .record = run->record,
                                         .updates = study->updates,
                                         .updates_done = crew->updates_done,
                                         .updates_left = crew->updates_left,
                                         .ended = ended};
    crew->watch->progress(crew->watch->context, &progress);
}

static bool tick(void *context, int64_t updates) {
    member_run *run = context;
    probe_crew *crew = run->crew;
    pthread_mutex_lock(&crew->lock);
    int64_t more = updates - run->updates;
    run->updates = updates;
    if (more > 0) {
        crew->updates_done += more;
        crew->updates_left -= more;
    }
    tell(run, false);
    bool goes_on = !crew->stop && !(crew->watch->stop && *crew->watch->stop);
    pthread_mutex_unlock(&crew->lock);
    return goes_on;
}

static void path_of(const car_probe_study *study, int arm, int seed, size_t size, char *path) {
    snprintf(path, size, "%s/%.*s-%d-%lld.safetensors", study->folder, NAME_LIMIT,
             study->cells[study->arms[arm].cell].name, study->arms[arm].distance,
             (long long)(study->settings.seed + seed));
}

/* A run is over or interrupted: its record counts, and study.json says so. */
static void end_run(member_run *run, const car_probe_record *record, car_status status,
                    const car_error *error) {
    probe_crew *crew = run->crew;
    pthread_mutex_lock(&crew->lock);
    if (status == CAR_OK) {
        *run->record = *record;
        if (is_over(crew->study, record)) {
            crew->done++;
            crew->solved += record->solved;
            crew->updates_left -= crew->study->updates - record->updates;
            tell(run, true);
        }
    }
    car_error fault = {0};
    if (status == CAR_OK && crew->study->folder)
        status = car_probe_study_save(crew->study, &fault);
    else if (error)
        fault = *error;
    if (status != CAR_OK && crew->status == CAR_OK) {
        crew->status = status;
        crew->error = fault;
        crew->stop = true;
    }
    pthread_mutex_unlock(&crew->lock);
}

static void do_run(probe_crew *crew, int index) {
    car_probe_study *study = crew->study;
    char path[PATH_LIMIT];
    car_probe_record record = study->records[index];
    member_run run = {.crew = crew,
                      .arm = index / study->seeds,
                      .seed = index % study->seeds,
                      .updates = record.updates,
                      .record = &study->records[index]};
    if (study->folder)
        path_of(study, run.arm, run.seed, sizeof path, path);
    const car_probe_control control = {.context = &run,
                                       .tick = tick,
                                       .path = study->folder ? path : NULL,
                                       .resume = study->resumed,
                                       .checkpoint_seconds = crew->watch->checkpoint_seconds};
    car_error error = {0};
    run.record = &record;
    car_status status = car_probe_run(study, run.arm, run.seed, &control, &record, &error);
    run.record = &study->records[index];
    end_run(&run, &record, status, &error);
}

/* The next run that is not over; -1: none. */
static int take_run(probe_crew *crew) {
    const car_probe_study *study = crew->study;
    int count = study->cell_count * study->distance_count * study->seeds, taken = -1;
    pthread_mutex_lock(&crew->lock);
    while (taken < 0 && crew->next < count && !crew->stop &&
           !(crew->watch->stop && *crew->watch->stop)) {
        if (!is_over(study, &study->records[crew->next]))
            taken = crew->next;
        crew->next++;
    }
    pthread_mutex_unlock(&crew->lock);
    return taken;
}

static void work(void *argument, car_team *team, int member, int members) {
    (void)team;
    (void)member;
    (void)members;
    probe_crew *crew = argument;
    for (int index = take_run(crew); index >= 0; index = take_run(crew))
        do_run(crew, index);
}

/* Minutes -> updates, once. */
static car_status fix_budget(car_probe_study *study, const car_probe_watch *watch, int threads,
                             car_error *error) {
    if (study->updates > 0)
        return CAR_OK;
    double sum = 0;
    for (int arm = 0; arm < study->cell_count * study->distance_count; arm++) {
        double seconds;
        CAR_TRY(car_probe_run_cost(study, arm, &seconds, error));
        sum += seconds;
    }
    double updates = 60 * study->minutes * threads / (sum * study->seeds);
    study->updates = updates < 1 ? 1 : updates < 1e15 ? (int64_t)updates : (int64_t)1e15;
    if (study->most_updates > 0 && study->most_updates < study->updates)
        study->updates = study->most_updates;
    if (watch->measured)
        watch->measured(watch->context, study);
    return CAR_OK;
}

car_status car_probe_study_run(car_probe_study *study, const car_probe_watch *watch, bool *stopped,
                               car_error *error) {
    int runs = study->cell_count * study->distance_count * study->seeds;
    int threads = car_thread_count(watch->threads);
    threads = threads < runs ? threads : runs;
    *stopped = false;
    CAR_TRY(fix_budget(study, watch, threads, error));
    probe_crew crew = {.study = study, .watch = watch};
    for (int i = 0; i < runs; i++) {
        if (is_over(study, &study->records[i])) {
            crew.done++;
            crew.solved += study->records[i].solved;
        }
        crew.updates_left += left_of(study, &study->records[i]);
    }
    if (study->folder)
        CAR_TRY(car_probe_study_save(study, error));
    pthread_mutex_init(&crew.lock, NULL);
    car_team_run(threads, work, &crew);
    pthread_mutex_destroy(&crew.lock);
    if (crew.status != CAR_OK) {
        if (error)
            *error = crew.error;
        return crew.status;
    }
    *stopped = watch->stop && *watch->stop;
    return CAR_OK;
}

/* ---- Summaries ---------------------------------------------------------------------------------------- */

const car_probe_record *car_probe_record_of(const car_probe_study *study, int arm, int seed) {
    return &study->records[(size_t)arm * (size_t)study->seeds + (size_t)seed];
}

/* Median of the updates of the solved runs. */
static double median_updates(const car_probe_study *study, int arm) {
    double updates[CAR_PROBE_SEEDS];
    size_t count = 0;
    for (int seed = 0; seed < study->seeds; seed++) {
        const car_probe_record *record = car_probe_record_of(study, arm, seed);
        if (record->solved)
            updates[count++] = (double)record->updates;
    }
    if (count == 0)
        return NAN;
    qsort(updates, count, sizeof *updates, car_order_doubles);
    return (updates[(count - 1) / 2] + updates[count / 2]) / 2;
}

static double spread_of(double squares, double mean, int count) {
    double variance = count > 1 ? (squares - count * mean * mean) / (count - 1) : 0;
    return variance > 0 ? sqrt(variance) : 0;
}

car_probe_summary car_probe_summarize(const car_probe_study *study, int arm) {
    car_probe_summary sum = {.accuracy_low = INFINITY, .accuracy_high = -INFINITY};
    double accuracy_squares = 0, error_squares = 0;
    for (int seed = 0; seed < study->seeds; seed++) {
        const car_probe_record *record = car_probe_record_of(study, arm, seed);
        if (!record->tested)
            continue;
        sum.runs++;
        sum.solved += record->solved;
        sum.diverged += record->diverged;
        sum.accuracy += record->accuracy;
        sum.error += record->error;
        sum.seconds += record->seconds;
        sum.cpu_seconds += record->cpu_seconds;
        accuracy_squares += record->accuracy * record->accuracy;
        error_squares += record->error * record->error;
        sum.accuracy_low = fmin(sum.accuracy_low, record->accuracy);
        sum.accuracy_high = fmax(sum.accuracy_high, record->accuracy);
    }
    double runs = sum.runs > 0 ? sum.runs : NAN;
    sum.accuracy /= runs;
    sum.error /= runs;
    sum.seconds /= runs;
    sum.cpu_seconds /= runs;
    sum.accuracy_spread = spread_of(accuracy_squares, sum.accuracy, sum.runs);
    sum.error_spread = spread_of(error_squares, sum.error, sum.runs);
    sum.updates = median_updates(study, arm);
    return sum;
}
