"""The command `cache`: what is listed, shown and removed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import forecastcache as fc
from forecastcache.accelerated.kept import Kept
from forecastcache.accelerated.scope import Scope
from forecastcache.calibration.fits import SizeFits
from forecastcache.calibration.gram import RIDGE, open_loop_rows
from forecastcache.calibration.identity import Identity, versions

from ..calibration.toys import Toy, curved, fit_of, rolls_of, starts

FACTS = {"pipeline": "ToyPipeline", "guidance_scale": 3.5, "num_inference_steps": 12}


@pytest.fixture(scope="module")
def calibration() -> fc.Calibration:
    pipe = Toy(curved)
    recording, _ = rolls_of(pipe, starts(4))
    steps = (0, 4, 8, 11)
    fit = fit_of(steps, open_loop_rows(recording.gram, steps, None, RIDGE), 41.5)
    size = SizeFits("32x32", recording, (fit,))
    return fc.Calibration(Identity.of(pipe, 12, None), (size,), versions())


@pytest.fixture
def kept(calibration, tmp_path) -> SimpleNamespace:
    """A folder with a calibration, another that was set aside, and a file of somebody else's."""
    scopes = [Scope(FACTS), Scope({**FACTS, "guidance_scale": 7.0})]
    folder = tmp_path / "kept"
    keep = Kept(folder)
    for scope in scopes:
        keep.put(scope, calibration)
    names = [scope.name for scope in scopes]
    damaged = keep.path(scopes[1])
    damaged.rename(damaged.with_name(damaged.name + ".set-aside"))
    (folder / "theirs.safetensors").write_text("not ours")
    return SimpleNamespace(folder=folder, name=names[0], aside=names[1] + ".safetensors.set-aside")


def listed(forecastcache, folder: Path) -> dict[str, dict]:
    code, out, err = forecastcache("cache", "list", "--folder", folder, "--json")
    assert code == 0, err
    return {it["name"]: it for it in json.loads(out)["kept"]}


def test_the_list_has_what_is_kept_and_what_was_set_aside(forecastcache, kept):
    found = listed(forecastcache, kept.folder)
    assert set(found) == {kept.name, kept.aside}
    good = found[kept.name]
    assert good["bytes"] == Path(good["file"]).stat().st_size
    assert 0 <= good["age_seconds"] < 60
    figures = ("pipeline", "steps", "guidance", "size", "fits", "unusable")
    assert [good[name] for name in figures] == [
        "ToyPipeline", 12, 3.5, "32x32", [{"count": 4, "latent_psnr_db": 41.5}], None,
    ]  # fmt: skip
    assert found[kept.aside]["unusable"] == "it was set aside"


def test_the_table_names_what_cannot_be_used(forecastcache, kept):
    path = kept.folder / f"{kept.name}.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    code, out, _ = forecastcache("cache", "list", "--folder", kept.folder)
    assert code == 0
    assert f"{kept.name} cannot be used: {path} is damaged" in out
    assert f"{kept.aside} cannot be used: it was set aside" in out
    assert "under a minute" in out


def test_show_has_the_scope_and_the_schedules(forecastcache, kept):
    code, out, _ = forecastcache("cache", "show", kept.name, "--folder", kept.folder)
    assert code == 0
    assert "guidance_scale: 3.5" in out
    assert "0 4 8 11" in out
    _, out, _ = forecastcache("cache", "show", kept.name, "--folder", kept.folder, "--json")
    shown = json.loads(out)
    assert shown["scope"] == FACTS
    assert shown["calibration"]["fits"][0]["computed"] == [0, 4, 8, 11]


def test_clear_removes_what_is_named(forecastcache, kept):
    code, out, _ = forecastcache("cache", "clear", kept.aside, "--folder", kept.folder)
    assert code == 0
    assert out.startswith(f"removed {kept.aside}, ")
    assert set(listed(forecastcache, kept.folder)) == {kept.name}
    assert (kept.folder / f"{kept.name}.json").exists()


def test_clear_removes_all_of_ours_and_nothing_else(forecastcache, kept):
    code, out, _ = forecastcache("cache", "clear", "--folder", kept.folder, "--json")
    assert code == 0
    assert set(json.loads(out)["removed"]) == {kept.name, kept.aside}
    assert [it.name for it in kept.folder.iterdir()] == ["theirs.safetensors"]


def test_the_folder_is_that_of_the_environment(forecastcache, kept, monkeypatch):
    monkeypatch.setenv("FORECASTCACHE_HOME", str(kept.folder))
    _, out, _ = forecastcache("cache", "list", "--json")
    assert len(json.loads(out)["kept"]) == 2
    code, out, _ = forecastcache("cache", "list", "--folder", kept.folder / "none")
    assert (code, out) == (0, f"nothing is kept in {kept.folder / 'none'}\n")


def test_facts_that_are_damaged_are_left_out(forecastcache, kept):
    (kept.folder / f"{kept.name}.json").write_text("[")
    found = listed(forecastcache, kept.folder)[kept.name]
    assert (found["pipeline"], found["guidance"], found["unusable"]) == ("Field", None, None)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("empty",), "cache empty is not known: write one of list, show, clear"),
        (("show",), "cache show needs a name: write one that cache list prints"),
        (("list", "toy"), "cache list takes no name: write cache show toy"),
        (("clear", "theirs"), "keeps nothing called theirs: write one of toy-"),
    ],
)
def test_a_mistake_gets_one_line(forecastcache, kept, arguments, complaint):
    code, out, err = forecastcache("cache", *arguments, "--folder", kept.folder)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
    assert (kept.folder / "theirs.safetensors").exists()
