/* Strided copies of two axes, and fill: what transposes, joins and broadcast operands come down to.
 *
 * Above: table.c; runtime/apply.c cuts tensors of any number of axes into blocks for `copy`.  Below: nothing.
 *
 * A copy that turns rows into columns goes through square tiles in vector registers: reading and writing run along memory, and
 * a tile of N vectors of N items takes log2(N) rounds of shuffles.
 */
#include "blocks.h"
#include "kernel_list.h"
#include <string.h>

typedef uint32_t __attribute__((may_alias)) bits32;
typedef uint64_t __attribute__((may_alias)) bits64;

/* One loop for each itemsize, over T = an unsigned integer of that size. */
#define BY_ITEMSIZE(itemsize, LOOP)                                                                                         \
    switch (itemsize) {                                                                                                     \
    case 1: LOOP(uint8_t) break;                                                                                            \
    case 4: LOOP(bits32) break;                                                                                             \
    case 8: LOOP(bits64) break;                                                                                             \
    }

#define FILL_LOOP(T)                                                                                                        \
    {                                                                                                                       \
        T *to = out, item = *(const T *)value;                                                                              \
        for (isize i = 0; i < n; i++) to[i] = item;                                                                         \
    }

void KERNEL(fill)(isize n, void *out, const void *value, int itemsize)
{
    if (n > 0) BY_ITEMSIZE(itemsize, FILL_LOOP)
}

/* What the copies below share. */
#define ARGUMENTS                                                                                                           \
    isize rows, isize columns, const char *x, isize x_row, isize x_column, char *out, isize out_row, isize out_column

/* ---- Any strides ---- */

#define STRIDED_LOOP(T)                                                                                                     \
    for (isize i = 0; i < rows; i++) {                                                                                      \
        const T *restrict from = (const T *)x + i * x_row;                                                                  \
        T *restrict to = (T *)out + i * out_row;                                                                            \
        for (isize j = 0; j < columns; j++) to[j * out_column] = from[j * x_column];                                        \
    }

ALWAYS_INLINE void copy_strided(ARGUMENTS, int itemsize) { BY_ITEMSIZE(itemsize, STRIDED_LOOP) }

/* ---- Rows of unit stride, from rows of unit stride or from one item each (x_column 0) ---- */

enum { WIDE = 64 }; /* bytes up to which a row is short: it is written as a constant number of bytes, which takes no call */

/* Short rows that follow each other without gaps in out: each is written WIDE bytes long, and the next one overwrites what was
 * too much. The last rows, beyond which there is nothing to be read or overwritten, are left to the caller: returns how many
 * rows were written. */
#define DEFINE_SHORT_ROWS(T)                                                                                                \
    static isize short_rows_##T(isize rows, isize columns, const T *x, isize x_row, isize x_column, T *out)                 \
    {                                                                                                                       \
        enum { N = WIDE / sizeof(T) };                                                                                      \
        isize safe = rows + 1 - blocks_of(N, columns);                                                                      \
        T row[N] = {0};                                                                                                     \
        if (x_column == 0) {                                                                                                \
            for (isize i = 0; i < safe; i++) {                                                                              \
                for (isize k = 0; k < N; k++) row[k] = x[i * x_row];                                                        \
                memcpy(out + i * columns, row, WIDE);                                                                       \
            }                                                                                                               \
        } else if (x_row == 0) {                                                                                            \
            for (isize k = 0; k < columns; k++) row[k] = x[k];                                                              \
            for (isize i = 0; i < safe; i++) memcpy(out + i * columns, row, WIDE);                                          \
        } else {                                                                                                            \
            safe = x_row < 0 ? 0 : smaller(safe, rows - blocks_of(N - columns, x_row));                                     \
            for (isize i = 0; i < safe; i++) memcpy(out + i * columns, x + i * x_row, WIDE);                                \
        }                                                                                                                   \
        return larger(safe, 0);                                                                                             \
    }
DEFINE_SHORT_ROWS(uint8_t)
DEFINE_SHORT_ROWS(bits32)
DEFINE_SHORT_ROWS(bits64)

#define SHORT_ROWS(T) done = short_rows_##T(rows, columns, (const T *)x, x_row, x_column, (T *)out);

static void copy_rows(ARGUMENTS, int itemsize)
{
    isize done = 0;
    if (0 < columns && columns * itemsize < WIDE && out_row == columns) BY_ITEMSIZE(itemsize, SHORT_ROWS)
    for (isize i = done; i < rows; i++) {
        const char *from = x + i * x_row * itemsize;
        char *to = out + i * out_row * itemsize;
        if (x_column == 0)
            KERNEL(fill)(columns, to, from, itemsize);
        else if (columns * itemsize < WIDE)
            copy_strided(1, columns, from, 0, 1, to, 0, 1, itemsize);
        else
            memcpy(to, from, columns * itemsize);
    }
    (void)out_column;
}

/* ---- Rows from columns: x_row = 1, out_column = 1 ---- */

#ifdef __AVX2__
enum { TILE_BYTES = 32 };
#define LOW_32 {0, 8, 1, 9, 2, 10, 3, 11}
#define HIGH_32 {4, 12, 5, 13, 6, 14, 7, 15}
#define LOW_64 {0, 4, 1, 5}
#define HIGH_64 {2, 6, 3, 7}
#else
enum { TILE_BYTES = 16 };
#define LOW_32 {0, 4, 1, 5}
#define HIGH_32 {2, 6, 3, 7}
#define LOW_64 {0, 2}
#define HIGH_64 {1, 3}
#endif

/* A round interleaves the first half of the vectors with the second: LOW takes the lower items of two, HIGH the upper ones. */
#define DEFINE_TRANSPOSE(T, LOW, HIGH)                                                                                      \
    typedef T vector_##T __attribute__((vector_size(TILE_BYTES)));                                                          \
    ALWAYS_INLINE void tile_##T(const T *x, isize x_column, T *out, isize out_row)                                          \
    {                                                                                                                       \
        enum { N = TILE_BYTES / sizeof(T) };                                                                                \
        const vector_##T low = LOW, high = HIGH;                                                                            \
        vector_##T a[N], b[N];                                                                                              \
        for (isize k = 0; k < N; k++) memcpy(&a[k], x + k * x_column, TILE_BYTES);                                          \
        for (isize round = 1; round < N; round *= 2) {                                                                      \
            for (isize k = 0; k < N / 2; k++) {                                                                             \
                b[2 * k] = __builtin_shuffle(a[k], a[k + N / 2], low);                                                      \
                b[2 * k + 1] = __builtin_shuffle(a[k], a[k + N / 2], high);                                                 \
            }                                                                                                               \
            memcpy(a, b, sizeof a);                                                                                         \
        }                                                                                                                   \
        for (isize k = 0; k < N; k++) memcpy(out + k * out_row, &a[k], TILE_BYTES);                                         \
    }                                                                                                                       \
    static void transpose_##T(isize rows, isize columns, const T *x, isize x_column, T *out, isize out_row)                 \
    {                                                                                                                       \
        enum { N = TILE_BYTES / sizeof(T) };                                                                                \
        const isize whole_rows = rows / N * N, whole_columns = columns / N * N;                                             \
        for (isize i = 0; i < whole_rows; i += N)                                                                           \
            for (isize j = 0; j < whole_columns; j += N)                                                                    \
                tile_##T(x + i + j * x_column, x_column, out + i * out_row + j, out_row);                                   \
        for (isize i = 0; i < rows; i++)                                                                                    \
            for (isize j = i < whole_rows ? whole_columns : 0; j < columns; j++)                                            \
                out[i * out_row + j] = x[i + j * x_column];                                                                 \
    }
DEFINE_TRANSPOSE(bits32, LOW_32, HIGH_32)
DEFINE_TRANSPOSE(bits64, LOW_64, HIGH_64)

/* ---- All of them ---- */

void KERNEL(copy)(isize rows, isize columns, const void *x, isize x_row, isize x_column, void *out, isize out_row,
                  isize out_column, int itemsize)
{
    if (out_row == 1 && out_column != 1) {
        KERNEL(copy)(columns, rows, x, x_column, x_row, out, out_column, out_row, itemsize);
    } else if (out_column != 1) {
        copy_strided(rows, columns, x, x_row, x_column, out, out_row, out_column, itemsize);
    } else if (x_column == 0 || x_column == 1) {
        copy_rows(rows, columns, x, x_row, x_column, out, out_row, 1, itemsize);
    } else if (x_row == 1 && itemsize == 4) {
        transpose_bits32(rows, columns, x, x_column, out, out_row);
    } else if (x_row == 1 && itemsize == 8) {
        transpose_bits64(rows, columns, x, x_column, out, out_row);
    } else if (x_column == 2) {
        copy_strided(rows, columns, x, x_row, 2, out, out_row, 1, itemsize);
    } else if (x_column == -1) {
        copy_strided(rows, columns, x, x_row, -1, out, out_row, 1, itemsize);
    } else {
        copy_strided(rows, columns, x, x_row, x_column, out, out_row, 1, itemsize);
    }
}
