"""Keras' MobileNetV2-224, random weights of a fixed seed, as `.keras` and as SavedModel.

    <tensorflow toolchain's python> mobilenet_keras.py OUT.keras OUT_SAVEDMODEL_DIR
"""

from __future__ import annotations

import sys

import keras

if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None)
    model.save(sys.argv[1])
    model.export(sys.argv[2])
