"""All targets by name."""

from __future__ import annotations

from tests.fuzz import target_checkpoint, target_config, target_glb, target_model, target_shard, target_video
from tests.fuzz.harness import Target

_MODULES = (target_glb, target_video, target_shard, target_checkpoint, target_config, target_model)
TARGETS: dict[str, Target] = {module.TARGET.name: module.TARGET for module in _MODULES}
