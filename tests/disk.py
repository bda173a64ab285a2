"""A disk that is watched: something happens at the n-th time that it is touched."""

import errno
import os
import signal
import traceback
import warnings
from pathlib import Path

import pytest


class Disk:
    """Counts what is done to the disk; at the `last` time something happens, and whenever that is told to persist."""

    def __init__(self, patch, last, happen):
        self.count, self.last, self.happen = 0, last, happen
        fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

        def watched_fsync(handle):
            self.touch(Path(f"/proc/self/fd/{handle}").readlink())
            fsync(handle)

        def watched_replace(path, target):
            self.touch()
            moved = replace(path, target)
            self.touch()
            return moved

        def watched_unlink(path, missing_ok=False):
            if not missing_ok:
                self.touch()
            unlink(path, missing_ok)

        patch.setattr(os, "fsync", watched_fsync)
        patch.setattr(Path, "replace", watched_replace)
        patch.setattr(Path, "unlink", watched_unlink)

    def touch(self, path=None):
        self.count += 1
        if self.count >= self.last:
            self.happen(path)


def kill(path):
    if path is not None and path.is_file():
        os.truncate(path, path.stat().st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)


def fill(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def ends_in_a_process(last, work):
    """Whether `work` came to its end in a process that is killed at its `last` touch of the disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pytest's threads hold no lock that matters here
        child = os.fork()
    if child == 0:
        try:
            Disk(pytest.MonkeyPatch(), last, kill)
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code == 0
