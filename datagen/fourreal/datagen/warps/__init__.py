"""Clips into pseudo-4D grids.

paths --> placement (which part of the source) --> layers (parallax only) --> resampling --> synthesis --> augment
"""
