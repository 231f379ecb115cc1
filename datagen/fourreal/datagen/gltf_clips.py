"""Which animations of a glTF file are alternatives, and which are parts of one motion; read without Blender.

Animations on one target are alternatives (Fox: Survey, Walk, Run). Animations on disjoint targets are the parts of
one motion, exported apart, and play together.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from typing import Any

from fourreal.datagen.gltf_file import split_gltf

_NAME_BYTES = 63


def playing_together(targets: Mapping[str, Set[Hashable]], clip: str) -> list[str]:
    """`clip`, and the others that play with it: each in turn that moves nothing moved by those before it.

    `targets` holds what each clip moves, in the order of preference.
    """
    playing: list[str] = []
    moved: set[Hashable] = set()
    for name in (clip, *targets):
        if moved.isdisjoint(targets[name]):
            playing.append(name)
            moved |= targets[name]
    return playing


def clips_of(data: bytes) -> tuple[str, ...] | None:
    """One name for each motion that a .glb or .gltf file offers, longest first; None when it cannot be read.

    The names are those that Blender's importer gives. Of animations that always play together only the longest is
    named.
    """
    try:
        document = split_gltf(data)[0]
        durations_s, targets = _animations(document, _skeletons(document))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError):
        return None
    ordered = {name: targets[name] for name in sorted(targets, key=lambda name: (-durations_s[name], name))}
    found: dict[frozenset[str], str] = {}
    for name in ordered:
        found.setdefault(frozenset(playing_together(ordered, name)), name)
    return tuple(found.values())


def _animations(
    document: dict[str, Any], skeletons: Mapping[int, int]
) -> tuple[dict[str, float], dict[str, set[Hashable]]]:
    """Duration and moved targets of each animation, by name; those that move nothing are left out."""
    durations_s: dict[str, float] = {}
    targets: dict[str, set[Hashable]] = {}
    taken: set[str] = set()
    for number, animation in enumerate(document.get("animations", [])):
        name = _blender_name(animation.get("name") or f"Anim_{number}", taken)
        taken.add(name)
        for channel in animation["channels"]:
            target = channel["target"]
            node = target.get("node")
            moved = str(target.get("extensions")) if node is None else skeletons.get(node, node)
            targets.setdefault(name, set()).add(moved)
        inputs = [document["accessors"][sampler["input"]] for sampler in animation["samplers"]]
        span_s = [float(times[end][0]) for times in inputs for end in ("min", "max")]
        durations_s[name] = max(span_s, default=0.0) - min(span_s, default=0.0)
    return durations_s, targets


def _skeletons(document: dict[str, Any]) -> dict[int, int]:
    """For each joint the number that stands for its skeleton; skins that share joints are one skeleton."""
    found: dict[int, int] = {}
    for skin in document.get("skins", []):
        joints = skin["joints"]
        merged = {found[joint] for joint in joints if joint in found}
        stands = min([*merged, *joints])
        found |= dict.fromkeys([*joints, *(j for j, s in found.items() if s in merged)], stands)
    return found


def _blender_name(wanted: str, taken: Set[str]) -> str:
    """As `BlenderGlTF.find_unused_name` does it: at most 63 bytes, with a number where a name is taken."""
    stem, suffix, count = wanted[:_NAME_BYTES], "", 0
    while True:
        while len((stem + suffix).encode()) > _NAME_BYTES:
            stem = stem[:-1]
        if stem + suffix not in taken:
            return stem + suffix
        count += 1
        suffix = f".{count:03d}"
