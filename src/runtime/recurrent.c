/* Recurrent layers through time, in chunks of steps whose gates stay in the second cache: one product for the inputs of a chunk,
 * then for each step a small product and a kernel; and backward the other way around.
 *
 * Above: src/recurrent.pxi.  Below: see recurrent.h.
 */
#include "recurrent.h"

#include "blas.h"
#include "threads.h"

#include <string.h>

isize gate_count(int cell) { return cell == LSTM ? 4 : cell == GRU ? 3 : 1; }
isize gate_places(int cell) { return cell == LSTM || cell == GRU ? 4 : 1; }

static isize smaller(isize a, isize b) { return a < b ? a : b; }
static isize larger(isize a, isize b) { return a > b ? a : b; }
static void *offset(const void *array, isize bytes) { return array ? (char *)array + bytes : NULL; }

/* The weights' rows are in PyTorch's order, the places of a GRU begin with that of new (of the input): the products with the input
 * are one, or for a GRU two, of some rows each; a row, their number and their place are in units of `hidden`. */
typedef struct {
    isize row, count, place;
} Part;
typedef struct {
    int count;
    Part part[2];
} Parts;

static Parts parts_of(int cell)
{
    if (cell == GRU) return (Parts){2, {{0, 2, 1}, {2, 1, 0}}};
    return (Parts){1, {{0, gate_count(cell), 0}}};
}

/* A run through time, and where its working space is. Sizes in bytes but for rows and steps. */
typedef struct {
    const Recurrence *r;
    Parts parts;
    isize item, width, places;   /* of a number; numbers of a row's gates as products, and as places */
    isize state, slab, products; /* of a row's state; of the states and of the places of all rows */
    isize state_place;           /* where in the places those of the product with the state begin */
    char *turned;                /* the weight of the state transposed, so that its rows are read as they lie */
    char *bias;                  /* for each place; backward: a chunk's sum */
    char *zeros;                 /* in the place of a state that was not given */
    char *chunk;                 /* the places of a chunk's steps: of dgates, and of gates where they are not kept */
    isize rows, steps;           /* of a block of the batch, which one task takes; of a chunk */
    isize first, last;           /* the steps of this chunk, in the order in which the layer goes */
} Run;

static Run run_of(const Recurrence *r)
{
    enum { LEAST_ROWS = 16, MOST_BLOCKS = 8, UNIT = 8, CHUNK_BYTES = 1 << 20 };
    Run run = {.r = r, .parts = parts_of(r->cell), .item = r->dtype == FLOAT32 ? 4 : 8};
    run.width = gate_count(r->cell) * r->hidden;
    run.places = gate_places(r->cell) * r->hidden;
    run.state = r->hidden * run.item;
    run.slab = r->batch * run.state;
    run.products = r->batch * run.places * run.item;
    run.state_place = r->cell == GRU ? run.state : 0;
    const double large = 4e6, work = (double)(r->steps * r->batch) * (double)(run.width * r->hidden);
    const isize rows = (r->batch + MOST_BLOCKS - 1) / MOST_BLOCKS;
    run.rows = work < large ? r->batch : larger(LEAST_ROWS, (rows + UNIT - 1) / UNIT * UNIT);
    run.steps = smaller(r->steps, larger(1, CHUNK_BYTES / larger(1, run.products)));
    return run;
}

static Run run_in(const Recurrence *r, void *space)
{
    Run run = run_of(r);
    run.turned = space;
    run.bias = run.turned + run.width * run.state;
    run.zeros = run.bias + run.places * run.item;
    run.chunk = run.zeros + run.slab;
    memset(run.zeros, 0, (size_t)run.slab);
    return run;
}

isize recurrent_space(const Recurrence *r)
{
    const Run run = run_of(r);
    return run.width * run.state + run.places * run.item + run.slab + run.steps * run.products;
}

/* Step number k in the order in which the layer goes, and the first in memory of the chunk's steps. */
static isize time_of(const Run *run, isize k) { return run->r->reverse ? run->r->steps - 1 - k : k; }
static isize chunk_time(const Run *run) { return time_of(run, run->r->reverse ? run->last - 1 : run->first); }

/* The gates' places from a step of the chunk on. */
static char *gates_at(const Run *run, isize t)
{
    const Recurrence *r = run->r;
    if (gate_places(r->cell) == 1) return offset(r->h, t * run->slab);
    return r->gates ? offset(r->gates, t * run->products) : run->chunk + (t - chunk_time(run)) * run->products;
}

/* Call the task for each block of rows. */
static void over_blocks(Run *run, task_fn task)
{
    const isize batch = run->r->batch;
    if (batch == 0 || run->r->hidden == 0) return;
    if (batch <= run->rows)
        task(run, 0); /* whose products may use the threads */
    else
        parallel(task, run, (batch + run->rows - 1) / run->rows);
}

/* Call `chunk` for the chunks of steps, in the order in which the layer goes or the other way. */
static void over_chunks(Run *run, void (*chunk)(Run *), bool back)
{
    const isize steps = run->r->steps, chunks = run->steps ? (steps + run->steps - 1) / run->steps : 0;
    if (run->r->batch == 0) return; /* however many steps there are */
    for (isize i = 0; i < chunks; i++) {
        run->first = (back ? chunks - 1 - i : i) * run->steps;
        run->last = smaller(run->first + run->steps, steps);
        chunk(run);
    }
}

/* A step of a block of rows, number k in the order in which the layer goes. */
static RecurrentStep step_of(const Run *run, isize block, isize k)
{
    const Recurrence *r = run->r;
    const isize first = block * run->rows, t = time_of(run, k), before = r->reverse ? t + 1 : t - 1;
    const isize at = first * run->state, places_at = first * run->places * run->item;
    return (RecurrentStep){
        .cell = r->cell,
        .rows = smaller(run->rows, r->batch - first),
        .hidden = r->hidden,
        .step = t,
        .lengths = offset(r->lengths, first * (isize)sizeof *r->lengths),
        .bias = run->bias,
        .h_before = k ? offset(r->h, before * run->slab + at) : offset(r->h0 ? r->h0 : run->zeros, at),
        .c_before = k ? offset(r->c, before * run->slab + at) : offset(r->c0 ? r->c0 : run->zeros, at),
        .gates = gates_at(run, t) + places_at,
        .h = offset(r->h, t * run->slab + at),
        .c = offset(r->c, t * run->slab + at),
        .g = offset(r->g, t * run->slab + at),
        .dh = offset(r->dh, at),
        .dc = offset(r->dc, at),
        .dgates = run->chunk + (t - chunk_time(run)) * run->products + places_at,
    };
}

/* ---- Forward ---- */

static void forward_block(void *context, ptrdiff_t block)
{
    const Run *run = context;
    const Recurrence *r = run->r;
    for (isize k = run->first; k < run->last; k++) {
        const RecurrentStep s = step_of(run, block, k);
        char *products = (char *)s.gates + run->state_place;
        if (r->cell == GRU) /* the last place is of the state alone */
            for (isize i = 0; i < s.rows; i++)
                memset((char *)s.gates + i * run->places * run->item + 3 * run->state, 0, (size_t)run->state);
        if (k || r->h0)
            matmul_into(r->dtype, false, false, s.rows, run->width, r->hidden, s.h_before, r->hidden, run->turned,
                        run->width, 1, products, run->places);
        kernels->recurrent_step[r->dtype](&s);
    }
}

static void forward_chunk(Run *run)
{
    const Recurrence *r = run->r;
    const isize t = chunk_time(run), rows = (run->last - run->first) * r->batch, row = r->inputs * run->item;
    for (int i = 0; i < run->parts.count; i++) {
        const Part p = run->parts.part[i];
        matmul_into(r->dtype, false, true, rows, p.count * r->hidden, r->inputs, offset(r->x, t * r->batch * row), r->inputs,
                    offset(r->weight_ih, p.row * r->hidden * row), r->inputs, 0, gates_at(run, t) + p.place * run->state,
                    run->places);
    }
    over_blocks(run, forward_block);
}

static void join_biases(const Run *run)
{
    const Recurrence *r = run->r;
    void (*add)(isize, const void *, void *) = kernels->accumulate[r->dtype];
    memset(run->bias, 0, (size_t)(run->places * run->item));
    for (int i = 0; i < run->parts.count && r->bias_ih; i++) {
        const Part p = run->parts.part[i];
        add(p.count * r->hidden, offset(r->bias_ih, p.row * run->state), run->bias + p.place * run->state);
    }
    if (r->bias_hh) add(run->width, r->bias_hh, run->bias + run->state_place);
}

void recurrent_forward(const Recurrence *r, void *space)
{
    Run run = run_in(r, space);
    join_biases(&run);
    kernels->copy(r->hidden, run.width, r->weight_hh, 1, r->hidden, run.turned, run.width, 1, (int)run.item);
    over_chunks(&run, forward_chunk, false);
}

/* ---- Backward ---- */

static void backward_block(void *context, ptrdiff_t block)
{
    const Run *run = context;
    const Recurrence *r = run->r;
    for (isize k = run->last - 1; k >= run->first; k--) {
        const RecurrentStep s = step_of(run, block, k);
        kernels->recurrent_step_vjp[r->dtype](&s);
        if (k || r->h0)
            matmul_into(r->dtype, false, false, s.rows, r->hidden, run->width, (char *)s.dgates + run->state_place,
                        run->places, r->weight_hh, r->hidden, 1, s.dh, r->hidden);
    }
}

/* Add what some steps of the chunk, from step t in memory, give to the gradient of the weight of the state. */
static void state_gradient(const Run *run, isize t, isize steps, const void *before)
{
    const Recurrence *r = run->r;
    matmul_into(r->dtype, true, false, run->width, r->hidden, steps * r->batch,
                run->chunk + (t - chunk_time(run)) * run->products + run->state_place, run->places, before, r->hidden, 1,
                r->dweight_hh, r->hidden);
}

static void backward_chunk(Run *run)
{
    const Recurrence *r = run->r;
    over_blocks(run, backward_block);
    const isize t = chunk_time(run), steps = run->last - run->first, rows = steps * r->batch, row = r->inputs * run->item;
    for (int i = 0; i < run->parts.count; i++) {
        const Part p = run->parts.part[i];
        const char *d = run->chunk + p.place * run->state;
        const isize width = p.count * r->hidden, at = p.row * r->hidden * row;
        if (r->dx)
            matmul_into(r->dtype, false, false, rows, r->inputs, width, d, run->places, offset(r->weight_ih, at), r->inputs,
                        i > 0, offset(r->dx, t * r->batch * row), r->inputs);
        if (r->dweight_ih)
            matmul_into(r->dtype, true, false, width, r->inputs, rows, d, run->places, offset(r->x, t * r->batch * row),
                        r->inputs, 1, offset(r->dweight_ih, at), r->inputs);
    }
    if (r->dweight_hh) { /* the states before are one step away, but for the layer's first step */
        const isize alone = run->first == 0, from = r->reverse ? t : t + alone;
        state_gradient(run, from, steps - alone, offset(r->h, (r->reverse ? from + 1 : from - 1) * run->slab));
        if (alone && r->h0) state_gradient(run, time_of(run, 0), 1, r->h0);
    }
    if (r->dbias) {
        kernels->sum[r->dtype](run->chunk, run->bias, 1, rows, run->places);
        kernels->accumulate[r->dtype](run->places, run->bias, r->dbias);
    }
}

static void clear(void *array, isize bytes)
{
    if (array) memset(array, 0, (size_t)bytes);
}

void recurrent_backward(const Recurrence *r, void *space)
{
    Run run = run_in(r, space);
    clear(r->dh, run.slab);
    clear(r->dc, run.slab);
    if (r->dc_last) memcpy(r->dc, r->dc_last, (size_t)run.slab);
    clear(r->dweight_ih, run.width * r->inputs * run.item);
    clear(r->dweight_hh, run.width * run.state);
    clear(r->dbias, run.places * run.item);
    over_chunks(&run, backward_chunk, true);
}
