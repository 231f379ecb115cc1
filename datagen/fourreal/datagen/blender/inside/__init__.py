"""The Blender child: the only code that imports `bpy`, run as `python -m fourreal.datagen.blender.inside`.

Blender is GPL-3.0. It stays in this process, and nothing outside this package imports it.
"""
