"""A folder whose disk is full, or broken, from the n-th time on that something is written there."""

import builtins
import io
import os
from pathlib import Path


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
