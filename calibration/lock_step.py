"""Lock step: several calls of a pipeline sampled side by side, so that rows can be fitted to all.

A row is solved from where all samples are at its step. Calls that were made one by one need not
make one batch: each has a thread, one of which runs at a time, and they wait for one another
where a row is to be solved. So every call sees the network, the scheduler and the random numbers
as it would alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from forecastcache.errors import CalibrationError
from forecastcache.sampling.trajectory import Trajectory, trajectory_of


class Sampled(NamedTuple):
    """One call of a pipeline.

    Attributes:
        pipe: pipeline with a scheduler of its own; models may be shared.
        run: function that has it sample, the same at every call.
        samples: number of samples that it makes.
    """

    pipe: Any
    run: Callable[[], object]
    samples: int


class Joined(Sequence[Tensor]):
    """One tensor a step: that of every call, in their order.

    Args:
        each: tensors of each call, step by step.
    """

    def __init__(self, each: Sequence[Sequence[Tensor]]) -> None:
        self._each = each

    def __len__(self) -> int:
        return min(map(len, self._each))

    def __getitem__(self, step: Any) -> Any:
        if isinstance(step, slice):
            return [self[i] for i in range(*step.indices(len(self)))]
        return torch.cat([own[step] for own in self._each])


class JoinedTrajectory:
    """The trajectories of several calls, read as one.

    Args:
        each: trajectory of each call.
    """

    def __init__(self, each: Sequence[Trajectory]) -> None:
        self.each = each

    @property
    def samples(self) -> Joined:
        """Samples x_0 to x_s that all calls have come to."""
        return Joined([own.samples for own in self.each])

    @property
    def guided(self) -> Joined:
        """Guided outputs that all calls have come to."""
        return Joined([own.guided for own in self.each])


class _LeftError(Exception):
    """Another call has failed."""


@dataclass
class LockStep:
    """Calls that are sampled side by side.

    Attributes:
        calls: the calls.
        now: number of the call that runs.
    """

    calls: Sequence[Sampled]
    now: int = 0
    _turn: threading.Condition = field(default_factory=threading.Condition)
    _here: int = 0  # calls that wait for the others
    _away: int = 0  # calls that have not ended
    _met: int = 0  # times that all have met
    _failed: BaseException | None = None

    @contextmanager
    def trajectory(self, look: Callable[[Tensor], Tensor]) -> Iterator[JoinedTrajectory]:
        """Follow the scheduler of each call."""
        with ExitStack() as held:
            followed = [trajectory_of(it.pipe, it.samples, look) for it in self.calls]
            yield JoinedTrajectory([held.enter_context(each) for each in followed])

    def run(self) -> None:
        """Sample all calls.

        Raises:
            CalibrationError: some come to a step that others do not.
        """
        self._here, self._away, self._failed = 0, len(self.calls), None
        autocast = _autocast_here()
        threads = [
            threading.Thread(target=self._call, args=(number, autocast), daemon=True)
            for number in range(len(self.calls))
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException as error:  # an interrupt, which comes to the main thread alone
            with self._turn:
                self._fail(error)
            raise
        if self._failed is not None:
            raise self._failed

    def together(self, solve: Callable[[], None]) -> None:
        """Wait until all calls are here; the last one solves for all.

        Raises:
            CalibrationError: a call has ended without having come here.
        """
        number, met = self.now, self._met
        self._here += 1
        if self._here == len(self.calls):
            solve()
            self._here, self._met = 0, self._met + 1
            self._turn.notify_all()
            return
        drawn = random_states()
        while self._met == met and self._failed is None:
            self._require_all()
            self._turn.wait()
        if self._failed is not None:
            raise _LeftError
        self.now = number
        set_random_states(drawn)  # others have drawn from the global generators meanwhile

    def _require_all(self) -> None:
        if self._away < len(self.calls):
            raise CalibrationError(
                "some calls have fewer steps than others: calibrate calls of one number of steps"
            )

    def _call(self, number: int, autocast: Sequence[tuple[str, torch.dtype]]) -> None:
        with self._turn:
            self.now = number
            try:
                with ExitStack() as held:
                    for device, dtype in autocast:
                        held.enter_context(torch.autocast(device, dtype))
                    if self._failed is None:
                        self.calls[number].run()
            except _LeftError:
                pass
            except BaseException as error:
                self._fail(error)
            finally:
                self._away -= 1
                self._turn.notify_all()

    def _fail(self, error: BaseException) -> None:
        self._failed = self._failed or error
        self._turn.notify_all()


def random_states() -> list[Tensor]:
    """States of the global generators: the host's, then those of all GPUs in use."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *gpus]


def set_random_states(states: Sequence[Tensor]) -> None:
    """Put the global generators back into these states."""
    host, *gpus = states
    torch.set_rng_state(host)
    if gpus:
        torch.cuda.set_rng_state_all(gpus)


def _autocast_here() -> list[tuple[str, torch.dtype]]:
    """Where autocast is on in this thread: other threads do not inherit it."""
    return [
        (device, torch.get_autocast_dtype(device))
        for device in ("cpu", "cuda")
        if torch.is_autocast_enabled(device)
    ]
