/* Choice of the instruction-set level: every kernel is compiled once for each level, and the module picks one at import.
 *
 * Above: core.pyx.  Below: the tables that kernels/table.c makes, one for each level.  With HAVE_X86_LEVELS the build
 * has the levels of the x86-64 ABI, else "baseline" alone: what the compiler targets by default.
 */
#include "cpu.h"

#include "../kernels/kernels.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const Kernels *kernels;

#ifdef HAVE_X86_LEVELS

extern const Kernels kernels_v2, kernels_v3, kernels_v4;

/* __builtin_cpu_supports also asks whether the operating system saves the wide registers. Compilers that do not know
 * the levels by name are asked for the features that came last in each. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
static bool has_v2(void) { return __builtin_cpu_supports("x86-64-v2"); }
static bool has_v3(void) { return __builtin_cpu_supports("x86-64-v3"); }
static bool has_v4(void) { return __builtin_cpu_supports("x86-64-v4"); }
#else
static bool has_v2(void) { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"); }
static bool has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}
static bool has_v4(void)
{
    return has_v3() && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

static const struct {
    const Kernels *table;
    bool (*supported)(void);
} levels[] = {{&kernels_v4, has_v4}, {&kernels_v3, has_v3}, {&kernels_v2, has_v2}};

#else

extern const Kernels kernels_baseline;

static bool always(void) { return true; }

static const struct {
    const Kernels *table;
    bool (*supported)(void);
} levels[] = {{&kernels_baseline, always}};

#endif

enum { N_LEVELS = sizeof levels / sizeof levels[0] }; /* best first */

const char *select_kernels(const char *name)
{
    static char message[160];
    for (int i = 0; i < N_LEVELS; i++) {
        bool wanted = !name || !strcmp(name, levels[i].table->level);
        if (wanted && levels[i].supported()) {
            kernels = levels[i].table;
            return NULL;
        }
    }
    if (!name) return "this CPU lacks the instructions of x86-64-v2 (SSE4.2), the least that this build needs";
    snprintf(message, sizeof message, "no kernels for CPU level '%.32s'; this build and CPU have: %s", name,
             available_levels());
    return message;
}

const char *available_levels(void)
{
    static char names[64];
    names[0] = 0;
    for (int i = 0; i < N_LEVELS; i++) {
        if (!levels[i].supported()) continue;
        if (names[0]) strcat(names, " ");
        strcat(names, levels[i].table->level);
    }
    return names;
}
