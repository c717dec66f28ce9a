/* Convolution for one element type T; NAME(x) is x with the type's suffix.  Included by conv.c, which explains it. */

typedef T NAME(Vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
#define Vector NAME(Vector)
#define LANES NAME(LANES)
#define NARROW NAME(NARROW)
enum {
    LANES = VECTOR_BYTES / sizeof(T),
    NARROW = 2 * LANES, /* output channels of a narrow tile: two vectors */
};

/* ---- Moving ---- */

INLINE void NAME(copy_run)(T *to, const T *from, isize n)
{
    if (n >= LANES) {
        for (isize i = 0; i + LANES <= n; i += LANES) *(Vector *)(to + i) = *(const Vector *)(from + i);
        *(Vector *)(to + n - LANES) = *(const Vector *)(from + n - LANES);
    } else {
        isize i = 0;
        for (; i + 4 <= n; i += 4) memcpy(to + i, from + i, 4 * sizeof(T));
        for (; i < n; i++) to[i] = from[i];
    }
}

/* The channels of an image into the grid; padding is there already. */
static void NAME(fill_grid)(const Plan *p, const T *image, isize channels, T *grid)
{
    const Axis y = p->y, x = p->x;
    for (isize phase = 0; phase < y.phases * x.phases; phase++) {
        const isize top = phase / x.phases * y.dilation % y.stride - y.pad,
                    left = phase % x.phases * x.dilation % x.stride - x.pad;
        isize first, last, from, to;
        inside(y.length, y.stride, top, y.size, &first, &last);
        inside(x.length, x.stride, left, x.size, &from, &to);
        for (isize c = 0; c < channels; c++) {
            const T *source = image + c * p->in_plane + (first * y.stride + top) * x.size + from * x.stride + left;
            T *target = grid + c * p->channel + phase * p->plane + first * x.length + from;
            for (isize row = first; row < last; row++, source += y.stride * x.size, target += x.length) {
                if (x.stride == 1)
                    NAME(copy_run)(target, source, to - from);
                else
                    for (isize i = 0; i < to - from; i++) target[i] = source[i * x.stride];
            }
        }
    }
}

#if defined(__GNUC__) && !defined(__clang__)
typedef __typeof__((NAME(Vector)){0} == (NAME(Vector)){0}) NAME(Mask);

/* Transposes LANES vectors: interleaving number i with number i + LANES / 2 does so when it is done log2(LANES) times. */
INLINE void NAME(transpose_block)(const T *restrict x, isize ldx, T *restrict out, isize ldo)
{
    NAME(Mask) low, high;
    for (int i = 0; i < LANES; i++) low[i] = i / 2 + i % 2 * LANES;
    for (int i = 0; i < LANES; i++) high[i] = low[i] + LANES / 2;
    Vector a[LANES], b[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) a[i] = *(const Vector *)(x + i * ldx);
#pragma GCC unroll 4
    for (int width = 1; width < LANES; width *= 2) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES / 2; i++) {
            b[2 * i] = __builtin_shuffle(a[i], a[i + LANES / 2], low);
            b[2 * i + 1] = __builtin_shuffle(a[i], a[i + LANES / 2], high);
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) a[i] = b[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) *(Vector *)(out + i * ldo) = a[i];
}
#else
INLINE void NAME(transpose_block)(const T *restrict x, isize ldx, T *restrict out, isize ldo)
{
    for (isize i = 0; i < LANES; i++)
        for (isize j = 0; j < LANES; j++) out[i * ldo + j] = x[j * ldx + i];
}
#endif

/* out (columns, rows) = x (rows, columns) turned around. */
static void NAME(transpose)(isize rows, isize columns, const T *restrict x, isize ldx, T *restrict out, isize ldo)
{
    isize whole_rows = rows / LANES * LANES, whole_columns = columns / LANES * LANES;
    for (isize i = 0; i < whole_rows; i += LANES)
        for (isize j = 0; j < whole_columns; j += LANES) NAME(transpose_block)(x + i * ldx + j, ldx, out + j * ldo + i, ldo);
    for (isize j = 0; j < columns; j++)
        for (isize i = j < whole_columns ? whole_rows : 0; i < rows; i++) out[j * ldo + i] = x[i * ldx + j];
}

/* Panels of `width` output channels, (panel, term, channel), zeros beyond the last one. */
static void NAME(pack_filters)(const Plan *p, const Pass *s, const T *filters, isize width, T *out)
{
    for (isize j = 0; j < p->outs; j += width) {
        isize count = smaller(width, p->outs - j);
        for (isize k = 0; k < s->terms; k++, out += width) {
            const T *source = filters + j * p->step + s->taps[k];
            for (isize i = 0; i < count; i++) out[i] = source[i * p->step];
            for (isize i = count; i < width; i++) out[i] = 0;
        }
    }
}

/* Zero where x <= 0, and NaN where it is NaN. */
INLINE Vector NAME(rectified)(Vector x)
{
    typedef __typeof__(x <= x) Mask;
    return (Vector)((Mask)x & ~(x <= (Vector){0}));
}

/* ---- Wide tiles: vectors of positions, straight from the grid; one filter element at a time ---- */

enum { NAME(WIDE) = VECTOR_BYTES == 64 ? 8 : 4, NAME(WIDE_VECTORS) = 3 };
#define WIDE NAME(WIDE)
#define WIDE_VECTORS NAME(WIDE_VECTORS)

/* Up to LANES neighbouring positions of a row: their places in the grid and in the result. */
typedef struct {
    isize from, to, count;
} NAME(Run);

INLINE void NAME(wide_tile)(int rows, int vectors, const Plan *p, const Pass *s, const T *grid, const T *filters,
                            const T *bias, bool relu, const NAME(Run) * run, T *out)
{
    Vector sum[WIDE][WIDE_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        for (int v = 0; v < vectors; v++) sum[i][v] = (Vector){0} + bias[i];
    }
    const T *pixels[WIDE_VECTORS];
    for (int v = 0; v < vectors; v++) pixels[v] = grid + run[v].from;
    for (isize k = 0; k < s->terms; k++, filters += WIDE) {
        isize offset = s->along[k];
        Vector x[WIDE_VECTORS];
        for (int v = 0; v < vectors; v++) x[v] = *(const Vector *)(pixels[v] + offset);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            T f = filters[i];
            for (int v = 0; v < vectors; v++) sum[i][v] += f * x[v];
        }
    }
    for (int v = 0; v < vectors; v++) {
        bool whole = run[v].count == LANES && s->out_col == 1;
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            T *target = out + i * p->out_plane + run[v].to;
            if (relu) sum[i][v] = NAME(rectified)(sum[i][v]);
            if (whole) {
                *(Vector *)target = sum[i][v];
            } else {
                T values[LANES];
                *(Vector *)values = sum[i][v];
                for (isize j = 0; j < run[v].count; j++) target[j * s->out_col] = values[j];
            }
        }
    }
}

/* All positions of output channels [from, to) of a group; `from` is where a panel begins. */
static void NAME(wide)(const Plan *p, const Pass *s, const T *grid, const T *filters, const T *bias, bool relu, T *out,
                       isize from, isize to)
{
    isize row_runs = blocks_of(s->cols, LANES), runs = s->rows * row_runs;
    for (isize i = 0; i < runs;) {
        NAME(Run) run[WIDE_VECTORS];
        int count = runs - i >= WIDE_VECTORS ? WIDE_VECTORS : 1;
        for (int v = 0; v < count; v++, i++) {
            isize row = i / row_runs, column = i % row_runs * LANES;
            if (s->cols >= LANES) column = smaller(column, s->cols - LANES); /* the last one overlaps the one before */
            run[v] = (NAME(Run)){s->at + row * s->pitch + column, s->out + row * s->out_row + column * s->out_col,
                                 smaller(LANES, s->cols - column)};
        }
        for (isize j = from; j < to;) {
            const T *panel = filters + j / WIDE * WIDE * s->terms + j % WIDE;
            T *target = out + j * p->out_plane;
            isize left = smaller(to - j, WIDE - j % WIDE);
#define WIDE_TILE(rows)                                                                                                     \
    {                                                                                                                       \
        if (count == WIDE_VECTORS)                                                                                          \
            NAME(wide_tile)(rows, WIDE_VECTORS, p, s, grid, panel, bias + j, relu, run, target);                            \
        else                                                                                                                \
            NAME(wide_tile)(rows, 1, p, s, grid, panel, bias + j, relu, run, target);                                       \
        j += rows;                                                                                                          \
    }
            if (left >= 8 && WIDE >= 8)
                WIDE_TILE(WIDE)
            else if (left >= 4)
                WIDE_TILE(4)
            else if (left >= 2)
                WIDE_TILE(2)
            else
                WIDE_TILE(1)
        }
    }
}

/* ---- Narrow tiles: vectors of output channels; one grid element at a time ---- */

/* out (rows, NARROW) = start + sum over n terms of x[row[i] + along[k]] * b (n, NARROW)[k]; `start` is a row of its own for
 * each row, `apart` elements apart, or (apart is 0) one for all. */
INLINE void NAME(narrow_tile)(int rows, int vectors, isize n, const T *x, const isize *row, const isize *along, const T *b,
                              const T *start, isize apart, bool relu, T *out)
{
    Vector sum[TILE_ROWS][2];
    const T *source[TILE_ROWS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        source[i] = x + row[i];
        for (int v = 0; v < vectors; v++) sum[i][v] = ((const Vector *)(start + i * apart))[v];
    }
    for (isize k = 0; k < n; k++, b += NARROW) {
        isize offset = along[k];
        Vector factor[2];
        for (int v = 0; v < vectors; v++) factor[v] = ((const Vector *)b)[v];
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            T value = source[i][offset];
            for (int v = 0; v < vectors; v++) sum[i][v] += value * factor[v];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        for (int v = 0; v < vectors; v++) ((Vector *)(out + i * NARROW))[v] = relu ? NAME(rectified)(sum[i][v]) : sum[i][v];
    }
}

INLINE void NAME(narrow_rows)(int vectors, isize rows, isize n, const T *x, const isize *row, const isize *along, const T *b,
                              const T *start, isize apart, bool relu, T *out)
{
    isize i = 0;
#define NARROW_TILES(count)                                                                                                 \
    for (; i + count <= rows; i += count)                                                                                   \
        NAME(narrow_tile)(count, vectors, n, x, row + i, along, b, start + i * apart, apart, relu, out + i * NARROW);
    NARROW_TILES(TILE_ROWS)
    if (TILE_ROWS > 8) NARROW_TILES(8)
    if (TILE_ROWS > 6) NARROW_TILES(6)
    NARROW_TILES(4)
    NARROW_TILES(3)
    NARROW_TILES(2)
    NARROW_TILES(1)
}

/* One panel: of its NARROW columns, `columns` count. */
static void NAME(narrow_panel)(isize columns, isize rows, isize n, const T *x, const isize *row, const isize *along,
                               const T *b, const T *start, isize apart, bool relu, T *out)
{
    if (columns > LANES)
        NAME(narrow_rows)(2, rows, n, x, row, along, b, start, apart, relu, out);
    else
        NAME(narrow_rows)(1, rows, n, x, row, along, b, start, apart, relu, out);
}

/* All positions of output channels [from, to) of a group; `from` is where a panel begins. z: room for two chunks. */
static void NAME(narrow)(const Plan *p, const Pass *s, const T *grid, const T *filters, const T *bias, bool relu, T *out,
                         isize from, isize to, T *z)
{
    T *turned = z + CHUNK * NARROW;
    isize positions = s->rows * s->cols, source[CHUNK], target[CHUNK];
    for (isize at = 0; at < positions; at += CHUNK) {
        isize count = smaller(CHUNK, positions - at);
        for (isize i = 0, row = at / s->cols, column = at % s->cols; i < count; i++) {
            source[i] = s->at + row * s->pitch + column;
            target[i] = s->out + row * s->out_row + column * s->out_col;
            if (++column == s->cols) column = 0, row++;
        }
        bool dense = target[count - 1] - target[0] == count - 1;
        for (isize j = from; j < to; j += NARROW) {
            isize columns = smaller(NARROW, to - j);
            NAME(narrow_panel)(columns, count, s->terms, grid, source, s->along, filters + j * s->terms, bias + j, 0, relu,
                               z);
            T *plane = out + j * p->out_plane;
            if (dense) {
                NAME(transpose)(count, columns, z, NARROW, plane + target[0], p->out_plane);
            } else {
                NAME(transpose)(count, columns, z, NARROW, turned, CHUNK);
                for (isize c = 0; c < columns; c++, plane += p->out_plane)
                    for (isize i = 0; i < count; i++) plane[target[i]] = turned[c * CHUNK + i];
            }
        }
    }
}

/* ---- The filters' gradient ---- */

/* Few filters leave most of a narrow tile's vectors empty: one dot product over the positions for each (term, filter). */
INLINE void NAME(dots)(int taps, const Pass *s, const T *grid, const isize *along, const T *g, T *out)
{
    T total[4] = {0};
    Vector sum[4] = {0};
    const isize whole = s->cols / LANES * LANES;
    for (isize row = 0; row < s->rows; row++, g += s->cols, grid += s->pitch) {
        for (isize i = 0; i < whole; i += LANES)
            for (int t = 0; t < taps; t++) sum[t] += *(const Vector *)(g + i) * *(const Vector *)(grid + along[t] + i);
        for (isize i = whole; i < s->cols; i++)
            for (int t = 0; t < taps; t++) total[t] += g[i] * grid[along[t] + i];
    }
    for (int t = 0; t < taps; t++) {
        for (int i = 0; i < LANES; i++) total[t] += sum[t][i];
        out[t * NARROW] += total[t];
    }
}

/* sums (panel, term, NARROW), terms [from, to) of them, += those of one image. g: its cotangents; turned: room for a panel. */
static void NAME(filter_sums)(const Plan *p, const Pass *s, const isize *positions, const T *grid, const T *g, isize from,
                              isize to, T *turned, T *sums)
{
    isize n = p->out_plane;
    for (isize j = 0; j < p->outs; j += NARROW, sums += s->terms * NARROW) {
        isize columns = smaller(NARROW, p->outs - j);
        if (columns <= LANES / 4) {
            for (isize c = 0; c < columns; c++) {
                isize k = from;
                const T *plane = g + (j + c) * n;
                for (; k + 4 <= to; k += 4) NAME(dots)(4, s, grid, s->along + k, plane, sums + k * NARROW + c);
                for (; k < to; k++) NAME(dots)(1, s, grid, s->along + k, plane, sums + k * NARROW + c);
            }
            continue;
        }
        for (isize at = 0; at < n; at += CHUNK) {
            isize count = smaller(CHUNK, n - at);
            if (columns < NARROW) memset(turned, 0, (size_t)(count * NARROW) * sizeof(T));
            NAME(transpose)(columns, count, g + j * n + at, n, turned, NARROW);
            NAME(narrow_panel)(columns, to - from, count, grid, s->along + from, positions + at, turned,
                               sums + from * NARROW, NARROW, false, sums + from * NARROW);
        }
    }
}

/* ---- Tasks ---- */

#define SUMS(p) (blocks_of((p)->outs, NARROW) * NARROW * (p)->terms) /* elements, of one group */

/* out = g * the activation's slope at y */
INLINE void NAME(scale)(int activation, isize n, const T *restrict g, const T *restrict y, T *restrict out)
{
    for (isize i = 0; i < n; i++)
        out[i] = activation == RELU      ? (y[i] <= 0 ? 0 : g[i])
                 : activation == SIGMOID ? g[i] * (y[i] * (1 - y[i]))
                                         : g[i] * (1 - y[i] * y[i]);
}

/* LANES sums of x, which are to be added up in the end. */
static void NAME(add_lanes)(isize n, const T *restrict x, double *restrict sums)
{
    isize i = 0;
    for (; i + LANES <= n; i += LANES)
        for (isize k = 0; k < LANES; k++) sums[k] += (double)x[i + k];
    for (isize k = 0; k < n - i; k++) sums[k] += (double)x[i + k];
}

/* The cotangents of image i, times the activation's slope; `sums` (or NULL) += those of each channel, by lanes. */
static const T *NAME(cotangents)(const Call *call, isize i, T *scaled, double *sums)
{
    const Convolution *c = call->c;
    const isize plane = c->window->out_h * c->window->out_w, n = c->filters * plane;
    const T *g = (const T *)(c->pass == CONV_INPUT ? c->first : c->second) + i * n, *y = c->y;
    switch (c->activation) {
    case RELU: NAME(scale)(RELU, n, g, y + i * n, scaled); break;
    case SIGMOID: NAME(scale)(SIGMOID, n, g, y + i * n, scaled); break;
    case TANH: NAME(scale)(TANH, n, g, y + i * n, scaled); break;
    }
    if (c->activation != NO_ACTIVATION) g = scaled;
    for (isize m = 0; sums && m < c->filters; m++) NAME(add_lanes)(plane, g + m * plane, sums + m * LANES);
    return g;
}

static void NAME(conv_task)(void *context, isize index)
{
    Call *call = context;
    const Convolution *c = call->c;
    const Plan *p = &call->plan;
    const isize block = index / p->parts, part = index % p->parts, groups = p->w->groups;
    const isize unit = p->units * part / p->parts, end_unit = p->units * (part + 1) / p->parts;
    const isize group = groups > 1 ? unit : 0, end_group = groups > 1 ? end_unit : 1;
    const isize of_unit = groups > 1 ? 0 : p->pass == CONV_FILTERS ? TILE_ROWS : NARROW;
    const isize all = p->pass == CONV_FILTERS ? p->terms : p->outs;
    const isize from = unit * of_unit, to = groups > 1 ? all : smaller(end_unit * of_unit, all);
    const isize grid_channels = (end_group - group) * p->ins, skipped = group * p->ins;
    const int slot = claim(call);
    char *own = call->slots + slot * call->slot;
    T *grid = (T *)own, *scaled = (T *)(own + call->cotangents), *z = (T *)(own + call->z);
    double *bias_sums = c->db && part == 0 ? call->bias_sums + block * c->filters * LANES : NULL;
    if (!p->in_place) memset(grid, 0, (size_t)call->cotangents);
    for (isize i = block * p->block, end = smaller(i + p->block, p->images); i < end; i++) {
        const T *g = p->pass == CONV_FORWARD ? NULL : NAME(cotangents)(call, i, scaled, bias_sums);
        const T *image = p->pass == CONV_INPUT ? g : (const T *)c->first + i * groups * p->ins * p->in_plane;
        if (!p->in_place)
            NAME(fill_grid)(p, image + skipped * p->in_plane, grid_channels, grid + skipped * p->channel);
        else
            grid = (T *)image; /* only to be read */
        for (isize n = group; n < end_group; n++) {
            const T *source = grid + n * p->ins * p->channel;
            if (p->pass == CONV_FILTERS) {
                NAME(filter_sums)(p, p->passes, call->positions, source, g + n * p->outs * p->out_plane, from, to, z,
                                  (T *)call->packed + (block * groups + n) * SUMS(p));
                continue;
            }
            const T *bias = (const T *)call->bias + (c->bias ? n * p->outs : 0);
            T *out = (T *)c->out + (i * groups + n) * p->outs * p->out_plane, *first = out + from * p->out_plane;
            const isize elements = (to - from) * p->out_plane;
            const bool relu = p->pass == CONV_FORWARD && c->activation == RELU;
            if (p->gaps) memset(first, 0, (size_t)elements * sizeof(T));
            for (const Pass *s = p->passes; s < p->passes + p->n_passes; s++) {
                const isize width = s->wide ? WIDE : NARROW;
                const T *panels = (const T *)call->packed + s->panels + n * blocks_of(p->outs, width) * width * s->terms;
                if (s->wide)
                    NAME(wide)(p, s, source, panels, bias, relu, out, from, to);
                else
                    NAME(narrow)(p, s, source, panels, bias, relu, out, from, to, z);
            }
            if (p->pass == CONV_FORWARD && c->activation > RELU)
                KERNEL(NAME(bias_act))(first, NULL, 1, elements, c->activation);
        }
    }
    give_back(call, slot);
}

/* Plans a call; its working space is what `space` then has in use, and slots behind it. */
static void NAME(prepare)(const Convolution *c, Space *space, Call *call)
{
    enum { SIZE = sizeof(T) };
    const Plan p = call->plan = plan_of(c, LANES, NARROW, WIDE, space);
    const isize groups = c->window->groups;
    call->packed = take(space, (p.pass == CONV_FILTERS ? larger(p.blocks, 1) * groups * SUMS(&p) : p.packed) * SIZE);
    call->bias = take(space, ((c->bias ? groups : 1) * p.outs + NARROW) * SIZE);
    call->bias_sums = take(space, c->db ? p.blocks * c->filters * LANES * (isize)sizeof(double) : 0);
    call->positions = take(space, p.pass == CONV_FILTERS ? p.out_plane * (isize)sizeof(isize) : 0);
    call->slots = take(space, 0);
    Space slot = {0};
    if (!p.in_place) take(&slot, (groups * p.ins * p.channel + LANES) * SIZE);
    call->cotangents = slot.used;
    if (p.pass != CONV_FORWARD && c->activation) take(&slot, c->filters * c->window->out_h * c->window->out_w * SIZE);
    call->z = slot.used;
    take(&slot, 2 * CHUNK * NARROW * SIZE);
    call->slot = slot.used;
}

isize KERNEL(NAME(conv_space))(const Convolution *c)
{
    Space space = {0};
    Call call;
    NAME(prepare)(c, &space, &call);
    return space.used + call.plan.slots * call.slot;
}

void KERNEL(NAME(conv))(const Convolution *c, void *memory, isize bytes)
{
    Space space = {memory, 0};
    Call call = {.c = c};
    NAME(prepare)(c, &space, &call);
    Plan *p = &call.plan;
    p->slots = smaller(MAX_SLOTS, (bytes - space.used) / call.slot); /* the number of threads may have changed */
    const isize groups = c->window->groups, sums = groups * SUMS(p);
    T *packed = (T *)call.packed, *out = c->out;
    if (p->pass == CONV_FILTERS) {
        const Pass *s = p->passes;
        for (isize i = 0; i < p->out_plane; i++) call.positions[i] = i / s->cols * s->pitch + i % s->cols;
        memset(packed, 0, (size_t)(larger(p->blocks, 1) * sums) * sizeof(T));
        if (c->db) memset(call.bias_sums, 0, (size_t)(p->blocks * c->filters * LANES) * sizeof(double));
    } else {
        memset(call.bias, 0, (size_t)((c->bias ? groups : 1) * p->outs + NARROW) * sizeof(T));
        if (c->bias) memcpy(call.bias, c->bias, (size_t)c->filters * sizeof(T));
        for (const Pass *s = p->passes; s < p->passes + p->n_passes; s++)
            for (isize n = 0, width = s->wide ? WIDE : NARROW; n < groups; n++)
                NAME(pack_filters)(p, s, (const T *)c->second + n * p->outs * p->terms, width,
                                   packed + s->panels + n * blocks_of(p->outs, width) * width * s->terms);
    }
    run_tasks(NAME(conv_task), &call, p->blocks * p->parts, p->slots > 1);
    if (p->pass != CONV_FILTERS) return;
    for (isize b = 1; b < p->blocks; b++)
        for (isize i = 0; i < sums; i++) packed[i] += packed[b * sums + i];
    for (isize n = 0; n < groups; n++)
        for (isize j = 0; j < p->outs; j += NARROW, packed += p->terms * NARROW)
            NAME(transpose)(p->terms, smaller(NARROW, p->outs - j), packed, NARROW, out + (n * p->outs + j) * p->terms,
                            p->terms);
    for (isize m = 0; c->db && m < c->filters; m++) {
        double total = 0;
        for (isize b = 0; b < p->blocks; b++)
            for (isize k = 0; k < LANES; k++) total += call.bias_sums[(b * c->filters + m) * LANES + k];
        ((T *)c->db)[m] = (T)total;
    }
}

#undef T
#undef NAME
#undef Vector
#undef LANES
#undef NARROW
#undef WIDE
#undef WIDE_VECTORS
#undef WIDE_TILE
#undef NARROW_TILES
#undef SUMS
