"""Samples out of `.npy` files one at a time, and into them: without mapping the file, whose pages would count as this process' memory."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any


class Reader:
    """A file of [n, *shape] in C order."""

    def __init__(self, path: str) -> None:
        import numpy as np

        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # for its header; nothing of it is touched
        self.path, self.dtype, self.shape, self.offset = path, mapped.dtype, mapped.shape, mapped.offset

    def __len__(self) -> int:
        return int(self.shape[0])

    def read(self, index: int) -> Any:
        """The sample at `index`: an array of its own, of `shape[1:]`."""
        import numpy as np

        count = math.prod(self.shape[1:])
        values = np.fromfile(self.path, self.dtype, count, offset=self.offset + index * count * self.dtype.itemsize)
        return values.reshape(self.shape[1:])


class Writer:
    """A file of [n, *shape], like the first value that will be appended."""

    def __init__(self, path: str, n: int, like: Any) -> None:
        from numpy.lib import format as npy

        self.file = open(path, "wb")  # noqa: SIM115 (closed by __exit__)
        npy.write_array_header_1_0(self.file, {"descr": npy.dtype_to_descr(like.dtype), "fortran_order": False, "shape": (n, *like.shape)})

    def append(self, value: Any) -> None:
        self.file.write(value.tobytes())

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.file.close()
