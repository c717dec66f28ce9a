"""A user's program, which CI puts through `mypy --strict`: it is checked, not run."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import corgi
from corgi import Array, Model, activation, array, cost, initializer, schedule
from corgi.layer import Conv, Dense, Flatten, Layer, MaxPool, MultiHeadAttention, Residual, Sequential, TransformerBlock
from corgi.optimizer import LBFGS, Adam, AdamW, Average, GradientDescent, Lion, Optimizer, clip_norm


def network(x: Array, weights: list[Array]) -> Array:
    y = x
    for weight in weights:
        y = corgi.tanh(y @ weight.T) * 2 + 1.0 - y[..., :1] / 3
    y = corgi.where(y > 0, y, 0.0)
    return corgi.relu(2**y).sum(axis=0, keepdims=True)


x = corgi.array([[1.0, 2.0]], dtype="float32").tracked()
both: Array = array([x, x], dtype=corgi.float32)
loss = corgi.softmax_cross_entropy(network(x, [corgi.ones((2, 2))]), [1])
loss.backward()
if x.gradient is not None:
    number = float(x.gradient[0, 0]) + x.gradient.numpy().sum()
mask: Array = x == 2.0
picked = x[mask] + x[0, ::-1] + x[None, ..., 1]
for row in both:
    print(row.shape, abs(row), corgi.abs(row), corgi.clip(row, 0), -row, np.asarray(row), row.item(0, 1))
x += 1
cube = corgi.op(lambda x: x * x * x, lambda arrays, tracked, delta: [3 * arrays[0] * arrays[0] * delta])
total: Array = cube(x)


@corgi.no_tracking()
def evaluate(name: str) -> str:
    return f"{name}: {corgi.max(x):.3f}"


print(evaluate("largest").upper())


# ---- models


class Scale(Layer):
    def __init__(self, size: int) -> None:
        self.factor = corgi.ones(size).tracked()

    def forward(self, x: Array) -> Array:
        return x * self.factor


class SignDescent(Optimizer):
    def update(self, parameter: Array) -> None:
        if parameter.gradient is not None:
            corgi.assign(parameter, parameter.detach() - self.learning_rate * corgi.sign(parameter.gradient))


def halves(shape: tuple[int, ...], dtype: object) -> Array:
    return corgi.full(shape, 0.5)


def absolute_error(output: Array, target: Array) -> Array:
    return corgi.mean(abs(output - target))


layers: list[Layer] = [
    Conv(1, 4, (3, 3), initializer.he(seed=1), activation.relu, stride=1, padding=(1, 1), dtype="float32"),
    MaxPool(2, padding=0),
    Flatten(),
]
layers.append(Dense(64, 10, halves, "softmax", dtype=np.float32))
image_model = Model(layers, Adam(1e-3, beta1=0.8, decoupled=True), cost.cross_entropy)
tail = Model([Scale(2), corgi.tanh, lambda x: x / 2, Dense(2, 2, initializer.glorot("normal"))], None, absolute_error)
blocks = Sequential([TransformerBlock(8, 2, activation=corgi.tanh, causal=True), Residual([Dense(8, 8), corgi.tanh])])
head: Sequential = blocks[:1]
attended: Array = MultiHeadAttention(8, 2)(blocks(np.ones((3, 5, 8))), np.ones((3, 4, 8)), lengths=[4, 2, 1])
means: Array = corgi.scaled_dot_product_attention(attended, attended, attended, np.tri(5, dtype=bool), scale=0.5)
train, test = corgi.data.digits("float32", flat=False)
for images, labels in corgi.data.batches(train, 32, seed=np.random.default_rng(1)):
    output: Array = image_model.forward(images)
    mean_loss: float = image_model.backward(labels) * len(labels)
    image_model.update()
sizes = {name: parameter.size for name, parameter in image_model.named_parameters().items()}
first = Dense(2, 3)
weight_shape: tuple[int, ...] = first.weight.shape
if first.bias is not None and first.activation is not None:
    answer: Array = first.activation(first([[1.0, 2.0]]) + first.bias)
descent = GradientDescent(0.1, momentum=0.9, nesterov=True)
descent.learning_rate = descent.learning_rate / 2 + descent.momentum
descent.step(first.parameters())
SignDescent(0.5).step([first.weight])
rates = schedule.WarmUp(10, schedule.Cosine(90), start=0.1) * schedule.Plateau() * (lambda step: 0.5**step)
adamw = AdamW(1e-3, weight_decay=0.1, schedule=rates, clip_norm=1.0)
adamw.set(first.parameters(), learning_rate=1e-4, weight_decay=None)
saved = adamw.state_dict(first.named_parameters())
adamw.load_state_dict(saved, first.named_parameters())
limit: float | None = adamw.clip_norm
gradient_norm: float = clip_norm(first.parameters(), 1.0) + adamw.rate(first.weight) + rates(3)
Lion(1e-4, schedule=lambda step: 1 / (1 + step), clip_value=None).step(first.parameters())
average = Average(first.named_parameters(), decay=0.99)
average.update()
with average:
    averaged: Array = first([[1.0, 2.0]])
squared: Array = cost.mse([[1.0, 2.0]], x) + activation.identity(x)
drawn: Array = initializer.uniform(-1, 1, seed=3)((2, 3), "float64", generator=4)
print(repr(image_model), mean_loss, sizes)

# ---- differentiation


def cubic(x: Array, y: Array) -> Array:
    return (x * x * x + y).sum()


slope: Array = corgi.grad(cubic)(2.0, 1.0)
value, (by_x, by_y) = corgi.value_and_grad(cubic, argnums=(0, 1))([1.0, 2.0], 1.0)
curvature: Array = corgi.hessian(cubic)([1.0, 2.0], 1.0)
rows: Array = corgi.jacobian(corgi.exp)([1.0, 2.0])
value, pullback = corgi.vjp(cubic, 1.0, 2.0)
pulled: Array = pullback(1.0)[0]
value, tangent = corgi.jvp(cubic, (1.0, 2.0), (1.0, 0.0))
product: Array = corgi.hvp(corgi.square, 1.0, 1.0)
corgi.check_gradient(cubic, [1.0], 2.0, order=1, samples=5)

# ---- fits and minima


def decay(x: Array, a: Array, b: Array) -> Array:
    return a * np.exp(-b * x)


popt, pcov = corgi.curve_fit(decay, [0.0, 1.0, 2.0], np.ones(3), sigma=0.1, bounds=(0.0, [1.0, np.inf]))
fit: corgi.Fit = corgi.least_squares(corgi.sin, {"a": 1.0}, tolerance=1e-6)
print(fit.errors["a"], fit.covariance.shape, fit.sum_of_squares / 2, fit.message.upper(), fit.converged)
minimum: corgi.optimizer.Minimum = corgi.minimize(lambda p: corgi.sum(p * p), [1.0, 2.0], history=5)
lowest: float = minimum.value + LBFGS(max_iterations=5).step(first.parameters(), lambda: 1.0).value

# ---- functions written in Python, settings

trace: Array = corgi.einsum("ii->", corgi.eye(2)) + corgi.einsum(x, [0, 1], x, [0, 1], [], optimize="optimal")
norms: Array = corgi.norm(corgi.tensordot(x, x, ([0], [0])), axis=(0, -1), keepdims=True)
order: Array = corgi.argsort(corgi.roll(corgi.tile(x, (2, 1)), (1, 0), axis=(0, 1)), axis=None)
close: bool = corgi.allclose(corgi.round(x, 2), corgi.repeat([1.0, 2.0], [1, 1])) and corgi.array_equal(x, [1])
with corgi.num_threads(1), corgi.default_dtype(corgi.float32):
    threads: int = corgi.get_num_threads() + corgi.set_num_threads(1)
in_use: int = corgi.memory.stats()["in_use"] + corgi.memory.set_limit(2**20)
corgi.memory.trim()
corgi.seed(1)
corgi.show_config()
print(corgi.blas_backend().upper(), threads, in_use)


# ---- data and training

images, labels = corgi.data.mnist5000("float32")
learnt, judged = corgi.data.split(images, labels, fraction=0.2, seed=0)
classifier = Model(Dense(784, 10), Adam(), cost.softmax_cross_entropy)
stopping = corgi.callback.EarlyStopping("val_accuracy", patience=3)
history = classifier.fit(*learnt, epochs=2, validation=judged, metrics="accuracy", callbacks=[stopping])
best: float = min(history["val_loss"])
history.to_csv("history.csv")
print(classifier.eval().summary((1, 784)), classifier.predict(images[:5]).shape, history.stopped.upper(), best)
loader = corgi.data.Loader((images, labels), 32, shuffle=True, prefetch=2)
for inputs, targets in loader:
    state = {**loader.state_dict(), "sizes": (inputs.shape, targets.shape)}
print(f"{classifier.evaluate(loader)['loss']:.3f}")

# ---- saving


class Counted(corgi.callback.Callback):
    count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


weights: dict[str, Array] = classifier.state_dict()
classifier.load_state_dict({"bias": np.zeros(10)}, strict=False)
running = corgi.optimizer.Average(classifier.named_parameters())
classifier.save("run.safetensors", loader=loader, average=running, counted=Counted(), extra={"losses": [1.0], "x": weights})
print(classifier.load("run.safetensors", loader=loader, average=running)["losses"])
corgi.checkpoint.save_weights(classifier, "weights.safetensors", names={"layers.0": ""})
corgi.checkpoint.load_weights(
    classifier, "weights.safetensors", names=lambda name: None if name == "x" else f"layers.0.{name}"
)
print(corgi.checkpoint.read_weights("weights.safetensors")["weight"].shape)
checkpoint = corgi.callback.Checkpoint("run.safetensors", every_steps=100, resume=True)
classifier.optimizer = LBFGS()
classifier.update(lambda: classifier.backward(classifier.forward(images)))


# ---- debugging

with corgi.debug.detect_nan(infinity=False) as checks:
    watched: Array = corgi.log(x)
checks.enable().disable()


@corgi.debug.detect_nan()
def checked(value: Array) -> Array:
    return value * 2


states: list[str] = [row.state for row in corgi.debug.gradients(classifier)] + corgi.debug.unused_parameters({"x": x})
corgi.viz.graph(checked(watched), classifier, limit=100).render("graph.svg")
