"""The one exception whose text is meant for the person at the keyboard."""

_LONGEST, _HEAD, _TAIL = 1000, 600, 300


class UserError(ValueError):
    """Something the user can mend: one sentence that names what is wrong and what to do.

    The command line prints the sentence without a traceback and exits with status 2.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(shortened(sentence))


def shortened(text: str) -> str:
    """The text without its middle where it quotes so much of a hostile file that nobody would read it."""
    return text if len(text) <= _LONGEST else f"{text[:_HEAD]} ... {text[-_TAIL:]}"
