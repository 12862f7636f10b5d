"""A Keras model in; the same out, its layers' operators in every graph called by the names that the layers have in Keras.

Keras opens the scope of a layer's name twice, to build it and to call it, and TensorFlow numbers the second: what is computed by `conv2d` would go
by `conv2d_1`, which is the name of the next layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def name_as_in_keras(model: Any) -> None:
    """Have each layer open its scope by its whole name, which TensorFlow takes as it is: `conv2d`, `encoder/dense` within a model in the model.

    The outermost model's own name is left out, as in `model.get_layer`. Layers of one name in one place are still told apart, by their operators.
    """
    for layer in model._flatten_layers():
        layer._open_name_scope = opening(layer, layer is model, layer._open_name_scope)


def opening(layer: Any, outermost: bool, opened: Callable[[], Any]) -> Callable[[], Any]:
    """Keras' way to open a layer's scope, with TensorFlow's part of it replaced."""

    def scope() -> Any:
        found = opened()
        found._tf_name_scope = tf.name_scope("" if outermost else whole(tf.get_current_name_scope(), layer.name))
        return found

    return scope


def whole(around: str, name: str) -> str:
    """The name of a scope in another as TensorFlow allows it, with the `/` at the end that keeps it from being numbered.

    Other characters than these become `_`, and what may not stand first has a dot before it.
    """
    legal = re.sub(r"[^A-Za-z0-9_.>-]", "_", name)
    return f"{around}/{legal}/" if around else f"{legal if legal[0].isalnum() else '.' + legal}/"
