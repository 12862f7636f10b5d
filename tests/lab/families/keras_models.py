"""Each family as a Keras functional model, a SavedModel and a TFLite file of TensorFlow's own converter.

<tensorflow toolchain's python> keras_models.py DIR FAMILY… → DIR/FAMILY.{keras,savedmodel,tflite}
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import keras
import tensorflow as tf
from keras import layers


def image() -> Any:
    return keras.Input((16, 16, 3), batch_size=1, name="image")


def series(length: int = 12, width: int = 6) -> Any:
    return keras.Input((length, width), batch_size=1, name="series")


def tokens() -> Any:
    return keras.Input((10,), batch_size=1, dtype="int32", name="tokens")


def classify(inputs: Any, x: Any) -> keras.Model:
    return keras.Model(inputs, layers.Dense(5, activation="softmax", name="scores")(layers.GlobalAveragePooling2D()(x)))


def cnn() -> keras.Model:
    x = image()
    y = layers.MaxPooling2D()(layers.Conv2D(8, 3, padding="same", activation="relu")(x))
    return classify(x, layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(y))


def depthwise() -> keras.Model:
    x = image()
    y = layers.ReLU(6)(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(x)))
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu")(y)
    return classify(x, layers.Add()([y, layers.Conv2D(8, 1)(y)]))


def transposed() -> keras.Model:
    x = image()
    y = layers.Conv2DTranspose(6, 2, strides=2, activation="relu")(layers.Conv2D(8, 3, strides=2, padding="same")(x))
    return keras.Model(x, layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="sigmoid", name="picture")(y))


def conv1d() -> keras.Model:
    x = series()
    y = layers.MaxPooling1D()(layers.Conv1D(8, 3, padding="same", activation="relu")(x))
    return keras.Model(x, layers.Dense(4, name="scores")(layers.GlobalAveragePooling1D()(y)))


def sequence(kind: str, both: bool, length: int = 12) -> keras.Model:
    x = series(length)
    layer = getattr(layers, kind)(8, return_sequences=True)
    y = layers.Bidirectional(layer)(x) if both else layer(x)
    last = getattr(layers, kind)(8)
    return keras.Model(x, [y, layers.Dense(4, name="scores")(layers.Bidirectional(last)(y) if both else last(y))])


def rnn_state() -> keras.Model:
    x = keras.Input((1, 6), batch_size=1, name="step")
    h, c = keras.Input((8,), batch_size=1, name="h"), keras.Input((8,), batch_size=1, name="c")
    y, *state = layers.LSTM(8, return_state=True)(x, initial_state=[h, c])
    return keras.Model([x, h, c], [layers.Dense(4, name="scores")(y), *state])


def attention() -> keras.Model:
    x = series(12, 16)
    return keras.Model(x, layers.MultiHeadAttention(2, 8)(x, x))


def transformer() -> keras.Model:
    x = tokens()
    y = layers.Embedding(50, 16)(x)
    for _ in range(2):
        y = layers.LayerNormalization()(layers.Add()([y, layers.MultiHeadAttention(2, 8)(y, y)]))
        y = layers.LayerNormalization()(layers.Add()([y, layers.Dense(16)(layers.Dense(32, activation="gelu")(y))]))
    return keras.Model(x, layers.Dense(50, name="scores")(y))


def embedding() -> keras.Model:
    x = tokens()
    return keras.Model(x, layers.Dense(4, activation="softmax", name="scores")(layers.GlobalAveragePooling1D()(layers.Embedding(50, 8)(x))))


def resize() -> keras.Model:
    x = image()
    y = layers.Conv2D(4, 3, padding="same")(x)
    return keras.Model(x, [layers.UpSampling2D(2, name="near")(y), layers.Resizing(24, 40, name="fine")(y)])


def norm_softmax() -> keras.Model:
    x = series()
    return keras.Model(x, [layers.Softmax(axis=1)(layers.LayerNormalization()(x)), layers.Softmax()(x)])


def several() -> keras.Model:
    x, keep, scale = image(), keras.Input((6,), batch_size=1, dtype="bool", name="keep"), keras.Input((6,), batch_size=1, name="scale")
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, padding="same")(x))
    gated = keras.ops.where(keep, features, 0.0)
    return keras.Model({"image": x, "keep": keep, "scale": scale}, {"scaled": gated * scale, "above": keras.ops.cast(gated > 0, "int32")})


def unet() -> keras.Model:
    x = image()
    high = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    low = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.MaxPooling2D()(high))
    joined = layers.Concatenate()([high, layers.UpSampling2D(2, interpolation="bilinear")(low)])
    return keras.Model(x, layers.Conv2D(2, 3, padding="same", activation="sigmoid", name="mask")(joined))


def squeeze_excite() -> keras.Model:
    x = image()
    y = layers.Conv2D(8, 3, padding="same")(x)
    gate = layers.Conv2D(8, 1, activation="hard_sigmoid")(layers.Conv2D(2, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(y)))
    return classify(x, layers.Activation("hard_swish")(layers.Multiply()([y, gate])))


MODELS: dict[str, Callable[[], keras.Model]] = {
    "cnn": cnn,
    "depthwise": depthwise,
    "transposed": transposed,
    "conv1d": conv1d,
    "lstm": lambda: sequence("LSTM", False),
    "bilstm": lambda: sequence("LSTM", True),
    "gru": lambda: sequence("GRU", False),
    "bigru": lambda: sequence("GRU", True),
    "rnn_state": rnn_state,
    "long": lambda: sequence("LSTM", False, 400),
    "attention": attention,
    "transformer": transformer,
    "embedding": embedding,
    "resize": resize,
    "norm_softmax": norm_softmax,
    "several": several,
    "unet": unet,
    "squeeze_excite": squeeze_excite,
}

SERIES = tf.TensorSpec((1, 12, 6), tf.float32, "series")
PAIR = [tf.TensorSpec((1, 5), tf.int32, "a"), tf.TensorSpec((1, 5), tf.int32, "b")]

# What Keras has no layer for: functions of TensorFlow, as SavedModel and TFLite.
FUNCTIONS: dict[str, tuple[Callable[..., Any], list[tf.TensorSpec]]] = {
    "gather_scatter": (
        lambda series: {
            "picked": tf.gather(series, [3, 1, 1, 7], axis=1),
            "elements": tf.gather(series, [0, 2, 4], axis=2),
            "placed": tf.tensor_scatter_nd_update(series, [[0, 2], [0, 5]], tf.ones((2, 6))),
        },
        [SERIES],
    ),
    "integers": (lambda a, b: {"total": a * 3 + b, "even": (a * 3 + b) % 2 == 0}, PAIR),
    "if": (lambda series: {"found": tf.cond(tf.reduce_sum(series) > 0, lambda: tf.tanh(series), lambda: -series)}, [SERIES]),
    "loop": (
        lambda series, counts: {"found": tf.while_loop(lambda i, v: i < tf.reduce_max(counts), lambda i, v: (i + 1, tf.tanh(v)), (0, series))[1]},
        [SERIES, tf.TensorSpec((2,), tf.int32, "counts")],
    ),
}


def initialised(model: keras.Model) -> keras.Model:
    """No weight is zero or one any more: those hide mistakes."""
    keras.utils.set_random_seed(1)
    model.set_weights([weights + 0.1 * keras.random.normal(weights.shape).numpy() for weights in model.get_weights()])
    return model


def save(out: Path, family: str) -> None:
    if family in MODELS:
        model = initialised(MODELS[family]())
        model.save(out / f"{family}.keras")
        model.export(out / f"{family}.savedmodel", verbose=False)
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
    else:
        function, signature = FUNCTIONS[family]
        module = tf.Module()
        concrete = tf.function(function, input_signature=signature).get_concrete_function()
        tf.saved_model.save(module, str(out / f"{family}.savedmodel"), signatures=concrete)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    (out / f"{family}.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    for wanted in sys.argv[2:]:
        save(Path(sys.argv[1]), wanted)
