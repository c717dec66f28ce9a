"""Files that are written whole or not at all.

Above: `History.to_csv`, `Checkpoint`.  Below: the file system, whose rename within a folder is atomic.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["replaced"]


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give the name of a new file, which takes the place of `path` at the end of the block.

    The new file is beside the old one and has its extension. When the block fails it is removed, and the old file stays.
    A crash or a full disk never leaves half a file under the old name.

    Parameters
    ----------
    path : str or os.PathLike
        Of a file, which need not exist; its folder is made.

    Yields
    ------
    str
        The name of the file to write.

    Raises
    ------
    OSError
        If a file cannot be written, or was not.

    Examples
    --------
    >>> import os, tempfile
    >>> from corgi.atomic import replaced
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replaced(os.path.join(folder, "a.txt")) as name, open(name, "w") as file:
    ...         _ = file.write("whole")
    ...     os.listdir(folder)
    ['a.txt']
    """
    final = os.path.realpath(path)
    folder, name = os.path.split(final)
    os.makedirs(folder, exist_ok=True)
    stem, extension = os.path.splitext(name)
    temporary = os.path.join(folder, f".{stem}.{os.getpid()}{extension}")
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, final)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
    _to_disk(folder)


def _to_disk(path: str) -> None:
    """Wait until the disk has what was written."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
