"""Run as a script: bind this process's life to its parent's, then become the server.

    python launch.py PARENT_PID exec PROGRAM [ARGUMENT...]
    python launch.py PARENT_PID libchdb LIBRARY [ARGUMENT...]

It imports nothing of the project, so that it starts in some 20 ms.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Ask Linux to send this process SIGKILL when its parent ends; the request survives exec."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        sys.exit("the parent ended before the server started")


def run_libchdb(library: str, arguments: list[str]) -> int:
    """Run ClickHouse's command line inside this process; returns its exit code."""
    argv = [b"clickhouse", *(os.fsencode(argument) for argument in arguments)]
    array = (ctypes.c_char_p * len(argv))(*argv)
    return int(ctypes.CDLL(library).chdb_query_cmdline(len(argv), array))


def main() -> None:
    """Follow the command line described above."""
    parent_pid, mode, program, *arguments = sys.argv[1:]
    die_with_parent(int(parent_pid))
    if mode == "exec":
        os.execv(program, [program, *arguments])  # noqa: S606 - a server of ours, by absolute path
    sys.exit(run_libchdb(program, arguments))


if __name__ == "__main__":
    main()
