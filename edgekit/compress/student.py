"""A hub in, a student of it out: the same graph at a share of its width everywhere.

`student:width50` keeps half of the channels of every group, the most important ones, with the teacher's weights for a start (as Sanh et al. 2019,
"DistilBERT", section 3, begin with layers of the teacher). Tuning then teaches it to answer as the teacher does (Hinton et al. 2015).
"""

from __future__ import annotations

from dataclasses import replace

from onnx import ModelProto

from edgekit.compress.channels import remove
from edgekit.compress.steps import share
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec
from edgekit.hub.graph import Refusal


def apply(model: ModelProto, spec: Spec, strength: str, wish: Wish) -> list[str]:
    """Cut the model to a share of its width, in place: `width50` keeps 50 percent of every group of channels.

    Raises:
        Refusal: no channel can go, or the width is not between 1 and 99 percent.
    """
    width = share(strength)
    if not 0 < width < 1:
        raise Refusal(f"student:{strength} is {'nothing' if width == 0 else 'the teacher itself'}: give a width from 1 to 99 percent")
    overrides = {layer: f"{1 - share(own):.0%}" for layer, own in wish.overrides.items()}  # widths too
    return remove(model, spec, 1 - width, replace(wish, per_layer=True, overrides=overrides))
