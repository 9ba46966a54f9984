"""A service under load: 8 clients, mixed sizes and steps, some of whom leave before the end.

`examples/serve.py` runs in a process of its own. Told are how many pictures equal, to the bit,
those that another process makes of the same requests, each with a pipeline loaded for it; what
the service's process holds after 50 requests and at the end; what histories it holds when idle;
and what a session costs a request beside the model.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import io
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from measure import record

import forecastcache as fc

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

MODEL, CLIENTS, WORKERS, REQUESTS, WARM, PAIRS = "zoo:flux-digits", 8, 4, 500, 50, 30
LEAVES = 10  # every so many requests, the client leaves
SIZES = [(32, 32), (48, 32), (64, 64)]
INKS = ["a red seven", "a green three on blue", "two on yellow", "a white nine"]


def orders(distinct: int) -> list[dict[str, Any]]:
    """So many different requests."""
    chosen, found = random.Random(0), []
    while len(found) < distinct:
        height, width = chosen.choice(SIZES)
        order = {
            "prompt": chosen.choice(INKS), "seed": chosen.randrange(1000),
            "steps": chosen.choice([6, 9, 14]), "height": height, "width": width,
            "speedup": chosen.choice([1.0, 2.0, 3.0]),
        }  # fmt: skip
        if order not in found:
            found.append(order)
    return found


@dataclass
class Load:
    """What came of the requests.

    Attributes:
        pictures: number of each order and its PNG, as they came.
        left: number of requests whose client left.
        seconds: seconds of each request that was waited for.
        memory: resident bytes of the service after each request.
        problems: what went wrong.
    """

    pictures: list[tuple[int, bytes]] = field(default_factory=list)
    left: int = 0
    seconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def growth(self) -> float:
        """Bytes a request by which memory grows after the warm-up: the slope of a line."""
        after = np.array(self.memory[WARM:], float)
        return float(np.polyfit(np.arange(len(after)), after, 1)[0])


def ask(port: int, order: dict[str, Any], leave_after: float | None = None) -> bytes | None:
    """The PNG of a request; None where its client leaves after so many seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(
            "POST", "/generate", json.dumps(order), {"Content-Type": "application/json"}
        )
        if leave_after is not None:
            time.sleep(leave_after)
            return None
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body.decode()}")
        return body
    finally:
        connection.close()


def get(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def under_load(port: int, process: int, asked: Sequence[dict[str, Any]], requests: int) -> Load:
    """Make requests by several clients at once, drawing from `asked`."""
    chosen, load, turn = random.Random(1), Load(), threading.Lock()
    waiting = iter([(i, chosen.randrange(len(asked)), chosen.random()) for i in range(requests)])

    def client() -> None:
        while True:
            with turn:
                mine = next(waiting, None)
            if mine is None:
                return
            place, number, patience = mine
            leaves = place % LEAVES == LEAVES - 1
            started = time.perf_counter()
            try:
                picture = ask(port, asked[number], 0.2 * patience if leaves else None)
            except Exception as error:
                load.problems.append(f"{asked[number]}: {error!r}")
                continue
            with turn:
                load.memory.append(resident(process))
                if picture is None:
                    load.left += 1
                else:
                    load.seconds.append(time.perf_counter() - started)
                    load.pictures.append((number, picture))

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    return load


def resident(process: int) -> int:
    """Resident bytes of a process; 0 where no /proc tells."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def held() -> int:
    """Bytes of all histories in this process."""
    return sum(it.nbytes for it in gc.get_objects() if issubclass(type(it), fc.History))


def idle(port: int) -> dict[str, Any]:
    """The state of the service once it has nothing to do."""
    for _ in range(200):
        found: dict[str, Any] = get(port, "/health")
        if not found["waiting"] + found["running"]:
            return found
        time.sleep(0.1)
    raise RuntimeError(f"the service is not idle: {found}")


@contextmanager
def running(service: Any) -> Iterator[int]:
    """The service over HTTP in a thread of this process; yields its port."""
    import uvicorn
    from serve import app_of

    app = app_of(service)
    app.add_api_route("/held", lambda: held())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        service.close()


@contextmanager
def running_apart(*options: object) -> Iterator[tuple[int, int]]:
    """The service in a process of its own; yields its port and the number of the process."""
    command = [sys.executable, __file__, "--serve", *map(str, options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.communicate(b"\n")  # at which it ends


def serve(learn: float | None) -> None:
    """Serve until a line comes."""
    from serve import Service

    usual = fc.zoo.entry(MODEL).call
    service = Service(MODEL, fc.load(MODEL), WORKERS, usual=usual, learn=learn)
    with running(service) as port:
        print(port, flush=True)
        sys.stdin.readline()


def fresh(order: dict[str, Any]) -> bytes:
    """The PNG of a request by a pipeline that is loaded for it and has made nothing else."""
    pipe = fc.load(MODEL)
    pipe.set_progress_bar_config(disable=True)
    computed = min(order["steps"], max(2, round(order["steps"] / order["speedup"])))
    call = fc.zoo.entry(MODEL).call | {it: order[it] for it in ("height", "width") if it in order}
    call["num_inference_steps"] = order["steps"]
    with fc.attach(pipe, fc.Warped(computed), fc.VariableOrder()):
        generator = torch.Generator().manual_seed(order["seed"])
        image = pipe(order["prompt"], **call, generator=generator).images[0]
    written = io.BytesIO()
    image.save(written, "png")
    return written.getvalue()


def fresh_apart(asked: Sequence[dict[str, Any]]) -> list[bytes]:
    """What `fresh` makes of each, in another process."""
    done = subprocess.run(
        [sys.executable, __file__, "--fresh"], input=json.dumps(asked).encode(),
        capture_output=True, check=True,
    )  # fmt: skip
    return [bytes.fromhex(line) for line in done.stdout.decode().split()]


def overhead() -> tuple[float, float]:
    """Milliseconds of processor time of a request with a session that computes all, and plain."""
    pipe = fc.load(MODEL)
    pipe.set_progress_bar_config(disable=True)
    call = {**fc.zoo.entry(MODEL).call, "num_inference_steps": 20}

    def plain() -> None:
        pipe(INKS[0], **call, generator=torch.Generator().manual_seed(0))

    def attached() -> None:
        with fc.attach(pipe, fc.Every(1), fc.VariableOrder()):
            plain()

    def spent(work: Any) -> float:
        started = time.thread_time()
        work()
        return 1e3 * (time.thread_time() - started)

    plain(), attached()
    pairs = [(spent(attached), spent(plain)) for _ in range(PAIRS)]
    return median(a - b for a, b in pairs), median(b for _, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--learn", type=float)
    parser.add_argument("--fresh", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.serve:
        serve(given.learn)
    elif given.fresh:
        for order in json.load(sys.stdin):
            print(fresh(order).hex(), flush=True)
    else:
        record("serving", [measured(REQUESTS)])


def measured(requests: int) -> dict[str, Any]:
    """The figures of a service under so many requests."""
    asked = orders(40)
    with running_apart() as (port, process):
        load = under_load(port, process, asked, requests)
        idle(port)
        held_idle, states = get(port, "/held"), [it["state"] for it in get(port, "/sessions")]
    wanted = fresh_apart(asked)
    equal = sum(picture == wanted[number] for number, picture in load.pictures)
    session, plain = overhead()
    return {
        "model": MODEL, "clients": CLIENTS, "workers": WORKERS, "requests": requests,
        "distinct": len(asked), "pictures": len(load.pictures), "equal": equal,
        "clients_left": load.left, "cancelled": states.count("cancelled"),
        "failed": states.count("failed") + len(load.problems),
        "rss_after_50_mib": round(np.mean(load.memory[WARM : WARM + 25]) / 2**20, 1),
        "rss_at_end_mib": round(np.mean(load.memory[-25:]) / 2**20, 1),
        "rss_growth_kib_a_request": round(load.growth() / 2**10, 2),
        "held_when_idle_bytes": held_idle, "median_request_ms": round(1e3 * median(load.seconds)),
        "session_ms_a_request": round(session, 2), "plain_request_ms": round(plain, 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()
