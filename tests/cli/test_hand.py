"""How the command line fits the hand: versions, help, verbosity, completion, narrow terminals."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
import torch
import typer
from PIL import Image

from forecastcache.cli import completion, place
from forecastcache.cli.app import EXAMPLES, app
from forecastcache.cli.panels import HOW, OUTPUT, WHAT
from forecastcache.errors import OptionError

from ..conftest import make_unconditional
from ..test_docs import commands, options

DIT = "zoo:dit-digits"
SMALL = (DIT, "--steps", 6, "--count", 2)
NAMES = tuple(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture
def unconditional(tmp_path):
    folder = tmp_path / "unconditional"
    make_unconditional().save_pretrained(folder)
    return folder


def test_versions_are_told_without_a_command(forecastcache):
    code, out, err = forecastcache("--version")
    assert (code, err) == (0, "")
    lines = [f"{name} {version(name)}" for name in ("forecastcache", "torch", "diffusers")]
    assert out.splitlines() == [*lines, f"python {'.'.join(map(str, sys.version_info[:3]))}"]


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_is_whole_at_any_width(forecastcache, monkeypatch, name, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = forecastcache(*filter(None, [name]), "--help")
    assert code == 0
    about, _, examples = out.rpartition("\n\n")
    assert "\u2026" not in out  # nothing is cut off
    assert max(map(len, about.splitlines())) <= width
    assert "forecastcache" in examples
    if name:
        known = options()[name]
        assert {it for it in known if it not in out and it.upper() not in out} == set()


def test_what_an_option_says_is_a_sentence_in_its_panel():
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        for parameter in command.params:
            said = parameter.help or ""
            assert re.match(r"[A-Z].*\.$", said, re.DOTALL), (name, parameter.name, said)
            assert parameter.rich_help_panel in (WHAT, HOW, OUTPUT), (name, parameter.name)


def test_each_command_has_an_example_that_it_takes():
    assert {it.__name__.removesuffix("_command") for it in EXAMPLES} == set(NAMES)
    for command, example in EXAMPLES.items():
        name, given = commands(f"`forecastcache {example}`")[0]
        assert command.__name__ == f"{name}_command"
        assert set(given) <= options()[name]


def test_quiet_prints_results_and_verbose_what_libraries_say(forecastcache, tmp_path):
    asked = ("run", *SMALL, "--out", tmp_path)
    code, usual, _ = forecastcache(*asked)
    assert (code, "2 samples, seeds 0 to 1" in usual) == (0, True)
    code, out, err = forecastcache("--quiet", *asked)
    assert (code, err) == (0, "")
    assert "latent PSNR" in out
    code, _, err = forecastcache(
        "evaluate", *SMALL, "--baseline", "steps:count=3", "--out", tmp_path / "e", "--verbose"
    )
    assert (code, "forecastcache: evaluation: 0 rows kept, 2 to measure" in err) == (0, True)
    code, out, err = forecastcache("--verbose", "--quiet", "list")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--verbose and --quiet contradict each other: leave one out" in err


@pytest.mark.slow
def test_nothing_but_the_command_speaks(tmp_path):
    """Libraries warn as they are imported, of what no user can change."""
    asked = ["run", *map(str, SMALL), "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "forecastcache", *asked], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def complete(*words: str) -> list[str]:
    """What bash is offered for the last word."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'forecastcache'\n"
         "from forecastcache.cli.app import run_app; run_app([])"],
        env={**os.environ, "_FORECASTCACHE_COMPLETE": "complete_bash",
             "COMP_WORDS": " ".join(["forecastcache", *words]), "COMP_CWORD": str(len(words))},
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.split()


def test_the_shell_completes_names():
    assert "taylor" in complete("run", DIT, "--predictor", "tay")
    # As bash has it: the colon is a word, and what follows it is all that is replaced.
    assert "flux-digits" in complete("run", "zoo", ":", "flux-d")


@pytest.mark.parametrize(
    ("kind", "begun", "offered"),
    [
        ("models", "zoo:flux-d", "zoo:flux-digits"),
        ("schedules", "tea", "teacache"),
        ("sites", "mod", "module"),
        ("devices", "", "auto"),
        ("baselines", "ste", "steps"),
        ("metrics", "cl", "clip"),
    ],
)
def test_names_are_offered_by_their_beginning(kind, begun, offered):
    found = getattr(completion, kind)(begun)
    assert offered in found
    assert all(name.startswith(begun) for name in found)


def test_a_model_that_is_not_the_zoos_runs_on_the_best_device(
    forecastcache, unconditional, tmp_path
):
    asked = ("run", unconditional, "--steps", 4, "--count", 1, "--out", tmp_path, "--json")
    code, out, err = forecastcache(*asked)
    assert (code, json.loads(out)["samples"]) == (0, 1)
    best = place._best_device()
    dtype = "bfloat16" if best == "cuda" else "float32"
    told = f"{unconditional} runs on {best} in {dtype}: --device and --dtype choose otherwise\n"
    assert err == told
    _, _, err = forecastcache(*asked, "--device", "cpu", "--dtype", "float32")
    assert err == ""
    code, _, err = forecastcache(*asked, "--device", "abacus")
    assert (code, err.count("\n"), "'abacus' cannot be used" in err) == (2, 1, True)


@pytest.mark.parametrize(
    ("cuda", "asked", "expected"),
    [
        (True, ("owner/model", None, None), ("cuda", "bfloat16")),
        (True, ("owner/model", "cpu", None), ("cpu", "float32")),
        (True, ("owner/model", "cuda:1", None), ("cuda:1", "bfloat16")),
        (True, ("owner/model", None, "float16"), ("cuda", "float16")),
        (True, (DIT, None, None), ("cpu", "float32")),
        (True, (DIT, "auto", None), ("cuda", "float32")),
        (True, (DIT, "cuda", "auto"), ("cuda", "bfloat16")),
        (False, ("owner/model", None, None), ("cpu", "float32")),
    ],
)
def test_auto_takes_bfloat16_on_cuda_and_the_zoo_stays_as_it_was_measured(
    monkeypatch, cuda, asked, expected
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    found = place.place_for(*asked)
    assert found[:2] == expected
    chosen = (None in asked[1:] and not asked[0].startswith("zoo:")) or "auto" in asked
    assert bool(found.told) == chosen


def test_samples_are_saved_one_by_one(forecastcache, tmp_path):
    images = tmp_path / "images"
    code, out, _ = forecastcache(
        "run", *SMALL, "--seed", 7, "--out", tmp_path, "--save-images", images, "--json"
    )
    figures = json.loads(out)
    assert (code, figures["seed"]) == (0, 7)
    names = {f"{i:03d}-seed-{7 + i}-{kind}.png" for i in (0, 1) for kind in ("plain", "forecast")}
    assert {path.name for path in images.iterdir()} == names
    with Image.open(images / "000-seed-7-plain.png") as image:
        assert (image.size, image.mode) == ((32, 32), "RGB")
    file = tmp_path / "file"
    file.touch()
    code, out, err = forecastcache("run", *SMALL, "--out", tmp_path, "--save-images", file)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--save-images" in err
    assert "give a folder" in err


def test_a_negative_prompt_is_said_once_and_reaches_the_call(tmp_path):
    from forecastcache.cli.args import request_fields
    from forecastcache.sampling.request import Request

    fields = request_fields(4, None, None, None, None, None, None, ("a red seven", 3.0))
    assert fields["call"] == {"negative_prompt": "a red seven", "guidance_scale_2": 3.0}
    # Over that of the zoo.
    assert Request.of("zoo:qwen-digits", **fields).call["negative_prompt"] == "a red seven"
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"prompt": "a two", "negative_prompt": "blue"}')
    with pytest.raises(
        OptionError, match="--negative-prompt is given, and the prompt 'a two' sets"
    ):
        request_fields(4, None, None, None, prompts, None, None, ("red", None))


def test_a_negative_prompt_without_effect_is_refused(forecastcache, tmp_path):
    for model, complaint in (
        (DIT, "DiTPipeline takes no negative_prompt: leave it out"),
        ("zoo:flux-digits", "has no effect on FluxPipeline at true_cfg_scale 1: leave it out"),
    ):
        code, out, err = forecastcache(
            "run", model, "--negative-prompt", "ugly", "--out", tmp_path
        )
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert complaint in err
    code, _, err = forecastcache("run", DIT, "--guidance-scale-2", 3, "--out", tmp_path)
    assert (code, "takes no guidance_scale_2: leave it out" in err) == (2, True)


def test_an_evaluation_says_what_it_kept_and_what_it_measured(forecastcache, tmp_path):
    asked = ("evaluate", *SMALL, "--baseline", "steps:count=3", "--out", tmp_path)
    assert "Rows: 0 kept from before, 2 measured." in forecastcache(*asked)[1]
    assert "Rows: 2 kept from before, 0 measured." in forecastcache(*asked)[1]
    figures = json.loads(forecastcache(*asked, "--json")[1])
    assert (figures["kept"], figures["measured"]) == (2, 0)


@pytest.mark.parametrize(
    ("metrics", "complaint"),
    [
        ("dists", "no metric is called 'dists': write one of clip, latent-psnr, lpips"),
        ("ssim=x", "the metric ssim takes no weights: write ssim alone"),
        ("clip=x", "the CLIP score needs prompts, and this model is asked in classes"),
    ],
)
def test_a_metric_that_cannot_be_is_refused_in_one_line(
    forecastcache, tmp_path, metrics, complaint
):
    asked = ("evaluate", *SMALL, "--baseline", "steps:count=3", "--out", tmp_path / "out")
    code, out, err = forecastcache(*asked, "--metrics", metrics)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
    assert not (tmp_path / "out").exists()


NARROW = {
    "run": ("run", *SMALL),
    "evaluate": ("evaluate", *SMALL, "--baseline", "steps:count=3"),
    "plan": ("plan", "zoo:flux-digits", "--speedup", 5),
    "memory": ("memory", "flux.1-dev", "--site", "module", "--gpu", "24GiB"),
    "list": ("list",),
}


@pytest.mark.parametrize("command", NARROW)
def test_a_narrow_terminal_without_colour_loses_nothing(
    forecastcache, monkeypatch, tmp_path, command
):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes rich take it for a terminal
    out = ("--out", tmp_path) if command in ("run", "evaluate") else ()
    code, printed, _ = forecastcache(*NARROW[command], *out)
    assert code == 0
    assert "\u2026" not in printed
    assert not re.search(r"\x1b\[[\d;]*3[0-7]m", printed)  # bold may stay, colour not
    words = {
        "run": "latent PSNR\n  forecast: ",
        "evaluate": "  latent PSNR, dB: identical",
        "plan": "  times fewer: 5.0",
        "memory": "  bytes a branch: 1,075,838,976",
        "list": "\nbands\n  `low` forecasts the low spatial",
    }
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert words[command] in plain


def test_a_wide_table_comes_in_parts_that_are_whole(forecastcache, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    asked = (*NARROW["evaluate"], "--out", tmp_path)
    lines = forecastcache(*asked)[1].splitlines()
    tables = [re.sub(r"\x1b\[[\d;]*m", "", it) for it in lines if it[:1] in "┏┃┡│└"]
    assert max(map(len, tables)) <= 80
    assert sum(it.startswith("┏") for it in tables) > 1
    for word in ("computed", "speedup", "FLOPs", "identical", "Fréchet"):
        assert any(word in it for it in tables), word


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("run",), "MODEL is missing: .*run --help shows what to write"),
        (("calibrate", DIT), "--out is missing"),
        (("run", DIT, "--intervall", 3), "No such option: --intervall .*--interval"),
        (("rnu",), "No such command 'rnu'. Did you mean 'run'"),
        (("run", DIT, "--dtype", "int8"), "--dtype int8 is not known: write one of auto, float32"),
        (("run", DIT, "--out", "f"), "--out f cannot be written, because of f: give a folder"),
    ],
)
def test_a_slip_gets_one_line(forecastcache, tmp_path, monkeypatch, given, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").touch()
    code, out, err = forecastcache(*given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.search(complaint, err), err
