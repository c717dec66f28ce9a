"""What the libraries are compared on: shapes, seeds, data, optimizers, and what one step is.

Everything is drawn in float32 from NumPy's RandomState, whose stream never changes, and then cast, so that float32 and
float64 runs of every library start from the same numbers and share one reference: the float64 values in references.json, on
which NumPy and PyTorch agree.  Above: run.py and the adapters.
"""

import json
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CHECKED_STEPS = 5  # a training workload is right if the losses of so many steps are
OP_SIZES = tuple(10**k for k in range(8))


@dataclass(frozen=True)
class Workload:
    """One thing to time: a training step of a network, or calls of operations."""

    name: str
    data: Callable  # of the workload: parameters, and a dict of arrays
    seed: int = 0
    kind: str = "ops"  # or "mlp" or "cnn": networks with ReLU between the layers
    dtypes: tuple[str, ...] = ("float32",)
    tolerance: float = 2e-4  # of float32 results, relative
    sizes: tuple[int, ...] = ()  # layers of an mlp; elements, or sides of matrices, of ops
    image: tuple[int, ...] = ()  # (channels, rows, columns) of a cnn
    layers: tuple[tuple, ...] = ()  # of a cnn: ("conv", filters, side, padding), ("pool",), ("flatten",), ("dense", outputs)
    batch: int = 0
    loss: str = "cross-entropy"  # mean over the batch; or "mse", the mean over all elements
    optimizer: tuple = ()  # ("sgd", rate), ("momentum", rate, 0.9) or ("adam", rate)
    group: str = "main"  # or "sizes": for the picture

    @property
    def flops(self):
        """Of a training step's products: forward, weights' gradients, and inputs' but for the first layer's; or None."""
        products, (channels, rows, columns) = [], self.image or (0, 0, 0)
        if self.kind == "ops":
            return None
        if self.kind == "mlp":
            products = [self.batch * n * m for n, m in zip(self.sizes[:-1], self.sizes[1:], strict=True)]
        for layer, *sizes in self.layers:
            if layer == "conv":
                filters, side, padding = sizes
                rows, columns = rows + 2 * padding - side + 1, columns + 2 * padding - side + 1
                products.append(self.batch * filters * rows * columns * channels * side * side)
                channels = filters
            elif layer == "pool":
                rows, columns = rows // 2, columns // 2
            elif layer == "dense":
                products.append(self.batch * channels * rows * columns * sizes[0])
        return 2 * (3 * sum(products) - products[0])

    def arrays(self, dtype):
        """Initial parameters (a list) and data (a dict), made anew, floating-point arrays in this dtype."""
        parameters, data = self.data(self, np.random.RandomState(self.seed))
        cast = {
            name: tuple(x.astype(dtype) for x in value) if isinstance(value, tuple) else value.astype(dtype)
            for name, value in data.items()
            if name != "labels"
        }
        return [p.astype(dtype) for p in parameters], data | cast


def float32(x):
    return np.asarray(x, dtype=np.float32)


def dense(random, inputs, outputs):
    """He's weight (inputs, outputs), and a small bias."""
    weight = random.randn(inputs, outputs) * np.sqrt(2.0 / inputs)
    return [float32(weight), float32(random.randn(outputs) * 0.01)]


def classes(random, batch, count):
    labels = random.randint(0, count, batch)
    return {"labels": labels, "one_hot": np.eye(count, dtype=np.float32)[labels]}


def mlp(w, random):
    parameters = [p for n, m in zip(w.sizes[:-1], w.sizes[1:], strict=True) for p in dense(random, n, m)]
    x = float32(random.rand(w.batch, w.sizes[0]))
    if w.loss == "mse":
        return parameters, {"x": x, "y": float32(random.randn(w.batch, w.sizes[-1]))}
    return parameters, {"x": x} | classes(random, w.batch, w.sizes[-1])


def cnn(w, random):
    """Filters are (filters, channels, rows, columns), images (batch, channels, rows, columns)."""
    parameters, (channels, rows, columns) = [], w.image
    for layer, *sizes in w.layers:
        if layer == "conv":
            filters, side, padding = sizes
            weight = random.randn(filters, channels, side, side) * np.sqrt(2.0 / (channels * side * side))
            parameters += [float32(weight), float32(random.randn(filters) * 0.01)]
            channels, rows, columns = filters, rows + 2 * padding - side + 1, columns + 2 * padding - side + 1
        elif layer == "pool":
            rows, columns = rows // 2, columns // 2
        elif layer == "dense":
            parameters += dense(random, channels * rows * columns, sizes[0])
    x = float32(random.rand(w.batch, *w.image))
    return parameters, {"x": x} | classes(random, w.batch, 10)


def chain(w, random):
    return [], {"a": float32(0.5 + random.rand(10)), "b": float32(0.80 + 0.15 * random.rand(10))}


def nothing(w, random):
    return [], {}


def normal(w, random):
    return [], {"x": float32(random.randn(w.sizes[0]))}


def vectors(w, random):
    return [], {str(n): (float32(random.rand(n)), float32(random.rand(n))) for n in w.sizes}


def matrices(w, random):
    return [], {str(n): (float32(random.rand(n, n)), float32(random.rand(n, n))) for n in w.sizes}


CONV_DIGITS = (("conv", 16, 3, 0), ("conv", 32, 3, 0), ("flatten",), ("dense", 10))
CONV_CIFAR = (
    *(("conv", 32, 3, 1), ("conv", 32, 3, 1), ("pool",)),
    *(("conv", 64, 3, 1), ("conv", 64, 3, 1), ("pool",)),
    *(("flatten",), ("dense", 10)),
)
BOTH = ("float32", "float64")

WORKLOADS = (
    # 50 times c = c * b + a, from c = a: untracked forward, tracked forward, and forward + backward
    Workload("chain_small", chain, 1),
    # README's dynamic graph: forward and backward
    Workload("dynamic_scalar", nothing, tolerance=1e-6),
    Workload("mlp_tiny", mlp, 3, "mlp", sizes=(2, 16, 2), batch=32, loss="mse", optimizer=("sgd", 0.01)),
    Workload("mlp_digits", mlp, 4, "mlp", BOTH, sizes=(64, 128, 10), batch=64, optimizer=("sgd", 0.05)),
    Workload("mlp_mnist", mlp, 5, "mlp", BOTH, 1e-3, sizes=(784, 512, 256, 10), batch=128, optimizer=("adam", 1e-4)),
    Workload("mlp_wide", mlp, 6, "mlp", sizes=(1024, 4096, 1024), batch=256, loss="mse", optimizer=("sgd", 0.01)),
    Workload("cnn_digits", cnn, 7, "cnn", image=(1, 8, 8), layers=CONV_DIGITS, batch=64, optimizer=("sgd", 0.02)),
    Workload("cnn_cifar", cnn, 9, "cnn", image=(3, 32, 32), layers=CONV_CIFAR, batch=32, optimizer=("momentum", 0.002, 0.9)),
    # y = sigmoid(x) * tanh(x) + exp(-x * x): untracked forward; sum(y) and its gradient
    Workload("elementwise_big", normal, 10, tolerance=1e-3, sizes=(4_000_000,)),
    # a @ b, untracked
    Workload("matmul", matrices, 11, dtypes=BOTH, sizes=(64, 128, 256, 512, 1024, 2048)),
    # the picture: single operations, untracked, and a training step, over size
    Workload("add", vectors, 12, sizes=OP_SIZES, group="sizes"),
    Workload("exp", vectors, 13, sizes=OP_SIZES, group="sizes"),
    Workload("sum", vectors, 14, sizes=OP_SIZES, group="sizes"),
    Workload("matmul_small", matrices, 15, sizes=(2, 4, 8, 16, 32), group="sizes"),
    *(
        Workload(f"mlp_hidden_{n}", mlp, 16, "mlp", sizes=(64, n, 10), batch=64, optimizer=("sgd", 0.05), group="sizes")
        for n in (8, 32, 128, 512, 2048)
    ),
)
BY_NAME = {w.name: w for w in WORKLOADS}
CHAIN_OPS = 100  # in one call of chain_small's functions


def references():
    """For each workload, the values that an adapter's check has to give."""
    return json.loads((pathlib.Path(__file__).parent / "references.json").read_text())
