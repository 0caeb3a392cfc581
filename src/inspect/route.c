/*
 * route.c: the wires of a drawing.
 *
 * In: parts with places. Out: for every feed a way along the grid, by Dijkstra's algorithm over (place, direction).
 * A step costs 1, a bend and a crossing more; a wire of another net may be crossed at a right angle and nothing else,
 * parts are walls. The second wire of a net starts anywhere on the ones before it: a fork. Wires are laid in a few
 * different orders and the cheapest drawing is taken, so that no order of the equations is lucky.
 */
#include "figure.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EAST, SOUTH, WEST, NORTH, DIRECTIONS };
static const int step_x[] = {1, 0, -1, 0}, step_y[] = {0, 1, 0, -1};
enum { COST_BEND = 7, COST_CROSSING = 14, COST_NEAR = 1, COST_FORK = 3, COST_NEVER = 1 << 28 };
enum { WIRE_LIMIT = CAR_PART_LIMIT * 4, PORT_LIMIT = 24 };

/* A place at the edge of a part where a wire may come in, moving in `direction`. */
typedef struct car_port {
    int x, y, direction, cost;
} car_port;

typedef struct car_offer {
    int cost;
    int32_t state;
} car_offer;

typedef struct car_router {
    const car_figure *figure;
    car_arena *arena;
    int width, height;
    int16_t *body;      /* [places] part whose body is here, -1: none */
    uint8_t *near;      /* [places] beside a body or where a name stands: costs a little */
    int16_t *across;    /* [places] net that passes or bends here horizontally, -1: none */
    int16_t *along;     /* the same vertically */
    uint8_t *port_used; /* [places] by a wire that ends or begins here: 1 + direction */
    int *cost;          /* [places][DIRECTIONS] */
    int32_t *before;    /* [places][DIRECTIONS] */
    car_offer *heap;    /* least cost first; every way into a state is offered once at most */
    int heap_count;
} car_router;

static int place_of(const car_router *router, int x, int y) {
    return y * router->width + x;
}

/* ---- A heap of states --------------------------------------------------------------------------------- */

static void push(car_router *router, car_offer offer) {
    int at = router->heap_count++;
    while (at > 0 && router->heap[(at - 1) / 2].cost > offer.cost) {
        router->heap[at] = router->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    router->heap[at] = offer;
}

static car_offer pop(car_router *router) {
    car_offer first = router->heap[0], moved = router->heap[--router->heap_count];
    int at = 0;
    for (int child = 1; child < router->heap_count; child = 2 * at + 1) {
        if (child + 1 < router->heap_count &&
            router->heap[child + 1].cost < router->heap[child].cost)
            child++;
        if (router->heap[child].cost >= moved.cost)
            break;
        router->heap[at] = router->heap[child];
        at = child;
    }
    router->heap[at] = moved;
    return first;
}

/* ---- Where wires may begin and end -------------------------------------------------------------------- */

static void add_port(car_port *ports, int *count, int x, int y, int direction, int cost) {
    if (*count < PORT_LIMIT)
        ports[(*count)++] = (car_port){x, y, direction, cost};
}

/* Ports into a part: the direction is that in which the wire moves when it arrives. */
static int ports_into(const car_part *part, bool beside, bool on_belt, car_port *ports) {
    int w, h, count = 0, x = part->x, y = part->y;
    car_part_extent(part, &w, &h);
    if (on_belt || part->kind == CAR_PART_NEXT) {
        add_port(ports, &count, x - w, y, EAST, 0);
    } else if (part->kind == CAR_PART_OUTPUT) {
        add_port(ports, &count, x, y, NORTH, 0);
    } else if (part->kind == CAR_PART_LAYER) {
        if (!beside)
            add_port(ports, &count, x, y + h, NORTH, 0);
        for (int k = 1; k < w; k++) {
            add_port(ports, &count, x - k, y + h, NORTH, k + 1);
            add_port(ports, &count, x + k, y + h, NORTH, k + 1);
        }
        if (beside) {
            add_port(ports, &count, x - w, y, EAST, 0);
            add_port(ports, &count, x + w, y, WEST, 2);
            add_port(ports, &count, x - w + 1, y - h, SOUTH, 2);
            add_port(ports, &count, x + w - 1, y - h, SOUTH, 2);
        }
    } else {
        add_port(ports, &count, x, y + h, NORTH, 0);
        add_port(ports, &count, x - w, y, EAST, 0);
        add_port(ports, &count, x, y - h, SOUTH, 1);
        add_port(ports, &count, x + w, y, WEST, 8);
    }
    return count;
}

/* Ports out of a part: the direction is that in which the wire leaves. */
static int ports_out(const car_part *part, bool on_belt, car_port *ports) {
    int w, h, count = 0, x = part->x, y = part->y;
    car_part_extent(part, &w, &h);
    if (on_belt || part->kind == CAR_PART_STATE) {
        add_port(ports, &count, x + w, y, EAST, 0);
    } else if (part->kind == CAR_PART_INPUT) {
        add_port(ports, &count, x, y, NORTH, 0);
    } else if (part->kind == CAR_PART_LAYER) {
        add_port(ports, &count, x, y - h, NORTH, 0);
        add_port(ports, &count, x + w, y, EAST, 4);
    } else {
        add_port(ports, &count, x + w, y, EAST, 0);
        add_port(ports, &count, x, y - h, NORTH, 0);
        add_port(ports, &count, x, y + h, SOUTH, 2);
        add_port(ports, &count, x - w, y, WEST, 12);
    }
    return count;
}

/* ---- The search --------------------------------------------------------------------------------------- */

static bool horizontal(int direction) {
    return direction == EAST || direction == WEST;
}

/* May a wire of `net` lie here in this direction? */
static bool is_free(const car_router *router, int place, int direction, int net) {
    int owner = horizontal(direction) ? router->across[place] : router->along[place];
    return owner < 0 || owner == net;
}

/* What it costs to go straight through or to bend at a place; COST_NEVER: not allowed. */
static int pass_cost(const car_router *router, int place, int in, int out, int net) {
    bool across = is_free(router, place, EAST, net), along = is_free(router, place, NORTH, net);
    if (in != out)
        return across && along ? COST_BEND : COST_NEVER;
    if (!is_free(router, place, in, net))
        return COST_NEVER;
    return across && along ? 0 : COST_CROSSING;
}

static void offer(car_router *router, int place, int direction, int cost, int32_t before) {
    int32_t state = place * DIRECTIONS + direction;
    if (cost >= router->cost[state])
        return;
    router->cost[state] = cost;
    router->before[state] = before;
    push(router, (car_offer){cost, state});
}

/* The net's wires so far, or the ports of the part that it comes from. */
static void offer_starts(car_router *router, int net, bool belt_edge) {
    const car_part *part = &router->figure->parts[net];
    car_port ports[PORT_LIMIT];
    bool laid = false;
    int size = router->width * router->height;
    for (int place = 0; place < size; place++) {
        bool across = router->across[place] == net, along = router->along[place] == net;
        if ((!across && !along) || router->body[place] >= 0)
            continue;
        laid = true;
        for (int direction = 0; direction < DIRECTIONS; direction++)
            if (is_free(router, place, EAST, net) && is_free(router, place, NORTH, net))
                offer(router, place, direction, COST_FORK, -1);
    }
    if (laid)
        return;
    int count = ports_out(part, belt_edge, ports);
    for (int i = 0; i < count; i++) {
        int place = place_of(router, ports[i].x, ports[i].y);
        if (!router->port_used[place] || part->kind == CAR_PART_MERGE)
            offer(router, place, ports[i].direction, ports[i].cost, -1);
    }
}

/* The port that a wire arrives at when it moves into this place; NULL: none. */
static const car_port *arrival(const car_port *ports, int count, int x, int y, int direction) {
    for (int i = 0; i < count; i++)
        if (ports[i].x == x && ports[i].y == y && ports[i].direction == direction)
            return &ports[i];
    return NULL;
}

/* Goes on from a state; returns the final state when a port of the goal is the cheapest, else -1. */
static int32_t search(car_router *router, int net, int goal, const car_port *ports, int count) {
    while (router->heap_count > 0) {
        car_offer best = pop(router);
        int32_t state = best.state;
        int place = state / DIRECTIONS, in = state % DIRECTIONS;
        int x = place % router->width, y = place / router->width, cost = router->cost[state];
        if (best.cost > cost)
            continue; /* a better one has been here */
        bool first = router->before[state] < 0;
        if (!first && router->body[place] == goal)
            return state;
        for (int out = 0; out < DIRECTIONS; out++) {
            int nx = x + step_x[out], ny = y + step_y[out], next = place_of(router, nx, ny);
            if (out == (in + 2) % DIRECTIONS || nx < 0 || ny < 0 || nx >= router->width ||
                ny >= router->height || (first && out != in))
                continue;
            int passing = first ? 0 : pass_cost(router, place, in, out, net);
            bool own = (horizontal(out) ? router->across[next] : router->along[next]) == net &&
                       router->body[next] < 0;
            if (passing >= COST_NEVER || own)
                continue;
            int total = cost + 1 + passing + router->near[next] * COST_NEAR;
            if (router->body[next] < 0) {
                if (is_free(router, next, out, net))
                    offer(router, next, out, total, state);
            } else if (router->body[next] == goal) {
                const car_port *port = arrival(ports, count, nx, ny, out);
                if (port && (!router->port_used[next] ||
                             router->figure->parts[goal].kind == CAR_PART_MERGE))
                    offer(router, next, out, total + port->cost, state);
            }
        }
    }
    return -1;
}

static void occupy(car_router *router, int place, int direction, int net) {
    if (router->body[place] >= 0)
        router->port_used[place] = (uint8_t)(1 + direction);
    else if (horizontal(direction))
        router->across[place] = (int16_t)net;
    else
        router->along[place] = (int16_t)net;
}

/* Follows the way back, marks it, keeps its corners. */
static bool lay(car_router *router, int32_t last, car_wire *wire) {
    int steps = 1, corners = 0;
    for (int32_t at = last; router->before[at] >= 0; at = router->before[at])
        steps++;
    int(*points)[2] = car_arena_allocate(router->arena, (size_t)steps + 1, sizeof *points);
    if (!points)
        return false;
    int previous = -1;
    for (int32_t at = last; at >= 0; at = router->before[at]) {
        int place = at / DIRECTIONS, direction = at % DIRECTIONS;
        bool end = at == last || router->before[at] < 0;
        occupy(router, place, direction, wire->from);
        if (previous >= 0 && previous != direction)
            occupy(router, place, previous, wire->from);
        if (end || previous != direction) {
            points[corners][0] = place % router->width;
            points[corners++][1] = place / router->width;
        }
        if (router->before[at] < 0)
            wire->forked = router->body[place] < 0;
        previous = direction;
    }
    for (int i = 0; i < corners / 2; i++) {
        int other = corners - 1 - i, x = points[i][0], y = points[i][1];
        points[i][0] = points[other][0], points[i][1] = points[other][1];
        points[other][0] = x, points[other][1] = y;
    }
    wire->count = corners;
    wire->points = points;
    return true;
}

/* ---- Walls -------------------------------------------------------------------------------------------- */

static void build_walls(car_router *router) {
    for (int i = 0; i < router->figure->count; i++) {
        const car_part *part = &router->figure->parts[i];
        int w, h;
        car_part_extent(part, &w, &h);
        for (int y = part->y - h - 1; y <= part->y + h + 1; y++)
            for (int x = part->x - w - 1; x <= part->x + w + 1; x++) {
                if (x < 0 || y < 0 || x >= router->width || y >= router->height)
                    continue;
                int place = place_of(router, x, y);
                if (x >= part->x - w && x <= part->x + w && y >= part->y - h && y <= part->y + h)
                    router->body[place] = (int16_t)i;
                else
                    router->near[place] += w > 0;
            }
        if (part->kind == CAR_PART_MERGE) /* what it is called stands right beneath */
            for (int x = part->x + 1; x < part->x + 4 && x < router->width; x++)
                router->near[place_of(router, x, part->y + 1)] += 12;
        if (part->name && (part->kind == CAR_PART_STEP || part->kind == CAR_PART_FUNCTION) &&
            part->y - h - 1 >= 0 && part->x + w + 1 < router->width)
            router->near[place_of(router, part->x + w + 1, part->y - h - 1)] += 12;
    }
    for (int y = 0; y < router->height; y++)
        for (int x = 0; x < router->width; x++)
            if (x < 4 || x > router->width - 5 || y < router->figure->top + 2 ||
                y > router->figure->bottom - 2)
                router->near[place_of(router, x, y)] += 3;
}

static void clear_wires(car_router *router) {
    size_t size = (size_t)router->width * (size_t)router->height;
    memset(router->across, -1, size * sizeof *router->across);
    memset(router->along, -1, size * sizeof *router->along);
    memset(router->port_used, 0, size);
}

static bool open_router(car_router *router, const car_figure *figure, car_arena *arena) {
    size_t size = (size_t)figure->width * (size_t)figure->height;
    *router = (car_router){
        .figure = figure, .arena = arena, .width = figure->width, .height = figure->height};
    router->body = car_arena_allocate(arena, size, sizeof *router->body);
    router->near = car_arena_allocate(arena, size, 1);
    router->across = car_arena_allocate(arena, size, sizeof *router->across);
    router->along = car_arena_allocate(arena, size, sizeof *router->along);
    router->port_used = car_arena_allocate(arena, size, 1);
    router->cost = car_arena_allocate(arena, size * DIRECTIONS, sizeof *router->cost);
    router->before = car_arena_allocate(arena, size * DIRECTIONS, sizeof *router->before);
    router->heap = car_arena_allocate(arena, size * DIRECTIONS * DIRECTIONS, sizeof *router->heap);
    if (!router->body || !router->near || !router->across || !router->along || !router->port_used ||
        !router->cost || !router->before || !router->heap)
        return false;
    memset(router->body, -1, size * sizeof *router->body);
    build_walls(router);
    return true;
}

/* ---- All wires ---------------------------------------------------------------------------------------- */

static bool is_belt_wire(const car_figure *figure, const car_wire *wire) {
    const car_part *from = &figure->parts[wire->from], *to = &figure->parts[wire->to];
    return from->belt >= 0 && from->belt == to->belt;
}

/* Small numbers are laid first. `order` 0: belts, merges, layers, the rest from left to right; others vary it. */
static double rank_of(const car_figure *figure, const car_wire *wire, int order) {
    const car_part *from = &figure->parts[wire->from], *to = &figure->parts[wire->to];
    double distance = abs(from->x - to->x) + abs(from->y - to->y);
    double kind = is_belt_wire(figure, wire)     ? 0
                  : to->kind == CAR_PART_MERGE   ? 1
                  : from->kind == CAR_PART_MERGE ? 2
                  : to->kind == CAR_PART_OUTPUT  ? 6
                  : to->kind == CAR_PART_NEXT    ? 5
                                                 : 3;
    if (kind == 0)
        return to->x / 1e4;
    if (order == 0)
        return kind * 1e4 + to->x;
    if (order == 1)
        return kind > 4 ? kind * 1e4 : 1e4 + distance;
    if (order == 2)
        return kind > 4 ? kind * 1e4 : 1e4 - distance;
    return kind > 2 && kind < 5 ? 3e4 + distance : kind * 1e4 + to->x;
}

static int collect_wires(const car_figure *figure, int order, car_wire *wires) {
    int count = 0;
    for (int i = 0; i < figure->count; i++)
        for (int k = 0; k < figure->parts[i].feed_count && count < WIRE_LIMIT; k++)
            wires[count++] = (car_wire){.from = figure->parts[i].feeds[k].part, .to = i, .feed = k};
    for (int i = 1; i < count; i++)
        for (int k = i;
             k > 0 && rank_of(figure, &wires[k], order) < rank_of(figure, &wires[k - 1], order);
             k--) {
            car_wire other = wires[k];
            wires[k] = wires[k - 1];
            wires[k - 1] = other;
        }
    return count;
}

/* Returns false when memory is out; a wire without a way makes the cost HUGE_VAL. */
static bool route_all(car_router *router, int order, car_wiring *wiring) {
    car_wire *wires = car_arena_allocate(router->arena, WIRE_LIMIT, sizeof *wires);
    if (!wires)
        return false;
    int count = collect_wires(router->figure, order, wires);
    size_t states = (size_t)router->width * (size_t)router->height * DIRECTIONS;
    *wiring = (car_wiring){.cost = 0};
    clear_wires(router);
    for (int i = 0; i < count; i++) {
        car_port ports[PORT_LIMIT];
        bool belt = is_belt_wire(router->figure, &wires[i]);
        const car_part *to = &router->figure->parts[wires[i].to];
        const car_part *from = &router->figure->parts[wires[i].from];
        int port_count = ports_into(to, to->feeds[wires[i].feed].beside, belt, ports);
        for (size_t k = 0; k < states; k++)
            router->cost[k] = COST_NEVER;
        router->heap_count = 0;
        offer_starts(router, wires[i].from, from->belt >= 0);
        int32_t last = search(router, wires[i].from, wires[i].to, ports, port_count);
        if (last < 0) {
            wiring->cost = HUGE_VAL;
            return true;
        }
        wiring->cost += router->cost[last];
        if (!lay(router, last, &wires[i]))
            return false;
        if (wiring->last)
            wiring->last->next = &wires[i];
        else
            wiring->first = &wires[i];
        wiring->last = &wires[i];
    }
    return true;
}

bool car_route(const car_figure *figure, car_arena *arena, car_wiring *wiring) {
    car_router router;
    if (!open_router(&router, figure, arena))
        return false;
    *wiring = (car_wiring){.cost = HUGE_VAL};
    for (int order = 0; order < 4; order++) {
        car_wiring tried;
        if (!route_all(&router, order, &tried))
            return false;
        if (tried.cost < wiring->cost || !wiring->first)
            *wiring = tried;
    }
    return true;
}
