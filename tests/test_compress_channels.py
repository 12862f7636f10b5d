"""Whole channels removed: the smaller hub computes what the old one would if nothing read them; what cannot go is named."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgekit.compress import channels, student
from edgekit.compress.groups import Group, Trace, classes, groups, trace
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Grid, Palette, Sparse, Spec, Tensor, floats, integers
from edgekit.hub.figures import figures
from edgekit.hub.graph import Refusal, array, constants
from edgekit.toolchains.catalog import toolchain
from tests.lab import channel_cases
from tests.lab.channel_cases import CASES, Net
from tests.lab.convert import do, verified
from tests.lab.onnx_cases import inputs_for, outputs_for, save

SOAK = bool(os.environ.get("EDGEKIT_SOAK"))


def copy(hub: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(hub)
    return made


def stays(hub: onnx.ModelProto, smaller: onnx.ModelProto) -> tuple[Trace, dict[tuple[str, int], np.ndarray]]:
    """Which slices of the initializers were kept: found by their values, which are all different."""
    traced, kept = trace(hub), {}
    old, new = constants(hub.graph), constants(smaller.graph)
    for (name, axis), slot in traced.slots.items():
        if slot.makes:
            before, after = (np.moveaxis(array(tensors[name]), axis, 0) for tensors in (old, new))
            kept[name, axis] = np.isin(np.arange(len(before)), matched(before, after))
    return traced, kept


def matched(before: np.ndarray, after: np.ndarray) -> list[int]:
    """Places of the slices of `after` among those of `before`, in order, where slices were shortened too: by their largest overlap."""
    places, start = [], 0
    for row in after.reshape(len(after), -1):
        start = next(place for place in range(start, len(before)) if np.isin(row, before[place]).all())
        places.append(start)
        start += 1
    return places


def with_nothing_reading(hub: onnx.ModelProto, smaller: onnx.ModelProto) -> onnx.ModelProto:
    """The hub with zeros in place of all weights that read (multiply, add to) channels that the smaller one does not have.

    Channels that no weights multiply (of Q and K, which multiply each other) are made zero themselves.
    """
    traced, kept = stays(hub, smaller)
    label = classes(traced.count, traced.ties)
    gone = np.zeros(traced.count, bool)
    for place, mask in kept.items():
        gone[label[traced.slots[place].channels[~mask]]] = True
    read = np.zeros(traced.count, bool)
    for (name, _), slot in traced.slots.items():
        if not slot.makes and len(traced.shapes[name]) > 1:
            read[label[slot.channels]] = True
    zeroed = copy(hub)
    stored = constants(zeroed.graph)
    for (name, axis), slot in traced.slots.items():
        if not slot.makes or not read[label[slot.channels]].any():
            values = array(stored[name]).copy()
            np.moveaxis(values, axis, 0)[gone[label[slot.channels]]] = 0
            stored[name].CopyFrom(numpy_helper.from_array(values, name))
    return zeroed


def found_in(hub: onnx.ModelProto) -> list[Group]:
    traced = trace(hub)
    return groups(traced, classes(traced.count, traced.ties))


def cut(hub: onnx.ModelProto, percent: str, **wish: object) -> tuple[onnx.ModelProto, list[str]]:
    smaller = copy(hub)
    notes = channels.apply(smaller, Spec(), percent, Wish(**wish))  # type: ignore[arg-type]
    onnx.checker.check_model(smaller, full_check=True)
    return smaller, notes


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"unet"}))  # ONNX's reference evaluator does not run a ConvTranspose of groups
def test_a_cut_is_what_zeros_in_the_readers_are(name: str) -> None:
    hub = CASES[name](1)
    smaller, _ = cut(hub, "50", per_layer=True)
    assert figures(smaller)["parameters"] < 0.75 * figures(hub)["parameters"]
    assert figures(smaller)["macs"] < figures(hub)["macs"]
    given = inputs_for(hub, 1)
    np.testing.assert_allclose(outputs_for(smaller, given)[0], outputs_for(with_nothing_reading(hub, smaller), given)[0], atol=1e-5)


COMPARE = """
import sys, numpy as np, onnx, onnxruntime
from pathlib import Path
for one in sorted(Path(sys.argv[1]).glob("*.smaller.onnx")):
    rows = []
    for path in (one, one.with_name(one.name.replace("smaller", "zeroed"))):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        given = {value.name: np.random.default_rng(0).normal(size=value.shape).astype(np.float32) for value in session.get_inputs()}
        rows.append(session.run(None, given)[0])
    print(one.name, float(np.abs(rows[0] - rows[1]).max() / max(1, np.abs(rows[1]).max())))
"""


@pytest.mark.toolchain
def test_random_networks_in_onnx_runtime(tmp_path: Path) -> None:
    """Networks of random parts, at three strengths, cut as a whole network and layer by layer."""
    done = 0
    made = [*CASES.values(), *[channel_cases.random] * (400 if SOAK else 24)]
    for seed, build in enumerate(made):
        hub = build(seed)
        percent = ("30", "50", "80")[seed % 3]
        if all(group.frozen for group in found_in(hub)):  # a shuffle of everything
            continue
        smaller, _ = cut(hub, percent, per_layer=seed % 2 == 0)
        save(smaller, tmp_path / f"{seed}.smaller.onnx")
        save(with_nothing_reading(hub, smaller), tmp_path / f"{seed}.zeroed.onnx")
        done += 1
    ran = subprocess.run([toolchain("convert").python, "-c", COMPARE, tmp_path], capture_output=True, text=True, check=True)
    apart = [float(line.split()[1]) for line in ran.stdout.splitlines()]
    assert len(apart) == done > 0.9 * len(made)
    assert max(apart) < 1e-4, ran.stdout


@pytest.mark.toolchain
@pytest.mark.parametrize("format_", ["tflite", "coreml"])
def test_a_cut_network_is_written(tmp_path: Path, format_: str) -> None:
    """Splits, joins, a shuffle, sums and transposed convolutions of fewer channels."""
    smaller, _ = cut(channel_cases.random(1), "50")
    folder = do(f"write_{format_}", {"hub": save(smaller, tmp_path / "hub.onnx")}, {"precision": "fp32"}).folder
    found = verified(tmp_path, smaller, next(folder.glob("model.*")), format_)
    assert found["parity"]["max_abs"] < 1e-4


def test_a_transformer_is_the_narrower_transformer() -> None:
    """Where LayerNormalization runs over fewer channels, the cut network is the one built narrow, with the same slices of the weights."""
    hub = channel_cases.transformer(3)
    smaller, notes = cut(hub, "50", per_layer=True)
    narrow = channel_cases.transformer(3, heads=2, width=8)
    shapes = {tensor.name: list(tensor.dims) for tensor in narrow.graph.initializer}
    weights = constants(smaller.graph)
    for tensor in narrow.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            assert list(weights[tensor.name].dims) == shapes[tensor.name]
            tensor.CopyFrom(weights[tensor.name])
    tokens = [np.arange(6, dtype=np.float32).reshape(1, 1, 6)]
    np.testing.assert_allclose(outputs_for(smaller, tokens)[0], outputs_for(narrow, tokens)[0], atol=1e-6)
    assert any("normalise over fewer channels" in note for note in notes)


def test_heads_go_whole() -> None:
    smaller, notes = cut(channel_cases.attention(0), "50", per_layer=True)
    assert "w2 4 → 2" in notes[1]
    assert [list(tensor.dims) for tensor in smaller.graph.initializer if tensor.name in ("w2", "w5", "w8")] == [[6, 10]] * 3
    assert "w2 4 → 2" in cut(channel_cases.stacked_attention(0), "50", per_layer=True)[1][1]


def test_the_least_read_go_first() -> None:
    """One layer of four neurons, of which the next layer reads 1 and 3 most."""
    net = Net()
    hidden = net.add("Relu", net.gemm("x", 3, 4))
    hub = net.hub({"x": [1, 3]}, net.gemm(hidden, 4, 2))
    readers = constants(hub.graph)["w2"]
    readers.CopyFrom(numpy_helper.from_array(np.array([[0.1, 2, 0.2, 3], [0, 2, 0.1, 3]], np.float32), "w2"))
    smaller, _ = cut(hub, "50")
    np.testing.assert_array_equal(array(constants(smaller.graph)["w2"]), [[2, 3], [2, 3]])
    scores = {"w0": np.array([4, 1, 3, 2], np.float32)}
    smaller, _ = cut(hub, "50", importance=scores)
    np.testing.assert_array_equal(array(constants(smaller.graph)["w2"]), np.array([[0.1, 0.2], [0, 0.1]], np.float32))


def test_scores_for_a_part_of_the_network_are_left_out() -> None:
    hub = channel_cases.flattened()
    _, notes = cut(hub, "50", importance={"w0": np.arange(6, dtype=np.float32)})
    assert "there are no scores for w2" in notes[-1]


def test_a_part_that_is_split_off_keeps_a_channel() -> None:
    """The channels that matter least are all of one part."""
    net = Net()
    few, many = net.several("Split", net.conv("x", 3, 8), net.integers(2, 6), outputs=2, axis=1)
    hub = net.hub(channel_cases.IMAGE, net.classify(net.add("Concat", net.add("Relu", few), many, axis=1), 8))
    weights = constants(hub.graph)["w3"]
    weights.CopyFrom(numpy_helper.from_array(array(weights) * np.array([0.01] * 2 + [1] * 6, np.float32), "w3"))
    smaller, notes = cut(hub, "25", per_layer=True)
    assert notes[1] == "w0 8 → 7"
    assert outputs_for(smaller, inputs_for(hub, 1))[0].shape == (1, 1, 5)


def test_overrides_and_layers_left_alone() -> None:
    hub = channel_cases.flattened()
    stem, hidden = hub.graph.node[0].name, "w2"
    smaller, notes = cut(hub, "50", overrides={hidden: "25"}, skip=frozenset({stem}))
    assert notes[1] == "w2 14 → 10"
    assert constants(smaller.graph)["w0"] == constants(hub.graph)["w0"]
    _, notes = cut(hub, "50", skip=frozenset({"w4"}))  # neither its outputs nor what it reads
    assert notes[1] == "w0 6 → 3"
    with pytest.raises(Refusal, match="left alone"):
        cut(hub, "50", skip=frozenset({hidden}))
    with pytest.raises(Refusal, match="every layer to nothing"):
        cut(hub, "50", overrides={hidden: "100"})


def test_strengths_that_are_rounded_or_decided_elsewhere_are_told() -> None:
    net = Net()
    stem = net.add("Relu", net.conv("x", 3, 64))
    hub = net.hub(channel_cases.IMAGE, net.classify(net.conv(net.conv(stem, 64, 64, group=64), 64, 12, 1), 12))
    stem_name, deep, last = "w0", "w2", "w3"
    assert cut(hub, "50")[1][1].startswith("w0 64 → ")
    runs = "channels stay in runs that kernels compute at once"
    _, notes = cut(hub, "50", overrides={stem_name: "10", last: "25"})
    assert notes[2] == f"{stem_name} keeps 64 of 64, where channels10 would leave 58: {runs}"
    tied = f"{stem_name}, {deep} have the same channels, so that channels{{}} of {{}} holds for all of them"
    assert tied.format("25", deep) in cut(hub, "50", overrides={deep: "25"})[1]
    assert tied.format("25", stem_name) in cut(hub, "50", overrides={stem_name: "25", deep: "50"})[1]
    assert not any(runs in note or "have the same" in note for note in cut(hub, "50", overrides={stem_name: "25"})[1])


def test_layers_that_stay_whole_with_one_that_is_left_alone_are_named() -> None:
    hub = channel_cases.flattened()
    _, notes = cut(hub, "50", skip=frozenset({"w4"}))
    assert "w2: channels stay, as w4 shares them and is to be left alone" in notes
    assert not any("left alone" in note for note in cut(hub, "50")[1])


def test_every_group_keeps_some_and_whole_tiles() -> None:
    net = Net()
    wide = net.add("Relu", net.conv(net.add("Relu", net.conv("x", 3, 3)), 3, 128))
    smaller, notes = cut(net.hub(channel_cases.IMAGE, net.classify(wide, 128)), "99")
    assert notes[1] == "w0 3 → 1, w2 128 → 16"
    assert figures(smaller)["macs"] > 0


def test_half_of_the_channels_is_a_quarter_to_a_half_of_the_network() -> None:
    hub = channel_cases.classifier()
    before = figures(hub)
    for per_layer in (False, True):
        after = figures(cut(hub, "50", per_layer=per_layer)[0])
        assert after["parameters"] <= 0.4 * before["parameters"]
        assert after["macs"] <= 0.5 * before["macs"]


def test_what_cannot_go_is_named() -> None:
    net = Net()
    hub = net.hub({"x": [1, 4]}, net.gemm("x", 4, 6))
    with pytest.raises(Refusal, match="no channel of the model can be removed: they reach the model's output 'y'"):
        cut(hub, "50")
    net = Net()
    summed = net.add("CumSum", net.linear("x", 4, 6), net.integers(1))
    with pytest.raises(Refusal, match=r"CumSum 'CumSum_2' is not cut through"):
        cut(net.hub({"x": [1, 4]}, net.gemm(summed, 6, 3)), "50")
    net = Net()
    likely = net.add("Softmax", net.conv("x", 3, 8), axis=1)
    with pytest.raises(Refusal, match="Softmax 'Softmax_1' runs across them"):
        cut(net.hub(channel_cases.IMAGE, net.classify(likely, 8)), "50")
    net = Net()
    with pytest.raises(Refusal, match="Add 'Add_1' joins them with what is computed without weights"):
        cut(net.hub(channel_cases.IMAGE, net.classify(net.add("Add", net.conv("x", 3, 3), "x"), 3)), "50")
    net = Net()
    thin = net.add("Slice", net.conv("x", 3, 8), net.integers(0), net.integers(8), net.integers(1), net.integers(2))
    with pytest.raises(Refusal, match="Slice 'Slice_1' takes one in 2"):
        cut(net.hub(channel_cases.IMAGE, net.classify(thin, 4)), "50")
    with pytest.raises(Refusal, match="too few to remove"):
        cut(channel_cases.flattened(), "1", per_layer=True)


def test_weights_read_by_something_unknown_stay_whole() -> None:
    net = Net()
    hidden = net.linear("x", 4, 6)
    hub = net.hub({"x": [1, 4]}, net.add("Concat", net.linear(hidden, 6, 6), net.add("CumSum", "w0", net.integers(0)), axis=0))
    frozen = {group.name: group.frozen for group in found_in(hub)}
    assert "read whole" in str(frozen["w0"])


def test_what_is_known_of_weights_is_cut_with_them() -> None:
    """Scales go with their slices, so that the integers are those that were; what a cut breaks up is forgotten, with a note."""
    hub = channel_cases.flattened()
    weights = constants(hub.graph)
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.01, 0.02, 6).astype(np.float32)
    whole = rng.integers(-127, 128, (6, 3, 3, 3))
    conv = Grid(8, tuple(scales.tolist()), (0,) * 6, axis=0)
    blocks = Grid(4, tuple(np.full(14 * 24, 0.5).tolist()), (0,) * 14 * 24, axis=0, block=4)
    weights["w0"].CopyFrom(numpy_helper.from_array(floats(whole, conv), "w0"))
    spec = Spec(
        {"w0": Tensor(grid=conv, palette=Palette(4, axis=0, group=2)), "w2": Tensor(Sparse("2:4"), grid=blocks), "w4": Tensor(Sparse("block4"))},
        {hub.graph.node[0].output[0]: Grid(8, tuple(scales.tolist()), (1, 2, 3, 4, 5, 6), axis=1, signed=False)},
    )
    notes = channels.apply(hub, spec, "50", Wish(per_layer=True))
    grid = spec.tensors["w0"].grid
    assert grid is not None
    assert len(grid.scale) == 3
    kept = [tuple(scales.tolist()).index(scale) for scale in grid.scale]
    np.testing.assert_array_equal(integers(array(constants(hub.graph)["w0"]), grid), whole[kept])
    assert spec.activations[hub.graph.node[0].output[0]].zero_point == tuple(place + 1 for place in kept)
    assert spec.tensors["w0"].palette == Palette(4, axis=0, group=1)
    assert spec.tensors["w2"] == Tensor(Sparse())
    assert spec.tensors["w4"].sparse == Sparse("block4")
    assert sum(note.startswith("w2: its") for note in notes) == 2


def test_channels_that_are_the_same_for_every_input_go_first_and_change_nothing() -> None:
    """Filters and a neuron with weights of zero: what their biases give goes on in the biases behind them, through activations and poolings."""
    net = Net(5)
    stem = net.add("MaxPool", net.add("Sigmoid", net.conv("x", 3, 8)), kernel_shape=[2, 2], strides=[2, 2])
    inner = net.add("Conv", stem, net.weights(8, 8, 3, 3), kernel_shape=[3, 3])
    hidden = net.add("Clip", net.gemm(net.add("Flatten", net.add("HardSwish", inner)), 32, 8), net.constant(np.float32(-0.25)), net.constant(np.float32(6)))
    hub = net.hub(channel_cases.IMAGE, net.gemm(hidden, 8, 3))
    for name in ("w0", "w2", "w3"):
        weights = constants(hub.graph)[name]
        values = array(weights).copy()
        values[2:6] = 0
        weights.CopyFrom(numpy_helper.from_array(values, name))
    smaller, notes = cut(hub, "50", per_layer=True)
    assert notes[1] == "w0 8 → 4, w2 8 → 4, w3 8 → 4"
    assert "the same for every input" in "".join(notes)
    given = inputs_for(hub, 2)
    np.testing.assert_allclose(outputs_for(smaller, given)[0], outputs_for(hub, given)[0], atol=1e-6)


def test_padding_makes_a_constant_channel_matter_at_the_border() -> None:
    net = Net(5)
    stem = net.conv("x", 3, 8)
    hub = net.hub(channel_cases.IMAGE, net.classify(net.conv(stem, 8, 8), 8))
    constants(hub.graph)["w0"].CopyFrom(numpy_helper.from_array(np.zeros((8, 3, 3, 3), np.float32), "w0"))
    _, notes = cut(hub, "50")
    assert "the same for every input" not in "".join(notes)


def test_a_student_has_the_width_asked_for() -> None:
    hub = channel_cases.classifier()
    cut_down = copy(hub)
    notes = student.apply(cut_down, Spec(), "width25", Wish(overrides={"w4": "width75"}))
    assert notes[1] == "w0 32 → 8, w2 64 → 16, w4 128 → 96"
    assert [value.SerializeToString() for value in cut_down.graph.output] == [value.SerializeToString() for value in hub.graph.output]


def test_what_a_floor_keeps_is_told() -> None:
    _, notes = cut(channel_cases.classifier(), "99")
    assert "w0 32 → 8, w2 64 → 16, w4 128 → 16" in notes
    assert "99% were asked for and 82.1% went: at least 8 channels of each layer stay, in runs that kernels compute at once" in notes
    _, notes = cut(channel_cases.classifier(), "50")
    assert not any("were asked for" in note for note in notes)
