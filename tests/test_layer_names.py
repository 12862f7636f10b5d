"""What a layer is called: as its author would look for it, the same everywhere, and never as another one."""

from __future__ import annotations

import pytest

from edgekit.compress.layer_names import layer_names


@pytest.mark.parametrize(
    ("node", "kind", "weight", "expected"),
    [
        ("node_Conv_36", "Conv", "features.3.0.weight", "features.3.0"),
        ("node_linear_1", "Gemm", "classifier.3.weight", "classifier.3"),
        ("/features/3/Conv", "Conv", "onnx::Conv_123", "features/3"),
        ("/encoder/query/MatMul", "MatMul", "onnx::MatMul_4321", "encoder/query"),
        ("Conv__85", "Conv", "model_1/conv2d_1/convolution/merged_input:0", "model_1/conv2d_1"),
        ("model/dense/MatMul", "Gemm", "model/dense/Cast/ReadVariableOp:0/transposed", "model/dense"),
        ("model/block_1/depthwise", "Conv", "const_fold_opt__110", "model/block_1"),
        ("model/bn_1/batchnorm/mul_1:0", "Conv", "model/bn_1/batchnorm/mul_1:0_weight", "model/bn_1"),
        ("model/conv2d_3/BiasAdd;model/conv2d_3/Conv2D", "Conv", "const_fold_opt__702", "model/conv2d_3"),
        ("blocks.0.query", "Gemm", "blocks.0.query_weight", "blocks.0.query"),
        ("first", "Conv", "w1", "first"),
        ("conv1", "Conv", "w1", "conv1"),
        ("Gemm_3", "Gemm", "w1", "w1"),
        ("Gemm_3", "Gemm", "17", "Gemm_3"),
        ("Conv__236", "Conv", "Conv1/convolution/merged_input:0", "Conv1"),
        ("conv1d/convolution", "Conv", "conv1d/convolution/ExpandDims_1:0", "conv1d"),
        ("deep/depthwise", "Conv", "deep_bn/batchnorm/mul_1:0_weight", "deep"),
        ("/conv1/Conv", "Conv", "/bn1/BatchNormalization_output_0_weight", "conv1"),
        ("attention/query/MatMul", "Gemm", "attention/query/Reshape:0", "attention/query"),
        ("._hidden/MatMul", "Gemm", "._hidden/Cast/ReadVariableOp:0", "_hidden"),
        ("node_Conv_36.u", "Conv", "features.3.weight.u", "features.3.u"),
    ],
)
def test_a_layer_is_called_by_its_place_in_the_network(node: str, kind: str, weight: str, expected: str) -> None:
    assert layer_names([(node, kind, weight, "")]) == [expected]


def test_what_two_layers_could_be_called_is_the_name_of_neither() -> None:
    depthwise, pointwise = ("model/twice/depthwise", "Conv", "const_fold_opt__1", ""), ("Conv__9", "Conv", "model/twice/merged_input:0", "")
    assert layer_names([depthwise, pointwise]) == ["model/twice/depthwise", "Conv__9"]
    assert layer_names([depthwise]) == ["model/twice"]


def test_both_weights_of_a_recurrent_layer_have_names() -> None:
    assert layer_names([("/lstm/LSTM", "LSTM", "onnx::LSTM_7", "W"), ("/lstm/LSTM", "LSTM", "onnx::LSTM_8", "R")]) == ["lstm.W", "lstm.R"]
    loop = "lstm/while_loop"
    assert layer_names([(loop, "LSTM", f"{loop}/W", "W"), (loop, "LSTM", f"{loop}/R", "R")]) == ["lstm.W", "lstm.R"]


def test_layers_that_share_their_weights_share_their_name() -> None:
    assert layer_names([("node_1", "Gemm", "tied.weight", ""), ("node_2", "Gemm", "tied.weight", "")]) == ["tied", "tied"]
