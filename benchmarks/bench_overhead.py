"""asv: the two ratios that corgi promises (see overhead.py), what single small operations cost, importing, and the disk."""

import corgi

from . import footprint, overhead


class Addition:
    """Time as a share of NumPy's, both taken in turn in one process."""

    def track_ratio(self):
        ours, theirs = overhead.addition(rounds=50)
        return ours / theirs

    track_ratio.unit = "of NumPy's time"


class Chain:
    """Time as a share of PyTorch's, both taken in turn in one process; left out where PyTorch is not installed."""

    timeout = 120

    def setup(self):
        if overhead.torch is None:
            raise NotImplementedError

    def track_ratio(self):
        ours, theirs = overhead.training(rounds=50)
        return ours / theirs

    track_ratio.unit = "of PyTorch's time"


class Small:
    """Single operations on 10 float32 elements."""

    def setup(self):
        self.a, self.b, self.c = (corgi.array(x) for x in overhead.values())
        self.tracked = [corgi.array(x).tracked() for x in overhead.values()]

    def time_add(self):
        return self.a + self.b

    def time_add_number(self):
        return self.a + 2.0

    def time_exp(self):
        return corgi.exp(self.a)

    def time_index(self):
        return self.a[3]

    def time_from_numpy(self):
        return corgi.array([1.0, 2.0, 3.0])

    def time_to_numpy(self):
        return self.a.numpy()

    def time_tracked_add(self):
        return self.tracked[0] + self.tracked[1]

    def time_backward(self):
        (self.tracked[0] * self.tracked[1]).backward()

    def time_chain_backward(self):
        overhead.chain(*self.tracked).backward()


class Import:
    """Importing in a fresh interpreter; what corgi adds is the difference."""

    def timeraw_import_corgi(self):
        return "import corgi"

    def timeraw_import_numpy(self):
        return "import numpy"

    def track_installed(self):
        return footprint.size(footprint.files_of("corgi"))

    track_installed.unit = "MB"
