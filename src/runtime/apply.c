/* Broadcasting over staged, contiguous runs: see apply.h. */
#include "apply.h"
#include "../kernels/pointwise.h"
#include "threads.h"

#include <string.h>

enum { RUN = 512 }; /* elements of a staged run: six operands of float64 stay within a 32 KiB cache */

/* An operand of a collapsed loop nest. */
typedef struct {
    const char *data;
    int itemsize;
    isize strides[MAX_NDIM]; /* in elements; 0 along axes on which it is broadcast */
} Operand;

typedef struct {
    pointwise_fn kernel;
    int n_operands, ndim, out_itemsize;
    isize shape[MAX_NDIM];
    Operand operands[MAX_OPERANDS];
    char *out;
    isize size, chunk;
} Loop;

/* Strides of t's axes when t is broadcast to `ndim` axes. */
static void broadcast_strides(const Tensor *t, int ndim, isize *strides)
{
    int missing = ndim - t->ndim;
    for (int i = 0; i < ndim; i++) strides[i] = i < missing || t->shape[i - missing] == 1 ? 0 : t->strides[i - missing];
}

/* Drop axes of size 1 and merge neighbours that every operand walks through evenly. */
static void collapse(Loop *loop)
{
    int kept = 0;
    for (int axis = 0; axis < loop->ndim; axis++) {
        isize n = loop->shape[axis];
        if (n == 1) continue;
        bool merge = kept > 0;
        for (int k = 0; k < loop->n_operands && merge; k++) {
            const isize *s = loop->operands[k].strides;
            merge = s[kept - 1] == s[axis] * n;
        }
        int to = merge ? kept - 1 : kept++;
        loop->shape[to] = merge ? loop->shape[to] * n : n;
        for (int k = 0; k < loop->n_operands; k++) loop->operands[k].strides[to] = loop->operands[k].strides[axis];
    }
    if (kept == 0) {
        loop->shape[0] = 1;
        for (int k = 0; k < loop->n_operands; k++) loop->operands[k].strides[0] = 1;
        kept = 1;
    }
    loop->ndim = kept;
}

/* Gather n elements of an operand, starting at flat output position `start`, into `to`. */
static void stage(const Loop *loop, const Operand *x, isize start, isize n, char *to)
{
    int last = loop->ndim - 1;
    isize index[MAX_NDIM], offset = 0;
    for (int i = last; i >= 0; i--) {
        index[i] = start % loop->shape[i];
        start /= loop->shape[i];
        offset += index[i] * x->strides[i];
    }
    while (n > 0) {
        isize run = loop->shape[last] - index[last];
        if (run > n) run = n;
        kernels->gather_strided(run, x->data + offset * x->itemsize, x->strides[last], to, x->itemsize);
        to += run * x->itemsize;
        n -= run;
        offset += run * x->strides[last];
        index[last] += run;
        for (int i = last; i > 0 && index[i] == loop->shape[i]; i--) {
            offset += x->strides[i - 1] - index[i] * x->strides[i];
            index[i] = 0;
            index[i - 1]++;
        }
    }
}

/* Is the operand contiguous all over, so that any run of it can be read in place? */
static bool is_flat(const Loop *loop, const Operand *x) { return loop->ndim == 1 && x->strides[0] == 1; }

/* Runs that cross rows: everything but a fully contiguous operand is gathered. */
static void run_flat(const Loop *loop, isize start, isize end)
{
    _Alignas(64) char staged[MAX_OPERANDS][RUN * 8];
    char *args[MAX_OPERANDS + 1];
    bool flat[MAX_OPERANDS], constant[MAX_OPERANDS];
    for (int k = 0; k < loop->n_operands; k++) {
        const Operand *x = &loop->operands[k];
        flat[k] = is_flat(loop, x);
        constant[k] = loop->ndim == 1 && x->strides[0] == 0;
        if (constant[k]) {
            isize n = end - start < RUN ? end - start : RUN;
            kernels->gather_strided(n, x->data, 0, staged[k], x->itemsize);
        }
    }
    for (isize i = start; i < end; i += RUN) {
        isize n = end - i < RUN ? end - i : RUN;
        for (int k = 0; k < loop->n_operands; k++) {
            const Operand *x = &loop->operands[k];
            args[k] = flat[k] ? (char *)x->data + i * x->itemsize : staged[k];
            if (!flat[k] && !constant[k]) stage(loop, x, i, n, staged[k]);
        }
        args[loop->n_operands] = loop->out + i * loop->out_itemsize;
        loop->kernel(n, args);
    }
}

/* Long rows: an operand whose row is contiguous is read in place, a constant row is staged once. */
static void run_rows(const Loop *loop, isize start, isize end)
{
    _Alignas(64) char staged[MAX_OPERANDS][RUN * 8];
    char *args[MAX_OPERANDS + 1];
    int last = loop->ndim - 1;
    isize row_size = loop->shape[last];
    for (isize i = start; i < end;) {
        isize in_row = i % row_size, rest = i / row_size;
        isize row_end = i + row_size - in_row < end ? i + row_size - in_row : end;
        const char *row[MAX_OPERANDS];
        for (int k = 0; k < loop->n_operands; k++) {
            const Operand *x = &loop->operands[k];
            isize offset = 0, outer = rest;
            for (int axis = last - 1; axis >= 0; axis--) {
                offset += outer % loop->shape[axis] * x->strides[axis];
                outer /= loop->shape[axis];
            }
            row[k] = x->data + offset * x->itemsize;
            if (x->strides[last] == 0) kernels->gather_strided(RUN, row[k], 0, staged[k], x->itemsize);
        }
        while (i < row_end) {
            bool in_place = true;
            for (int k = 0; k < loop->n_operands; k++) in_place = in_place && loop->operands[k].strides[last] == 1;
            isize n = in_place || row_end - i < RUN ? row_end - i : RUN;
            for (int k = 0; k < loop->n_operands; k++) {
                const Operand *x = &loop->operands[k];
                isize stride = x->strides[last];
                const char *from = row[k] + in_row * stride * x->itemsize;
                if (stride > 1 || stride < 0) kernels->gather_strided(n, from, stride, staged[k], x->itemsize);
                args[k] = stride == 1 ? (char *)from : staged[k];
            }
            args[loop->n_operands] = loop->out + i * loop->out_itemsize;
            loop->kernel(n, args);
            i += n;
            in_row += n;
        }
    }
}

static void run_loop(const Loop *loop, isize start, isize end)
{
    if (loop->ndim > 1 && loop->shape[loop->ndim - 1] >= RUN / 4) {
        run_rows(loop, start, end);
    } else {
        run_flat(loop, start, end);
    }
}

static void run_chunk(void *context, isize index)
{
    const Loop *loop = context;
    isize start = index * loop->chunk;
    isize end = start + loop->chunk < loop->size ? start + loop->chunk : loop->size;
    bool all_flat = true;
    for (int k = 0; k < loop->n_operands; k++) all_flat = all_flat && is_flat(loop, &loop->operands[k]);
    if (!all_flat) {
        run_loop(loop, start, end);
        return;
    }
    char *args[MAX_OPERANDS + 1];
    for (int k = 0; k < loop->n_operands; k++) args[k] = (char *)loop->operands[k].data + start * loop->operands[k].itemsize;
    args[loop->n_operands] = loop->out + start * loop->out_itemsize;
    loop->kernel(end - start, args);
}

void apply_broadcast(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out, bool heavy)
{
    if (out->size == 0) return;
    Loop loop = {.kernel = kernel,
                 .n_operands = n_operands,
                 .ndim = out->ndim,
                 .out_itemsize = itemsize(out->dtype),
                 .out = out->data,
                 .size = out->size,
                 .chunk = heavy ? 1 << 13 : 1 << 15};
    memcpy(loop.shape, out->shape, sizeof loop.shape);
    for (int k = 0; k < n_operands; k++) {
        loop.operands[k].data = operands[k]->data;
        loop.operands[k].itemsize = itemsize(operands[k]->dtype);
        broadcast_strides(operands[k], out->ndim, loop.operands[k].strides);
    }
    collapse(&loop);
    isize n_chunks = (loop.size + loop.chunk - 1) / loop.chunk;
    if (n_chunks <= 2) {
        loop.chunk = loop.size;
        run_chunk(&loop, 0);
    } else {
        parallel(run_chunk, &loop, n_chunks);
    }
}

/* ---- Sums ---- */

enum { SUM_RUN = 2048, MAX_SUMS = 64 };

typedef struct {
    pointwise_fn kernel;
    int n_operands, dtype;
    const Tensor *const *operands;
    const Tensor *weights;
    isize size, chunk;
    double sums[MAX_SUMS];
} Sum;

static void sum_chunk(void *context, isize index)
{
    _Alignas(64) char values[SUM_RUN * 8], weighted[SUM_RUN * 8], constant[SUM_RUN * 8];
    Sum *sum = context;
    const int last = sum->n_operands - 1, bytes = itemsize(sum->dtype);
    const isize start = index * sum->chunk, end = start + sum->chunk < sum->size ? start + sum->chunk : sum->size;
    const bool repeated = sum->operands[last]->size == 1;
    if (repeated)
        kernels->gather_strided(end - start < SUM_RUN ? end - start : SUM_RUN, sum->operands[last]->data, 0, constant,
                                bytes);
    double total = 0;
    for (isize i = start; i < end; i += SUM_RUN) {
        isize n = end - i < SUM_RUN ? end - i : SUM_RUN;
        char *args[MAX_OPERANDS + 1], *found = values;
        for (int k = 0; k < sum->n_operands; k++) args[k] = sum->operands[k]->data + i * bytes;
        if (repeated) args[last] = constant;
        args[sum->n_operands] = values;
        sum->kernel(n, args);
        if (sum->weights) {
            char *product[] = {values, sum->weights->data + i * bytes, weighted};
            kernels->forward[OP_multiply][sum->dtype](n, product);
            found = weighted;
        }
        union {
            float f32;
            double f64;
        } part;
        kernels->sum[sum->dtype](found, &part, 1, n, 1);
        total += sum->dtype == FLOAT32 ? (double)part.f32 : part.f64;
    }
    sum->sums[index] = total;
}

double apply_sum(pointwise_fn kernel, int n_operands, const Tensor *const *operands, const Tensor *weights, isize size,
                 bool heavy)
{
    Sum sum = {kernel, n_operands, operands[0]->dtype, operands, weights, size, heavy ? 1 << 13 : 1 << 15, {0}};
    if (size > MAX_SUMS * sum.chunk) sum.chunk = (size / MAX_SUMS / SUM_RUN + 1) * SUM_RUN;
    isize n_chunks = (size + sum.chunk - 1) / sum.chunk;
    parallel(sum_chunk, &sum, n_chunks);
    double total = 0;
    for (isize i = 0; i < n_chunks; i++) total += sum.sums[i];
    return total;
}

/* ---- Copies between a strided tensor and contiguous values, row by row of the collapsed tensor ---- */
typedef struct {
    Loop loop;
    char *values;
    bool in;
} Copy;

static void copy_rows(void *context, isize index)
{
    const Copy *copy = context;
    const Loop *loop = &copy->loop;
    const Operand *x = &loop->operands[0];
    int last = loop->ndim - 1, size = x->itemsize;
    isize n = loop->shape[last], rows = loop->size / n;
    isize row = index * loop->chunk, end = row + loop->chunk < rows ? row + loop->chunk : rows;
    for (; row < end; row++) {
        isize offset = 0, outer = row;
        for (int axis = last - 1; axis >= 0; axis--) {
            offset += outer % loop->shape[axis] * x->strides[axis];
            outer /= loop->shape[axis];
        }
        char *strided = (char *)x->data + offset * size, *flat = copy->values + row * n * size;
        if (copy->in) {
            kernels->scatter_strided(n, flat, strided, x->strides[last], size);
        } else {
            kernels->gather_strided(n, strided, x->strides[last], flat, size);
        }
    }
}

static void copy_strided(const Tensor *t, char *values, bool in)
{
    if (t->size == 0) return;
    Copy copy = {.loop = {.n_operands = 1, .ndim = t->ndim, .size = t->size}, .values = values, .in = in};
    memcpy(copy.loop.shape, t->shape, sizeof t->shape);
    copy.loop.operands[0] = (Operand){.data = t->data, .itemsize = itemsize(t->dtype)};
    broadcast_strides(t, t->ndim, copy.loop.operands[0].strides);
    collapse(&copy.loop);
    isize n = copy.loop.shape[copy.loop.ndim - 1], rows = t->size / n;
    copy.loop.chunk = (1 << 16) / n + 1;
    parallel(copy_rows, &copy, (rows + copy.loop.chunk - 1) / copy.loop.chunk);
}

void tensor_copy_out(const Tensor *t, void *out)
{
    if (t->contiguous) {
        memcpy(out, t->data, (size_t)(t->size * itemsize(t->dtype)));
    } else {
        copy_strided(t, out, false);
    }
}

void tensor_copy_in(const Tensor *t, const void *values) { copy_strided(t, (char *)values, true); }
