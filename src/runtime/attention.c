/* Attention by blocks of queries, so that the scores of one block exist at a time, however long the sequences are.
 *
 * Above: src/attention.pxi.  Below: blas.h, the attention kernels, threads.h.  After FlashAttention (Dao et al. 2022): the adjoint
 * computes the weights of a block again, from two numbers for each row that the forward pass leaves.
 *
 * Heads are the tasks; blocks depend on sizes alone.
 */
#include "attention.h"

#include "blas.h"
#include "threads.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum {
    BLOCK_QUERIES = 64,         /* most rows of a block */
    LEAST_QUERIES = 8,          /* least, if there are as many */
    BLOCK_SCORES = 1 << 17,     /* about how many scores a block has at most: they are to stay in the level 2 cache */
    MAX_SLOTS = 64,             /* most heads at a time */
    PARALLEL_PRODUCTS = 1 << 21 /* multiply-adds from which heads are given to the thread pool */
};

typedef struct {
    const Attention *a;
    int dtype;
    isize item, heads, queries, keys, size, value_size;
    isize rows, row_length; /* of a block of scores in memory */
    char *space;
    isize slot_bytes;
    atomic_flag busy[MAX_SLOTS];
} Heads;

static isize round_up(isize n, isize unit) { return (n + unit - 1) / unit * unit; }

static void describe(Heads *h, const Attention *a)
{
    const int last = a->q->ndim - 1;
    memset(h, 0, sizeof *h);
    h->a = a;
    h->dtype = a->q->dtype;
    h->item = itemsize(h->dtype);
    h->heads = 1;
    for (int axis = 0; axis < last - 1; axis++) h->heads *= a->q->shape[axis];
    h->queries = a->q->shape[last - 1];
    h->keys = a->k->shape[last - 1];
    h->size = a->q->shape[last];
    h->value_size = a->v->shape[last];
    h->row_length = round_up(h->keys, ATTENTION_PAD);
    isize fit = BLOCK_SCORES / (h->row_length ? h->row_length : 1) / LEAST_QUERIES * LEAST_QUERIES;
    h->rows = fit < LEAST_QUERIES ? LEAST_QUERIES : fit > BLOCK_QUERIES ? BLOCK_QUERIES : fit;
    if (h->rows > h->queries) h->rows = h->queries;
    h->slot_bytes = (a->g ? 2 : 1) * round_up(h->rows * h->row_length * h->item, 64);
}

isize attention_space(Attention *a)
{
    Heads h;
    describe(&h, a);
    isize slots = get_num_threads();
    if (slots > h.heads) slots = h.heads;
    a->slots = (int)(slots < 1 ? 1 : slots > MAX_SLOTS ? MAX_SLOTS : slots);
    return a->slots * h.slot_bytes;
}

/* A working space for the calling task. There are as many as threads; should there be more of these, they wait. */
static int take_slot(Heads *h)
{
    for (;; sched_yield())
        for (int slot = 0; slot < h->a->slots; slot++)
            if (!atomic_flag_test_and_set_explicit(&h->busy[slot], memory_order_acquire)) return slot;
}

/* Matrix number `head` of a tensor of matrices, and the row that it starts with. */
static char *matrix(const Tensor *t, isize head, isize row)
{
    isize offset = row * t->strides[t->ndim - 2];
    for (int axis = t->ndim - 3; axis >= 0; axis--) {
        offset += head % t->shape[axis] * t->strides[axis];
        head /= t->shape[axis];
    }
    return t->data + offset * itemsize(t->dtype);
}

static isize step(const Tensor *t) { return t->strides[t->ndim - 2]; }

static AttentionBlock block_of(const Heads *h, isize head, isize first)
{
    const Attention *a = h->a;
    AttentionBlock b = {.rows = h->queries - first, .columns = h->keys, .row_length = h->row_length, .first = first};
    if (b.rows > h->rows) b.rows = h->rows;
    if (a->causal && b.columns > first + b.rows) b.columns = first + b.rows;
    b.causal = a->causal;
    b.scale = a->scale;
    if (a->mask) {
        b.mask = matrix(a->mask, head, first);
        b.mask_step = step(a->mask);
        b.mask_is_bool = a->mask->dtype == BOOL;
    }
    b.shift = a->sums->data + (head * h->queries + first) * h->item;
    b.share = (char *)b.shift + h->heads * h->queries * h->item;
    return b;
}

static void score(const Heads *h, isize head, const AttentionBlock *b, void *scores)
{
    const Attention *a = h->a;
    matmul_into(h->dtype, false, true, b->rows, b->columns, h->size, matrix(a->q, head, b->first), step(a->q),
                matrix(a->k, head, 0), step(a->k), 0, scores, h->row_length);
}

static void forward(const Heads *h, isize head, char *scores)
{
    const Attention *a = h->a;
    for (isize first = 0; first < h->queries; first += h->rows) {
        AttentionBlock b = block_of(h, head, first);
        score(h, head, &b, scores);
        kernels->attention_weights[h->dtype](&b, scores);
        matmul_into(h->dtype, false, false, b.rows, h->value_size, b.columns, scores, h->row_length, matrix(a->v, head, 0),
                    step(a->v), 0, matrix(a->out, head, first), step(a->out));
    }
}

/* What no block reaches of a sum over blocks, rows from `row` on, and what only later ones do, starts with zero. */
static void clear_rows(const Tensor *t, isize head, isize row)
{
    const isize bytes = t->shape[t->ndim - 1] * itemsize(t->dtype);
    for (; row < t->shape[t->ndim - 2]; row++) memset(matrix(t, head, row), 0, (size_t)bytes);
}

/* to = or += block^T x, the sum over the block's queries. */
static void add_to_keys(const Heads *h, isize head, const AttentionBlock *b, const void *block, const Tensor *x,
                        const Tensor *to)
{
    matmul_into(h->dtype, true, false, b->columns, to->shape[to->ndim - 1], b->rows, block, h->row_length,
                matrix(x, head, b->first), step(x), b->first > 0, matrix(to, head, 0), step(to));
}

static void backward(const Heads *h, isize head, char *scores)
{
    const Attention *a = h->a;
    char *slopes = scores + h->slot_bytes / 2;
    const isize reached = h->queries ? block_of(h, head, 0).columns : 0;
    if (a->dk) clear_rows(a->dk, head, reached);
    if (a->dv) clear_rows(a->dv, head, reached);
    for (isize first = 0; first < h->queries; first += h->rows) {
        AttentionBlock b = block_of(h, head, first);
        b.out = matrix(a->out, head, first);
        b.out_step = step(a->out);
        b.g = matrix(a->g, head, first);
        b.g_step = step(a->g);
        b.value_size = h->value_size;
        score(h, head, &b, scores);
        matmul_into(h->dtype, false, true, b.rows, b.columns, h->value_size, b.g, b.g_step, matrix(a->v, head, 0),
                    step(a->v), 0, slopes, h->row_length);
        kernels->attention_slopes[h->dtype](&b, scores, slopes);
        if (a->dv) add_to_keys(h, head, &b, scores, a->g, a->dv);
        if (a->dk) add_to_keys(h, head, &b, slopes, a->q, a->dk);
        if (a->dq)
            matmul_into(h->dtype, false, false, b.rows, h->size, b.columns, slopes, h->row_length, matrix(a->k, head, 0),
                        step(a->k), 0, matrix(a->dq, head, first), step(a->dq));
    }
}

static void run_head(void *context, ptrdiff_t head)
{
    Heads *h = context;
    const int slot = take_slot(h);
    char *space = h->space + slot * h->slot_bytes;
    if (h->a->g) {
        backward(h, head, space);
    } else {
        forward(h, head, space);
    }
    atomic_flag_clear_explicit(&h->busy[slot], memory_order_release);
}

void attention(const Attention *a, void *space)
{
    Heads h;
    describe(&h, a);
    h.space = space;
    for (int slot = 0; slot < a->slots; slot++) atomic_flag_clear(&h.busy[slot]);
    const double products = (double)h.heads * (double)h.queries * (double)h.keys * (double)(h.size + h.value_size);
    if (h.heads > 1 && products >= PARALLEL_PRODUCTS) {
        parallel(run_head, &h, h.heads);
    } else {
        for (isize head = 0; head < h.heads; head++) run_head(&h, head);
    }
}
