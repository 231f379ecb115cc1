"""The fields of `fourreal train` by group, `--GROUP.FIELD` on the command line. Plain data: it travels and compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fourreal.training.model import Architecture, TrainPolicy

Stage = Literal["base", "grid", "upsampler"]
ZeroStage = Literal[0, 1, 2, 3]
Offload = Literal["none", "cpu", "nvme"]


@dataclass(frozen=True)
class MixtureSettings:
    """How folders of data mix, and into batches of what sizes."""

    weights: tuple[float, ...] = ()
    """How often each folder of --data is drawn from, in proportion; default: by its number of grids."""
    condition_drop: tuple[float, ...] = ()
    """Probability, for each folder of --data, that a sample of the grid stage is given no frame; default: 0."""
    static_condition_drop: float = 1.0
    """The same for freeze-time grids of any folder: all times are equal, so given frames would only be copied."""
    first_frame_alone: float = 0.5
    """Probability that a sample of the base stage is given its first frame alone, as a grid gives to most of its
    sequences."""
    both_ends: float = 0.0
    """Probability that it is given its first and its last frame, so that all it has to make lies between. The rest of
    the samples are given any of their frames."""
    caption_drop: float = 0.1
    """Probability that a sample has the empty caption, for models that read captions and guidance on them."""
    buckets: tuple[str, ...] = ()
    """Sizes of batches, VIEWSxTIMESxHEIGHTxWIDTH:BATCH each, in place of one size: a grid goes to the one that shows
    most of it, and every batch is of one."""
    strands: int = 64
    """Shards of a folder that mix at a time, over all workers. A multiple of the workers lets each read only its own
    shards; with a remainder they read more."""


@dataclass(frozen=True)
class AugmentSettings:
    """What is done at random to a sample of frames. Colours stay; samples of latents are only reversed."""

    mirror: float = 0.5
    """Probability that left and right are swapped: a mirrored world is a world too."""
    reverse_views: float = 0.5
    """Probability that the camera goes backwards (4Real-Video-V2: useful). Time has a direction and keeps it."""
    times: Literal["spread", "stretch"] = "spread"
    """Which times of a longer grid: evenly spread over all, or a stretch at any start and stride that it has."""
    crop: Literal["centre", "random"] = "centre"
    """Which part of frames of another aspect ratio."""


@dataclass(frozen=True)
class LoaderSettings:
    """How data comes to a worker. Changes nothing of what is learned."""

    threads: int = 2
    """Threads of a worker that decode."""
    ahead: int = 2
    """Batches that are made while one is trained on."""
    cache: str = "~/.cache/fourreal/shards"
    """Folder for shards of s3:// folders, shared by the workers of a machine."""
    cache_gb: float = 50.0
    """Most that this folder may hold; what was used longest ago makes room."""
    fetch_ahead: int = 32
    """Batches whose shards are fetched ahead."""


@dataclass(frozen=True)
class ModelSettings:
    """The model. A stage that starts from another's model has that model's size and patches; frames may be larger."""

    size: str | None = None
    """nano, tiny, small, base or large (0.3 M to 600 M parameters); default: nano."""
    height: int | None = None
    """Height of the frames in pixels; stored frames are cropped and resized. Default: 32."""
    width: int | None = None
    """Width of the frames in pixels. Default: 48."""
    patch_size: int | None = None
    """Side of a patch in pixels; must divide height and width. Default: 8."""
    architecture: Architecture | None = None
    """How views and times meet: two streams (soft, hard), one stream in turns (sequential) or at once (fused).
    Default: soft, or that of the grid model that the stage starts from."""
    train: TrainPolicy | None = None
    """What the grid stage fits: sync-only, self-attention, lora or full; default: sync-only where the architecture
    has synchronization layers, else self-attention."""
    references: bool = False
    """Whether the patches of given frames are added to the tokens of the others (4Real-Video-V2 does): what lies at the
    same place in the nearest of a video; in a grid along views, along times, and where both meet. Said when the base
    model is made."""
    refinement: int = 0
    """Channels of convolutions that mend the predicted frames by the given ones; 0 is none, 24 a good number for frames
    of few pixels. Said when the base model is made."""
    upscale: int = 4
    """How many times larger than those of the grid model an upsampler's frames are; height and width are the larger."""
    lora_rank: int = 16
    """Rank of the maps that lora trains."""
    lora_alpha: float | None = None
    """They are scaled by this over their rank; default: the rank, which is a scale of 1."""
    prediction: Literal["clean", "velocity", "residual"] | None = None
    """What a new model puts out; the loss is on velocity either way. Default: clean, which learns better where a patch
    has more numbers than the model is wide; residual: what clean frames differ by from a blend of the given ones, with
    which a new model starts."""


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its learning rate over time."""

    lr: float = 2e-3
    """Highest learning rate."""
    warmup_steps: int | None = None
    """Steps in which the learning rate rises to it; default: 50, or a tenth of a run that is shorter than 500."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after that, to a hundredth; constant: not at all."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of the means of gradients and of their squares."""
    eps: float = 1e-8
    """Keeps the division by the second of them bounded."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    clip_norm: float = 1.0
    """Largest global gradient norm of a step; longer gradients are scaled down to it. 0 clips nothing."""
    ema_decay: float = 0.0
    """Decay of a running mean of the weights, 0.999 to 0.9999; the mean is what is exported. 0 keeps none."""


@dataclass(frozen=True)
class EngineSettings:
    """What computes the steps."""

    kind: Literal["deepspeed", "torch"] = "deepspeed"
    """DeepSpeed, or plain torch for one worker."""
    zero_stage: ZeroStage = 2
    """What DeepSpeed splits among workers: 0 nothing, 1 optimizer, 2 also gradients, 3 also weights."""
    micro_batches: int = 1
    """Parts in which a batch is computed one after the other: less memory, the same step. Must divide --batch-size."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 computes in bfloat16 where that is safe; what trains stays fp32. auto: bf16 on a GPU, fp32 on a CPU."""
    activation_checkpointing: bool = False
    """Compute activations again for the gradient instead of keeping them: less memory, about a third more time."""
    compile: Literal["none", "inductor", "aot_eager"] = "none"
    """torch.compile with this backend; inductor needs a C++ compiler, aot_eager only traces."""
    offload_optimizer: Offload = "none"
    """Where DeepSpeed keeps optimizer state and fp32 weights instead of on the GPU, from ZeRO stage 1 on."""
    offload_weights: Offload = "none"
    """Where DeepSpeed keeps weights that no layer needs at the moment; ZeRO stage 3 only."""
    nvme_folder: str | None = None
    """Folder on a fast local disk for what is offloaded to nvme."""

    def computes_in_bf16(self, device_type: str) -> bool:
        """Whether the forward pass on such a device is in bfloat16."""
        return self.precision == "bf16" or (self.precision == "auto" and device_type == "cuda")


@dataclass(frozen=True)
class CheckpointSettings:
    """When the state is saved, and what is kept of it."""

    every: int = 200
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints that are kept, the newest ones; a damaged one is passed over for the one before it."""
    keep_every: int = 0
    """Besides these, the checkpoints at multiples of so many steps are kept for ever; 0: none."""


@dataclass(frozen=True)
class GuardSettings:
    """When a step is skipped, when skipping is not enough, and when to give up."""

    spike_factor: float = 100.0
    """A step whose loss or gradient norm is not finite, or this many times the median of the last 50, is skipped."""
    max_skips: int = 5
    """Steps skipped in a row before the run goes back to its last checkpoint and on with other data."""
    max_rollbacks: int = 3
    """How often that is done before the run stops."""


@dataclass(frozen=True)
class RestartSettings:
    """How a run ends early, and how often it starts again by itself."""

    grace_s: float = 30.0
    """Time for a last checkpoint after SIGTERM; the same command goes on from that step."""
    max_failures: int = 3
    """How often dead workers are replaced before the run is given up."""
    hang_timeout_s: float = 600.0
    """A step (a checkpoint, the first compilation) that takes longer is a hang: it is said who holds the others up, and
    all workers start again from the last checkpoint."""


@dataclass(frozen=True)
class SampleSettings:
    """Sample pictures while training goes on, made outside of it."""

    every: int = 1
    """Every so many checkpoints one is asked for; 0: only at the end."""
    timeout_s: float = 900.0
    """A picture that takes longer is given up."""


@dataclass(frozen=True)
class ValidationSettings:
    """The loss on grids that are not trained on, at every checkpoint."""

    data: tuple[str, ...] = ()
    """Folders of held-out shards; none: no validation."""
    samples: int = 64
    """Samples of which the loss is taken, the same ones every time."""
