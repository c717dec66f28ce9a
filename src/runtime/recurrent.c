/* Recurrent layers through time: the products of all steps' inputs at once, then for each step a small product and a kernel.
 *
 * Above: src/recurrent.pxi.  Below: see recurrent.h.
 */
#include "recurrent.h"

#include "blas.h"
#include "threads.h"

#include <string.h>

isize gate_count(int cell) { return cell == LSTM ? 4 : cell == GRU ? 3 : 1; }
isize gate_places(int cell) { return cell == LSTM || cell == GRU ? 4 : 1; }

static isize itemsize(int dtype) { return dtype == FLOAT32 ? 4 : 8; }

/* Where the working space is: the weight of the state transposed, so that its rows are read as they lie; a bias for each of the
 * gates' numbers; zeros in the place of a state that was not given. */
typedef struct {
    const Recurrence *r;
    isize item, width, places; /* bytes of a number; numbers of a row's gates as products, and as places */
    char *turned, *bias, *zeros;
    isize rows; /* of the batch that a task takes */
} Run;

static Run run_of(const Recurrence *r, void *space)
{
    Run run = {r, itemsize(r->dtype), gate_count(r->cell) * r->hidden, gate_places(r->cell) * r->hidden, space, 0, 0, 0};
    run.bias = run.turned + run.width * r->hidden * run.item;
    run.zeros = run.bias + run.places * run.item;
    enum { LEAST_ROWS = 16, MOST_BLOCKS = 8, UNIT = 8 };
    const double large = 4e6, work = (double)(r->steps * r->batch) * (double)(run.width * r->hidden);
    isize rows = (r->batch + MOST_BLOCKS - 1) / MOST_BLOCKS;
    rows = rows < LEAST_ROWS ? LEAST_ROWS : (rows + UNIT - 1) / UNIT * UNIT;
    run.rows = work < large ? r->batch : rows;
    return run;
}

isize recurrent_space(const Recurrence *r)
{
    Run run = run_of(r, NULL);
    return (run.width * r->hidden + run.places + r->batch * r->hidden) * run.item;
}

/* The weights' rows of the gates are in PyTorch's order; in the places of a GRU, new (of the input) comes first. A product with all of
 * them is one, or for the inputs of a GRU two: (first row, rows, place) in units of `hidden`. */
typedef struct {
    isize first, count, place;
} Part;
static const Part whole_lstm[] = {{0, 4, 0}}, whole_rnn[] = {{0, 1, 0}}, parts_gru[] = {{0, 2, 1}, {2, 1, 0}};

static const Part *input_parts(int cell, int *count)
{
    *count = cell == GRU ? 2 : 1;
    return cell == GRU ? parts_gru : cell == LSTM ? whole_lstm : whole_rnn;
}

/* The gates' numbers that the state is multiplied for. */
static isize state_place(const Run *run) { return run->r->cell == GRU ? run->r->hidden : 0; }

static void run_blocks(Run *run, task_fn task)
{
    if (run->r->batch == 0 || run->r->hidden == 0) return; /* however many steps there are */
    const isize blocks = run->r->batch > run->rows ? (run->r->batch + run->rows - 1) / run->rows : 1;
    if (blocks == 1)
        task(run, 0); /* whose products may use the threads */
    else
        parallel(task, run, blocks);
}

/* What is the same for all steps of a block of rows, and where the block begins. */
static RecurrentStep block_of(const Run *run, isize index, isize *first)
{
    const Recurrence *r = run->r;
    *first = index * run->rows;
    RecurrentStep s = {.cell = r->cell, .hidden = r->hidden, .bias = run->bias};
    s.rows = r->batch - *first < run->rows ? r->batch - *first : run->rows;
    s.lengths = r->lengths ? r->lengths + *first : NULL;
    return s;
}

static void *offset(const void *array, isize bytes) { return array ? (char *)array + bytes : NULL; }

/* Fill in the step number k of a block, counted as the layer goes; returns whether the state before it may be other than zero. */
static bool set_step(const Run *run, RecurrentStep *s, isize first, isize k)
{
    const Recurrence *r = run->r;
    const isize t = r->reverse ? r->steps - 1 - k : k, before = r->reverse ? t + 1 : t - 1;
    const isize at = first * r->hidden * run->item, row = t * r->batch + first, slab = r->batch * r->hidden * run->item;
    s->step = t;
    s->h = offset(r->h, t * slab + at);
    s->c = offset(r->c, t * slab + at);
    s->gates = r->gates ? offset(r->gates, row * run->places * run->item) : s->h;
    s->h_before = k ? offset(r->h, before * slab + at) : offset(r->h0 ? r->h0 : run->zeros, at);
    s->c_before = k ? offset(r->c, before * slab + at) : offset(r->c0 ? r->c0 : run->zeros, at);
    s->g = offset(r->g, t * slab + at);
    s->dh = offset(r->dh, at);
    s->dc = offset(r->dc, at);
    s->dgates = offset(r->dgates, row * run->places * run->item);
    return k || r->h0;
}

/* ---- Forward ---- */

static void forward_block(void *context, ptrdiff_t index)
{
    const Run *run = context;
    const Recurrence *r = run->r;
    isize first;
    RecurrentStep s = block_of(run, index, &first);
    for (isize k = 0; k < r->steps; k++) {
        const bool moving = set_step(run, &s, first, k);
        if (r->cell == GRU) /* the products of input and state are needed apart: the latter begin at 0 */
            for (isize i = 0; i < s.rows; i++)
                memset((char *)s.gates + (i * run->places + 3 * r->hidden) * run->item, 0, (size_t)(r->hidden * run->item));
        if (moving)
            matmul_into(r->dtype, false, false, s.rows, run->width, r->hidden, s.h_before, r->hidden, run->turned,
                        run->width, 1, (char *)s.gates + state_place(run) * run->item, run->places);
        kernels->recurrent_step[r->dtype](&s);
    }
}

static void join_biases(const Run *run)
{
    const Recurrence *r = run->r;
    void (*add)(isize, const void *, void *) = kernels->accumulate[r->dtype];
    const isize state = state_place(run) * run->item;
    int count;
    const Part *part = input_parts(r->cell, &count);
    memset(run->bias, 0, (size_t)(run->places * run->item));
    for (int i = 0; i < count && r->bias_ih; i++)
        add(part[i].count * r->hidden, (const char *)r->bias_ih + part[i].first * r->hidden * run->item,
            run->bias + part[i].place * r->hidden * run->item);
    if (r->bias_hh) add(run->width, r->bias_hh, run->bias + state);
}

void recurrent_forward(const Recurrence *r, void *space)
{
    Run run = run_of(r, space);
    int count;
    const Part *part = input_parts(r->cell, &count);
    char *products = r->gates ? r->gates : r->h;
    memset(run.zeros, 0, (size_t)(r->batch * r->hidden * run.item));
    join_biases(&run);
    kernels->copy(r->hidden, run.width, r->weight_hh, 1, r->hidden, run.turned, run.width, 1, (int)run.item);
    for (int i = 0; i < count; i++)
        matmul_into(r->dtype, false, true, r->steps * r->batch, part[i].count * r->hidden, r->inputs, r->x, r->inputs,
                    (const char *)r->weight_ih + part[i].first * r->hidden * r->inputs * run.item, r->inputs, 0,
                    products + part[i].place * r->hidden * run.item, run.places);
    run_blocks(&run, forward_block);
}

/* ---- Backward ---- */

static void backward_block(void *context, ptrdiff_t index)
{
    const Run *run = context;
    const Recurrence *r = run->r;
    isize first;
    RecurrentStep s = block_of(run, index, &first);
    for (isize k = r->steps - 1; k >= 0; k--) {
        const bool moving = set_step(run, &s, first, k);
        kernels->recurrent_step_vjp[r->dtype](&s);
        if (moving)
            matmul_into(r->dtype, false, false, s.rows, r->hidden, run->width,
                        (char *)s.dgates + state_place(run) * run->item, run->places, r->weight_hh, r->hidden, 1, s.dh,
                        r->hidden);
    }
}

/* The gradient of the weight of the state: each step's gates with the state before, for all steps that have the same distance to it. */
static void state_gradient(const Run *run)
{
    const Recurrence *r = run->r;
    const isize slab = r->batch * r->hidden * run->item, gates = r->batch * run->places * run->item;
    const isize rest = r->steps - 1;
    const char *d = (char *)r->dgates + state_place(run) * run->item;
    const char *rest_d = r->reverse ? d : d + gates, *first_d = r->reverse ? d + rest * gates : d;
    matmul_into(r->dtype, true, false, run->width, r->hidden, rest * r->batch, rest_d, run->places,
                (char *)r->h + (r->reverse ? slab : 0), r->hidden, 0, r->dweight_hh, r->hidden);
    if (r->h0)
        matmul_into(r->dtype, true, false, run->width, r->hidden, r->batch, first_d, run->places, r->h0, r->hidden, 1,
                    r->dweight_hh, r->hidden);
}

void recurrent_backward(const Recurrence *r, void *space)
{
    Run run = run_of(r, space);
    const isize state = r->batch * r->hidden * run.item, rows = r->steps * r->batch;
    int count;
    const Part *part = input_parts(r->cell, &count);
    memset(run.zeros, 0, (size_t)state);
    memset(r->dh, 0, (size_t)state);
    if (r->dc && r->dc_last) memcpy(r->dc, r->dc_last, (size_t)state);
    if (r->dc && !r->dc_last) memset(r->dc, 0, (size_t)state);
    run_blocks(&run, backward_block);
    for (int i = 0; i < count; i++) {
        const char *d = (char *)r->dgates + part[i].place * r->hidden * run.item;
        const isize width = part[i].count * r->hidden, at = part[i].first * r->hidden * r->inputs * run.item;
        if (r->dx)
            matmul_into(r->dtype, false, false, rows, r->inputs, width, d, run.places, (const char *)r->weight_ih + at,
                        r->inputs, i > 0, r->dx, r->inputs);
        if (r->dweight_ih)
            matmul_into(r->dtype, true, false, width, r->inputs, rows, d, run.places, r->x, r->inputs, 0,
                        (char *)r->dweight_ih + at, r->inputs);
    }
    if (r->dweight_hh) state_gradient(&run);
    if (r->dbias) kernels->sum[r->dtype](r->dgates, r->dbias, 1, rows, run.places);
}
