"""The service of examples/: what it returns, refuses and leaves behind."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import forecastcache as fc

from .conftest import EVERYTHING
from .test_architecture import ROOT
from .test_benchmark_pages import benchmark, recorded

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

LONG = {"prompt": "a red seven", "steps": 200, "speedup": 1.0}
SHORT = {"prompt": "a green three on blue", "steps": 6, "seed": 3, "speedup": 2.0}


@pytest.fixture(scope="module")
def load() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        yield benchmark("serving.py", patch)


def service_of(load: Any, **options: Any) -> Any:
    from serve import Service

    usual = fc.zoo.entry(load.MODEL).call
    return Service(load.MODEL, fc.load(load.MODEL), usual=usual, **options)


@pytest.fixture(scope="module")
def service(load) -> Any:
    return service_of(load, workers=3, budget=3 * 16384)


@pytest.fixture(scope="module")
def port(load, service) -> Iterator[int]:
    with load.running(service) as found:
        yield found


def held() -> int:
    """Bytes of the histories that are alive, whoever holds them."""
    gc.collect()
    return sum(it.nbytes for it in gc.get_objects() if issubclass(type(it), fc.History))


def test_pictures_of_many_clients_are_those_of_fresh_pipelines(load, service, port):
    asked = [it | {"steps": 5 + i} for i, it in enumerate(load.orders(4))]
    found = load.under_load(port, 0, asked, 20)
    load.idle(port)
    assert found.problems == []
    assert (len(found.pictures), found.left) == (18, 2)
    wanted = [load.fresh(order) for order in asked]
    assert all(picture == wanted[number] for number, picture in found.pictures)
    assert len({*wanted}) == 4
    assert held() == 0


def test_what_a_request_cost_is_told(load, service, port):
    load.ask(port, {**SHORT, "height": 48, "width": 32})
    told = load.get(port, "/sessions")[-1]
    assert (told["state"], told["computed"], told["forecast"]) == ("done", 3, 3)
    assert told["planned_bytes"] == told["cache_bytes"] == 6144
    assert "prompt" not in told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"height": 96, "width": 96}, "413.*planned at 36,864 bytes.*may hold 16,384 bytes"),
        ({"height": 100000}, "422.*less than or equal to 4096"),
        ({"steps": 0}, "422.*greater than or equal to 1"),
        ({"stepz": 3}, "422.*stepz"),
    ],
)
def test_what_does_not_fit_is_refused(load, service, port, changes, said):
    tickets = len(service.tickets)
    with pytest.raises(RuntimeError, match=f"^{said}"):
        load.ask(port, SHORT | changes)
    assert len(service.tickets) == tickets


def test_a_client_that_leaves_ends_its_run(load, service, port):
    assert load.ask(port, LONG, leave_after=0.5) is None
    ends, told = time.monotonic() + 60, {"steps": None, "state": None}
    while (told["steps"], told["state"]) != (LONG["steps"], "cancelled"):
        assert time.monotonic() < ends, told
        time.sleep(0.05)
        told = load.get(port, "/sessions")[-1]
    assert told["computed"] + told["forecast"] < LONG["steps"]
    assert held() == 0
    assert load.ask(port, SHORT) == load.fresh(SHORT)


@pytest.mark.parametrize("learn", [None, 2.0], ids=["formula", "learning"])
def test_a_run_stops_at_its_next_step(load, learn, tmp_path, monkeypatch):
    """And leaves nothing that the next one could see, whether it was recorded or not."""
    from serve import Order
    from workers import Ticket

    seen, asked = [], Ticket.stop_if_gone

    def stop(self: Any, pipe: Any, step: int, *given: Any) -> Any:
        seen.append(step)
        if len(seen) == 1:
            self.gone.set()
        return asked(self, pipe, step, *given)

    monkeypatch.setenv("FORECASTCACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Ticket, "stop_if_gone", stop)
    alone = service_of(load, workers=1, learn=learn)
    order = Order(**SHORT | {"speedup": None})
    ticket, work = alone.submit(order)
    assert work.result() is None
    assert (ticket.state, seen) == ("cancelled", [0])
    assert held() == 0
    _, work = alone.submit(order)
    plain_or_formula = {**SHORT, "height": 32, "width": 32, "speedup": 1.0 if learn else 3.0}
    assert work.result() == load.fresh(plain_or_formula)
    alone.close()


def test_who_leaves_while_waiting_costs_nothing(load):
    from serve import Order

    alone = service_of(load, workers=1)
    first, _ = alone.submit(Order(**SHORT))
    second, work = alone.submit(Order(**LONG))
    second.gone.set()
    assert work.result() is None
    assert (second.state, second.computed) == ("cancelled", 0)
    alone.close()
    assert first.state == "done"


def test_workers_learn_from_each_other(load, tmp_path, monkeypatch):
    """What one has learned the others find, in the folder that they share."""
    from serve import Order

    monkeypatch.setenv("FORECASTCACHE_HOME", str(tmp_path))
    service = service_of(load, workers=2, learn=2.0)
    with pytest.raises(fc.errors.OptionError, match="learned to be 2 times faster"):
        service.submit(Order(**SHORT | {"speedup": 3.0}))
    for seed in range(10):
        work = [service.submit(Order(prompt="a red seven", steps=6, seed=seed))[1]]
        assert all(it.result() for it in work)
    service.close()
    told = [(it.computed, it.forecast) for it in service.tickets]
    # Two take turns: the first has its four pictures with the seventh request.
    assert told == [(6, 0)] * 7 + [(3, 3)] * 3
    (file,) = tmp_path.glob("*.safetensors")
    assert fc.Calibration.load(file).fits
    assert held() == 0


def test_weights_are_shared_and_nothing_else(load):
    from workers import twin

    pipe = fc.load(load.MODEL)
    other = twin(pipe)
    for name, part in pipe.components.items():
        assert part is None or getattr(other, name) is not part, name
    for mine, theirs in zip(pipe.transformer.parameters(), other.transformer.parameters()):
        assert mine is theirs
    pipe.scheduler.set_timesteps(3, mu=1.0)
    assert len(other.scheduler.timesteps) != 3


@pytest.mark.slow
def test_hundreds_of_requests(load):
    """A figure beyond what tickets of /sessions take, some 2 KiB each, would be a leak."""
    count = 500 if EVERYTHING else 200
    row = load.measured(count)
    pictures = count * 9 // 10  # every tenth client leaves
    assert row["failed"] == 0
    assert (row["pictures"], row["equal"]) == (pictures, pictures)
    assert row["held_when_idle_bytes"] == 0
    assert row["rss_growth_kib_a_request"] * pictures < 8 * 1024


@pytest.mark.slow
def test_two_services_on_one_cache_folder(load, tmp_path, monkeypatch):
    monkeypatch.setenv("FORECASTCACHE_HOME", str(tmp_path))
    asked = [
        {k: v for k, v in it.items() if k != "speedup"} | {"steps": 6} for it in load.orders(8)
    ]

    def learn(_: int) -> list[tuple[int, int]]:
        with load.running_apart("--learn", 2) as (port, process):
            found = load.under_load(port, process, asked, 100)
            assert found.problems == []
            load.idle(port)
            return [(it["computed"], it["forecast"]) for it in load.get(port, "/sessions")]

    with ThreadPoolExecutor(2) as two:
        both = list(two.map(learn, range(2)))
    assert all((3, 3) in told for told in both)
    files = sorted(it.name for it in tmp_path.iterdir())
    kept = [name for name in files if name.endswith(".safetensors")]
    assert kept
    assert all(fc.Calibration.load(tmp_path / name).fits for name in kept)
    assert {*files} == {*kept, *(name.replace(".safetensors", ".json") for name in kept)}
    for name in files:
        if name.endswith(".json"):
            assert json.loads((tmp_path / name).read_text())


def test_the_page_shows_the_figures_that_are_recorded():
    (row,) = recorded("serving")
    page = (ROOT / "docs" / "serving.md").read_text("utf-8")
    assert row["failed"] + row["held_when_idle_bytes"] == 0
    assert row["cancelled"] == row["clients_left"] == 50
    for said in (
        f"- {row['equal']} of {row['pictures']} pictures equal, to the bit",
        f"held {row['rss_after_50_mib']} MiB after 50 requests and {row['rss_at_end_mib']} MiB",
        f": {row['rss_growth_kib_a_request']:.1f} KiB a request",
        f"took {row['session_ms_a_request']:.1f} ms of processor time beside the "
        f"{row['plain_request_ms']} ms",
    ):
        assert said in page


@pytest.mark.slow
def test_the_page_shows_what_requests_are_planned_to_hold():
    page = (ROOT / "docs" / "serving.md").read_text("utf-8")
    places = [("output", 2), ("output", 4), ("output", 9)]
    places += [("hidden", 2), ("block", 2), ("module", 2)]
    for model in ("flux.1-dev", "qwen-image", "wan2.1-14b", "hunyuanvideo"):
        planned = [
            fc.plan_memory(model, depth=depth, site=site).total_bytes / 2**20
            for site, depth in places
        ]
        shown = " | ".join(f"{it:.1f}" if it < 10 else f"{int(it + 0.5):,}" for it in planned)
        assert f"| `{model}` | {shown} |" in page
