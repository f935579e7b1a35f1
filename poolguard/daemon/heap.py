"""What the C library does with memory that is free again: glibc gives it back to the kernel too eagerly for a relay."""

import ctypes
from typing import Any, Final

# mallopt(3). Both must be set: with one of them, glibc no longer moves the other by itself.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3

KEPT_BYTES: Final = 2 * 1024 * 1024
"""Free memory at the heap's end that stays: eight of the largest chunks that are read at once."""


def keep_chunks(library: Any = None) -> bool:
    """Let memory of the chunks that pass be used again; whether *library* (None: this process's own) can do that.

    A COPY is read in chunks of up to 256 KB. glibc unmaps such a one as soon as it is free, and the next one is
    faulted in again page by page: half of a COPY's CPU. Elsewhere (musl, macOS) there is no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None) if library is None else library, "mallopt", None)
    if mallopt is None:
        return False
    taken = [mallopt(which, KEPT_BYTES) for which in (_MMAP_THRESHOLD, _TRIM_THRESHOLD)]
    return taken == [1, 1]
