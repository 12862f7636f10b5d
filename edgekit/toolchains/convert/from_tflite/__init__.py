"""The operators of TFLite in ONNX's words: one file for each family, each with a table `RULES` (operator → rule)."""
