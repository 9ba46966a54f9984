"""Process groups: processes that share one piece of work, each with its own part.

The network sees the same parts of the prompts and sums are added up in the order of the parts,
whoever has them: any number of processes comes to the same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import distributed

from forecastcache.errors import CalibrationError

T = TypeVar("T")
PATIENCE = timedelta(hours=6)  # that one process waits for another's prompts
ANSWER = timedelta(seconds=0.1)  # by which a closed connection has told itself from a quiet one


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of one piece of work.

    Attributes:
        rank: rank of this process.
        size: number of processes.
        channel: torch's process group that they talk through; None for its default one.
    """

    rank: int = 0
    size: int = 1
    channel: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes the file."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process, where `name` is of a kind that a machine has several of."""
        several = self.size > 1 and name not in ("cpu", "mps") and ":" not in name
        return f"{name}:{os.environ.get('LOCAL_RANK', '0')}" if several else name

    def own(self, parts: Sequence[T]) -> Sequence[T]:
        """The parts that are this process's.

        Raises:
            CalibrationError: there are fewer parts than processes.
        """
        if len(parts) < self.size:
            raise CalibrationError(
                f"{self.size} processes cannot share {len(parts)} parts of prompts: start fewer, "
                "or give a smaller --micro-batch"
            )
        return parts[self.rank :: self.size]

    def sum(self, mine: Sequence[np.ndarray], parts: int) -> np.ndarray:
        """The sum over all `parts`, of which this process brings its own, in their order.

        Raises:
            CalibrationError: another process has ended before its time.
        """
        every = np.zeros((parts, *mine[0].shape))
        every[self.rank :: self.size] = mine
        if self.size > 1:
            shared = torch.from_numpy(every)
            with self._named_loss():
                # The others' are zeros: adding them rounds nothing.
                distributed.all_reduce(shared, group=self.channel)
        total: np.ndarray = np.add.reduce(every, axis=0)
        return total

    def gather(self, mine: T) -> list[T]:
        """What each process brings, in the order of their ranks.

        Raises:
            CalibrationError: another process has ended before its time.
        """
        every: list[T] = [mine] * self.size
        if self.size > 1:
            with self._named_loss():
                distributed.all_gather_object(every, mine, self.channel)
        return every

    def from_main(self, read: Callable[[], T]) -> T:
        """What the main process reads, in every process.

        Raises:
            CalibrationError: another process has ended before its time.
        """
        found: list[T | None] = self.gather(read() if self.is_main else None)
        return cast(T, found[0])

    def require_same(self, asked: Mapping[str, str]) -> None:
        """Refuse processes that are not asked for the same, and name in what they differ.

        Raises:
            CalibrationError: they are not, or another process has ended before its time.
        """
        first, *others = self.gather(dict(asked))
        differing = {
            rank: [name for name in {**first, **other} if first.get(name) != other.get(name)]
            for rank, other in enumerate(others, start=1)
        }
        differing = {rank: names for rank, names in differing.items() if names}
        if differing:
            what = dict.fromkeys(name for names in differing.values() for name in names)
            raise CalibrationError(
                f"{_processes(list(differing), 'was', 'were')} given other {', '.join(what)} "
                "than process 0: start all with the same command and the same files"
            )

    def wait(self) -> None:
        """Wait until all processes are here.

        Raises:
            CalibrationError: another process has ended before its time.
        """
        if self.size > 1:
            with self._named_loss():
                distributed.barrier(self.channel)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Have the main process do something before the others, which find what it has made.

        Raises:
            CalibrationError: another process has ended before its time.
        """
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    @contextmanager
    def _named_loss(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            ended = self._ended()
            who = _processes(ended, "has", "have") + " ended" if ended else "a process was silent"
            raise CalibrationError(
                f"{who} before the work was done ({str(error).splitlines()[0]}): see what was "
                "said there, and start again; what was done is kept"
            ) from error

    def _ended(self) -> list[int]:
        """The processes whose end of the line is closed: a live one is quiet, and says nothing."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        ended = []
        for rank in others:
            try:
                heard = distributed.irecv(torch.zeros(1), group=self.channel, group_src=rank)
                assert heard is not None  # as it is for a process outside the group
                heard.wait(ANSWER)
            except RuntimeError as error:
                if "timed out" not in str(error).lower():
                    ended.append(rank)
        return ended


@dataclass(frozen=True)
class Shard:
    """A process's share of a batch of prompts.

    Attributes:
        sizes: numbers of samples in its parts, in the order in which they lie in its batch.
        parts: number of parts of all processes.
        group: the processes.
    """

    sizes: tuple[int, ...]
    parts: int
    group: ProcessGroup = ProcessGroup()

    @classmethod
    def whole(cls, count: int) -> Shard:
        """All of `count` samples, in one part."""
        return cls((count,), 1)

    def sum(self, of: Callable[[slice], np.ndarray]) -> np.ndarray:
        """The sum of what `of` gives for each part's samples, over all processes."""
        ends = np.cumsum(self.sizes).tolist()
        slices = [slice(end - size, end) for end, size in zip(ends, self.sizes)]
        return self.group.sum([of(each) for each in slices], self.parts)


@contextmanager
def process_group(patience: timedelta = PATIENCE) -> Iterator[ProcessGroup]:
    """The processes that torchrun or `accelerate launch` has started, or this one alone.

        with fc.process_group() as group:
            pipe.to(group.device("cuda"))
            fc.calibrate(pipe, request, "model.cal", group=group)

    They are to share the work, each with a whole model of its own: not for processes that share
    one model. They talk over gloo, beside whatever else they talk over.

    Args:
        patience: time that one process waits for another at most.
    """
    if distributed.is_available() and distributed.is_initialized():
        channel = distributed.new_group(backend="gloo", timeout=patience)
        try:
            yield ProcessGroup(distributed.get_rank(), distributed.get_world_size(), channel)
        finally:
            distributed.destroy_process_group(channel)
        return
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup()
        return
    distributed.init_process_group("gloo", timeout=patience)  # sums are made on the host
    try:
        yield ProcessGroup(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


def _processes(ranks: Sequence[int], one: str, several: str) -> str:
    """Ranks as the subject of a sentence, with its verb."""
    if len(ranks) == 1:
        return f"process {ranks[0]} {one}"
    return f"processes {', '.join(map(str, ranks[:-1]))} and {ranks[-1]} {several}"
