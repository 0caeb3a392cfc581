/*
 * amx_split: products of floats by the matrix tiles of AMX, which multiply bf16 alone.
 *
 * In:  a car_product of f32 with a_depth_stride 1, and the part of it to do. Out: that part of c.
 *
 *   x = x[0] + x[1] + x[2], exactly: x[0] is x rounded to a bf16, x[1] what is left rounded to one, x[2] what is left of that
 *   for every 32 values of k and (i, j) = (2,0) (1,0) (1,1) (0,1) (0,2) (0,0):
 *     c += (chain of fma over the first 16 a[i][k] * b[j][k], from 0) + (chain over the other 16)
 *
 * The three products that are left out, (1,2) (2,1) (2,2), are each below 2^-24 of a * b, as is the rounding of one fma; a chain
 * of fma rounds once for each k, this one six times for 32. The order depends on K alone, so that rows, panels, groups and
 * threads never change a bit. Held against plain loops in tests/test_split.c. What is infinite, NaN or beyond
 * 3.39e38, where no bf16 is, makes its sums NaN; subnormal parts count as 0, as in all of AMX.
 *
 * A pair of a tile holds the values k and k+16 of both operands, so that vectors of a row of a, and rows of a panel, are paired as
 * they lie. A group of rows of a and two panels are split at a time, and of K a piece, so that their parts stay in the
 * second-level cache; a panel is split anew for each group. While one panel meets the rows, the next one is split between the
 * products of its tiles: these take 16 cycles an instruction, behind which vectors and their way from the last-level cache hide.
 */
#include "amx.h"

#include "amx.inc"

enum { PARTS = 3, PRODUCTS = 6, PANEL_TILE = TILE_PAIRS * CAR_PANEL };

/* 16 floats as three bf16 in the upper halves, the lower halves 0. Half of the last place goes up: what is left is exact
 * either way. The last part is cut, so that a NaN stays one. */
typedef struct split_vector {
    vuint part[PARTS];
} split_vector;

ALWAYS_INLINE vuint nearest_upper(vfloat x) {
    return ((vuint)x + 0x8000u) & 0xffff0000u;
}

ALWAYS_INLINE split_vector split(vfloat x) {
    split_vector out;
    out.part[0] = nearest_upper(x);
    x -= (vfloat)out.part[0];
    out.part[1] = nearest_upper(x);
    x -= (vfloat)out.part[1];
    out.part[2] = (vuint)x & 0xffff0000u;
    return out;
}

/* The parts of k and k+16 as pairs, `apart` floats between them. */
ALWAYS_INLINE void store_pairs(vfloat first, vfloat second, float *to, int apart) {
    const split_vector upper = split(first), lower = split(second);
    UNROLL
    for (int i = 0; i < PARTS; i++)
        v_store(to + i * apart, (vfloat)(upper.part[i] | lower.part[i] >> 16));
}

/* ---- Operands, split -------------------------------------------------------------------------------------- */

/* k of one chunk, whole tiles but at the end of K. */
typedef struct depth_chunk {
    int begin, tiles, end;
} depth_chunk;

/* Rows [begin, end) of a as tiles [tiles of k][parts][16][16 pairs]. */
static void split_rows(const car_product *product, int begin, int end, depth_chunk chunk,
                       float *to) {
    for (int row = begin; row < end; row++, to += TILE_PAIRS) {
        const float *from = product->a + row * product->a_row_stride;
        float *tile = to;
        int k = chunk.begin;
        if (product->parts == 1)
            for (; k + TILE_VALUES <= chunk.end; k += TILE_VALUES, tile += PARTS * TILE_FLOATS)
                store_pairs(v_load(from + k), v_load(from + k + CAR_BLOCK), tile, TILE_FLOATS);
        for (; k < chunk.end; k += TILE_VALUES, tile += PARTS * TILE_FLOATS)
            store_pairs(half_of(product, from, k, chunk.end),
                        half_of(product, from, k + CAR_BLOCK, chunk.end), tile, TILE_FLOATS);
    }
}

/* Blocks of a panel on their way into tiles [tiles of k][parts][16 pairs][64]: what is done next. */
typedef struct panel_split {
    const float *from; /* row 0 of the panel */
    float *to;         /* this tile of k */
    int k, pair;       /* its first k, and its pair */
    int end, blocks;   /* of k; side by side */
    int turns;         /* after which a whole tile of k is due */
    int due;           /* pairs that are, times turns */
} panel_split;

/* A row of pairs: k and k+16 of all blocks. */
ALWAYS_INLINE void split_row_of_pairs(panel_split *split) {
    const float *first = split->from + (int64_t)(split->k + split->pair) * CAR_PANEL,
                *second = first + TILE_PAIRS * CAR_PANEL;
    float *to = split->to + split->pair * CAR_PANEL;
    const int left = split->end - split->k - split->pair;
    if (left > TILE_PAIRS && split->blocks == CAR_PANEL_BLOCKS) {
        UNROLL
        for (int at = 0; at < CAR_PANEL; at += CAR_BLOCK)
            store_pairs(v_load(first + at), v_load(second + at), to + at, PANEL_TILE);
    } else {
        for (int at = 0; at < split->blocks * CAR_BLOCK; at += CAR_BLOCK)
            store_pairs(left > 0 ? v_load(first + at) : v_of(0.0f),
                        left > TILE_PAIRS ? v_load(second + at) : v_of(0.0f), to + at, PANEL_TILE);
    }
    if (++split->pair < TILE_PAIRS)
        return;
    split->pair = 0;
    split->k += TILE_VALUES;
    split->to += PARTS * PANEL_TILE;
}

static void split_all(panel_split *split) {
    while (split->k < split->end)
        split_row_of_pairs(split);
}

/* What is due at this turn. */
ALWAYS_INLINE void split_some(panel_split *split) {
    for (split->due += TILE_PAIRS; split->due >= split->turns; split->due -= split->turns)
        if (split->k < split->end)
            split_row_of_pairs(split);
}

/* ---- Tiles of c ------------------------------------------------------------------------------------------- */

/* What 32 values of k add, PRODUCTS turns. From product to product one operand stays. */
ALWAYS_INLINE void tile_step(bool lower, bool right, const float *upper_a, const float *lower_a,
                             const float *panel, panel_split *ahead) {
    load_a(lower, upper_a + 2 * TILE_FLOATS, lower_a + 2 * TILE_FLOATS);
    load_panel(right, panel);
    multiply(lower, right);
    split_some(ahead);
    load_a(lower, upper_a + TILE_FLOATS, lower_a + TILE_FLOATS);
    multiply(lower, right);
    split_some(ahead);
    load_panel(right, panel + PANEL_TILE);
    multiply(lower, right);
    split_some(ahead);
    load_a(lower, upper_a, lower_a);
    multiply(lower, right);
    split_some(ahead);
    load_panel(right, panel + 2 * PANEL_TILE);
    multiply(lower, right);
    split_some(ahead);
    load_panel(right, panel);
    multiply(lower, right);
    split_some(ahead);
}

/* What all tiles of a chunk of K share. */
typedef struct chunk_work {
    const car_product *product;
    depth_chunk chunk;
    bool goes_on;       /* from the chunk before */
    int row_end;        /* of the group */
    panel_split *ahead; /* the panel that comes next */
} chunk_work;

/* c of up to two tiles of rows and up to two blocks of a panel. */
ALWAYS_INLINE void tile_product(bool lower, bool right, const chunk_work *work,
                                const car_product_block *block, const tile_rows *rows,
                                const float *panel) {
    const float *upper_a = rows->a[0], *lower_a = rows->a[1];
    load_sums(lower, right, work->product, block, rows, work->goes_on);
    output_lines lines =
        lines_below(work->product, block, right, rows, work->row_end, work->chunk.tiles);
    for (int k = 0; k < work->chunk.tiles; k++, panel += PARTS * PANEL_TILE) {
        fetch_outputs(&lines);
        tile_step(lower, right, upper_a, lower_a, panel, work->ahead);
        upper_a += PARTS * TILE_FLOATS;
        lower_a += PARTS * TILE_FLOATS;
    }
    store_sums(lower, right, work->product, block, rows);
}

static void dispatch(const chunk_work *work, const car_product_block *block, bool right,
                     const tile_rows *rows, const float *panel) {
    if (rows->lower > 0 && right)
        tile_product(true, true, work, block, rows, panel);
    else if (rows->lower > 0)
        tile_product(true, false, work, block, rows, panel);
    else if (right)
        tile_product(false, true, work, block, rows, panel);
    else
        tile_product(false, false, work, block, rows, panel);
}

/* ---- Panels and groups of rows ------------------------------------------------------------------------------ */

/* `count` pairs of tiles of rows, all of one shape, against some blocks of a panel. */
static void sweep(const chunk_work *work, tile_rows rows, int count, int64_t a_step,
                  const float *panel, int block_begin, int block_end) {
    shape_tiles(rows.upper, rows.lower);
    for (int block = block_begin; block < block_end; block += 2) {
        const float *at = panel + block % CAR_PANEL_BLOCKS * CAR_BLOCK;
        tile_rows two = rows;
        for (int i = 0; i < count; i++, pass_pair(&two, a_step))
            dispatch(work, &work->product->block[block], block + 1 < block_end, &two, at);
    }
}

/* The blocks from `block` to the end of its panel, or to block_end, to be split into `to`. */
static panel_split split_of(const chunk_work *work, int block, int block_end, float *to) {
    const car_product *product = work->product;
    const int64_t depth = (int64_t)product->parts * product->part_length;
    const int inside = block % CAR_PANEL_BLOCKS, left = CAR_PANEL_BLOCKS - inside;
    return (panel_split){.from = product->panels + block / CAR_PANEL_BLOCKS * depth * CAR_PANEL +
                                 inside * CAR_BLOCK,
                         .to = to + inside * CAR_BLOCK,
                         .k = work->chunk.begin,
                         .end = work->chunk.end,
                         .blocks = block_end - block < left ? block_end - block : left};
}

/* The rows of a group against some blocks of a panel that stands split. */
static void panel_of_group(const chunk_work *work, const row_group *group, const float *panel,
                           int block_begin, int block_end) {
    if (group->full)
        sweep(work, full_rows(group), group->full, group->a_step, panel, block_begin, block_end);
    if (group->upper)
        sweep(work, last_rows(group), 1, group->a_step, panel, block_begin, block_end);
}

/* panel: scratch for two of them. */
static void panels_of_group(const chunk_work *work, const row_group *group, float *const panel[2],
                            int block_begin, int block_end) {
    const int pairs = group->full + (group->upper > 0);
    panel_split *ahead = work->ahead;
    *ahead = split_of(work, block_begin, block_end, panel[0]);
    split_all(ahead);
    for (int block = block_begin, turn = 0, end; block < block_end; block = end, turn ^= 1) {
        end = block + ahead->blocks;
        if (end < block_end)
            *ahead = split_of(work, end, block_end, panel[turn ^ 1]);
        ahead->turns = PRODUCTS * pairs * ((end - block + 1) / 2);
        panel_of_group(work, group, panel[turn], block, end);
        split_all(ahead);
    }
}

/* Rows of a group against some blocks, one piece of K after the other. */
static void product_of_group(const car_product *product, float *scratch, int row_begin, int row_end,
                             int block_begin, int block_end) {
    const int depth = product->parts * product->part_length;
    const int tiles = (depth + TILE_VALUES - 1) / TILE_VALUES;
    const int limit = car_split_depth(row_end - row_begin);
    const int pieces = depth ? (depth + limit - 1) / limit : 1; /* alike */
    const int most = (tiles + pieces - 1) / pieces;
    float *const panel[2] = {scratch, scratch + most * PARTS * PANEL_TILE};
    float *const a = scratch + 2 * most * PARTS * PANEL_TILE;
    for (int piece = 0; piece < pieces; piece++) {
        const int tile = piece * most, k = tile * TILE_VALUES,
                  count = tiles - tile < most ? tiles - tile : most, last = k + count * TILE_VALUES;
        panel_split ahead;
        const chunk_work work = {
            product, {k, count, last < depth ? last : depth}, tile > 0, row_end, &ahead};
        const row_group group =
            group_of(row_begin, row_end, a, (int64_t)count * PARTS * TILE_FLOATS);
        for (int i = 0; i < 2 * group.full + 2; i++)
            split_rows(product, row_of_tile(&group, i), row_of_tile(&group, i + 1), work.chunk,
                       a + i * group.a_step);
        panels_of_group(&work, &group, panel, block_begin, block_end);
    }
}

void car_product_amx_split(const car_product *product, float *scratch, int row_begin, int row_end,
                           int block_begin, int block_end) {
    const int rows = row_end - row_begin, groups = (rows + CAR_SPLIT_ROWS - 1) / CAR_SPLIT_ROWS;
    if (rows <= 0 || block_end <= block_begin)
        return;
    const int each = ((rows + groups - 1) / groups + 2 * TILE_ROWS - 1) / (2 * TILE_ROWS) *
                     (2 * TILE_ROWS); /* whole pairs of tiles */
    for (int row = row_begin; row < row_end; row += each)
        product_of_group(product, scratch, row, row_end - row < each ? row_end : row + each,
                         block_begin, block_end);
    _tile_release();
}
