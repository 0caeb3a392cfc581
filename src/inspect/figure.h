/*
 * figure.h: what the files that draw a cell share with each other, and no other room sees.
 *
 *   figure.c -> car_figure: parts and who feeds whom      layout.c -> column, row, belt of each part
 *   route.c  -> car_wiring: a polyline for each feed      arrange.c -> the best of many of these two
 *   picture.c paints them
 */
#ifndef CAR_INSPECT_FIGURE_H
#define CAR_INSPECT_FIGURE_H

#include "inspect.h"

enum { CAR_FEED_LIMIT = 34, CAR_LABEL_LIMIT = 80 };

typedef enum car_part_kind {
    CAR_PART_INPUT,    /* x */
    CAR_PART_STATE,    /* a state before the step */
    CAR_PART_LEAF,     /* a number or a parameter by itself */
    CAR_PART_MERGE,    /* concatenation of what goes into a layer */
    CAR_PART_LAYER,    /* matrices, bias, then a function */
    CAR_PART_FUNCTION, /* a function of one value; `weights` when it has per-unit parameters */
    CAR_PART_STEP,     /* an elementwise operation of two values */
    CAR_PART_NEXT,     /* the state after the step */
    CAR_PART_OUTPUT
} car_part_kind;

typedef struct car_feed {
    int part;
    bool beside;      /* a peephole: per-unit weights, not part of the concatenation */
    const char *sign; /* at the arrow, where the order matters: "−", "÷"; NULL */
} car_feed;

typedef struct car_part {
    car_part_kind kind;
    int state;                     /* STATE, NEXT */
    int node;                      /* of the graph, whose value it makes; -1: none */
    const char *name;              /* of the equation; NULL */
    char label[CAR_LABEL_LIMIT];   /* σ, ×, 1−, tanh, ... */
    char inner[CAR_LABEL_LIMIT];   /* LAYER, FUNCTION: what comes before the function: "norm" */
    char weights[CAR_LABEL_LIMIT]; /* "Wi Ui bi" */
    bool gate;
    int feed_count;
    car_feed *feeds; /* parts before this one */
    /* layout.c */
    int belt; /* number of the belt that it is on, from the bottom; -1: none */
    bool mid;         /* stands between layers and belts, in `region` (below belt `region`) */
    int region, row;  /* row from the bottom of the region, from 1 */
    int nudge;        /* columns that it stands farther right than it must */
    int column;       /* -1: at the edge */
    int x, y;         /* grid places of its middle */
} car_part;

typedef struct car_figure {
    const struct car_cell *cell;
    car_arena *arena;
    int count;
    car_part *parts; /* [CAR_PART_LIMIT], in no order */
    int *of_node;    /* [nodes] part, -1: none yet */
    int *uses;       /* [nodes] */
    int *order;      /* [count] parts after those that feed them */
    bool *reaches;   /* [count][count] does this part feed that one, by whatever way? */
    int belt_count;
    int *belt_state; /* [belts] from the bottom */
    int width, height; /* of the grid */
    int top, bottom;   /* grid rows of the body's edges */
} car_figure;

/* Parts and feeds. CAR_DATA: too many parts. */
car_status car_figure_read(car_figure *figure, const struct car_cell *cell, car_arena *arena,
                           car_error *error) CAR_CHECK_RESULT;
/* Half of a part's width and height in grid places. */
void car_part_extent(const car_part *part, int *half_width, int *half_height);

/* Has a label a + or − outside of brackets? */
bool car_label_is_sum(const char *label);

/* Which belt each part is on, who is before whom: once. False: out of memory. */
bool car_layout_prepare(car_figure *figure);
/* Places, with the layers in the order given ([layer_count] part numbers) and `gap` free tracks between columns. */
void car_layout_place(car_figure *figure, const int *layers, int layer_count, int gap);
/* The layers in the order in which the belts meet them; returns their number. */
int car_layout_layers(const car_figure *figure, int *layers);

typedef struct car_wire {
    int from, to, feed; /* parts; feed of `to` */
    int count;
    int (*points)[2]; /* [count] grid places; starts at the part or at a fork of the same net */
    bool forked;
    struct car_wire *next;
} car_wire;
typedef struct car_wiring {
    car_wire *first, *last;
    double cost; /* length, bends and crossings; HUGE_VAL when a wire found no way */
} car_wiring;
/* The wires live in the arena. False: out of memory. */
bool car_route(const car_figure *figure, car_arena *arena, car_wiring *wiring);
/* The best of these: places in the figure, the wires in its arena. CAR_DATA: no room for the wires; CAR_MEMORY. */
car_status car_arrange(car_figure *figure, const car_allocator *allocator, car_wiring *wiring,
                       car_error *error) CAR_CHECK_RESULT;

#endif
