"""`fourreal precompute`: grids and captions coded once, before training on latents.

fourreal precompute --data outputs/rendered --model Wan2.1-T2V-1.3B --out outputs/latents --times 29
fourreal train --data outputs/latents ...
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from fourreal.platform.codec import CODED, META, EncodedGrid, meta_member
from fourreal.platform.config import as_yaml, command
from fourreal.platform.datajob import DataJob, Item, ItemFailure, JobSummary, preview_data_job, run_data_job
from fourreal.platform.errors import UserError
from fourreal.platform.shards import read_record, read_shard, require_shards
from fourreal.platform.storage import Storage
from fourreal.training.data.latent_cache import (
    EMPTY_FILE,
    CodedShape,
    Fingerprint,
    LatentCache,
    source_fingerprint,
    write_empty_text,
)
from fourreal.training.encoding.grids import EncoderSettings, GridEncoder, NumberType, fingerprint


@dataclass(frozen=True, kw_only=True)
class Config:
    """Code a folder of grids for training on latents: frames by an autoencoder, captions by a text encoder.

    Killed at any moment, the same command makes what is missing. What is coded belongs to these grids and this model:
    training refuses it when either has changed.
    """

    data: str
    """Folder of grid shards, local or s3://."""
    out: str
    """Folder for the coded shards, local or s3://."""
    model: str
    """Folder of a Wan model in diffusers' format: its `vae`, and its `text_encoder` and `tokenizer` for captions."""
    times: int = 29
    """Times of a coded grid, 4k + 1, spread over those that a grid has."""
    height: int = 144
    """Height of the frames that are coded, pixels; stored ones are cropped and resized."""
    width: int = 256
    """Width, pixels."""
    number_type: NumberType = "bfloat16"
    """How latents and captions are kept, and computed on a GPU; a CPU computes in float32."""
    captions: bool = True
    """Code captions, too, which `train` wants."""
    words: int = 512
    """Tokens of the longest caption; longer ones are cut."""
    items_per_shard: int = 32
    """Grids in a shard."""
    workers: int | None = None
    """Worker processes, a core each; all cores by default, or one for each GPU."""
    gpus_per_worker: int = 0
    """1 codes on GPUs."""
    retry_quarantined: bool = False
    """Try the items in quarantine again."""
    dry_run: bool = False
    """Check settings and sources, print what would be made, and make nothing."""

    def __post_init__(self) -> None:
        for name in ("times", "height", "width", "words", "items_per_shard"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}")
        if self.gpus_per_worker not in (0, 1):
            raise UserError(f"--gpus-per-worker is {self.gpus_per_worker}: give 0 or 1")

    @property
    def encoder(self) -> EncoderSettings:
        """What decides the numbers besides the grids."""
        return EncoderSettings(
            self.model, self.times, self.height, self.width, self.number_type, self.captions, self.words
        )


class Precomputer:
    """Codes grids, each worker its own (see `Processor`)."""

    def __init__(self, source: str, out: str, settings: EncoderSettings, *, on_gpu: bool) -> None:
        self._storage = Storage(source)
        if not on_gpu:
            torch.set_num_threads(1)  # a worker has one core
        self._encoder = GridEncoder(settings, torch.device("cuda" if on_gpu else "cpu"))
        if settings.captions and not Storage(out).exists(EMPTY_FILE):
            write_empty_text(Storage(out), self._encoder.embed(""))
        self._shard = functools.lru_cache(maxsize=1)(self._read_shard)

    def process(self, item: Item) -> Mapping[str, bytes]:
        """See `Processor`."""
        try:
            grid = self._shard(int(item.spec["shard"]))[item.key]
            coded = self._encoder.encode(grid)
        except ValueError as error:
            raise ItemFailure("encode", "unfit", str(error)) from error
        settings = self._encoder.settings
        shape = (grid.shape[0], settings.times, settings.height, settings.width)
        return {META: meta_member(grid.meta, shape), CODED: coded.to_bytes()}

    def close(self) -> None:
        """See `Processor`."""

    def _read_shard(self, index: int) -> Mapping[str, EncodedGrid]:
        record = read_record(self._storage, index)
        assert record is not None, "the plan was made from it"
        return {grid.key: grid for grid in read_shard(self._storage, record)}


def data_job(config: Config, made_with: Fingerprint) -> DataJob:
    """The job of this configuration; another fingerprint is other work, which goes into another folder."""
    return DataJob(
        name="precompute",
        out=config.out,
        settings=asdict(made_with),
        list_items=lambda: _list_items(config),
        make_processor=functools.partial(
            Precomputer, config.data, config.out, config.encoder, on_gpu=config.gpus_per_worker > 0
        ),
        items_per_shard=config.items_per_shard,
        workers=config.workers,
        gpus_per_worker=config.gpus_per_worker,
        retry_quarantined=config.retry_quarantined,
        config_yaml=as_yaml(config),
    )


def run(config: Config) -> JobSummary:
    """Run the job, or go on with it. Raises UserError before any worker starts."""
    source = Storage(config.data)
    before = source_fingerprint(source)
    shape = _coded_shape(config)
    made_with = fingerprint(config.encoder, before)
    summary = run_data_job(data_job(config, made_with))
    if source_fingerprint(source) != before:
        raise UserError(f"the grids in {config.data} changed meanwhile: run the command again, into another --out")
    if not summary.missing_shards:  # with this file it is a cache
        LatentCache(Storage(config.out), config.data, made_with, shape).save()
    return summary


def _coded_shape(config: Config) -> CodedShape:
    """What comes out. Raises UserError for a model that lacks a part, and for sizes that it cannot code."""
    try:
        return GridEncoder(config.encoder, torch.device("cpu")).shape()
    except ValueError as error:
        raise UserError(str(error)) from error


def _list_items(config: Config) -> Iterable[Item]:
    for record in require_shards(Storage(config.data)):
        for key in record.keys:
            where = f"{config.data.rstrip('/')}/{record.name}"
            yield Item(key, where, {"shard": record.index}, group=record.name)


def _run_or_tell(config: Config) -> int:
    if not config.dry_run:
        return run(config).exit_status
    _coded_shape(config)  # refuses what the run would
    made_with = fingerprint(config.encoder, source_fingerprint(Storage(config.data)))
    preview_data_job(data_job(config, made_with)).print_table("precompute")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fourreal precompute`; returns the exit status."""
    return command(Config, _run_or_tell, argv, prog="fourreal precompute")


if __name__ == "__main__":
    raise SystemExit(main())
