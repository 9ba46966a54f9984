"""The command line: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from matplotlib.figure import Figure
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import forecastcache as fc
from forecastcache import zoo
from forecastcache.cli import chosen

from ..conftest import make_pipeline, make_unconditional


@pytest.fixture
def unconditional(tmp_path) -> Path:
    folder = tmp_path / "unconditional"
    make_unconditional().save_pretrained(folder)
    return folder


@pytest.fixture
def text_to_image(tmp_path) -> Path:
    torch.manual_seed(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *[c + "</w>" for c in letters]]
    tokenizer = CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[])
    tokenizer.model_max_length = 16
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=1,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    vae = AutoencoderKL(block_out_channels=(8, 8), latent_channels=4, norm_num_groups=4)
    pipe = StableDiffusionPipeline(
        vae,
        CLIPTextModel(text),
        tokenizer,
        unet,
        DDIMScheduler(clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    folder = tmp_path / "text-to-image"
    pipe.save_pretrained(folder)
    return folder


KEYS = {
    "model", "steps", "computed", "count", "seconds_plain", "seconds", "speedup", "ceiling",
    "psnr_db", "ssim", "cache_bytes",
}  # fmt: skip


def test_run_prints_one_json_object_and_saves_the_picture(forecastcache, tmp_path):
    code, out, _ = forecastcache(
        "run", "zoo:dit-digits", "--steps", 14, "--site", "module", "--classes", "red seven,12",
        "--count", 3, "--interval", 4, "--first", 2, "--out", tmp_path, "--json",
    )  # fmt: skip
    figures = json.loads(out)
    assert code == 0
    assert set(figures) >= KEYS
    assert (figures["steps"], figures["computed"]) == (14, [0, 1, 5, 9, 13])
    assert (figures["count"], figures["samples"]) == (5, 3)
    assert figures["guidance_scale"] == 2.0
    assert figures["ceiling"] == pytest.approx(14 / 5)
    assert figures["cache_bytes"] == figures["cache_bytes_planned"]
    assert figures["flops"] < 0.5 * figures["flops_plain"]
    assert figures["psnr_db"] > 20
    assert figures["judged_plain"] == 1
    with Image.open(figures["picture"]) as picture:
        assert picture.width > 500
    assert Path(figures["picture"]).parent == tmp_path


def test_run_prints_a_table_with_the_path_last(forecastcache, tmp_path, unconditional):
    code, out, _ = forecastcache("run", unconditional, "--steps", 12, "--out", tmp_path)
    lines = out.strip().splitlines()
    rows = {line.split("│")[1].strip(): line for line in lines if line.count("│") > 2}
    assert code == 0
    assert "dB" in rows["latent PSNR"]
    assert "dB" in rows["PSNR of samples"]
    assert "SSIM of samples" in rows
    assert "12 steps, 4 computed: 0 4 8 11" in out
    assert "VariableOrder(orders=(1, 2)), Warped(count=4" in out
    assert "times as fast, ceiling 3.00" in out
    assert Path(lines[-1]).is_file()


@pytest.mark.parametrize(
    ("options", "schedule", "predictor"),
    [
        ((), fc.Warped(10), fc.VariableOrder()),
        (("--schedule", "0,9"), fc.Listed([0, 9]), fc.VariableOrder()),
        (("--predictor", "reuse"), fc.Warped(10), fc.Reuse()),
        (("--order", 2), fc.Warped(10), fc.Taylor(order=2)),
        (("--interval", 6), fc.Every(6, first=3), fc.Taylor()),
        (("--first", 2), fc.Every(5, first=2), fc.Taylor()),
        (("--site", "block"), fc.Warped(10), fc.Taylor()),
    ],
)
def test_what_is_not_asked_is_the_formula_or_beside_an_interval_the_papers_rule(
    options, schedule, predictor
):
    given = dict(zip(options[::2], options[1::2]))
    names = ("predictor", "order", "settings", "interval", "first", "schedule", "site")
    asked = [given.get(f"--{name}", [] if name == "settings" else None) for name in names]
    found = chosen.Said(*asked, *[None] * 5).chosen(50)
    assert (found.schedule, found.predictor) == (schedule, predictor)


def test_all_computed_is_identical(forecastcache, tmp_path, unconditional):
    _, out, _ = forecastcache(
        "run", unconditional, "--steps", 6, "--interval", 1, "--out", tmp_path, "--json"
    )
    figures = json.loads(out)
    assert figures["psnr_db"] is None
    assert figures["ssim"] == 1


def test_seeds_make_the_same_pictures_again(forecastcache, tmp_path, unconditional):
    def figures(model: object, *extra: object) -> tuple[float, float]:
        _, out, _ = forecastcache(
            "run", model, "--steps", 5, "--count", 1, "--json", "--out", tmp_path, *extra
        )
        found = json.loads(out)
        return found["psnr_db"], found["ssim"]

    first, again, other = (figures(unconditional, "--seed", seed) for seed in (3, 3, 4))
    assert first == again != other
    strong, weak = (figures(ZOO, "--guidance-scale", scale) for scale in (4, 1))
    assert strong != weak


def test_run_takes_a_folder_and_listed_steps(forecastcache, tmp_path, unconditional):
    code, out, _ = forecastcache(
        "run", unconditional, "--steps", 10, "--count", 2, "--schedule", "0,1,4,8",
        "--predictor", "reuse", "--out", tmp_path, "--json",
    )  # fmt: skip
    figures = json.loads(out)
    assert code == 0
    assert figures["computed"] == [0, 1, 4, 8]
    assert figures["predictor"] == "Reuse()"
    assert figures["judged_plain"] is None
    assert figures["cache_bytes"] == 2 * 3 * 16 * 16 * 4


def test_run_takes_prompts(forecastcache, tmp_path, text_to_image):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red seven\n\na blue two\n")
    code, out, err = forecastcache(
        "run", text_to_image, "--prompts", prompts, "--steps", 8, "--out", tmp_path, "--json",
        "--guidance-scale", 5,
    )  # fmt: skip
    assert code == 0, err
    figures = json.loads(out)
    assert figures["samples"] == 2
    assert figures["computed"] == [0, 3, 5, 7]
    code, _, err = forecastcache("run", text_to_image, "--out", tmp_path)
    assert code == 2
    assert "needs prompts: give --prompts" in err


def test_run_takes_any_option_of_any_predictor(forecastcache, tmp_path):
    code, out, _ = forecastcache(
        "run", "zoo:dit-digits", "--steps", 8, "--count", 1, "--out", tmp_path, "--json",
        "--predictor", "bands", "--set", "low=reuse", "--set", "high=hermite:order=1,sigma=0.7",
        "--set", "cutoff=0.4",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["predictor"] == str(fc.Bands(fc.Reuse(), fc.Hermite(1, 0.7), 0.4))


ZOO = "zoo:dit-digits"
JUDGE = zoo.folder(ZOO).parent / "digit-judge" / "judge.safetensors"
MISTAKES = {
    "interval 0": ((ZOO, "--interval", 0), "interval=0.*integer of at least 1"),
    "interval no number": ((ZOO, "--interval", "x"), "--interval.*valid integer"),
    "first 0": ((ZOO, "--first", 0), "first=0.*integer of at least 1"),
    "order -1": ((ZOO, "--order", -1), "order=-1.*integer from 0 to 4"),
    "order 9": ((ZOO, "--order", 9), "order=9.*integer from 0 to 4"),
    "order of reuse": (
        (ZOO, "--predictor", "reuse", "--order", 1),
        "reuse has no option 'order'; it takes no options",
    ),
    "option of another predictor": (
        (ZOO, "--set", "sigma=1"),
        "taylor has no option 'sigma'; it takes order: integer from 0 to 4",
    ),
    "option out of range": (
        (ZOO, "--predictor", "hermite", "--set", "sigma=0"),
        "sigma='0', but input should be greater than 0; it takes order",
    ),
    "no option": ((ZOO, "--set", "order"), "'order' sets no option: write such as order=2"),
    "options twice": (
        (ZOO, "--predictor", "taylor:order=2", "--order", 1),
        "taylor:order=2 sets its options itself: leave out --order and --set",
    ),
    "predictor without its parts": (
        (ZOO, "--predictor", "bands"),
        "bands needs low and high; it takes low: predictor",
    ),
    "predictor": (
        (ZOO, "--predictor", "tailor"),
        "'tailor': write one of bands, .*, taylor",
    ),
    "site": ((ZOO, "--site", "blocks"), "--site blocks.*output, hidden, block, module"),
    "site of a calibration": (
        (ZOO, "--calibration", ZOO, "--site", "module"),
        "--calibration has rows of .* output, and none of --site module: leave out --site",
    ),
    "two goals": (
        (ZOO, "--speedup", 5, "--psnr", 40),
        "--speedup and --psnr each choose by themselves: give one",
    ),
    "speedup of a schedule": (
        (ZOO, "--speedup", 5, "--schedule", "every:5"),
        "--speedup gives schedule and predictor, as --schedule would: leave out --speedup or",
    ),
    "computed with a predictor": (
        (ZOO, "--computed", 9, "--predictor", "taylor", "--set", "order=2"),
        "--computed gives schedule and predictor, as --predictor and --set would: leave out",
    ),
    "site of a speedup": (
        (ZOO, "--speedup", 5, "--site", "module"),
        "--speedup has rows of .* output, and none of --site module: leave out --site",
    ),
    "speedup 0.5": ((ZOO, "--speedup", 0.5), "speedup=0.5 is no number of at least 1"),
    "speedup 51": ((ZOO, "--speedup", 51), "speedup=51 is above 50"),
    "computed 51": ((ZOO, "--computed", 51), "computed=51 is above 50"),
    "psnr nan": ((ZOO, "--psnr", "nan"), "psnr=nan is no number of dB above 0"),
    "dtype": ((ZOO, "--dtype", "int8"), "--dtype int8.*float32"),
    "device": ((ZOO, "--device", "abacus"), "device='abacus' cannot be used"),
    "zoo model": (("zoo:dit",), "no model 'dit': write one of zoo:dit-digits"),
    "model": (("no-such",), "'no-such': write one of zoo:dit.*, a folder or a hub id"),
    "step 60 of 50": ((ZOO, "--schedule", "0,60"), "step 60, but the trajectory has 50 steps"),
    "skips step 0": ((ZOO, "--schedule", "1,2"), "begin the list with 0"),
    "schedule no list": (
        (ZOO, "--schedule", "a,b"),
        "is no schedule: write every:7, a list such as 0,6",
    ),
    "two schedules": ((ZOO, "--schedule", "0", "--first", 2), "leave out --interval"),
    "steps 0": ((ZOO, "--steps", 0), "--steps.*1"),
    "count 0": ((ZOO, "--count", 0), "--count.*1"),
    "class": ((ZOO, "--classes", "red ten"), "'red ten' is no class.*0 to 59, or a label such as"),
    "class number": ((ZOO, "--classes", "60"), "'60' is no class"),
    "prompts for classes": ((ZOO, "--prompts", __file__), "DiTPipeline takes no prompt"),
    "no prompts file": ((ZOO, "--prompts", "no.txt"), "no.txt is no file"),
    "seed too large": ((ZOO, "--seed", 2**70), "--seed.*less than or equal to"),
    "guidance too large": ((ZOO, "--guidance-scale", "1e38"), "--guidance-scale"),
    "guidance nan": ((ZOO, "--guidance-scale", "nan"), "--guidance-scale"),
    "meta device": ((ZOO, "--device", "meta"), "device='meta' cannot be used"),
    "prompts no text": ((ZOO, "--prompts", JUDGE), "is no text: give a text file"),
    "unknown option": ((ZOO, "--bogus"), "No such option: --bogus"),
    "no model": ((), "MODEL is missing: .*--help shows what to write"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line_and_nothing_is_written(forecastcache, tmp_path, mistake):
    arguments, message = MISTAKES[mistake]
    out = tmp_path / "out"
    code, printed, err = forecastcache("run", *arguments, "--out", out)
    assert code == 2
    assert printed == ""
    assert err.count("\n") == 1
    assert err.startswith("forecastcache: ")
    assert re.search(message, err), err
    assert not out.exists()


def test_run_learns_what_it_is_asked_for_and_keeps_it(forecastcache, tmp_path, monkeypatch):
    monkeypatch.setenv("FORECASTCACHE_HOME", str(tmp_path / "kept"))
    make_pipeline(sample_size=16).save_pretrained(tmp_path / "model")
    short = ("run", tmp_path / "model", "--steps", 8, "--count", 1, "--out", tmp_path)
    code, out, err = forecastcache(*short, "--speedup", 2)
    assert code == 0, err
    assert "nothing is kept for such calls and speedup 2: learning it from 4 samples" in out
    assert "a fit that costs at most 4 more of each" in out
    assert f"plain runs of each; kept in {tmp_path / 'kept'}" in out
    missed = next(line for line in out.splitlines() if "forecasts missed" in line)
    assert re.search(r"[0-9.]+ times .* what was expected, at most", missed)
    assert re.search(r"latent PSNR .* dB .* dB expected, as rolled", out)
    code, out, err = forecastcache(*short, "--computed", 4, "--json")
    figures = json.loads(out)
    assert code == 0, err
    learned = figures["learned"]
    assert (learned["kept_before"], learned["reached"], learned["samples"]) == (True, True, 0)
    assert figures["computed"] == learned["fits"][0]["computed"]
    assert Path(figures["picture"]).name.endswith("model-accelerated.png")
    assert Path(learned["file"]).parent == tmp_path / "kept"
    steps = figures["computed"]
    assert set(learned["drift"]) == {str(it) for it in steps[1:] if it < 7}  # the last tells none
    assert all(0 < it < 100 for it in learned["drift"].values())
    kept = json.loads(forecastcache("cache", "list", "--json")[1])["kept"]
    assert [(it["pipeline"], it["steps"]) for it in kept] == [("DiTPipeline", 8)]


def test_run_learns_from_the_first_prompts_with_other_noise():
    asked = {"prompts": tuple("abcdef"), "seeds": (1500, 7), "steps": 8}
    examples = chosen._examples("folder", fc.Request(**asked), asked)
    assert examples.prompts == tuple("abcd")
    assert (examples.seed, examples.seeds, len(examples)) == (1501, (), 4)
    few = {"prompts": ("a", "b"), "count": 8, "seed": 3}
    examples = chosen._examples("folder", fc.Request(**few), few)
    assert (examples.prompts, examples.seed, len(examples)) == (("a", "b"), 1000, 2)
    flux = chosen._examples("zoo:flux-digits", fc.Request(), {})
    assert (len(flux.prompts), flux.seed) == (4, 1000)
    assert flux == fc.Request.of("zoo:flux-digits", "calibration", seed=1000, count=4)


def test_run_takes_a_set_up_and_nothing_that_would_change_it(
    forecastcache, tmp_path, unconditional
):
    path = tmp_path / "fast.yaml"
    path.write_text("schedule: 0,1,4\npredictor: reuse\ndtype: float64\n")
    run = ("run", unconditional, "--steps", 6, "--count", 1, "--out", tmp_path, "--config", path)
    code, out, err = forecastcache(*run, "--json")
    figures = json.loads(out)
    assert code == 0, err
    assert (figures["computed"], figures["predictor"]) == ([0, 1, 4], "Reuse()")
    assert figures["cache_bytes"] == 3 * 16 * 16 * 8
    code, _, err = forecastcache(*run, "--site", "output", "--speedup", 2)
    assert code == 2
    assert "and --site and --speedup would change it: leave out --config or --site" in err
    path.write_text("schedule: 0,1,4\npredictor: reuse\nsite: roof\n")
    code, _, err = forecastcache(*run)
    assert (code, err.count("\n")) == (2, 1)
    assert "fast.yaml, line 3: Config: site: roof is not known: write one of output" in err


def test_a_folder_that_is_no_pipeline_is_refused(forecastcache, tmp_path):
    code, _, err = forecastcache("run", tmp_path)
    assert code == 2
    assert "has no model_index.json" in err
    for content in ("{", "{}", "[]", '{"_class_name": "NoSuchPipeline"}'):
        (tmp_path / "model_index.json").write_text(content)
        code, _, err = forecastcache("run", tmp_path)
        assert code == 2
        assert "cannot be loaded as a diffusers pipeline: " in err
        assert err.count("\n") == 1


def test_more_steps_than_the_scheduler_has_are_refused(forecastcache, tmp_path):
    out = tmp_path / "out"
    code, _, err = forecastcache("run", ZOO, "--steps", 2000, "--out", out)
    assert code == 2
    assert "DiTPipeline cannot be called so: ValueError" in err.splitlines()[-1]
    assert not out.exists()


def test_a_site_the_adapter_lacks_is_refused_before_sampling(
    forecastcache, tmp_path, unconditional
):
    out = tmp_path / "out"
    where = ("--device", "cpu", "--dtype", "float32")
    code, _, err = forecastcache("run", unconditional, *where, "--site", "block", "--out", out)
    assert code == 2
    assert "'generic', which has no site 'block': write one of output" in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_out_must_be_a_folder_that_can_be_written(forecastcache, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for out in (file, file / "below", tmp_path / ("x" * 300)):
        code, _, err = forecastcache("run", ZOO, "--out", out)
        assert code == 2
        assert "give a folder" in err


def test_a_picture_that_cannot_be_written_is_named(forecastcache, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    code, _, err = forecastcache("run", ZOO, "--steps", 4, "--count", 1, "--out", tmp_path)
    assert code == 2
    assert "cannot be written (No space left on device): give another --out" in err
    assert not list(tmp_path.iterdir())
