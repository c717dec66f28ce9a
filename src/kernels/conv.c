/* Convolution of a batch of images and its two adjoints, without a matrix of columns.
 *
 * Above: src/windows.pxi, through the table (kernels.h).  Below: conv_body.h, which is compiled here for each dtype.
 *
 * The three are one product, out[i][j] = sum over s of x[row[i] + along[s]] * b[s][j], whose left factor is read where it lies,
 * through two tables of offsets (the "indirect convolution" of Dukhan, arXiv:1907.02129):
 *
 *                   x                       rows i            sum s                 b
 *     FORWARD       images                  positions         channels x taps       filters
 *     INPUT         cotangents              image elements    filters x taps        filters
 *     FILTERS       images                  channels x taps   positions             cotangents
 *
 * To make every offset a sum of two, an image is first copied into a grid: with its padding, and where windows are `stride` apart
 * with each axis split into phases (element y is element y / stride of phase y % stride), so that neighbouring windows read
 * neighbouring elements.  A tap lies in one phase.  The cotangents of one phase of the images are a convolution of stride 1 with
 * the taps of that phase: that is how INPUT treats any stride.
 *
 * Images are shared out to threads in blocks; which, depends on sizes alone. The gradient of the filters sums over images: each
 * block has a sum of its own, and the sums are added in order.
 */
#include "blocks.h"
#include "kernel_list.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/* A tile of sums that stays in registers is at most TILE_ROWS rows by two vectors. */
#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64, TILE_ROWS = 12 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32, TILE_ROWS = 6 };
#elif defined(__aarch64__)
enum { VECTOR_BYTES = 16, TILE_ROWS = 8 };
#else
enum { VECTOR_BYTES = 16, TILE_ROWS = 4 };
#endif

#define INLINE static inline __attribute__((always_inline))

/* One axis of the grid: element r of phase a is element r * stride + (a * dilation) % stride - pad of the image, or zero. */
typedef struct {
    isize size, stride, pad, dilation; /* of the image */
    isize phases, length;
} Axis;

/* A convolution of stride 1 over the grid: all of FORWARD, or the phase of INPUT that some of the taps reach. */
typedef struct {
    isize rows, cols;            /* of positions */
    isize at, pitch;             /* the first position's place in the grid; from row to row */
    isize out, out_row, out_col; /* the same in the result, and from column to column */
    isize terms, *along, *taps;  /* terms of the sum; their places in the grid of a group, and in its filters */
    bool wide;                   /* do vectors hold positions (else: output channels)? */
    isize panels;                /* where its packed filters begin */
} Pass;

enum { MAX_BLOCKS = 16, FEW_TASKS = 4, CHUNK = 192, MAX_SLOTS = 64 };
static const double LARGE_WORK = 1 << 20; /* multiply-adds from which work is given to the thread pool */

typedef struct {
    int pass;
    const Window *w;
    isize images, ins, outs; /* channels of a group on the side that is read through the grid, and on the other */
    isize in_plane, out_plane;
    Axis y, x;
    isize terms;          /* channels x taps of a group, on the side of the grid */
    isize plane, channel; /* elements of the grid: of one phase, of all phases of a channel */
    bool in_place;        /* the image is its own grid */
    bool gaps;            /* INPUT: are there elements that no window sees? */
    isize step;           /* from one output channel's filter elements to the next's */
    Pass *passes;
    isize n_passes, packed;            /* how many; elements of their packed filters */
    isize block, blocks, parts, units; /* a task is a part (of the groups or output channels) of a block of images */
    isize slots;                       /* tasks under way at once */
} Plan;

static isize common_divisor(isize a, isize b) { return b ? common_divisor(b, a % b) : a; }

/* The phases that taps meet; tap i lies in number i % phases. */
static isize phases_of(isize taps, isize stride, isize dilation)
{
    return smaller(taps, stride / common_divisor(stride, dilation));
}

/* ---- Geometry ---- */

/* Hands out parts of the working space; without one (base is NULL) it only counts. */
typedef struct {
    char *base;
    isize used;
} Space;

static void *take(Space *space, isize bytes)
{
    isize at = space->used;
    space->used += blocks_of(bytes, 64) * 64;
    return space->base ? space->base + at : NULL;
}

/* The taps of one axis that lie in a phase: every `phases`-th. */
static isize taps_in(isize taps, isize phases, isize phase) { return (taps - phase + phases - 1) / phases; }

/* Positions r of a phase of INPUT whose image element r * stride + offset exists, given `length` rows that windows reach. */
static void reached(isize length, isize stride, isize offset, isize size, isize *from, isize *count)
{
    isize to;
    inside(length, stride, offset, size, from, &to);
    *count = to - *from;
}

/* FORWARD: every position sums over the channels and taps. Also the rows of FILTERS. */
static void forward_pass(const Plan *p, Pass *s, Space *space)
{
    const Window *w = p->w;
    *s = (Pass){.rows = w->out_h, .cols = w->out_w, .pitch = p->x.length, .out_row = w->out_w, .out_col = 1};
    s->terms = p->ins * w->kernel_h * w->kernel_w;
    s->along = take(space, s->terms * (isize)sizeof(isize));
    s->taps = take(space, s->terms * (isize)sizeof(isize));
    if (!space->base) return;
    isize k = 0;
    for (isize c = 0; c < p->ins; c++)
        for (isize i = 0; i < w->kernel_h; i++)
            for (isize j = 0; j < w->kernel_w; j++, k++) {
                isize phase = i % p->y.phases * p->x.phases + j % p->x.phases;
                s->along[k] = c * p->channel + phase * p->plane + i * w->dilation_h / w->stride_h * p->x.length +
                              j * w->dilation_w / w->stride_w;
                s->taps[k] = k;
            }
}

/* INPUT, phase (a, b) of the images: every element sums over the filters and over the taps that lie in its phase. */
static void input_pass(const Plan *p, Pass *s, isize a, isize b, isize phases_h, isize phases_w, Space *space)
{
    const Window *w = p->w;
    isize taps_h = taps_in(w->kernel_h, phases_h, a), taps_w = taps_in(w->kernel_w, phases_w, b);
    isize offset_h = a * w->dilation_h % w->stride_h - w->pad_h, offset_w = b * w->dilation_w % w->stride_w - w->pad_w;
    isize top, left;
    *s = (Pass){.pitch = p->x.length, .out_row = w->stride_h * w->width, .out_col = w->stride_w};
    reached(w->out_h + p->y.pad, w->stride_h, offset_h, w->height, &top, &s->rows);
    reached(w->out_w + p->x.pad, w->stride_w, offset_w, w->width, &left, &s->cols);
    s->at = top * s->pitch + left;
    s->out = (top * w->stride_h + offset_h) * w->width + left * w->stride_w + offset_w;
    s->terms = p->ins * taps_h * taps_w;
    s->along = take(space, s->terms * (isize)sizeof(isize));
    s->taps = take(space, s->terms * (isize)sizeof(isize));
    if (!space->base) return;
    isize k = 0, all = w->kernel_h * w->kernel_w;
    for (isize m = 0; m < p->ins; m++)
        for (isize i = a; i < w->kernel_h; i += phases_h)
            for (isize j = b; j < w->kernel_w; j += phases_w, k++) {
                s->along[k] = m * p->channel + (p->y.pad - i * w->dilation_h / w->stride_h) * s->pitch + p->x.pad -
                              j * w->dilation_w / w->stride_w;
                s->taps[k] = m * p->outs * all + i * w->kernel_w + j;
            }
}

/* All that the sizes decide. `lanes` elements make a vector; a panel of packed filters is `narrow` or `wide`
 * output channels wide. */
static Plan plan_of(const Convolution *c, isize lanes, isize narrow, isize wide, Space *space)
{
    const int pass = c->pass;
    const Window *w = c->window;
    isize images = c->images, filters = c->filters / w->groups;
    Plan p = {.pass = pass, .w = w, .images = images};
    isize channels = w->channels / w->groups, taps = w->kernel_h * w->kernel_w;
    isize reach_h = (w->kernel_h - 1) * w->dilation_h / w->stride_h;
    isize reach_w = (w->kernel_w - 1) * w->dilation_w / w->stride_w;
    isize phases_h = phases_of(w->kernel_h, w->stride_h, w->dilation_h);
    isize phases_w = phases_of(w->kernel_w, w->stride_w, w->dilation_w);
    if (pass == CONV_INPUT) {
        p.ins = filters, p.outs = channels, p.step = taps;
        p.in_plane = w->out_h * w->out_w, p.out_plane = w->height * w->width;
        p.y = (Axis){w->out_h, 1, reach_h, 1, 1, w->out_h + 2 * reach_h};
        p.x = (Axis){w->out_w, 1, reach_w, 1, 1, w->out_w + 2 * reach_w};
        p.in_place = reach_h == 0 && reach_w == 0;
        p.n_passes = phases_h * phases_w;
    } else {
        p.ins = channels, p.outs = filters, p.step = channels * taps;
        p.in_plane = w->height * w->width, p.out_plane = w->out_h * w->out_w;
        p.y = (Axis){w->height, w->stride_h, w->pad_h, w->dilation_h, phases_h, w->out_h + reach_h};
        p.x = (Axis){w->width, w->stride_w, w->pad_w, w->dilation_w, phases_w, w->out_w + reach_w};
        p.in_place = w->stride_h == 1 && w->stride_w == 1 && w->pad_h == 0 && w->pad_w == 0;
        p.n_passes = 1;
    }
    p.terms = p.ins * taps;
    p.plane = p.y.length * p.x.length;
    p.channel = p.y.phases * p.x.phases * p.plane;
    p.passes = take(space, p.n_passes * (isize)sizeof(Pass));
    Pass counted, *s = p.passes;
    isize covered = 0;
    for (isize i = 0; i < p.n_passes; i++) {
        if (!space->base) s = &counted;
        if (pass == CONV_INPUT)
            input_pass(&p, s, i / phases_w, i % phases_w, phases_h, phases_w, space);
        else
            forward_pass(&p, s, space);
        /* Vectors of positions spare the transposition, but not every row fills them; nor do the channels. */
        double full_rows = (double)s->cols / (double)(blocks_of(s->cols, lanes) * lanes);
        double full_channels = (double)p.outs / (double)(blocks_of(p.outs, lanes) * lanes);
        s->wide = full_rows >= 0.75 * full_channels;
        if (pass != CONV_FILTERS && s->wide && s->cols < lanes) p.in_place = false; /* vectors overshoot the last row */
        s->panels = p.packed;
        isize width = s->wide ? wide : narrow;
        if (pass != CONV_FILTERS) p.packed += w->groups * blocks_of(p.outs, width) * width * s->terms;
        covered += s->rows * s->cols;
        if (space->base) s++;
    }
    p.gaps = covered < p.out_plane;

    double work = (double)images * (double)(filters * w->channels) * (double)(taps * w->out_h * w->out_w);
    isize most = pass == CONV_FILTERS ? larger(1, images * w->out_h * w->out_w / 256) : MAX_BLOCKS;
    p.block = blocks_of(images, larger(1, smaller(most, MAX_BLOCKS)));
    p.blocks = p.block ? blocks_of(images, p.block) : 0;
    p.units = w->groups > 1          ? w->groups
              : pass == CONV_FILTERS ? blocks_of(channels * taps, TILE_ROWS)
                                     : blocks_of(p.outs, narrow);
    /* Each part fills a grid, and turns cotangents around, of its own: its share of the sums has to be worth that. */
    isize worth = taps * (pass == CONV_FILTERS ? p.ins * p.outs / larger(1, p.ins + p.outs) : p.outs) / 64;
    if (w->groups > 1) worth = w->groups;
    p.parts = work < LARGE_WORK || p.blocks == 0 ? 1 : larger(1, smaller(smaller(p.units, worth), FEW_TASKS / p.blocks));
    p.slots = work < LARGE_WORK ? 1 : smaller(smaller(p.blocks * p.parts, MAX_SLOTS), get_num_threads());
    return p;
}

/* ---- Tasks ---- */

/* What the tasks of one call share. */
typedef struct {
    const Convolution *c;
    Plan plan;
    char *packed;              /* filters; of FILTERS the sums, one for each block */
    void *bias;                /* padded to whole panels */
    double *bias_sums;         /* FILTERS: LANES for each block and filter */
    isize *positions;          /* FILTERS: each position's place in the grid */
    char *slots;               /* of tasks under way: a grid, cotangents times slope, tiles */
    isize slot, cotangents, z; /* bytes of a slot, and where the latter two begin in it */
    _Atomic uint64_t busy;     /* a bit for each slot */
} Call;

/* A slot that no other task is using; there are as many as threads, unless their number has just grown. */
static int claim(Call *c)
{
    for (;;) {
        uint64_t busy = atomic_load(&c->busy);
        int slot = busy + 1 == 0 ? MAX_SLOTS : __builtin_ctzll(~busy);
        if (slot >= c->plan.slots)
            sched_yield();
        else if (atomic_compare_exchange_weak(&c->busy, &busy, busy | (uint64_t)1 << slot))
            return slot;
    }
}

static void give_back(Call *c, int slot) { atomic_fetch_and(&c->busy, ~((uint64_t)1 << slot)); }

#define T float
#define NAME(name) name##_f32
#include "conv_body.h"

#define T double
#define NAME(name) name##_f64
#include "conv_body.h"
