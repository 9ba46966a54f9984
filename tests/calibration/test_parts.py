"""Parts: what was done is kept, and told from what is damaged or somebody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from forecastcache.calibration.calibrate import calibrate
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.distributed import ProcessGroup
from forecastcache.calibration.rolling import Rollout, Rolls
from forecastcache.errors import CalibrationError
from forecastcache.sampling.request import Request

from .toys import STEPS, Guided

PARTS = ["0-0000.safetensors", "0-0001.safetensors", "0-0002.safetensors"]


class Killed(BaseException):
    pass


def pipe(gain: float = 1.0) -> Guided:
    made = Guided(lambda step: [1.0, -1.0])
    with torch.no_grad():
        made.transformer.gain.fill_(gain)
    return made


def asked(seed: int = 0, steps: int = STEPS, **call: object) -> Request:
    return Request(steps=steps, count=6, seed=seed, call=call)


def killed_at(stage: str, done: int) -> Callable[[str, int, int], None]:
    def kill(now: str, so_far: int, of: int) -> None:
        if (now, so_far) == (stage, done):
            raise Killed

    return kill


@pytest.fixture
def out(tmp_path) -> Path:
    """Of a calibration that was killed when all was recorded and one schedule was fitted."""
    out = tmp_path / "toy.cal"
    with pytest.raises(Killed):
        made(out, progress=killed_at("fitting", 1))
    names = [path.name for path in folder(out).iterdir()]
    assert {*PARTS, "of.json"} < {*names}
    return out


def folder(out: Path) -> Path:
    return out.with_name(out.name + ".parts")


def made(out: Path, gain: float = 1.0, **changes: object) -> Calibration:
    options = {"micro_batch": 2, "schedules": ["0,3,6", "0,4,8"], **changes}
    request = options.pop("request", asked())
    return calibrate(pipe(gain), request, out, **options)


def contents(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


def test_a_folder_of_a_user_is_neither_taken_nor_removed(tmp_path):
    out = tmp_path / "toy.cal"
    folder(out).mkdir()
    (folder(out) / "thesis.txt").write_text("years of work")
    with pytest.raises(
        CalibrationError, match=r"toy.cal.parts was not made by a calibration \(it"
    ):
        made(out)
    assert contents(folder(out)) == {"thesis.txt": b"years of work"}
    assert not out.exists()


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path):
    folder(tmp_path / "toy.cal").write_text("mine")
    with pytest.raises(CalibrationError, match=r"was not made by a calibration: move it"):
        made(tmp_path / "toy.cal")
    assert contents(tmp_path) == {"toy.cal.parts": b"mine"}


def test_files_of_a_user_among_the_parts_stay(out):
    for name in ("thesis.txt", "0-0000.safetensors.bak", "fit.json", "lock.txt"):
        (folder(out) / name).write_text("mine")
    made(out)
    assert sorted(contents(folder(out))) == [
        "0-0000.safetensors.bak", "fit.json", "lock.txt", "thesis.txt",
    ]  # fmt: skip
    assert Calibration.load(out).fits


def test_an_empty_folder_or_what_a_kill_left_before_the_note_is_taken(tmp_path):
    out = tmp_path / "toy.cal"
    folder(out).mkdir()
    (folder(out) / "lock").write_text("process 1 on elsewhere")
    (folder(out) / "of.json.0123abcd.partial").write_text("{")
    made(out)
    assert list(contents(tmp_path)) == ["toy.cal"]


def test_a_file_that_is_no_calibration_is_not_written_over(tmp_path):
    out = tmp_path / "prompts.txt"
    out.write_text("a red seven\n")
    with pytest.raises(CalibrationError, match="is there already, and is no calibration: give an"):
        made(out)
    assert contents(tmp_path) == {"prompts.txt": b"a red seven\n"}


def test_a_calibration_is_written_over_even_if_it_is_damaged(tmp_path):
    out = tmp_path / "toy.cal"
    made(out)
    out.write_bytes(out.read_bytes()[:-5])
    made(out)
    assert Calibration.load(out).fits


def damaged(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut off":
        content = content[:-9]
    elif how == "empty":
        content = bytearray()
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut off", "empty", "one bit"])
@pytest.mark.parametrize("kind", ["0-0001.safetensors", "fit-*.json"])
def test_what_is_damaged_is_made_again(out, tmp_path, caplog, how, kind):
    (path,) = folder(out).glob(kind)
    damaged(path, how)
    again = made(out)
    assert f"{path} is damaged, and is made again" in caplog.text
    whole = made(tmp_path / "whole.cal")
    np.testing.assert_array_equal(again.recording.gram, whole.recording.gram)
    assert [fit.rows for fit in again.fits] == [fit.rows for fit in whole.fits]
    assert sorted(contents(tmp_path)) == ["toy.cal", "whole.cal"]


def test_a_part_of_another_run_is_refused(out, tmp_path):
    other = tmp_path / "other.cal"
    with pytest.raises(Killed):
        made(other, request=asked(seed=9), progress=killed_at("recording", 3))
    (folder(other) / PARTS[0]).replace(folder(out) / PARTS[0])
    with pytest.raises(
        CalibrationError, match="0-0000.safetensors is part of another calibration"
    ):
        made(out)


def test_a_note_that_is_damaged_is_refused(out):
    for text in ("", "5", "[" * 100_000, '{"format": "mine"}'):
        (folder(out) / "of.json").write_text(text)
        with pytest.raises(CalibrationError, match="damaged or no note of a calibration: remove"):
            made(out)


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({"gain": 1.25}, "weights"),
        ({"gain": 1.25, "micro_batch": 3}, "weights, --micro-batch"),
        ({"request": asked(seed=1)}, "prompts, seeds or sizes"),
        ({"depth": 2}, "depth"),
    ],
)
def test_another_calibration_does_not_go_on_with_these_parts(out, changes, differing):
    before = contents(folder(out))
    with pytest.raises(CalibrationError) as error:
        made(out, **changes)
    assert f"holds part of a calibration that differs in {differing}: ask for" in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(folder(out)) == before


def test_a_search_that_was_killed_goes_on(tmp_path, monkeypatch):
    rolled: list[tuple[int, ...]] = []
    roll = Rolls.fitted

    def counted(rolls: Rolls, computed: tuple[int, ...], *args: object, **kw: object) -> Rollout:
        rolled.append(computed)
        return roll(rolls, computed, *args, **kw)

    monkeypatch.setattr(Rolls, "fitted", counted)
    options = {"schedules": ["search:4"], "tries": 12, "evaluations": 10**6}
    whole = made(tmp_path / "whole.cal", **options)
    all_of_it, out = rolled.copy(), tmp_path / "toy.cal"
    rolled.clear()
    with pytest.raises(Killed):
        made(out, **options, progress=killed_at("searching 4", 9))
    assert rolled == all_of_it[:8]  # that of the ninth had not begun
    resumed = made(out, **options)
    assert rolled == all_of_it
    assert [fit.rows for fit in resumed.fits] == [fit.rows for fit in whole.fits]


PROGRAM = """
import os, signal, sys
from tests.calibration.test_parts import made
from pathlib import Path

def stop(stage, done, of):
    print(os.getpid(), flush=True)
    sys.stdin.readline()

made(Path(sys.argv[1]), progress=stop)
"""


def test_two_processes_do_not_calibrate_into_one_file(tmp_path):
    out = tmp_path / "toy.cal"
    other = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(out)], cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout
    with other:
        assert other.stdout.readline().strip() == str(other.pid)  # its first part is recorded
        with pytest.raises(CalibrationError) as error:
            made(out)
        assert f"is in use by process {other.pid} on " in str(error.value)
        assert "wait until it ends, or give another --out" in str(error.value)
        os.kill(other.pid, signal.SIGKILL)
    assert {"lock", PARTS[0]} < {*contents(folder(out))}  # left as they were
    made(out)
    assert list(contents(tmp_path)) == ["toy.cal"]


class Beside(ProcessGroup):
    """The first of two processes, the other of which was asked for something else."""

    def gather(self, mine):
        return [mine, {**mine, "weights": "others", "tries": "7"}]


def test_processes_that_were_asked_for_different_things_stop_before_the_first_step(tmp_path):
    ran = pipe()
    with pytest.raises(CalibrationError) as error:
        calibrate(ran, asked(), tmp_path / "toy.cal", group=Beside(0, 2))
    assert str(error.value) == (
        "process 1 was given other weights, tries than process 0: start all with the same command "
        "and the same files"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_note_can_be_read_by_a_user(out):
    note = json.loads((folder(out) / "of.json").read_text())
    assert note["format"] == "parts of a forecastcache calibration"
    assert note["steps"] == str(STEPS)
