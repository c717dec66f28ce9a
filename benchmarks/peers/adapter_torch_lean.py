"""PyTorch, eager, written for least overhead.

Functional ops on raw parameters; plain gradient descent by one foreach call, other optimizers fused; inference mode; numbers
rather than tensors for branches.  Below: adapter_torch.py.
"""

import torch
import torch.nn.functional as F
from adapter_torch import chain, optimizer, set_threads, tensors
from adapter_torch import chain_small as eager_chain_small
from adapter_torch import dynamic_scalar as eager_dynamic_scalar
from case import Case, training

__all__ = ["build", "set_threads"]


def build(w, dtype):
    initial, data = w.arrays(dtype)
    if w.kind == "ops":
        if w.name not in OPS:
            raise NotImplementedError
        return OPS[w.name](w, data)
    initial, data = [torch.from_numpy(p) for p in initial], tensors(data)
    parameters = [p.clone().requires_grad_() for p in initial]
    mse = w.loss == "mse"
    x, target = data["x"], data["y" if mse else "labels"]
    network, cost = NETWORKS[w.kind], F.mse_loss if mse else F.cross_entropy
    kind, rate, *_ = w.optimizer
    update = None

    def reset():
        nonlocal update
        with torch.no_grad():
            for parameter, value in zip(parameters, initial, strict=True):
                parameter.copy_(value)
        for parameter in parameters:
            parameter.grad = None
        update = optimizer(w, parameters, fused=True)

    def step():
        update.zero_grad(set_to_none=True)
        loss = cost(network(w, parameters, x), target)
        loss.backward()
        update.step()
        return loss

    def sgd_step():
        loss = cost(network(w, parameters, x), target)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-rate)
        return loss

    return training(sgd_step if kind == "sgd" else step, reset, number=torch.Tensor.item)


def mlp(w, parameters, x):
    weights, biases = parameters[::2], parameters[1::2]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = torch.relu(torch.addmm(bias, x, weight))
    return torch.addmm(biases[-1], x, weights[-1])


def cnn(w, parameters, x):
    remaining = iter(parameters)
    for kind, *sizes in w.layers:
        if kind == "conv":
            x = torch.relu_(F.conv2d(x, next(remaining), next(remaining), padding=sizes[2]))
        elif kind == "pool":
            x = F.max_pool2d(x, 2)
        elif kind == "flatten":
            x = x.flatten(1)
        else:
            weight, bias = next(remaining), next(remaining)
            x = torch.addmm(bias, x, weight)
    return x


NETWORKS = {"mlp": mlp, "cnn": cnn}


def chain_small(w, data):
    case = eager_chain_small(w, data)
    a, b = tensors(data).values()
    x, y = (t.clone().requires_grad_() for t in (a, b))
    ones = torch.ones_like(a)

    def forward():
        with torch.inference_mode():
            return chain(a, b)

    def backward():
        return torch.autograd.grad(chain(x, y), (x, y), ones)

    return Case(case.metrics | {"forward": forward, "backward": backward}, case.check)


def dynamic_scalar(w, data):
    return eager_dynamic_scalar(w, data, is_large=lambda c: c.item() > 50)


OPS = {"chain_small": chain_small, "dynamic_scalar": dynamic_scalar}
