"""A hub in, the same network as a PyTorch module that can be trained out: its parameters bear the names of the hub's initializers.

One file a family of operators; `operators.py` is the table of them, `build.py` turns a hub into a torch.fx graph, `module.py` is what one trains.
"""

from edgekit.toolchains.torch.twin.module import Twin

__all__ = ["Twin"]
