"""Small Keras models that a reader has to get right, or to refuse.

<tensorflow toolchain's python> odd_keras.py DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import tensorflow as tf
from keras import layers

if __name__ == "__main__":
    out = Path(sys.argv[1])
    keras.utils.set_random_seed(0)

    image, scale = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="scale")
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(image))
    label = layers.Dense(5, activation="softmax", name="label")(features)
    scaled = layers.Multiply(name="scaled")([features, scale])
    two = keras.Model([image, scale], [label, scaled])
    two.save(out / "two.keras")
    two.save(out / "two.h5")
    two.export(out / "two_sm", verbose=False)

    keras.Model({"b": image, "a": scale}, scaled).save(out / "dict.keras")
    keras.Sequential([keras.Input((6, 3)), layers.LSTM(4), layers.Dense(2)]).save(out / "lstm.keras")
    keras.Sequential([keras.Input((6, 3)), layers.GRU(4, return_sequences=True)]).save(out / "gru.keras")
    keras.Sequential([keras.Input((None, None, 3), name="photo"), layers.Conv2D(2, 3)]).save(out / "open.keras")
    keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x * 2)]).save(out / "lambda.keras")
    keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x * 2)]).save(out / "lambda.h5")

    picture = keras.Input((8, 8, 3))
    deep = layers.DepthwiseConv2D(3, use_bias=False, name="_deep")
    inside = [layers.Conv2D(4, 1, name="conv2d"), deep, layers.BatchNormalization(beta_initializer="ones")]
    inner = keras.Sequential([keras.Input((8, 8, 4)), *inside], name="inner")
    once, twice = layers.Conv2D(4, 3, padding="same", name="conv2d"), layers.Conv2D(4, 1, name="conv2d_1")
    found = layers.Reshape((6, 24))(inner(twice(twice(once(picture)))))
    found = layers.Dense(2, name="my dense")(layers.LSTM(3, name="lstm")(layers.Conv1D(3, 2, name="_conv1d")(found)))
    keras.Model(picture, found, name="conv2d_1").save(out / "named.keras")

    class Doubled(layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x * 2

    own = keras.Sequential([keras.Input((3,)), Doubled()])
    own.save(out / "own.keras")
    own.export(out / "own_sm", verbose=False)

    module = tf.Module()
    tf.saved_model.save(module, str(out / "bare_sm"))
