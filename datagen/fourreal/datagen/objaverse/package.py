"""What comes from the package `objaverse`: where its files lie, in its folder and on its server, and how to read them.

It is asked only for files that were put into its folder, whole, before; so it never downloads anything itself,
which it would do without checksums, retries or timeouts. Where it reads hundreds of files into memory at once
(metadata, XL's tables), `catalogue` reads them one after another instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from fourreal.platform.errors import UserError

FIRST = "hf-objaverse-v1"
"""Folder of Objaverse 1.0 in the package's own."""
OBJECT_PATHS = f"{FIRST}/object-paths.json.gz"
LVIS = f"{FIRST}/lvis-annotations.json.gz"
_FIRST_ADDRESS = "datasets/allenai/objaverse/resolve/main"
_XL_ADDRESS = "datasets/allenai/objaverse-xl/resolve/main"


def address_of(name: str) -> str:
    """Address, relative to the server, of a file of Objaverse 1.0 in the package's folder."""
    return f"{_FIRST_ADDRESS}/{name.removeprefix(f'{FIRST}/')}"


def table_of(source: str) -> tuple[str, str]:
    """Name and address of XL's annotations of a source."""
    return f"{source}/{source}.parquet", f"{_XL_ADDRESS}/{source}/{source}.parquet"


def read_object_paths(folder: Path) -> Mapping[str, str]:
    """Path of every Objaverse 1.0 object in `hf-objaverse-v1`, by uid."""
    _package()
    from objaverse.xl.sketchfab import SketchfabDownloader

    paths: Mapping[str, str] = SketchfabDownloader._get_object_paths(str(folder))
    return paths


def read_lvis(folder: Path) -> Mapping[str, list[str]]:
    """Uids by LVIS category."""
    _package()
    from objaverse.xl.sketchfab import SketchfabDownloader

    categories: Mapping[str, list[str]] = SketchfabDownloader.get_lvis_annotations(str(folder))
    return categories


def place_of(source: str, file_identifier: str, sha256: str) -> tuple[str, str, str]:
    """Uid, name in the package's folder, and address of an XL object that is not of Sketchfab.

    The package keeps whole GitHub repositories; single files lie beside them, by their sha256.
    """
    _package()
    if source == "smithsonian":
        from objaverse.utils import get_uid_from_str

        return sha256, f"smithsonian/objects/{get_uid_from_str(file_identifier)}.glb", file_identifier
    # GitHub leads from /raw/ to wherever the file is, large file storage included.
    return sha256, f"github/files/{sha256}.glb", file_identifier.replace("/blob/", "/raw/", 1)


def sketchfab_uid(file_identifier: str) -> str:
    """Uid of a Sketchfab object of XL."""
    return file_identifier.rpartition("/")[2]


def _package() -> ModuleType:
    try:
        import objaverse
    except ModuleNotFoundError as error:
        raise UserError(
            f"--assets objaverse needs the package {error.name}: pip install 'fourreal[objaverse]'"
        ) from None
    module: ModuleType = objaverse
    return module
