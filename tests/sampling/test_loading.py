"""What is said where a model cannot be had from the hub."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub
import pytest

from forecastcache.errors import PlanError, RequestError
from forecastcache.memory.planned_model import planned_model
from forecastcache.sampling.loading import load

REPO = "me/model"
# diffusers gives the hub's client an argument that it no longer reads.
pytestmark = pytest.mark.filterwarnings("ignore:.*local_dir_use_symlinks:UserWarning")


class Hub(BaseHTTPRequestHandler):
    """Refuses everything, as the hub does: by a status and a header."""

    refusal = (404, "RepoNotFound")

    def do_GET(self) -> None:
        status, code = self.refusal
        content = json.dumps({"error": "refused"}).encode()
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content * (self.command == "GET"))

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A server that stands for the hub, with a cache that is empty."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    use(monkeypatch, url, tmp_path)
    yield url
    server.shutdown()
    server.server_close()


def use(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """What HF_ENDPOINT and HF_HOME say, once the client has been imported."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", url)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's retries


def complaints() -> list[str]:
    """What loading the pipeline and planning its memory say."""
    with pytest.raises(RequestError) as loaded:
        load(REPO)
    with pytest.raises(PlanError) as planned:
        planned_model(REPO)
    return [str(loaded.value), str(planned.value)]


@pytest.mark.parametrize(
    ("status", "code", "complaint"),
    [
        (404, "RepoNotFound", f"the hub has no {REPO}, or it is private: look at the name"),
        (403, "GatedRepo", f"{REPO} is gated: ask for access on its page of the hub"),
        (500, "", f"the hub answers 500 to {REPO}: try again later"),
    ],
)
def test_a_refusal_of_the_hub_is_named(endpoint, monkeypatch, status, code, complaint):
    monkeypatch.setattr(Hub, "refusal", (status, code))
    for said in complaints():
        assert said.startswith(complaint)
        assert "\n" not in said


def test_a_hub_that_cannot_be_reached_is_named(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    use(monkeypatch, closed, tmp_path)
    for said in complaints():
        assert said.startswith(f"the hub at {closed} cannot be reached, and {REPO} is not on this")
        assert "or give a path" in said


def test_offline_mode_is_named(monkeypatch, tmp_path):
    use(monkeypatch, "http://127.0.0.1:9", tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for said in complaints():
        assert "offline mode is on: unset HF_HUB_OFFLINE, or give a path" in said
