"""What is done again and again beside a block of code, for as long as the block lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(call: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call `call` every `every_s` seconds in a thread, first after so many; it no longer runs when the block has ended.

    An exception of `call` ends the repetition and nothing else.
    """
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_s):
            call()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
