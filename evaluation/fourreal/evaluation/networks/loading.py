"""Networks for metrics: loaded when first asked for, shared, and unavailable with the sentence that mends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fourreal.evaluation.networks.feature_cache import FeatureCache, feature_key
from fourreal.evaluation.pretrained import NoWeights, WeightsStore
from fourreal.evaluation.threads import one_thread

Frames = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]
Answer = npt.NDArray[Any]
Device = Literal["cpu", "cuda"]

_INSTALL = {
    "dust3r": "clone https://github.com/naver/dust3r with its submodules and put that folder on PYTHONPATH",
    "met3r": "pip install git+https://github.com/mohammadasim98/met3r (it wants CUDA, PyTorch3D and FeatUp)",
}
"""How packages are had that no registry holds, by their name."""


class Networks:
    """The networks over one store of weights, with what they said before (`FeatureCache`).

    Every method raises NoWeights where a network cannot be had. A network is loaded when an answer is not in the cache.
    On the CPU networks run on one thread: their last bits would otherwise depend on the number of cores.
    """

    def __init__(
        self, store: WeightsStore | None = None, device: Device = "cpu", cache: FeatureCache | None = None
    ) -> None:
        self.store = store or WeightsStore()
        self.device = device
        self.cache = cache or FeatureCache()
        self.sha256: dict[str, dict[str, str]] = {}
        """Of every file behind the answers so far, by network and file."""
        self._opened: dict[str, tuple[Path, dict[str, str]] | NoWeights] = {}
        self._loaded: dict[str, Any] = {}

    def inception(self, frames: Frames) -> Features:
        """See `torchscript.Inception`."""
        return self._answer("inception", lambda network: network(frames), [frames])

    def i3d(self, video: Frames) -> Features:
        """See `torchscript.I3D`."""
        return self._answer("i3d", lambda network: network(video), [video])

    def clip_frames(self, frames: Frames) -> Features:
        """See `CLIP.frames`."""
        return self._answer("clip", lambda network: network.frames(frames), [frames])

    def clip_text(self, text: str) -> Features:
        """See `CLIP.text`."""
        return self._answer("clip", lambda network: network.text(text), [], text)

    def lpips(self, one: Frames, other: Frames) -> npt.NDArray[np.float64]:
        """See `LPIPS.distances`."""
        return self._answer("lpips", lambda network: network.distances(one, other), [one, other])

    def videoscore(self, video: Frames, prompt: str) -> Features:
        """See `VideoScore`."""
        return self._answer("videoscore", lambda network: network(video, prompt), [video], prompt)

    def dust3r(self, one: Frames, other: Frames, thresholds: tuple[float, ...]) -> Features:
        """See `DUSt3R.confident`."""
        return self._answer(
            "dust3r", lambda network: network.confident(one, other, thresholds), [one, other], str(thresholds)
        )

    def met3r(self, one: Frames, other: Frames) -> Features:
        """See `MEt3R`."""
        return self._answer("met3r", lambda network: network(one, other), [one, other])

    def _answer(self, name: str, call: Callable[[Any], Any], arrays: Sequence[Frames], text: str = "") -> Answer:
        """`call(network)`, or what it gave for the same input before."""
        _, digests = self._open(name)

        def compute() -> Answer:
            network = self._network(name)
            try:
                with one_thread(self.device):
                    answer: Answer = call(network)
                    return answer
            except RuntimeError as error:  # torch's own: out of memory, or files that hold some other network
                shapes = " and ".join(str(array.shape) for array in arrays)
                raise NoWeights(f"the network {name!r} fails on frames {shapes}: {_first_line(error)}") from error

        answer = self.cache.get(feature_key(name, digests, self.device, arrays, text), compute)
        self.sha256[name] = digests
        return answer

    def _open(self, name: str) -> tuple[Path, dict[str, str]]:
        """Folder and sha256 of a network's files; they are looked at once, for whoever asks."""
        if name not in self._opened:
            try:
                self._opened[name] = (Path(), self._network(name).sha256) if name == "met3r" else self.store.open(name)
            except NoWeights as error:
                self._opened[name] = error
        found = self._opened[name]
        if isinstance(found, NoWeights):
            raise found
        return found

    def _network(self, name: str) -> Any:
        if name not in self._loaded:
            folder = Path() if name == "met3r" else self._open(name)[0]
            try:
                self._loaded[name] = self._load(name, folder)
            except NoWeights as error:
                self._loaded[name] = error
        if isinstance(self._loaded[name], NoWeights):
            raise self._loaded[name]
        return self._loaded[name]

    def _load(self, name: str, folder: Path) -> Any:
        try:
            self._check_device()
            return self._make(name, folder)
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            install = _INSTALL.get(package, "pip install 'fourreal[eval]'")
            raise NoWeights(f"the package {package} is missing: {install}") from None
        except NoWeights:
            raise
        except Exception as error:
            raise NoWeights(f"the weights {name!r} in {folder} cannot be loaded: {_first_line(error)}") from error

    def _check_device(self) -> None:
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise NoWeights("this machine has no CUDA device: use --device cpu")

    def _make(self, name: str, folder: Path) -> Any:
        files = [folder / file.name for file in self.store.weights(name).files] if name != "met3r" else []
        if name in ("inception", "i3d"):
            from fourreal.evaluation.networks.torchscript import I3D, Inception

            return (Inception if name == "inception" else I3D)(files[0], self.device)
        if name == "lpips":
            from fourreal.evaluation.networks.lpips import LPIPS

            return LPIPS(files[0], files[1], self.device)
        if name == "clip":
            from fourreal.evaluation.networks.clip import CLIP

            return CLIP(folder, self.device)
        if name == "videoscore":
            from fourreal.evaluation.networks.videoscore import VideoScore

            return VideoScore(folder, self.device)
        if name == "dust3r":
            from fourreal.evaluation.networks.dust3r import DUSt3R

            return DUSt3R(folder, self.device)
        from fourreal.evaluation.networks.met3r import MEt3R

        return MEt3R(self.device)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
