/* The built-in matrix product for one element type T; NAME(x) is x with the type's suffix.  Included by gemm.c.
 *
 * Three ways, by size:
 *     matvec   where m or n is 1 to 3: every element of the matrix is read in the order of memory;
 *     direct   small products, and any when memory is short: tiles of c straight from a and b;
 *     packed   blocks of a and b are copied first into the order in which the tiles read them, so that they stay in
 *              the caches (the scheme of GotoBLAS and BLIS).
 */

typedef T NAME(Vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
typedef T NAME(Quad) __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T)), may_alias));
enum { NAME(LANES) = VECTOR_BYTES / sizeof(T), NAME(TILE_COLS) = 2 * NAME(LANES) };

/* A factor: `across` steps along the rows of a or the columns of b, `along` steps along the summed index. Which of the
 * two is 1 is all that transposition means. */
typedef struct {
    const T *data;
    isize across, along;
} NAME(Factor);

#define Vector NAME(Vector)
#define Quad NAME(Quad)
#define LANES NAME(LANES)
#define TILE_COLS NAME(TILE_COLS)
#define Factor NAME(Factor)

INLINE Factor NAME(part)(Factor x, isize i, isize p)
{
    x.data += i * x.across + p * x.along;
    return x;
}
#define part NAME(part)

/* ---- Tiles ---- */

/* c (rows, cols) = or += a b, where whole vectors of b are contiguous (b.across is 1). */
INLINE void NAME(tile)(int rows, int vectors, isize k, Factor a, Factor b, bool add, T *c, isize ldc, isize valid_rows,
                       isize cols)
{
    enum { MAX_ROWS = TILE_ROWS > 8 ? TILE_ROWS : 8 };
    Vector sum[MAX_ROWS][2] = {0};
    for (isize p = 0; p < k; p++) {
        Vector row[2];
        for (int v = 0; v < vectors; v++) row[v] = ((const Vector *)(b.data + p * b.along))[v];
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            T x = a.data[p * a.along + i * a.across];
            for (int v = 0; v < vectors; v++) sum[i][v] += x * row[v];
        }
    }
    if (valid_rows == rows && cols == vectors * LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            Vector *out = (Vector *)(c + i * ldc);
            for (int v = 0; v < vectors; v++) {
                if (add) sum[i][v] += out[v];
                out[v] = sum[i][v];
            }
        }
    } else {
        T whole[MAX_ROWS][TILE_COLS];
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            for (int v = 0; v < vectors; v++) ((Vector *)whole[i])[v] = sum[i][v];
        }
        for (isize i = 0; i < valid_rows; i++) {
            for (isize j = 0; j < cols; j++) c[i * ldc + j] = add ? c[i * ldc + j] + whole[i][j] : whole[i][j];
        }
    }
}

/* out (k, width) = count <= width rows of a (or columns of b), turned around, and zeros beyond them. */
INLINE void NAME(pack_panel)(int width, isize count, isize k, Factor x, T *out)
{
    if (count < width) memset(out, 0, (size_t)(k * width) * sizeof(T));
    isize i = 0;
    if (x.across == 1 && count == width) {
        for (isize p = 0; p < k; p++) memcpy(out + p * width, x.data + p * x.along, (size_t)width * sizeof(T));
        i = width;
    }
    for (; i + 4 <= count; i += 4) {
        const T *x0 = part(x, i, 0).data, *x1 = x0 + x.across, *x2 = x1 + x.across, *x3 = x2 + x.across;
        for (isize p = 0; p < k; p++) {
            isize q = p * x.along;
            *(Quad *)(out + p * width + i) = (Quad){x0[q], x1[q], x2[q], x3[q]};
        }
    }
    for (; i < count; i++) {
        for (isize p = 0; p < k; p++) out[p * width + i] = part(x, i, p).data[0];
    }
}

/* ---- Packed ---- */

static void NAME(pack_a)(isize m, isize k, Factor a, T *out)
{
    for (isize i = 0; i < m; i += TILE_ROWS) {
        NAME(pack_panel)(TILE_ROWS, least(TILE_ROWS, m - i), k, part(a, i, 0), out + i * k);
    }
}

static void NAME(pack_b)(isize n, isize k, Factor b, T *out)
{
    for (isize j = 0; j < n; j += TILE_COLS) {
        NAME(pack_panel)(TILE_COLS, least(TILE_COLS, n - j), k, part(b, j, 0), out + j * k);
    }
}

static void NAME(packed_block)(isize m, isize n, isize k, const T *a, const T *b, bool add, T *c, isize ldc)
{
    for (isize j = 0; j < n; j += TILE_COLS) {
        isize cols = least(TILE_COLS, n - j);
        for (isize i = 0; i < m; i += TILE_ROWS) {
            isize rows = least(TILE_ROWS, m - i);
            Factor a_panel = {a + i * k, 1, TILE_ROWS}, b_panel = {b + j * k, 1, TILE_COLS};
            T *corner = c + i * ldc + j;
            if (cols > LANES) {
                NAME(tile)(TILE_ROWS, 2, k, a_panel, b_panel, add, corner, ldc, rows, cols);
            } else {
                NAME(tile)(TILE_ROWS, 1, k, a_panel, b_panel, add, corner, ldc, rows, cols);
            }
        }
    }
}

/* False, and nothing done, where there is no memory for the blocks. */
static bool NAME(packed)(isize m, isize n, isize k, Factor a, Factor b, bool add, T *c, isize ldc)
{
    isize depth = least(k, BLOCK_K);
    isize rows = (least(m, BLOCK_M) + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    isize cols = (least(n, BLOCK_N) + TILE_COLS - 1) / TILE_COLS * TILE_COLS;
    T *memory = malloc((size_t)((rows + cols) * depth) * sizeof(T) + 64);
    if (!memory) return false;
    T *b_packed = (T *)(((uintptr_t)memory + 63) / 64 * 64), *a_packed = b_packed + cols * depth;
    for (isize j = 0; j < n; j += BLOCK_N) {
        isize nj = least(BLOCK_N, n - j);
        for (isize p = 0; p < k; p += BLOCK_K) {
            isize kp = least(BLOCK_K, k - p);
            NAME(pack_b)(nj, kp, part(b, j, p), b_packed);
            for (isize i = 0; i < m; i += BLOCK_M) {
                isize mi = least(BLOCK_M, m - i);
                NAME(pack_a)(mi, kp, part(a, i, p), a_packed);
                NAME(packed_block)(mi, nj, kp, a_packed, b_packed, add || p > 0, c + i * ldc + j, ldc);
            }
        }
    }
    free(memory);
    return true;
}

/* ---- Direct ---- */

/* One panel of columns of c. A narrow one takes more rows at a time: enough independent sums to hide the latency of
 * addition. */
INLINE void NAME(direct_panel)(int vectors, isize m, isize k, Factor a, Factor b, bool add, T *c, isize ldc, isize cols)
{
    isize i = 0;
    if (vectors == 1) {
        for (; i + 8 <= m; i += 8) NAME(tile)(8, vectors, k, part(a, i, 0), b, add, c + i * ldc, ldc, 8, cols);
    }
    for (; i + 4 <= m; i += 4) NAME(tile)(4, vectors, k, part(a, i, 0), b, add, c + i * ldc, ldc, 4, cols);
    for (; i + 2 <= m; i += 2) NAME(tile)(2, vectors, k, part(a, i, 0), b, add, c + i * ldc, ldc, 2, cols);
    if (i < m) NAME(tile)(1, vectors, k, part(a, i, 0), b, add, c + i * ldc, ldc, 1, cols);
}

/* Panels of b are read where they are, or through a buffer where they are transposed or end within a vector. */
static void NAME(direct)(isize m, isize n, isize k, Factor a, Factor b, bool add, T *c, isize ldc)
{
    T buffer[BLOCK_K * TILE_COLS];
    for (isize p = 0; p < k; p += BLOCK_K) {
        isize kp = least(BLOCK_K, k - p);
        for (isize j = 0; j < n; j += TILE_COLS) {
            isize cols = least(TILE_COLS, n - j);
            bool in_place = b.across == 1 && cols % LANES == 0, add_here = add || p > 0;
            Factor a_part = part(a, 0, p), panel = part(b, j, p);
            if (cols > LANES) {
                if (!in_place) NAME(pack_panel)(TILE_COLS, cols, kp, panel, buffer);
                if (!in_place) panel = (Factor){buffer, 1, TILE_COLS};
                NAME(direct_panel)(2, m, kp, a_part, panel, add_here, c + j, ldc, cols);
            } else {
                if (!in_place) NAME(pack_panel)(LANES, cols, kp, panel, buffer);
                if (!in_place) panel = (Factor){buffer, 1, LANES};
                NAME(direct_panel)(1, m, kp, a_part, panel, add_here, c + j, ldc, cols);
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

static void NAME(product)(isize m, isize n, isize k, Factor a, Factor b, bool add, T *c, isize ldc)
{
    if (m < 4 && m <= n && (k > SHORT || b.across == 1)) {
        for (isize i = 0; i < m; i++) NAME(matvec)(n, k, b, part(a, i, 0).data, a.along, add, c + i * ldc, 1);
    } else if (n < 4) {
        for (isize j = 0; j < n; j++) NAME(matvec)(m, k, a, part(b, j, 0).data, b.along, add, c + j, ldc);
    } else {
        bool small = (double)m * (double)n * (double)k <= SMALL;
        if (small || !NAME(packed)(m, n, k, a, b, add, c, ldc)) NAME(direct)(m, n, k, a, b, add, c, ldc);
    }
}

void KERNEL(NAME(gemm))(bool trans_a, bool trans_b, isize m, isize n, isize k, const void *a, isize lda, const void *b,
                        isize ldb, int beta, void *c, isize ldc)
{
    if (k > 0) {
        Factor left = {a, trans_a ? 1 : lda, trans_a ? lda : 1}, right = {b, trans_b ? ldb : 1, trans_b ? 1 : ldb};
        NAME(product)(m, n, k, left, right, beta, c, ldc);
    } else if (beta == 0) {
        for (isize i = 0; i < m; i++) memset((T *)c + i * ldc, 0, (size_t)n * sizeof(T));
    }
}

#undef T
#undef NAME
#undef Vector
#undef Quad
#undef LANES
#undef TILE_COLS
#undef Factor
#undef part
