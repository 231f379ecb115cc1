"""Assets: what decides about a glTF file before Blender sees it, and what is read from it without Blender."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from tests.datagen.glb import CUBE, Glb
from tests.datagen.hostile_glb import pack, png, sound
from tests.fuzz.harness import Fault, Target
from tests.fuzz.mutations import damaged_bytes, damaged_document, to_json

from fourreal.datagen.gltf_buffers import addresses_of
from fourreal.datagen.gltf_checks import check_gltf
from fourreal.datagen.gltf_clips import clips_of
from fourreal.datagen.gltf_file import BadGltf, attribution_of, licence_of


def _rich() -> Glb:
    """With skin, morph target, sparse accessor, camera, light, data address, and words about itself."""
    glb = sound()
    document = glb.document
    moved = glb.accessor(0.1 * CUBE, "VEC3")
    document["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": moved}]
    indices, values = np.array([1, 5]), np.array([[0.0, 0, 0], [1, 1, 1]])
    sparse = {
        "count": 2,
        "indices": {
            "bufferView": document["accessors"][glb.accessor(indices, "SCALAR")]["bufferView"],
            "componentType": 5125,
        },
        "values": {"bufferView": document["accessors"][glb.accessor(values, "VEC3")]["bufferView"]},
    }
    document["accessors"][moved]["sparse"] = sparse
    bind = glb.accessor(np.tile(np.eye(4).reshape(1, 16), (2, 1)), "MAT4")
    joints = [glb.add("nodes", {"name": "a", "translation": [0, 1, 0]}), glb.add("nodes", {"rotation": [0, 0, 0, 1]})]
    document["nodes"][joints[0]]["children"] = [joints[1]]
    document["nodes"][0]["skin"] = glb.add(
        "skins", {"joints": joints, "inverseBindMatrices": bind, "skeleton": joints[0]}
    )
    glb.add("cameras", {"type": "perspective", "perspective": {"yfov": 1.0, "znear": 0.1}})
    glb.add("images", {"uri": "data:image/png;base64," + base64.b64encode(png()).decode()})
    glb.add("textures", {"source": 1, "extensions": {"EXT_texture_webp": {"source": 0}}})
    document["extensionsUsed"] = ["EXT_texture_webp"]
    document["asset"] |= {"copyright": "someone", "extras": {"license": "CC-BY", "author": "a", "source": "http://x"}}
    document["scenes"][0]["nodes"] = [0, joints[0]]
    document["buffers"][0]["byteLength"] = len(glb.binary)
    return glb


def _beside(glb: Glb) -> dict[str, Any]:
    """The same with its buffer in a file beside it."""
    return {**glb.document, "buffers": [{"byteLength": len(glb.binary), "uri": "data.bin"}]}


def _inputs() -> st.SearchStrategy[tuple[str, bytes]]:
    rich, plain = _rich(), sound()
    uris = ["../outside/secret.bin", "..%2foutside%2fsecret.bin", "data.bin", "data:,x", "data:image/png;base64,AAAA"]
    files = [pack(glb.document, glb.binary) for glb in (rich, plain)]
    documents = st.sampled_from([rich, plain]).flatmap(
        lambda glb: damaged_document(glb.document, uris).map(lambda document: pack(to_json(document), glb.binary))
    )
    beside = damaged_document(_beside(rich), uris).map(to_json)
    return st.one_of(
        st.tuples(st.just("asset.glb"), st.sampled_from(files).flatmap(damaged_bytes)),
        st.tuples(st.just("asset.glb"), documents),
        st.tuples(st.just("asset.gltf"), beside),
        st.tuples(st.just("asset.gltf"), damaged_bytes(json.dumps(_beside(plain)).encode())),
    )


def _use(given: tuple[str, bytes], folder: Path) -> object:
    name, data = given
    (folder / name).write_bytes(data)
    (folder / "data.bin").write_bytes(_rich().binary)
    for text in (licence_of(data), *attribution_of(data).values(), *(clips_of(data) or ())):
        text.encode()
    for address in addresses_of(data):
        if not (folder / address).resolve().is_relative_to(folder.resolve()):
            raise Fault(f"{address!r} leaves the folder")
    return check_gltf(folder / name)


TARGET = Target("glb", _inputs, _use, (BadGltf,))
