"""How compressed weights are stored small in a Core ML package: what they are on the hub, the smallest form of each, and that form in MIL."""
