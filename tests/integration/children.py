"""Processes that do not outlive the one that started them."""

import os
import sys

from libs.testing.localstack import launch
from libs.testing.localstack.process import PARENT_DEATH_SIGNAL


def python(*arguments: str) -> list[str]:
    """The command of a Python process that is killed, on Linux, when the calling thread ends, however that comes."""
    command = [sys.executable, *arguments]
    if not PARENT_DEATH_SIGNAL:
        return command
    return [sys.executable, "-I", launch.__file__, f"signal:{os.getpid()}", "exec", *command]
