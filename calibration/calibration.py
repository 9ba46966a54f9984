"""Calibration: what was learned of a model, in one small file that serves every speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from forecastcache._util.deprecation import renamed_argument
from forecastcache.calibration import hub, schedule_dp
from forecastcache.calibration.calibrated import Calibrated, OnMismatch
from forecastcache.calibration.fits import Fit, SizeFits
from forecastcache.calibration.foretelling import Foretelling
from forecastcache.calibration.gram import RIDGE, open_loop_rows
from forecastcache.calibration.identity import Identity
from forecastcache.calibration.io import Header, read_file, write_file
from forecastcache.calibration.offers import Loop, Offer
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.several import Rows, joined
from forecastcache.calibration.simulation import Simulated
from forecastcache.errors import CalibrationError
from forecastcache.predictor import LinearPredictor
from forecastcache.predictors.explanation import Explanation, explain
from forecastcache.predictors.reuse import Reuse
from forecastcache.predictors.row import Row
from forecastcache.schedule import Listed, Schedule
from forecastcache.step import Step

Chosen: TypeAlias = tuple[Listed, LinearPredictor]


@dataclass(frozen=True)
class Calibration:
    """What plain and accelerated runs of a few prompts have taught of a model.

    Attributes:
        identity: model, scheduler, steps and guidance that were calibrated.
        sizes: the fits of each size or guidance scale; schedules were searched at the first.
        versions: versions of the libraries that it was made with.
    """

    identity: Identity
    sizes: tuple[SizeFits, ...]
    versions: dict[str, str]

    @property
    def recording(self) -> Recording:
        """The recording of the first size."""
        return self.sizes[0].recording

    @property
    def evaluations(self) -> int:
        """Steps that the network computed to make it, for one sample each."""
        return sum(
            size.recording.evaluations + sum(fit.evaluations for fit in size.fits)
            for size in self.sizes
        )

    @property
    def fits(self) -> tuple[Fit, ...]:
        """The closed-loop fits that all sizes have, as the first has them; fewest steps first."""
        first, *others = self.sizes
        shared = [fit for fit in first.fits if all(size.fit(fit.computed) for size in others)]
        return tuple(sorted(shared, key=lambda fit: (len(fit.computed), -fit.figure)))

    def predictor(
        self, schedule: Schedule, loop: Loop = "closed", depth: int | None = None
    ) -> Rows:
        """The rows for `schedule`; of several sizes or guidance scales, mixed as a run asks.

        Args:
            schedule: a schedule that knows its steps beforehand.
            loop: `closed` for rows that were fitted where the accelerated sampler goes, if the
                file has them for this schedule; `simulated` for rows of a closed loop that is
                foretold here and now; `open` for those of least squares on plain runs (L2P).
            depth: number of newest computed steps that open-loop rows read; None for all.

        Raises:
            CalibrationError: the file has no closed-loop rows for this schedule, or a loop is to
                be simulated of a sampler that is stochastic or of higher order.
        """
        computed = schedule.computed(self.recording.steps)
        rows = [self._rows(size, computed, loop, depth) for size in self.sizes]
        return joined(self.sizes, rows)

    def _rows(
        self, size: SizeFits, computed: tuple[int, ...], loop: Loop, depth: int | None
    ) -> tuple[Row, ...]:
        if loop == "open":
            return open_loop_rows(size.recording.gram, computed, depth, RIDGE)
        if loop == "simulated":
            return self._simulated(size, computed).rows
        fit = size.fit(computed)
        if fit is None:
            known = "; ".join(" ".join(map(str, fit.computed)) for fit in self.fits) or "none"
            raise CalibrationError(
                f"no closed-loop rows for the steps {' '.join(map(str, computed))} (there are "
                f"{known}): calibrate with --schedule {','.join(map(str, computed))}, or take "
                "loop='simulated'"
            )
        return fit.rows

    def _simulated(self, size: SizeFits, computed: tuple[int, ...]) -> Simulated:
        size.recording.motion.require_first_order(self.identity.scheduler.name)
        return Foretelling(size.recording, size.fits).simulated(computed)

    def schedule(self, count: int) -> Listed:
        """The computed steps of `offer(count)`.

        Raises:
            CalibrationError: a trajectory cannot have so many computed steps.
        """
        return Listed(self.offer(count).computed)

    def offer(self, count: int) -> Offer:
        """The best offer of at most `count` computed steps.

        Among schedules that were rolled it is the one of highest rolled PSNR, whether it computes
        `count` steps or fewer. Where none was rolled it is foretold: rows of a simulated loop, at
        the steps of the nearest count that was rolled, stretched, or those that end nearest in
        that loop; or open-loop rows at the steps at which they cost least, for a sampler that is
        stochastic or of higher order and for guidance outside the network where its answer to
        displaced samples was not measured.

        Raises:
            CalibrationError: a trajectory cannot have so many computed steps.
        """
        schedule_dp.require_count(count, self.recording.steps)
        if count == self.recording.steps:
            return Offer.exact(count)
        return self._rolled(count) or self._foretelling.offers([count])[0]

    def _rolled(self, most: int) -> Offer | None:
        """The best of the fits of at most so many computed steps; None if there is none."""
        within = [fit for fit in self.fits if len(fit.computed) <= most]
        best = max(within, key=lambda fit: fit.figure, default=None)
        return Offer.of(best) if best else None

    @cached_property
    def _foretelling(self) -> Foretelling:
        return Foretelling(self.recording, self.fits)

    @renamed_argument("computed", "count", since="0.2")
    def choose(self, count: int, on_mismatch: OnMismatch = "raise") -> Chosen:
        """Schedule and predictor of `offer(count)`: `fc.attach(pipe, *calibration.choose(9))`.

        It is the best that was rolled of at most `count` computed steps, and so may compute
        fewer. Where nothing was rolled, it warns that what it gives is foretold.

        Args:
            count: number of computed steps.
            on_mismatch: what becomes of a run by another model, scheduler or guidance scale than
                was calibrated: `raise`, `warn`, or `taylor` to forecast with Taylor of order 1.

        Raises:
            CalibrationError: a trajectory cannot have so many computed steps.
        """
        offer = self.offer(count)
        offer.warn_if_foretold(count)
        return self.taken(offer, on_mismatch)

    def taken(self, offer: Offer, on_mismatch: OnMismatch = "raise") -> Chosen:
        """Schedule and predictor of an offer, whatever its figure is worth; see `choose`."""
        schedule, predictor = self._chosen(offer)
        if isinstance(predictor, Reuse):
            return schedule, predictor
        guidance, guidance_2 = self.identity.seen(self.recording.guided_outside)
        return schedule, Calibrated(
            learned=predictor,
            identity=self.identity,
            guidance=guidance,
            guidance_2=guidance_2,
            elements=self._elements,
            on_mismatch=on_mismatch,
        )

    def _chosen(self, offer: Offer) -> tuple[Listed, Rows | Reuse]:
        schedule = Listed(offer.computed)
        if offer.loop == "exact":  # no step is left to forecast
            return schedule, Reuse()
        return schedule, self.predictor(schedule, offer.loop)

    @property
    def _elements(self) -> tuple[int, int] | None:
        """The least and the greatest number of elements of one sample; None if unknown."""
        known = [size.recording.sample_elements or 0 for size in self.sizes]
        return (min(known), max(known)) if all(known) else None

    def explanations(self, count: int) -> list[Explanation]:
        """What each row of `choose(count)` does, at the first size.

        Raises:
            CalibrationError: a trajectory cannot have so many computed steps.
        """
        offer = self.offer(count)
        times = self.recording.times.tolist()
        schedule, predictor = replace(self, sizes=self.sizes[:1])._chosen(offer)
        steps = [Step(index, times[index]) for index in schedule.steps]
        targets = sorted(set(range(len(times))) - set(schedule.steps))
        return [
            explain(
                predictor,
                [step for step in steps if step.index < target],
                Step(target, times[target]),
            )
            for target in targets
        ]

    def figures(self) -> dict[str, Any]:
        """What it is of and what it holds, ready for JSON."""
        return {
            **self._header.model_dump(exclude={"sizes"}),
            "sizes": [size.name for size in self.sizes],
            "evaluations": self.evaluations,
            "prompts": sum(size.recording.prompts for size in self.sizes),
            "sampler_missed": max(size.recording.motion.missed for size in self.sizes),
            "fits": [fit.model_dump(exclude={"rows", "response"}) for fit in self.fits],
        }

    def frontier(self, counts: Sequence[int] | None = None) -> tuple[Offer, ...]:
        """What there is to choose from, fewest computed steps first; figures of the first size.

        Of each count all that was rolled, or else what is foretold, `interpolated` where a lower
        and a higher count were rolled. All steps computed come last.

        Args:
            counts: numbers of computed steps; None for all.
        """
        steps = self.recording.steps
        asked = set(range(1, steps + 1) if counts is None else counts)
        rolled = [Offer.of(fit) for fit in self.fits if len(fit.computed) in asked]
        others = asked - {len(offer.computed) for offer in rolled} - {steps}
        offers = [*rolled, *self._foretelling.offers(sorted(others))]
        exact = [Offer.exact(steps)] if steps in asked else []
        return (*sorted(offers, key=lambda it: (len(it.computed), it.loop)), *exact)

    def offers(self) -> tuple[Offer, ...]:
        """What `choose` gives for 1, 2, ... computed steps, each once."""
        steps = self.recording.steps
        fewest = min((len(fit.computed) for fit in self.fits), default=steps)
        foretold = self._foretelling.offers(range(1, fewest))
        rolled = [self._rolled(count) for count in range(fewest, steps)]
        return (*foretold, *dict.fromkeys(filter(None, rolled)), Offer.exact(steps))

    def with_fits(self, fits: Sequence[Fit], size: int = 0) -> Calibration:
        """The same with more closed-loop fits; a new fit replaces an old one of the same steps."""
        old = self.sizes[size]
        new = {fit.computed: fit for fit in (*old.fits, *fits)}
        sizes = list(self.sizes)
        sizes[size] = replace(old, fits=tuple(new.values()))
        return replace(self, sizes=tuple(sizes))

    @property
    def _header(self) -> Header:
        return Header.of(self.identity, self.versions, self.sizes)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, in full or not at all.

        Raises:
            CalibrationError: it cannot be written.
        """
        write_file(Path(path), self._header, self.sizes)

    def push_to_hub(
        self, repo: str, private: bool = False, picture: str | Path | None = None
    ) -> str:
        """Publish it as `repo`, with a card that says what it is of; gives the commit's address.

        Args:
            repo: repository as user or organisation and name, such as "me/flux-dev-forecast"; it
                is made if need be.
            private: whether the repository is private.
            picture: PNG for the card to show, such as that of `forecastcache plan --picture`.

        Raises:
            CalibrationError: the hub refuses, or is not to be reached.
        """
        return hub.push(self, repo, private, picture)

    @classmethod
    def load(cls, source: str | Path) -> Calibration:
        """Read a file that `save` wrote, from disk, from the hub, or beside a zoo model.

        Args:
            source: a path, a hub id such as "me/flux-dev-forecast", with a revision as in
                "me/flux-dev-forecast@v1", or zoo:NAME.

        Raises:
            CalibrationError: there is none, or it is truncated, foreign or of a newer version.
        """
        header, sizes = read_file(hub.find(source))
        return cls(header.identity, sizes, header.versions)
