"""Files: what is written comes back, and what is damaged is refused in words."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import safe_open
from safetensors import torch as torch_file
from safetensors.numpy import save_file

from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fits import Fit, SizeFits
from forecastcache.calibration.identity import Identity, Part
from forecastcache.calibration.io import ARRAYS, HEADER
from forecastcache.calibration.recording import Recording
from forecastcache.errors import CalibrationError
from forecastcache.predictors.row import Row

finite = st.floats(-1e6, 1e6)
names = st.text(min_size=1, max_size=9)


@st.composite
def recordings(draw, steps: int) -> Recording:
    branches = draw(st.integers(1, 2))

    def array(*shape: int) -> np.ndarray:
        return draw(arrays(np.float64, shape, elements=finite))

    return Recording(
        times=array(steps), gram=array(steps, steps), branches=array(branches, steps, steps),
        products=array(steps, 3, 3), prompts=draw(st.integers(2, 99)),
        elements=draw(st.integers(1, 10**9)), precision=draw(st.floats(0, 1e-2)),
    )  # fmt: skip


@st.composite
def fits(draw, steps: int) -> Fit:
    later = draw(st.sets(st.integers(1, steps - 1), max_size=steps - 2))
    computed = (0, *sorted(later))
    rows = []
    for target in sorted({*range(steps)} - {*computed}):
        known = tuple(step for step in computed if step < target)
        weights = draw(st.lists(finite, min_size=len(known), max_size=len(known)))
        rows.append(Row(target=target, computed=known, weights=tuple(weights)))
    return Fit(computed=computed, rows=tuple(rows), latent_psnr_db=draw(st.floats(-9, 206)))


@st.composite
def calibrations(draw) -> Calibration:
    steps = draw(st.integers(2, 6))

    def size() -> SizeFits:
        recording = draw(recordings(steps))
        made = draw(st.lists(fits(steps), max_size=2))
        return SizeFits(draw(names), recording, tuple(made))

    identity = Identity(
        model=Part(name=draw(names), config=draw(names)),
        scheduler=Part(name=draw(names), config=draw(names)),
        steps=steps, guidance=draw(st.none() | st.floats(0, 99)),
    )  # fmt: skip
    sizes = tuple(size() for _ in range(draw(st.integers(1, 2))))
    return Calibration(identity, sizes, draw(st.dictionaries(names, names, max_size=2)))


@settings(max_examples=60)
@given(calibrations())
def test_what_is_saved_comes_back(calibration):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "any.cal"
        calibration.save(path)
        again = Calibration.load(path)
    assert (again.identity, again.versions) == (calibration.identity, calibration.versions)
    for mine, its in zip(calibration.sizes, again.sizes, strict=True):
        assert (mine.name, mine.fits) == (its.name, its.fits)
        for name in ARRAYS:
            np.testing.assert_array_equal(
                getattr(mine.recording, name), getattr(its.recording, name)
            )
        for name in ("prompts", "elements", "precision"):
            assert getattr(mine.recording, name) == getattr(its.recording, name)


@settings(max_examples=200)
@given(data=st.data())
def test_whatever_is_damaged_is_refused_in_words_or_read_as_it_is(data):
    """Cut off, or any byte another one: no error but ours comes out."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "any.cal"
        WHOLE.save(path)
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans(), label="cut off"):
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        else:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        with suppress(CalibrationError):
            assert Calibration.load(path).recording.products.shape == (3, 3, 3)


@st.composite
def shapes(draw) -> tuple[str, tuple[int, ...]]:
    """An array of three steps, and a shape that it does not have."""
    name = draw(st.sampled_from(ARRAYS))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    whole = {"times": (3,), "gram": (3, 3), "branches": (*shape[:1], 3, 3), "products": (3, 3, 3)}
    assume(shape != whole[name] or 0 in shape)
    return name, shape


@given(changed=shapes())
def test_an_array_of_another_shape_is_named(changed):
    name, shape = changed
    with TemporaryDirectory() as folder:
        path = Path(folder) / "any.cal"
        rewrite(path, {f"0.{name}": np.ones(shape)})
        with pytest.raises(CalibrationError) as error:
            Calibration.load(path)
    complaint = f"0.{name} has the shape {shape}, but its header says 3 steps; calibrate again"
    assert str(error.value) == f"{path} is damaged: {complaint}"


def rewrite(path: Path, changes: dict[str, Any], header: dict[str, Any] | None = None) -> None:
    """The whole file with other arrays, left out where they are None, and another header."""
    WHOLE.save(path)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
        held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    kept = {key: array for key, array in {**held, **changes}.items() if array is not None}
    save_file(kept, path, {HEADER: json.dumps(header)} if header else metadata)


def told(path: Path) -> str:
    with pytest.raises(CalibrationError) as error:
        Calibration.load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"0.gram": None}, "it lacks 0.gram"),
        ({"0.times": None, "0.products": None}, "it lacks 0.times, 0.products"),
        ({"0.gram": np.ones(9)}, "0.gram has the shape (9,), but its header says 3 steps"),
        ({"0.times": np.array([1, np.nan, 0])}, "0.times holds NaN or infinity"),
        ({"0.products": np.full((3, 3, 3), np.inf)}, "0.products holds NaN or infinity"),
    ],
)
def test_an_array_that_is_damaged_is_named(tmp_path, changes, complaint):
    rewrite(tmp_path / "part.cal", changes)
    expected = f"{tmp_path / 'part.cal'} is damaged: {complaint}; calibrate again"
    assert told(tmp_path / "part.cal") == expected


def test_an_array_of_a_dtype_that_numpy_has_not_is_refused(tmp_path):
    WHOLE.save(tmp_path / "whole.cal")
    held = torch_file.load_file(tmp_path / "whole.cal")
    torch_file.save_file({k: it.bfloat16() for k, it in held.items()}, tmp_path / "half.cal")
    assert "half.cal is damaged or no safetensors file" in told(tmp_path / "half.cal")


def without(header: dict[str, Any], *place: str | int) -> None:
    *way, last = place
    for key in way:
        header = header[key]
    del header[last]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda it: without(it, "identity", "steps"), "identity.steps in its header: Field requi"),
        (lambda it: without(it, "sizes", 0, "fits"), "sizes.0.fits in its header: Field required"),
        (lambda it: without(it, "sizes", 0), "sizes in its header: Tuple should have at least 1"),
        (lambda it: it["sizes"][0].update(elements=0), "sizes.0.elements in its header: Input sh"),
        (lambda it: it["sizes"][0].update(prompts=0), "sizes.0.prompts in its header: Input shou"),
        (lambda it: it["identity"].update(steps=2), "0.times has the shape (3,), but its header "),
    ],
)
def test_a_field_of_the_header_that_is_damaged_is_named(tmp_path, change, complaint):
    header = json.loads(WHOLE._header.model_dump_json())
    change(header)
    rewrite(tmp_path / "any.cal", {}, header)
    assert f"any.cal is damaged: {complaint}" in told(tmp_path / "any.cal")


WHOLE = Calibration(
    Identity(model=Part(name="M", config="c"), scheduler=Part(name="S", config="d"), steps=3,
             guidance=None),
    (
        SizeFits(
            "64x64",
            Recording(np.ones(3), np.eye(3), np.ones((1, 3, 3)), np.ones((3, 3, 3)), 4, 12, 1e-7),
            (Fit(computed=(0, 2), rows=(Row(target=1, computed=(0,), weights=(1.0,)),),
                 latent_psnr_db=30.0),),
        ),
    ),
    {"torch": "2"},
)  # fmt: skip
