"""Emoji with captions: what is drawn is what is said, and a tenth is never trained on."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from forecastcache.errors import MissingDataError, UnknownNameError
from forecastcache.sampling.request import Request
from forecastcache.zoo import data
from forecastcache.zoo.emoji import captions, choose, judge, names, pictures, reading

SPLITS = ("train", "calibration", "held-out")
NAVY = captions.BACKGROUNDS.index("navy")


def number(name: str) -> int:
    return [it.name for it in names.known()].index(name)


@pytest.fixture
def stroke(monkeypatch):
    """Every emoji is an upright red stroke, to the left of the middle."""
    picture = torch.zeros(4, 64, 64)
    picture[0, 8:56, 20:28] = picture[3, 8:56, 20:28] = 255
    every = picture.byte().expand(len(names.known()), -1, -1, -1)
    monkeypatch.setattr(pictures, "originals", lambda: every)


def drawings(count: int = 1, **changes) -> pictures.Drawings:
    zero = torch.zeros(count)
    fields = {
        "emoji": zero.long(), "background": zero.long() + NAVY, "tilt": zero.long() + 1,
        "turn": zero, "scale": zero + 1, "right": zero, "down": zero, "mirrored": zero.bool(),
    }  # fmt: skip
    return pictures.Drawings(**{**fields, **changes})


def shape(drawn: torch.Tensor) -> data.Scans:
    """The red of pictures, as coverage whose slant can be measured, at half of the size."""
    red = (drawn[:, 0] - drawn[:, 1]).clamp(min=0) / 2
    return data.Scans(torch.nn.functional.avg_pool2d(red, 2), torch.zeros(len(red)))


def test_names_are_told_apart_and_there_are_enough():
    known = names.known()
    assert 1300 <= len(known) <= 1900
    assert len({it.name for it in known}) == len({it.code for it in known}) == len(known)
    assert all(it.name == choose.plain(it.name) for it in known)
    assert not {word for it in known for word in it.name.split()} & {"leaning"}


def test_scenes_are_split_apart_and_a_tenth_is_held_out():
    parts = [set(captions.scenes(split)) for split in SPLITS]
    every = set.union(*parts)
    assert sum(map(len, parts)) == len(every)
    leaning = sum(it.tilts for it in names.known())
    assert len(every) == len(captions.BACKGROUNDS) * (len(names.known()) + 2 * leaning)
    for part in parts[1:]:
        assert len(part) / len(every) == pytest.approx(0.1, abs=0.01)
    held_out = captions.Scene(number("fox"), captions.BACKGROUNDS.index("mint"), 0)
    assert captions.split_of_scene(held_out) == captions.split_of_scene(held_out)


@given(st.sampled_from(captions.scenes("train")), st.booleans())
def test_what_is_described_is_parsed_back(scene, bare):
    caption = captions.describe(scene, bare)
    parsed = {name: int(value) for name, value in captions.parse([caption.upper()]).items()}
    tilts = names.known()[scene.emoji].tilts
    assert parsed == {
        "emoji": scene.emoji,
        "background": captions.UNSAID if bare else scene.background,
        "tilt": scene.tilt if tilts else captions.UNSAID,
    }
    assert captions.unknown_words([caption]) == []


def test_the_caption_of_the_manual():
    scene = captions.Scene(number("fox"), NAVY, 0)
    assert captions.describe(scene) == "fox on navy, leaning left"
    assert captions.describe(scene._replace(tilt=captions.UPRIGHT), bare=True) == "fox"
    symbols = captions.parse(["face with symbols on mouth on navy"])
    assert symbols["emoji"].tolist() == [number("face with symbols on mouth")]
    strange = captions.parse(["a castle of sand on navy"])
    assert (strange["emoji"].item(), strange["background"].item()) == (captions.UNSAID, NAVY)


def test_requests_ask_in_the_words_of_emoji():
    request = Request.of("zoo:flux-emoji", count=30, seed=4)
    asked = judge.asked_emoji(list(request.prompts))
    rows = zip(asked.emoji.tolist(), asked.background.tolist(), asked.tilt.tolist())
    held_out = set(captions.scenes("held-out"))
    upright = (captions.UPRIGHT if tilt == captions.UNSAID else tilt for *_, tilt in rows)
    scenes = zip(asked.emoji.tolist(), asked.background.tolist(), upright)
    assert {captions.Scene(*scene) for scene in scenes} <= held_out
    with pytest.warns(UserWarning, match=r"does not know 'seventeen': .* it knows grinning"):
        Request.of("zoo:flux-emoji", prompts=["seventeen on navy"])


def test_an_emoji_leans_as_it_is_said_to(stroke):
    tilt = torch.tensor([0, 1, 2])
    left, upright, right = shape(drawings(3, tilt=tilt).draw()).slant.tolist()
    assert left == pytest.approx(-0.4, abs=0.05)  # tan 22 degrees
    assert upright == pytest.approx(0, abs=0.01)
    assert right == pytest.approx(0.4, abs=0.05)


def test_an_emoji_moves_and_turns_about_as_it_should(stroke):
    def middle(**changes) -> torch.Tensor:
        ink = shape(drawings(**changes).draw()).ink[0]
        rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        return torch.stack([(ink * rows).sum(), (ink * columns).sum()]) / ink.sum() * 2

    start = middle()
    right = middle(right=torch.tensor([3.0]), down=torch.tensor([-2.0]))
    torch.testing.assert_close(right - start, torch.tensor([-2.0, 3.0]), atol=0.2, rtol=0)
    mirrored = middle(mirrored=torch.tensor([True]))
    assert (start + mirrored)[1].item() == pytest.approx(62, abs=0.5)  # about the middle
    leaning = drawings(mirrored=torch.tensor([True]), tilt=torch.tensor([0])).draw()
    assert shape(leaning).slant.item() < -0.3


def test_the_background_is_the_one_that_is_said(stroke):
    drawn = drawings().draw()
    assert drawn.shape == (1, 3, 64, 64)
    assert drawn.abs().max() <= 1
    navy = torch.tensor(data.BACKGROUNDS["navy"])
    torch.testing.assert_close((drawn[0, :, 0, 0] + 1) / 2, navy)


def test_what_is_drawn_belongs_to_the_split():
    shown = pictures.drawings_of("train", 500, torch.Generator().manual_seed(0))
    assert set(shown.scenes()) <= set(captions.scenes("train"))
    assert len(set(shown.scenes())) == 500
    may = torch.tensor([it.mirrors for it in names.known()])[shown.emoji]
    assert not (shown.mirrored & ~may).any()
    assert 0.15 < shown.mirrored[may].float().mean() < 0.45


def test_captions_leave_out_the_background_now_and_then():
    rows = torch.tensor(captions.scenes("train")[:400])
    said = captions.parse(reading.said(rows, torch.Generator().manual_seed(0)))
    assert torch.equal(said["emoji"], rows[:, 0])
    silent = said["background"] == captions.UNSAID
    assert torch.equal(said["background"][~silent], rows[~silent, 1])
    assert silent.float().mean().item() == pytest.approx(reading.BARE, abs=0.05)


def test_missing_pictures_are_named_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv(pictures.VARIABLE, str(tmp_path))
    with pytest.raises(MissingDataError) as raised:
        pictures.picture_folder()
    message = str(raised.value)
    assert "npm install --no-save emoji-datasource-google@16.0.0" in message
    assert str(tmp_path) in message
    assert pictures.VARIABLE in message


def record(unified: str, order: int, group: str = "Objects", part: str = "tool") -> dict:
    return {
        "unified": unified, "image": f"{unified.lower()}.png", "sort_order": order,
        "category": group, "subcategory": part,
    }  # fmt: skip


def test_flags_genders_and_doubles_are_left_out(tmp_path, monkeypatch):
    folder = tmp_path / "img" / "google" / "64"
    folder.mkdir(parents=True)
    cldr = {
        "1": "Élan", "2": "elan too", "3": "person’s hat", "4": "woman’s hat", "5": "Norway",
        "6": "right arrow", "7": "left arrow", "8": "keycap 8",
    }  # fmt: skip
    noise = torch.randint(256, (9, 64, 64, 4), generator=torch.Generator().manual_seed(0)).byte()
    noise[2], noise[7] = noise[1], noise[6].flip(1)
    for number in range(1, 9):
        Image.fromarray(noise[number].numpy()).save(folder / f"{number}.png")
    monkeypatch.setenv(pictures.VARIABLE, str(tmp_path))
    animal = {"group": "Animals & Nature", "part": "animal-bird"}
    records = [
        record("1", 9, **animal), *(record(it, int(it)) for it in "23"), record("4", 4),
        record("5", 5, "Flags", "country-flag"), record("6", 10, **animal),
        record("7", 11, **animal), record("8", 8, "Symbols", "keycap"),
    ]  # fmt: skip
    cldr["3"], cldr["4"] = "person hat", "woman hat"
    chosen = choose.choose(records, cldr)
    assert [it.name for it in chosen] == ["elan too", "person hat", "right arrow", "left arrow"]
    assert [it.mirrors for it in chosen] == [False] * 4  # an arrow's mirror image is another one
    assert json.loads(json.dumps(chosen[0])) == ["2", "elan too", True, False]


def test_a_judge_keeps_its_weights_and_what_is_real(tmp_path):
    torch.manual_seed(0)
    fresh = judge.EmojiJudge()
    fresh.real.normal_()
    path = tmp_path / "judge.safetensors"
    fresh.save(path)
    assert path.stat().st_size < 2_500_000
    again = judge.EmojiJudge.load(path)
    torch.testing.assert_close(again.real, fresh.real, atol=0.02, rtol=0.01)  # bfloat16
    shown = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(again(shown), fresh(shown), atol=0.05, rtol=0.05)
    assert [it.shape for it in again.verdict(again(shown))] == [(3,)] * 3


def test_a_judge_that_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(UnknownNameError, match="python -m forecastcache.zoo.train emoji-judge"):
        judge.EmojiJudge.load(tmp_path / "judge.safetensors")


def test_a_judge_is_trained_on_what_is_not_held_out(stroke, tmp_path, monkeypatch):
    asked = []
    drawn = pictures.drawings_of

    def noted(split, count, generator):
        asked.append(split)
        return drawn(split, min(count, 8), generator)

    monkeypatch.setattr(pictures, "drawings_of", noted)
    monkeypatch.setattr(judge, "REAL", 8)
    trained = judge.train_emoji_judge(tmp_path, steps=2)
    assert asked == ["train", "train", "held-out"]
    assert trained.real.abs().sum() > 0
