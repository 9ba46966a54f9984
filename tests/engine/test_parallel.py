"""Processes that share a model by its tokens or its weights come to what one comes to.

Two and four processes over gloo run diffusers' own context and tensor parallelism. A machine
without an accelerator lacks three things for that, which `parallel_worker.fit_for_cpu` puts in: a
number of devices, the name of the CPU among those that tensor parallelism takes, and, for a ring,
attention that returns the logarithms of its sums.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from ..conftest import EVERYTHING, SITES
from ..processes import finish, start

MODELS = {
    "ulysses": ("flux", "wan", "qwen_image"),
    "ring": ("flux", "wan", "qwen_image"),
    "both": ("flux", "wan", "qwen_image"),
    "tensor": ("flux", "qwen_image"),
}
GROUPS = [(2, "ulysses"), (2, "ring"), (2, "tensor"), (4, "both")]
GROUPS += [(4, "ulysses"), (4, "ring")] if EVERYTHING else []
CLOSE = 1e-5  # sums over two parts in float32, of outputs of order 1
CALLS, COMPUTED = 6, [0, 1, 4]

pytestmark = pytest.mark.slow


class Found(NamedTuple):
    """What each process found, of so many that share the models so."""

    size: int
    how: str
    ranks: list[dict[str, Any]]


@pytest.fixture(scope="module", params=GROUPS, ids=lambda it: f"{it[1]} by {it[0]}")
def found(request, tmp_path_factory) -> Found:
    size, how = request.param
    out = tmp_path_factory.mktemp(how)
    ended = finish(start(size, "tests.engine.parallel_worker", how, out, *MODELS[how]))
    assert [code for code, _ in ended] == [0] * size, ended
    return Found(size, how, [json.loads((out / f"{it}.json").read_text()) for it in range(size)])


def each_model(found: Found) -> list[tuple[str, dict[str, Any]]]:
    return [(name, rank[name]) for rank in found.ranks for name in MODELS[found.how]]


def test_diffusers_itself_comes_to_what_one_process_does(found):
    for name, model in each_model(found):
        assert model["plain"] < CLOSE, name
        assert sum(model["collectives"].values()) > 0, name


@pytest.mark.parametrize("site", SITES)
def test_outputs_are_those_of_one_process(found, site):
    for name, model in each_model(found):
        at = model["sites"][site]
        assert at["computed"] == COMPUTED, name
        assert at["identical"], name
        assert at["distance"] < CLOSE, name
        assert model["detached"], name
        assert model["restored"], name


@pytest.mark.parametrize("site", SITES)
def test_planned_is_measured_on_each_rank(found, site):
    shared = found.how != "tensor" and site != "output"  # the output is gathered
    for name, model in each_model(found):
        at = model["sites"][site]
        assert at["bytes"] == at["planned"], at["unplanned"]
        assert at["bytes"] == (at["alone"] // found.size if shared else at["alone"]), name
        assert at["planning"] == {}, name  # it asks nobody


@pytest.mark.parametrize("site", SITES)
def test_nothing_passes_but_what_the_plain_model_passes(found, site):
    """Computed steps pass what the plain model's do, forecast ones at `output` nothing at all."""
    for name, model in each_model(found):
        at, plain = model["sites"][site], model["collectives"]
        assert at["all computed"] == plain, name
        for operation, count in plain.items():
            of_computed = count * len(COMPUTED) // CALLS
            passed = at["collectives"].get(operation, 0)
            assert passed == of_computed if site == "output" else passed >= of_computed, name
        assert at["collectives"].keys() <= plain.keys(), name


def test_a_schedule_that_looks_inside_decides_by_one_vote_a_call(found):
    for name in MODELS[found.how]:
        one, *others = (rank[name]["adaptive"] for rank in found.ranks)
        assert all(other == one for other in others), name
        assert 1 < len(one["agreeing"]["computed"]) < CALLS, name
        # The other ranks, which never ask for anything, are taken along.
        assert one["disagreeing"]["computed"] == [0, 2, 4], name
        plain = found.ranks[0][name]["collectives"].get("c10d.allreduce_.default", 0)
        assert plain == 0, name
        assert one["agreeing"]["votes"] == one["disagreeing"]["votes"] == CALLS, name


def test_weights_that_are_shared_out_have_their_fingerprint(found):
    for name, model in each_model(found):
        # FLUX's fused projection is stored in another order by tensor parallelism.
        assert model["same weights"] == ((found.how, name) != ("tensor", "flux")), name


def test_sharing_the_tokens_of_an_attached_model_is_refused(found):
    if (found.size, found.how) == (2, "ulysses"):
        for rank in found.ranks:
            assert "call enable_parallelism, then attach" in rank["too late"]
