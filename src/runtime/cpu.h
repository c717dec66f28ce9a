/* Choice of the instruction-set level.  Above: core.pyx at import.  Below: kernels/table.c of each level. */
#pragma once

/* Point `kernels` at the best level this CPU has, or at the one named ("v2", "v3", "v4", "baseline"). Returns NULL, or
 * why the named level cannot be used. */
const char *select_kernels(const char *name);
/* Names of the levels that this build has and this CPU can run, separated by spaces, best first. */
const char *available_levels(void);
