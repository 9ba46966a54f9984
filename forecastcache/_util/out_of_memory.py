"""Out of memory: told apart from other errors of torch, which has no type for it on a CPU."""

from __future__ import annotations

import torch

SAID = ("can't allocate memory", "not enough memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the host or of a device, has run out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in SAID)
