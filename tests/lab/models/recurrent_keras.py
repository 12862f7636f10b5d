"""Recurrent Keras models in the shapes that people build them; some that a reader has to refuse.

<tensorflow toolchain's python> recurrent_keras.py DIR
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
from keras import layers


def save(out: Path, name: str, inputs: Any, outputs: Any) -> None:
    model = keras.Model(inputs, outputs)
    model.set_weights([weights + 0.2 * keras.random.normal(weights.shape).numpy() for weights in model.get_weights()])
    model.save(out / f"{name}.keras")


if __name__ == "__main__":
    out = Path(sys.argv[1])
    keras.utils.set_random_seed(0)
    x, tokens = keras.Input((6, 3), name="x"), keras.Input((6,), dtype="int32", name="tokens")
    save(out, "gru_reset_before", x, layers.GRU(4, reset_after=False, return_sequences=True)(x))
    save(out, "gru_no_bias", x, layers.GRU(4, use_bias=False)(x))
    save(out, "gru_backwards", x, layers.GRU(4, go_backwards=True, return_sequences=True)(x))
    save(out, "lstm_backwards", x, layers.LSTM(4, go_backwards=True)(x))
    save(out, "simple", x, layers.SimpleRNN(4, return_sequences=True)(x))
    save(out, "simple_relu", x, layers.SimpleRNN(4, activation="relu")(x))
    h, c = keras.Input((4,), name="h"), keras.Input((4,), name="c")
    save(out, "lstm_state", [x, h, c], layers.LSTM(4, return_sequences=True, return_state=True)(x, initial_state=[h, c]))
    save(out, "gru_state", [x, h], layers.GRU(4, return_sequences=True, return_state=True)(x, initial_state=[h]))
    save(out, "two_ways_sum", x, layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum")(x))
    save(out, "two_ways_state", x, layers.Bidirectional(layers.LSTM(4, return_sequences=True, return_state=True))(x))
    save(out, "masked", tokens, layers.LSTM(4)(layers.Embedding(9, 3, mask_zero=True)(tokens)))
    save(out, "masked_gru", tokens, layers.GRU(4, return_sequences=True)(layers.Embedding(9, 3, mask_zero=True)(tokens)))
    save(out, "stacked_cells", x, layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)])(x))
    frames = keras.Input((4, 5, 5, 2), name="frames")
    save(out, "conv_lstm", frames, layers.ConvLSTM2D(3, 3, padding="same")(frames))
    save(out, "in_time", frames, layers.GRU(3)(layers.TimeDistributed(layers.Flatten())(frames)))
    long = keras.Input((300, 3), name="x")
    save(out, "long_gru", long, layers.Bidirectional(layers.GRU(4, return_sequences=True))(long))
    fixed = keras.Input((6, 3), batch_size=1, name="x")
    save(out, "stateful", fixed, layers.LSTM(4, stateful=True)(fixed))
