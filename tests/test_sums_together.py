"""Many weighted sums in few launches, and sums of features in host memory."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import forecastcache as fc
from forecastcache import predictor as predictor_module
from forecastcache._util import streamed_sum
from forecastcache._util.weighted_sum import weighted_sum
from forecastcache.errors import HistoryError
from forecastcache.history import combine_all

from .test_history import DTYPES, filled

CPU = torch.device("cpu")


class Launches(TorchDispatchMode):
    """Counts the operations that are dispatched."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def drawn(generator: torch.Generator, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(shape, generator=generator).to(dtype)


@given(
    depth=st.integers(1, 4),
    sites=st.integers(1, 6),
    dtype=st.sampled_from(DTYPES),
    stored=st.sampled_from([None, torch.bfloat16, torch.float32]),
    zeros=st.sets(st.integers(0, 3)),
    seed=st.integers(0, 9),
)
def test_sums_made_together_are_the_sums(depth, sites, dtype, stored, zeros, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(i % 3 + 1, 5) for i in range(sites)]
    histories = [
        filled(depth, [drawn(generator, shape, dtype) for _ in range(depth)], dtype=stored)
        for shape in shapes
    ]
    row = torch.randn(depth, generator=generator).tolist()
    row = [0.0 if i in zeros else w for i, w in enumerate(row)]
    together = combine_all(histories, row)
    for history, got in zip(histories, together, strict=True):
        alone = history.combine(row)
        assert got.dtype == alone.dtype == dtype
        assert torch.equal(got, alone)


def test_histories_of_two_kinds_are_summed_each_in_its_own():
    features = [torch.ones(3), torch.ones(2, dtype=torch.bfloat16), torch.ones(4).double()]
    got = combine_all([filled(2, [x, x]) for x in features], [2.0, 0.5])
    assert [(x.dtype, x.tolist()) for x in got] == [(x.dtype, [2.5] * len(x)) for x in features]


def test_a_row_of_another_length_is_refused_by_all():
    histories = [filled(2, [torch.ones(2)] * 2)] * 3
    with pytest.raises(HistoryError, match="one weight a feature"):
        combine_all(histories, [1.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_launches_do_not_grow_with_the_sites(dtype):
    """But for the memory of the results, which is allocated one by one."""

    def launches(sites: int) -> int:
        histories = [filled(3, [torch.ones(4, dtype=dtype)] * 3) for _ in range(sites)]
        with Launches() as counted:
            combine_all(histories, [1.0, 2.0, 3.0])
        allocated = sites * (1 if dtype == torch.float32 else 3)
        return counted.count - allocated

    assert launches(2) == launches(20) <= 9  # of three terms, with a copy of each to float32


class _Event:
    pass


class _Stream:
    def wait_stream(self, other):
        pass

    wait_event = wait_stream

    def record_event(self):
        return _Event()


@settings(max_examples=20)
@given(depth=st.integers(1, 4), size=st.sampled_from([1, 63, 64, 65, 300]), seed=st.integers(0, 5))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_streamed_sum_puts_each_block_in_its_place(dtype, depth, size, seed):
    """Its order on a GPU is the GPU benchmark's; which elements go where is seen here."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(depth, generator=generator).tolist()
    terms = [(w, drawn(generator, (size,), dtype).view(1, size)) for w in weights]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed_sum, "BLOCK", 64)
        patch.setattr(streamed_sum, "_copying", lambda device: _Stream())
        patch.setattr(torch.cuda, "current_stream", lambda device: _Stream())
        patch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        got = streamed_sum.from_pinned(CPU, terms, torch.float32)
    assert torch.equal(got, weighted_sum(terms, torch.float32))


def test_sums_for_a_device_without_streams_are_moved():
    terms = [(2.0, torch.ones(3))]
    got = streamed_sum.sum_on(torch.device("meta"), terms, torch.float32)
    assert (got.device.type, got.shape) == ("meta", (3,))


def test_the_session_makes_small_forecasts_together_and_large_ones_alone(monkeypatch):
    from forecastcache.engine import branch

    made: list[int] = []
    combine = predictor_module.combine_all
    monkeypatch.setattr(
        predictor_module,
        "combine_all",
        lambda histories, row: made.append(len(histories)) or combine(histories, row),
    )

    def groups(bound: int) -> list[int]:
        monkeypatch.setattr(branch, "TOGETHER", bound)
        made.clear()
        own = branch.Branch(lambda: fc.History(2), None)
        for index in range(2):
            for site in range(5):  # of 40 bytes
                own.keep(fc.Step(index, 1.0), str(site), torch.full((10,), 1.0 + site + index))
        forecaster, ahead = fc.Taylor(1).prepare(own.steps, fc.Step(2, 0.0)), {}
        filled = [own.fill_in(forecaster, str(site), ahead) for site in range(5)]
        assert [x[0].item() for x in filled] == [3.0, 4.0, 5.0, 6.0, 7.0]
        assert not ahead
        return made.copy()

    assert groups(1 << 20) == [5]
    assert groups(80) == [2, 2, 1]
    assert groups(1) == [1] * 5
