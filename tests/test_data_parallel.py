"""Processes with a whole model each share samples or rows, and come to what one comes to."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from forecastcache.errors import RequestError
from forecastcache.sampling.share import share

from . import data_parallel_worker as worker
from .conftest import make_pipeline
from .processes import finish, start

MODULE = "tests.data_parallel_worker"
CLOSE = 1e-5  # a batch of another size is summed in another order, in float32
ORDERS = 1e-6  # of figures that are means over the samples


@pytest.fixture(
    scope="module",
    params=[(2, "fresh"), pytest.param((4, "joined"), marks=pytest.mark.slow)],
    ids=["2", "4, in torch's own group"],
)
def found(request, tmp_path_factory) -> list[dict[str, Any]]:
    """What each process found."""
    size, how = request.param
    out = tmp_path_factory.mktemp(how)
    ended = finish(start(size, MODULE, how, out))
    assert [code for code, _ in ended] == [0] * size, ended
    return [torch.load(out / f"{rank}.pt", weights_only=False) for rank in range(size)]


def test_a_run_has_the_samples_and_figures_of_one_process(found):
    alone = worker.measured()
    for each in found:
        row, samples, plain = each["run"]
        torch.testing.assert_close(samples, alone.samples, rtol=0, atol=CLOSE)
        torch.testing.assert_close(plain, alone.plain, rtol=0, atol=CLOSE)
        one = alone.row.model_dump(exclude=worker.TIMED)
        largest = -(-worker.COUNT // len(found))  # samples of the process that holds the most
        for name in ("cache_bytes", "cache_bytes_planned"):
            assert row.pop(name) == one.pop(name) * largest // worker.COUNT
        assert row.keys() == one.keys()
        for name, figure in row.items():
            if isinstance(figure, float):
                assert figure == pytest.approx(one[name], rel=ORDERS), name
            elif name == "psnr_db_by_sample":
                assert figure == pytest.approx(one[name], rel=1e-5)
            elif name != "latent_psnr_by_step":
                assert figure == one[name], name


def test_an_evaluation_has_the_rows_of_one_process(found, tmp_path):
    alone = worker.evaluated(tmp_path, worker.ProcessGroup())
    assert len(alone) == len(worker.methods())
    for each in found:
        assert each["rows"] == alone


def test_accelerated_processes_each_learn_as_one_process_does(found, tmp_path):
    labels = [worker.SEED + rank for rank in range(len(found))]
    alone = worker.accelerated(tmp_path, labels)
    for rank, each in enumerate(found):
        assert each["accelerated"].keys() == {*worker.LEARNED_FROM, labels[rank]}
        for label, picture in each["accelerated"].items():
            assert torch.equal(picture, alone[label]), label
        assert each["collectives"] == {}


def test_processes_that_are_asked_for_other_things_are_all_named(found):
    others = ["process 1 was", "processes 1, 2 and 3 were"][len(found) > 2]
    for each in found:
        assert each["disagreeing"].startswith(
            f"{others} given other steps, seed than process 0: start all with the same command"
        )


@pytest.mark.slow
@pytest.mark.parametrize(("size", "how"), [(2, "fresh-dies"), (4, "joined-dies")])
def test_one_that_is_killed_is_named_and_loses_no_finished_row(tmp_path, size, how):
    *alive, (died, _) = finish(start(size, MODULE, how, tmp_path))
    assert died == -9
    for code, said in alive:
        assert code == 2
        named = said.partition(" before the work was done")[0]
        assert f"process {size - 1} has ended" in named or f"and {size - 1} have ended" in named
    told: list[tuple[int, int]] = []
    rows = worker.evaluated(
        tmp_path, worker.ProcessGroup(), progress=lambda _, done, of: told.append((done, of))
    )
    every = worker.methods()
    lost = len(every[size - 1 :: size]) - 1  # of the one that died, all but its first
    assert told == [(len(every) - left, len(every)) for left in reversed(range(lost))]
    assert [row["name"] for row in rows] == [method.name for method in every]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_even_and_together_the_whole(size):
    pipe, asked = make_pipeline(), worker.request()
    shares = [share(asked, pipe, rank, size) for rank in range(size)]
    assert sum((tuple(each.classes) for each in shares), ()) == asked.classes
    seeds = [pipe_seed for each in shares for pipe_seed in each.keywords(pipe)["generator"]]
    assert [it.initial_seed() for it in seeds] == list(range(worker.COUNT))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_more_processes_than_samples_are_refused():
    with pytest.raises(RequestError, match="6 processes cannot share 5 samples: start fewer"):
        share(worker.request(), make_pipeline(), 0, 6)
