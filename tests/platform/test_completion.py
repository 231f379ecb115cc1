from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fourreal.platform.cli import COMMANDS, main

COMPLETE = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_tyro_fourreal
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "fourreal.bash"
    with pytest.MonkeyPatch.context() as patch, path.open("w") as file:
        patch.setattr("sys.stdout", file)
        assert main(["completion", "bash"]) == 0
    return path


def completed(script: Path, words: str) -> set[str]:
    """What bash offers for the last of the words."""
    done = subprocess.run(
        ["bash", "-c", COMPLETE.format(script=script, words=words)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


class TestBash:
    def test_it_offers_commands(self, script: Path) -> None:
        names = {name for group in COMMANDS.values() for name in group}
        assert completed(script, "fourreal ren") == {"render"}
        assert names <= completed(script, "fourreal ''")

    def test_it_offers_the_options_of_a_command(self, script: Path) -> None:
        assert completed(script, "fourreal render --vie") == {"--views"}
        assert "--steps" in completed(script, "fourreal generate --st")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "synthesize" in capsys.readouterr().out


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", "tcsh"])
    assert ended.value.code == 2
    assert "bash" in capsys.readouterr().err
