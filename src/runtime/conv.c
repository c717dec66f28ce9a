/* Convolution by im2col and matrix products: see conv.h.
 *
 * Images are shared out to threads in blocks of fixed size. The gradient of the filters sums over images: each block has a sum of
 * its own, and the sums are added in order, so that the number of threads does not matter.
 */
#include "conv.h"
#include "blas.h"
#include "tensor.h"
#include "threads.h"

#include <stdlib.h>
#include <string.h>

enum { FORWARD, INPUT, FILTERS };
enum { MAX_BLOCKS = 16 };

typedef struct {
    int kind, dtype;
    const Window *w;
    isize images, filters, block, taps, positions; /* images in a block; rows and columns of a column matrix */
    const char *x, *f, *g;                         /* what each kind reads */
    char *out, *partial;                           /* its result; sums of blocks after the first */
    char *columns;                                 /* one column matrix for each block */
} Conv;

static void conv_block(void *context, isize index)
{
    const Conv *c = context;
    const Window *w = c->w;
    isize size = itemsize(c->dtype), image = w->channels * w->height * w->width * size;
    isize result = c->filters * c->positions * size, weights = c->filters * c->taps * size;
    char *column = c->columns + index * c->taps * c->positions * size;
    isize end = (index + 1) * c->block < c->images ? (index + 1) * c->block : c->images;
    for (isize i = index * c->block; i < end; i++) {
        if (c->kind == FORWARD) {
            kernels->im2col[c->dtype](w, c->x + i * image, column);
            matmul_into(c->dtype, false, false, c->filters, c->positions, c->taps, c->f, c->taps, column, c->positions, 0,
                        c->out + i * result, c->positions);
        } else if (c->kind == INPUT) {
            matmul_into(c->dtype, true, false, c->taps, c->positions, c->filters, c->f, c->taps, c->g + i * result,
                        c->positions, 0, column, c->positions);
            kernels->col2im[c->dtype](w, column, c->out + i * image);
        } else {
            char *sum = index == 0 ? c->out : c->partial + (index - 1) * weights;
            kernels->im2col[c->dtype](w, c->x + i * image, column);
            matmul_into(c->dtype, false, true, c->filters, c->taps, c->positions, c->g + i * result, c->positions, column,
                        c->positions, i > index * c->block, sum, c->taps);
        }
    }
}

static int conv_run(Conv *c)
{
    const Window *w = c->w;
    isize size = itemsize(c->dtype);
    c->taps = w->channels * w->kernel_h * w->kernel_w;
    c->positions = w->out_h * w->out_w;
    isize weights = c->filters * c->taps * size;
    if (c->images == 0) {
        if (c->kind == FILTERS) memset(c->out, 0, (size_t)weights);
        return 0;
    }
    c->block = (c->images + MAX_BLOCKS - 1) / MAX_BLOCKS;
    isize blocks = (c->images + c->block - 1) / c->block;
    isize columns = blocks * c->taps * c->positions * size;
    isize partial = c->kind == FILTERS ? (blocks - 1) * weights : 0;
    c->columns = malloc((size_t)(columns + partial + 1));
    if (!c->columns) return -1;
    c->partial = c->columns + columns;
    parallel(conv_block, c, blocks);
    for (isize i = 0; partial && i < blocks - 1; i++)
        kernels->accumulate[c->dtype](c->filters * c->taps, c->partial + i * weights, c->out);
    free(c->columns);
    return 0;
}

int conv_forward(int dtype, const Window *w, isize images, isize filters, const void *x, const void *f, void *y)
{
    Conv c = {.kind = FORWARD, .dtype = dtype, .w = w, .images = images, .filters = filters, .x = x, .f = f, .out = y};
    return conv_run(&c);
}

int conv_input(int dtype, const Window *w, isize images, isize filters, const void *g, const void *f, void *x)
{
    Conv c = {.kind = INPUT, .dtype = dtype, .w = w, .images = images, .filters = filters, .g = g, .f = f, .out = x};
    return conv_run(&c);
}

int conv_filters(int dtype, const Window *w, isize images, isize filters, const void *x, const void *g, void *f)
{
    Conv c = {.kind = FILTERS, .dtype = dtype, .w = w, .images = images, .filters = filters, .x = x, .g = g, .out = f};
    return conv_run(&c);
}
