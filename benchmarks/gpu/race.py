"""The seconds and bytes of ways of making a pipeline faster, against its plain run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from answer import Answer
from asked import DTYPE, GIB, Asked
from subjects import Subject, sample
from timing import forget_peak, peak_bytes, seconds
from torch import nn
from ways import Way

import forecastcache as fc
from forecastcache.errors import OptionError

WORKSPACE = 6 * GIB  # what a step holds beside weights and histories, at the most
SLACK = 1.15  # by which an estimate of seconds may be short


@dataclass
class Race:
    """Plain runs of one pipeline, and runs with something put on it.

    Attributes:
        asked: how the question is to be answered.
        answer: where rows go.
        subject: model and size.
        steps: number of steps of every run.
        plain_steps: number of those that are timed of the plain run.
        warm: whether every way runs for a few steps before it is timed.
    """

    asked: Asked
    answer: Answer
    subject: Subject
    steps: int
    plain_steps: int
    warm: bool = True
    _pipe: Any = None
    _call: dict[str, Any] = field(default_factory=dict)
    _blank: nn.Module | None = None
    _step: float = 0.0  # seconds of a plain one
    _peak: int | None = None

    def run(self, ways: Iterable[Way]) -> None:
        """A row for the plain run and one for each way; what does not fit is skipped."""
        if not self._build():
            return
        self._plain("plain", warm_up=2)
        for way in ways:
            with self.answer.trying(way.name):
                reason = self._reason_against(way)
                if reason:
                    self.answer.skip(way.name, reason)
                else:
                    self._way(way)
        reason = self.asked.no_time_for(self._step * self.plain_steps * SLACK)
        if reason:
            self.answer.skip("plain, again", reason)
        else:
            self._plain("plain, again", warm_up=0)

    def _build(self) -> bool:
        device = self.asked.device
        self._blank = self.subject.blank()
        weights = sum(it.numel() for it in self._blank.parameters()) * DTYPE.itemsize
        reason = self.asked.no_room_for(weights + WORKSPACE)
        if reason:
            self.answer.skip(self.subject.model, reason)
            return False
        self._pipe = self.subject.pipe(device, DTYPE)
        self._call = self.subject.call(device, DTYPE)
        return True

    def _plain(self, name: str, warm_up: int) -> None:
        if warm_up:
            self._sample(warm_up)
        taken, peak, _ = self._timed(self.plain_steps)
        if not self._step:
            self._step, self._peak = taken / self.plain_steps, peak
        self.answer.row(
            way=name,
            steps=self.steps,
            seconds=taken / self.plain_steps * self.steps,
            scaled_from_steps=self.plain_steps,
            seconds_a_step=taken / self.plain_steps,
            peak_bytes=peak,
        )

    def _way(self, way: Way) -> None:
        if self.warm:
            with way.put_on(self._pipe, way.warm_up, warming=True):
                self._sample(way.warm_up)
        with way.put_on(self._pipe, self.steps, warming=False) as session, self._probe() as ran:
            taken, peak, finite = self._timed(self.steps)
            report = session.report() if session is not None else None
        plain, ceiling = self._step * self.steps, self.steps / len(ran)
        self.answer.row(
            way=way.name,
            **way.figures,
            steps=self.steps,
            computed=len(ran),
            seconds=taken,
            ratio=plain / taken,
            ceiling=ceiling,
            ratio_to_ceiling=plain / taken / ceiling,
            peak_bytes_beyond_plain=None if peak is None else peak - (self._peak or 0),
            cache_bytes=report and report.cache_bytes,
            cache_bytes_planned=report and report.cache_bytes_planned,
            finite=finite,
        )

    def _timed(self, steps: int) -> tuple[float, int | None, bool]:
        """Seconds and peak of a run, and whether what it makes is finite."""
        device, made = self.asked.device, []
        forget_peak(device)
        taken = seconds(device, lambda: made.append(self._sample(steps)))
        return taken, peak_bytes(device), bool(made[0].isfinite().all())

    def _sample(self, steps: int) -> Any:
        return sample(self._pipe, self._call, steps)

    @contextmanager
    def _probe(self) -> Iterator[list[None]]:
        """Grows by one in every step that computes the attention of the last block of two streams.

        Counted so, it holds for everybody's schedule.
        """
        ran: list[None] = []
        block = self._pipe.transformer.transformer_blocks[-1]
        hook = block.attn.to_q.register_forward_pre_hook(lambda *_: ran.append(None))
        try:
            yield ran
        finally:
            hook.remove()

    def _reason_against(self, way: Way) -> str | None:
        baseline = getattr(way, "baseline", None)
        try:
            if baseline is not None:
                baseline.check(self.steps)
        except OptionError as error:
            return str(error)
        passes = way.passes(self.steps) + (way.warm_up if self.warm else 0)
        planned = 0
        if way.keeps is not None and getattr(way, "offload", None) is None:
            site, depth = way.keeps
            planned = fc.plan_memory(
                self._blank, self.subject.size, depth=depth, site=site, dtype=DTYPE
            ).total_bytes
        no_room = self.asked.no_room_for(planned + WORKSPACE)
        return no_room or self.asked.no_time_for(passes * self._step * SLACK)
