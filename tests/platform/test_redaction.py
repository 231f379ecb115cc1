"""Secrets never come through, and nothing else is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourreal.platform import tracking
from fourreal.platform.datajob.items import Item, ItemFailure
from fourreal.platform.datajob.quarantine import list_quarantine, record_of, write_quarantine
from fourreal.platform.errors import UserError
from fourreal.platform.redaction import HIDDEN, is_secret, redact, redact_fields
from fourreal.platform.storage import Storage
from fourreal.platform.submit import entrypoint

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
words = st.text(LETTERS, min_size=16, max_size=40)
text = st.text(max_size=15)  # too short to hold the secret by chance

AROUND = {
    "address": "cannot reach postgresql://mlflow:{}@db:5432/mlflow",
    "token as user": "git clone https://{}@example.org/x",
    "signed query": "GET /shard?X-Amz-Signature={}&part=3",
    "header": "Authorization: Bearer {}",
    "basic": "authorization: basic {}==",
    "assignment": "AWS_SECRET_ACCESS_KEY={} fourreal render",
    "json": '{{"aws_session_token": "{}", "key": "chair"}}',
    "yaml": "mlflow:\n  password: {}\n",
    "python": "{{'api_key': '{}'}}",
    "option": "fourreal render --mirror.token {} --out a",
    "github": "remote says ghp_{} is unknown",
    "hub": "hf_{} has no access",
}


@pytest.mark.parametrize("context", AROUND.values(), ids=AROUND)
@given(secret=words, before=text, after=text)
def test_a_secret_in_a_known_place_does_not_come_through(context: str, secret: str, before: str, after: str) -> None:
    told = redact(f"{before}\n{context.format(secret)}\n{after}")
    assert secret not in told
    assert redact(told) == told


@given(secret=st.text(min_size=8, max_size=40).filter(lambda s: s.isprintable() and "*" not in s), around=text)
def test_the_values_of_the_environment_do_not_come_through_wherever_they_stand(secret: str, around: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_PASSWORD", secret)
        for form in (secret, quote(secret, safe="")):
            assert form not in redact(f"{around} {form} {around}")


def test_a_password_in_an_address_of_the_environment_does_not_come_through_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:correct-horse@mlflow.example.org")
    assert redact("401 for me with correct-horse") == f"401 for me with {HIDDEN}"


@pytest.mark.parametrize(
    "harmless",
    [
        "step 100: loss 0.25, 512 tokens a grid, max_tokens=77, key=chair, keys: a, b",
        "s3://bucket/rendered/shard-000001.tar has 5 bytes where its record says 6",
        "item chair-01 goes to quarantine (no_animation): the file holds no animation",
        "http://127.0.0.1:5000/#/experiments/1/runs/0123456789abcdef0123456789abcdef",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 of https://example.org/a.glb",
        "RAY_AUTH_TOKEN_PATH=/run/secrets/ray_token and RAY_AUTH_MODE=token",
        "a tokenizer, a secretary, basic training, a bearer of news",
    ],
)
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert redact(harmless) == harmless


def test_keys_of_clouds_and_private_keys_do_not_come_through() -> None:
    assert redact("with AKIAIOSFODNN7EXAMPLE.") == f"with {HIDDEN}."
    told = redact("x -----BEGIN RSA PRIVATE KEY-----\nMIIE\nabcd\n-----END RSA PRIVATE KEY----- y")
    assert ("MIIE" in told, told.endswith(" y")) == (False, True)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, True) for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "HF_TOKEN", "PGPASSWORD", "api-key")),
        *((name, False) for name in ("RAY_AUTH_TOKEN_PATH", "flow.tokens", "AWS_REGION", "key", "MLFLOW_TRACKING_URI")),
    ],
)
def test_names_that_speak_of_secrets(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "open-sesame-27")
    return "open-sesame-27"


def test_no_secret_in_a_log_line_or_a_traceback_in_either_form() -> None:
    code = """
import logging
from fourreal.platform import logs
logs.configure()
try:
    raise OSError("cannot log in with open-sesame-27")
except OSError:
    logging.getLogger("x").exception("tried %s", {"password": "open-sesame-27", "n": 1})
raise RuntimeError("gave up on https://me:hunter22@host")
"""
    environment = {**os.environ, "MLFLOW_TRACKING_PASSWORD": "open-sesame-27"}
    for form in ("", "json"):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={**environment, "FOURREAL_LOG": form}
        )
        assert "cannot log in with ***" in done.stderr
        assert "RuntimeError: gave up on https://***@host" in done.stderr
        assert not {secret for secret in ("open-sesame-27", "hunter22") if secret in done.stderr}
        if form == "json":
            assert json.loads(done.stderr.splitlines()[0])["level"] == "ERROR"


def test_no_secret_in_the_address_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:hunter22@host/mlflow")
    assert tracking.run_address("1a") == "run 1a in postgresql://***@host/mlflow (`make ui` shows it)"


def test_no_secret_in_a_quarantine_record(tmp_path: Path, password: str) -> None:
    failure = ItemFailure("load", "crash", f"ended with {password}", stderr_tail=f"env: TOKEN={password}\nlast line")
    item = Item("a", "https://me:hunter22@host/a.glb")
    write_quarantine(Storage(str(tmp_path)), [record_of(item, failure, 1)])
    (kept,) = list_quarantine(Storage(str(tmp_path)))
    written = (tmp_path / "quarantine/a.json").read_text()
    assert not {secret for secret in (password, "hunter22") if secret in written}
    assert kept.stderr_tail.endswith("last line")
    assert kept.source == "https://***@host/a.glb"


def test_no_secret_in_a_run_of_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    parameters = {"mirror": {"url": "https://me:hunter22@host", "token": "abc"}, "note": password, "steps": 3}
    with tracking.run("x", f"run {password}", parameters, tags={"why": f"as {password} said"}) as run_id:
        pass
    data = tracking.client().get_run(run_id).to_dictionary()
    assert not {secret for secret in (password, "hunter22", "abc") if secret in json.dumps(data["data"])}
    assert (data["data"]["params"]["steps"], data["data"]["params"]["mirror.token"]) == ("3", HIDDEN)


@pytest.mark.parametrize(
    "option",
    [
        ["--note", "AKIAIOSFODNN7EXAMPLE"],
        ["--note", "https://x/y?X-Amz-Signature=0123456789abcdef"],
        ["--mirror.token", "abcdefgh"],
        ["--note", "open-sesame-27"],
    ],
)
def test_a_job_whose_command_holds_a_secret_is_refused_before_it_is_sent(option: list[str], password: str) -> None:
    with pytest.raises(UserError, match="another secret") as caught:
        entrypoint(["render", *option])
    assert option[1] not in str(caught.value)


def test_fields_are_hidden_by_name_and_by_what_they_hold() -> None:
    fields = {"token": "x", "empty_token": "", "n": 3, "uri": "http://a:b@c"}
    assert redact_fields(fields) == {"token": HIDDEN, "empty_token": "", "n": "3", "uri": "http://***@c"}
