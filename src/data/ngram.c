/*
 * ngram.c: interpolated modified Kneser-Ney (Chen & Goodman 1998, TR-10-98, section 3).
 *
 * In:  token ids; the order n (most tokens that count, the predicted one included).
 * Out: P_k(w | u) = max(c_k(u w) - D_k(c), 0) / c_k(u .) + gamma_k(u) P_{k-1}(w | u'), u' = u
 * without its first token, for k = n .. 1, and P_0 = 1 / vocabulary. c_n counts occurrences, c_k (k
 * < n) the different tokens seen before the k-gram. With n_j the number of k-grams of count j: Y =
 * n_1 / (n_1 + 2 n_2), D(j) = j - (j + 1) Y n_{j+1} / n_j for j = 1, 2, 3+. gamma_k(u) = (sum over
 * followers w of D_k(c_k(u w))) / c_k(u .), so each P_k sums to 1.
 *
 * A k-gram is named by (id of its first k-1 tokens, last token), 64 bits that are exact, in one
 * hash table an order; its id is the order of arrival. Memory is bounded by the number of different
 * n-grams.
 */
#include "data.h"
#include <math.h>
#include <string.h>

#define NO_GRAM   UINT32_MAX
#define EMPTY_KEY UINT64_MAX

/* What is known of a k-gram as the context of the next order. */
typedef struct context {
    uint32_t total;        /* sum of the counts of its followers */
    uint32_t followers[3]; /* how many followers have count 1, 2, 3 or more */
} context;

typedef struct gram_table {
    uint64_t *keys; /* [slots]: first k-1 tokens' id << 32 | last token; EMPTY_KEY */
    uint32_t *ids;  /* [slots] */
    uint32_t slots; /* a power of two */
    uint32_t count, capacity;
    uint32_t *counts;  /* [capacity]: c_k */
    context *contexts; /* [capacity]; NULL at the highest order */
    double discount[3];
} gram_table;

struct car_ngram {
    const car_allocator *allocator;
    int order, vocabulary;
    context root;                           /* the empty context */
    gram_table orders[CAR_NGRAM_ORDER + 1]; /* [k] */
};

/* ids[k] is the k-gram that ends at the present token, NO_GRAM when it was not seen in training. */
typedef struct cursor {
    uint32_t ids[CAR_NGRAM_ORDER + 1];
} cursor;

static uint32_t slot_of(const gram_table *table, uint64_t key) {
    uint64_t hash = key * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t slot = (uint32_t)(hash >> 32) & (table->slots - 1);
    while (table->keys[slot] != EMPTY_KEY && table->keys[slot] != key)
        slot = (slot + 1) & (table->slots - 1);
    return slot;
}

static uint64_t key_of(uint32_t prefix, int32_t token) {
    return (uint64_t)prefix << 32 | (uint32_t)token;
}

static uint32_t find(const gram_table *table, uint32_t prefix, int32_t token) {
    if (prefix == NO_GRAM)
        return NO_GRAM;
    uint32_t slot = slot_of(table, key_of(prefix, token));
    return table->keys[slot] == EMPTY_KEY ? NO_GRAM : table->ids[slot];
}

static void table_free(const car_allocator *allocator, gram_table *table) {
    car_release(allocator, table->keys);
    car_release(allocator, table->ids);
    car_release(allocator, table->counts);
    car_release(allocator, table->contexts);
}

/* Room for twice as many grams; false: out of memory (or ids). */
static bool table_grow(const car_allocator *allocator, gram_table *table, bool with_contexts) {
    uint32_t capacity = table->capacity ? table->capacity * 2 : 4096;
    if (capacity > UINT32_C(1) << 29)
        return false;
    gram_table grown = *table;
    grown.capacity = capacity;
    grown.slots = capacity * 2;
    grown.keys = car_allocate(allocator, grown.slots, sizeof *grown.keys);
    grown.ids = car_allocate(allocator, grown.slots, sizeof *grown.ids);
    grown.counts = car_allocate(allocator, capacity, sizeof *grown.counts);
    grown.contexts =
        with_contexts ? car_allocate(allocator, capacity, sizeof *grown.contexts) : NULL;
    if (!grown.keys || !grown.ids || !grown.counts || (with_contexts && !grown.contexts)) {
        table_free(allocator, &grown);
        return false;
    }
    memset(grown.keys, 0xFF, grown.slots * sizeof *grown.keys);
    for (uint32_t i = 0; i < table->slots; i++) {
        if (table->keys[i] != EMPTY_KEY) {
            uint32_t slot = slot_of(&grown, table->keys[i]);
            grown.keys[slot] = table->keys[i];
            grown.ids[slot] = table->ids[i];
        }
    }
    if (table->count > 0)
        memcpy(grown.counts, table->counts, table->count * sizeof *grown.counts);
    table_free(allocator, table);
    *table = grown;
    return true;
}

/* The gram's id; a new one is entered with count 0. NO_GRAM: out of memory. */
static uint32_t enter(car_ngram *ngram, int order, uint32_t prefix, int32_t token, bool *is_new) {
    gram_table *table = &ngram->orders[order];
    if (table->count == table->capacity &&
        !table_grow(ngram->allocator, table, order < ngram->order))
        return NO_GRAM;
    uint64_t key = key_of(prefix, token);
    uint32_t slot = slot_of(table, key);
    *is_new = table->keys[slot] == EMPTY_KEY;
    if (*is_new) {
        table->keys[slot] = key;
        table->ids[slot] = table->count++;
    }
    return table->ids[slot];
}

/* One pass over the text: all grams of all orders; occurrences at the highest order, below it the
 * number of different left neighbours, which is how many new grams of the next order end in this
 * one. */
static bool count_grams(car_ngram *ngram, const int32_t *ids, size_t count) {
    uint32_t previous[CAR_NGRAM_ORDER + 1], present[CAR_NGRAM_ORDER + 1];
    for (size_t i = 0; i < count; i++) {
        present[0] = 0;
        for (int k = 1; k <= ngram->order && (size_t)k <= i + 1; k++) {
            bool is_new;
            present[k] = enter(ngram, k, k == 1 ? 0 : previous[k - 1], ids[i], &is_new);
            if (present[k] == NO_GRAM)
                return false;
            if (k == ngram->order)
                ngram->orders[k].counts[present[k]]++;
            if (is_new && k > 1)
                ngram->orders[k - 1].counts[present[k - 1]]++;
        }
        memcpy(previous, present, sizeof previous);
    }
    return true;
}

static int discount_class(uint32_t count) {
    return count >= 3 ? 2 : (int)count - 1;
}

/* Discounts of an order, and what its grams' contexts need for gamma. */
static void sum_contexts(car_ngram *ngram, int order) {
    gram_table *table = &ngram->orders[order];
    double number[5] = {0}; /* [j]: grams of count j */
    for (uint32_t slot = 0; slot < table->slots; slot++) {
        if (table->keys[slot] == EMPTY_KEY)
            continue;
        uint32_t count = table->counts[table->ids[slot]];
        if (count == 0) /* the very first gram of the text has no left neighbour */
            continue;
        if (count <= 4)
            number[count]++;
        uint32_t prefix = (uint32_t)(table->keys[slot] >> 32);
        context *before = order == 1 ? &ngram->root : &ngram->orders[order - 1].contexts[prefix];
        before->total += count;
        before->followers[discount_class(count)]++;
    }
    double y = number[1] + number[2] > 0 ? number[1] / (number[1] + 2 * number[2]) : 0.5;
    for (int j = 1; j <= 3; j++) {
        double discount = number[j] > 0 ? j - (j + 1) * y * number[j + 1] / number[j] : 0.5 * j;
        table->discount[j - 1] = fmin(fmax(discount, 0.1), j);
    }
}

car_status car_ngram_train(const int32_t *ids, size_t count, int vocabulary, int order,
                           const car_allocator *allocator, car_ngram **ngram, car_error *error) {
    *ngram = NULL;
    if (order < 1 || order > CAR_NGRAM_ORDER || count < 1 || count > INT32_MAX || vocabulary < 1)
        return car_fail(error, CAR_USAGE, "n-gram: order %d (1 to %d), %zu tokens; give some text",
                        order, CAR_NGRAM_ORDER, count);
    car_ngram *made = car_allocate(allocator, 1, sizeof *made);
    if (!made)
        return car_fail(error, CAR_MEMORY, "n-gram: out of memory");
    *made = (car_ngram){.allocator = allocator, .order = order, .vocabulary = vocabulary};
    if (!count_grams(made, ids, count)) {
        car_ngram_free(made);
        return car_fail(error, CAR_MEMORY, "n-gram: no memory for the counts of %zu tokens", count);
    }
    for (int k = 1; k <= order; k++)
        sum_contexts(made, k);
    *ngram = made;
    return CAR_OK;
}

void car_ngram_free(car_ngram *ngram) {
    if (!ngram)
        return;
    for (int k = 1; k <= ngram->order; k++)
        table_free(ngram->allocator, &ngram->orders[k]);
    car_release(ngram->allocator, ngram);
}

/* P(token | what `at` has seen), then moves `at` on to the token. */
static double advance(const car_ngram *ngram, cursor *at, int32_t token) {
    double probability = 1.0 / ngram->vocabulary;
    cursor next;
    for (int k = 0; k <= CAR_NGRAM_ORDER; k++)
        next.ids[k] = k == 0 ? 0 : NO_GRAM;
    for (int k = 1; k <= ngram->order; k++) {
        const gram_table *table = &ngram->orders[k];
        uint32_t prefix = at->ids[k - 1];
        if (prefix == NO_GRAM || table->slots == 0)
            continue;
        const context *before = k == 1 ? &ngram->root : &ngram->orders[k - 1].contexts[prefix];
        next.ids[k] = find(table, prefix, token);
        if (before->total == 0)
            continue;
        uint32_t count = next.ids[k] == NO_GRAM ? 0 : table->counts[next.ids[k]];
        double kept = count > 0 ? count - table->discount[discount_class(count)] : 0;
        double spread = 0;
        for (int j = 0; j < 3; j++)
            spread += table->discount[j] * before->followers[j];
        probability = (kept + spread * probability) / before->total;
    }
    *at = next;
    return probability;
}

static cursor start_cursor(void) {
    cursor at;
    memset(&at, 0xFF, sizeof at);
    at.ids[0] = 0;
    return at;
}

double car_ngram_probability(const car_ngram *ngram, const int32_t *before, size_t length,
                             int32_t token) {
    cursor at = start_cursor();
    size_t used = (size_t)ngram->order - 1;
    for (size_t i = length > used ? length - used : 0; i < length; i++)
        advance(ngram, &at, before[i]);
    return advance(ngram, &at, token);
}

double car_ngram_nats(const car_ngram *ngram, const int32_t *ids, size_t count) {
    cursor at = start_cursor();
    double nats = 0;
    for (size_t i = 0; i < count; i++) {
        double probability = advance(ngram, &at, ids[i]);
        if (i > 0)
            nats -= log(probability);
    }
    return nats;
}

car_status car_unigram_nats(const int32_t *train, size_t train_count, int vocabulary,
                            const int32_t *ids, size_t count, const car_allocator *allocator,
                            double *nats, car_error *error) {
    uint64_t *seen = car_allocate(allocator, (size_t)vocabulary, sizeof *seen);
    if (!seen)
        return car_fail(error, CAR_MEMORY, "unigram: no memory for %d counts", vocabulary);
    for (size_t i = 0; i < train_count; i++)
        seen[train[i]]++;
    double total = (double)train_count + vocabulary;
    *nats = 0;
    for (size_t i = 1; i < count; i++)
        *nats -= log(((double)seen[ids[i]] + 1) / total);
    car_release(allocator, seen);
    return CAR_OK;
}
