/*
 * lab.c: what the story trains, and with which budget.
 *
 * In: a request. Out: studies of the probe's agreement task (their folders within the request's), the number of seeds and
 * of updates; trained nets and sequences to look into.
 *
 * Most of the time goes into nets that never learn, at the far distances and with bad biases; what claims 5, 8, 9 and 10 compare
 * costs little, and gets more seeds ("cheap").
 *
 * --minutes becomes numbers once. Every run gets UPDATES updates at most. With the seconds of an update of every run, measured
 * first, it is known how many seeds fit for certain; if they are more than CAR_STORY_LEAST_SEEDS, so many are trained first, and
 * what they took, since a run ends where it is solved, says how many more fit: seconds alone, no figure. With fewer the
 * updates shrink instead. The numbers are kept in the folder, so the same command goes on with the same ones.
 */
#include "story.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UPDATES = 2000, LEAST_UPDATES = 100, CHECK_EVERY = 10, PATH_LENGTH = 4096 };
enum { CHEAP = 4 }; /* seeds of what costs little for one of the others */
static const double TRAINING_SHARE =
    0.85; /* of the budget; the rest is for measuring and for checks that last longer */
const int car_story_distances[CAR_STORY_DISTANCES] = {5, 10, 20, 40};

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "no memory for the story");
}

/* ---- The studies ---------------------------------------------------------------------------------------- */

typedef struct study_plan {
    const char *folder, *cells[3], *bias_init, *line;
    int cell_count;
    bool everywhere; /* at all distances; else at CAR_STORY_MIDDLE */
    bool cheap;
    car_words doing;
} study_plan;

/* The zoo's lstm starts its forget gate at a bias of 1. */
static const study_plan plans[CAR_STUDY_COUNT] = {
    [CAR_STUDY_REACH] = {"reach",
                         {"rnn", "gru", "lstm"},
                         NULL,
                         NULL,
                         3,
                         true,
                         false,
                         {"training rnn, gru and lstm at every distance",
                          "在各个距离上训练 rnn、gru 和 lstm"}},
    [CAR_STUDY_KEEP] = {"keep",
                        {"gru", "lstm"},
                        "bf=3,bz=3",
                        NULL,
                        2,
                        true,
                        false,
                        {"training gru and lstm with gates that start open to remember",
                         "训练一开始就倾向于记住的 gru 和 lstm"}},
    [CAR_STUDY_GATES] = {"gates",
                         {"lstm-nof", "lstm-noi", "lstm-noo"},
                         NULL,
                         NULL,
                         3,
                         false,
                         true,
                         {"training lstms without one gate", "训练缺一个门的 lstm"}},
    [CAR_STUDY_PLAIN] = {"bias-none",
                         {"lstm"},
                         "bf=0",
                         NULL,
                         1,
                         false,
                         false,
                         {"training the lstm with every bias 0", "训练偏置全为 0 的 lstm"}},
    [CAR_STUDY_OUTPUT] = {"bias-output",
                          {"lstm"},
                          "bf=0,bo=1",
                          NULL,
                          1,
                          false,
                          false,
                          {"training the lstm with the output gate's bias 1",
                           "训练输出门偏置为 1 的 lstm"}},
    [CAR_STUDY_WALK] = {"walk",
                        {"rnn"},
                        NULL,
                        "init U = walk(1)\ninit W = walk(1)",
                        1,
                        false,
                        true,
                        {"training the rnn from random-walk weights", "训练随机游走初值的 rnn"}},
    [CAR_STUDY_MIDDLE] = {"middle",
                          {"rnn", "lstm"},
                          NULL,
                          NULL,
                          2,
                          false,
                          true,
                          {"training more of rnn and lstm", "训练更多的 rnn 和 lstm"}},
};

static int64_t seeds_of(const car_story *story, int study) {
    return plans[study].cheap ? story->request.cheap : story->request.seeds;
}

car_status car_story_cell(car_story *story, const char *name, const char *line, car_cell **cell,
                          car_error *error) {
    car_text text;
    enum { MOST = sizeof story->cells / sizeof *story->cells };
    car_text_start(&text, story->allocator);
    car_text_format(&text, "%s\n%s\n", car_zoo_text(name), line ? line : "");
    car_status status =
        text.failed || story->cell_count == MOST
            ? no_memory(error)
            : car_cell_compile(text.data, text.length, name, story->allocator, cell, error);
    if (status == CAR_OK)
        story->cells[story->cell_count++] = *cell;
    car_text_free(&text);
    return status;
}

static car_status begin_study(car_story *story, car_story_study index, car_error *error) {
    const study_plan *plan = &plans[index];
    const int middle = CAR_STORY_MIDDLE;
    car_cell *cells[3];
    char folder[PATH_LENGTH];
    for (int i = 0; i < plan->cell_count; i++)
        CAR_TRY(car_story_cell(story, plan->cells[i], plan->line, &cells[i], error));
    bool stored = story->request.folder != NULL;
    if (stored)
        snprintf(folder, sizeof folder, "%.4000s/%s", story->request.folder, plan->folder);
    const car_probe_request request = {.task = car_probe_task_find("agreement"),
                                       .cells = (const car_cell *const *)cells,
                                       .distances =
                                           plan->everywhere ? car_story_distances : &middle,
                                       .cell_count = plan->cell_count,
                                       .distance_count = plan->everywhere ? CAR_STORY_DISTANCES : 1,
                                       .seeds = (int)seeds_of(story, (int)index),
                                       .settings = {.seed = story->request.seed,
                                                    .check_every = CHECK_EVERY,
                                                    .bias_init = plan->bias_init,
                                                    .clip = -1,
                                                    .beta1 = 0.9,
                                                    .beta2 = 0.999,
                                                    .epsilon = 1e-8},
                                       .updates = story->request.updates,
                                       .folder = stored ? folder : NULL};
    return car_probe_study_begin(&request, story->allocator, &story->studies[index], error);
}

/* ---- The budget ----------------------------------------------------------------------------------------- */

/* What was fixed for this many minutes before, in FOLDER/story.json; false: nothing. */
static bool read_budget(car_story *story) {
    char path[PATH_LENGTH];
    char *data;
    size_t length;
    const car_json *root;
    snprintf(path, sizeof path, "%.4000s/story.json", story->request.folder);
    if (car_file_read(path, 1 << 20, story->allocator, &data, &length, NULL) != CAR_OK)
        return false;
    bool good = car_json_parse(data, length, path, 4, 100, story->arena, &root, NULL) == CAR_OK;
    car_release(story->allocator, data);
    const car_json *minutes = good ? car_json_member(root, "minutes") : NULL;
    const car_json *updates = good ? car_json_member(root, "updates") : NULL;
    const car_json *seeds = good ? car_json_member(root, "seeds") : NULL;
    const car_json *cheap = good ? car_json_member(root, "cheap_seeds") : NULL;
    if (!minutes || !updates || !seeds || !cheap || minutes->number != story->request.minutes ||
        !updates->whole || !seeds->whole || !cheap->whole || updates->number < 1 ||
        seeds->number < 1 || cheap->number < seeds->number || cheap->number > CAR_STORY_SEEDS)
        return false;
    story->request.updates = (int64_t)updates->number;
    story->request.seeds = (int64_t)seeds->number;
    story->request.cheap = (int64_t)cheap->number;
    return true;
}

static car_status write_budget(const car_story *story, car_error *error) {
    char path[PATH_LENGTH];
    car_text text;
    car_file_writer *writer;
    snprintf(path, sizeof path, "%.4000s/story.json", story->request.folder);
    car_text_start(&text, story->allocator);
    car_text_format(&text, "{\"minutes\": ");
    car_text_json_number(&text, story->request.minutes);
    car_text_format(
        &text, ", \"updates\": %lld, \"seeds\": %lld, \"cheap_seeds\": %lld, \"seed\": %lld}\n",
        (long long)story->request.updates, (long long)story->request.seeds,
        (long long)story->request.cheap, (long long)story->request.seed);
    car_status status = text.failed ? no_memory(error)
                                    : car_file_writer_open(path, story->allocator, &writer, error);
    if (status == CAR_OK) {
        status = car_file_writer_write(writer, text.data, text.length, error);
        if (status == CAR_OK)
            status = car_file_writer_commit(writer, error);
        else
            car_file_writer_abandon(writer);
    }
    car_text_free(&text);
    return status;
}

/* Seconds of one seed: of the nets that cost little, and of the others. */
typedef struct seed_cost {
    double cheap, other;
    double long_net; /* a net of claims 5 and 8, trained for all of its budget */
} seed_cost;

/* Of one update of every run. */
static car_status measure_cost(const car_story *story, seed_cost *cost, car_error *error) {
    *cost = (seed_cost){.cheap = 0};
    for (int s = 0; s < CAR_STUDY_COUNT; s++) {
        const car_probe_study *study = story->studies[s];
        for (int arm = 0; arm < study->cell_count * study->distance_count; arm++) {
            double one;
            CAR_TRY(car_probe_run_cost(study, arm, &one, error));
            *(plans[s].cheap ? &cost->cheap : &cost->other) += one;
            if (s == CAR_STUDY_MIDDLE)
                cost->long_net = one; /* of its last arm, the lstm */
        }
    }
    return CAR_OK;
}

static void free_studies(car_story *story) {
    for (int s = 0; s < CAR_STUDY_COUNT; s++) {
        car_probe_study_free(story->studies[s]);
        story->studies[s] = NULL;
    }
    while (story->cell_count > 0)
        car_cell_free(story->cells[--story->cell_count]);
}

static car_status begin_studies(car_story *story, car_error *error) {
    for (int s = 0; s < CAR_STUDY_COUNT; s++)
        CAR_TRY(begin_study(story, (car_story_study)s, error));
    return CAR_OK;
}

/* The seconds that all runs of one seed take, updates as they are, when none is solved before its end. */
static car_status measure_seed(car_story *story, seed_cost *cost, car_error *error) {
    car_story_request *request = &story->request;
    const char *folder = request->folder;
    request->seeds = request->cheap = 1;
    request->folder = NULL; /* what is measured with is not kept */
    CAR_TRY(begin_studies(story, error));
    CAR_TRY(measure_cost(story, cost, error));
    free_studies(story);
    request->folder = folder;
    cost->cheap *= (double)request->updates;
    cost->other *= (double)request->updates;
    cost->long_net *= (double)request->updates;
    return CAR_OK;
}

/* ---- Running -------------------------------------------------------------------------------------------- */

typedef struct story_watch {
    const car_story *story;
    int64_t done, all; /* updates of the studies before this one; of all studies at most */
    car_words doing;
} story_watch;

static void tell(void *context, const car_probe_progress *progress) {
    const story_watch *watch = context;
    const car_story_request *request = &watch->story->request;
    int64_t planned = progress->updates * progress->runs;
    double share = (double)(watch->done + planned - progress->updates_left) / (double)watch->all;
    if (watch->story->sure_seeds > 0)
        share *= CAR_STORY_LEAST_SEEDS / watch->story->sure_seeds;
    if (request->progress)
        request->progress(request->context, watch->doing, fmin(share, 1));
}

static car_status run_studies(car_story *story, bool *stopped, car_error *error) {
    story_watch context = {.story = story};
    for (int s = 0; s < CAR_STUDY_COUNT; s++)
        context.all += story->studies[s]->cell_count * story->studies[s]->distance_count *
                       seeds_of(story, s) * story->request.updates;
    for (int s = 0; s < CAR_STUDY_COUNT && !*stopped; s++) {
        context.doing = plans[s].doing;
        const car_probe_watch watch = {.context = &context,
                                       .progress = tell,
                                       .stop = story->request.stop,
                                       .threads = story->request.threads,
                                       .checkpoint_seconds = 60};
        CAR_TRY(car_probe_study_run(story->studies[s], &watch, stopped, error));
        context.done += story->studies[s]->cell_count * story->studies[s]->distance_count *
                        seeds_of(story, s) * story->request.updates;
    }
    return CAR_OK;
}

/* ---- The budget in seeds and updates -------------------------------------------------------------------- */

static int64_t within(double seeds) {
    return (int64_t)fmin(fmax(floor(seeds), CAR_STORY_LEAST_SEEDS), CAR_STORY_SEEDS);
}

/* Trains the least number of seeds and counts how many there can be. */
static car_status count_seeds(car_story *story, double seconds, double long_net, bool *stopped,
                              car_error *error) {
    seed_cost spent = {.long_net = long_net};
    story->request.seeds = story->request.cheap = CAR_STORY_LEAST_SEEDS;
    CAR_TRY(begin_studies(story, error));
    CAR_TRY(run_studies(story, stopped, error));
    for (int s = 0; s < CAR_STUDY_COUNT; s++) {
        const car_probe_study *study = story->studies[s];
        for (int arm = 0; arm < study->cell_count * study->distance_count; arm++)
            *(plans[s].cheap ? &spent.cheap : &spent.other) +=
                car_probe_summarize(study, arm).cpu_seconds;
    }
    free_studies(story);
    double seeds = seconds / (spent.other + CHEAP * (spent.cheap + spent.long_net));
    story->request.seeds = within(seeds);
    story->request.cheap = within(CHEAP * floor(seeds));
    return CAR_OK;
}

/* Minutes -> seeds and updates. */
static car_status fix_budget(car_story *story, bool *stopped, car_error *error) {
    car_story_request *request = &story->request;
    if (request->updates > 0 || read_budget(story))
        return CAR_OK;
    seed_cost cost;
    double wanted = (double)request->seeds;
    int64_t cheap = request->cheap;
    double all = 60 * request->minutes * TRAINING_SHARE * car_thread_count(request->threads);
    request->updates = UPDATES;
    CAR_TRY(measure_seed(story, &cost, error));
    double of_a_seed = cost.cheap + cost.other + cost.long_net;
    bool roomy = wanted == 0 && cheap == 0 && all > CAR_STORY_LEAST_SEEDS * of_a_seed;
    if (roomy && request->folder) {
        story->sure_seeds = all / of_a_seed;
        CAR_TRY(count_seeds(story, all, cost.long_net, stopped, error));
        story->sure_seeds = 0;
        return *stopped ? CAR_OK : write_budget(story, error);
    }
    request->seeds = wanted > 0 ? (int64_t)wanted : within(all / of_a_seed);
    request->cheap = cheap > request->seeds ? cheap : request->seeds;
    double share = all / (of_a_seed * (double)request->seeds);
    double updates = UPDATES * (wanted > 0 ? share : fmin(share, 1));
    request->updates = (int64_t)fmax(updates, LEAST_UPDATES);
    return write_budget(story, error);
}

static void judge(car_story *story) {
    for (int claim = 0; claim < CAR_STORY_CLAIMS; claim++) {
        car_outcome outcomes[CAR_RULE_COUNT];
        int count = 0;
        for (int r = 0; r < CAR_RULE_COUNT; r++) {
            const car_story_rule *rule = car_story_rule_at((car_rule_id)r);
            if (rule->claim != claim)
                continue;
            story->figures[r] = car_story_judge(rule, story->samples[r], (int)story->request.cheap);
            outcomes[count++] = story->figures[r].outcome;
        }
        story->verdicts[claim] = car_story_verdict(outcomes, count);
    }
}

static car_status make_samples(car_story *story, car_error *error) {
    for (int r = 0; r < CAR_RULE_COUNT; r++) {
        story->samples[r] =
            car_arena_allocate(story->arena, (size_t)story->request.cheap, sizeof(double));
        if (!story->samples[r])
            return no_memory(error);
        for (int i = 0; i < story->request.cheap; i++)
            story->samples[r][i] = NAN;
    }
    return CAR_OK;
}

static car_status run(car_story *story, bool *stopped, car_error *error) {
    CAR_TRY(fix_budget(story, stopped, error));
    if (*stopped)
        return CAR_OK;
    CAR_TRY(make_samples(story, error));
    CAR_TRY(begin_studies(story, error));
    CAR_TRY(run_studies(story, stopped, error));
    if (*stopped)
        return CAR_OK;
    CAR_TRY(car_story_trained(story, error));
    CAR_TRY(car_story_untrained(story, error));
    if (story->no_memory)
        return no_memory(error);
    judge(story);
    return CAR_OK;
}

car_status car_story_run(const car_story_request *request, const car_allocator *allocator,
                         car_story **story, bool *stopped, car_error *error) {
    *story = NULL;
    *stopped = false;
    car_arena *arena = car_arena_create(allocator);
    car_story *made = arena ? car_arena_allocate(arena, 1, sizeof *made) : NULL;
    if (!made) {
        car_arena_free(arena);
        return no_memory(error);
    }
    *made = (car_story){.allocator = allocator, .arena = arena, .request = *request};
    if (made->request.updates > 0 && made->request.seeds == 0)
        made->request.seeds = CAR_STORY_LEAST_SEEDS;
    if (made->request.updates > 0 && made->request.cheap < made->request.seeds)
        made->request.cheap = made->request.seeds;
    car_status status = run(made, stopped, error);
    if (status == CAR_OK)
        *story = made;
    else
        car_story_free(made);
    return status;
}

void car_story_free(car_story *story) {
    if (!story)
        return;
    free_studies(story);
    car_arena_free(story->arena);
}

/* ---- Looking into it ------------------------------------------------------------------------------------ */

static int find_arm(const car_probe_study *study, const char *cell, int distance) {
    for (int arm = 0; arm < study->cell_count * study->distance_count; arm++)
        if (study->arms[arm].distance == distance &&
            strcmp(study->cells[study->arms[arm].cell].name, cell) == 0)
            return arm;
    return 0;
}

const car_probe_record *car_story_record(const car_story *story, car_story_study study,
                                         const char *cell, int distance, int seed) {
    const car_probe_study *of = story->studies[study];
    return car_probe_record_of(of, find_arm(of, cell, distance), seed);
}

static void path_of_run(const car_story *story, car_story_study study, const char *cell,
                        int distance, int seed, size_t size, char *path) {
    snprintf(path, size, "%.4000s/%.40s-%d-%lld.safetensors", story->studies[study]->folder, cell,
             distance, (long long)story->request.seed + seed);
}

/* A run that was solved was stopped there: here the rest of its budget. */
static car_status train_on(const car_story *story, int distance, int seed, car_trainer *trainer,
                           car_error *error) {
    car_probe_problem problem;
    car_probe_batch *batch;
    car_step_result result;
    float rate = (float)car_probe_task_find("agreement")->rate;
    CAR_TRY(car_story_batch(story, distance, seed, &problem, &batch, error));
    car_status status = CAR_OK;
    for (int64_t i = car_trainer_updates(trainer); i < story->request.updates && status == CAR_OK;
         i++) {
        car_probe_fill(&problem, CAR_PROBE_TRAIN, (uint64_t)i * CAR_STORY_LANES, batch);
        const car_batch given = {.steps = batch->steps,
                                 .reset = true,
                                 .input = batch->input,
                                 .lengths = batch->lengths,
                                 .target = batch->classes};
        status = car_trainer_step(trainer, &given, rate, &result, error);
    }
    car_release(story->allocator, batch);
    return status;
}

car_status car_story_long_net(const car_story *story, car_story_study study, const char *cell,
                              int distance, int seed, car_model **model, car_error *error) {
    char path[PATH_LENGTH + 200];
    car_trainer *trainer;
    path_of_run(story, study, cell, distance, seed, sizeof path, path);
    CAR_TRY(car_trainer_load(path, 1, story->allocator, &trainer, error));
    car_status status = train_on(story, distance, seed, trainer, error);
    if (status == CAR_OK)
        status = car_model_copy(car_trainer_model(trainer), story->allocator, model, error);
    car_trainer_free(trainer);
    return status;
}

car_status car_story_net(const car_story *story, car_story_study study, const char *cell,
                         int distance, int seed, car_model **model, car_error *error) {
    char path[PATH_LENGTH + 200];
    path_of_run(story, study, cell, distance, seed, sizeof path, path);
    return car_model_load(path, story->allocator, model, error);
}

car_status car_story_batch(const car_story *story, int distance, int seed,
                           car_probe_problem *problem, car_probe_batch **batch, car_error *error) {
    CAR_TRY(car_probe_problem_make(car_probe_task_find("agreement"), distance,
                                   (uint64_t)(story->request.seed + seed), NULL, problem, error));
    CAR_TRY(car_probe_batch_create(problem, CAR_STORY_LANES, story->allocator, batch, error));
    car_probe_fill(problem, CAR_PROBE_TEST, 0, *batch);
    return CAR_OK;
}
