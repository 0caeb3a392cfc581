/*
 * amx: products in bf16 by the matrix tiles of AMX.
 *
 * In:  a car_product whose panels are packed pairs, and the part of it to do. Out: that part of c, to the bit
 *
 *   for every 32 values of k:  c += (chain of fma over the even k, from 0) + (chain over the odd k, from 0)
 *
 * which is how TDPBF16PS sums (Intel's manual, volume 2; held against plain loops in tests/test_bf16.c). K walks in whole tiles of
 * 32 from its beginning at every shape, so that rows, panels, groups and threads never change a bit.
 *
 * A tile is 16 rows of 64 bytes. Four of c, 32 x 32 values, stay in registers while two of a and two of a panel walk
 * along k: four multiplications, 16 cycles each, to four loads. A group of rows of a is rounded once into the caller's
 * scratch, tile by tile, since rows apart by a power of two would share few sets of the cache. What is left of K
 * beyond whole tiles counts as zeros.
 */
#include "amx.h"

#include "amx.inc"

/* ---- a, rounded ------------------------------------------------------------------------------------------- */

/* Rows [begin, end) of a as tiles [tiles_of_k][16][16 pairs] at `to`. */
static void round_tile(const car_product *product, int begin, int end, int depth, float *to) {
    for (int row = begin; row < end; row++) {
        const float *from = product->a + row * product->a_row_stride;
        float *pairs = to + (int64_t)(row - begin) * TILE_PAIRS;
        for (int k = 0; k < depth; k += TILE_VALUES, pairs += TILE_FLOATS)
            v_store(pairs, v_round(half_of(product, from, k, depth),
                                   half_of(product, from, k + CAR_BLOCK, depth)));
    }
}

/* ---- Tiles of c ------------------------------------------------------------------------------------------- */

/* Lines of the panel that comes next, of which `each` are asked for with every 32 values of k. */
typedef struct panel_lines {
    const float *next, *end;
    int each;
} panel_lines;

ALWAYS_INLINE void fetch_panel(panel_lines *lines) {
    for (int i = 0; i < lines->each && lines->next < lines->end; i++, lines->next += CAR_BLOCK)
        _mm_prefetch((const char *)lines->next, _MM_HINT_T1);
}

/* Tiles of 32 values of k from which on it pays to ask for lines. */
enum { LEAST_WHOLE = 4 };

/* One panel: what all its tiles share. */
typedef struct tile_panel {
    const float *pairs; /* [whole tiles of k][16][64] */
    int whole;
    const float *rest; /* [16][64], what is left of K and zeros; NULL: nothing is left */
    int row_end;       /* of the tiles */
    panel_lines ahead;
} tile_panel;

/* What 32 values of k add. */
ALWAYS_INLINE void tile_step(bool lower, bool right, const float *upper_a, const float *lower_a,
                             const float *panel) {
    load_a(lower, upper_a, lower_a);
    load_panel(right, panel);
    multiply(lower, right);
    stay_awake();
}

/* c of up to two tiles of rows and up to two blocks of a panel, the first of them `inside` the panel. */
ALWAYS_INLINE void tile_product(bool asks, bool lower, bool right, const car_product *product,
                                const car_product_block *block, const tile_rows *rows,
                                tile_panel *panel, int inside) {
    const float *upper_a = rows->a[0], *lower_a = rows->a[1];
    const float *pairs = panel->pairs + inside * CAR_BLOCK;
    load_sums(lower, right, product, block, rows, false);
    output_lines outputs = {0};
    panel_lines ahead = {0}; /* in registers: what tiles write might be the panel, too */
    if (asks) {
        outputs = lines_below(product, block, right, rows, panel->row_end, panel->whole + 1);
        ahead = panel->ahead;
    }
    for (int k = panel->whole; k > 0; k--, pairs += TILE_PAIRS * CAR_PANEL) {
        tile_step(lower, right, upper_a, lower_a, pairs);
        if (asks) {
            fetch_outputs(&outputs);
            fetch_panel(&ahead);
        }
        upper_a += TILE_FLOATS;
        lower_a += TILE_FLOATS;
    }
    if (asks)
        panel->ahead = ahead;
    if (panel->rest)
        tile_step(lower, right, upper_a, lower_a, panel->rest + inside * CAR_BLOCK);
    store_sums(lower, right, product, block, rows);
}

static void dispatch(bool asks, const car_product *product, const car_product_block *block,
                     bool right, const tile_rows *rows, tile_panel *panel, int inside) {
    if (rows->lower > 0 && right)
        tile_product(asks, true, true, product, block, rows, panel, inside);
    else if (rows->lower > 0)
        tile_product(asks, true, false, product, block, rows, panel, inside);
    else if (right)
        tile_product(asks, false, true, product, block, rows, panel, inside);
    else
        tile_product(asks, false, false, product, block, rows, panel, inside);
}

/* ---- Panels and groups of rows ------------------------------------------------------------------------------ */

/* The panel behind one of `pairs` pairs, while `count` pairs of tiles pass both halves of this one. Two or fewer pass too soon,
 * and their weights are mostly near. */
static panel_lines lines_behind(const float *panel, int pairs, int count) {
    enum { LEAST_COUNT = 3, LINES = TILE_PAIRS * CAR_PANEL_BLOCKS };
    if (count < LEAST_COUNT)
        return (panel_lines){0};
    const float *next = panel + (int64_t)pairs * CAR_PANEL;
    return (panel_lines){next, next + (int64_t)pairs * CAR_PANEL, (LINES / 2 + count - 1) / count};
}

/* `count` pairs of tiles of rows, which have their shape, against the blocks of all panels. */
static void sweep(const car_product *product, int depth, tile_rows rows, int count, int64_t a_step,
                  int block_begin, int block_end) {
    const int pairs = car_pairs(depth), whole = pairs / TILE_PAIRS, left = pairs % TILE_PAIRS;
    const bool asks = whole >= LEAST_WHOLE;
    _Alignas(64) float rest[TILE_PAIRS * CAR_PANEL];
    if (left)
        memset(rest, 0, sizeof rest);
    for (int block = block_begin; block < block_end;) {
        const int inside = block % CAR_PANEL_BLOCKS;
        int end = block - inside + CAR_PANEL_BLOCKS;
        end = end < block_end ? end : block_end;
        tile_panel panel = {.pairs = product->panels +
                                     (int64_t)(block / CAR_PANEL_BLOCKS) * pairs * CAR_PANEL,
                            .whole = whole,
                            .rest = left ? rest : NULL,
                            .row_end = rows.first + count * (rows.upper + rows.lower)};
        if (left)
            memcpy(rest, panel.pairs + (int64_t)whole * TILE_PAIRS * CAR_PANEL,
                   (size_t)left * CAR_PANEL * sizeof *rest);
        if (asks && end < block_end)
            panel.ahead = lines_behind(panel.pairs, pairs, count);
        for (; block < end; block += 2) {
            tile_rows two = rows;
            for (int i = 0; i < count; i++, pass_pair(&two, a_step))
                dispatch(asks, product, &product->block[block], block + 1 < end, &two, &panel,
                         block % CAR_PANEL_BLOCKS);
        }
        block = end;
    }
}

/* The rows of one group: those that fill pairs of tiles, then what is left. */
static void group_of_rows(const car_product *product, int depth, float *scratch, int row_begin,
                          int row_end, int block_begin, int block_end) {
    const row_group group =
        group_of(row_begin, row_end, scratch, (int64_t)car_tile_pairs(depth) * TILE_ROWS);
    for (int i = 0; i < 2 * group.full + 2; i++)
        round_tile(product, row_of_tile(&group, i), row_of_tile(&group, i + 1), depth,
                   scratch + i * group.a_step);
    if (group.full) {
        shape_tiles(TILE_ROWS, TILE_ROWS);
        sweep(product, depth, full_rows(&group), group.full, group.a_step, block_begin, block_end);
    }
    if (group.upper) {
        shape_tiles(group.upper, group.lower);
        sweep(product, depth, last_rows(&group), 1, group.a_step, block_begin, block_end);
    }
}

void car_product_amx(const car_product *product, float *scratch, int row_begin, int row_end,
                     int block_begin, int block_end) {
    const int depth = product->parts * product->part_length;
    if (row_end <= row_begin || block_end <= block_begin)
        return;
    const int most = car_tile_group(depth);
    for (int row = row_begin; row < row_end; row += most)
        group_of_rows(product, depth, scratch, row, row_end - row < most ? row_end : row + most,
                      block_begin, block_end);
    _tile_release();
}
