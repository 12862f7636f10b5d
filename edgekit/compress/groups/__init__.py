"""A hub in, its channels in dependency groups out: which filters, neurons, units and heads stand or fall together; and the hub without some of them."""

from __future__ import annotations

from edgekit.compress.groups.found import Group, classes, groups
from edgekit.compress.groups.rules import trace
from edgekit.compress.groups.slicing import cut
from edgekit.compress.groups.tracing import Trace

__all__ = ["Group", "Trace", "classes", "cut", "groups", "trace"]
