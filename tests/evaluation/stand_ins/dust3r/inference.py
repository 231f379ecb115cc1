from __future__ import annotations

from typing import Any

import numpy as np
import torch


@torch.no_grad()
def inference(pairs: list, model: Any, device: str, batch_size: int = 8, verbose: bool = True) -> dict:
    assert not verbose
    view1, view2 = ({**view, "true_shape": torch.from_numpy(np.asarray(view["true_shape"]))} for view in pairs[0])
    assert len(pairs) == batch_size == 1
    pred1, pred2 = model(view1, view2)
    return {"view1": view1, "view2": view2, "pred1": pred1, "pred2": pred2, "loss": None}
