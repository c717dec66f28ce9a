"""A character-level GPT on the text of Python's documentation, after Karpathy's nanoGPT; `gpt.py --full` takes hours.

Each character is predicted from those before it. What a model has to beat: characters drawn by their frequency alone cost
their entropy, about 3.2 nats each.
"""

import argparse

import numpy as np

import corgi
from corgi import Model, cost, data, initializer, schedule
from corgi.layer import Embedding, Layer, LayerNorm, PositionalEmbedding, Sequential, TransformerBlock
from corgi.optimizer import AdamW

SHORT = {"size": 64, "heads": 4, "blocks": 2, "steps": 64, "batch_size": 16, "updates": 600, "learning_rate": 6e-3}
FULL = {"size": 256, "heads": 8, "blocks": 6, "steps": 256, "batch_size": 32, "updates": 5000, "learning_rate": 1e-3}


class GPT(Layer):
    """Logits of the next character, at each place of sequences of characters."""

    def __init__(self, characters, size, heads, blocks, steps):
        rule = initializer.normal(0.0, 0.02)
        self.tokens = Embedding(characters, size, rule)
        self.positions = PositionalEmbedding(steps, size, rule)
        self.blocks = Sequential([TransformerBlock(size, heads, initializer=rule, causal=True) for _ in range(blocks)])
        self.norm = LayerNorm(size)

    def forward(self, x):
        x = self.norm(self.blocks(self.positions(self.tokens(x))))
        return corgi.dense(x, self.tokens.weight)  # the same rows tell what a character means and how likely it is


def windows(text, starts, steps):
    """Pieces of the text, and the character after each of theirs."""
    places = starts[:, None] + np.arange(steps)
    return text[places], text[places + 1]


def sample(model, text, length, steps, temperature, generator):
    """Go on with a text, character by character; a low temperature prefers what is likely."""
    for _ in range(length):
        logits = model(text[None, -steps:])[0, -1].numpy()
        noise = generator.gumbel(size=logits.shape)  # the largest sum is a draw from the softmax
        text = np.append(text, np.argmax(logits / temperature + noise))
    return text


def main(full=False):
    size, heads, blocks, steps, batch_size, updates, learning_rate = (FULL if full else SHORT).values()
    corgi.seed(0)
    generator = initializer.generator()

    characters, text = np.unique(list(data.python_topics()), return_inverse=True)
    train, test = np.split(text, [len(text) * 9 // 10])
    share = np.bincount(text) / len(text)
    entropy = -(share * np.log(share)).sum()
    print(f"{len(text)} characters, {len(characters)} different ones with an entropy of {entropy:.2f} nats")

    with corgi.default_dtype("float32"):
        gpt = GPT(len(characters), size, heads, blocks, steps)
    rate = schedule.WarmUp(updates // 10, schedule.Cosine(updates - updates // 10, 0.1))
    model = Model(gpt, AdamW(learning_rate, schedule=rate, clip_norm=1.0), cost.softmax_cross_entropy)
    print(f"{sum(p.size for p in model.parameters())} parameters")

    held_out = windows(test, np.linspace(0, len(test) - steps - 1, 64).astype(int), steps)
    for update in range(1, updates + 1):
        inputs, targets = windows(train, generator.integers(len(train) - steps, size=batch_size), steps)
        model.forward(inputs)
        loss = model.backward(targets)
        model.update()
        if update % (updates // 10) == 0:
            test_loss = model.evaluate(*held_out)["loss"]
            print(f"update {update:4}: loss {loss:.3f}, of text held out {test_loss:.3f}")

    model.eval()
    with corgi.no_tracking():
        written = sample(model, train[:1], 200, steps, 0.8, generator)
    print("".join(characters[written]))
    return test_loss, entropy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="a larger model and more updates")
    main(parser.parse_args().full)
