"""Balances gymnasium's CartPole with proximal policy optimization (PPO): 475 steps and more, learnt in seconds.

Sixteen carts run at once. After every 64 steps the policy is improved on what they have seen: the ratio of an action's new
to its old probability, times its advantage, is made larger, but not for ratios beyond 1 +- 0.2 (J. Schulman et al., Proximal
Policy Optimization Algorithms, 2017, eq. 7). Advantages come from the values that a second net predicts (J. Schulman et al.,
High-Dimensional Continuous Control Using Generalized Advantage Estimation, 2016, eq. 16).

Needs gymnasium: pip install gymnasium
"""

import gymnasium
import numpy as np

import corgi
from corgi import Model, cost
from corgi.data import Loader
from corgi.layer import Dense
from corgi.optimizer import Adam

CARTS, STEPS, EPOCHS, BATCH = 16, 64, 6, 256
DISCOUNT, SMOOTHING, CLIP, ENTROPY = 0.98, 0.9, 0.2, 0.01


def make_carts(count, seed):
    """Carts that run at once, and their states."""
    carts = gymnasium.make_vec("CartPole-v1", num_envs=count, vectorization_mode="vector_entry_point")
    return carts, carts.reset(seed=seed)[0]


def make_net(outputs):
    with corgi.default_dtype("float32"):
        return Model([Dense(4, 64, activation="tanh"), Dense(64, 64, activation="tanh"), Dense(64, outputs)])


def collect(policy, critic, carts, state, skipped, random):
    """What the carts see in some steps: states, actions, logarithms of their probabilities, advantages and returns.

    A cart whose episode has ended is set up anew in the next step, whatever its action: that step is `skipped`.
    """
    seen = []
    for _ in range(STEPS):
        with corgi.no_tracking():
            logs, value = corgi.log_softmax(policy(state)).numpy(), critic(state).numpy()[:, 0]
        action = (random.random(CARTS) < np.exp(logs[:, 1])).astype(np.int64)
        following, reward, fallen, over, _ = carts.step(action)
        seen.append((state, action, logs[np.arange(CARTS), action], value, reward, fallen, fallen | over, ~skipped))
        state, skipped = following, fallen | over
    states, actions, logs, values, rewards, fallen, ended, valid = map(np.array, zip(*seen, strict=True))

    advantages, advantage = np.zeros_like(values), np.zeros(CARTS, "float32")
    with corgi.no_tracking():
        following = critic(state).numpy()[:, 0]
    for t in reversed(range(STEPS)):
        surprise = rewards[t] + DISCOUNT * following * ~fallen[t] - values[t]
        advantages[t] = advantage = surprise + DISCOUNT * SMOOTHING * advantage * ~ended[t]
        following = values[t]
    batch = [part[valid] for part in (states, actions, logs, advantages, advantages + values)]
    return batch, state, skipped


def loss_of(policy, critic, states, actions, old_logs, advantages, returns):
    logs = corgi.log_softmax(policy(states))
    ratio = corgi.exp(-cost.nll(logs, actions, reduction="none") - old_logs)
    gain = corgi.minimum(ratio * advantages, corgi.clip(ratio, 1 - CLIP, 1 + CLIP) * advantages).mean()
    entropy = -(corgi.exp(logs) * logs).sum(axis=1).mean()
    return cost.mse(critic(states)[:, 0], returns) / 2 - gain - ENTROPY * entropy


def evaluate(policy, episodes=100, seed=1000):
    """The lengths of new episodes in which the likelier action is taken."""
    carts, state = make_carts(episodes, seed)
    lengths, running = np.zeros(episodes), np.ones(episodes, bool)
    while running.any():
        lengths += running
        state, _, fallen, over, _ = carts.step(policy.predict(state, batch_size=episodes).numpy().argmax(axis=1))
        running &= ~(fallen | over)
    return lengths


def main(rounds=60, seed=0):
    corgi.seed(seed)
    random = np.random.default_rng(seed)
    policy, critic = make_net(2), make_net(1)
    parameters = policy.parameters() + critic.parameters()
    optimizer = Adam(3e-3, clip_norm=0.5)
    carts, state = make_carts(CARTS, seed)
    skipped = np.zeros(CARTS, bool)
    for number in range(1, rounds + 1):
        optimizer.factor = 1 - (number - 1) / rounds
        batch, state, skipped = collect(policy, critic, carts, state, skipped, random)
        batch[3] = (batch[3] - batch[3].mean()) / batch[3].std()
        for _ in range(EPOCHS):
            for part in Loader(tuple(batch), BATCH, shuffle=True, seed=random):
                loss_of(policy, critic, *part).backward()
                optimizer.step(parameters)
        if number % 10 == 0:
            lengths = evaluate(policy)
            print(f"round {number}: {lengths.mean():.1f} steps on average, {lengths.min():.0f} in the shortest episode")
    return lengths.mean()


if __name__ == "__main__":
    main()
