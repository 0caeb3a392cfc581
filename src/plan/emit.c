/*
 * emit.c: a vector program as the text of a C function, and the digest by which the compiled function is found.
 *
 * In: a program and which of its slots hold one value a row. Out: a function over rows and blocks that does, vector
 * by vector, the very operations that the interpreter does strip by strip, so that the bits are the same; but what is
 * one value for a whole row (a norm's 1/sqrt) is computed once a row. The text
 * uses the vector type and maths of kernels/ (vector.inc, math.inc) and is compiled once for each CPU level.
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

static bool is_row_value(car_place place) {
    return place.region == CAR_REGION_MEAN || place.region == CAR_REGION_WORK_MEAN;
}

car_program_digest car_stage_digest(const car_stage *stage) {
    uint64_t high = 0x243f6a8885a308d3ull, low = 0x13198a2e03707344ull;
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
        high = mix(high, is_row_value(stage->slots[s]));
        low = mix(low, 2 + is_row_value(stage->slots[s]));
    }
    return (car_program_digest){high, low};
}

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
            car_text_format(text, "v%d", program->operands[k][*++p - '0']);
        else
            car_text_add(text, p, 1);
}

static void emit_assignment(car_text *text, const car_assignments *program, int k) {
    const car_vector_instruction *code = &program->stage->program.code[k];
    car_text_format(text, "const vfloat v%d = ", k);
    if (code->op == CAR_VECTOR_LOAD && is_row_value(program->stage->slots[code->slot]))
        car_text_format(text, "v_of(*s%d)", code->slot);
    else if (code->op == CAR_VECTOR_LOAD)
        car_text_format(text, "v_load(s%d + i)", code->slot);
    else if (code->op == CAR_VECTOR_CONSTANT)
        car_text_format(text, "v_of(%af)", (double)code->value);
    else
        emit_operation(text, program, k);
    car_text_format(text, ";\n");
}

/* `before` and the number of each value that goes from before the loop into it. */
static void emit_passed(car_text *text, const car_assignments *program, const char *before) {
    for (int k = 0; k < program->count; k++)
        if (program->where[k] & PASSED)
            car_text_format(text, "%s%d", before, k);
}

/* One vector of units; kept: how many of the block's 16 units are not padding. */
static void emit_body(car_text *text, const car_assignments *program, const char *name) {
    car_text_format(text, "ALWAYS_INLINE void %s_vector(int i, int kept", name);
    for (int s = 0; s < program->stage->slot_count; s++)
        car_text_format(text, ", float *s%d", s);
    emit_passed(text, program, ", vfloat v");
    car_text_format(text, ") {\n    (void)kept;\n");
    for (int s = 0; s < program->stage->slot_count; s++)
        if (is_row_value(program->stage->slots[s]))
            car_text_format(text, "    (void)s%d;\n", s);
    for (int k = 0; k < program->count; k++) {
        const car_vector_instruction *code = &program->stage->program.code[k];
        if (!(program->where[k] & IN_LOOP))
            continue;
        car_text_format(text, "    ");
        if (code->op == CAR_VECTOR_STORE)
            car_text_format(text, "emitted_store(s%d + i, v%d, i, kept);\n", code->slot,
                            program->operands[k][0]);
        else
            emit_assignment(text, program, k);
    }
    car_text_format(text, "}\n");
}

static void emit_call(car_text *text, const car_assignments *program, const char *name,
                      const char *kept) {
    car_text_format(text,
                    "            for (int i = 0; i < CAR_BLOCK; i += WIDTH)\n"
                    "                %s_vector(i, %s",
                    name, kept);
    for (int s = 0; s < program->stage->slot_count; s++)
        car_text_format(text, ", s%d", s);
    emit_passed(text, program, ", v");
    car_text_format(text, ");\n");
}

static void emit_function(car_text *text, const car_assignments *program, const char *name) {
    const int slots = program->stage->slot_count;
    emit_body(text, program, name);
    car_text_format(
        text,
        "static void %s(const car_vector_slot *slots, int units, int row_begin, int row_end,\n"
        "               int block_begin, int block_end) {\n"
        "    const int whole = units / CAR_BLOCK < block_end ? units / CAR_BLOCK : block_end;\n"
        "    for (int row = row_begin; row < row_end; row++) {\n",
        name);
    for (int s = 0; s < slots; s++)
        car_text_format(text,
                        "        float *s%1$d = slots[%1$d].base + row * slots[%1$d].row_stride + "
                        "block_begin * "
                        "slots[%1$d].block_stride;\n",
                        s);
    for (int k = 0; k < program->count; k++)
        if (program->where[k] & BEFORE_LOOP) {
            car_text_format(text, "        ");
            emit_assignment(text, program, k);
        }
    car_text_format(text, "        for (int block = block_begin; block < whole; block++) {\n");
    emit_call(text, program, name, "CAR_BLOCK");
    for (int s = 0; s < slots; s++)
        car_text_format(text, "            s%1$d += slots[%1$d].block_stride;\n", s);
    car_text_format(text, "        }\n        if (whole < block_end) {\n");
    emit_call(text, program, name, "units % CAR_BLOCK");
    car_text_format(text, "        }\n    }\n}\n");
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
        emit_function(text, &program, name);
    } else {
        text->failed = true;
    }
    car_release(NULL, program.operands);
    car_release(NULL, program.where);
}
