"""When a store does not do what it is asked to: one kind of error for disks and object stores, with one sentence.

Nothing is wrong then with what was to be read or written, so no item is to be blamed: a job stops or tries again.
"""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_FULL = "the disk is full: free some space"
_READ_ONLY = "nothing may be written there: change its rights, or choose another place"
_DISK_MEANINGS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "the file would be larger than is allowed there",
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
}
_EXPIRED = "the S3 credentials have expired: renew them"
_REFUSED = "the S3 credentials do not allow this: use others, or change the bucket's policy"
_SKEWED = "this machine's clock is not the store's: set it"
_NO_BUCKET = "there is no such bucket"
_STORE_MEANINGS = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": _EXPIRED,
    "RequestTimeTooSkewed": _SKEWED,
    "REQUEST_TIME_TOO_SKEWED": _SKEWED,
    "RequestExpired": _SKEWED,
    "InvalidAccessKeyId": _REFUSED,
    "SignatureDoesNotMatch": _REFUSED,
    "AccessDenied": _REFUSED,
    "ACCESS_DENIED": _REFUSED,
    "AllAccessDisabled": _REFUSED,
    "NoSuchBucket": _NO_BUCKET,
    "NO_SUCH_BUCKET": _NO_BUCKET,
    "Unable to locate credentials": "there are no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}
"""By what S3 and its clients say of them, those that last until somebody mends something."""
_REFUSALS = re.compile(r"HTTP status 40[03]\b|\(40[03]\)|ACCESS_DENIED|AccessDenied")


class StorageError(OSError):
    """A store that does not do what it is asked to. Its text is a sentence for the person at the keyboard."""

    def __init__(self, sentence: str, *, lasting: bool = False, number: int | None = None) -> None:
        """`lasting`: it stays so until somebody mends something, so to ask again is of no use. `number` is errno's."""
        super().__init__(sentence)
        self.sentence, self.lasting, self.errno = sentence, lasting, number

    def __str__(self) -> str:
        return self.sentence  # whatever readers of streams have added to `args`

    def __reduce__(self) -> Any:
        return functools.partial(type(self), lasting=self.lasting, number=self.errno), (self.sentence,)


@contextmanager
def disk_errors(where: str) -> Iterator[None]:
    """Errors of writing to a disk within are StorageErrors."""
    try:
        yield
    except OSError as error:
        meaning = _DISK_MEANINGS.get(error.errno or 0)
        sentence = f"cannot write {where} ({error}){_then(meaning)}"
        raise StorageError(sentence, lasting=meaning is not None, number=error.errno) from error


def store_error(action: str, where: str, error: Exception, reason: str = "") -> StorageError:
    """What an object store's client raised, as a StorageError; `reason` is what the store says of it elsewhere."""
    words = " ".join(f"{error} {reason}".split())
    meaning = next((meaning for said, meaning in _STORE_MEANINGS.items() if said in words), None)
    return StorageError(f"cannot {action} {where} ({words}){_then(meaning)}", lasting=meaning is not None)


def is_refusal(error: Exception) -> bool:
    """Whether an object store will not, rather than cannot; it does not say why where an answer has no body (HEAD)."""
    return bool(_REFUSALS.search(str(error)))


def storage_fault(error: BaseException) -> StorageError | None:
    """The StorageError that an error came from; None when storage has nothing to do with it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, StorageError):
            return cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return None


def raise_storage_fault(error: BaseException) -> None:
    """Raise the StorageError that an error came from, so that nothing else is blamed; return where there is none."""
    if fault := storage_fault(error):
        raise fault


def _then(meaning: str | None) -> str:
    return f": {meaning}" if meaning else ""
