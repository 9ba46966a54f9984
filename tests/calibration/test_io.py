"""Files: what is written comes back, and what is damaged is refused in words."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
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

from forecastcache import zoo
from forecastcache.calibration.calibration import Calibration
from forecastcache.calibration.fits import Fit, SizeFits
from forecastcache.calibration.identity import Identity, Part
from forecastcache.calibration.plausible import ARRAYS, NOT_IN_ALL
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.sealed import HEADER, write_arrays
from forecastcache.errors import CalibrationError
from forecastcache.predictors.row import Row

from .toys import fit_of

finite = st.floats(-1e6, 1e6)
names = st.text(min_size=1, max_size=9)


@st.composite
def recordings(draw, steps: int) -> Recording:
    branches = draw(st.integers(1, 2))

    def products(*shape: int) -> np.ndarray:
        """Inner products of vectors with each other."""
        vectors = draw(arrays(np.float64, shape, elements=finite))
        return vectors @ vectors.swapaxes(-1, -2)

    def regressors() -> np.ndarray:
        read = draw(st.sampled_from([3, 9]))
        return products(steps, read, read)

    times = np.sort(draw(arrays(np.float64, steps, elements=finite)))
    return Recording(
        times=times[:: draw(st.sampled_from([-1, 1]))], gram=products(steps, steps),
        branches=products(branches, steps, steps), products=regressors(),
        displacements=draw(st.none() | st.builds(regressors)),
        prompts=draw(st.integers(2, 99)),
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
    return fit_of(computed, tuple(rows), draw(st.floats(-9, 206)))


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
        steps=steps, guidance=draw(st.none() | st.floats(0, 99)), eta=draw(st.floats(0, 1)),
        second=draw(st.none() | st.builds(Part, name=names, config=names)),
        boundary=draw(st.none() | st.floats(0, 1)), guidance_2=draw(st.none() | st.floats(0, 99)),
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
        for name in (*ARRAYS, *NOT_IN_ALL):
            np.testing.assert_array_equal(
                getattr(mine.recording, name), getattr(its.recording, name)
            )
        for name in ("prompts", "elements", "precision"):
            assert getattr(mine.recording, name) == getattr(its.recording, name)


@settings(max_examples=200)
@given(data=st.data())
def test_whatever_is_damaged_is_refused_in_words_or_read_as_it_is(data):
    """Cut off, or any byte another one: no error but ours comes out, and no other number."""
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
        again = None
        with suppress(CalibrationError):
            again = Calibration.load(path)
        if again is None:
            told(path)
            return
        assert again._header == WHOLE._header
        for name in ARRAYS:
            mine, its = (getattr(each.recording, name) for each in (again, WHOLE))
            np.testing.assert_array_equal(mine, its)


def test_no_bit_of_a_weight_changes_unseen(tmp_path):
    """A sign flipped in one weight of a shipped file: 25.6 dB instead of 47.8."""
    path = tmp_path / "flux.cal"
    whole = zoo.calibration("flux-digits").read_bytes()
    place = whole.index(b":[-") + 2
    path.write_bytes(whole[:place] + b" " + whole[place + 1 :])
    assert told(path) == (
        f"{path} is damaged: its content is not what its SHA-256 says; calibrate again"
    )


@st.composite
def shapes(draw) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """An array of three steps, a shape that it does not have, and the one nearest to that."""
    name = draw(st.sampled_from(ARRAYS))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    read = 3 if shape[-1:] == (3,) else 9
    whole = {
        "times": (max(3, math.prod(shape)),), "gram": (3, 3), "branches": (*shape[:1], 3, 3),
        "products": (3, read, read),
    }[name]  # fmt: skip
    assume(shape != whole or 0 in shape)
    return name, shape, whole


@given(changed=shapes())
def test_an_array_of_another_shape_is_named(changed):
    name, shape, whole = changed
    with TemporaryDirectory() as folder:
        path = Path(folder) / "any.cal"
        rewrite(path, {f"0.{name}": np.ones(shape)})
        with pytest.raises(CalibrationError) as error:
            Calibration.load(path)
    complaint = f"0.{name} has the shape {shape}, not {whole}; calibrate again"
    assert str(error.value) == f"{path} is damaged: {complaint}"


def rewrite(path: Path, changes: dict[str, Any], header: Any = None) -> None:
    """The whole file with other arrays, left out where they are None, or another header.

    The seal is of what is written: what is refused is refused for what it says.
    """
    WHOLE.save(path)
    with safe_open(path, "numpy") as file:
        said = json.loads(file.metadata()[HEADER])
        held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    kept = {key: array for key, array in {**held, **changes}.items() if array is not None}
    if header is None or isinstance(header, dict):
        write_arrays(path, header or said, kept)
    else:
        save_file(kept, path, {HEADER: json.dumps(header)})


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
        ({"0.gram": np.ones(9)}, "0.gram has the shape (9,), not (3, 3)"),
        ({"0.times": np.array([1, np.nan, 0])}, "0.times holds NaN or infinity"),
        ({"0.products": np.full((3, 3, 3), np.inf)}, "0.products holds NaN or infinity"),
        ({"0.products": np.full((3, 3, 3), np.nan)}, "0.products holds NaN or infinity"),
        (
            {"0.times": np.array([1.0, 3.0, 2.0])},
            "0.times neither rises nor falls from step to st",
        ),
        ({"0.times": np.ones(3, np.float32)}, "0.times is in float32, not float64"),
        ({"0.gram": np.triu(np.ones((3, 3)))}, "0.gram is not symmetric"),
        ({"0.gram": np.diag([1, -1e-3, 1])}, "0.gram is not positive semidefinite"),
        ({"0.branches": -np.ones((1, 3, 3))}, "0.branches is not positive semidefinite"),
        ({"0.gram": np.eye(4)}, "0.gram has the shape (4, 4), not (3, 3)"),
    ],
)
def test_an_array_that_is_damaged_is_named(tmp_path, changes, complaint):
    rewrite(tmp_path / "part.cal", changes)
    said = told(tmp_path / "part.cal")
    assert said.startswith(f"{tmp_path / 'part.cal'} is damaged: {complaint}")
    assert said.endswith("; calibrate again")


def test_an_array_of_a_dtype_that_numpy_has_not_is_refused(tmp_path):
    WHOLE.save(tmp_path / "whole.cal")
    held = torch_file.load_file(tmp_path / "whole.cal")
    torch_file.save_file({k: it.bfloat16() for k, it in held.items()}, tmp_path / "half.cal")
    said = told(tmp_path / "half.cal")
    assert "half.cal is damaged" in said
    assert " is in BF16, which no calibration holds" in said


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
        (lambda it: it["identity"].update(steps=4), "0.times has the shape (3,), not (4,)"),
        (
            lambda it: it["identity"].update(steps=0),
            "identity.steps in its header: Input should be",
        ),
        (
            lambda it: it["sizes"][0]["fits"][0].update(latent_psnr_db=float("nan")),
            "sizes.0.fits.0.latent_psnr_db",
        ),
        (
            lambda it: it["sizes"][0].update(precision=-1.0),
            "sizes.0.precision in its header: Input ",
        ),
        (
            lambda it: it["sizes"][0]["fits"][0].update(computed=[0, 3]),
            "size 0: fit 0 computes 0 3 ",
        ),
        (
            lambda it: it["sizes"][0]["fits"][0].update(rows=[]),
            "size 0: fit 0 has not one row for e",
        ),
        (lambda it: it.update(version="2"), "version in its header is '2', not a number"),
        (lambda it: it.update(version=[2]), "version in its header is '[2]', not a number"),
        (lambda it: it.update(version=None), "version in its header is 'None', not a number"),
        (lambda it: it.update(version=2.5), "version in its header is '2.5', not a number"),
    ],
)
def test_a_field_of_the_header_that_is_damaged_is_named(tmp_path, change, complaint):
    header = json.loads(WHOLE._header.model_dump_json())
    change(header)
    rewrite(tmp_path / "any.cal", {}, header)
    assert f"any.cal is damaged: {complaint}" in told(tmp_path / "any.cal")


@pytest.mark.parametrize("header", [[1], "x", 5, True, [[]]])
def test_a_header_of_another_kind_is_no_calibration(tmp_path, header):
    rewrite(tmp_path / "any.cal", {}, header)
    assert "any.cal is no calibration: give what" in told(tmp_path / "any.cal")


def test_headers_that_are_no_json_are_no_calibration(tmp_path):
    for number, text in enumerate(["", "null", "{", "[" * 100_000]):
        path = tmp_path / f"{number}.cal"
        save_file({"0.gram": np.eye(3)}, path, {HEADER: text})
        assert "is no calibration: give what" in told(path)


def test_a_file_without_a_seal_is_refused(tmp_path):
    """Files of version 1 had none; one that is newer has lost it."""
    header = json.loads(WHOLE._header.model_dump_json())
    path = tmp_path / "any.cal"
    for version, complaint in (
        (1, "is of version 1, which cannot tell that it is whole: calibrate again"),
        (2, "is damaged: its content is not what its SHA-256 says; calibrate again"),
    ):
        WHOLE.save(path)
        held = {key: array.numpy() for key, array in torch_file.load_file(path).items()}
        save_file(held, path, {HEADER: json.dumps({**header, "version": version})})
        assert told(path) == f"{path} {complaint}"


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    (size,) = WHOLE.sizes
    odd = replace(size, recording=replace(size.recording, gram=-np.eye(3)))
    with pytest.raises(CalibrationError, match=r"cannot be: 0\.gram is not positive semidefinite"):
        replace(WHOLE, sizes=(odd,)).save(tmp_path / "odd.cal")
    assert list(tmp_path.iterdir()) == []


WHOLE = Calibration(
    Identity(model=Part(name="M", config="c"), scheduler=Part(name="S", config="d"), steps=3,
             guidance=None),
    (
        SizeFits(
            "64x64",
            Recording(np.ones(3), np.eye(3), np.ones((1, 3, 3)), np.ones((3, 3, 3)), 4, 12, 1e-7),
            (fit_of((0, 2), (Row(target=1, computed=(0,), weights=(1.0,)),), 30.0),),
        ),
    ),
    {"torch": "2"},
)  # fmt: skip
