"""What a benchmark says of the machine that it ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ENGINE = ("torch", "transformers", "trl", "peft")


def machine(packages: Sequence[str] = ENGINE) -> dict[str, object]:
    """Return processor, cores, the GPU if torch sees one, and the versions of ``packages``, which decide on speed."""
    described: dict[str, object] = {"processor": _processor(), "cores": os.cpu_count()}
    if "torch" in packages:
        import torch  # takes seconds, and benchmarks of the web need none of it

        described["gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return described | {name: version(name) for name in packages}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
