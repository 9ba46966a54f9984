"""What no command can do: each is refused at once, in one line that says what to write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

DIT, FLUX = "zoo:dit-digits", "zoo:flux-digits"
DIGITS = "9" * 5000
DEEP = "[" * 5000
HUGE = 10**18

# Commands in an empty folder with an empty file `p.txt`, and a part of the line that they get.
COMMANDS = {
    # paths
    "picture is a folder": (("plan", DIT, "--picture", "."), "--picture . is a folder"),
    "picture below a file": (("plan", DIT, "--picture", "p.txt/x.png"), "because of"),
    "picture too long": (("plan", DIT, "--picture", "x" * 250), "give a shorter name"),
    "rows below a file": (
        ("plan", DIT, "--computed", 9, "--rows", "p.txt/x.png"),
        "--rows p.txt cannot be written, because of",
    ),
    "rows of all steps": (
        ("plan", DIT, "--computed", 50, "--rows", "r.png"),
        "--computed 50 of 50 leaves none: compute fewer",
    ),
    "two pictures of one name": (
        ("plan", DIT, "--computed", 9, "--rows", "r.png", "--picture", "r.png"),
        "--picture and --rows are both r.png: give two names",
    ),
    "out of run": (("run", DIT, "--out", "p.txt/x"), "--out p.txt/x cannot be written"),
    "out of trace": (("trace", DIT, "--out", "p.txt/x"), "--out p.txt/x cannot be written"),
    "out of evaluate": (
        ("evaluate", DIT, "--baseline", "steps:count=9", "--out", "p.txt"),
        "because of p.txt: give a folder",
    ),
    "out of calibrate": (("calibrate", DIT, "--out", "."), "--out . is a folder"),
    "out is not UTF-8": (("run", DIT, "--out", "a\udcff"), "--out a? is not UTF-8"),
    # numbers
    "steps": (("run", DIT, "--steps", 10**9), "10000"),
    "steps of calibrate": (("calibrate", DIT, "--out", "c", "--steps", 10**8), "10000"),
    "interval": (("evaluate", DIT, "--interval", "1..1000000000"), "from 1 to 10000"),
    "rows of an interval": (
        ("evaluate", DIT, "--interval", "1..9999"),
        "asks for 9,999 rows: 1,000 are the most",
    ),
    "rows of a sweep": (
        ("evaluate", DIT, "--interval", "1..900", "--predictor", "reuse", "--predictor", "taylor"),
        "asks for 1,800 rows: 1,000 are the most",
    ),
    "backwards": (("evaluate", DIT, "--interval", "8..3"), "write the smaller one first"),
    "computed": (("evaluate", DIT, "--computed", "1..1000000000"), "from 1 to 10000"),
    "computed of run": (("run", DIT, "--calibration", DIT, "--computed", HUGE), "10000"),
    "size": (("run", DIT, "--size", "99999999999x99999999999"), "from 1 to 65536"),
    "size 0": (("run", DIT, "--size", "0x8"), "from 1 to 65536"),
    "height": (("memory", "flux.1-dev", "--height", HUGE), "65536"),
    "text tokens": (("memory", "flux.1-dev", "--text-tokens", HUGE), "1000000"),
    "batch": (("memory", "flux.1-dev", "--batch", HUGE), "100000"),
    "all at their bounds": (
        (
            "memory", "flux.1-dev", "--height", 65536, "--width", 65536, "--batch", 100000,
            "--text-tokens", 1000000, "--site", "module",
        ),
        "cannot be called at this size",
    ),
    "target": (("explain", "taylor", "--computed", "0,1", "--target", "1" + "0" * 400), "digits"),
    "target far off": (("explain", "taylor", "--computed", "0,1", "--target", HUGE), "10000"),
    "history far off": (("explain", "taylor", "--computed", f"0,{HUGE}", "--target", 9), "10000"),
    "digits of a search": (
        ("calibrate", DIT, "--out", "c", "--schedule", f"search:{DIGITS}"),
        "a number of more than 100 digits",
    ),
    "a search": (("calibrate", DIT, "--out", "c", "--schedule", f"search:{HUGE}"), "10000"),
    "a listed step": (("calibrate", DIT, "--out", "c", "--schedule", f"0,{HUGE}"), "10000"),
    "digits of an option": (("run", DIT, "--count", DIGITS), "--count 999"),
    "digits of a setting": (("run", DIT, f"--set=order={DIGITS}"), "--set order=999"),
    "nested setting": (
        ("run", DIT, "--predictor", "learned", "--set", f"rows={DEEP}"),
        "more than 100 deep",
    ),
    "nested spec": (("run", DIT, "--predictor", f"learned:rows={DEEP}"), "more than 100 deep"),
    # contradictions
    "no predictor": (("run", DIT, "--predictor", ""), "--predictor is empty: give it a value"),
    "no predictor either": (("run", DIT, "--predictor="), "--predictor is empty"),
    "no picture": (("plan", DIT, "--picture", ""), "--picture is empty"),
    "depth and predictor": (
        ("memory", "flux.1-dev", "--depth", 3, "--predictor", "taylor"),
        "--depth and --predictor both say how many features are kept: leave one out",
    ),
    "depth and order": (
        ("memory", "flux.1-dev", "--depth", 3, "--order", 0),
        "--depth and --order both say",
    ),
    "depth and a setting": (
        ("memory", "flux.1-dev", "--depth", 3, "--set", "order=0"),
        "--depth and --set both say",
    ),
    "frames of a picture": (
        ("memory", "flux.1-dev", "--frames", 9),
        "frames=9 is given, but FluxTransformer2DModel has no frames: leave it out",
    ),
    "text of a class": (
        ("memory", "dit-xl-2", "--text-tokens", 9),
        "text_tokens=9 is given, but DiTTransformer2DModel has no text tokens",
    ),
    "classes and prompts": (
        ("run", DIT, "--classes", 3, "--prompts", "p.txt"),
        "--classes and --prompts both say what to make: leave one out",
    ),
    "a size twice": (
        ("calibrate", DIT, "--out", "c", "--size", "32x32", "--size", "32x32"),
        "--size 32x32 is given twice",
    ),
    "a guidance scale twice": (
        ("calibrate", DIT, "--out", "c", "--guidance-scale", 2, "--guidance-scale", "2.0"),
        "--guidance-scale 2 is given twice",
    ),
    "sizes and guidance scales": (
        ("calibrate", FLUX, "--out", "c", "--size", "32x32", "--size", "48x48",
         "--guidance-scale", 2, "--guidance-scale", 4),
        "--size and --guidance-scale are both given several times",
    ),
    "no model": (("memory", " "), "an argument is empty"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.txt").touch()
    return tmp_path


@pytest.fixture
def refused(forecastcache, folder):
    """Run a command that must be refused; gives its line."""

    def call(*arguments: object) -> str:
        before = sorted(folder.rglob("*"))
        code, out, err = forecastcache(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith("forecastcache: ")
        assert len(err) < 2100
        assert sorted(folder.rglob("*")) == before
        return err

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_refused_in_one_line(refused, command):
    arguments, complaint = COMMANDS[command]
    assert complaint in refused(*arguments)


LINES = {
    "a large seed": ('"seed": 18446744073709551616', "a seed is a number such as 3, from 0 to"),
    "a long seed": (f'"seed": {DIGITS}', "5,000 digits: 100 are the most"),
    "nested lists": (f'"a": {"[" * 10000}{"]" * 10000}', "more than 100 deep"),
    "a negative height": ('"height": -32', "height is -32: write a number from 1 to 65536"),
    "a tall height": (f'"height": {HUGE}', "write a number from 1 to 65536"),
    "latents": ('"latents": [1]', "latents is a list or an object: write one number or one text"),
    "pictures of a prompt": ('"num_images_per_prompt": 0', "which is said by --count"),
    "steps": ('"num_inference_steps": 3', "sets num_inference_steps, which is said by --steps"),
    "a key twice": ('"seed": 3, "seed": 4', "the key 'seed' stands twice: keep one"),
    "no number": ('"guidance_scale": NaN', "NaN is no number of JSON"),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_prompts_is_refused(refused, folder, line):
    said, complaint = LINES[line]
    (folder / "p.jsonl").write_text(f'{{"prompt": "a red one"}}\n{{"prompt": "a two", {said}}}')
    err = refused("run", FLUX, "--prompts", "p.jsonl")
    assert "--prompts p.jsonl, line 2: " in err
    assert complaint in err


@pytest.mark.parametrize(
    ("option", "key"),
    [
        (("--size", "32x32"), "height"),
        (("--seed", 3), "seed"),
        (("--guidance-scale", 3), "guidance_scale"),
    ],
)
def test_what_a_line_says_no_option_says_too(refused, folder, option, key):
    (folder / "p.jsonl").write_text(json.dumps({"prompt": "a red one", key: 32}))
    err = refused("run", FLUX, "--prompts", "p.jsonl", *option)
    assert f"{option[0]} is given, and the prompt 'a red one' sets {key}: leave one out" in err


def test_a_prompt_of_a_megabyte_is_refused(refused, folder):
    (folder / "p.txt").write_text("a" * 1_000_000)
    err = refused("run", FLUX, "--prompts", "p.txt")
    assert "asks for 1,000,000 letters of a prompt: 10,000 are the most" in err


SWEEPS = {
    "open brackets": (DEEP, "more than 100 deep: write it flatter"),
    "nested blocks": ("- " * 5000, "nested too deep"),
    "a key twice": ("sites: [output]\nsites: [module]", "the key 'sites' stands twice: keep one"),
    "a key of JSON twice": ('{"counts": [1], "counts": [2]}', "the key 'counts' stands twice"),
    "digits": (f"counts: [{DIGITS}]", "a number has 5,000 digits: 100 are the most"),
    "a long file": ("#" * 1_000_000, "longer than 262,144 bytes"),
    "no text": ("\udcff", "it is no text: write UTF-8"),
    "a long list": (f"counts: [{HUGE}]\ncalibration: {DIT}", "equal to 10000"),
}


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_file_is_refused(refused, folder, sweep):
    text, complaint = SWEEPS[sweep]
    (folder / "s.yaml").write_bytes(text.encode(errors="surrogateescape"))
    assert complaint in refused("evaluate", DIT, "--sweep", "s.yaml")


def test_errors_of_the_system_and_of_memory_get_a_line_with_the_remedy(refused, monkeypatch):
    import torch

    import forecastcache.cli.list as command

    said = {
        OSError(28, "No space left on device", "x"): "x: No space left on device: free space",
        PermissionError(13, "Permission denied", "y"): "y: Permission denied: give a place",
        RecursionError("deep"): "nested too deep: write it flatter",
        MemoryError(): "memory ran out: ask for a smaller --size",
        torch.OutOfMemoryError("CUDA out of memory"): "memory ran out",
        RuntimeError("DefaultCPUAllocator: can't allocate memory"): "memory ran out",
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"): "write UTF-8",
        OverflowError("int too large"): "a number is too large (int too large)",
    }
    for error, complaint in said.items():

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(command, "print_list", fail)
        assert complaint in refused("list")


def test_a_mistake_in_the_program_is_not_hidden(forecastcache, monkeypatch):
    import forecastcache.cli.list as command

    def fail(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(command, "print_list", fail)
    with pytest.raises(KeyError):
        forecastcache("list")


def test_a_prompts_file_may_be_a_pipe_begin_with_a_mark_and_hold_any_character(tmp_path):
    from forecastcache.cli.prompts import read_prompts

    end, other = os.pipe()
    os.write(other, b"a red seven\n")
    os.close(other)
    assert [it.text for it in read_prompts(Path(f"/dev/fd/{end}"))] == ["a red seven"]
    os.close(end)
    path = tmp_path / "p.jsonl"
    line = json.dumps({"prompt": "a\u2028red\x85seven"}, ensure_ascii=False)
    path.write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\r\n")
    assert [it.text for it in read_prompts(path)] == ["a\u2028red\x85seven"]
