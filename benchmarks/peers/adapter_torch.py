"""PyTorch, eager, as its users write it: nn.Module and the optimizers' defaults.

Above: run.py, and adapter_torch_lean.py, which takes what does not differ from here.
"""

import itertools
import operator
from functools import partial

import torch
from case import Case, training
from torch import nn


def set_threads(n):
    torch.set_num_threads(n)
    torch.set_num_interop_threads(n)


def tensors(data):
    return {name: torch.from_numpy(value) for name, value in data.items()}


def optimizer(w, parameters, **options):
    kind, rate, *rest = w.optimizer
    if kind == "adam":
        return torch.optim.Adam(parameters, rate, **options)
    return torch.optim.SGD(parameters, rate, *rest, **options)


def build(w, dtype):
    initial, data = w.arrays(dtype)
    if w.kind == "ops":
        return OPS[w.name](w, data)
    data = tensors(data)
    mse = w.loss == "mse"
    x, target = data["x"], data["y" if mse else "labels"]
    cost = nn.MSELoss() if mse else nn.CrossEntropyLoss()
    model = MODELS[w.kind](w).to(x.dtype)
    update = None

    def reset():
        nonlocal update
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), initial, strict=True):
                value = torch.from_numpy(value)
                parameter.copy_(value.t() if value.ndim == 2 else value)
        model.zero_grad()
        update = optimizer(w, list(model.parameters()))

    def step():
        update.zero_grad()
        loss = cost(model(x), target)
        loss.backward()
        update.step()
        return loss

    return training(step, reset, number=torch.Tensor.item)


def mlp_model(w):
    layers = [layer for sizes in itertools.pairwise(w.sizes) for layer in (nn.Linear(*sizes), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def cnn_model(w):
    layers, (channels, rows, columns) = [], w.image
    for kind, *sizes in w.layers:
        if kind == "conv":
            filters, side, padding = sizes
            layers += [nn.Conv2d(channels, filters, side, padding=padding), nn.ReLU()]
            channels, rows, columns = filters, rows + 2 * padding - side + 1, columns + 2 * padding - side + 1
        elif kind == "pool":
            layers.append(nn.MaxPool2d(2))
            rows, columns = rows // 2, columns // 2
        elif kind == "flatten":
            layers.append(nn.Flatten())
        else:
            layers.append(nn.Linear(channels * rows * columns, sizes[0]))
    return nn.Sequential(*layers)


MODELS = {"mlp": mlp_model, "cnn": cnn_model}


def chain(a, b):
    c = a
    for _ in range(50):
        c = c * b + a
    return c


def chain_small(w, data):
    a, b = tensors(data).values()
    x, y = (t.clone().requires_grad_() for t in (a, b))
    ones = torch.ones_like(a)

    def forward():
        with torch.no_grad():
            return chain(a, b)

    def backward():
        x.grad = y.grad = None
        c = chain(x, y)
        c.backward(ones)
        return c

    def check():
        c = backward()
        return {"c": c.sum().item(), "ga": x.grad.sum().item(), "gb": y.grad.sum().item()}

    return Case({"forward": forward, "tracked": partial(chain, x, y), "backward": backward}, check)


def dynamic_scalar(w, data, is_large=lambda c: c[0] > 50):
    def run():
        a = torch.tensor([5.0], requires_grad=True)
        b = torch.tensor([2.0], requires_grad=True)
        c = torch.tensor([0.0])
        for _ in range(10):
            c = c + a * b
            if is_large(c):
                c = c * a
        c.backward()
        return c, a.grad, b.grad

    return Case({"run": run}, lambda: dict(zip(("c", "ga", "gb"), map(float, run()), strict=True)))


def elementwise_big(w, data):
    x = torch.from_numpy(data["x"])
    tracked = x.clone().requires_grad_()

    def f(x):
        return torch.sigmoid(x) * torch.tanh(x) + torch.exp(-x * x)

    def forward():
        with torch.no_grad():
            return f(x)

    def backward():
        tracked.grad = None
        total = f(tracked).sum()
        total.backward()
        return total

    def check():
        return {
            "sum_y": backward().item(),
            "sum_y_forward": forward().double().sum().item(),
            "sum_abs_dx": tracked.grad.double().abs().sum().item(),
        }

    return Case({"forward": forward, "backward": backward}, check)


def matmul(w, data):
    pairs = {n: (torch.from_numpy(a), torch.from_numpy(b)) for n, (a, b) in data.items()}

    def check():
        a, b = pairs["512" if "512" in pairs else "32"]
        c = a @ b
        return {"trace": c.trace().item(), "corner": c[0, -1].item()}

    return Case({n: partial(operator.matmul, a, b) for n, (a, b) in pairs.items()}, check)


def vectors(function, count):
    """The Case of an operation on one vector or two."""

    def make(w, data):
        calls = {n: partial(function, *map(torch.from_numpy, arrays[:count])) for n, arrays in data.items()}
        return Case(calls, lambda: {"sum": calls["1000"]().double().sum().item()})

    return make


OPS = {
    "chain_small": chain_small,
    "dynamic_scalar": dynamic_scalar,
    "elementwise_big": elementwise_big,
    "matmul": matmul,
    "matmul_small": matmul,
    "add": vectors(operator.add, 2),
    "exp": vectors(torch.exp, 1),
    "sum": vectors(torch.sum, 1),
}
