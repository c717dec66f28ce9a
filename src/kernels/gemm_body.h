/* The built-in matrix product for one element type T; INDEX is the integer of its size, NAME(x) is x with the type's suffix.
 * Included by gemm.c.
 *
 * Three ways, by shape (the last two after GotoBLAS and BLIS):
 *     matvec   where m or n is 1 to 3: every element of the matrix is read in the order of memory;
 *     blocks   tiles of c from rows of a where they are and panels of columns of b, which are copied into the order in
 *              which the tiles read them, so that they stay in the first cache;
 *     packed   large products: wider tiles, and both factors copied; they come from the second cache, ahead of their use.
 * All sum along k in one order, so that an element of c does not depend on the way, nor on how c is split over threads.
 */

typedef T NAME(Vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
typedef INDEX NAME(Mask) __attribute__((vector_size(VECTOR_BYTES)));
enum {
    NAME(LANES) = VECTOR_BYTES / sizeof(T),
    NAME(TILE_COLS) = 2 * NAME(LANES),
    /* Packed: columns of a panel of b; rows of a in a line, which are those of whole tiles and of whole vectors. */
    NAME(PANEL_COLS) = MAX_VECTORS * NAME(LANES),
    NAME(LINE) = TILE_ROWS % NAME(LANES) == 0 ? TILE_ROWS
    : NAME(LANES) % TILE_ROWS == 0            ? NAME(LANES)
                                              : TILE_ROWS / 2 * NAME(LANES),
};

/* A factor: `across` steps along the rows of a or the columns of b, `along` steps along the summed index. Which of the
 * two is 1 is all that transposition means. */
typedef struct {
    const T *data;
    isize across, along;
} NAME(Factor);

#define Vector NAME(Vector)
#define Mask NAME(Mask)
#define LANES NAME(LANES)
#define TILE_COLS NAME(TILE_COLS)
#define PANEL_COLS NAME(PANEL_COLS)
#define LINE NAME(LINE)
#define IS_FLOAT ((T)0.5 > 0) /* integers, which are slow to multiply and rarely are, have less code */
#define Factor NAME(Factor)

INLINE Factor NAME(part)(Factor x, isize i, isize p)
{
    x.data += i * x.across + p * x.along;
    return x;
}
#define part NAME(part)

/* ---- Tiles ---- */

/* c (rows, cols) = or += whole, by halves of the width, because copies of fixed size are much quicker than others. */
static __attribute__((noinline)) void NAME(store_part)(isize rows, isize cols, const Vector *whole, int vectors, bool add,
                                                       T *c, isize ldc)
{
    for (isize i = 0; i < rows; i++) {
        const T *from = (const T *)(whole + i * vectors);
        T *to = c + i * ldc;
#pragma GCC unroll 6
        for (int half = 2 * LANES; half; half /= 2) {
            if (!(cols & half)) continue;
            for (int lane = 0; lane < half; lane++) to[lane] = add ? to[lane] + from[lane] : from[lane];
            from += half;
            to += half;
        }
    }
}

/* c = or += sum, all of it. */
INLINE void NAME(store_whole)(int rows, int vectors, Vector *sum, bool add, T *c, isize ldc)
{
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        Vector *out = (Vector *)(c + i * ldc);
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            if (add) sum[i * vectors + v] += out[v];
            out[v] = sum[i * vectors + v];
        }
    }
}

/* sum += column p of a times row p of b. */
INLINE void NAME(step)(int rows, int vectors, Vector *sum, Factor a, Factor b, isize p)
{
    Vector row[MAX_VECTORS];
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) row[v] = ((const Vector *)(b.data + p * b.along))[v];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        T x = a.data[p * a.along + i * a.across];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) sum[i * vectors + v] += x * row[v];
    }
}

/* c (rows, cols) = or += a b, where whole vectors of b are contiguous (b.across is 1). */
INLINE void NAME(tile)(int rows, int vectors, isize k, Factor a, Factor b, bool add, T *c, isize ldc, isize cols)
{
    Vector sum[MAX_ROWS * 2] = {0};
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) { /* c is far away where it is large */
        for (int v = 0; v < vectors; v++) __builtin_prefetch(c + i * ldc + v * LANES, 1);
    }
    for (isize p = 0; p < k; p++) NAME(step)(rows, vectors, sum, a, b, p);
    if (cols == vectors * LANES) {
        NAME(store_whole)(rows, vectors, sum, add, c, ldc);
    } else {
        Vector whole[MAX_ROWS * 2]; /* a copy, lest the sums themselves have to be in memory */
        memcpy(whole, sum, (size_t)(rows * vectors) * sizeof *whole);
        NAME(store_part)(rows, cols, whole, vectors, add, c, ldc);
    }
}

/* Exchange the squares of `size` lanes off the diagonal of each square of twice that size. */
INLINE void NAME(exchange)(Vector *row, int size)
{
    if (size >= LANES) return;
    Mask low, high;
#pragma GCC unroll 16
    for (int lane = 0; lane < LANES; lane++) {
        low[lane] = lane & size ? lane - size + LANES : lane;
        high[lane] = lane & size ? lane + LANES : lane + size;
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        if (i & size) continue;
        Vector x = row[i], y = row[i + size];
        row[i] = __builtin_shuffle(x, y, low);
        row[i + size] = __builtin_shuffle(x, y, high);
    }
}

/* Lines of `width`, one for each of k: count <= width rows of a (or columns of b) turned around; what is beyond them
 * is zero or the factor's own numbers, lest garbage slow the tiles down. Contiguous rows (along is 1) are turned by squares. */
INLINE void NAME(turn)(int width, isize count, isize k, Factor x, T *out, isize length)
{
    isize p = 0;
    if (x.across == 1) { /* short lines whole as well, with the beginning of the next ones, but for the last */
        isize whole = k - (width - count + x.along - 1) / x.along;
        for (; p < whole; p++) {
            for (int at = 0; at < width; at += LANES) memcpy(out + p * length + at, x.data + p * x.along + at, VECTOR_BYTES);
        }
    } else if (x.along == 1) {
        for (; p + LANES <= k; p += LANES) {
#pragma GCC unroll 2
            for (int at = 0; at < width; at += LANES) {
                Vector square[LANES];
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++) square[i] = *(const Vector *)part(x, least(at + i, count - 1), p).data;
                NAME(exchange)(square, 1);
                NAME(exchange)(square, 2);
                NAME(exchange)(square, 4);
                NAME(exchange)(square, 8);
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++) *(Vector *)(out + (p + i) * length + at) = square[i];
            }
        }
    }
    for (; p < k; p++) {
        T *line = out + p * length;
        if (count < width) memset(line, 0, (size_t)width * sizeof(T));
        for (isize i = 0; i < count; i++) line[i] = part(x, i, p).data[0];
    }
}

/* ---- Blocks ---- */

/* One panel of columns of c. A narrow one takes more rows at a time: enough independent sums to hide the latency of
 * addition. */
INLINE void NAME(panel)(int vectors, isize m, isize k, Factor a, Factor b, bool add, T *c, isize ldc, isize cols)
{
    enum { NARROW_ROWS = 8 };
    isize i = 0;
    if (vectors == 1) {
        for (; i + NARROW_ROWS <= m; i += NARROW_ROWS)
            NAME(tile)(NARROW_ROWS, vectors, k, part(a, i, 0), b, add, c + i * ldc, ldc, cols);
    } else {
        for (; i + TILE_ROWS <= m; i += TILE_ROWS)
            NAME(tile)(TILE_ROWS, vectors, k, part(a, i, 0), b, add, c + i * ldc, ldc, cols);
    }
    for (; i + 4 <= m; i += 4) NAME(tile)(4, vectors, k, part(a, i, 0), b, add, c + i * ldc, ldc, cols);
    for (; i + 2 <= m; i += 2) NAME(tile)(2, vectors, k, part(a, i, 0), b, add, c + i * ldc, ldc, cols);
    if (i < m) NAME(tile)(1, vectors, k, part(a, i, 0), b, add, c + i * ldc, ldc, cols);
}

/* The same; the compiler is told whether rows or columns of a are contiguous. */
INLINE void NAME(any_panel)(int vectors, isize m, isize k, Factor a, Factor b, bool add, T *c, isize ldc, isize cols)
{
    if (a.along == 1) {
        NAME(panel)(vectors, m, k, (Factor){a.data, a.across, 1}, b, add, c, ldc, cols);
    } else {
        NAME(panel)(vectors, m, k, (Factor){a.data, 1, a.along}, b, add, c, ldc, cols);
    }
}

/* The same for a panel of b that was copied. */
static __attribute__((noinline)) void NAME(copied_panel)(int vectors, isize m, isize k, Factor a, const T *panel, bool add,
                                                         T *c, isize ldc, isize cols)
{
    if (vectors == 2) {
        NAME(any_panel)(2, m, k, a, (Factor){panel, 1, TILE_COLS}, add, c, ldc, cols);
    } else {
        NAME(any_panel)(1, m, k, a, (Factor){panel, 1, LANES}, add, c, ldc, cols);
    }
}

/* Columns of c, at most `vectors` wide. The panel of b is copied into the order in which the tiles read it, and stays in the
 * first cache, unless it can be read in place and a copy is not worth it. */
INLINE void NAME(columns)(int vectors, isize m, isize k, Factor a, Factor b, bool add, T *c, isize ldc, isize cols)
{
    if (IS_FLOAT && b.across == 1 && cols == vectors * LANES && m <= FEW) {
        NAME(any_panel)(vectors, m, k, a, (Factor){b.data, 1, b.along}, add, c, ldc, cols);
    } else {
        _Alignas(VECTOR_BYTES) T panel[BLOCK_K * TILE_COLS];
        NAME(turn)(vectors * LANES, cols, k, b, panel, vectors * LANES);
        NAME(copied_panel)(vectors, m, k, a, panel, add, c, ldc, cols);
    }
}

/* c (m, n) = or += a b for a block of a that stays in the level 2 cache. */
static void NAME(block)(isize m, isize n, isize k, Factor a, Factor b, bool add, T *c, isize ldc)
{
    for (isize j = 0; j < n; j += TILE_COLS) {
        isize cols = least(n - j, TILE_COLS);
        if (cols > LANES) {
            NAME(columns)(2, m, k, a, part(b, j, 0), add, c + j, ldc, cols);
        } else {
            NAME(columns)(1, m, k, a, part(b, j, 0), add, c + j, ldc, cols);
        }
    }
}

/* rows (m, length) = the block of a, whose columns are contiguous, turned around. */
static void NAME(copy_rows)(isize m, isize k, Factor a, T *rows, isize length)
{
    Factor columns = {a.data, a.along, a.across};
    for (isize p = 0; p < k; p += TILE_COLS)
        NAME(turn)(TILE_COLS, least(TILE_COLS, k - p), m, part(columns, p, 0), rows + p, length);
}

/* With `space`, the rows of a are not contiguous, and copied into it. */
static void NAME(blocks)(isize m, isize n, isize k, Factor a, Factor b, bool add, T *c, isize ldc, T *space)
{
    isize depth = even_part(k, BLOCK_K), length = round_up(depth, TILE_COLS);
    for (isize i = 0; i < m; i += BLOCK_M) {
        isize mi = least(BLOCK_M, m - i);
        for (isize p = 0; p < k; p += depth) {
            isize kp = least(depth, k - p);
            Factor a_block = part(a, i, p);
            if (space) {
                NAME(copy_rows)(mi, kp, a_block, space, length);
                a_block = (Factor){space, length, 1};
            }
            NAME(block)(mi, n, kp, a_block, part(b, 0, p), add || p > 0, c + i * ldc, ldc);
        }
    }
}

/* ---- Packed ---- */

static __attribute__((noinline)) void NAME(pack)(int width, isize count, isize k, Factor x, T *out)
{
    NAME(turn)(width, count, k, x, out, width);
}

/* One tile: a is a line's part, b a panel of `vectors` vectors. Within the loop the first cache holds little for long: a comes
 * AHEAD of its use, c shortly before the end; `next`, the panel after b, comes into the second cache. */
INLINE void NAME(packed_tile)(int vectors, isize rows, isize k, const T *a, const T *b, bool add, T *c, isize ldc,
                              isize cols, const char *next)
{
    enum { AHEAD = 512, BEFORE_END = 24 * STEPS };
    Vector sum[TILE_ROWS * MAX_VECTORS] = {0};
    Factor left = {a, 1, LINE}, right = {b, 1, vectors * LANES};
    const T *row = c, *last = c + (rows - 1) * ldc;
    isize near_end = k > BEFORE_END ? k - BEFORE_END : 0, p = 0;
    for (; p + STEPS <= k; p += STEPS) {
        if (p >= near_end && row <= last) {
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) __builtin_prefetch(row + v * LANES, 1);
            row += ldc;
        }
        __builtin_prefetch(next, 0, 2);
        next += CACHE_LINE;
#pragma GCC unroll 16
        for (int step = 0; step < STEPS; step++) {
            __builtin_prefetch((const char *)(a + (p + step) * LINE) + AHEAD);
            NAME(step)(TILE_ROWS, vectors, sum, left, right, p + step);
        }
    }
    for (; p < k; p++) NAME(step)(TILE_ROWS, vectors, sum, left, right, p);
    if (rows == TILE_ROWS && cols == vectors * LANES) {
        NAME(store_whole)(TILE_ROWS, vectors, sum, add, c, ldc);
    } else {
        Vector whole[TILE_ROWS * MAX_VECTORS];
        memcpy(whole, sum, sizeof whole);
        NAME(store_part)(rows, cols, whole, vectors, add, c, ldc);
    }
}

/* All tiles of a panel of b; each brings its share of the next panel. Sums of more than `depth` terms are made in parts, as in
 * the other ways: c is in the first cache for all but the first. */
INLINE void NAME(packed_panel)(int vectors, isize m, isize k, isize depth, const T *lines, const T *panel, bool add, T *c,
                               isize ldc, isize cols)
{
    const char *next = (const char *)(panel + k * vectors * LANES);
    for (isize i = 0; i < m; i += TILE_ROWS) {
        const T *a = lines + i / LINE * LINE * k + i % LINE;
        for (isize p = 0; p < k; p += depth) {
            isize kp = least(depth, k - p);
            NAME(packed_tile)(vectors, least(TILE_ROWS, m - i), kp, a + p * LINE, panel + p * vectors * LANES, add || p > 0,
                              c + i * ldc, ldc, cols, next);
            next += kp / STEPS * CACHE_LINE;
        }
    }
}

static __attribute__((noinline)) void NAME(packed_columns)(isize m, isize k, isize depth, const T *lines, const T *panel,
                                                           bool add, T *c, isize ldc, isize cols)
{
    if (MAX_VECTORS > 2 && cols > 2 * LANES) {
        NAME(packed_panel)(MAX_VECTORS, m, k, depth, lines, panel, add, c, ldc, cols);
    } else if (cols > LANES) {
        NAME(packed_panel)(2, m, k, depth, lines, panel, add, c, ldc, cols);
    } else {
        NAME(packed_panel)(1, m, k, depth, lines, panel, add, c, ldc, cols);
    }
}

/* Whether copying both factors pays: they are read often enough, and do not fit the second cache. */
INLINE bool NAME(is_large)(isize m, isize n, isize k)
{
    return PACKS && IS_FLOAT && m >= 192 && n >= 192 && (double)m * (double)n * (double)k * sizeof(T) > GEMM_PACKS;
}

/* Elements of each factor that are packed at a time. */
INLINE isize NAME(packed_a)(isize m, isize k) { return round_up(least(m, PACKED_M), LINE) * 2 * even_part(k, BLOCK_K); }
INLINE isize NAME(packed_b)(isize n, isize k)
{
    isize cols = least(n, PACKED_BYTES / (2 * BLOCK_K * (isize)sizeof(T)));
    return round_up(cols, PANEL_COLS) * 2 * even_part(k, BLOCK_K);
}

static void NAME(packed)(isize m, isize n, isize k, Factor a, Factor b, bool add, T *c, isize ldc, T *space)
{
    isize depth = even_part(k, BLOCK_K),
          width = round_up(even_part(n, PACKED_BYTES / (2 * BLOCK_K * (isize)sizeof(T))), PANEL_COLS);
    T *lines = space, *panels = space + NAME(packed_a)(m, k);
    for (isize j = 0; j < n; j += width) {
        for (isize p = 0; p < k; p += 2 * depth) {
            isize kp = least(2 * depth, k - p);
            for (isize i = 0; i < m; i += PACKED_M) {
                isize mi = least(PACKED_M, m - i);
                for (isize q = 0; q < mi; q += LINE)
                    NAME(pack)(LINE, least(LINE, mi - q), kp, part(a, i + q, p), lines + q * kp);
                for (isize q = j, cols; q < least(n, j + width); q += cols) {
                    cols = least(PANEL_COLS, n - q);
                    T *panel = panels + (q - j) * kp;
                    if (i == 0) NAME(pack)((int)round_up(cols, LANES), cols, kp, part(b, q, p), panel);
                    NAME(packed_columns)(mi, kp, depth, lines, panel, add || p > 0, c + i * ldc + q, ldc, cols);
                }
            }
        }
    }
}

/* ---- Matrix times vector: y[i] = or += sum over p < k of matrix[i, p] x[p] ---- */

/* Contiguous rows and x: four dot products at a time. */
static void NAME(matvec_rows)(isize m, isize k, Factor matrix, const T *x, bool add, T *y, isize y_stride)
{
    for (isize i = 0; i < m; i += 4) {
        isize rows = least(4, m - i), p = 0;
        const T *row[4];
        for (int r = 0; r < 4; r++) row[r] = part(matrix, i + least(r, rows - 1), 0).data;
        Vector sum[4] = {0};
        for (; p + LANES <= k; p += LANES) {
            Vector x_part = *(const Vector *)(x + p);
            for (int r = 0; r < 4; r++) sum[r] += *(const Vector *)(row[r] + p) * x_part;
        }
        T total[4], lanes[4][LANES];
        memcpy(lanes, sum, sizeof lanes);
        for (int r = 0; r < 4; r++) {
            for (int half = LANES / 2; half; half /= 2) {
                for (int lane = 0; lane < half; lane++) lanes[r][lane] += lanes[r][lane + half];
            }
            total[r] = lanes[r][0];
        }
        for (; p < k; p++) {
            for (int r = 0; r < 4; r++) total[r] += row[r][p] * x[p];
        }
        for (int r = 0; r < rows; r++) {
            T *out = y + (i + r) * y_stride;
            *out = add ? *out + total[r] : total[r];
        }
    }
}

/* Contiguous columns and y: y is a sum of columns, four at a time. */
static void NAME(matvec_cols)(isize m, isize k, Factor matrix, const T *x, isize x_stride, T *restrict y)
{
    memset(y, 0, (size_t)m * sizeof(T));
    isize p = 0;
    for (; p + 4 <= k; p += 4) {
        const T *c0 = part(matrix, 0, p).data, *c1 = c0 + matrix.along, *c2 = c1 + matrix.along, *c3 = c2 + matrix.along;
        T x0 = x[p * x_stride], x1 = x[(p + 1) * x_stride], x2 = x[(p + 2) * x_stride], x3 = x[(p + 3) * x_stride];
        for (isize i = 0; i < m; i++) y[i] += x0 * c0[i] + x1 * c1[i] + x2 * c2[i] + x3 * c3[i];
    }
    for (; p < k; p++) {
        const T *column = part(matrix, 0, p).data, factor = x[p * x_stride];
        for (isize i = 0; i < m; i++) y[i] += factor * column[i];
    }
}

/* Either, in pieces: x is gathered into a buffer where it is strided, y made in one and scattered. */
static void NAME(matvec)(isize m, isize k, Factor matrix, const T *x, isize x_stride, bool add, T *y, isize y_stride)
{
    enum { PIECE = 1024 };
    T buffer[PIECE];
    if (matrix.along == 1 && x_stride == 1) {
        NAME(matvec_rows)(m, k, matrix, x, add, y, y_stride);
    } else if (matrix.along == 1) {
        for (isize p = 0; p < k; p += PIECE) {
            isize kp = least(PIECE, k - p);
            for (isize q = 0; q < kp; q++) buffer[q] = x[(p + q) * x_stride];
            NAME(matvec_rows)(m, kp, part(matrix, 0, p), buffer, add || p > 0, y, y_stride);
        }
    } else {
        for (isize i = 0; i < m; i += PIECE) {
            isize mi = least(PIECE, m - i);
            NAME(matvec_cols)(mi, k, part(matrix, i, 0), x, x_stride, buffer);
            for (isize q = 0; q < mi; q++) {
                T *out = y + (i + q) * y_stride;
                *out = add ? *out + buffer[q] : buffer[q];
            }
        }
    }
}

/* ---- The entry in the table ---- */

/* Bytes of space for a product; 0 where none is needed. */
isize KERNEL(NAME(gemm_space))(bool trans_a, isize m, isize n, isize k)
{
    if (m < 4 || n < 4) return 0;
    isize elements = 0;
    if (NAME(is_large)(m, n, k)) {
        elements = NAME(packed_a)(m, k) + NAME(packed_b)(n, k);
    } else if (trans_a && m > FEW && n > FEW) {
        elements = least(m, BLOCK_M) * round_up(even_part(k, BLOCK_K), TILE_COLS);
    }
    return elements * (isize)sizeof(T);
}

static void NAME(product)(isize m, isize n, isize k, Factor a, Factor b, bool add, T *c, isize ldc, T *space)
{
    if (m < 4 && m <= n && (k > SHORT || b.across == 1)) {
        for (isize i = 0; i < m; i++) NAME(matvec)(n, k, b, part(a, i, 0).data, a.along, add, c + i * ldc, 1);
    } else if (n < 4) {
        for (isize j = 0; j < n; j++) NAME(matvec)(m, k, a, part(b, j, 0).data, b.along, add, c + j, ldc);
    } else if (space && NAME(is_large)(m, n, k)) {
        NAME(packed)(m, n, k, a, b, add, c, ldc, space);
    } else {
        NAME(blocks)(m, n, k, a, b, add, c, ldc, space);
    }
}

void KERNEL(NAME(gemm))(bool trans_a, bool trans_b, isize m, isize n, isize k, const void *a, isize lda, const void *b,
                        isize ldb, int beta, void *c, isize ldc, void *space)
{
    if (k > 0) {
        Factor left = {a, trans_a ? 1 : lda, trans_a ? lda : 1}, right = {b, trans_b ? ldb : 1, trans_b ? 1 : ldb};
        NAME(product)(m, n, k, left, right, beta, c, ldc, space);
    } else if (beta == 0) {
        for (isize i = 0; i < m; i++) memset((T *)c + i * ldc, 0, (size_t)n * sizeof(T));
    }
}

#undef T
#undef NAME
#undef Vector
#undef Mask
#undef INDEX
#undef LANES
#undef TILE_COLS
#undef PANEL_COLS
#undef LINE
#undef IS_FLOAT
#undef Factor
#undef part
