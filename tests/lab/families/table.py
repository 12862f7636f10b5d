"""The names of the families, the sources and the formats; why a source has no model of a family."""

from __future__ import annotations

FAMILIES = {
    "cnn": "CNN",
    "depthwise": "depthwise CNN",
    "transposed": "transposed convolution",
    "conv1d": "1-D CNN",
    "lstm": "LSTM",
    "bilstm": "bidirectional LSTM",
    "gru": "GRU",
    "bigru": "bidirectional GRU",
    "rnn_state": "state as inputs and outputs",
    "long": "LSTM over 400 steps",
    "attention": "attention",
    "transformer": "small transformer",
    "embedding": "embedding",
    "resize": "resize",
    "gather_scatter": "gather and scatter",
    "norm_softmax": "layer norm and softmax",
    "several": "several inputs and outputs",
    "integers": "integer arithmetic",
    "if": "If",
    "loop": "Loop",
    "unet": "UNet-like",
    "squeeze_excite": "squeeze and excite",
}
SOURCES = {"onnx": "ONNX", "keras": "Keras", "savedmodel": "SavedModel", "pt2": ".pt2", "tflite": "TFLite"}
FORMATS = {"tflite": "TFLite", "coreml": "Core ML", "onnx": "ONNX"}

NO_MODEL = {
    ("keras", "if"): "no Keras layer decides at run time",
    ("keras", "loop"): "no Keras layer loops by a count given at run time",
    ("keras", "gather_scatter"): "no Keras layer scatters",
    ("keras", "integers"): "no Keras layer computes on integers alone",
}
"""(source, family) → why there is none."""

MUST = tuple((family, source) for family in ("cnn", "depthwise", "transposed", "lstm", "gru", "attention", "embedding") for source in ("onnx", "keras", "pt2"))
"""Verified in all three formats."""
