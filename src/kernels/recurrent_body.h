/* The steps of recurrent layers for one element type T; NAME(x) is x with the type's suffix. Included by recurrent.c.
 *
 * RecurrentStep (kernels.h) says what each computes. The numbers of a row's gates lie side by side, one place after the other.
 */

/* Row number `row` of an array of rows of n numbers. */
ALWAYS_INLINE T *NAME(row_of)(const void *rows, isize row, isize n) { return (T *)rows + row * n; }

/* In place, and compiled once: the gates' kernels below are short loops around them. */
static __attribute__((noinline)) void NAME(sigmoids)(T *z, isize n)
{
    IVDEP
    for (isize j = 0; j < n; j++) z[j] = SIGMOID_OF(z[j]);
}

static __attribute__((noinline)) void NAME(tanhs)(T *z, isize n)
{
    IVDEP
    for (isize j = 0; j < n; j++) z[j] = TANH_OF(z[j]);
}

ALWAYS_INLINE void NAME(add)(const void *bias, T *z, isize n)
{
    IVDEP
    for (isize j = 0; j < n; j++) z[j] += ((const T *)bias)[j];
}

static void NAME(rnn)(const RecurrentStep *s, isize row)
{
    const isize n = s->hidden;
    T *h = NAME(row_of)(s->h, row, n);
    NAME(add)(s->bias, h, n);
    if (s->cell == RNN_TANH)
        NAME(tanhs)(h, n);
    else
        for (isize j = 0; j < n; j++) h[j] = h[j] <= 0 ? 0 : h[j];
}

static void NAME(rnn_vjp)(const RecurrentStep *s, isize row)
{
    const isize n = s->hidden;
    const T *h = NAME(row_of)(s->h, row, n), *g = NAME(row_of)(s->g, row, n);
    T *dh = NAME(row_of)(s->dh, row, n), *dz = NAME(row_of)(s->dgates, row, n);
    const bool relu = s->cell == RNN_RELU;
    IVDEP
    for (isize j = 0; j < n; j++) {
        const T d = dh[j] + g[j], through = relu ? (h[j] <= 0 ? 0 : d) : d * (1 - h[j] * h[j]);
        dz[j] = through;
        dh[j] = 0;
    }
}

static void NAME(lstm)(const RecurrentStep *s, isize row)
{
    const isize n = s->hidden;
    const T *before = NAME(row_of)(s->c_before, row, n);
    T *i = NAME(row_of)(s->gates, row, 4 * n), *f = i + n, *g = f + n, *o = g + n;
    T *c = NAME(row_of)(s->c, row, n), *h = NAME(row_of)(s->h, row, n);
    NAME(add)(s->bias, i, 4 * n);
    NAME(sigmoids)(i, 2 * n);
    NAME(tanhs)(g, n);
    NAME(sigmoids)(o, n);
    IVDEP
    for (isize j = 0; j < n; j++) h[j] = c[j] = f[j] * before[j] + i[j] * g[j];
    NAME(tanhs)(h, n);
    IVDEP
    for (isize j = 0; j < n; j++) h[j] *= o[j];
}

static void NAME(lstm_vjp)(const RecurrentStep *s, isize row)
{
    const isize n = s->hidden;
    const T *i = NAME(row_of)(s->gates, row, 4 * n), *f = i + n, *fresh = f + n, *o = fresh + n;
    const T *c = NAME(row_of)(s->c, row, n), *before = NAME(row_of)(s->c_before, row, n), *g = NAME(row_of)(s->g, row, n);
    T *dh = NAME(row_of)(s->dh, row, n), *dc = NAME(row_of)(s->dc, row, n);
    T *di = NAME(row_of)(s->dgates, row, 4 * n), *df = di + n, *dg = df + n, *d_o = dg + n;
    memcpy(d_o, c, (size_t)n * sizeof(T));
    NAME(tanhs)(d_o, n);
    IVDEP
    for (isize j = 0; j < n; j++) {
        const T d = dh[j] + g[j], y = d_o[j], through = dc[j] + d * o[j] * (1 - y * y);
        d_o[j] = d * y * (o[j] * (1 - o[j]));
        di[j] = through * fresh[j] * (i[j] * (1 - i[j]));
        df[j] = through * before[j] * (f[j] * (1 - f[j]));
        dg[j] = through * i[j] * (1 - fresh[j] * fresh[j]);
        dc[j] = through * f[j];
        dh[j] = 0;
    }
}

static void NAME(gru)(const RecurrentStep *s, isize row)
{
    const isize n = s->hidden;
    const T *before = NAME(row_of)(s->h_before, row, n);
    T *x = NAME(row_of)(s->gates, row, 4 * n), *r = x + n, *u = r + n, *z = u + n, *h = NAME(row_of)(s->h, row, n);
    NAME(add)(s->bias, x, 4 * n);
    NAME(sigmoids)(r, 2 * n);
    IVDEP
    for (isize j = 0; j < n; j++) x[j] += r[j] * z[j];
    NAME(tanhs)(x, n);
    IVDEP
    for (isize j = 0; j < n; j++) h[j] = x[j] + u[j] * (before[j] - x[j]);
}

static void NAME(gru_vjp)(const RecurrentStep *s, isize row)
{
    const isize n = s->hidden;
    const T *fresh = NAME(row_of)(s->gates, row, 4 * n), *r = fresh + n, *u = r + n, *z = u + n;
    const T *before = NAME(row_of)(s->h_before, row, n), *g = NAME(row_of)(s->g, row, n);
    T *dh = NAME(row_of)(s->dh, row, n);
    T *dx = NAME(row_of)(s->dgates, row, 4 * n), *dr = dx + n, *du = dr + n, *dz = du + n;
    IVDEP
    for (isize j = 0; j < n; j++) {
        const T d = dh[j] + g[j], d_fresh = d * (1 - u[j]) * (1 - fresh[j] * fresh[j]);
        dx[j] = d_fresh;
        dr[j] = d_fresh * z[j] * (r[j] * (1 - r[j]));
        du[j] = d * (before[j] - fresh[j]) * (u[j] * (1 - u[j]));
        dz[j] = d_fresh * r[j];
        dh[j] = d * u[j];
    }
}

void KERNEL(NAME(recurrent_step))(const RecurrentStep *s)
{
    const size_t bytes = (size_t)s->hidden * sizeof(T);
    for (isize row = 0; row < s->rows; row++) {
        if (s->lengths && s->step >= s->lengths[row]) {
            memcpy(NAME(row_of)(s->h, row, s->hidden), NAME(row_of)(s->h_before, row, s->hidden), bytes);
            if (s->cell == LSTM)
                memcpy(NAME(row_of)(s->c, row, s->hidden), NAME(row_of)(s->c_before, row, s->hidden), bytes);
        } else if (s->cell == LSTM) {
            NAME(lstm)(s, row);
        } else if (s->cell == GRU) {
            NAME(gru)(s, row);
        } else {
            NAME(rnn)(s, row);
        }
    }
}

void KERNEL(NAME(recurrent_step_vjp))(const RecurrentStep *s)
{
    const isize n = s->hidden, gates = s->cell == LSTM || s->cell == GRU ? 4 * n : n;
    for (isize row = 0; row < s->rows; row++) {
        if (s->lengths && s->step >= s->lengths[row]) {
            const T *g = NAME(row_of)(s->g, row, n);
            T *dh = NAME(row_of)(s->dh, row, n);
            for (isize j = 0; j < n; j++) dh[j] += g[j];
            memset(NAME(row_of)(s->dgates, row, gates), 0, (size_t)gates * sizeof(T));
        } else if (s->cell == LSTM) {
            NAME(lstm_vjp)(s, row);
        } else if (s->cell == GRU) {
            NAME(gru_vjp)(s, row);
        } else {
            NAME(rnn_vjp)(s, row);
        }
    }
}

#undef T
#undef NAME
#undef SIGMOID_OF
#undef TANH_OF
