from __future__ import annotations

import numpy as np
import pytest
import torch

import forecastcache as fc
from forecastcache.errors import OptionError, TrajectoryError

from ..conftest import sample

SCHEDULE = fc.Listed([0, 2, 5])
TOTAL = 8


def rows_of(predictor: fc.LinearPredictor, times: list[float]) -> list[dict[str, object]]:
    """Another predictor's rows on SCHEDULE, as Learned takes them."""
    steps = [fc.Step(i, t, TOTAL) for i, t in enumerate(times)]
    rows = []
    for target in set(range(TOTAL)) - set(SCHEDULE.steps):
        computed = [c for c in SCHEDULE.steps if c < target][-predictor.depth :]
        weights = predictor.row([steps[c] for c in computed], steps[target])
        rows.append({"target": target, "computed": computed, "weights": weights.tolist()})
    return rows


@pytest.fixture
def times(pipe) -> list[float]:
    pipe.scheduler.set_timesteps(TOTAL)
    return [float(t) for t in pipe.scheduler.timesteps]


@pytest.mark.parametrize("site", ["output", "module"])
def test_taylors_rows_sample_what_taylor_samples(pipe, times, site):
    pictures = []
    for predictor in (fc.Taylor(1), fc.Learned(rows_of(fc.Taylor(1), times), times)):
        with fc.attach(pipe, SCHEDULE, predictor, site=site):
            pictures.append(sample(pipe, steps=TOTAL))
    assert torch.equal(*pictures)


def test_a_row_of_fewer_features_than_the_others_reads_the_newest(times):
    learned = fc.Learned(
        [
            {"target": 1, "computed": [0], "weights": [0.5]},
            {"target": 6, "computed": [0, 2, 5], "weights": [1, 2, 3]},
        ]
    )
    steps = [fc.Step(i, 0.0) for i in (0, 2, 5, 6, 1)]
    assert learned.depth == 3
    assert learned.row(steps[:1], steps[4]).tolist() == [0.5]
    assert learned.row(steps[:3], steps[3]).tolist() == [1, 2, 3]


def refuses(pipe, learned, schedule, complaint, steps=TOTAL):
    """Refused before anything is computed, leaving the model as it was."""
    calls = []
    hook = pipe.transformer.register_forward_hook(lambda *_: calls.append(1))
    with (
        pytest.raises(TrajectoryError, match=complaint) as error,
        fc.attach(pipe, schedule, learned),
    ):
        sample(pipe, steps=steps)
    hook.remove()
    assert not calls
    assert "forward" not in pipe.transformer.__dict__
    assert "\n" not in str(error.value)


def test_another_number_of_steps_is_refused(pipe, times):
    learned = fc.Learned(rows_of(fc.Taylor(), times), times)
    refuses(pipe, learned, SCHEDULE, "fitted on 8 steps, but the trajectory has 9", steps=9)


def test_another_schedule_is_refused_at_attach(pipe, times):
    learned = fc.Learned(rows_of(fc.Taylor(), times), times)
    complaint = "step 4 is to be forecast from steps 2 3, but its row was fitted on 0 2"
    with pytest.raises(TrajectoryError, match=complaint + ": use the schedule"):
        fc.attach(pipe, fc.Listed([0, 1, 2, 3, 5]), learned)
    assert "forward" not in pipe.transformer.__dict__
    with pytest.raises(TrajectoryError, match="none for step"):
        fc.attach(pipe, fc.Listed([0]), learned)


def test_other_times_are_refused(pipe, times):
    learned = fc.Learned(rows_of(fc.Taylor(), times), [t * 0.9 for t in times])
    complaint = "step 0 is at time .* but the rows were fitted at .*: use the scheduler"
    with (
        pytest.raises(TrajectoryError, match=complaint),
        fc.attach(pipe, SCHEDULE, learned),
    ):
        sample(pipe, steps=TOTAL)


def test_times_within_the_tolerance_are_served(pipe, times):
    near = [t + 0.004 * (times[0] - times[-1]) for t in times]
    predictor = fc.Learned(rows_of(fc.Taylor(), times), near)
    with fc.attach(pipe, SCHEDULE, predictor) as session, pytest.warns(UserWarning, match="other"):
        sample(pipe, steps=TOTAL)
    assert session.report().computed == SCHEDULE.steps


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "there are no rows"),
        ([{"target": 2, "computed": [0, 1], "weights": [1]}], "1 weights for 2 computed"),
        ([{"target": 2, "computed": [], "weights": []}], "0 weights for 0 computed"),
        ([{"target": 2, "computed": [0], "weights": [float("nan")]}], "not finite"),
        ([{"target": 2, "computed": [0], "weights": [float("inf")]}], "not finite"),
        (
            [{"target": 2, "computed": [1, 0], "weights": [1, 1]}],
            "reads steps 1 0: they must rise",
        ),
        ([{"target": 2, "computed": [-1], "weights": [1]}], "rise from 0 on"),
        ([{"target": 2, "computed": [0, 2], "weights": [1, 1]}], "lie before it"),
        ([{"target": 2, "computed": [0], "weights": [1]}] * 2, "step 2 has two rows"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_in_one_line(rows, complaint):
    with pytest.raises(OptionError, match=complaint) as error:
        fc.Learned(rows)
    assert "\n" not in str(error.value)


def test_it_names_itself_briefly(times):
    learned = fc.Learned(rows_of(fc.Taylor(), times), times)
    assert str(learned) == "Learned(5 rows over at most 2 features)"
    assert np.isclose(sum(learned.rows[-1].weights), 1)


@pytest.mark.parametrize("times", [[1.0, 0.9, 0.8], [1.0, float("nan"), 0.8, 0.7, 0.6, 0.5]])
def test_times_that_do_not_cover_the_rows_are_refused(times):
    with pytest.raises(OptionError, match="give a finite time for every step"):
        fc.Learned([{"target": 5, "computed": [0], "weights": [1]}], times)


def test_a_step_without_a_time_is_refused_where_times_matter():
    learned = fc.Learned([{"target": 2, "computed": [0], "weights": [1]}], [1.0, 0.9, 0.8])
    with pytest.raises(TrajectoryError, match="step 0 is at time nan"):
        fc.explain(learned, [0], 2)
