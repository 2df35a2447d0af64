"""What memory a device has free, and what a run takes of it at most."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import torch

SAMPLE_SECONDS = 0.02
"""Between two looks at a process's memory on a CPU: a pass takes many times as long."""
_M_MMAP_THRESHOLD = -3
_OWN_MAPPING_BYTES = 2**20


def free_memory(device: torch.device) -> int:
    """Return the bytes that this process can still take on a device.

    On a CPU that is what the system has available, or less if a control group (a container, a batch system) allows
    less; processes that torchrun started on this machine share it.
    """
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        # What PyTorch holds in reserve counts as taken, but is ours to use.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    limits = [psutil.virtual_memory().available, *cgroup_free()]
    return max(0, min(limits)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def cgroup_free(root: Path = Path("/")) -> Iterator[int]:
    """Yield what each control group that this process is in lets its members take yet, in bytes; nothing without limit.

    Cached files count as used there, but give way; what of them is not in active use is taken for free, as by
    Kubernetes.

    Args:
        root: where ``proc`` and ``sys`` are mounted.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files = ("memory.max", "memory.current", "inactive_file ")
            mounts = [root / "sys/fs/cgroup"]
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
            mounts = [root / "sys/fs/cgroup/memory"]
        else:
            continue
        for mount in mounts:
            own = mount / path.strip("/")
            # In a container the path may be the host's: its own group is then what is mounted.
            for folder in (own, *own.parents):
                if folder.is_relative_to(mount):
                    yield from _left_in(folder, *files)


def _left_in(folder: Path, limit_file: str, used_file: str, cached: str) -> Iterator[int]:
    try:
        limit = (folder / limit_file).read_text(encoding="utf-8").strip()
        used = int((folder / used_file).read_text(encoding="utf-8"))
        statistics = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    if limit != "max":
        idle = sum(int(line.removeprefix(cached)) for line in statistics if line.startswith(cached))
        yield int(limit) - used + idle


def give_freed_memory_back() -> None:
    """Have the C library give large blocks back to the system as soon as they are freed; where it is not glibc, nothing
    changes.

    glibc keeps freed blocks of up to 32 MiB for later, and those of a forward pass seldom fit those of the next: with
    SmolLM2-135M, LoRA and four trees of 270 tokens a process grew to 4.1 GiB, and to 2.8 GiB this way. But the system
    then clears every block anew, and a pass took 1.3 times as long: it is for where memory is short.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)


def forget_freed_memory() -> None:
    """Give back what was freed up to now, so that what comes later is not hidden in it (loading a model, and converting
    one, leave up to 700 MiB); where the C library is not glibc, nothing changes."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class PeakMemory:
    """Watches, while it is entered, how much more memory this process takes than at the beginning.

    On a GPU it is what PyTorch allocated there. On a CPU it is the resident set, looked at every `SAMPLE_SECONDS`.

    Args:
        device: whose memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = self._peak = self._highest = 0
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        forget_freed_memory()
        self._start_again()
        self._before = self._peak
        if self._device.type != "cuda":
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def take(self) -> int:
        """Return the most since the last call, in bytes above the beginning."""
        self._look()
        peak = self._peak
        self._highest = max(self._highest, peak)
        self._start_again()
        return max(0, peak - self._before)

    def highest(self) -> int:
        """Return the most since the beginning, in bytes above it."""
        self._look()
        return max(0, self._highest - self._before, self._peak - self._before)

    def _start_again(self) -> None:
        with self._lock:
            self._peak = 0
            if self._device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self._device)
        self._look()

    def _look(self) -> None:
        with self._lock:
            if self._device.type == "cuda":
                now: int = torch.cuda.max_memory_allocated(self._device)
            else:
                now = psutil.Process().memory_info().rss
            self._peak = max(self._peak, now)

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._look()
