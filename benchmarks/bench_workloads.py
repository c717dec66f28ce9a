"""asv: what users do: training steps of small and medium networks, gradients of gradients, long graphs, and their memory.

The training steps are the workloads of the comparison with other libraries. Below: peers/.
"""

import itertools
import pathlib
import sys

import numpy as np

import corgi
from corgi import Model, activation, cost, initializer
from corgi.layer import Dense
from corgi.optimizer import Adam, GradientDescent

sys.path.append(str(pathlib.Path(__file__).resolve().parent / "peers"))
import adapter_corgi
from workloads import BY_NAME, WORKLOADS


class Training:
    """One step: forward, backward, update."""

    params = ([w.name for w in WORKLOADS if w.kind != "ops" and w.group == "main"], ["float32", "float64"])
    param_names = ("network", "dtype")
    timeout = 120

    def setup(self, network, dtype):
        case = adapter_corgi.build(BY_NAME[network], dtype)
        case.reset()
        self.step = case.metrics["step"]

    def time_step(self, network, dtype):
        self.step()

    def peakmem_steps(self, network, dtype):
        for _ in range(3):
            self.step()

    def track_memory(self, network, dtype):
        """Most bytes of array memory in use at once."""
        self.step()
        corgi.memory.reset_peak()
        self.step()
        return corgi.memory.stats()["peak"]

    track_memory.unit = "bytes"

    def track_allocations(self, network, dtype):
        """Blocks of memory that a later step takes from the system: none, if the cache holds what a step needs."""
        for _ in range(2):
            self.step()
        before = corgi.memory.stats()["allocations"]
        self.step()
        return corgi.memory.stats()["allocations"] - before

    track_allocations.unit = "blocks"


class OptimizerStep:
    """One step of each optimizer for the parameters of a network, their gradients being there; float32."""

    params = (
        [(2, 16, 2), (784, 512, 256, 10)],
        ["GradientDescent", "Adam", "AdamW", "RMSProp", "Adagrad", "Adadelta", "Lion", "Adam, clipped"],
    )
    param_names = ("sizes", "optimizer")

    def setup(self, sizes, optimizer):
        shapes = [shape for n, m in itertools.pairwise(sizes) for shape in ((m, n), (m,))]
        self.parameters = [corgi.full(shape, 0.5, "float32").tracked() for shape in shapes]
        self.gradients = [corgi.full(shape, 0.01, "float32") for shape in shapes]
        options = {"clip_norm": 1e-3} if "clipped" in optimizer else {}
        self.optimizer = getattr(corgi.optimizer, optimizer.partition(",")[0])(0.001, **options)

    def time_step(self, sizes, optimizer):
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.gradient = gradient
        self.optimizer.step(self.parameters)


class Batches:
    """An epoch of batches of 100,000 rows of 64 float32 values, with a class each."""

    params = (["in order", "shuffled", "shuffled, prefetched"], [32, 1024])
    param_names = ("order", "batch")

    def setup(self, order, batch):
        generator = np.random.default_rng(0)
        rows = (
            corgi.array(generator.random((100_000, 64), dtype=np.float32)),
            corgi.array(generator.integers(10, size=100_000)),
        )
        prefetch = 2 if "prefetched" in order else 0
        self.loader = corgi.data.Loader(rows, batch, shuffle="shuffled" in order, seed=0, prefetch=prefetch)

    def time_epoch(self, order, batch):
        for _ in self.loader:
            pass


class Fit:
    """An epoch of 1,000 steps of a tiny network: what `fit` costs beside a loop by hand."""

    params = ("by hand", "fit", "fit with accuracy")
    param_names = ("loop",)

    def setup(self, loop):
        corgi.seed(0)
        layers = [Dense(2, 16, activation="relu", dtype="float32"), Dense(16, 2, activation="softmax", dtype="float32")]
        self.model = Model(layers, GradientDescent(0.01), cost.cross_entropy)
        generator = np.random.default_rng(0)
        self.inputs = corgi.array(generator.normal(size=(32_000, 2)), dtype="float32")
        self.targets = corgi.array(generator.integers(2, size=32_000))

    def time_epoch(self, loop):
        if loop == "by hand":
            for inputs, targets in corgi.data.Loader((self.inputs, self.targets), 32, shuffle=True, seed=0):
                self.model.forward(inputs)
                self.model.backward(targets)
                self.model.update()
        else:
            self.model.fit(self.inputs, self.targets, seed=0, metrics=["accuracy"] if "accuracy" in loop else [])


class Elementwise:
    """y = sigmoid(x) * tanh(x) + exp(-x * x) of 4,000,000 float32 elements, and its gradient."""

    def setup(self):
        self.calls = adapter_corgi.build(BY_NAME["elementwise_big"], "float32").metrics

    def time_forward(self):
        self.calls["forward"]()

    def time_backward(self):
        self.calls["backward"]()

    def peakmem_backward(self):
        self.calls["backward"]()


class DynamicGraph:
    """README's loop with a branch in it, forward and backward."""

    def setup(self):
        self.run = adapter_corgi.build(BY_NAME["dynamic_scalar"], "float32").metrics["run"]

    def time_run(self):
        self.run()


class HigherOrder:
    """Derivatives of derivatives of a network of one input, as in a curve fit."""

    params = ((1, 2, 3),)
    param_names = ("order",)

    def setup(self, order):
        generator = np.random.default_rng(0)
        self.w1, self.w2 = (corgi.array(generator.normal(size=(32, 1))).tracked() for _ in range(2))
        self.x = corgi.linspace(-1, 1, 64).reshape(64, 1).tracked()

    def time_derivative(self, order):
        y = corgi.tanh(corgi.matmul(self.x, self.w1, transpose_b=True)) @ self.w2
        for _ in range(order):
            self.x.gradient = None
            y.sum().backward(create_graph=True)
            y = self.x.gradient


class LongGraph:
    """A chain of small operations: time and memory for each node of the graph."""

    nodes = 100_000

    def setup(self):
        self.x = corgi.ones(1).tracked()

    def chain(self):
        y = self.x
        for _ in range(self.nodes):
            y = y * self.x
        return y

    def time_backward(self):
        self.chain().backward()

    def track_memory(self):
        before = corgi.memory.stats()["in_use"]
        corgi.memory.reset_peak()
        self.chain().backward()
        return (corgi.memory.stats()["peak"] - before) / self.nodes

    def peakmem_backward(self):
        self.chain().backward()

    track_memory.unit = "bytes/node"


class Digits:
    """The main job's epoch: 1,438 images of digits in batches of 32."""

    def setup(self):
        self.train, _ = corgi.data.digits("float32")
        corgi.seed(0)
        with corgi.default_dtype("float32"):
            layers = [
                Dense(64, 128, initializer.he(), activation.relu),
                Dense(128, 10, initializer.he(), activation.softmax),
            ]
        self.model = Model(layers, Adam(0.001), cost.cross_entropy)

    def time_epoch(self):
        for images, labels in corgi.data.batches(self.train, 32, seed=0):
            self.model.forward(images)
            self.model.backward(labels)
            self.model.update()


class CurveFit:
    """A curve of four parameters through noisy data."""

    params = ((20, 1000, 100_000),)
    param_names = ("data",)

    def setup(self, data):
        self.x = np.linspace(0, 4, data)
        self.y = 2.5 * np.exp(-1.3 * self.x) + 0.5 * np.sin(3 * self.x) + np.random.default_rng(0).normal(0, 0.05, data)

    def time_curve_fit(self, data):
        f = lambda x, a, b, c, d: a * corgi.exp(-b * x) + c * corgi.sin(d * x)  # noqa: E731
        corgi.curve_fit(f, self.x, self.y, [1.0, 1.0, 1.0, 2.8])


class Minimize:
    """Rosenbrock's function of 100 variables."""

    def time_minimize(self):
        f = lambda x: corgi.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)  # noqa: E731
        corgi.minimize(f, np.resize([-1.2, 1.0], 100))
