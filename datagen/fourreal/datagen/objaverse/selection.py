"""Which objects are taken: filters on what is published, a split and a draw that depend on the uid alone."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from fourreal.datagen.objaverse.catalogue import Published
from fourreal.datagen.objaverse.licences import spdx_of
from fourreal.datagen.objaverse.settings import Selection
from fourreal.platform.errors import UserError


def is_held_out(uid: str, share: float) -> bool:
    """Whether an object is on the held-out side: by a hash of its uid, whatever else is there or is asked for."""
    return _number("split", uid) < share


def uid_filter(
    selection: Selection, listed: Collection[str] | None, lvis: Mapping[str, Collection[str]] | None
) -> Callable[[str], bool]:
    """The filters that need nothing but the uid. `lvis`: uids by category, None when no category is asked for."""
    allowed = None if listed is None else set(listed)
    if lvis is not None:
        uids = {uid for category in _categories(selection, lvis) for uid in lvis[category]}
        allowed = uids if allowed is None else allowed & uids

    def wanted(uid: str) -> bool:
        if allowed is not None and uid not in allowed:
            return False
        if selection.split == "all":
            return True
        return is_held_out(uid, selection.held_out_share) == (selection.split == "held-out")

    return wanted


def choose(objects: Iterable[Published], selection: Selection, seed: int) -> list[Published]:
    """The objects that pass the filters, in an order drawn by `seed`, the first `selection.sample` of them.

    An object's place in the order depends on its uid alone, so every sample begins with each smaller one. Raises
    UserError, with how many each filter refused, when none passes.
    """
    licences = {spdx_of(licence) for licence in selection.licences}
    tags = {tag.lower() for tag in selection.tags}
    refused: Counter[str] = Counter()
    chosen, seen_licences = [], set()
    for found in objects:
        seen_licences.add(found.licence)
        if found.animations is not None and found.animations < selection.min_animations:
            refused["have too few animations"] += 1
        elif licences and found.licence not in licences:
            refused["have another licence"] += 1
        elif tags and not tags & found.tags:
            refused["have none of the tags"] += 1
        else:
            chosen.append(found)
    if not chosen:
        reasons = ", ".join(f"{count} {reason}" for reason, count in refused.most_common())
        known = f" (there are {', '.join(sorted(filter(None, seen_licences)))})" if licences and seen_licences else ""
        raise UserError(
            f"no Objaverse object is left by the filters: {reasons or 'no uid passes'}{known}; widen --objaverse.*"
        )
    chosen.sort(key=lambda found: (_number(f"sample/{seed}", found.uid), found.uid))
    return chosen[: selection.sample]


def read_uids(path: str) -> list[str]:
    """Uids of a text file, one a line; `#` begins a comment, and a `.glb` at the end is as good. Raises UserError."""
    try:
        lines = Path(path).expanduser().read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--objaverse.uids-file {path} cannot be read: {error}") from None
    uids = [uid for line in lines if (uid := line.partition("#")[0].strip().removesuffix(".glb"))]
    if not uids:
        raise UserError(f"--objaverse.uids-file {path} holds no uid: write one a line")
    return uids


def _categories(selection: Selection, lvis: Mapping[str, Collection[str]]) -> list[str]:
    by_lower_case = {category.lower(): category for category in lvis}
    for asked in selection.lvis_categories:
        if asked.lower() not in by_lower_case:
            close = difflib.get_close_matches(asked.lower(), by_lower_case, n=1)
            hint = (
                f"did you mean {by_lower_case[close[0]]}?" if close else f"there are {len(lvis)}, such as {min(lvis)}"
            )
            raise UserError(f"LVIS has no category {asked!r}: {hint}")
    return [by_lower_case[asked.lower()] for asked in selection.lvis_categories]


def _number(purpose: str, uid: str) -> float:
    """Between 0 and 1."""
    return int.from_bytes(hashlib.sha256(f"{purpose}/{uid}".encode()).digest()[:8], "big") / 2.0**64
