/*
 * stream.c: token ids cut into lanes that run side by side.
 *
 * In:  ids[0 .. count-1].
 * Out: batches; row t of lane b in batch u is position p = b*stride + u*steps + t:
 *      input = ids[p], target = ids[p + 1].
 *
 * Training takes whole batches only; judging takes every target once and marks the rows beyond with
 * -1.
 */
#include "data.h"

car_stream car_stream_for_training(const int32_t *ids, size_t count, int lanes, int steps) {
    car_stream stream = {.ids = ids, .count = count, .lanes = lanes, .steps = steps};
    stream.stride = count / (size_t)lanes;
    if (stream.stride > 0)
        stream.batches = (int64_t)((stream.stride - 1) / (size_t)steps);
    stream.length = (size_t)stream.batches * (size_t)steps;
    return stream;
}

car_stream car_stream_for_judging(const int32_t *ids, size_t count, int lanes, int steps) {
    car_stream stream = {.ids = ids, .count = count, .lanes = lanes, .steps = steps};
    if (count < 2)
        return stream;
    stream.stride = (count - 1 + (size_t)lanes - 1) / (size_t)lanes;
    stream.length = stream.stride;
    stream.batches = (int64_t)((stream.length + (size_t)steps - 1) / (size_t)steps);
    return stream;
}

int car_stream_batch(const car_stream *stream, int64_t index, int32_t *input, int32_t *target) {
    size_t first = (size_t)index * (size_t)stream->steps;
    size_t left = stream->length - first;
    int rows = left < (size_t)stream->steps ? (int)left : stream->steps;
    for (int t = 0; t < rows; t++) {
        for (int b = 0; b < stream->lanes; b++) {
            size_t place = (size_t)b * stream->stride + first + (size_t)t;
            bool inside = place + 1 < stream->count;
            input[t * stream->lanes + b] = inside ? stream->ids[place] : 0;
            target[t * stream->lanes + b] = inside ? stream->ids[place + 1] : -1;
        }
    }
    return rows;
}
