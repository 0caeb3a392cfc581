/*
 * plain: the jobs of the table as plain scalar loops, written to be read and to be tested against.
 *
 * In and out: as kernels.h says of each function. Maths is libm's in double, rounded once; sums that promise
 * an order keep it, the others run in double.
 */
#include "plain.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* a[row][k]. */
static float plain_left(const car_product *product, int row, int k) {
    const int64_t step = product->a_depth_stride ? product->a_depth_stride : 1;
    return product
        ->a[row * product->a_row_stride + k / product->part_length * product->part_stride +
            k % product->part_length * step];
}

/* What a sum of a block begins with, which stands at c. */
static float plain_start(const car_product *product, const car_product_block *block, int lane,
                         const float *c) {
    return block->initial == CAR_FROM_C      ? *c
           : block->initial == CAR_FROM_ZERO ? 0.0f
                                             : product->initial[block->initial + lane];
}

static void plain_product(const car_product *product, float *scratch, int row_begin, int row_end,
                          int block_begin, int block_end) {
    if (product->before)
        plain_product(product->before, scratch, row_begin, row_end, block_begin, block_end);
    const int depth = product->parts * product->part_length;
    const bool packed = product->panel_row_stride == 0;
    const int64_t panel_row = packed ? CAR_PANEL : product->panel_row_stride;
    const int64_t panel_stride = packed ? (int64_t)depth * CAR_PANEL : CAR_PANEL;
    for (int row = row_begin; row < row_end; row++)
        for (int column = block_begin * CAR_BLOCK; column < block_end * CAR_BLOCK; column++) {
            const car_product_block *block = &product->block[column / CAR_BLOCK];
            const int lane = column % CAR_BLOCK;
            const float *panel = product->panels + column / CAR_PANEL * panel_stride;
            float *c = product->c + row * product->c_row_stride + block->c + lane;
            float sum = plain_start(product, block, lane, c);
            for (int k = 0; k < depth; k++)
                sum = fmaf(plain_left(product, row, k), panel[k * panel_row + column % CAR_PANEL],
                           sum);
            *c = sum;
        }
}

/* The nearest bf16 as a float: ties to even, NaN kept, subnormals 0. */
static float plain_bf16(float x) {
    uint32_t bits;
    if (fabsf(x) < 0x1p-126f)
        return copysignf(0.0f, x);
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x))
        bits |= 0x00400000u;
    else
        bits += 0x7fffu + (bits >> 16 & 1u);
    bits &= 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Value `half` (0 or 1) of the pair that stands at `pair`. */
static float plain_half(const float *pair, int half) {
    uint32_t bits;
    float x;
    memcpy(&bits, pair, sizeof bits);
    bits = half ? bits << 16 : bits & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void plain_set_half(float *pair, int half, float x) {
    uint32_t bits, other;
    x = plain_bf16(x);
    memcpy(&bits, &x, sizeof bits);
    memcpy(&other, pair, sizeof other);
    bits = half ? (other & 0xffff0000u) | bits >> 16 : (other & 0xffffu) | bits;
    memcpy(pair, &bits, sizeof bits);
}

static void plain_product_bf16(const car_product *product, float *scratch, int row_begin,
                               int row_end, int block_begin, int block_end) {
    if (product->before)
        plain_product_bf16(product->before, scratch, row_begin, row_end, block_begin, block_end);
    const int depth = product->parts * product->part_length;
    for (int row = row_begin; row < row_end; row++)
        for (int column = block_begin * CAR_BLOCK; column < block_end * CAR_BLOCK; column++) {
            const car_product_block *block = &product->block[column / CAR_BLOCK];
            const int lane = column % CAR_BLOCK;
            const float *panel = product->panels +
                                 (int64_t)(column / CAR_PANEL) * car_pairs(depth) * CAR_PANEL +
                                 column % CAR_PANEL;
            float *c = product->c + row * product->c_row_stride + block->c + lane;
            float sum = plain_start(product, block, lane, c);
            for (int k = 0; k < depth; k++)
                sum = fmaf(plain_bf16(plain_left(product, row, k)),
                           plain_half(panel + (int64_t)(k / 2) * CAR_PANEL, k % 2), sum);
            *c = sum;
        }
}

static void plain_product_tiles(const car_product *product, float *scratch, int row_begin,
                                int row_end, int block_begin, int block_end) {
    (void)scratch;
    enum { TILE = 32 };
    const int depth = product->parts * product->part_length;
    for (int row = row_begin; row < row_end; row++)
        for (int column = block_begin * CAR_BLOCK; column < block_end * CAR_BLOCK; column++) {
            const car_product_block *block = &product->block[column / CAR_BLOCK];
            const int lane = column % CAR_BLOCK;
            const float *panel = product->panels +
                                 (int64_t)(column / CAR_PANEL) * car_pairs(depth) * CAR_PANEL +
                                 column % CAR_PANEL;
            float *c = product->c + row * product->c_row_stride + block->c + lane;
            float sum = plain_start(product, block, lane, c);
            for (int tile = 0; tile < depth; tile += TILE) {
                float chain[2] = {0};
                for (int k = tile; k < depth && k < tile + TILE; k++)
                    chain[k % 2] =
                        fmaf(plain_bf16(plain_left(product, row, k)),
                             plain_half(panel + (int64_t)(k / 2) * CAR_PANEL, k % 2), chain[k % 2]);
                sum += chain[0] + chain[1];
            }
            *c = sum;
        }
}

/* Half of the last place goes up; the third part is cut. */
static void plain_split(float x, float part[3]) {
    for (int i = 0; i < 3; i++) {
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        bits = (bits + (i < 2 ? 0x8000u : 0)) & 0xffff0000u;
        memcpy(&part[i], &bits, sizeof bits);
        x -= part[i];
    }
}

/* x as AMX reads it: a subnormal is 0. */
static float plain_normal(float x) {
    return fabsf(x) < FLT_MIN ? 0.0f : x;
}

/* What the values [begin, end) of k, 32 of them at most, add to a sum by part i of a and part j of a panel. */
static float plain_split_step(const car_product *product, int row, int column, int begin, int end,
                              int i, int j) {
    const int64_t depth = (int64_t)product->parts * product->part_length;
    const float *panel =
        product->panels + column / CAR_PANEL * depth * CAR_PANEL + column % CAR_PANEL;
    float chain[2] = {0};
    for (int k = begin; k < end; k++) {
        float a[3], b[3];
        plain_split(plain_left(product, row, k), a);
        plain_split(panel[(int64_t)k * CAR_PANEL], b);
        float *sum = &chain[(k - begin) / 16];
        *sum = fmaf(plain_normal(a[i]), plain_normal(b[j]), *sum);
    }
    return chain[0] + chain[1];
}

static void plain_product_split(const car_product *product, float *scratch, int row_begin,
                                int row_end, int block_begin, int block_end) {
    (void)scratch;
    enum { TILE = 32, STEPS = 6 };
    static const int parts[STEPS][2] = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}};
    const int depth = product->parts * product->part_length;
    for (int row = row_begin; row < row_end; row++)
        for (int column = block_begin * CAR_BLOCK; column < block_end * CAR_BLOCK; column++) {
            const car_product_block *block = &product->block[column / CAR_BLOCK];
            const int lane = column % CAR_BLOCK;
            float *c = product->c + row * product->c_row_stride + block->c + lane;
            float sum = plain_start(product, block, lane, c);
            for (int k = 0; k < depth; k += TILE)
                for (int step = 0; step < STEPS; step++)
                    sum += plain_split_step(product, row, column, k,
                                            k + TILE < depth ? k + TILE : depth, parts[step][0],
                                            parts[step][1]);
            *c = sum;
        }
}

static void plain_pack_pairs(const float *source, int64_t source_row_stride, int rows,
                             const car_product_block *block, int blocks, float *panels,
                             int block_begin, int block_end) {
    for (int i = block_begin; i < block_end && i < blocks; i++)
        for (int k = 0; k < 2 * car_pairs(rows); k++)
            for (int lane = 0; lane < CAR_BLOCK; lane++)
                plain_set_half(&panels[((int64_t)(i / CAR_PANEL_BLOCKS) * car_pairs(rows) + k / 2) *
                                           CAR_PANEL +
                                       i % CAR_PANEL_BLOCKS * CAR_BLOCK + lane],
                               k % 2,
                               k < rows ? source[k * source_row_stride + block[i].c + lane] : 0.0f);
}

static void plain_transpose_pairs(const float *a, int64_t a_row_stride, int first, int rows,
                                  int columns, float *out, int64_t out_row_stride) {
    for (int column = 0; column < columns; column++)
        for (int row = 0; row < rows; row++)
            plain_set_half(
                &out[column / 2 * out_row_stride + row], column % 2,
                plain_half(&a[(first + row) / 2 * a_row_stride + column], (first + row) % 2));
}

static car_integer_scale plain_row_scale(const car_product *product, int row) {
    float largest = 0.0f;
    for (int k = 0; k < product->parts * product->part_length; k++) {
        float size = fabsf(plain_left(product, row, k));
        if (!isfinite(size))
            return (car_integer_scale){NAN, 0.0f};
        largest = size > largest ? size : largest;
    }
    return car_integer_scale_of(product->bounded ? 1.0f : largest);
}

static int plain_whole(float x) {
    const float most = CAR_INTEGER_MOST;
    return (int)rintf(x > most ? most : x < -most ? -most : x);
}

static void plain_product_int8(const car_product *product, float *scratch, int row_begin,
                               int row_end, int block_begin, int block_end) {
    (void)scratch;
    const int depth = product->parts * product->part_length;
    const int panels = (product->blocks + CAR_PANEL_BLOCKS - 1) / CAR_PANEL_BLOCKS;
    const int64_t panel_floats = (int64_t)car_quads(depth) * CAR_PANEL;
    const float *scales = product->panels + panels * panel_floats;
    for (int row = row_begin; row < row_end; row++) {
        const car_integer_scale scale = plain_row_scale(product, row);
        for (int column = block_begin * CAR_BLOCK; column < block_end * CAR_BLOCK; column++) {
            const car_product_block *block = &product->block[column / CAR_BLOCK];
            const int lane = column % CAR_BLOCK;
            const int8_t *panel =
                (const int8_t *)(product->panels + column / CAR_PANEL * panel_floats);
            float *c = product->c + row * product->c_row_stride + block->c + lane;
            const float start = plain_start(product, block, lane, c);
            int64_t sum = 0;
            for (int k = 0; k < depth; k++)
                sum += (int64_t)plain_whole(plain_left(product, row, k) * scale.factor) *
                       panel[car_quad_place(k, column % CAR_PANEL)];
            *c = fmaf((float)sum, scale.scale * scales[column], start);
        }
    }
}

static void plain_pack_rows(const float *source, int64_t source_row_stride, int rows,
                            const car_product_block *block, int blocks, float *panels,
                            int block_begin, int block_end) {
    for (int i = block_begin; i < block_end && i < blocks; i++)
        for (int k = 0; k < rows; k++)
            for (int lane = 0; lane < CAR_BLOCK; lane++)
                panels[(int64_t)(i / CAR_PANEL_BLOCKS) * rows * CAR_PANEL + k * CAR_PANEL +
                       i % CAR_PANEL_BLOCKS * CAR_BLOCK + lane] =
                    source[k * source_row_stride + block[i].c + lane];
}

static void plain_transpose(const float *a, int64_t a_row_stride, int rows, int columns, float *out,
                            int64_t out_row_stride) {
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++)
            out[column * out_row_stride + row] = a[row * a_row_stride + column];
}

static double plain_softplus(double x) {
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* One operation on one unit. */
static float plain_operation(car_vector_op op, float a, float b, float c) {
    switch (op) {
    case CAR_VECTOR_ADD:
        return a + b;
    case CAR_VECTOR_SUBTRACT:
        return a - b;
    case CAR_VECTOR_MULTIPLY:
        return a * b;
    case CAR_VECTOR_DIVIDE:
        return a / b;
    case CAR_VECTOR_FMA:
        return fmaf(a, b, c);
    case CAR_VECTOR_NEGATE:
        return -a;
    case CAR_VECTOR_SIGMOID:
        return (float)(1.0 / (1.0 + exp(-(double)a)));
    case CAR_VECTOR_TANH:
        return (float)tanh((double)a);
    case CAR_VECTOR_RELU:
        return 0.0f > a ? 0.0f : a;
    case CAR_VECTOR_EXP:
        return (float)exp((double)a);
    case CAR_VECTOR_LOG:
        return (float)log((double)a);
    case CAR_VECTOR_SQRT:
        return sqrtf(a);
    case CAR_VECTOR_SOFTPLUS:
        return (float)plain_softplus((double)a);
    case CAR_VECTOR_ABS:
        return fabsf(a);
    case CAR_VECTOR_MAX:
        return a > b ? a : b;
    case CAR_VECTOR_MIN:
        return a < b ? a : b;
    case CAR_VECTOR_GREATER:
        return a > b ? 1.0f : 0.0f;
    case CAR_VECTOR_SIGMOID_GRADIENT:
        return a * (b * (1.0f - b));
    case CAR_VECTOR_TANH_GRADIENT:
        return a * fmaf(-b, b, 1.0f);
    case CAR_VECTOR_LOAD:
    case CAR_VECTOR_STORE:
    case CAR_VECTOR_CONSTANT:
    case CAR_VECTOR_OP_COUNT:
        break;
    }
    return 0.0f;
}

static float *slot_at(car_vector_slot slot, int row, int unit) {
    float *at = slot.base + row * slot.row_stride;
    return slot.block_stride == 0 ? at
                                  : at + unit / CAR_BLOCK * slot.block_stride + unit % CAR_BLOCK;
}

static void plain_program(const car_vector_program *program, const car_vector_slot *slots,
                          int units, int row_begin, int row_end, int block_begin, int block_end) {
    for (int row = row_begin; row < row_end; row++)
        for (int unit = block_begin * CAR_BLOCK; unit < block_end * CAR_BLOCK; unit++) {
            float registers[CAR_VECTOR_REGISTERS] = {0};
            for (int i = 0; i < program->count; i++) {
                const car_vector_instruction *code = &program->code[i];
                float a = registers[code->a], b = registers[code->b], c = registers[code->c];
                if (code->op == CAR_VECTOR_LOAD)
                    registers[code->out] = *slot_at(slots[code->slot], row, unit);
                else if (code->op == CAR_VECTOR_STORE)
                    *slot_at(slots[code->slot], row, unit) = unit < units ? a : 0.0f;
                else if (code->op == CAR_VECTOR_CONSTANT)
                    registers[code->out] = code->value;
                else
                    registers[code->out] = plain_operation((car_vector_op)code->op, a, b, c);
            }
        }
}

/* The mean of a row, each unit times its weight, or of its squared deviations from `center`. */
static float plain_mean(const car_vector_slot *source, int units, int row, const float *weight,
                        const float *center) {
    float lane[CAR_BLOCK] = {0};
    for (int unit = 0; unit < units; unit++) {
        const float x = *slot_at(*source, row, unit) * (weight ? weight[unit] : 1.0f);
        const float deviation = center ? x - *center : 0.0f;
        lane[unit % CAR_BLOCK] += center ? deviation * deviation : x;
    }
    for (int half = CAR_BLOCK / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0] / (float)units;
}

static void plain_row_mean(const car_vector_slot *source, int units, int row_begin, int row_end,
                           const car_row_means *out) {
    for (int row = row_begin; row < row_end; row++) {
        const int64_t at = row * out->stride;
        const float mean = out->mean ? plain_mean(source, units, row, out->weight, NULL) : 0.0f;
        if (out->mean)
            out->mean[at] = mean;
        if (!out->variance)
            continue;
        out->variance[at] = plain_mean(source, units, row, out->weight, &mean);
        if (out->inverse)
            out->inverse[at] = 1.0f / sqrtf(out->variance[at] + out->epsilon);
    }
}

static void plain_column_sum(const car_vector_slot *source, int rows, int block_begin,
                             int block_end, float *sum, bool from_zero) {
    for (int unit = block_begin * CAR_BLOCK; unit < block_end * CAR_BLOCK; unit++) {
        float total = from_zero ? 0.0f : sum[unit];
        for (int row = 0; row < rows; row++)
            total += *slot_at(*source, row, unit);
        sum[unit] = total;
    }
}

/* The largest value and the sum of exp((x - max) / temperature). */
static double plain_exponentials(const float *x, int classes, double temperature, double *max) {
    *max = -INFINITY;
    for (int i = 0; i < classes; i++)
        *max = x[i] > *max ? x[i] : *max;
    double sum = 0.0;
    for (int i = 0; i < classes; i++)
        sum += exp((x[i] - *max) / temperature);
    return sum;
}

static void plain_softmax_row(float *x, int classes, double temperature) {
    double max, sum = plain_exponentials(x, classes, temperature, &max);
    for (int i = 0; i < car_padded(classes); i++)
        x[i] = i < classes ? (float)(exp((x[i] - max) / temperature) / sum) : 0.0f;
}

static void plain_softmax(float *logits, int64_t row_stride, int classes, float temperature,
                          int row_begin, int row_end) {
    for (int row = row_begin; row < row_end; row++)
        plain_softmax_row(logits + row * row_stride, classes, (double)temperature);
}

static void plain_softmax_loss(float *logits, int64_t row_stride, int classes,
                               const int32_t *targets, float scale, bool gradient, float *loss,
                               int row_begin, int row_end) {
    for (int row = row_begin; row < row_end; row++) {
        float *x = logits + row * row_stride;
        const int32_t target = targets[row];
        double max, sum = plain_exponentials(x, classes, 1.0, &max);
        loss[row] = target < 0 ? 0.0f : (float)(max + log(sum) - x[target]);
        if (!gradient)
            continue;
        plain_softmax_row(x, classes, 1.0);
        for (int i = 0; i < classes; i++)
            x[i] = target < 0 ? 0.0f : scale * (x[i] - (i == target ? 1.0f : 0.0f));
    }
}

static double plain_square_sum(const float *x, size_t count) {
    double lane[CAR_BLOCK] = {0};
    for (size_t i = 0; i < count; i++)
        lane[i % CAR_BLOCK] += (double)x[i] * (double)x[i];
    for (int half = CAR_BLOCK / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

static double plain_quotient(double a, double b) {
    return a == 0.0 ? 0.0 : a / b;
}

static void plain_update(const car_update *update, size_t begin, size_t end) {
    const double rate = update->rate, beta1 = update->beta1, beta2 = update->beta2;
    for (size_t i = begin; i < end; i++) {
        double w = update->weights[i], g = update->gradient[i] * (double)update->gradient_scale;
        if (update->clip_value > 0.0f)
            g = fmax(-update->clip_value, fmin(update->clip_value, g));
        if (update->kind == CAR_OPTIMIZER_ADAMW)
            w -= rate * update->decay * w;
        else
            g += update->decay * w;
        double first = update->first ? update->first[i] : 0.0;
        double second = update->second ? update->second[i] : 0.0;
        if (update->kind == CAR_OPTIMIZER_SGD) {
            first = update->momentum * first + g;
            w -= rate * first;
        } else {
            second = beta2 * second + (1.0 - beta2) * g * g;
            double size = sqrt(second) + update->epsilon, step = g;
            if (update->kind != CAR_OPTIMIZER_RMSPROP) {
                first = beta1 * first + (1.0 - beta1) * g;
                step = first / update->correction1;
                size = sqrt(second / update->correction2) + update->epsilon;
            }
            w -= rate * plain_quotient(step, size);
        }
        update->weights[i] = (float)w;
        if (update->first)
            update->first[i] = (float)first;
        if (update->second)
            update->second[i] = (float)second;
    }
}

static void plain_add(float *out, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++)
        out[i] += x[i];
}

static void plain_multiply(float *out, const float *x, const float *mask, size_t count) {
    for (size_t i = 0; i < count; i++)
        out[i] = x[i] * mask[i];
}

static void plain_dropout_mask(car_random_key key, uint64_t time, uint64_t lane, float probability,
                               int units, float *mask) {
    for (int unit = 0; unit < car_padded(units); unit++) {
        uint32_t four[4];
        car_random_block(key, time, (lane << 32) + (uint64_t)unit / 4, four);
        float uniform = (float)(four[unit % 4] >> 8) * 0x1p-24f;
        mask[unit] = unit >= units || uniform < probability ? 0.0f : 1.0f / (1.0f - probability);
    }
}

static void plain_orthonormalize(double *rows, size_t count, size_t length) {
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j <= i; j++) {
            double along = 0, *row = rows + i * length, *above = rows + j * length;
            for (size_t k = 0; k < length; k++)
                along += row[k] * above[k];
            for (size_t k = 0; k < length; k++)
                row[k] = j < i ? row[k] - along * above[k] : row[k] / sqrt(along);
        }
}

static void plain_map(car_vector_op op, const float *x, float *out, size_t count) {
    for (size_t i = 0; i < count; i++)
        out[i] = plain_operation(op, x[i], 0.0f, 0.0f);
}

static bool plain_all_finite(const float *x, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

const car_kernels car_kernels_plain = {.level = CAR_CPU_BASELINE,
                                       .name = "plain",
                                       .product = plain_product,
                                       .pack_rows = plain_pack_rows,
                                       .product_bf16 = plain_product_bf16,
                                       .product_tiles = plain_product_tiles,
                                       .product_split = plain_product_split,
                                       .pack_pairs = plain_pack_pairs,
                                       .product_int8 = plain_product_int8,
                                       .transpose = plain_transpose,
                                       .transpose_pairs = plain_transpose_pairs,
                                       .program = plain_program,
                                       .row_mean = plain_row_mean,
                                       .column_sum = plain_column_sum,
                                       .softmax_loss = plain_softmax_loss,
                                       .softmax = plain_softmax,
                                       .square_sum = plain_square_sum,
                                       .update = plain_update,
                                       .add = plain_add,
                                       .multiply = plain_multiply,
                                       .dropout_mask = plain_dropout_mask,
                                       .orthonormalize = plain_orthonormalize,
                                       .map = plain_map,
                                       .all_finite = plain_all_finite};
