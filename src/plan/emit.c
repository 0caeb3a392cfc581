/*
 * emit.c: a vector program as the text of a C function, and the digest by which the compiled function is found.
 *
 * In: a program and which of its slots hold one value a row. Out: a function over rows and blocks that does, vector
 * by vector, the very operations that the interpreter does strip by strip, so that the bits are the same. The text
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

static void emit_operation(car_text *text, const car_vector_instruction *code) {
    static const char *const formats[CAR_VECTOR_OP_COUNT] = {
        [CAR_VECTOR_ADD] = "r%1$d + r%2$d",
        [CAR_VECTOR_SUBTRACT] = "r%1$d - r%2$d",
        [CAR_VECTOR_MULTIPLY] = "r%1$d * r%2$d",
        [CAR_VECTOR_DIVIDE] = "r%1$d / r%2$d",
        [CAR_VECTOR_FMA] = "v_fma(r%1$d, r%2$d, r%3$d)",
        [CAR_VECTOR_NEGATE] = "-r%1$d",
        [CAR_VECTOR_SIGMOID] = "v_sigmoid(r%1$d)",
        [CAR_VECTOR_TANH] = "v_tanh(r%1$d)",
        [CAR_VECTOR_RELU] = "v_relu(r%1$d)",
        [CAR_VECTOR_EXP] = "v_exp(r%1$d)",
        [CAR_VECTOR_LOG] = "v_log(r%1$d)",
        [CAR_VECTOR_SQRT] = "v_sqrt(r%1$d)",
        [CAR_VECTOR_SOFTPLUS] = "v_softplus(r%1$d)",
        [CAR_VECTOR_ABS] = "v_abs(r%1$d)",
        [CAR_VECTOR_MAX] = "v_max(r%1$d, r%2$d)",
        [CAR_VECTOR_MIN] = "v_min(r%1$d, r%2$d)",
        [CAR_VECTOR_GREATER] = "v_select(v_less(r%2$d, r%1$d), v_of(1.0f), v_zero())",
        [CAR_VECTOR_SIGMOID_GRADIENT] = "r%1$d * (r%2$d * (v_of(1.0f) - r%2$d))",
        [CAR_VECTOR_TANH_GRADIENT] = "r%1$d * v_fma(-r%2$d, r%2$d, v_of(1.0f))",
    };
    const char *format = formats[code->op];
    const int operands[4] = {0, code->a, code->b, code->c};
    for (const char *p = format; *p; p++) {
        if (*p != '%') {
            car_text_add(text, p, 1);
            continue;
        }
        car_text_format(text, "%d", operands[p[1] - '0']);
        p += 3;
    }
}

static void emit_instruction(car_text *text, const car_stage *stage,
                             const car_vector_instruction *code) {
    car_text_format(text, "    ");
    if (code->op == CAR_VECTOR_STORE) {
        car_text_format(text, "emitted_store(s%d + i, r%d, i, kept);\n", code->slot, code->a);
        return;
    }
    car_text_format(text, "r%d = ", code->out);
    if (code->op == CAR_VECTOR_LOAD && is_row_value(stage->slots[code->slot]))
        car_text_format(text, "v_of(*s%d)", code->slot);
    else if (code->op == CAR_VECTOR_LOAD)
        car_text_format(text, "v_load(s%d + i)", code->slot);
    else if (code->op == CAR_VECTOR_CONSTANT)
        car_text_format(text, "v_of(%af)", (double)code->value);
    else
        emit_operation(text, code);
    car_text_format(text, ";\n");
}

/* One vector of units; kept: how many of the block's 16 units are not padding. */
static void emit_body(car_text *text, const car_stage *stage, const char *name) {
    car_text_format(text, "ALWAYS_INLINE void %s_vector(int i, int kept", name);
    for (int s = 0; s < stage->slot_count; s++)
        car_text_format(text, ", float *s%d", s);
    car_text_format(text, ") {\n    vfloat ");
    for (int r = 0; r < stage->program.registers; r++)
        car_text_format(text, "%sr%d", r ? ", " : "", r);
    car_text_format(text, ";\n    (void)kept;\n");
    for (int k = 0; k < stage->program.count; k++)
        emit_instruction(text, stage, &stage->program.code[k]);
    car_text_format(text, "}\n");
}

static void emit_call(car_text *text, const car_stage *stage, const char *name, const char *kept) {
    car_text_format(text,
                    "            for (int i = 0; i < CAR_BLOCK; i += WIDTH)\n"
                    "                %s_vector(i, %s",
                    name, kept);
    for (int s = 0; s < stage->slot_count; s++)
        car_text_format(text, ", s%d", s);
    car_text_format(text, ");\n");
}

void car_stage_emit(const car_stage *stage, const char *name, car_text *text) {
    emit_body(text, stage, name);
    car_text_format(
        text,
        "static void %s(const car_vector_slot *slots, int units, int row_begin, int row_end,\n"
        "               int block_begin, int block_end) {\n"
        "    const int whole = units / CAR_BLOCK < block_end ? units / CAR_BLOCK : block_end;\n"
        "    for (int row = row_begin; row < row_end; row++) {\n",
        name);
    for (int s = 0; s < stage->slot_count; s++)
        car_text_format(text,
                        "        float *s%1$d = slots[%1$d].base + row * slots[%1$d].row_stride + "
                        "block_begin * "
                        "slots[%1$d].block_stride;\n",
                        s);
    car_text_format(text, "        for (int block = block_begin; block < whole; block++) {\n");
    emit_call(text, stage, name, "CAR_BLOCK");
    for (int s = 0; s < stage->slot_count; s++)
        car_text_format(text, "            s%1$d += slots[%1$d].block_stride;\n", s);
    car_text_format(text, "        }\n        if (whole < block_end) {\n");
    emit_call(text, stage, name, "units % CAR_BLOCK");
    car_text_format(text, "        }\n    }\n}\n");
}
