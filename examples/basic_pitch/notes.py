"""Synthesise piano-like notes as input for basic-pitch: windows of audio, float32 at 22,050 Hz, seeded.

    python notes.py OUT.npz [WINDOWS]

Writes the array `serving_default_input_2:0`, [WINDOWS, 43844, 1] in -1..1: one to three notes of six decaying harmonics each,
with a little noise. It is music enough to calibrate and compare with; it has no labels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

RATE_HZ = 22050
WINDOW = 43844
INPUT = "serving_default_input_2:0"


def window(rng: np.random.Generator) -> np.ndarray:
    """One window of audio, [43844, 1]."""
    time_s = np.arange(WINDOW) / RATE_HZ
    audio = rng.normal(0, 0.002, WINDOW)
    for _ in range(rng.integers(1, 4)):
        pitch_hz = 440 * 2 ** ((rng.integers(40, 84) - 69) / 12)
        start_s, loudness = rng.uniform(0, 1.2), rng.uniform(0.1, 0.3)
        since_s = np.clip(time_s - start_s, 0, None)
        for harmonic in range(1, 7):
            if pitch_hz * harmonic < RATE_HZ / 2:
                audio += loudness / harmonic * np.sin(2 * np.pi * pitch_hz * harmonic * since_s) * np.exp(-2.5 * since_s) * (time_s >= start_s)
    return np.clip(audio, -1, 1).astype(np.float32)[:, None]


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 48
    generator = np.random.default_rng(0)
    np.savez(Path(sys.argv[1]), **{INPUT: np.stack([window(generator) for _ in range(count)])})
