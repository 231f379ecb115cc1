"""Nothing that we read from others can run code: no pickle, no archive unpacked, no text evaluated, no shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOMS, ROOT

OUR_OWN_CHECKPOINTS = "resharding.py"
"""Reads what DeepSpeed wrote into the storage of the same run, and nothing else (README of training)."""
LOADERS_OF_OTHER_THINGS = {"AutoTokenizer", "AutoConfig", "Idefics2ImageProcessorPil", "WanCodec", "kind"}
OF_OTHER_LIBRARIES = {"VGGT", "AsymmetricCroCo3DStereo"}
"""Read safetensors by themselves."""
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {
    *(
        "eval",
        "exec",
        "os.system",
        "os.popen",
        "yaml.load",
        "yaml.unsafe_load",
        "yaml.full_load",
        "shutil.unpack_archive",
    ),
    *("torch.hub.load", "pandas.read_pickle"),
}
FORBIDDEN_METHODS = {"extract", "extractall"}


def _unsafe(source: str, name: str = "x.py") -> Iterator[str]:
    """What a source does that it must not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            yield from (f"imports {module}" for module in modules if module.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {k.arg: k.value.value for k in node.keywords if k.arg and isinstance(k.value, ast.Constant)}
        if called in FORBIDDEN_CALLS or (called.rpartition(".")[2] in FORBIDDEN_METHODS and "." in called):
            yield f"calls {called}"
        if called == "torch.load" and given.get("weights_only") is not True and name != OUR_OWN_CHECKPOINTS:
            yield "calls torch.load without weights_only=True"
        if called in ("np.load", "numpy.load") and given.get("allow_pickle") is not False:
            yield f"calls {called} without allow_pickle=False"
        if given.get("shell") is True or given.get("trust_remote_code") is True:
            yield f"calls {called} with shell or trust_remote_code"
        if called.endswith(".from_pretrained") and given.get("use_safetensors") is not True:
            loader = called.removesuffix(".from_pretrained").rpartition(".")[2]
            if loader not in LOADERS_OF_OTHER_THINGS | OF_OTHER_LIBRARIES:
                yield f"calls {called} without use_safetensors=True"


@pytest.mark.parametrize("room", [*ROOMS, "infra"])
def test_nothing_is_loaded_that_could_run(room: str) -> None:
    sources = sorted((ROOT / room).rglob("*.py"))
    assert sources
    found = {str(path.relative_to(ROOT)): list(_unsafe(path.read_text(), path.name)) for path in sources}
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from cloudpickle import loads", "torch.load(path)", "torch.load(path, weights_only=False)"),
        *("np.load(path)", "np.load(path, allow_pickle=True)", "yaml.load(text, Loader)", "tar.extractall(folder)"),
        *("eval(text)", "subprocess.run(text, shell=True)", "CLIPModel.from_pretrained(folder)", "torch.hub.load(x)"),
        "AutoTokenizer.from_pretrained(folder, trust_remote_code=True)",
    ],
)
def test_this_test_would_see_it(source: str) -> None:
    assert list(_unsafe(source))


def test_what_is_safe_is_not_complained_of() -> None:
    source = "model.eval()\ntorch.load(p, weights_only=True)\nnp.load(p, allow_pickle=False)\nyaml.safe_load(t)"
    assert not list(_unsafe(source))
