"""Cameras of a grid that has none, from its freeze-time video: COLMAP (Schoenberger and Frahm, CVPR 2016) or VGGT.

World and scale are the solver's own: a scene fitted to such cameras is right up to a similarity.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from fourreal.platform.errors import UserError

CameraSource = Literal["grid", "colmap", "vggt"]
"""Where cameras come from: the grid itself, or estimated from its freeze-time video of the first time."""

Array = npt.NDArray[np.float64]
Frames = npt.NDArray[np.uint8]

_LEAST_HEIGHT_PX = 480
"""Smaller frames are enlarged to this first: features are sparse in them."""
_PACKAGES = {
    "colmap": ("pycolmap", "COLMAP, which is not installed: pip install pycolmap"),
    "vggt": (
        "vggt",
        "VGGT, which is not installed: pip install git+https://github.com/facebookresearch/vggt, "
        "or use --cameras colmap",
    ),
}
_VGGT_WEIGHTS = "facebook/VGGT-1B"
_VGGT_WIDTH_PX, _VGGT_PATCH_PX = 518, 14


def estimate_cameras(frames: Frames, source: CameraSource, seed: int = 0) -> tuple[Array, Array]:
    """Intrinsics `[V, 3, 3]` and world-to-camera `[V, 4, 4]` of a freeze-time video uint8 `[V, H, W, 3]`.

    Raises UserError where the solver is not installed, or does not place every view.
    """
    require_solver(source)
    return _SOLVERS[source](frames, seed)


def require_solver(source: CameraSource) -> None:
    """Raises UserError where the package that estimates cameras so is not installed."""
    package, sentence = _PACKAGES.get(source, ("", ""))
    try:
        if package:
            importlib.import_module(package)
    except ImportError:
        raise UserError(f"cameras are estimated by {sentence}") from None


def _colmap(frames: Frames, seed: int) -> tuple[Array, Array]:
    import pycolmap

    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    scale = max(1.0, _LEAST_HEIGHT_PX / frames.shape[1])
    with tempfile.TemporaryDirectory() as folder:
        pictures, database = Path(folder) / "pictures", Path(folder) / "database.db"
        pictures.mkdir()
        for v, frame in enumerate(frames):
            large = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else frame
            cv2.imwrite(str(pictures / f"{v:04d}.png"), large[..., ::-1])
        pycolmap.set_random_seed(seed)
        pycolmap.extract_features(
            database,
            pictures,
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=pycolmap.ImageReaderOptions(camera_model="SIMPLE_PINHOLE"),
            extraction_options=pycolmap.FeatureExtractionOptions(num_threads=1),
            device=pycolmap.Device.cpu,
        )
        pycolmap.match_exhaustive(
            database, matching_options=pycolmap.FeatureMatchingOptions(num_threads=1), device=pycolmap.Device.cpu
        )
        options = pycolmap.IncrementalPipelineOptions(min_model_size=3, num_threads=1, random_seed=seed)
        options.mapper.init_min_tri_angle = 4.0  # views of a grid stand near each other
        models = pycolmap.incremental_mapping(database, pictures, Path(folder), options)
        best = max(models.values(), key=lambda model: model.num_reg_images(), default=None)
        placed = {} if best is None else {image.name: image for image in best.images.values() if image.has_pose}
        if len(placed) < len(frames):
            raise UserError(
                f"COLMAP placed {len(placed)} of {len(frames)} views of the freeze-time video: it shows too little "
                "texture, or too little of one scene"
            )
        return _from_colmap([placed[f"{v:04d}.png"] for v in range(len(frames))], scale)


def _from_colmap(images: list[Any], scale: float) -> tuple[Array, Array]:
    """COLMAP's pixels have their centres at +0.5 and its cameras are OpenCV's, as ours."""
    intrinsics = np.stack([image.camera.calibration_matrix() for image in images])
    intrinsics[:, :2] /= scale
    poses = np.tile(np.eye(4), (len(images), 1, 1))
    poses[:, :3] = [image.cam_from_world().matrix() for image in images]
    return intrinsics, poses


def _vggt(frames: Frames, seed: int) -> tuple[Array, Array]:
    """VGGT (Wang et al., CVPR 2025) predicts them in one pass, without a seed; frames are stretched to its patches."""
    import torch
    from vggt.models.vggt import VGGT
    from vggt.utils.pose_enc import pose_encoding_to_extri_intri

    _, H, W, _ = frames.shape
    height = max(1, round(H * _VGGT_WIDTH_PX / W / _VGGT_PATCH_PX)) * _VGGT_PATCH_PX
    pictures = np.stack([cv2.resize(frame, (_VGGT_WIDTH_PX, height), interpolation=cv2.INTER_AREA) for frame in frames])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = VGGT.from_pretrained(_VGGT_WEIGHTS).to(device).eval()
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().to(device) / 255
    with torch.no_grad():
        encoding = model(images)["pose_enc"]
        extrinsics, matrices = pose_encoding_to_extri_intri(encoding, (height, _VGGT_WIDTH_PX))
    intrinsics = matrices[0].double().cpu().numpy()
    intrinsics[:, :2] /= np.array([_VGGT_WIDTH_PX / W, height / H])[:, None]
    poses = np.tile(np.eye(4), (len(frames), 1, 1))
    poses[:, :3] = extrinsics[0].double().cpu().numpy()
    return np.asarray(intrinsics), poses


_SOLVERS: Mapping[str, Callable[[Frames, int], tuple[Array, Array]]] = {"colmap": _colmap, "vggt": _vggt}
