/* Recurrent layers: all steps in time of one layer in one direction, and the way back.
 *
 * Above: src/recurrent.pxi.  Below: blas.h, the kernels of a step (kernels.h), threads.h, over which blocks of rows of the
 * batch are split: rows do not meet until the gradients of the weights.
 */
#pragma once
#include "../kernels/kernels.h"

/* Arrays are contiguous. Their sizes: gates = gate_count(cell) * hidden, places = gate_places(cell) * hidden. */
typedef struct {
    int cell, dtype;
    bool reverse; /* from the last step to the first */
    isize steps, batch, inputs, hidden;
    const int64_t *lengths;        /* (batch), or NULL: rows keep their state from their lengths on */
    const void *x;                 /* (steps, batch, inputs) */
    const void *weight_ih;         /* (gates, inputs), in PyTorch's order: LSTM i, f, g, o; GRU r, z, n */
    const void *weight_hh;         /* (gates, hidden) */
    const void *bias_ih, *bias_hh; /* (gates), or NULL */
    const void *h0, *c0;           /* (batch, hidden), or NULL: zeros */
    void *h, *c;                   /* (steps, batch, hidden): the states after each step; c: LSTM */
    void *gates;                   /* (steps, batch, places), see RecurrentStep; NULL: RNN, or no way back */
    /* Backward: the cotangents of h, and of c after the last step or NULL; results, each of which may be NULL ... */
    const void *g, *dc_last;
    void *dx, *dweight_ih, *dweight_hh; /* like x and the weights */
    void *dbias;                        /* (places): RNN and LSTM, of either bias; GRU, see RecurrentStep */
    void *dh, *dc;                      /* ... but these, of the first state, dc: LSTM */
} Recurrence;

isize gate_count(int cell);
isize gate_places(int cell);
/* Bytes of working space. */
isize recurrent_space(const Recurrence *r);
void recurrent_forward(const Recurrence *r, void *space);
void recurrent_backward(const Recurrence *r, void *space);
