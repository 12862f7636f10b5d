"""A run's state in, one file that replaces the earlier one in one step, and back: arrays and JSON in an `.npz`, nothing pickled."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

Tensors = dict[str, Any]

NAME = "tune.npz"
SAID = "said.json"


def save(folder: Path, said: dict[str, Any], groups: dict[str, Tensors]) -> None:
    """Write `said` (JSON) and groups of named tensors."""
    arrays = {f"{group}/{name}": value.detach().numpy() for group, tensors in groups.items() for name, value in tensors.items()}
    index = {f"{place}": name for place, name in enumerate(arrays)}  # a tensor's name may be no file's
    text = json.dumps({"said": said, "index": index}).encode()
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{NAME}.aside"
    with aside.open("wb") as file:
        members: dict[str, Any] = {SAID: np.frombuffer(text, np.uint8), **{place: arrays[name] for place, name in index.items()}}
        np.savez(file, **members)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / NAME)


def load(folder: Path | None, key: str) -> tuple[dict[str, Any], dict[str, Tensors]] | None:
    """What was saved under the same `key` (an entry of `said`); None where there is nothing, or of another run."""
    if folder is None or not (folder / NAME).exists():
        return None
    try:
        with np.load(folder / NAME, allow_pickle=False) as file:
            text = json.loads(bytes(file[SAID]))
            if text["said"].get("key") != key:
                return None
            groups: dict[str, Tensors] = {}
            for place, name in text["index"].items():
                group, _, inner = name.partition("/")
                groups.setdefault(group, {})[inner] = torch.from_numpy(file[place])
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError):
        return None  # damaged: the work is done anew
    return text["said"], groups
