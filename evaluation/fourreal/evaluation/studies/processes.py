"""Processes for what a study does several times over, which end with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from fourreal.platform.errors import UserError


@contextmanager
def process_pool(
    workers: int | None, initializer: Callable[..., Any], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """A pool for the block; `initializer` runs in each process. None: one for each core.

    An error in the block ends the pool when what runs is finished, and what waits is dropped. UserError when one of
    the processes is killed.
    """
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer, arguments) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise UserError(
                "a process of the study was ended (for want of memory?): run the same command, with less beside it "
                "or a smaller --fit.parallel"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
