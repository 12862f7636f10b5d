"""Keras' MobileNetV2-224, random weights of a fixed seed, as `.keras` and as SavedModel.

    <tensorflow toolchain's python> mobilenet_keras.py OUT.keras OUT_SAVEDMODEL_DIR
"""

from __future__ import annotations

import sys

import keras
import numpy as np


def fit_statistics(model: keras.Model) -> None:
    """Give batch norms the statistics that fit the weights, as training would, and spread the scores.

    With fresh statistics a random network gives the same outputs for every input, and any file of it would seem right.
    """
    images = np.random.default_rng(0).standard_normal((16, 224, 224, 3)).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.7  # not all of it: a random network with exact statistics is chaotic, and multiplies any rounding
    model(images, training=True)
    head = model.layers[-1]
    kernel, bias = head.get_weights()
    features = keras.Model(model.input, head.input)(images).numpy()
    head.set_weights([kernel * 0.5 / (features @ kernel).std(), bias])


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None)
    fit_statistics(model)
    model.save(sys.argv[1])
    model.export(sys.argv[2])
