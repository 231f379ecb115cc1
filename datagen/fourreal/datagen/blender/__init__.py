"""Blender in a process of its own, and the scene it is told to render, as plain data.

Everything here but the subpackage `inside` runs in the job's process and never imports `bpy`.
"""
