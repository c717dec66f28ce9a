/* The tables as data. Compiled once; read by src/pointwise.pxi (names, docs and formulas of pointwise.h) and src/update.pxi (names
 * of update.h). */
#include "pointwise.h"
#include "update.h"

#include <stddef.h>

#define UNARY_ROW(name, domain, sentence, f, dx) {#name, "unary", domain, sentence, #f, KIND_FLOAT, 1, {#dx, NULL, NULL}},
#define BINARY_ROW(name, domain, sentence, f, dx0, dx1)                                                                     \
    {#name, "binary", domain, sentence, #f, KIND_FLOAT, 2, {#dx0, #dx1, NULL}},
#define TERNARY_ROW(name, domain, sentence, f, dx0, dx1, dx2)                                                               \
    {#name, "ternary", domain, sentence, #f, KIND_FLOAT, 3, {#dx0, #dx1, #dx2}},
#define COMPARE_ROW(name, symbol, sentence, f)                                                                              \
    {#name, "compare", "(-inf, inf)", sentence, #f, KIND_COMPARE, 2, {NULL, NULL, NULL}},
#define LOGIC_ROW(name, sentence, f) {#name, "logic", "bool", sentence, #f, KIND_LOGIC, 2, {NULL, NULL, NULL}},
#define PREDICATE_ROW(name, sentence, f)                                                                                    \
    {#name, "predicate", "(-inf, inf)", sentence, #f, KIND_PREDICATE, 1, {NULL, NULL, NULL}},

const PointwiseOp pointwise_ops[] = {
    POINTWISE_ROWS(UNARY_ROW, BINARY_ROW, TERNARY_ROW, COMPARE_ROW, LOGIC_ROW, PREDICATE_ROW)};

#define UPDATE_ROW(name, n_states, states, constants, body) {#name, n_states, states},
const UpdateRow update_rules[] = {UPDATE_RULES(UPDATE_ROW)};

#define HELPER_ROW(name, meaning) {#name, #meaning},

const PointwiseHelper pointwise_helpers[] = {POINTWISE_HELPERS(HELPER_ROW){NULL, NULL}};
