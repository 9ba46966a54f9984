"""Published on a hub and fetched again, through the real client, from a server on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from forecastcache.calibration import hub
from forecastcache.calibration.calibration import Calibration
from forecastcache.errors import CalibrationError, UnknownNameError

REPO = "me/toy-forecast"
WAITS = pytest.mark.slow  # the client tries again for half a minute
PROGRAM = """
import sys
from forecastcache.calibration.calibration import Calibration
from forecastcache.errors import CalibrationError
try:
    if sys.argv[1] == "push":
        print(Calibration.load(sys.argv[2]).push_to_hub(sys.argv[3], private=True))
    else:
        print(len(Calibration.load(sys.argv[2]).recording.gram))
except CalibrationError as error:
    print(error)
    sys.exit(2)
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as publishing two files and fetching them takes."""

    files: ClassVar[dict[str, bytes]] = {}
    revisions: ClassVar[dict[str, dict[str, bytes]]] = {}  # other than main
    refusal: ClassVar[tuple[int, str] | None] = None  # of every request for a file
    made: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        url = f"http://{self.headers['Host']}/{REPO}"
        if self.path == "/api/repos/create":
            self.made.append(json.loads(body))
            self._answer({"url": url, "name": REPO, "id": REPO})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            asked = [{"path": it, "uploadMode": "regular", "shouldIgnore": False} for it in names]
            self._answer({"files": asked})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.files[value["path"]] = base64.b64decode(value["content"])
            self._answer({"commitUrl": f"{url}/commit/{'0' * 40}", "commitOid": "0" * 40})
        else:
            self._answer({})

    def do_HEAD(self) -> None:
        self._file(send=False)

    def do_GET(self) -> None:
        self._file(send=True)

    def _file(self, send: bool) -> None:
        match = re.fullmatch(rf"/{REPO}/resolve/([^/]+)/(.+)", self.path)
        status, code, content = 404, "RepoNotFound", b""
        if self.refusal is not None:
            status, code = self.refusal
        elif match is not None:
            files = {**self.revisions, "main": self.files}.get(match[1])
            code = "RevisionNotFound" if files is None else "EntryNotFound"
            if files and match[2] in files:
                status, content = 200, files[match[2]]
        self.send_response(status)
        if status == 200:
            self.send_header("ETag", hashlib.sha1(content).hexdigest())
            self.send_header("X-Repo-Commit", hashlib.sha1(match[1].encode()).hexdigest())
        else:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if send and content:
            self.wfile.write(content)

    def _answer(self, said: dict[str, Any]) -> None:
        text = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def ask(tmp_path):
    """Runs the program against the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    there = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_TOKEN": "hf_test"}
    home = {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1"}

    def run(*arguments: object, **settings: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            env={**os.environ, **there, **home, **settings},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr * (done.returncode not in (0, 2))

    Hub.files, Hub.revisions, Hub.refusal = {}, {}, None
    yield run
    server.shutdown()
    server.server_close()


def test_published_and_fetched_it_is_the_same(ask, calibration, tmp_path):
    path = tmp_path / "toy.cal"
    calibration.save(path)
    code, said = ask("push", path, REPO)
    assert code == 0, said
    assert f"/{REPO}/commit/{'0' * 40}" in said
    assert Hub.made[0]["visibility"] == "private"
    assert Hub.files[hub.NAME] == path.read_bytes()
    card = Hub.files["README.md"].decode()
    assert f'Calibration.load("{REPO}")' in card
    assert "| 4 | 40.0 dB | 0 3 6 9 |" in card
    assert ask("load", REPO) == (0, "12\n")
    Hub.files["README.md"] = card.replace("| 4 | 40.0 dB", "| 4 | 10.0 dB").encode()
    assert ask("push", path, REPO)[0] == 0
    assert Hub.files["README.md"].decode() == card


def test_a_page_of_somebody_elses_is_left_as_it_is(ask, calibration, tmp_path):
    path = tmp_path / "toy.cal"
    calibration.save(path)
    Hub.files = {"README.md": b"# My model"}
    code, said = ask("push", path, REPO)
    assert code == 0, said
    assert Hub.files == {"README.md": b"# My model", hub.NAME: path.read_bytes()}


def test_a_revision_is_pinned(ask, calibration, tmp_path):
    """What was published then, whatever came after."""
    path = tmp_path / "toy.cal"
    calibration.save(path)
    Hub.files = {hub.NAME: b"what came after"}
    Hub.revisions = {"v1": {hub.NAME: path.read_bytes()}}
    assert ask("load", f"{REPO}@v1") == (0, "12\n")
    code, said = ask("load", f"{REPO}@v2")
    assert (code, said) == (
        2, f"the hub has no such revision as {REPO}@v2: give a branch, a tag or a commit that is "
        "there\n",
    )  # fmt: skip


def test_offline_what_was_fetched_before_serves(ask, calibration, tmp_path):
    path = tmp_path / "toy.cal"
    calibration.save(path)
    Hub.files = {hub.NAME: path.read_bytes()}
    code, said = ask("load", REPO, HF_HUB_OFFLINE="1")
    assert code == 2
    assert said == (
        f"{REPO} is not on this machine, and the hub's offline mode is on: unset HF_HUB_OFFLINE, "
        "or give a path\n"
    )
    assert ask("load", REPO) == (0, "12\n")
    assert ask("load", REPO, HF_HUB_OFFLINE="1") == (0, "12\n")


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ((404, "RepoNotFound"), f"the hub has no {REPO}, or it is private"),
        ((403, "GatedRepo"), f"{REPO} is gated: ask for access on its page of the hub"),
        pytest.param((503, ""), f"the hub answers 503 to {REPO}: try again later", marks=WAITS),
        (None, f"{REPO} on the hub lacks {hub.NAME}: give one that"),
    ],
)
def test_each_refusal_is_said_in_one_line(ask, refusal, told):
    Hub.files, Hub.refusal = {"README.md": b"# Without a calibration"}, refusal
    code, said = ask("load", REPO)
    assert code == 2
    assert told in said
    assert said.count("\n") == 1


@WAITS
def test_a_hub_that_is_not_there_is_said_in_one_line(ask):
    code, said = ask("load", REPO, HF_ENDPOINT="http://127.0.0.1:9")
    assert code == 2
    assert said.startswith("the hub at http://127.0.0.1:9 cannot be reached")
    assert said.count("\n") == 1


def test_a_card_shows_the_picture_that_comes_with_it(calibration, monkeypatch, tmp_path):
    sent: dict[str, bytes] = {}

    class Api:
        def create_repo(self, *_: object, **__: object) -> None:
            pass

        def file_exists(self, *_: object) -> bool:
            return False

        def upload_folder(self, folder_path: str, **_: object) -> Any:
            sent.update({it.name: it.read_bytes() for it in Path(folder_path).iterdir()})
            return type("Commit", (), {"commit_url": "there"})

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    picture = tmp_path / "any name.png"
    picture.write_bytes(b"a picture")
    assert calibration.push_to_hub(REPO, picture=picture) == "there"
    assert sent[hub.PICTURE] == b"a picture"
    assert f"]({hub.PICTURE})" in sent[hub.PAGE].decode()
    assert hub.PICTURE not in hub.card(calibration, REPO)


def test_a_zoo_name_is_that_of_a_shipped_file(tmp_path, monkeypatch, calibration):
    monkeypatch.setattr(hub.zoo, "calibration", lambda name: tmp_path / "toy.safetensors")
    with pytest.raises(CalibrationError, match="has no calibration beside it: make one with"):
        Calibration.load("zoo:toy")
    calibration.save(tmp_path / "toy.safetensors")
    assert Calibration.load("zoo:toy").fits == calibration.fits


def test_an_unknown_zoo_name_is_refused():
    with pytest.raises(UnknownNameError, match="the zoo has no model 'none'"):
        Calibration.load("zoo:none")


def test_a_card_without_fits_says_so(calibration):
    bare = Calibration(
        calibration.identity,
        tuple(type(it)(it.name, it.recording) for it in calibration.sizes),
        calibration.versions,
    )
    assert "| none | | |" in hub.card(bare, REPO)
    assert Path(hub.NAME).suffix == ".safetensors"


def test_a_card_says_where_nothing_judged_the_rows(calibration):
    """Of a single prompt."""
    fit = calibration.fits[0].model_copy(update={"latent_psnr_db": None})
    assert "40.0 dB, on the prompt that the rows were fitted to" in hub.card(
        calibration.with_fits([fit]), "me/toy"
    )
