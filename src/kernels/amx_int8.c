/*
 * amx_int8: sums of products of whole numbers by the matrix tiles of AMX.
 *
 * In:  rows of unsigned bytes and a panel of signed ones, both in quads, as integer.inc has them. Out: of up to 32 rows and two
 * blocks of the panel
 *
 *   sums[row][column] = offset[column] + sum over k of row[k] * panel[k][column]
 *
 * in 32 bits: exact in every order, and so the sums of every other level. A tile is 16 rows of 16 quads, 64 values of k; the
 * quads of a panel lie as tiles read them, rows 256 bytes apart.
 */
#include "amx.h"

#include "amx.inc"

void car_tiles_begin(int count) {
    shape_tiles(upper_of(count), count - upper_of(count));
}

void car_tiles_end(void) {
    _tile_release();
}

/* What 64 values of k add. */
ALWAYS_INLINE void whole_step(bool lower, const car_whole_tile *of, const int32_t *row,
                              const int32_t *panel) {
    const int64_t row_bytes = of->row_stride * (int64_t)sizeof(int32_t);
    _tile_loadd(4, row, row_bytes);
    if (lower)
        _tile_loadd(5, row + upper_of(of->count) * of->row_stride, row_bytes);
    load_panel(true, (const float *)(const void *)panel);
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    if (lower) {
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
}

ALWAYS_INLINE void whole_sums(bool lower, const car_whole_tile *of, int32_t *sums) {
    enum { BYTES = CAR_WHOLE_COLUMNS * sizeof(int32_t), TILE_STEP = TILE_PAIRS * CAR_PANEL };
    const int32_t *row = of->rows, *panel = of->panel;
    int32_t *const lower_sums = sums + upper_of(of->count) * CAR_WHOLE_COLUMNS;
    settle_memory();
    _tile_loadd(0, of->offset, 0);
    _tile_loadd(1, of->offset + CAR_BLOCK, 0);
    if (lower) {
        _tile_loadd(2, of->offset, 0);
        _tile_loadd(3, of->offset + CAR_BLOCK, 0);
    }
    for (int k = 0; k < of->whole; k++, row += TILE_PAIRS, panel += TILE_STEP)
        whole_step(lower, of, row, panel);
    if (of->rest)
        whole_step(lower, of, row, of->rest);
    _tile_stored(0, sums, BYTES);
    _tile_stored(1, sums + CAR_BLOCK, BYTES);
    if (lower) {
        _tile_stored(2, lower_sums, BYTES);
        _tile_stored(3, lower_sums + CAR_BLOCK, BYTES);
    }
    settle_memory();
}

void car_tiles_sum_whole(const car_whole_tile *of, int32_t *sums) {
    if (of->count > TILE_ROWS)
        whole_sums(true, of, sums);
    else
        whole_sums(false, of, sums);
}
