"""corgi: tensors with dynamic automatic differentiation, fast for small and medium models on a CPU."""
from corgi._core import *  # noqa
