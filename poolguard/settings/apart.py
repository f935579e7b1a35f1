"""The settings, read in a process of its own, which takes all that it needed for that with it when it ends.

pydantic, PyYAML and the schema of the model take 10 MiB, which the daemon would hold for as long as it lives, for what
it does once, and again when the file changes. Here another process takes them, for half a second.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from poolguard.core.errors import SettingsError
from poolguard.settings.loaded import Loaded

READ_SECONDS: Final = 60.0
"""A file system that hangs must not hold a reload for ever."""


def load_apart(path: Path | str | None, environ: Mapping[str, str]) -> Loaded:
    """What `load.load` gives for the same arguments, without a trace of pydantic and PyYAML here.

    Raises what `load` raises, and SettingsError when the process can't start, is killed or takes over READ_SECONDS.
    Blocks: half a second and more on a busy machine. With a loop running, call it in a thread.
    """
    try:
        done = subprocess.run(
            # -P: nothing is imported from wherever poolguard happens to have been started.
            [sys.executable, "-P", "-m", "poolguard.settings.reader"],
            input=pickle.dumps((path, dict(environ))),
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            # Ctrl-C is for this process, which ends the other one.
            process_group=0,
            timeout=READ_SECONDS,
            check=False,
        )
    except OSError as error:
        raise SettingsError(f"can't start the process that reads the settings: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise SettingsError(
            f"reading the settings took over {READ_SECONDS:g}s: does a file of theirs lie where reading hangs?"
        ) from None
    if done.returncode < 0:
        raise SettingsError(
            f"the process that reads the settings was killed (signal {-done.returncode}): "
            "is there too little memory? It takes 35 MiB for a moment"
        )
    if done.returncode > 0:
        raise RuntimeError(f"the process that reads the settings failed\n{done.stderr.decode(errors='replace')}")
    result: Loaded | SettingsError = pickle.loads(done.stdout)  # noqa: S301 - from a process of ours
    if isinstance(result, SettingsError):
        raise result
    return result
