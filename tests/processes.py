"""Processes of one group, started as torchrun does or by it, and what passes between them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).parents[1]
LONGEST = 400  # seconds
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def start(size: int, module: str, *arguments: object) -> list[subprocess.Popen]:
    """Start `python -m module arguments` so many times, with what tells each its rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def finish(group: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """Exit code and standard error of each, once all have ended; none is left behind."""
    try:
        said = [process.communicate(timeout=LONGEST)[1] for process in group]
    finally:
        for process in group:
            process.kill()
    return [(process.returncode, text) for process, text in zip(group, said)]


def torchrun(size: int, *arguments: object, **env: object) -> subprocess.CompletedProcess:
    """What torchrun makes of `-m module ...`, in so many processes."""
    return subprocess.run(
        [*TORCHRUN, str(size), *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=LONGEST,
        env={**os.environ, "OMP_NUM_THREADS": "1", **{name: str(it) for name, it in env.items()}},
    )  # fmt: skip


class Collectives(TorchDispatchMode):
    """Counts what passes between the processes, by the name of the operation."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, tensors = str(func), [it for it in tree_leaves(args) if isinstance(it, torch.Tensor)]
        here = name.startswith(("c10d.", "_c10d_functional.")) and tensors
        # Waiting passes nothing, and without data there is nothing to pass.
        if here and "_tensor" not in name.replace("into_tensor", "") and not tensors[0].is_meta:
            self.counts[name] = self.counts.get(name, 0) + 1
        return func(*args, **(kwargs or {}))
