"""The families of networks that edgekit converts, each in the words of ONNX, Keras and torch; and what comes of each cell of the matrix."""
