"""Ordinary videos: where they are, which clips of them there are, and their frames.

sources --> scan (sha256, duration, windows: the items of the plan)      in the driver
reader (decoding, cuts, the first good clip of a window) --> Clip        in the workers
"""
