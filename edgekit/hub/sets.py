"""A folder of samples in, its sets out: a tensor folder is one set; a folder of numbered tensor folders is several, of one size each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def sets(samples: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """Each tensor folder with the folder that its results go to, which is made."""
    inner = sorted((path for path in samples.iterdir() if path.is_dir()), key=lambda path: int(path.name))
    if not inner:
        yield samples, out
    for folder in inner:
        (out / folder.name).mkdir()
        yield folder, out / folder.name
