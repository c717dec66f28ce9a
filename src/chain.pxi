# Chains: the vjps of pointwise ops that follow each other in a backward pass, run together over tiles of their arrays.
#
# Above: backward.pxi.  Below: pointwise.pxi, runtime/chain.c.
#
# One op after the other would write each cotangent to memory and read it again. In a chain only those that leave it are arrays;
# each element is computed as it is otherwise, with the terms of every sum in the same order.

cdef enum:
    CHAIN_REACH = 64  # nodes that a chain looks at

cdef struct ChainPlan:
    Chain chain
    size_t start         # the chain's first node in the walk's order; the others are before it
    int inside[64]       # by how far a node is from the first: the number of its sum, or -1
    size_t places[64]    # the sums' nodes
    int n_outside
    int outside[64]      # the sums of nodes out of reach


cdef isize chain_backward(Walk *w, size_t k) except -1:
    """Run the vjps of the walk's node k and of nodes before it that are pointwise ops too, over arrays of one shape.

    Returns how far that took the walk; 0: nothing was done, as there are not two of them.
    """
    cdef ChainPlan plan
    cdef Chain *chain = &plan.chain
    cdef Node *first = w.order[k]
    cdef Node *n
    cdef size_t at = k
    cdef isize ops = 0, reached = 0
    cdef int n_sums, n_steps
    chain_begin(chain, first.dtype, (<Array> w.grads[k]).t.size)
    plan.start, plan.n_outside = k, 0
    memset(plan.inside, -1, sizeof(plan.inside))
    while reached < CHAIN_REACH:
        n = w.order[at]
        if n.vjp != NULL and w.wanted[at] & 1 and (w.grads[at] != NULL or plan.inside[reached] >= 0):
            n_sums, n_steps = chain.n_sums, chain.n_steps
            if n.vjp != pointwise_vjp or not add_vjps(w, &plan, n, at):
                chain.n_sums, chain.n_steps = n_sums, n_steps
                break
            ops += 1
        reached += 1
        if at == 0:
            break
        at -= 1
    if ops < 2:
        return 0
    run_plan(w, &plan, k - reached + 1)
    return reached


cdef bint add_vjps(Walk *w, ChainPlan *plan, Node *n, size_t at) except -1:
    """Add the steps that make the cotangents of n's inputs; False, with some of them added, where they do not fit the chain."""
    cdef Chain *chain = &plan.chain
    cdef ChainStep *step
    cdef Node *p
    cdef size_t place
    cdef int i, k, count = n.n_inputs + 2, g = add_sum(w, plan, n, at)
    if g < 0:
        return False
    for i in range(n.n_inputs):
        p = n.inputs[i]
        if p == NULL:
            continue
        place = slot_of(w, p)
        if not w.wanted[place]:
            continue
        if chain.n_steps == CHAIN_STEPS:
            return False
        step = &chain.steps[chain.n_steps]
        chain.n_steps += 1
        step.to = add_sum(w, plan, p, place)
        if step.to < 0:
            return False
        step.kernel, step.n_operands = NULL, 1
        step.operands[0].data, step.operands[0].index = NULL, g
        if rows[n.op].passes[i]:
            continue
        step.kernel, step.n_operands = kernels.vjp[n.op][i][n.dtype], count
        for k in range(1, count):  # g, the inputs, y; see pointwise_vjp
            step.operands[k].data, step.operands[k].index = NULL, g
            if not set_operand(chain, &step.operands[k], n.saved[k - 1 if k < count - 1 else SAVED_OUTPUT]):
                return False
    return True


cdef inline int add_sum(Walk *w, ChainPlan *plan, Node *n, size_t place) except -2:
    """The number of the sum of a node's cotangents, added if there is none; -1: it does not fit the chain."""
    cdef size_t distance = plan.start - place  # nodes after the first are far away
    cdef int k
    if distance < CHAIN_REACH:
        if plan.inside[distance] >= 0:
            return plan.inside[distance]
    else:
        for k in range(plan.n_outside):
            if plan.places[plan.outside[k]] == place:
                return plan.outside[k]
    return new_sum(w, plan, n, place, distance)


cdef int new_sum(Walk *w, ChainPlan *plan, Node *n, size_t place, size_t distance) except -2:
    cdef Chain *chain = &plan.chain
    cdef int k = chain.n_sums
    cdef Array total
    if k == CHAIN_SUMS or (k + 1) * chain.tile_bytes > CHAIN_SPACE or not same_result(n, w.order[plan.start]):
        return -1
    chain.sums[k].begin.data, chain.sums[k].begin.index = NULL, -1
    if w.grads[place] != NULL:
        total = <Array> w.grads[place]
        if not set_operand(chain, &chain.sums[k].begin, total.t):
            if total.t.contiguous:
                return -1
            total = wrap(contiguous(total.t))
            Py_DECREF(<object> w.grads[place])
            Py_INCREF(total)
            w.grads[place] = <PyObject *> total
            set_operand(chain, &chain.sums[k].begin, total.t)
    chain.n_sums += 1
    plan.places[k] = place
    if distance < CHAIN_REACH:
        plan.inside[distance] = k
    else:
        plan.outside[plan.n_outside] = k
        plan.n_outside += 1
    return k


cdef inline bint set_operand(Chain *chain, ChainOperand *operand, const Tensor *t) noexcept:
    """Make an array or a number that is repeated an operand; NULL is not needed, and changes nothing. False: it does not fit."""
    cdef int k
    if t == NULL:
        return True
    if t.contiguous and t.size == chain.size and t.dtype == chain.dtype:
        operand.data = t.data
        return True
    if t.dtype != chain.dtype or not is_one_number(t):
        return False
    for k in range(chain.n_numbers):
        if chain.numbers[k] == t.data:
            break
    else:
        if chain.n_numbers == CHAIN_NUMBERS:
            return False
        k = chain.n_numbers
        chain.numbers[k] = t.data
        chain.n_numbers += 1
    operand.data, operand.index = NULL, CHAIN_SUMS + k
    return True


cdef int run_plan(Walk *w, ChainPlan *plan, size_t end) except -1:
    """Run a chain that reaches down to `end`, and leave its results where the walk expects them."""
    cdef Chain *chain = &plan.chain
    cdef Array result
    cdef Node *n
    cdef PyObject *before
    cdef size_t place
    cdef int k, i = 0
    cdef list results = []
    for k in range(chain.n_sums):
        place = plan.places[k]
        chain.sums[k].out = NULL
        if is_result(w, place, end) and place != plan.start:  # to the first, nothing is added
            n = w.order[place]
            result = <Array> w.grads[place] if has_private_sum(w, place) else wrap(tensor_new(n.dtype, n.ndim, n.shape))
            chain.sums[k].out = result.t.data
            results.append(result)
    if chain.size < APPLY_LONG:
        chain_run(chain)
    else:
        with nogil:
            chain_run(chain)
    for k in range(chain.n_sums):
        place = plan.places[k]
        before = w.grads[place]
        if chain.sums[k].out != NULL:
            result = <Array> results[i]
            i += 1
            Py_INCREF(result)
            w.grads[place] = <PyObject *> result
        elif is_result(w, place, end):
            continue
        else:
            w.grads[place] = NULL
        Py_XDECREF(before)
    return 0


cdef inline bint is_result(Walk *w, size_t place, size_t end) noexcept:
    """Whether a node's sum is wanted by others than a chain that reaches down to `end`."""
    return place < end or w.order[place].vjp == NULL or w.wanted[place] & TARGET


cdef inline bint has_private_sum(Walk *w, size_t place) noexcept:
    return w.grads[place] != NULL and is_private(w.grads[place])


cdef inline bint same_result(const Node *a, const Node *b) noexcept:
    """Whether two nodes' results have one dtype and shape."""
    cdef int i
    if a.dtype != b.dtype or a.ndim != b.ndim:
        return False
    for i in range(a.ndim):
        if a.shape[i] != b.shape[i]:
            return False
    return True


cdef bint is_one_number(const Tensor *t) noexcept:
    """Whether all elements are the same one in memory."""
    cdef int i
    for i in range(t.ndim):
        if t.shape[i] != 1 and t.strides[i] != 0:
            return False
    return True
