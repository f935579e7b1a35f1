"""daemon.heap: chunks that pass leave their memory to the next."""

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from poolguard.daemon.heap import KEPT_BYTES, keep_chunks

CHUNKS = """
import resource
from poolguard.daemon.heap import keep_chunks
assert keep_chunks()
def some():
    for _ in range(4):
        chunks = [b"x" * size for size in (150_000, 250_000, 100_000)]
        joined = b"".join(chunks)
some()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    some()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_where_the_c_library_has_no_such_setting_nothing_is_done() -> None:
    assert keep_chunks(SimpleNamespace()) is False


@pytest.mark.parametrize(("answer", "expected"), [(1, True), (0, False)])
def test_both_thresholds_are_set(answer: int, expected: bool) -> None:
    told: list[tuple[int, int]] = []

    def mallopt(which: int, size: int) -> int:
        told.append((which, size))
        return answer

    assert keep_chunks(SimpleNamespace(mallopt=mallopt)) is expected
    assert sorted(told) == [(-3, KEPT_BYTES), (-1, KEPT_BYTES)]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting: run it on Linux with glibc")
def test_the_next_chunk_is_not_faulted_in_again() -> None:
    """400 times 1 MB: without it some 35,000 pages."""
    ran = subprocess.run([sys.executable, "-c", CHUNKS], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 1000
