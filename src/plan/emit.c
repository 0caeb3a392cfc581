/*
 * emit.c: a vector program as the text of a C function, and the digest by which the compiled function is found.
 *
 * In: a program and which of its slots hold one value a row. Out: a function over rows and blocks that does, for a few
 * vectors side by side, the very operations that the interpreter does strip by strip, so that the bits are the same; but what
 * is one value for a whole row (a norm's 1/sqrt) is computed once a row. The text uses the vector type and maths of
 * kernels/ (vector.inc, math.inc) and is compiled once for each CPU level. Of a loop that is one product and one program there
 * is a second function, for steps of one row, with the product in front of the program, block by block (emitted/row.inc).
 *
 * A program has more slots than a processor has registers for pointers. Their rows lie in few ways (layer.c), so one
 * index serves all slots of a kind, and of a slot only the base is its own.
 */
#include "inside.h"
#include <string.h>

static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
    return hash ^ (hash >> 29);
}

static uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* How the rows of a slot lie, and which index leads to a block of them. */
typedef enum slot_kind {
    SLOT_UNITS,  /* a row of padded units: p */
    SLOT_SUMS,   /* a gate of a row of sums, its blocks a block of all gates apart: g */
    SLOT_VECTOR, /* one row for all: o */
    SLOT_ROW,    /* one value a row, side by side: row */
    SLOT_INPUT   /* a row of the input's shape: row * its stride + o */
} slot_kind;

static slot_kind kind_of(car_place place) {
    switch (place.region) {
    case CAR_REGION_SUMS:
        return SLOT_SUMS;
    case CAR_REGION_VECTOR:
        return SLOT_VECTOR;
    case CAR_REGION_MEAN:
    case CAR_REGION_WORK_MEAN:
        return SLOT_ROW;
    case CAR_REGION_INPUT:
    case CAR_REGION_INPUT_GRADIENT:
        return SLOT_INPUT;
    default:
        return SLOT_UNITS;
    }
}

static bool is_row_value(car_place place) {
    return kind_of(place) == SLOT_ROW;
}

/* Which of the sums of the loop's only product a slot is; -1: none of them. */
static int row_sum_of(const car_stage *stage, int slot) {
    const car_place *place = &stage->slots[slot];
    if (stage->alone && place->region == CAR_REGION_SUMS)
        for (int i = 0; i < stage->alone->count; i++)
            if (stage->alone->gates[i] == place->index)
                return i;
    return -1;
}

/* Sums that the program writes, a gate's activation in its place, are not in registers alone. */
bool car_stage_has_row(const car_stage *stage) {
    for (int k = 0; k < stage->program.count; k++)
        if (stage->program.code[k].op == CAR_VECTOR_STORE &&
            row_sum_of(stage, stage->program.code[k].slot) >= 0)
            return false;
    return stage->alone && stage->alone->count <= CAR_ROW_SUMS;
}

car_program_digest car_stage_digest(const car_stage *stage) {
    uint64_t high = 0x243f6a8885a308d3ull, low = 0x13198a2e03707344ull;
    const int row_sums = car_stage_has_row(stage) ? stage->alone->count : 0;
    const car_vector_program *program = &stage->program;
    for (int k = 0; k < program->count; k++) {
        const car_vector_instruction *code = &program->code[k];
        uint64_t word = (uint64_t)code->op | (uint64_t)code->out << 8 | (uint64_t)code->a << 16 |
                        (uint64_t)code->b << 24 | (uint64_t)code->c << 32 |
                        (uint64_t)code->slot << 40;
        high = mix(mix(high, word), float_bits(code->value));
        low = mix(mix(low, float_bits(code->value)), ~word);
    }
    for (int s = 0; s < stage->slot_count; s++) {
        high = mix(high, kind_of(stage->slots[s]));
        low = mix(low, 8 + kind_of(stage->slots[s]));
        if (row_sums)
            low = mix(low, (uint64_t)(row_sums + CAR_ROW_SUMS * row_sum_of(stage, s)));
    }
    return (car_program_digest){high, low};
}

/* Instructions of the longest program whose vectors stand side by side: for twice the code a compiler takes three times as long. */
enum { MOST_SIDE_BY_SIDE = 128 };

/* Where an instruction's value is made. What is one value for a whole row, made of constants and row values alone, is
 * computed before the loop over the row's units; a constant or row value that both read stands in both places. */
enum { OF_ROW = 1, BEFORE_LOOP = 2, IN_LOOP = 4, PASSED = 8 /* from before the loop into it */ };

/* The program as single assignments: instruction k makes the value v<k>. */
typedef struct car_assignments {
    const car_stage *stage;
    int count;
    int (*operands)[3];   /* [count] the instructions that made the operands */
    unsigned char *where; /* [count] */
} car_assignments;

static bool is_row_leaf(const car_stage *stage, const car_vector_instruction *code) {
    return code->op == CAR_VECTOR_CONSTANT ||
           (code->op == CAR_VECTOR_LOAD && is_row_value(stage->slots[code->slot]));
}

static void find_operands(car_assignments *program) {
    const car_stage *stage = program->stage;
    int maker[CAR_VECTOR_REGISTERS] = {0};
    for (int k = 0; k < program->count; k++) {
        const car_vector_instruction *code = &stage->program.code[k];
        const int operands = car_vector_op_operands((car_vector_op)code->op);
        const int registers[3] = {code->a, code->b, code->c};
        bool row = operands > 0 ? code->op != CAR_VECTOR_STORE : is_row_leaf(stage, code);
        for (int i = 0; i < operands && i < 3; i++) {
            program->operands[k][i] = maker[registers[i]];
            row = row && program->where[maker[registers[i]]] & OF_ROW;
        }
        program->where[k] = row ? OF_ROW : IN_LOOP;
        if (code->op != CAR_VECTOR_STORE)
            maker[code->out] = k;
    }
}

static void find_places(car_assignments *program) {
    for (int k = 0; k < program->count; k++) {
        const car_vector_instruction *code = &program->stage->program.code[k];
        const int operands = car_vector_op_operands((car_vector_op)code->op);
        bool before = program->where[k] & OF_ROW && operands > 0;
        if (before)
            program->where[k] |= BEFORE_LOOP;
        for (int i = 0; i < operands; i++) {
            int from = program->operands[k][i];
            if (before)
                program->where[from] |= BEFORE_LOOP;
            else if (is_row_leaf(program->stage, &program->stage->program.code[from]))
                program->where[from] |= IN_LOOP;
            else if (program->where[from] & OF_ROW)
                program->where[from] |= PASSED;
        }
    }
}

/* What is one value for a row is so for all vectors that stand side by side; the others have one each, OF(v<k>). */
static void emit_value(car_text *text, const car_assignments *program, int k) {
    car_text_format(text, program->where[k] & OF_ROW ? "v%d" : "OF(v%d)", k);
}

static void emit_operation(car_text *text, const car_assignments *program, int k) {
    static const char *const formats[CAR_VECTOR_OP_COUNT] = {
        [CAR_VECTOR_ADD] = "%0 + %1",
        [CAR_VECTOR_SUBTRACT] = "%0 - %1",
        [CAR_VECTOR_MULTIPLY] = "%0 * %1",
        [CAR_VECTOR_DIVIDE] = "%0 / %1",
        [CAR_VECTOR_FMA] = "v_fma(%0, %1, %2)",
        [CAR_VECTOR_NEGATE] = "-%0",
        [CAR_VECTOR_SIGMOID] = "v_sigmoid(%0)",
        [CAR_VECTOR_TANH] = "v_tanh(%0)",
        [CAR_VECTOR_RELU] = "v_relu(%0)",
        [CAR_VECTOR_EXP] = "v_exp(%0)",
        [CAR_VECTOR_LOG] = "v_log(%0)",
        [CAR_VECTOR_SQRT] = "v_sqrt(%0)",
        [CAR_VECTOR_SOFTPLUS] = "v_softplus(%0)",
        [CAR_VECTOR_ABS] = "v_abs(%0)",
        [CAR_VECTOR_MAX] = "v_max(%0, %1)",
        [CAR_VECTOR_MIN] = "v_min(%0, %1)",
        [CAR_VECTOR_GREATER] = "v_select(v_less(%1, %0), v_of(1.0f), v_zero())",
        [CAR_VECTOR_SIGMOID_GRADIENT] = "%0 * (%1 * (v_of(1.0f) - %1))",
        [CAR_VECTOR_TANH_GRADIENT] = "%0 * v_fma(-%1, %1, v_of(1.0f))",
    };
    for (const char *p = formats[program->stage->program.code[k].op]; *p; p++)
        if (*p == '%')
            emit_value(text, program, program->operands[k][*++p - '0']);
        else
            car_text_add(text, p, 1);
}

static void emit_made(car_text *text, const car_assignments *program, int k) {
    const car_vector_instruction *code = &program->stage->program.code[k];
    if (code->op == CAR_VECTOR_LOAD && is_row_value(program->stage->slots[code->slot]))
        car_text_format(text, "v_of(s%d[row])", code->slot);
    else if (code->op == CAR_VECTOR_LOAD)
        car_text_format(text, "v_load(s%d + i + j * WIDTH)", code->slot);
    else if (code->op == CAR_VECTOR_CONSTANT)
        car_text_format(text, "v_of(%af)", (double)code->value);
    else
        emit_operation(text, program, k);
}

static void emit_instruction(car_text *text, const car_assignments *program, int k) {
    const car_vector_instruction *code = &program->stage->program.code[k];
    if (code->op == CAR_VECTOR_STORE) {
        car_text_format(text, "STORE_EACH(s%d, ", code->slot);
        emit_value(text, program, program->operands[k][0]);
        car_text_format(text, ")\n");
        return;
    }
    const bool one = program->where[k] & OF_ROW;
    car_text_format(text, one ? "const vfloat v%d = " : "EACH(v%d, ", k);
    emit_made(text, program, k);
    car_text_format(text, one ? ";\n" : ")\n");
}

/* `before` and the number of each value that goes from before the loop into it. */
static void emit_passed(car_text *text, const car_assignments *program, const char *before) {
    for (int k = 0; k < program->count; k++)
        if (program->where[k] & PASSED)
            car_text_format(text, "%s%d", before, k);
}

/* The vectors of units that stand side by side, by the macros of functions.inc; kept: how many of the block's 16 units are not
 * padding. */
static void emit_body(car_text *text, const car_assignments *program, const char *name) {
    car_text_format(text, "enum { %s_side = %s };\n", name,
                    program->count <= MOST_SIDE_BY_SIDE ? "SIDE_BY_SIDE" : "1");
    car_text_format(text, "ALWAYS_INLINE void %s_vectors(int row, int i, int kept", name);
    for (int s = 0; s < program->stage->slot_count; s++)
        car_text_format(text, ", float *s%d", s);
    emit_passed(text, program, ", vfloat v");
    car_text_format(text, ") {\n    enum { side = %s_side };\n    (void)row;\n    (void)kept;\n",
                    name);
    for (int s = 0; s < program->stage->slot_count; s++)
        if (is_row_value(program->stage->slots[s]))
            car_text_format(text, "    (void)s%d;\n", s);
    for (int k = 0; k < program->count; k++)
        if (program->where[k] & IN_LOOP) {
            car_text_format(text, "    ");
            emit_instruction(text, program, k);
        }
    car_text_format(text, "}\n");
}

/* A block: the indices of its row and of all slots, then its vectors. `lone`: of a step of one row, the k-th of some blocks, whose
 * sums of the loop's product are in an array. */
static void emit_block(car_text *text, const car_assignments *program, const char *name,
                       const char *kept, bool lone) {
    static const char *const indices[] = {
        [SLOT_UNITS] = " + p", [SLOT_SUMS] = " + g", [SLOT_VECTOR] = " + o", [SLOT_ROW] = ""};
    const char *deeper = lone ? "    " : "";
    car_text_format(text,
                    "%1$s            const int64_t o = (int64_t)block * CAR_BLOCK;\n"
                    "%1$s            const int64_t p = row * row_of_units + o;\n"
                    "%1$s            const int64_t g = row * row_of_sums + block * block_of_sums;\n"
                    "%1$s            (void)o, (void)p, (void)g;\n"
                    "%1$s            for (int i = 0; i < CAR_BLOCK; i += %2$s_side * WIDTH)\n"
                    "%1$s                %2$s_vectors(row, i, %3$s",
                    deeper, name, kept);
    for (int s = 0; s < program->stage->slot_count; s++) {
        const slot_kind kind = kind_of(program->stage->slots[s]);
        const int sum = row_sum_of(program->stage, s);
        if (lone && sum >= 0)
            car_text_format(text, ", sum[k * sums + %d]", sum);
        else if (kind == SLOT_INPUT)
            car_text_format(text, ", s%1$d + row * slots[%1$d].row_stride + o", s);
        else
            car_text_format(text, ", s%d%s", s, indices[kind]);
    }
    emit_passed(text, program, ", v");
    car_text_format(text, ");\n");
}

/* Strides that all slots of a kind have are those of the first one. */
static void emit_stride(car_text *text, const car_stage *stage, slot_kind kind, const char *name,
                        const char *member) {
    int s = 0;
    while (s < stage->slot_count && kind_of(stage->slots[s]) != kind)
        s++;
    if (s < stage->slot_count)
        car_text_format(text, "    const int64_t %s = slots[%d].%s;\n", name, s, member);
    else
        car_text_format(text, "    const int64_t %s = 0;\n", name);
}

/* `lone`: not of the sums that stay in registers. */
static void emit_places(car_text *text, const car_stage *stage, bool lone) {
    emit_stride(text, stage, SLOT_UNITS, "row_of_units", "row_stride");
    emit_stride(text, stage, SLOT_SUMS, "row_of_sums", "row_stride");
    emit_stride(text, stage, SLOT_SUMS, "block_of_sums", "block_stride");
    for (int s = 0; s < stage->slot_count; s++)
        if (!lone || row_sum_of(stage, s) < 0)
            car_text_format(text, "    float *const s%1$d = slots[%1$d].base;\n", s);
}

static void emit_before_loop(car_text *text, const car_assignments *program) {
    for (int k = 0; k < program->count; k++)
        if (program->where[k] & BEFORE_LOOP) {
            car_text_format(text, "        ");
            emit_instruction(text, program, k);
        }
}

static void emit_function(car_text *text, const car_assignments *program, const char *name) {
    const car_stage *stage = program->stage;
    car_text_format(
        text,
        "static void %s(const car_vector_slot *slots, int units, int row_begin, int row_end,\n"
        "               int block_begin, int block_end) {\n"
        "    const int whole = units / CAR_BLOCK < block_end ? units / CAR_BLOCK : block_end;\n",
        name);
    emit_places(text, stage, false);
    car_text_format(text, "    for (int row = row_begin; row < row_end; row++) {\n");
    emit_before_loop(text, program);
    car_text_format(text, "        for (int block = block_begin; block < whole; block++) {\n");
    emit_block(text, program, name, "CAR_BLOCK", false);
    car_text_format(text, "        }\n        if (whole < block_end) {\n"
                          "            const int block = whole;\n");
    emit_block(text, program, name, "units % CAR_BLOCK", false);
    car_text_format(text, "        }\n    }\n}\n");
}

/* Steps of one row (row.inc): the sums of some blocks, `most` at once, then the program of each, unrolled, so that the sums stay in
 * registers. */
static void emit_row_function(car_text *text, const car_assignments *program, const char *name) {
    const car_stage *stage = program->stage;
    car_text_format(
        text,
        "#if ROW_FUNCTIONS\n"
        "static void %s_row(const car_row_call *restrict call, const car_vector_slot *slots,\n"
        "                   const car_row_range *range) {\n"
        "    enum { sums = %d, most = ROW_MOST(sums) };\n"
        "    row_walk walk = row_walk_of(range);\n",
        name, stage->alone->count);
    emit_places(text, stage, true);
    car_text_format(text, "    for (; walk.steps > 0; row_step(&walk)) {\n"
                          "        const int row = walk.row;\n"
                          "        const row_operands a = row_operands_of(call, range, row);\n");
    emit_before_loop(text, program);
    car_text_format(
        text,
        "        while (walk.begin < walk.end) {\n"
        "            float sum[most * sums][CAR_BLOCK];\n"
        "            const int count = row_count(&walk, most), first = row_take(&walk, count);\n"
        "            row_sums(call, a, row, first, sums, count, sum);\n"
        "            UNROLL\n"
        "            for (int k = 0; k < most; k++) {\n"
        "                if (k >= count)\n"
        "                    continue;\n"
        "                const int block = first + k, kept = row_kept(call->units, block);\n");
    emit_block(text, program, name, "kept", true);
    car_text_format(text, "            }\n        }\n    }\n}\n#endif\n");
}

void car_stage_emit(const car_stage *stage, const char *name, car_text *text) {
    const size_t count = (size_t)stage->program.count;
    car_assignments program = {.stage = stage,
                               .count = stage->program.count,
                               .operands = car_allocate(NULL, count, sizeof *program.operands),
                               .where = car_allocate(NULL, count, 1)};
    if (program.operands && program.where) {
        find_operands(&program);
        find_places(&program);
        emit_body(text, &program, name);
        emit_function(text, &program, name);
        if (car_stage_has_row(stage))
            emit_row_function(text, &program, name);
    } else {
        text->failed = true;
    }
    car_release(NULL, program.operands);
    car_release(NULL, program.where);
}
