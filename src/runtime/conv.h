/* Convolution of a batch and its two adjoints, by im2col and one matrix product for each image.
 *
 * Above: src/linear.pxi.  Below: kernels (im2col, col2im), blas.h, threads.h.  Images x are (images, channels, height, width),
 * filters f (filters, channels, kernel_h, kernel_w), results y and their cotangents g (images, filters, out_h, out_w), all
 * contiguous.  Each returns 0, or -1 if there is no memory for the working space.
 */
#pragma once
#include "../kernels/kernels.h"

int conv_forward(int dtype, const Window *w, isize images, isize filters, const void *x, const void *f, void *y);
int conv_input(int dtype, const Window *w, isize images, isize filters, const void *g, const void *f, void *x);
int conv_filters(int dtype, const Window *w, isize images, isize filters, const void *x, const void *g, void *f);
