"""What the runner asks of a question: the device, the sizes, and the seconds there are."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

import torch

GIB = 2**30
DTYPE = torch.bfloat16  # what large models run in


@dataclass(frozen=True)
class Asked:
    """What a question is to be answered with.

    Attributes:
        device: `cuda` or `cpu`.
        tiny: whether sizes are those of a test, which say nothing.
        until: time on the monotonic clock at which the answer must be there.
    """

    device: str
    tiny: bool
    until: float

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.until - monotonic()

    def no_time_for(self, seconds: float) -> str | None:
        """Why work of about so many seconds is not begun; None if there is time for it."""
        if seconds < self.left:
            return None
        return (
            f"time used up: about {seconds:.0f} s are needed, {max(0, self.left):.0f} s are left"
        )

    def no_room_for(self, needed: int) -> str | None:
        """Why so many bytes are not asked of the device; None if they fit, or on CPUs."""
        if self.device != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info()
        free += torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        if needed <= free:
            return None
        return f"too little memory: {needed / GIB:.1f} GiB are needed, {free / GIB:.1f} are free"
