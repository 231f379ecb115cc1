from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from fourreal.platform.config import as_yaml, command, parse, parse_stages
from fourreal.platform.errors import UserError


@dataclass(frozen=True)
class Inner:
    steps: int = 10
    fast: bool = False


@dataclass(frozen=True)
class Config:
    """A job."""

    out: str
    views: int = 1
    rate: float | None = None
    names: tuple[str, ...] = ()
    depth: bool = True
    inner: Inner = Inner()

    def __post_init__(self) -> None:
        if self.views > 100:
            raise UserError("--views must be at most 100")


RECIPES = {"demo": lambda: {"views": 2, "rate": 0.5, "names": ("a", "b"), "inner": {"steps": 20, "fast": True}}}


def _parse(*argv: str) -> Config:
    return parse(Config, argv, prog="job", recipes=RECIPES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("views: 3\ndepth: false\ninner: {steps: 30}\n")
    return path


def test_defaults_then_recipe_then_file_then_flags(file: Path) -> None:
    assert _parse("--out", "x") == Config("x")
    assert _parse("--out", "x", "--recipe", "demo") == Config("x", 2, 0.5, ("a", "b"), True, Inner(20, True))
    both = _parse("--out", "x", "--config", str(file), "--recipe", "demo")
    assert both == Config("x", 3, 0.5, ("a", "b"), False, Inner(30, True))
    flags = ["--views", "4", "--names", "c", "--depth", "--inner.steps", "40", "--inner.no-fast", "--rate", "None"]
    assert _parse(*flags, "--out=x", "--config", str(file), "--recipe=demo") == Config("x", 4, None, ("c",))._with(40)


def test_a_chain_gives_every_stage_its_recipe_and_all_of_them_the_flags(file: Path) -> None:
    recipes = {"first": lambda: {"views": 1, "rate": 0.5}, "second": lambda: {"views": 2, "names": ("a",)}}

    def stages(*argv: str) -> dict[str, Config]:
        return parse_stages(Config, argv, prog="job", recipes=recipes, chains={"all": ("first", "second")})

    made = stages("--recipe", "all", "--out", "x", "--rate", "0.25")
    assert made == {"first": Config("x", 1, 0.25), "second": Config("x", 2, 0.25, ("a",))}
    assert list(made) == ["first", "second"]
    assert [config.views for config in stages("--recipe=all", "--out=x", "--config", str(file)).values()] == [3, 3]
    assert stages("--out", "x") == {"": Config("x")}
    with pytest.raises(UserError, match="no recipe 'third' for `job`: known are all, first, second"):
        stages("--recipe", "third", "--out", "x")


def _with(self: Config, steps: int) -> Config:
    return Config(self.out, self.views, self.rate, self.names, self.depth, Inner(steps, False))


Config._with = _with  # type: ignore[attr-defined]


def test_the_saved_configuration_gives_the_same_configuration(tmp_path: Path, file: Path) -> None:
    config = _parse("--out", "some where", "--config", str(file), "--names", "a", "b c")
    saved = tmp_path / "saved.yaml"
    saved.write_text(as_yaml(config))
    assert _parse("--config", str(saved)) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("veiws: 3", "did you mean views"),
        ("inner: {step: 3}", r"inner\.step.*did you mean steps"),
        ("[1, 2]", "field: value"),
        ("views: {a: 1}", "one value is wanted"),
        ("a: [", "no YAML"),
    ],
)
def test_a_bad_file_is_answered_with_its_name_and_the_mend(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        _parse("--out", "x", "--config", str(path))
    assert "bad.yaml" in str(error.value)


def test_unknown_recipes_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no recipe 'dmo'.*demo"):
        _parse("--out", "x", "--recipe", "dmo")
    with pytest.raises(UserError, match=r"none\.yaml"):
        _parse("--out", "x", "--config", str(tmp_path / "none.yaml"))


def test_a_yaml_tag_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(f"views: !!python/object/apply:os.system ['touch {tmp_path}/sprung']")
    with pytest.raises(UserError, match="no YAML"):
        _parse("--out", "x", "--config", str(path))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 20_000, "nested too deeply"),
        ("views: 2020-99-99", "no YAML"),
        ("names: [[a]]", "a list of lists"),
        (
            "names: [&a0 [x], " + ", ".join(f"&a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)) + "]",
            "of lists",
        ),
    ],
    ids=["deep", "no date", "list of lists", "aliases that would fill any memory"],
)
def test_hostile_yaml_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        _parse("--out", "x", "--config", str(tmp_path / "bad.yaml"))


def test_a_sentence_does_not_quote_a_whole_hostile_file() -> None:
    told = str(UserError(f"{'a' * 10**6} is wrong: mend it"))
    assert len(told) < 1000
    assert told.endswith("is wrong: mend it")


def test_the_command_prints_one_sentence_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: Config) -> int:
        raise UserError("there is nothing at x: make it first")

    assert command(Config, run, ["--out", "x"], prog="job") == 2
    assert capsys.readouterr().err == "job: there is nothing at x: make it first\n"
    assert command(Config, lambda config: 7, ["--out", "x"], prog="job") == 7
    assert command(Config, lambda config: "done", ["--out", "x"], prog="job") == 0


def test_cross_field_checks_reach_the_user(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        _parse("--out", "x", "--views", "101")
    assert stop.value.code == 2
    assert "--views must be at most 100" in capsys.readouterr().err


def test_the_yaml_is_plain_data() -> None:
    document = yaml.safe_load(as_yaml(Config("x", names=("a",))))
    assert document["names"] == ["a"]
    assert document["inner"] == {"steps": 10, "fast": False}
