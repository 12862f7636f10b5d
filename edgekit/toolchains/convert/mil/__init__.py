"""An ML Program in, its values out: evaluates what an .mlpackage says, on any system, op by op.

It checks the program, not Apple's runtime: what it gives is `evaluated`, never `measured`.
"""
