"""Grids and captions coded before training: exact, exactly once, and refused when stale."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from configs import config_of as train_config_of
from squares import square_grid

pytest.importorskip("diffusers")

from diffusers import AutoencoderKLWan, WanTransformer3DModel
from loop_runs import run as train
from loop_runs import torch_engine
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from fourreal.platform.codec import encode
from fourreal.platform.errors import UserError
from fourreal.platform.shards import list_shards, read_shard, write_shard
from fourreal.platform.storage import Storage
from fourreal.training.checkpoint.snapshots import copied
from fourreal.training.data.batches import BatchStream, DataSettings, clean_frames
from fourreal.training.data.catalogue import BatchShape
from fourreal.training.data.latent_cache import LatentCache, source_fingerprint
from fourreal.training.data.pixels import fit, to_model
from fourreal.training.encoding.grids import code_version, fingerprint
from fourreal.training.encoding.text import TextEncoder
from fourreal.training.model import FIXED_VIEW, FREEZE_TIME, Conditions, Sampling, Text, border_given, load
from fourreal.training.model.backbones.wan_codec import WanCodec
from fourreal.training.precompute import Config, main, run
from fourreal.training.run.preflight import check_room
from fourreal.training.settings.groups import AugmentSettings, MixtureSettings
from fourreal.training.stage.assembly import finished_model, model_skeleton
from fourreal.training.stage.exports import copy_autoencoder, export, load_any
from fourreal.training.stage.settings import stage_settings
from fourreal.training.workers.ranks import Worker

WORDS = ("a", "the", "red", "green", "square", "moves", "turns", "falls")
CPU = torch.device("cpu")
STILL = AugmentSettings(reverse_views=0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Wan model's transformer, autoencoder, text encoder and tokenizer, tiny and random, in their own formats."""
    folder = tmp_path_factory.mktemp("wan")
    torch.manual_seed(0)
    WanTransformer3DModel(
        patch_size=(1, 1, 1), num_attention_heads=2, attention_head_dim=24, in_channels=16, out_channels=16,
        num_layers=2, text_dim=12, freq_dim=16, ffn_dim=32, rope_max_seq_len=256,
    ).save_pretrained(folder / "transformer")  # fmt: skip
    AutoencoderKLWan(base_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, z_dim=16).save_pretrained(folder / "vae")
    config = UMT5Config(vocab_size=16, d_model=12, d_kv=4, d_ff=24, num_layers=2, num_heads=3)
    UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    words = Tokenizer(
        models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, **{w: 3 + i for i, w in enumerate(WORDS)}}, "<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture(scope="module")
def grids(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Seven captioned grids of 3 views and 6 times in two shards, one of them freeze-time, one too short."""
    storage = Storage(str(tmp_path_factory.mktemp("grids")))
    shard: list[tuple[str, dict[str, bytes]]] = []
    for number in range(8):
        grid = square_grid(number, 3, 3 if number == 6 else 6, 20, 24)
        kind = "freeze_time" if number == 5 else "dynamic"
        meta = replace(grid.meta, caption=f"the {WORDS[2 + number % 2]} square moves", kind=kind)
        shard.append((grid.key, encode(replace(grid, meta=meta), lossless=True)))
    write_shard(storage, 0, shard[:5])
    write_shard(storage, 1, shard[5:])
    return storage


def config_of(grids: Storage, model: Path, out: Path) -> Config:
    return Config(
        data=grids.uri, out=str(out), model=str(model), times=5, height=16, width=24, words=6, items_per_shard=3,
        number_type="float32",
    )  # fmt: skip


@pytest.fixture(scope="module")
def coded(grids: Storage, model: Path, tmp_path_factory: pytest.TempPathFactory, ray_of_two_cores: None) -> Path:
    out = tmp_path_factory.mktemp("coded") / "cache"
    run(config_of(grids, model, out))
    return out


def stream(folder: Path, shape: BatchShape, **mixture: float) -> BatchStream:
    data = DataSettings(
        (str(folder),),
        (1.0,),
        (shape,),
        0,
        MixtureSettings(**mixture),
        STILL,
        coded=True,  # type: ignore[arg-type]
    )
    return BatchStream(data, worker=Worker(0, 1))


@pytest.mark.ray
def test_the_job_codes_each_grid_once_and_goes_on_byte_for_byte(coded: Path, grids: Storage, model: Path) -> None:
    storage = Storage(str(coded))
    records = list_shards(storage)
    assert sorted(key for record in records for key in record.keys) == [f"grid-{n:04d}" for n in (0, 1, 2, 3, 4, 5, 7)]
    assert [key for record in records for key in record.quarantined] == ["grid-0006"]
    assert "it has 3 times, fewer than 5" in storage.read("quarantine/grid-0006.json").decode()
    whole = {path.name: path.read_bytes() for path in coded.glob("shard-*")}
    for name in ("shard-000001.json", "shard-000001.tar", "cache.json"):
        (coded / name).unlink()
    with pytest.raises(UserError, match="is no cache of latents"):  # a part of one is none
        LatentCache.open(str(coded))
    assert run(config_of(grids, model, coded)).made_now == len(records[1].keys)
    assert {path.name: path.read_bytes() for path in coded.glob("shard-*")} == whole
    assert LatentCache.open(str(coded)).shape.frame == (16, 2, 3)


@pytest.mark.ray
def test_batches_are_what_the_encoders_make_of_the_frames(coded: Path, grids: Storage, model: Path) -> None:
    codec = WanCodec.from_pretrained(model)
    text = TextEncoder(model, 6, torch.float32, CPU)
    batches = stream(coded, BatchShape("grid", 7, 2, 5, 16, 24), caption_drop=0.0)
    batch = batches.next()
    assert batch.frames.shape == (7, 2, 2, 16, 2, 3)
    assert batch.text is not None
    assert batch.text.embeddings.shape == (7, 6, 12)
    whole = {grid.key: grid for record in list_shards(grids) for grid in read_shard(grids, record)}
    keys = {key: place for place, key in enumerate(f"grid-{n:04d}" for n in (0, 1, 2, 3, 4, 5, 7))}
    seen = set()
    for frames, given, embedding in zip(batch.frames, batch.given, batch.text.embeddings, strict=True):
        for key in keys:
            grid = whole[key]
            pixels = fit(grid.frames_at([(v, t) for v in (0, 2) for t in (0, 1, 2, 4, 5)]), 16, 24)
            clean = to_model(pixels.reshape(2, 5, 16, 24, 3))
            expected, _ = codec.encode(clean, torch.ones(2, 5, dtype=torch.bool))
            if torch.allclose(frames, expected, atol=1e-5):
                seen.add(key)
                caption = text.encode(grid.meta.caption)
                assert torch.equal(embedding[: len(caption)], caption)
                assert (embedding[len(caption) :] == 0).all()
                assert torch.equal(given, border_given(2, 2) & (key != "grid-0005"))
    assert seen == set(keys)
    dropped = stream(coded, BatchShape("grid", 7, 3, 5, 16, 24), caption_drop=1.0).next()
    assert dropped.text is not None
    empty = text.encode("")
    assert all(torch.equal(row[: len(empty)], empty) and not row[len(empty) :].any() for row in dropped.text.embeddings)


@pytest.mark.ray
def test_latents_are_sequences_in_the_base_stage(coded: Path) -> None:
    batches = stream(coded, BatchShape("base", 2, 3, 5, 16, 24))
    lengths = set()
    for batch in (batches.next() for _ in range(12)):
        assert batch.context is not None
        lengths.add((int(batch.context[0]), batch.frames.shape[1]))
        assert clean_frames(batch.frames).shape == batch.clean_shape == (2, batch.frames.shape[1], 16, 2, 3)
    assert lengths == {(FIXED_VIEW, 2), (FREEZE_TIME, 3)}


@pytest.mark.ray
def test_a_stale_cache_is_refused_with_what_changed(
    coded: Path, grids: Storage, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = LatentCache.open(str(coded))
    settings = config_of(grids, model, coded).encoder
    now = fingerprint(settings, source_fingerprint(grids))
    cache.check(now)
    cache.check(replace(now, vae="", source=""))  # what is not known is not compared
    other = shutil.copytree(model, tmp_path / "model")
    torch.manual_seed(1)
    AutoencoderKLWan(base_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, z_dim=16).save_pretrained(other / "vae")
    with pytest.raises(UserError, match="is stale, because the autoencoder's weights changed since it was made"):
        cache.check(fingerprint(replace(settings, model=str(other)), now.source))
    with pytest.raises(UserError, match="because times, height and width of the frames changed"):
        cache.check(fingerprint(replace(settings, times=9), now.source))
    shutil.copytree(grids.root, tmp_path / "grids")
    changed = Storage(str(tmp_path / "grids"))
    write_shard(changed, 1, [("one", encode(square_grid(9, 3, 6, 20, 24)))])
    with pytest.raises(UserError, match="because the grids changed"):
        cache.check(replace(now, source=source_fingerprint(changed)))
    with pytest.raises(UserError, match="planned with vae = "):  # nor is one half made with each
        run(config_of(grids, other, coded))
    monkeypatch.setattr("fourreal.training.encoding.grids.fit", to_model)
    with pytest.raises(UserError, match="because the code that encodes changed"):
        cache.check(fingerprint(settings, now.source))


@pytest.mark.ray
def test_a_pretrained_transformer_becomes_a_grid_model_on_the_cache(coded: Path, model: Path, tmp_path: Path) -> None:
    """Trained on latents and captions, exported with its autoencoder, it fills a grid of frames."""
    settings = stage_settings(
        train_config_of(
            (str(coded),), str(tmp_path / "run"), stage="grid", start_from=str(model), views=2, times=5, steps=4,
            batch_size=2, workers=1, engine={"kind": "torch"}, model={"architecture": "soft"},
        )
    )  # fmt: skip
    assert (settings.model.backbone, settings.model.size) == ("wan", None)
    base = load_any(str(model))
    pretrained = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    check_room(settings)
    engine = torch_engine(settings, base)
    reports = train(settings, engine, None, tmp_path / "checkpoint")
    assert [report.taken for report in reports] == [True] * 4
    again = torch_engine(settings, load_any(str(model)))
    train(settings, again, tmp_path / "checkpoint", None)
    finished = finished_model(model_skeleton(settings), copied(engine.weights()))
    for name, tensor in engine.weights().items():
        assert torch.equal(again.weights()[name], tensor), name
        of_base = pretrained.get(name.removeprefix("backbone."))
        assert of_base is None or torch.equal(of_base, tensor)
    export(finished, Storage(str(tmp_path / "model")), {})
    copy_autoencoder(str(model), Storage(str(tmp_path / "model")))
    pipe = load(tmp_path / "model")
    given = np.zeros((2, 5), bool)
    given[0] = True
    text = Text(TextEncoder(model, 6, torch.float32, CPU).encode("the red square moves")[None])
    made = pipe.fill(Conditions(np.zeros((2, 5, 16, 24, 3), np.uint8), given), Sampling(steps=1), prompt=text)
    assert made.frames.shape == (2, 5, 16, 24, 3)
    with pytest.raises(UserError, match="the model reads pixels and the folders of --data hold latents"):
        stage_settings(train_config_of((str(coded),), str(tmp_path / "run")))


def test_the_code_version_is_of_the_code_and_not_of_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = []
    for body in ("return x + 1", '"""Words."""\n    return x + 1  # words', "return x + 2"):
        text = f"def one(x: int) -> int:\n    {body}\n"
        monkeypatch.setattr("fourreal.training.encoding.grids.inspect.getsource", lambda part, text=text: text)
        versions.append(code_version())
    assert versions[0] == versions[1] != versions[2]


def test_captions_are_embedded_as_wan_does(model: Path) -> None:
    """Wan pads to a fixed length, masks, and sets what is beyond the end to zero."""
    ours = TextEncoder(model, 6, torch.float32, CPU)
    encoder = UMT5EncoderModel.from_pretrained(model / "text_encoder")
    for caption in ("the red   square moves", "", "the red square turns the green square moves and falls"):
        tokens = ours._tokenizer(
            " ".join(caption.split()), padding="max_length", max_length=6, truncation=True, return_tensors="pt"
        )
        with torch.no_grad():
            padded = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state[0]
        length = int(tokens.attention_mask.sum())
        embedded = ours.encode(caption)
        assert embedded.shape == (length, 12)
        torch.testing.assert_close(embedded, padded[:length], atol=1e-5, rtol=1e-4)
    assert torch.equal(ours.encode("red &amp; green"), ours.encode("red & green"))


def test_what_cannot_be_coded_is_one_sentence(
    grids: Storage, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(grids, model, tmp_path / "out")
    with pytest.raises(UserError, match=r"8 times are not 4k\+1"):
        run(replace(config, times=8))
    named = ["--data", grids.uri, "--model", str(model), "--out", str(tmp_path / "out"), "--times", "8"]
    assert main([*named, "--dry-run"]) == 2
    assert "8 times are not 4k+1" in capsys.readouterr().err
    with pytest.raises(UserError, match="18x24 pixels do not split into the latents"):
        run(replace(config, height=18))
    with pytest.raises(UserError, match="holds no autoencoder"):
        run(replace(config, model=str(tmp_path)))
    with pytest.raises(UserError, match="there is no grid in"):
        run(replace(config, data=str(tmp_path / "nothing")))
    without = shutil.copytree(model, tmp_path / "without")
    shutil.rmtree(without / "text_encoder")
    with pytest.raises(
        UserError, match=r"the text encoder of .* cannot be read.*save text_encoder and tokenizer there"
    ):
        run(replace(config, model=str(without)))
    (without / "text_encoder").mkdir()
    (without / "text_encoder/config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="is a bert encoder: t5 and umt5"):
        run(replace(config, model=str(without)))
    assert not (tmp_path / "out").exists()
