"""Keras' MobileNetV2-224, random weights of a fixed seed, as `.keras` and as SavedModel.

<tensorflow toolchain's python> mobilenet_keras.py OUT.keras OUT_SAVEDMODEL_DIR
"""

from __future__ import annotations

import sys

import keras
import numpy as np


def fit_statistics(model: keras.Model) -> None:
    """Give batch norms the statistics that fit the weights, as training would, and a shift into ReLU6's linear part.

    With other statistics a deep random network either forgets its input or multiplies any rounding; neither tells right from wrong.
    """
    images = np.random.default_rng(0).standard_normal((16, 224, 224, 3)).astype(np.float32)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
        if not layer.name.endswith("project_BN"):
            layer.beta.assign(np.full(layer.beta.shape, 1.5, np.float32))
    model(images, training=True)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None)
    fit_statistics(model)
    model.save(sys.argv[1])
    model.export(sys.argv[2])
