"""`fourreal weights`: the published weights that metrics read.

fourreal weights list
fourreal weights fetch lpips clip
fourreal weights verify
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from fourreal.evaluation.pretrained import REGISTRY, NoWeights, WeightsStore
from fourreal.platform.config import command
from fourreal.platform.errors import UserError


@dataclass(frozen=True)
class Config:
    """Published weights that metrics read: list them, fetch them, verify what is there."""

    action: tyro.conf.Positional[Literal["list", "fetch", "verify"]]
    """list: what there is and where from; fetch: download what is missing; verify: compare every sha256."""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which weights (list, verify: default all)."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="DIR|s3://...")] = None
    """Folder of the weights (default: $FOURREAL_WEIGHTS, else ~/.cache/fourreal/weights)."""


def run(config: Config) -> int:
    """Do it; 1 when `verify` finds weights that cannot be used. Raises UserError for what cannot be done."""
    store = WeightsStore(config.weights, REGISTRY)
    names = config.names or tuple(REGISTRY)
    for name in names:
        store.weights(name)
    if config.action == "fetch":
        return _fetch(store, config.names)
    if config.action == "verify":
        return max(_verify(store, name) for name in names)
    print(f"in {store.uri}:")
    for name in names:
        _tell(store, name)
    return 0


def _fetch(store: WeightsStore, names: Sequence[str]) -> int:
    from fourreal.evaluation.pretrained.download import fetch

    if not names:
        raise UserError(f"`fourreal weights fetch` needs names: choose from {', '.join(REGISTRY)}")
    for name in names:
        print(f"{name} ({store.weights(name).licence}) to {store.storage(name).uri}")
        fetch(store, name)
    return 0


def _verify(store: WeightsStore, name: str) -> int:
    try:
        if len(store.missing(name)) == len(store.weights(name).files):
            print(f"{name}: not there")
            return 0
        _, digests = store.open(name)
    except NoWeights as error:
        print(f"{name}: REFUSED: {error}")
        return 1
    for file in store.files(name):
        checked = "as published" if file.sha256 else "as at its first use; nobody published one"
        print(f"{name}: {file.name} sha256 {digests[file.name]} ({checked})")
    return 0


def _tell(store: WeightsStore, name: str) -> None:
    weights = store.weights(name)
    try:
        missing = store.missing(name)
    except NoWeights as error:
        missing = [f"what its index names ({error})"]
    state = f"missing {', '.join(missing)}" if missing else "there"
    print(f"\n{name}: {state}\n  {weights.what}\n  licence: {weights.licence}")
    for file in weights.files:
        print(f"  {file.name}  sha256 {file.sha256 or 'not published'}\n    {file.url}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(Config, run, argv, prog="fourreal weights")


if __name__ == "__main__":
    raise SystemExit(main())
