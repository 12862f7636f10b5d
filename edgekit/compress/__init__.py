"""Hub in, smaller hub out: one file a technique; numpy and onnx only, as they run in a worker.

Each file has `apply(model, spec, strength, wish) -> list[str]`: it changes `model` (a hub) and `spec` (see `edgekit.hub.compressed`) in place
and gives notes. `edgekit.compress.steps` says which file a step of a recipe belongs to.
"""
