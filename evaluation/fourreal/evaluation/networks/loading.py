"""Networks for metrics: loaded when first asked for, shared, and unavailable with the sentence that mends it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from fourreal.evaluation.pretrained import NoWeights, WeightsStore

if TYPE_CHECKING:
    from fourreal.evaluation.networks.clip import CLIP
    from fourreal.evaluation.networks.lpips import LPIPS

Frames = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]
ResultT = TypeVar("ResultT")
Device = Literal["cpu", "cuda"]

_REMEMBERED = 256
"""Feature arrays kept: one grid's, of all methods, for metrics that share a network."""


class Networks:
    """The networks over one store of weights. Every method raises NoWeights where a network cannot be had."""

    def __init__(self, store: WeightsStore | None = None, device: Device = "cpu") -> None:
        self.store = store or WeightsStore()
        self.device = device
        self.sha256: dict[str, dict[str, str]] = {}
        """Of every file behind the networks loaded so far, by weights and file."""
        self._loaded: dict[str, Any] = {}
        self._features: OrderedDict[tuple[str, bytes], Features] = OrderedDict()

    def inception(self, frames: Frames) -> Features:
        """See `torchscript.Inception`."""
        return self._remembered("inception", frames, self._load("inception", self._make_inception))

    def i3d(self, video: Frames) -> Features:
        """See `torchscript.I3D`."""
        return self._remembered("i3d", video, self._load("i3d", self._make_i3d))

    def clip_frames(self, frames: Frames) -> Features:
        """See `CLIP.frames`."""
        return self._remembered("clip", frames, self._clip.frames)

    def clip_text(self, text: str) -> Features:
        """See `CLIP.text`."""
        return self._clip.text(text)

    @property
    def lpips(self) -> LPIPS:
        """Distances of images."""
        network: LPIPS = self._load("lpips", self._make_lpips)
        return network

    @property
    def _clip(self) -> CLIP:
        network: CLIP = self._load("clip", self._make_clip)
        return network

    def _load(self, name: str, make: Callable[[Path], ResultT]) -> ResultT:
        if name not in self._loaded:
            try:
                self._loaded[name] = self._open(name, make)
            except NoWeights as error:
                self._loaded[name] = error  # asked again for every grid: the files are looked at once
        found = self._loaded[name]
        if isinstance(found, NoWeights):
            raise found
        network: ResultT = found
        return network

    def _open(self, name: str, make: Callable[[Path], ResultT]) -> ResultT:
        folder, digests = self.store.open(name)
        try:
            self._check_device()
            network = make(folder)
        except ModuleNotFoundError as error:
            raise NoWeights(f"the package {error.name} is missing: pip install 'fourreal[eval]'") from None
        except NoWeights:
            raise
        except Exception as error:
            text = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise NoWeights(f"the weights {name!r} in {folder} cannot be loaded: {text}") from error
        self.sha256[name] = digests
        return network

    def _check_device(self) -> None:
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise NoWeights("this machine has no CUDA device: use --device cpu")

    def _remembered(self, name: str, frames: Frames, features: Callable[[Frames], Features]) -> Features:
        """`features(frames)`, or what it gave for the same pixels a moment ago."""
        digest = hashlib.blake2b(str(frames.shape).encode())
        digest.update(np.ascontiguousarray(frames).data)
        key = (name, digest.digest())
        if key not in self._features:
            self._features[key] = features(frames)
            while len(self._features) > _REMEMBERED:
                self._features.popitem(last=False)
        self._features.move_to_end(key)
        return self._features[key]

    def _make_inception(self, folder: Path) -> Callable[[Frames], Features]:
        from fourreal.evaluation.networks.torchscript import Inception

        return Inception(self._file(folder, "inception"), self.device)

    def _make_i3d(self, folder: Path) -> Callable[[Frames], Features]:
        from fourreal.evaluation.networks.torchscript import I3D

        return I3D(self._file(folder, "i3d"), self.device)

    def _make_lpips(self, folder: Path) -> LPIPS:
        from fourreal.evaluation.networks.lpips import LPIPS

        alexnet, linear = (folder / file.name for file in self.store.weights("lpips").files)
        return LPIPS(alexnet, linear, self.device)

    def _make_clip(self, folder: Path) -> CLIP:
        from fourreal.evaluation.networks.clip import CLIP

        return CLIP(folder, self.device)

    def _file(self, folder: Path, name: str) -> Path:
        return folder / self.store.weights(name).files[0].name
