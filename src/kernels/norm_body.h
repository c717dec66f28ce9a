/* Normalization for one element type T; NAME(x) is x with the type's suffix.  Included by norm.c, which explains it. */

#define RUN_SUM(name) RUN_REDUCTION(name, T, double, 0, ADD)
RUN_SUM(NAME(total))
TWO_SUMS(deviations, DEVIATION, SAME)
TWO_SUMS(weighted_sums, WEIGHTED, DEVIATION)
TWO_SUMS(segment_sums, COTANGENT, DEVIATION)
TWO_COLUMN_SUMS(column_deviations, COLUMN_DEVIATION, COLUMN_SAME)
TWO_COLUMN_SUMS(column_sums, COLUMN_COTANGENT, COLUMN_DEVIATION)

/* ---- Statistics, as they are kept for the gradient: centre, rest, scale, variance of all sets, one after the other. */

typedef struct {
    T centre, rest, scale;
} NAME(Moments);
#define Moments NAME(Moments)

/* The moments of a set of `count` elements from the sums of deviations from `centre` and of their squares. */
static NOINLINE Moments NAME(set_moments)(const Norm *n, isize set, T centre, double sum, double squares, isize count)
{
    const isize sets = set_count(n);
    T *kept = (T *)n->moments + set;
    double rest = n->centred ? sum / (double)count : 0, variance = squares / (double)count - rest * rest;
    variance = variance < 0 ? 0 : variance; /* NaN stays */
    const Moments m = {centre, (T)rest, (T)(1 / sqrt(variance + n->eps))};
    kept[0] = m.centre;
    kept[sets] = m.rest;
    kept[2 * sets] = m.scale;
    kept[3 * sets] = (T)variance;
    return m;
}

static NOINLINE Moments NAME(kept_moments)(const Norm *n, isize set)
{
    const isize sets = set_count(n);
    const T *kept = (const T *)n->moments + set;
    return (Moments){kept[0], kept[sets], kept[2 * sets]};
}

/* The gradient of x is scale * weight * g + slope * (x - centre) + shift, where the sums are those over the set of weight * g
 * and of weight * g * (x - centre). */
static NOINLINE void NAME(set_gradient)(const Norm *n, Moments m, double sum, double product, isize count, T *slope,
                                        T *shift)
{
    *slope = *shift = 0;
    if (n->given) return;
    const double scale = (double)m.scale, rest = (double)m.rest;
    const double along = -scale * scale * scale * (product - rest * sum) / (double)count;
    *slope = (T)along;
    *shift = (T)(-along * rest - (n->centred ? scale * sum / (double)count : 0));
}

/* ---- Rows ---- */

static void NAME(rows_task)(void *context, isize index)
{
    const Norm *n = context;
    const isize c = n->channels / n->groups, first = index * row_part(n), last = smaller(n->images, first + row_part(n));
    for (isize set = first * n->groups; set < last * n->groups; set++) {
        const isize group = set % n->groups;
        const T *restrict x = (const T *)n->x + set * c;
        const T *restrict w = (const T *)n->weight + group * c, *restrict b = (const T *)n->bias + group * c;
        T *restrict out = (T *)n->out + set * c;
        double sum, squares;
        const T centre = n->centred ? (T)(NAME(total)(x, c) / (double)c) : 0;
        NAME(deviations)(NULL, NULL, x, centre, c, &sum, &squares);
        const Moments m = NAME(set_moments)(n, set, centre, sum, squares, c);
        const T shift = -m.rest * m.scale;
        for (isize j = 0; j < c; j++) out[j] = ((x[j] - centre) * m.scale + shift) * w[j] + b[j];
    }
}

/* dx of a row, and what it adds to the sums for weight and bias. */
#define ROW(k)                                                                                                              \
    const T d##k = x[k * stride + j] - centre##k, g##k = g[k * stride + j], v##k = d##k * scale##k + rest##k;               \
    dx[k * stride + j] = g##k * w[j] * scale##k + d##k * slope##k + shift##k;
#define ROW_NUMBERS(k)                                                                                                      \
    const T centre##k = m[k].centre, scale##k = m[k].scale, rest##k = -m[k].rest * m[k].scale, slope##k = slope[k],         \
            shift##k = shift[k];

static void NAME(row_gradients)(const T *restrict g, const T *restrict x, const T *restrict w, T *restrict dx,
                                double *restrict dw, double *restrict db, const Moments *m, const T *slope, const T *shift,
                                isize rows, isize c, isize stride)
{
    ROW_NUMBERS(0)
    if (rows == 4) {
        ROW_NUMBERS(1)
        ROW_NUMBERS(2)
        ROW_NUMBERS(3)
        for (isize j = 0; j < c; j++) {
            ROW(0) ROW(1) ROW(2) ROW(3) dw[j] += (double)((g0 * v0 + g1 * v1) + (g2 * v2 + g3 * v3));
            db[j] += (double)((g0 + g1) + (g2 + g3));
        }
    } else {
        for (isize j = 0; j < c; j++) {
            ROW(0)
            dw[j] += (double)(g0 * v0);
            db[j] += (double)g0;
        }
    }
}
#undef ROW
#undef ROW_NUMBERS

static void NAME(rows_vjp_task)(void *context, isize index)
{
    const Norm *n = context;
    const isize groups = n->groups, c = n->channels / groups;
    const isize first = index * row_part(n), last = smaller(n->images, first + row_part(n));
    double *dw = partial_sums(n, 0, index), *db = partial_sums(n, 1, index);
    memset(dw, 0, n->channels * sizeof(double));
    memset(db, 0, n->channels * sizeof(double));
    for (isize group = 0; group < groups; group++)
        for (isize image = first, rows; image < last; image += rows) {
            const isize set = image * groups + group, at = set * c;
            const T *w = (const T *)n->weight + group * c;
            Moments m[4];
            T slope[4], shift[4];
            rows = image + 4 <= last ? 4 : 1;
            for (isize k = 0; k < rows; k++) {
                const isize row = at + k * n->channels;
                double sum, product;
                m[k] = NAME(kept_moments)(n, set + k * groups);
                NAME(weighted_sums)((const T *)n->g + row, w, (const T *)n->x + row, m[k].centre, c, &sum, &product);
                NAME(set_gradient)(n, m[k], sum, product, c, &slope[k], &shift[k]);
            }
            NAME(row_gradients)((const T *)n->g + at, (const T *)n->x + at, w, (T *)n->dx + at, dw + group * c,
                                db + group * c, m, slope, shift, rows, c, n->channels);
        }
}

/* ---- Columns ---- */

static void NAME(columns_task)(void *context, isize index)
{
    const Norm *n = context;
    const isize first = index * COLUMNS, width = smaller(COLUMNS, n->channels - first), stride = n->channels;
    const T *restrict x = (const T *)n->x + first, *w = (const T *)n->weight + first, *b = (const T *)n->bias + first;
    T *restrict out = (T *)n->out + first;
    T centre[COLUMNS] = {0}, factor[COLUMNS], addend[COLUMNS];
    double sum[COLUMNS] = {0}, squares[COLUMNS] = {0};
    if (!n->given) {
        NAME(column_deviations)(NULL, x, centre, n->images, width, stride, sum, squares);
        for (isize j = 0; j < width; j++) {
            centre[j] = (T)(sum[j] / (double)n->images);
            sum[j] = squares[j] = 0;
        }
        NAME(column_deviations)(NULL, x, centre, n->images, width, stride, sum, squares);
        for (isize j = 0; j < width; j++) NAME(set_moments)(n, first + j, centre[j], sum[j], squares[j], n->images);
    }
    for (isize j = 0; j < width; j++) {
        const Moments m = NAME(kept_moments)(n, first + j);
        centre[j] = m.centre;
        factor[j] = m.scale * w[j];
        addend[j] = b[j] - m.rest * factor[j];
    }
    for (isize row = 0; row < n->images; row++)
        for (isize j = 0; j < width; j++) out[row * stride + j] = (x[row * stride + j] - centre[j]) * factor[j] + addend[j];
}

static void NAME(columns_vjp_task)(void *context, isize index)
{
    const Norm *n = context;
    const isize first = index * COLUMNS, width = smaller(COLUMNS, n->channels - first), stride = n->channels;
    const T *restrict x = (const T *)n->x + first, *restrict g = (const T *)n->g + first, *w = (const T *)n->weight + first;
    T *restrict dx = (T *)n->dx + first;
    T centre[COLUMNS] = {0}, factor[COLUMNS], slope[COLUMNS], shift[COLUMNS];
    double sum[COLUMNS] = {0}, product[COLUMNS] = {0};
    for (isize j = 0; j < width; j++) centre[j] = NAME(kept_moments)(n, first + j).centre;
    NAME(column_sums)(g, x, centre, n->images, width, stride, sum, product);
    for (isize j = 0; j < width; j++) {
        const Moments m = NAME(kept_moments)(n, first + j);
        factor[j] = m.scale * w[j];
        NAME(set_gradient)(n, m, sum[j] * (double)w[j], product[j] * (double)w[j], n->images, &slope[j], &shift[j]);
        partial_sums(n, 0, 0)[first + j] = (double)m.scale * (product[j] - (double)m.rest * sum[j]);
        partial_sums(n, 1, 0)[first + j] = sum[j];
    }
    for (isize row = 0; row < n->images; row++)
        for (isize j = 0; j < width; j++) {
            const isize i = row * stride + j;
            dx[i] = g[i] * factor[j] + (x[i] - centre[j]) * slope[j] + shift[j];
        }
}

/* ---- Segments ---- */

static NOINLINE void NAME(segment_moments)(const Norm *n, isize set, isize segments)
{
    const isize count = segments * n->span;
    isize channel;
    double total = 0, sum = 0, squares = 0, more, more_squares;
    for (isize k = 0; k < segments; k++) total += NAME(total)((const T *)n->x + segment(n, set, k, &channel), n->span);
    const T centre = (T)(total / (double)count);
    for (isize k = 0; k < segments; k++) {
        const T *x = (const T *)n->x + segment(n, set, k, &channel);
        NAME(deviations)(NULL, NULL, x, centre, n->span, &more, &more_squares);
        sum += more;
        squares += more_squares;
    }
    NAME(set_moments)(n, set, centre, sum, squares, count);
}

static void NAME(segments_task)(void *context, isize index)
{
    const Norm *n = context;
    const isize segments = n->groups ? n->channels / n->groups : n->images;
    isize first, last, channel;
    segment_sets(n, index, &first, &last);
    for (isize set = first; set < last; set++) {
        if (!n->given) NAME(segment_moments)(n, set, segments);
        const Moments m = NAME(kept_moments)(n, set);
        for (isize k = 0; k < segments; k++) {
            const isize at = segment(n, set, k, &channel);
            const T *restrict x = (const T *)n->x + at;
            T *restrict out = (T *)n->out + at;
            const T factor = m.scale * ((const T *)n->weight)[channel];
            const T addend = ((const T *)n->bias)[channel] - m.rest * factor;
            for (isize j = 0; j < n->span; j++) out[j] = (x[j] - m.centre) * factor + addend;
        }
    }
}

static void NAME(segments_vjp_task)(void *context, isize index)
{
    const Norm *n = context;
    const isize segments = n->groups ? n->channels / n->groups : n->images, count = segments * n->span;
    isize first, last, channel;
    segment_sets(n, index, &first, &last);
    for (isize set = first; set < last; set++) {
        const Moments m = NAME(kept_moments)(n, set);
        const isize row = n->groups ? set / n->groups : 0;
        double *dw = partial_sums(n, 0, row), *db = partial_sums(n, 1, row);
        double sum = 0, product = 0, more, more_product;
        T slope, shift;
        for (isize k = 0; k < segments; k++) {
            const isize at = segment(n, set, k, &channel);
            const double weight = (double)((const T *)n->weight)[channel];
            NAME(segment_sums)((const T *)n->g + at, NULL, (const T *)n->x + at, m.centre, n->span, &more, &more_product);
            sum += weight * more;
            product += weight * more_product;
            if (n->groups || k == 0) dw[channel] = db[channel] = 0;
            dw[channel] += (double)m.scale * (more_product - (double)m.rest * more);
            db[channel] += more;
        }
        NAME(set_gradient)(n, m, sum, product, count, &slope, &shift);
        for (isize k = 0; k < segments; k++) {
            const isize at = segment(n, set, k, &channel);
            const T *restrict x = (const T *)n->x + at, *restrict g = (const T *)n->g + at;
            T *restrict dx = (T *)n->dx + at;
            const T factor = m.scale * ((const T *)n->weight)[channel], centre = m.centre;
            for (isize j = 0; j < n->span; j++) dx[j] = g[j] * factor + (x[j] - centre) * slope + shift;
        }
    }
}

/* ---- What the table has ---- */

void KERNEL(NAME(norm))(const Norm *n) { run_norm(n, NAME(rows_task), NAME(columns_task), NAME(segments_task)); }

void KERNEL(NAME(norm_vjp))(const Norm *n)
{
    const isize rows = elements(n) ? partial_rows(n) : 0;
    run_norm(n, NAME(rows_vjp_task), NAME(columns_vjp_task), NAME(segments_vjp_task));
    for (isize c = 0; c < n->channels; c++) {
        double dw = 0, db = 0;
        for (isize row = 0; row < rows; row++) {
            dw += partial_sums(n, 0, row)[c];
            db += partial_sums(n, 1, row)[c];
        }
        ((T *)n->dweight)[c] = (T)dw;
        ((T *)n->dbias)[c] = (T)db;
    }
}

#undef Moments
