"""Captioned digits: what is drawn is what is said."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forecastcache.zoo import captions, data, judge, motion, pictures, scores

SPLITS = ("train", "calibration", "held-out")
SEVEN = captions.Combination(7, captions.INKS.index("red"), captions.BACKGROUNDS.index("white"))


def test_scans_are_split_for_good_and_apart():
    parts = [data.scans(split) for split in SPLITS]
    assert [len(part) for part in parts] == [1438, 120, 239]
    assert torch.equal(parts[0].ink, data.scans("train").ink)
    together = torch.cat([part.ink for part in parts]).flatten(1)
    assert len(together.unique(dim=0)) == 1797


def test_combinations_are_split_apart_and_none_is_lost():
    parts = [set(captions.combinations(split)) for split in SPLITS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 10 * len(captions.palettes())
    assert [len(part) for part in parts] == [245, 33, 32]
    seven = captions.Combination(
        7, captions.INKS.index("red"), captions.BACKGROUNDS.index("white")
    )
    assert seven in parts[SPLITS.index(captions.split_of(seven))]


def test_every_palette_can_be_read():
    inks, backgrounds = data.colours(data.INKS), data.colours(data.BACKGROUNDS)
    for ink, background in captions.palettes():
        assert (inks[ink] - backgrounds[background]).norm() > captions.CONTRAST


def test_the_caption_of_the_manual():
    seven = captions.Combination(
        7, captions.INKS.index("red"), captions.BACKGROUNDS.index("white")
    )
    said = captions.write(seven, "bold", "leaning left", "moving right")
    assert said == "a bold red seven leaning left on a white background, moving right"
    orange = captions.Combination(9, captions.INKS.index("orange"), 4)
    assert captions.write(orange, bare=True) == "an orange nine"


@given(
    st.sampled_from([it for split in SPLITS for it in captions.combinations(split)]),
    st.sampled_from(captions.WEIGHTS),
    st.sampled_from(captions.SLANTS),
    st.sampled_from(("", *motion.MOTIONS)),
    st.booleans(),
)
def test_what_is_written_is_read_back(combination, weight, slant, moves, bare):
    caption = captions.write(combination, weight, slant, moves, bare)
    read = {name: int(value) for name, value in captions.read([caption]).items()}
    assert read == {
        "digit": combination.digit,
        "ink": combination.ink,
        "background": captions.UNSAID if bare else combination.background,
        "motion": motion.MOTIONS.index(moves) if moves else captions.UNSAID,
    }
    assert captions.unknown([caption], moving=True) == []


def test_drawn_captions_belong_to_their_split_and_come_again():
    def draw():
        return captions.draw("held-out", 80, torch.Generator().manual_seed(3), moving=True)

    drawn = draw()
    assert drawn == draw()
    read = captions.read(drawn)
    rows = zip(*(read[name].tolist() for name in ("digit", "ink", "background")))
    combinations = [captions.Combination(*row) for row in rows]
    assert set(combinations) == set(captions.combinations("held-out"))
    assert len(set(combinations[:32])) == 32  # none twice before each came once
    assert (read["motion"] >= 0).all()


def test_strangers_are_named_once():
    assert captions.unknown(["a purple seven", "A PURPLE cat"]) == ["purple", "cat"]
    assert captions.unknown(["a seven moving up"]) == ["moving", "up"]
    assert captions.unknown(["a seven moving up"], moving=True) == []


def sheared(slope: float) -> torch.Tensor:
    """A stroke that leans `slope` pixels to the right per pixel up."""
    row, column = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    centre = 16 - slope * (row - 16)
    inside = (row > 5) & (row < 27)
    return ((column - centre).abs() < 3).float() * inside


def test_slant_and_thickness_are_measured():
    ink = torch.stack([sheared(-0.3), sheared(0.0), sheared(0.3)])
    scans = data.Scans(ink=ink, digit=torch.ones(3, dtype=torch.int64))
    torch.testing.assert_close(scans.slant, torch.tensor([-0.3, 0.0, 0.3]), atol=0.05, rtol=0)
    assert captions.measured(scans)[1] == ["leaning left", "", "leaning right"]
    thin = torch.zeros(1, 32, 32)
    thin[:, 4:28, 15:18] = 1
    bold = torch.zeros(1, 32, 32)
    bold[:, 4:28, 11:22] = 1
    lines = data.Scans(ink=torch.cat([thin, bold]), digit=torch.ones(2, dtype=torch.int64))
    assert captions.measured(lines)[0] == ["thin", "bold"]


def centre(frames: torch.Tensor) -> torch.Tensor:
    """Row and column of the ink's centre in each frame, `(frames, 2)`."""
    mass = frames.sum((1, 2))
    row = (frames.sum(2) * torch.arange(32.0)).sum(1) / mass
    column = (frames.sum(1) * torch.arange(32.0)).sum(1) / mass
    return torch.stack([row, column], 1)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("moving left", (0, -1)),
        ("moving right", (0, 1)),
        ("moving up", (-1, 0)),
        ("moving down", (1, 0)),
    ],
)
def test_a_digit_moves_where_it_is_said_to(name, way):
    scans = data.scans("held-out")
    moves = torch.full((8,), motion.MOTIONS.index(name))
    for frames in motion.animate(scans.ink[:8], moves):
        path = centre(frames)
        travelled = path[-1] - path[0]
        torch.testing.assert_close(travelled, 9.6 * torch.tensor(way).float(), atol=0.8, rtol=0)


def test_a_digit_turns_and_grows_as_it_is_said_to():
    stroke = sheared(0.0)[None].expand(4, -1, -1)
    names = ("turning left", "turning right", "growing", "shrinking")
    left, right, growing, shrinking = motion.animate(
        stroke, torch.tensor([motion.MOTIONS.index(name) for name in names])
    )

    def slants(frames):
        return data.Scans(ink=frames, digit=torch.ones(len(frames))).slant

    assert slants(left)[-1] < -0.3 < 0.3 < slants(left)[0]
    assert slants(right)[0] < -0.3 < 0.3 < slants(right)[-1]
    assert growing[-1].sum() > 3 * growing[0].sum()
    torch.testing.assert_close(shrinking.flip(0), growing, atol=1e-5, rtol=0)


def test_clips_and_their_middle_frame_show_the_subject():
    scans = data.scans("held-out")
    still = pictures.subjects_of(scans, "held-out")
    moving = pictures.set_in_motion(still, 6, seed=1)
    clips = moving.draw()
    assert clips.shape == (6, 3, motion.FRAMES, 32, 32)
    _, background = torch.tensor(captions.palettes())[moving.palette].unbind(1)
    corner = data.colours(data.BACKGROUNDS)[background] * 2 - 1
    torch.testing.assert_close(clips[:, :, 4, 0, 0], corner)


def test_what_is_trained_on_is_never_held_out():
    said = judge.verdict(pictures.subjects_of(data.scans("train")))
    seen = {captions.Combination(*row) for row in zip(*(it.tolist() for it in said[:3]))}
    assert seen == set(captions.combinations("train"))


def test_captions_of_subjects_say_what_is_on_them():
    still = pictures.subjects_of(data.scans("train"))
    subjects = pictures.set_in_motion(still, 400, seed=0)
    said = judge.asked(pictures.captions_of(subjects, torch.Generator().manual_seed(0)))
    assert judge.verdict(subjects).agrees(said).all()
    silent = (said.background == captions.UNSAID).float().mean()
    assert 0.03 < silent < 0.2


def test_a_verdict_disagrees_only_with_what_was_asked():
    seen = judge.asked(["a red seven on a white background"] * 3)
    asked = judge.asked(["a red seven", "a blue seven", "a red seven on a navy background"])
    assert seen.agrees(asked).tolist() == [True, False, False]


def test_the_judge_reads_held_out_scans_still_and_moving():
    still, moving = judge.held_out_accuracy(judge.Judge.load())
    assert still >= 0.98
    assert moving >= 0.97


def test_the_judge_follows_clips_of_any_length():
    scans = data.scans("held-out")
    ink = scans.ink[:8]
    frames = motion.animate(ink, torch.arange(8), frames=25)
    clips = (2 * frames - 1)[:, :, None].expand(-1, -1, 3, -1, -1)
    assert judge.Judge.load().read(clips).motion.tolist() == list(range(8))


def test_frechet_distance_of_gaussians_is_known():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(20_000, 3, generator=generator)
    second = 2 * torch.randn(20_000, 3, generator=generator) + torch.tensor([1.0, 0.0, 0.0])
    # |m1 - m2|^2 + sum (s1 - s2)^2 for diagonal covariances.
    assert scores.frechet_distance(first, second) == pytest.approx(1 + 3, abs=0.15)
    assert scores.frechet_distance(first, first) == pytest.approx(0, abs=1e-8)


def test_real_pictures_score_well_and_noise_does_not():
    real = scores.real_pictures()
    halves = (real[::2], real[1::2])
    said = judge.verdict(pictures.subjects_of(data.scans("held-out"), "held-out"))
    asked = judge.Verdict(*(it[::2] for it in said))
    critic = scores.Scorer(judge.Judge.load(), asked, halves[1])
    good = critic.score((halves[0] + 1) / 2)
    bad = critic.score(torch.rand(halves[0].shape))
    assert good.accuracy >= 0.97
    assert bad.accuracy < 0.1
    assert bad.frechet > 20 * good.frechet
