/* Broadcasting over staged, contiguous runs: see apply.h.
 *
 * The axes of the result are collapsed to as few as the operands allow. Its last axis makes columns, all the others rows; tasks
 * are blocks of rows and columns, and within them a kernel runs over tiles, small enough that the staged operands of a tile
 * stay in the CPU's first cache.
 */
#include "apply.h"
#include "../kernels/pointwise.h"
#include "threads.h"

#include <stdlib.h>
#include <string.h>

enum {
    TILE = 1024,          /* elements of a staged tile */
    SHORT_ROW = TILE / 8, /* columns of rows that are taken several at a time */
    SQUARE = 128,         /* rows and columns of a block of a transposing copy */
    COPY_TASK = 1 << 15,  /* about how many elements a task copies */
    FAR = 1 << 23,        /* bytes of a result that is not in the caches any more */
    PIECE = 512,          /* elements of such a result that are asked for at a time */
    TURNED_ROWS = 16,     /* rows of a tile where an operand runs along columns: a line of the cache, of float32 */
};

static inline isize smaller(isize a, isize b) { return a < b ? a : b; }
static inline isize larger(isize a, isize b) { return a > b ? a : b; }
static inline isize blocks_of(isize n, isize block) { return (n + block - 1) / block; }

/* An operand of a collapsed loop nest. */
typedef struct {
    char *data;
    int itemsize;
    bool in_place;           /* a tile's rows need no staging */
    bool repeated;           /* all rows are the same */
    isize strides[MAX_NDIM]; /* in elements; 0 along axes on which it is broadcast */
} Operand;

typedef struct {
    pointwise_fn kernel;
    int n_operands, ndim, out_dtype;
    bool add; /* to out, instead of filling it */
    bool far; /* the result is not in the caches, and waiting for it takes longer than computing */
    isize shape[MAX_NDIM];
    Operand operands[MAX_OPERANDS];
    char *out;
    isize rows, columns;
    isize block_rows, block_columns, tile_rows, tile_columns;
} Loop;

/* Strides of t's axes when t is broadcast to `ndim` axes. */
static void broadcast_strides(const Tensor *t, int ndim, isize *strides)
{
    int missing = ndim - t->ndim;
    for (int i = 0; i < ndim; i++) strides[i] = i < missing || t->shape[i - missing] == 1 ? 0 : t->strides[i - missing];
}

/* Drop axes of size 1 and merge neighbours that every operand walks through evenly. At least one axis is left. */
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
    loop->columns = loop->shape[kept - 1];
    loop->rows = 1;
    for (int axis = 0; axis < kept - 1; axis++) loop->rows *= loop->shape[axis];
}

/* The index of a row on every axis but the last; returns the row's offset in an operand, in elements. */
static inline isize locate(const Loop *loop, const Operand *x, isize row, isize *index)
{
    isize offset = 0;
    for (int axis = loop->ndim - 2; axis >= 0; axis--) {
        index[axis] = row % loop->shape[axis];
        row /= loop->shape[axis];
        offset += index[axis] * x->strides[axis];
    }
    return offset;
}

/* Copy `rows` rows of an operand, from `row` on, and `columns` columns, from `column` on, to rows that are tile_columns apart. */
static void stage(const Loop *loop, const Operand *x, isize row, isize rows, isize column, isize columns, char *to)
{
    const int last = loop->ndim - 1;
    isize index[MAX_NDIM], offset = locate(loop, x, row, index) + column * x->strides[last];
    while (rows > 0) {
        const isize run = last ? smaller(rows, loop->shape[last - 1] - index[last - 1]) : 1;
        kernels->copy(run, columns, x->data + offset * x->itemsize, last ? x->strides[last - 1] : 0, x->strides[last], to,
                      loop->tile_columns, 1, x->itemsize);
        to += run * loop->tile_columns * x->itemsize;
        rows -= run;
        if (rows == 0) return;
        offset += run * x->strides[last - 1];
        index[last - 1] += run;
        for (int i = last - 1; i > 0 && index[i] == loop->shape[i]; i--) {
            offset += x->strides[i - 1] - index[i] * x->strides[i];
            index[i] = 0;
            index[i - 1]++;
        }
    }
}

/* How the result is cut into tiles, and which operands are read where they are.
 *
 * Short rows are taken several at a time, as one run; long ones one at a time, unless an operand runs along columns: then a
 * tile has some rows, so that the lines of the cache that it reads are used up. */
static void plan(Loop *loop, bool heavy)
{
    const int last = loop->ndim - 1;
    const isize chunk = heavy ? 1 << 13 : 1 << 15;
    const bool short_rows = last > 0 && loop->columns <= SHORT_ROW;
    bool turned = false, staged = loop->add;
    for (int k = 0; k < loop->n_operands; k++) {
        Operand *x = &loop->operands[k];
        isize flat = 1;
        x->in_place = x->repeated = true;
        for (int axis = last; axis >= 0; axis--) {
            if (axis < last) x->repeated = x->repeated && x->strides[axis] == 0;
            x->in_place = x->in_place && (x->strides[axis] == flat || (axis < last && !short_rows));
            flat *= loop->shape[axis];
        }
        staged = staged || !x->in_place;
        turned = turned || (last > 0 && !short_rows && x->strides[last] != 0 && x->strides[last - 1] != 0 &&
                            labs(x->strides[last - 1]) < labs(x->strides[last]));
    }
    loop->tile_rows = short_rows ? TILE / loop->columns : turned ? TURNED_ROWS : 1;
    loop->tile_columns = short_rows ? loop->columns : turned ? TILE / TURNED_ROWS : staged ? TILE : loop->columns;
    loop->block_rows = smaller(loop->rows, larger(1, chunk / loop->columns / loop->tile_rows) * loop->tile_rows);
    loop->block_columns = smaller(loop->columns, larger(1, chunk / loop->block_rows));
}

/* The kernel by PIECEs; each next piece of the result, which is in no cache, is brought on its way. */
static void run_far(const Loop *loop, isize n, char **args)
{
    const int n_operands = loop->n_operands, out_size = itemsize(loop->out_dtype);
    for (isize left = n; left > 0; left -= PIECE) {
        const char *next = args[n_operands] + PIECE * out_size;
        for (isize line = 0; line < (left - PIECE) * out_size && line < PIECE * out_size; line += 64)
            __builtin_prefetch(next + line, 1);
        loop->kernel(smaller(PIECE, left), args);
        for (int k = 0; k < n_operands; k++) args[k] += PIECE * loop->operands[k].itemsize;
        args[n_operands] += PIECE * out_size;
    }
}

static void run_block(const Loop *loop, isize first_row, isize last_row, isize first_column, isize last_column)
{
    _Alignas(64) char staged[MAX_OPERANDS][TILE * 8], terms[TILE * 8];
    const int n_operands = loop->n_operands, last = loop->ndim - 1;
    const bool whole_rows = loop->tile_columns == loop->columns;
    for (isize row = first_row; row < last_row; row += loop->tile_rows) {
        const isize rows = smaller(loop->tile_rows, last_row - row);
        for (isize column = first_column; column < last_column; column += loop->tile_columns) {
            const isize columns = smaller(loop->tile_columns, last_column - column);
            for (int k = 0; k < n_operands; k++) {
                const Operand *x = &loop->operands[k];
                const bool same =
                    (x->repeated && row > first_row && whole_rows) || (x->strides[last] == 0 && column > first_column);
                if (!x->in_place && !same) stage(loop, x, row, rows, column, columns, staged[k]);
            }
            /* A tile of whole rows is one run, other tiles a run for each row. */
            const isize runs = whole_rows ? 1 : rows, n = whole_rows ? rows * columns : columns;
            for (isize i = 0; i < runs; i++) {
                char *args[MAX_OPERANDS + 1];
                isize index[MAX_NDIM];
                for (int k = 0; k < n_operands; k++) {
                    const Operand *x = &loop->operands[k];
                    const isize offset = x->in_place ? locate(loop, x, row + i, index) + column : i * loop->tile_columns;
                    args[k] = (x->in_place ? x->data : staged[k]) + offset * x->itemsize;
                }
                char *out = loop->out + ((row + i) * loop->columns + column) * itemsize(loop->out_dtype);
                args[n_operands] = loop->add ? terms : out;
                if (loop->far) {
                    run_far(loop, n, args);
                } else {
                    loop->kernel(n, args);
                }
                if (loop->add) kernels->accumulate[loop->out_dtype](n, terms, out);
            }
        }
    }
}

static void apply_task(void *context, isize task)
{
    const Loop *loop = context;
    const isize strips = blocks_of(loop->columns, loop->block_columns);
    const isize row = task / strips * loop->block_rows, column = task % strips * loop->block_columns;
    run_block(loop, row, smaller(row + loop->block_rows, loop->rows), column,
              smaller(column + loop->block_columns, loop->columns));
}

static void run_loop(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out, bool heavy, bool add)
{
    if (out->size == 0) return;
    Loop loop; /* all of it would take longer to clear than few elements take */
    loop.kernel = kernel;
    loop.n_operands = n_operands;
    loop.ndim = out->ndim;
    loop.out_dtype = out->dtype;
    loop.add = add;
    loop.far = !add && !heavy && out->size * itemsize(out->dtype) > FAR;
    loop.out = out->data;
    shape_copy(loop.shape, out->shape, out->ndim);
    for (int k = 0; k < n_operands; k++) {
        loop.operands[k].data = operands[k]->data;
        loop.operands[k].itemsize = itemsize(operands[k]->dtype);
        broadcast_strides(operands[k], out->ndim, loop.operands[k].strides);
    }
    collapse(&loop);
    plan(&loop, heavy);
    const isize n_tasks = blocks_of(loop.rows, loop.block_rows) * blocks_of(loop.columns, loop.block_columns);
    if (n_tasks <= 2) {
        run_block(&loop, 0, loop.rows, 0, loop.columns);
    } else {
        parallel(apply_task, &loop, n_tasks);
    }
}

/* One call of the kernel, where the result is small and operands are numbers or laid out as it is; false: they are not. */
static bool apply_few(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out)
{
    _Alignas(64) char numbers[MAX_OPERANDS][TILE * 8];
    char *args[MAX_OPERANDS + 1];
    const isize n = out->size;
    if (n > TILE || n == 0) return false;
    for (int k = 0; k < n_operands; k++) {
        const Tensor *x = operands[k];
        args[k] = x->data;
        if (x->size == n && x->contiguous) continue;
        if (x->size != 1) return false;
        args[k] = numbers[k];
        kernels->fill(n, numbers[k], x->data, itemsize(x->dtype));
    }
    args[n_operands] = out->data;
    kernel(n, args);
    return true;
}

void apply_broadcast(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out, bool heavy)
{
    if (!apply_few(kernel, n_operands, operands, out)) run_loop(kernel, n_operands, operands, out, heavy, false);
}

/* apply_few for terms that are added. */
static bool add_few(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out)
{
    _Alignas(64) char terms[TILE * 8];
    char *args[MAX_OPERANDS + 1];
    const isize n = out->size;
    bool same = 0 < n && n <= TILE;
    for (int k = 0; k < n_operands; k++) {
        same &= operands[k]->contiguous & (operands[k]->size == n);
        args[k] = operands[k]->data;
    }
    if (!same) return false;
    args[n_operands] = terms;
    kernel(n, args);
    kernels->accumulate[out->dtype](n, terms, out->data);
    return true;
}

void apply_add(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out, bool heavy)
{
    if (!add_few(kernel, n_operands, operands, out)) run_loop(kernel, n_operands, operands, out, heavy, true);
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
    if (repeated) kernels->fill(end - start < SUM_RUN ? end - start : SUM_RUN, constant, sum->operands[last]->data, bytes);
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

/* ---- Copies between tensors of one shape and any strides ---- */

typedef struct {
    Loop loop; /* operand 0 is read, operand 1 written; their planes of the last two axes are cut into blocks */
    isize planes, row_blocks, blocks, blocks_per_task;
} Copy;

static void copy_task(void *context, isize task)
{
    const Copy *copy = context;
    const Loop *loop = &copy->loop;
    const int last = loop->ndim - 1;
    const isize end = smaller((task + 1) * copy->blocks_per_task, copy->planes * copy->blocks);
    for (isize block = task * copy->blocks_per_task; block < end; block++) {
        const isize row = block % copy->row_blocks * loop->block_rows;
        const isize column = block % copy->blocks / copy->row_blocks * loop->block_columns;
        const Operand *side[2] = {&loop->operands[0], &loop->operands[1]};
        isize offset[2];
        for (int k = 0; k < 2; k++) {
            offset[k] = row * side[k]->strides[last - 1] + column * side[k]->strides[last];
            for (isize axis = last - 2, plane = block / copy->blocks; axis >= 0; axis--) {
                offset[k] += plane % loop->shape[axis] * side[k]->strides[axis];
                plane /= loop->shape[axis];
            }
        }
        kernels->copy(smaller(loop->block_rows, loop->shape[last - 1] - row),
                      smaller(loop->block_columns, loop->shape[last] - column),
                      side[0]->data + offset[0] * side[0]->itemsize, side[0]->strides[last - 1], side[0]->strides[last],
                      side[1]->data + offset[1] * side[1]->itemsize, side[1]->strides[last - 1], side[1]->strides[last],
                      side[0]->itemsize);
    }
}

static void swap(isize *a, isize *b)
{
    isize kept = *a;
    *a = *b;
    *b = kept;
}

/* Exchange neighbouring axes. */
static void exchange(Loop *loop, int axis)
{
    for (int k = 0; k < loop->n_operands; k++) swap(&loop->operands[k].strides[axis], &loop->operands[k].strides[axis + 1]);
    swap(&loop->shape[axis], &loop->shape[axis + 1]);
}

/* Copy t's elements to the places that `data` and `strides` tell, of the same shape. */
static void copy_elements(const Tensor *t, char *data, const isize *strides)
{
    if (t->size == 0) return;
    Copy copy = {.loop = {.n_operands = 2, .ndim = t->ndim}};
    Loop *loop = &copy.loop;
    isize *from = loop->operands[0].strides, *to = loop->operands[1].strides;
    memcpy(loop->shape, t->shape, sizeof t->shape);
    loop->operands[0] = (Operand){.data = t->data, .itemsize = itemsize(t->dtype)};
    loop->operands[1] = (Operand){.data = data, .itemsize = itemsize(t->dtype)};
    memcpy(from, t->strides, sizeof t->strides);
    memcpy(to, strides, sizeof t->strides);
    collapse(loop);
    if (loop->ndim == 1) { /* a row */
        loop->ndim = 2;
        loop->shape[1] = 1;
        exchange(loop, 0);
        from[0] = to[0] = 0;
    }
    const int last = loop->ndim - 1;
    int nearest = last - 1; /* the axis along which the elements read are closest together makes the rows */
    for (int axis = 0; axis < last; axis++)
        if (from[axis] != 0 && labs(from[axis]) < labs(from[nearest])) nearest = axis;
    const bool turned = from[nearest] != 0 && labs(from[nearest]) < labs(from[last]);
    for (int axis = nearest; turned && axis < last - 1; axis++) exchange(loop, axis);
    const isize rows = loop->shape[last - 1], columns = loop->shape[last], most = turned ? SQUARE * SQUARE : COPY_TASK;
    loop->block_columns = smaller(columns, turned ? larger(SQUARE, most / rows) : most);
    loop->block_rows = smaller(rows, most / loop->block_columns);
    copy.row_blocks = blocks_of(rows, loop->block_rows);
    copy.blocks = copy.row_blocks * blocks_of(columns, loop->block_columns);
    copy.planes = t->size / (rows * columns);
    copy.blocks_per_task = larger(1, COPY_TASK / (loop->block_rows * loop->block_columns));
    const isize n_tasks = blocks_of(copy.planes * copy.blocks, copy.blocks_per_task);
    if (n_tasks <= 2) {
        for (isize task = 0; task < n_tasks; task++) copy_task(&copy, task);
    } else {
        parallel(copy_task, &copy, n_tasks);
    }
}

void tensor_copy(const Tensor *t, const Tensor *to) { copy_elements(t, to->data, to->strides); }

void tensor_copy_out(const Tensor *t, void *out)
{
    isize strides[MAX_NDIM] = {0}, stride = 1;
    if (t->contiguous && t->size <= COPY_TASK) {
        memcpy(out, t->data, (size_t)(t->size * itemsize(t->dtype)));
        return;
    }
    for (int axis = t->ndim - 1; axis >= 0; axis--) {
        strides[axis] = stride;
        stride *= t->shape[axis];
    }
    copy_elements(t, out, strides);
}
