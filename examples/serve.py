"""A small service: a prompt in, a PNG out, most steps forecast.

    pip install 'forecastcache[serve]'
    python examples/serve.py zoo:flux-digits --workers 2 --budget "64 MiB"
    curl localhost:8000/generate --json '{"prompt": "a red seven on blue"}' --output seven.png
    curl localhost:8000/sessions

Each worker is a thread with a pipeline of its own; all of them share one set of weights. What a
request needs is held by a session, which is attached when its run begins and detached when it
ends: in between nothing is held, and no request sees another's features.

A request is forecast by a formula, `speedup` times faster in computed steps. With `--learn 5` the
workers are accelerated pipelines instead: they learn from the first requests, and are then five
times faster.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import count
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from workers import ClientGoneError, Order, Ticket, Worker, twin

import forecastcache as fc
from forecastcache import zoo
from forecastcache.memory.budget import in_mebibytes, parse_budget

LOOK = 0.1  # seconds between two looks at whether the client is still there
KEPT = 1000  # newest requests that /sessions shows


class Service:
    """Workers that share weights, and the requests that they make.

    Args:
        model: zoo name, folder or hub id, from whose configuration caches are planned.
        pipe: its pipeline.
        workers: number of requests that run at once.
        budget: bytes that all caches together may hold; each worker has an equal share.
        usual: arguments of every call beside those of the request.
        learn: how many times faster calls are to be by what is learned; None for a formula.
    """

    def __init__(
        self,
        model: str,
        pipe: Any,
        workers: int = 2,
        budget: int | str | None = None,
        usual: Mapping[str, Any] | None = None,
        learn: float | None = None,
    ) -> None:
        whole = parse_budget(budget)
        self.model, self.learn = model, learn
        self.share = None if whole is None else whole // workers
        self.tickets: deque[Ticket] = deque(maxlen=KEPT)
        self._usual, self._dtype, self._numbers = dict(usual or {}), pipe.dtype, count(1)
        self._plan = lru_cache(maxsize=256)(self._planned)
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for each in [pipe, *(twin(pipe) for _ in range(workers - 1))]:
            self._idle.put(Worker(each, self.share, self._usual, learn))
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="worker")

    def submit(self, order: Order) -> tuple[Ticket, Future[bytes | None]]:
        """Take a request on; the future gives its PNG, or None where it was cancelled.

        Raises:
            BudgetError: its cache does not fit its worker's share of the budget.
            SizeError: the model makes no such size.
            OptionError: the speed-up is not the request's to choose.
        """
        if self.learn is not None and order.speedup not in (None, self.learn):
            raise fc.errors.OptionError(
                f"this service has learned to be {self.learn:g} times faster: leave out speedup"
            )
        planned = self._plan(order.height, order.width)
        if planned is not None and self.share is not None and planned > self.share:
            raise fc.errors.BudgetError(
                f"the cache of this request is planned at {in_mebibytes(planned)}, and a request "
                f"may hold {in_mebibytes(self.share)}: ask for a smaller picture"
            )
        ticket = Ticket(next(self._numbers), order, planned)
        self.tickets.append(ticket)
        return ticket, self._pool.submit(self._work, ticket)

    def close(self) -> None:
        """Let the requests that run come to their ends, and take no more."""
        self._pool.shutdown(cancel_futures=True)

    def _planned(self, height: int | None, width: int | None) -> int | None:
        """Bytes of a request's cache; None where nobody knows beforehand.

        What is learned is told when it is learned, and some adapters cannot plan a call. Then
        `attach` refuses what does not fit, at the first call of the model.
        """
        size = fc.InputSize(height or self._usual.get("height"), width or self._usual.get("width"))
        depth = fc.VariableOrder().depth
        try:
            plan = fc.plan_memory(self.model, size, depth=depth, dtype=self._dtype)
        except fc.errors.PlanError:
            return None
        return None if self.learn else plan.total_bytes

    def _work(self, ticket: Ticket) -> bytes | None:
        worker, started = self._idle.get(), perf_counter()
        ticket.state = "running"
        try:
            if ticket.gone.is_set():
                raise ClientGoneError
            image = worker.picture(ticket)
            ticket.state = "done"
            return image
        except ClientGoneError:
            ticket.state = "cancelled"
            return None
        except BaseException:
            ticket.state = "failed"
            raise
        finally:
            ticket.seconds = perf_counter() - started
            self._idle.put(worker)


def app_of(service: Service) -> FastAPI:
    """The service over HTTP."""
    app = FastAPI(title="forecastcache")

    @app.post("/generate", response_class=Response)
    async def generate(order: Order, request: Request) -> Response:
        try:
            ticket, work = await asyncio.to_thread(service.submit, order)  # it plans
            image = await _made(ticket, work, request)
        except fc.ForecastCacheError as error:
            too_large = isinstance(error, fc.errors.BudgetError)
            raise HTTPException(413 if too_large else 422, str(error)) from None
        if image is None:
            return Response(status_code=499)  # nobody is there to read it
        cost = {name: ticket.figures()[name] for name in ("computed", "forecast", "cache_bytes")}
        shown = {f"X-{name.replace('_', '-').title()}": str(it) for name, it in cost.items()}
        return Response(image, media_type="image/png", headers=shown)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        states = [ticket.state for ticket in service.tickets]
        return {"model": service.model, **{it: states.count(it) for it in ("waiting", "running")}}

    @app.get("/sessions")
    async def sessions() -> list[dict[str, Any]]:
        return [ticket.figures() for ticket in service.tickets]

    return app


async def _made(ticket: Ticket, work: Future[bytes | None], request: Request) -> bytes | None:
    """What comes of a request, which is cancelled when its client leaves."""
    future = asyncio.wrap_future(work)
    try:
        while not future.done():
            await asyncio.wait([future], timeout=LOOK)
            if not future.done() and await request.is_disconnected():
                ticket.gone.set()
        return future.result()
    finally:
        ticket.gone.set()  # also where the server itself is stopped


def service_of(
    model: str, workers: int, budget: str | None, device: str, learn: float | None
) -> Service:
    """A service of a model by its name."""
    usual = zoo.entry(model).call if model.startswith(zoo.PREFIX) else {}
    pipe = fc.load(model, device, torch.float32 if device == "cpu" else torch.bfloat16)
    return Service(model, pipe, workers, budget, usual, learn)


def main() -> None:
    """Serve what the command line says."""
    parser = argparse.ArgumentParser(description="Serve a pipeline whose steps are forecast.")
    parser.add_argument("model", help="zoo name, folder or hub id")
    parser.add_argument("--workers", type=int, default=2, help="requests that run at once")
    parser.add_argument("--budget", help="bytes that all caches may hold, such as '2 GiB'")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--learn", type=float, help="learn to be this many times faster")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    service = service_of(given.model, given.workers, given.budget, given.device, given.learn)
    uvicorn.run(app_of(service), port=given.port)


if __name__ == "__main__":
    main()
