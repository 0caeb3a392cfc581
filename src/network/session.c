/*
 * session: a model run on sequences as they come.
 *
 * In:  ids or values of `lanes` sequences, a step or many at a time. Out: the head's raw outputs; states stay.
 *
 * A session is one block of memory: a stack for single steps on the caller's thread, and, where runs may use more
 * threads, a second stack for those. The states are in one of the two at a time and are copied over when the kind of
 * call changes. The arithmetic of a row is the same in both, so a run has the bits of as many single steps.
 */
#include "network.h"

enum { DEFAULT_STEPS = 32 };

struct car_session {
    const car_model *model;
    const car_allocator *allocator;
    int lanes, steps;
    car_stack *step, *run; /* the same when runs use one thread */
    car_stack *present;    /* where the states are */
    float *state;          /* of a lane, on its way from one to the other */
    int *lengths;          /* [lanes] 1: active in the present step, 0: not */
};

static car_status check_options(const car_model *model, const car_session_options *options,
                                car_error *error) {
    if (model->net->bidirectional)
        return car_fail(
            error, CAR_USAGE,
            "session: the net has a `bi` layer, which needs the whole sequence; use a net "
            "without `bi`");
    if (model->net->patch > 1)
        return car_fail(error, CAR_USAGE,
                        "session: the net's `patch %d` needs that many steps at once; use a net "
                        "without `patch`",
                        model->net->patch);
    if (model->net->pool != CAR_POOL_EACH)
        return car_fail(error, CAR_USAGE,
                        "session: the head's `%s` needs the whole sequence; use a net with `each`",
                        model->net->pool == CAR_POOL_LAST ? "last" : "mean");
    if (options->lanes < 0 || options->steps < 0 || options->threads < 0)
        return car_fail(error, CAR_USAGE,
                        "session: lanes %d, steps %d and threads %d must not be "
                        "negative",
                        options->lanes, options->steps, options->threads);
    return CAR_OK;
}

static car_status too_large(car_error *error) {
    return car_fail(error, CAR_MEMORY, "session: out of memory; take fewer lanes or steps");
}

typedef struct session_places {
    size_t session, step, run, state, lengths;
} session_places;

static size_t state_floats(const car_model *model) {
    size_t floats = 0;
    for (int i = 0; i < model->net->layer_count; i++)
        if (model->net->layers[i].kind == CAR_LAYER_CELL)
            floats += (size_t)model->net->layers[i].cell->state_count *
                      (size_t)model->layers[i].size.units;
    return floats;
}

typedef struct session_plan {
    int lanes, steps, threads;
    car_stack_shape run, step;
    session_places at;
    size_t bytes; /* 0: too many */
} session_plan;

static session_plan plan_session(const car_model *model, const car_session_options *options) {
    session_plan plan = {.lanes = options->lanes > 0 ? options->lanes : 1,
                         .steps = options->steps > 0 ? options->steps : DEFAULT_STEPS,
                         .threads = options->threads > 1 ? car_thread_count(options->threads) : 1};
    plan.run = (car_stack_shape){.batch = plan.lanes, .steps = plan.steps, .threads = plan.threads};
    plan.step = (car_stack_shape){.batch = plan.lanes, .steps = 1, .threads = 1};
    size_t run_bytes = car_stack_size(model, &plan.run);
    size_t step_bytes = car_stack_size(model, &plan.step);
    car_layout layout = {0};
    plan.at.session = car_layout_add(&layout, 1, sizeof(car_session));
    plan.at.run = car_layout_add(&layout, run_bytes, 1);
    plan.at.step = car_layout_add(&layout, plan.threads > 1 ? step_bytes : 0, 1);
    plan.at.state = car_layout_add(&layout, state_floats(model) + 1, sizeof(float));
    plan.at.lengths = car_layout_add(&layout, (size_t)plan.lanes, sizeof(int));
    plan.bytes = run_bytes == 0 || step_bytes == 0 || layout.overflow ? 0 : layout.size;
    return plan;
}

size_t car_session_bytes(const car_model *model, const car_session_options *options) {
    static const car_session_options defaults = {0};
    options = options ? options : &defaults;
    return check_options(model, options, NULL) == CAR_OK ? plan_session(model, options).bytes : 0;
}

car_status car_session_create(const car_model *model, const car_session_options *options,
                              const car_allocator *allocator, car_session **session,
                              car_error *error) {
    static const car_session_options defaults = {0};
    *session = NULL;
    options = options ? options : &defaults;
    CAR_TRY(check_options(model, options, error));
    const session_plan plan = plan_session(model, options);
    char *memory = plan.bytes > 0 ? car_allocate(allocator, plan.bytes, 1) : NULL;
    if (!memory)
        return too_large(error);
    car_session *made = (car_session *)(void *)(memory + plan.at.session);
    *made = (car_session){
        .model = model, .allocator = allocator, .lanes = plan.lanes, .steps = plan.steps};
    made->run = car_stack_place(model, &plan.run, memory + plan.at.run);
    made->step =
        plan.threads > 1 ? car_stack_place(model, &plan.step, memory + plan.at.step) : made->run;
    made->present = made->step;
    made->state = (float *)(void *)(memory + plan.at.state);
    made->lengths = (int *)(void *)(memory + plan.at.lengths);
    *session = made;
    return CAR_OK;
}

void car_session_free(car_session *session) {
    if (session)
        car_release(session->allocator, session);
}

/* Brings the states to where they are needed. */
static void move_states(car_session *session, car_stack *to) {
    for (int lane = 0; to != session->present && lane < session->lanes; lane++) {
        car_stack_get_state(session->present, lane, session->state);
        car_stack_set_state(to, lane, session->state);
    }
    session->present = to;
}

typedef struct step_call {
    car_session *session;
    const int *lengths;
    const void *input;
    float *output;
    car_error *error;
    car_status status;
} step_call;

static void step_task(void *argument, car_team *team, int member, int members) {
    (void)team, (void)member, (void)members;
    step_call *call = argument;
    car_stack *stack = call->session->step;
    move_states(call->session, stack);
    call->status = car_stack_forward(stack, 1, call->lengths, call->input, NULL, 0, call->error);
    if (call->status != CAR_OK)
        return;
    if (call->output)
        car_stack_outputs(stack, call->output);
    car_stack_carry(stack);
}

/* As the task of a team of one, which sets how the processor takes subnormal floats: what runs within finds it set, and to set
 * it for each part of a step takes as long as the step of a small cell. */
static car_status step_lanes(car_session *session, const int *lengths, const void *input,
                             float *output, car_error *error) {
    step_call call = {session, lengths, input, output, error, CAR_OK};
    car_team_run(1, step_task, &call);
    return call.status;
}

car_status car_session_step(car_session *session, const void *input, float *output,
                            car_error *error) {
    return step_lanes(session, NULL, input, output, error);
}

car_status car_session_step_active(car_session *session, const bool *active, const void *input,
                                   float *output, car_error *error) {
    for (int lane = 0; lane < session->lanes; lane++)
        session->lengths[lane] = active[lane];
    return step_lanes(session, session->lengths, input, output, error);
}

car_status car_session_run(car_session *session, int steps, const void *input, float *output,
                           car_error *error) {
    const car_model *model = session->model;
    size_t lanes = (size_t)session->lanes;
    bool embed = model->net->layers[0].kind == CAR_LAYER_EMBED;
    if (steps < 0)
        return car_fail(error, CAR_USAGE, "session: a run of %d steps; give 0 or more", steps);
    if (embed)
        CAR_TRY(car_embed_check(model, input, (size_t)steps * lanes, session->lanes, NULL, error));
    size_t row = embed ? sizeof(int32_t) : (size_t)model->input_size * sizeof(float);
    move_states(session, session->run);
    for (int done = 0; done < steps;) {
        int count = steps - done < session->steps ? steps - done : session->steps;
        size_t first = (size_t)done * lanes;
        CAR_TRY(car_stack_forward(session->run, count, NULL, (const char *)input + first * row,
                                  NULL, 0, error));
        if (output)
            car_stack_outputs(session->run, output + first * (size_t)model->output_size);
        car_stack_carry(session->run);
        done += count;
    }
    return CAR_OK;
}

void car_session_reset(car_session *session, int lane) {
    car_stack_reset(session->present, lane);
}

size_t car_session_state_size(const car_session *session) {
    return car_stack_state_floats(session->present);
}

void car_session_get_state(const car_session *session, int lane, float *state) {
    car_stack_get_state(session->present, lane, state);
}

void car_session_set_state(car_session *session, int lane, const float *state) {
    car_stack_set_state(session->present, lane, state);
}
