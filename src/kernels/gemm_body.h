/* The built-in matrix product for one element type T; NAME(x) is x with the type's suffix.  Included by gemm.c.
 *
 * c = a b + beta c where each operand has two strides, so that transposition is a matter of strides alone: the `across`
 * stride goes along the rows of a or the columns of b, the `along` stride along the summed index.
 *
 * Three ways, by size:
 *     matvec   where m or n is 1 to 3: every element of the matrix is read once, in the order of memory;
 *     direct   small products, and any when memory is short: tiles of c straight from a and b;
 *     packed   blocks of a and b are copied first into the order in which the tiles read them, so that they stay in
 *              the caches (the scheme of GotoBLAS and BLIS).
 */

typedef T NAME(Vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
#define Vector NAME(Vector)

enum {
    NAME(LANES) = VECTOR_BYTES / sizeof(T),
    NAME(TILE_COLS) = 2 * NAME(LANES),
};
#define LANES NAME(LANES)
#define TILE_COLS NAME(TILE_COLS)

/* ---- Tiles ---- */

/* c (rows, cols) = or += the sum over p < k of a[:, p] b[p, :]; rows of b have `vectors` whole vectors to read. */
INLINE void NAME(tile)(int rows, int vectors, isize k, const T *a, isize a_across, isize a_along, const T *b, isize b_along,
                       bool add, T *c, isize ldc, isize valid_rows, isize cols) {
    Vector sum[MAX_ROWS][2] = {0};
    for (isize p = 0; p < k; p++) {
        Vector row[2];
        for (int v = 0; v < vectors; v++) row[v] = ((const Vector *)(b + p * b_along))[v];
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            T x = a[p * a_along + i * a_across];
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

/* out (k, width) = x (count <= width, k) turned around, and zeros beyond count. */
INLINE void NAME(pack_panel)(int width, isize count, isize k, const T *x, isize across, isize along, T *out) {
    if (count == width && across == 1) {
        for (isize p = 0; p < k; p++) memcpy(out + p * width, x + p * along, (size_t)width * sizeof(T));
    } else if (count == width) {
        for (isize p = 0; p < k; p++) {
            for (int i = 0; i < width; i++) out[p * width + i] = x[p * along + i * across];
        }
    } else {
        memset(out, 0, (size_t)(k * width) * sizeof(T));
        for (isize i = 0; i < count; i++) {
            for (isize p = 0; p < k; p++) out[p * width + i] = x[p * along + i * across];
        }
    }
}

/* ---- Packed ---- */

enum { NAME(BLOCK_K) = 256, NAME(BLOCK_M) = 20 * TILE_ROWS, NAME(BLOCK_N) = 1024 };
#define BLOCK_K NAME(BLOCK_K)
#define BLOCK_M NAME(BLOCK_M)
#define BLOCK_N NAME(BLOCK_N)

static inline isize NAME(least)(isize x, isize y) { return x < y ? x : y; }
#define least NAME(least)

static void NAME(packed_block)(isize m, isize n, isize k, const T *a, const T *b, bool add, T *c, isize ldc) {
    for (isize j = 0; j < n; j += TILE_COLS) {
        isize cols = least(TILE_COLS, n - j);
        for (isize i = 0; i < m; i += TILE_ROWS) {
            isize rows = least(TILE_ROWS, m - i);
            const T *a_panel = a + i * k, *b_panel = b + j * k;
            T *corner = c + i * ldc + j;
            if (cols > LANES) {
                NAME(tile)(TILE_ROWS, 2, k, a_panel, 1, TILE_ROWS, b_panel, TILE_COLS, add, corner, ldc, rows, cols);
            } else {
                NAME(tile)(TILE_ROWS, 1, k, a_panel, 1, TILE_ROWS, b_panel, TILE_COLS, add, corner, ldc, rows, cols);
            }
        }
    }
}

static void NAME(pack)(int width, isize count, isize k, const T *x, isize across, isize along, T *out) {
    for (isize i = 0; i < count; i += width) {
        isize lanes = least(width, count - i);
        if (width == TILE_ROWS) NAME(pack_panel)(TILE_ROWS, lanes, k, x + i * across, across, along, out + i * k);
        else NAME(pack_panel)(TILE_COLS, lanes, k, x + i * across, across, along, out + i * k);
    }
}

static bool NAME(packed)(isize m, isize n, isize k, const T *a, isize a_across, isize a_along, const T *b, isize b_across,
                         isize b_along, bool add, T *c, isize ldc) {
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
            NAME(pack)(TILE_COLS, nj, kp, b + j * b_across + p * b_along, b_across, b_along, b_packed);
            for (isize i = 0; i < m; i += BLOCK_M) {
                isize mi = least(BLOCK_M, m - i);
                NAME(pack)(TILE_ROWS, mi, kp, a + i * a_across + p * a_along, a_across, a_along, a_packed);
                NAME(packed_block)(mi, nj, kp, a_packed, b_packed, add || p > 0, c + i * ldc + j, ldc);
            }
        }
    }
    free(memory);
    return true;
}

/* ---- Direct ---- */

/* One panel of columns of c: b's part of it has k <= BLOCK_K rows of whole vectors, b_along apart. */
INLINE void NAME(direct_panel)(int vectors, isize m, isize k, const T *a, isize a_across, isize a_along, const T *b,
                               isize b_along, bool add, T *c, isize ldc, isize cols) {
    isize i = 0;
#define ROWS(r) \
    for (; m - i >= r; i += r) \
        NAME(tile)(r, vectors, k, a + i * a_across, a_across, a_along, b, b_along, add, c + i * ldc, ldc, r, cols);
    if (vectors == 1) { /* enough independent sums to hide the latency of addition */
        ROWS(8)
    }
    ROWS(4)
    ROWS(2)
    ROWS(1)
#undef ROWS
}

static void NAME(direct)(isize m, isize n, isize k, const T *a, isize a_across, isize a_along, const T *b, isize b_across,
                         isize b_along, bool add, T *c, isize ldc) {
    T buffer[BLOCK_K * TILE_COLS];
    for (isize p = 0; p < k; p += BLOCK_K) {
        isize kp = least(BLOCK_K, k - p);
        for (isize j = 0; j < n; j += TILE_COLS) {
            isize cols = least(TILE_COLS, n - j), along = b_along;
            const T *panel = b + j * b_across + p * b_along;
            if (b_across != 1 || cols % LANES) {
                along = cols > LANES ? TILE_COLS : LANES;
                if (cols > LANES) NAME(pack_panel)(TILE_COLS, cols, kp, panel, b_across, b_along, buffer);
                else NAME(pack_panel)(LANES, cols, kp, panel, b_across, b_along, buffer);
                panel = buffer;
            }
            const T *a_part = a + p * a_along;
            if (cols > LANES) {
                NAME(direct_panel)(2, m, kp, a_part, a_across, a_along, panel, along, add || p > 0, c + j, ldc, cols);
            } else {
                NAME(direct_panel)(1, m, kp, a_part, a_across, a_along, panel, along, add || p > 0, c + j, ldc, cols);
            }
        }
    }
}

/* ---- Matrix times vector ---- */

/* y[i * y_stride] = or += sum over p < k of matrix[i, p] x[p], rows contiguous and `ld` apart. */
static void NAME(matvec_rows)(isize m, isize k, const T *matrix, isize ld, const T *x, bool add, T *y, isize y_stride) {
    for (isize i = 0; i < m; i += 4) {
        isize rows = least(4, m - i);
        const T *row[4];
        for (int r = 0; r < 4; r++) row[r] = matrix + (i + least(r, rows - 1)) * ld;
        Vector sum[4] = {0};
        isize p = 0;
        for (; p + LANES <= k; p += LANES) {
            Vector part = *(const Vector *)(x + p);
            for (int r = 0; r < 4; r++) sum[r] += *(const Vector *)(row[r] + p) * part;
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

/* The same with contiguous columns, `ld` apart: y (contiguous) is the sum of k columns. */
static void NAME(matvec_cols)(isize m, isize k, const T *matrix, isize ld, const T *x, isize x_stride, bool add,
                              T *restrict y) {
    if (!add) memset(y, 0, (size_t)m * sizeof(T));
    isize p = 0;
    for (; p + 4 <= k; p += 4) {
        const T *c0 = matrix + p * ld, *c1 = c0 + ld, *c2 = c1 + ld, *c3 = c2 + ld;
        T x0 = x[p * x_stride], x1 = x[(p + 1) * x_stride], x2 = x[(p + 2) * x_stride], x3 = x[(p + 3) * x_stride];
        for (isize i = 0; i < m; i++) y[i] += x0 * c0[i] + x1 * c1[i] + x2 * c2[i] + x3 * c3[i];
    }
    for (; p < k; p++) {
        const T *column = matrix + p * ld, factor = x[p * x_stride];
        for (isize i = 0; i < m; i++) y[i] += factor * column[i];
    }
}

/* Either, in pieces whose strided vector is first gathered (x) or last scattered (y) through a buffer. */
static void NAME(matvec)(isize m, isize k, const T *matrix, isize across, isize along, const T *x, isize x_stride, bool add,
                         T *y, isize y_stride) {
    enum { PIECE = 1024 };
    T buffer[PIECE];
    if (along == 1 && x_stride == 1) {
        NAME(matvec_rows)(m, k, matrix, across, x, add, y, y_stride);
    } else if (along == 1) {
        for (isize p = 0; p < k; p += PIECE) {
            isize kp = least(PIECE, k - p);
            for (isize q = 0; q < kp; q++) buffer[q] = x[(p + q) * x_stride];
            NAME(matvec_rows)(m, kp, matrix + p, across, buffer, add || p > 0, y, y_stride);
        }
    } else {
        for (isize i = 0; i < m; i += PIECE) {
            isize mi = least(PIECE, m - i);
            NAME(matvec_cols)(mi, k, matrix + i, along, x, x_stride, false, buffer);
            for (isize q = 0; q < mi; q++) {
                T *out = y + (i + q) * y_stride;
                *out = add ? *out + buffer[q] : buffer[q];
            }
        }
    }
}

/* ---- The entry in the table ---- */


void KERNEL(NAME(gemm))(bool trans_a, bool trans_b, isize m, isize n, isize k, const void *a, isize lda, const void *b,
                        isize ldb, int beta, void *c, isize ldc);

void KERNEL(NAME(gemm))(bool trans_a, bool trans_b, isize m, isize n, isize k, const void *a, isize lda, const void *b,
                        isize ldb, int beta, void *c, isize ldc) {
    const T *x = a, *y = b;
    T *z = c;
    isize x_across = trans_a ? 1 : lda, x_along = trans_a ? lda : 1;
    isize y_across = trans_b ? ldb : 1, y_along = trans_b ? 1 : ldb;
    if (k == 0) {
        for (isize i = 0; i < m && !beta; i++) memset(z + i * ldc, 0, (size_t)n * sizeof(T));
    } else if (m < 4 && m <= n && (k > SHORT || !trans_b)) {
        for (isize i = 0; i < m; i++) {
            NAME(matvec)(n, k, y, y_across, y_along, x + i * x_across, x_along, beta, z + i * ldc, 1);
        }
    } else if (n < 4) {
        for (isize j = 0; j < n; j++) {
            NAME(matvec)(m, k, x, x_across, x_along, y + j * y_across, y_along, beta, z + j, ldc);
        }
    } else {
        bool small = (double)m * (double)n * (double)k <= SMALL;
        if (small || !NAME(packed)(m, n, k, x, x_across, x_along, y, y_across, y_along, beta, z, ldc)) {
            NAME(direct)(m, n, k, x, x_across, x_along, y, y_across, y_along, beta, z, ldc);
        }
    }
}

#undef T
#undef NAME
#undef Vector
#undef LANES
#undef TILE_COLS
#undef BLOCK_K
#undef BLOCK_M
#undef BLOCK_N
#undef least
