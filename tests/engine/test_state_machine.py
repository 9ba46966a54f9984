"""Sessions against a plain dictionary: calls in any order of steps, branches, shapes, interrupts.

The model's output is the number of times that it ran, so a forecast from another branch, another
run or another shape shows at once.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch import Tensor, nn

import forecastcache as fc
from forecastcache.testing.fake_pipeline import FakePipeline

WIDTHS = (3, 5)
FLOAT = 4  # bytes


class Interrupted(BaseException):
    """As Ctrl-C would, but nobody else's."""


class Counter(nn.Module):
    """Returns how often it ran, in the shape of its sample."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0
        self.fails = False

    def forward(self, sample: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        if self.fails:
            raise Interrupted
        self.runs += 1
        return torch.full_like(sample, self.runs)


class Sessions(RuleBasedStateMachine):
    """One pipeline, sampled run after run; what is expected of it lies in dictionaries.

    Attributes:
        kept: newest computed output of each branch, with the width of its sample.
        called: step of the newest call of each branch.
    """

    @initialize(
        branches=st.integers(1, 3), interval=st.integers(1, 4), first=st.integers(1, 3),
        total=st.integers(2, 8),
    )  # fmt: skip
    def start(self, branches: int, interval: int, first: int, total: int) -> None:
        self.branches, self.total = branches, total
        self.schedule = fc.Every(interval, first)
        self.model = Counter()
        self.modules = list(self.model.modules())
        self.runs = 0
        self.begin()
        self.session = fc.attach(self.pipe, self.schedule, fc.Reuse())

    @rule()
    def begin(self) -> None:
        """A run, whether the one before it has ended or not."""
        times = [1.0 - index / self.total for index in range(self.total)]
        if self.runs == 0:
            self.pipe = FakePipeline(times, self.model)
        else:
            self.pipe.scheduler.timesteps = torch.tensor(times, dtype=torch.float64)
        self.runs += 1
        self.step, self.width = 0, WIDTHS[0]
        self.forget()

    def forget(self) -> None:
        """What happened is of another trajectory: the next step is the first of a new one."""
        self.base = self.step
        self.kept: dict[int, tuple[float, int]] = {}
        self.called: dict[int, int] = {}
        self.computed: set[int] = set()
        self.most = 0
        self.fresh = True

    @property
    def settled(self) -> bool:
        """Whether the branches are known by their conditions, as they are seen twice."""
        return self.step - self.base >= 2

    @precondition(lambda self: self.step < self.total)
    @rule(data=st.data(), resized=st.booleans())
    def take_a_step(self, data: st.DataObject, resized: bool) -> None:
        """Every branch at first, later any of them in any order, at another size perhaps."""
        chosen = list(range(self.branches))
        if self.settled:
            subsets = st.lists(st.sampled_from(chosen), min_size=1, unique=True)
            chosen = data.draw(subsets, label="branches")
            if resized and self.step < self.total - 2:
                self.width = WIDTHS[self.width == WIDTHS[0]]
        index, last = self.step - self.base, self.total - 1 - self.base
        if index == last:
            self.drop_idle(last)
        for branch in chosen:
            self.expect(branch, index, last)
        self.step += 1
        if index == last:
            self.kept.clear()

    def drop_idle(self, last: int) -> None:
        """Who was switched off before the last step is not expected back."""
        for branch in [b for b, newest in self.called.items() if newest < last - 1]:
            del self.called[branch]
            self.kept.pop(branch, None)

    def expect(self, branch: int, index: int, last: int) -> None:
        known = self.kept.get(branch)
        if known is not None and known[1] != self.width:
            known = self.kept.pop(branch, None) and None
        before = self.model.runs
        output = self.call(branch)
        self.fresh = False
        self.called[branch] = index
        if known is None or index in self.schedule.computed(last + 1):
            self.computed.add(index)
            assert self.model.runs == before + 1
            assert output.unique().tolist() == [self.model.runs]
            if index != last:
                self.kept[branch] = (self.model.runs, self.width)
            held = sum(width for _, width in self.kept.values())
            self.most = max(self.most, held)
        else:
            assert self.model.runs == before
            assert output.unique().tolist() == [known[0]]
        assert output.shape == (self.width,)

    def call(self, branch: int) -> Tensor:
        sample = torch.arange(float(self.width)) + self.step
        time = self.pipe.scheduler.timesteps[self.step]
        return self.model(sample, time, torch.full((2,), float(branch)))

    @precondition(lambda self: self.step < self.total)
    @rule()
    def interrupt(self) -> None:
        """In the middle of a call; the run may go on, as a trajectory of its own."""
        self.model.fails = True
        try:
            self.call(branch=0)
        except Interrupted:
            self.forget()
        else:
            self.model.fails = False
            self.session.reset()
            self.forget()
        self.model.fails = False

    @rule()
    def attach_again(self) -> None:
        self.session.detach()
        assert "forward" not in self.model.__dict__
        self.session = fc.attach(self.pipe, self.schedule, fc.Reuse())
        self.forget()

    @invariant()
    def nothing_lies_in_the_model(self) -> None:
        if hasattr(self, "modules"):
            assert list(self.model.modules()) == self.modules

    @invariant()
    def the_report_tells_of_this_trajectory(self) -> None:
        if hasattr(self, "session") and not self.fresh:
            report = self.session.report()
            assert set(report.computed) == self.computed
            assert report.cache_bytes == FLOAT * self.most
            calls = [(call.step.index, call.branch) for call in report.calls]
            assert len(calls) == len(set(calls))


class DeepSessions(Sessions):
    """The same, for longer."""


Sessions.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
DeepSessions.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestSessions, TestDeepSessions = Sessions.TestCase, DeepSessions.TestCase
# Trajectories that are left at their first step look like windows of a sample.
TestSessions.pytestmark = [pytest.mark.filterwarnings("ignore:nothing is forecast")]
TestDeepSessions.pytestmark = [*TestSessions.pytestmark, pytest.mark.slow]
