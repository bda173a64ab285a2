"""A disk that is watched, on which something happens at the n-th touch, and one that is full from the n-th write on."""

import builtins
import errno
import io
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


class FullDisk:
    """Counts what needs room below `folder`, and from the `last` time on refuses it with the error `number`.

    Files and folders that are made, each write that reaches the system, fsync and renames count; removing does not.
    """

    def __init__(self, patch, folder, last, number):
        self.folder, self.count, self.last, self.number = folder.resolve(), 0, last, number
        system = {name: getattr(os, name) for name in ("open", "mkdir", "fsync", "replace", "write")}
        plain_open = io.open
        disk = self

        class Raw(io.FileIO):
            def write(self, data):
                disk.touch(self.fileno())
                return super().write(data)

        def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
            if not set(mode) & set("wax+") or not disk.has(file):
                return plain_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if not isinstance(file, int) and not Path(os.fsdecode(file)).exists():
                disk.touch(file)
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            buffer = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
            if "b" in mode:
                return buffer
            text = io.TextIOWrapper(buffer, encoding, errors, newline)
            text.mode = mode
            return text

        def os_open(path, flags, *rest, **named):
            if flags & os.O_CREAT and not Path(path).exists():
                disk.touch(path)
            return system["open"](path, flags, *rest, **named)

        def watched(name, place=0):
            def call(*arguments, **named):
                disk.touch(arguments[place])
                return system[name](*arguments, **named)

            return call

        patch.setattr(builtins, "open", opened)
        patch.setattr(io, "open", opened)
        patch.setattr(os, "open", os_open)
        for name, place in {"mkdir": 0, "fsync": 0, "replace": 1, "write": 0}.items():
            patch.setattr(os, name, watched(name, place))

    def has(self, file):
        """Whether a path, or what a file descriptor leads to, is on this disk."""
        path = Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else Path(os.fsdecode(file))
        return path.resolve().is_relative_to(self.folder)

    def touch(self, file):
        if self.has(file):
            self.count += 1
            if self.count >= self.last:
                path = () if isinstance(file, int) else (os.fsdecode(file),)
                raise OSError(self.number, os.strerror(self.number), *path)
