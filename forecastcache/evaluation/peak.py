"""Peak: the most memory that a stretch of work held at a time."""

from __future__ import annotations

from pathlib import Path

import torch

PROCESS = Path("/proc/self")  # Linux
FORGET_THE_PEAK = "5"  # as `man proc` has it of clear_refs


class Peak:
    """Bytes held at the most since it was made.

    On a GPU, of what torch allocated there. On the host, of the process, the libraries that it has
    loaded included; unknown where the system does not tell.

    Args:
        device: the device that does the work.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known = True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            (PROCESS / "clear_refs").write_text(FORGET_THE_PEAK)
        except OSError:
            self._known = False

    @property
    def bytes(self) -> int | None:
        """So far."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return _resident_peak() if self._known else None


def _resident_peak() -> int:
    status = (PROCESS / "status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
