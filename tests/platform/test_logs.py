from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.platform.numbers_job import Numbers, number_items

from fourreal.platform.datajob.shard_task import ShardOrder, make_shard
from fourreal.platform.logs import FORMAT_VARIABLE, JsonFormatter, about
from fourreal.platform.storage import Storage


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """What is logged from here on, through our formatter."""
    documents: list[dict[str, str]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            documents.append(json.loads(JsonFormatter().format(record)))

    caplog.handler.emit = Handler().emit  # type: ignore[method-assign]
    return documents


def test_what_happens_to_a_sample_is_found_by_plan_shard_and_sample(
    tmp_path: Path, lines: list[dict[str, str]]
) -> None:
    (tmp_path / "faults.json").write_text('{"1": "refuse"}')
    with about(job="numbers", plan="3f2a", shard=7):
        make_shard(Storage(str(tmp_path)), ShardOrder(7, number_items(3), "3f2a"), Numbers(tmp_path / "faults.json"))
    (line,) = [line for line in lines if line["level"] == "WARNING"]
    named = ("job", "plan", "shard", "sample", "reason")
    assert [line[key] for key in named] == ["numbers", "3f2a", 7, "n001", "bad_number"]


def test_keys_end_with_their_block_and_a_traceback_is_one_line(lines: list[dict[str, str]]) -> None:
    with about(job="a"):
        with about(sample="b"):
            try:
                raise ValueError("two\nlines")
            except ValueError:
                logging.getLogger("x").exception("oops")
        logging.getLogger("x").warning("later")
    assert lines[0]["sample"] == "b"
    assert "ValueError: two" in lines[0]["traceback"]
    assert (lines[1]["job"], "sample" in lines[1]) == ("a", False)


@pytest.mark.parametrize("form", ["json", ""])
def test_the_environment_chooses_the_form(form: str) -> None:
    code = "import logging\nfrom fourreal.platform.logs import configure\nconfigure()\nlogging.warning('hello')"
    environment = {**os.environ, FORMAT_VARIABLE: form}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (json.loads(done.stderr)["message"] if form else done.stderr.split(": ")[-1].strip()) == "hello"
