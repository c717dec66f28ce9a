"""Forecasts a chaotic series (Mackey and Glass, 1977) six steps ahead, with an LSTM that reads it value by value.

On values that it has not seen, the error of the naive forecast, that nothing will change, is more than ten times as large.
"""

import numpy as np

import corgi
from corgi import Model, cost
from corgi.layer import LSTM, Dense
from corgi.optimizer import Adam
from corgi.schedule import Cosine

AHEAD, HISTORY, BATCH_SIZE, STEPS = 6, 100, 32, 600


def mackey_glass(n, delay=17, substeps=10):
    """dx/dt = 0.2 x(t - delay) / (1 + x(t - delay)**10) - 0.1 x(t), by Euler's rule; n values, one for each unit of time."""
    x = np.full((n + 500) * substeps, 1.2)  # the first 500 units, while it settles, are left away
    for i in range(delay * substeps, len(x) - 1):
        late = x[i - delay * substeps]
        x[i + 1] = x[i] + (0.2 * late / (1 + late**10) - 0.1 * x[i]) / substeps
    return x[500 * substeps :: substeps]


def main():
    corgi.seed(0)
    generator = np.random.default_rng(0)
    series = mackey_glass(3000)
    mean, std = series[:2000].mean(), series[:2000].std()
    series = ((series - mean) / std).astype("float32")[:, None]
    train, test = series[:2000], series[2000:]

    lstm = LSTM(1, 32, forget_bias=1.0, dtype="float32")
    model = Model([lstm, Dense(32, 1, dtype="float32")], Adam(0.01, schedule=Cosine(STEPS)), cost.mse)
    for step in range(1, STEPS + 1):
        starts = generator.integers(0, len(train) - HISTORY - AHEAD, BATCH_SIZE)
        windows = starts[:, None] + np.arange(HISTORY)
        model.forward(train[windows])
        loss = model.backward(train[windows + AHEAD])  # a forecast after every step of a window
        model.update()
        if step % 100 == 0:
            print(f"step {step:4}: root mean square error {loss**0.5:.4f}")

    with corgi.no_tracking():
        forecast = model(test[None, :-AHEAD])[0].numpy()  # one long series
    settled = slice(50, None)  # the state starts at 0
    error, naive = (np.sqrt(np.mean((guess - test[AHEAD:])[settled] ** 2)).item() for guess in (forecast, test[:-AHEAD]))
    print(f"six steps ahead: {error:.4f}; if nothing changed: {naive:.4f}, {naive / error:.0f} times as much")
    return naive / error


if __name__ == "__main__":
    main()
