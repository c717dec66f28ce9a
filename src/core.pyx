# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""corgi._core: arrays, the graph, and every compiled op.

One extension module, included in reading order; each part says what it is for.  Above it stands the package `corgi`, which is
read rather than compiled; below it the C kernels and the runtime.
"""
include "declarations.pxi"
include "config.pxi"
include "array.pxi"
include "values.pxi"
include "create.pxi"
include "graph.pxi"
include "backward.pxi"
include "custom.pxi"
include "pointwise.pxi"
include "structural.pxi"
include "indexing.pxi"
include "reduce.pxi"
include "linear.pxi"
include "fused.pxi"
include "norm.pxi"
include "dropout.pxi"
include "recurrent.pxi"
include "windows.pxi"
include "costs.pxi"
include "cross_entropy.pxi"
include "parameters.pxi"
include "update.pxi"
