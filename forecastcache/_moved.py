"""Where the names of version 0.1 are now, for the error that an old import gets."""

from __future__ import annotations

import sys
from collections.abc import Sequence

# Modules, and below them the names that have changed with the move.
MOVED = {
    "accountant": "memory.dry_run",
    "accountant.Rehearsal": "memory.dry_run.DryRun",
    "accountant.rehearse": "memory.dry_run.dry_run",
    "arguments": "cli.args",
    "attachment": "engine.attach",
    "branch": "engine.branch",
    "budget": "memory.budget",
    "calibration.artifact": "calibration.calibration",
    "calibration.between": "calibration.interpolate",
    "calibration.between.Between": "calibration.interpolate.Interpolated",
    "calibration.campaign": "calibration.calibrate",
    "calibration.campaign.Tell": "_util.progress.Progress",
    "calibration.closed_loop": "calibration.rolling",
    "calibration.closed_loop.Rolled": "calibration.rolling.Rollout",
    "calibration.course": "calibration.fit",
    "calibration.course.Course": "calibration.fit.SizeFitter",
    "calibration.file": "calibration.io",
    "calibration.file.About": "calibration.io.Header",
    "calibration.file.Said": "calibration.io.SizeHeader",
    "calibration.file.read": "calibration.io.read_file",
    "calibration.file.write": "calibration.io.write_file",
    "calibration.memo": "calibration.output_cache",
    "calibration.memo.Memo": "calibration.output_cache.OutputCache",
    "calibration.parts": "calibration.microbatch",
    "calibration.parts.in_parts": "calibration.microbatch.in_microbatches",
    "calibration.planner": "calibration.schedule_dp",
    "calibration.planner.plan": "calibration.schedule_dp.cheapest_steps",
    "calibration.planner.plans": "calibration.schedule_dp.cheapest_by_count",
    "calibration.search": "calibration.schedule_search",
    "calibration.sizes": "calibration.fits",
    "calibration.sizes.Size": "calibration.fits.SizeFits",
    "calibration.team": "calibration.distributed",
    "calibration.team.Share": "calibration.distributed.Shard",
    "calibration.team.Team": "calibration.distributed.ProcessGroup",
    "calibration.team.team": "calibration.distributed.process_group",
    "calibration.wanted": "calibration.targets",
    "calibration.wanted.Cost": "calibration.targets.Effort",
    "calibration.wanted.Wanted": "calibration.targets.FitTarget",
    "cli.run_app": "cli.app.run_app",
    "clock": "engine.clock",
    "clock.Tick": "engine.clock.Position",
    "commands": "cli",
    "commands.asking": "cli.args",
    "commands.asking.plainly_warned": "cli.console.plainly_warned",
    "commands.calibrate.calibrate": "cli.calibrate.calibrate_command",
    "commands.evaluate.evaluate": "cli.evaluate.evaluate_command",
    "commands.explain.explain": "cli.explain.explain_command",
    "commands.hush": "cli.console",
    "commands.hush.hush": "cli.console.quiet_libraries",
    "commands.listing": "cli.list",
    "commands.listing.list_": "cli.list.list_command",
    "commands.memory.memory": "cli.memory.memory_command",
    "commands.plan.plan": "cli.plan.plan_command",
    "commands.run.run": "cli.run.run_command",
    "commands.trace.trace": "cli.trace.trace_command",
    "console": "cli.console",
    "console.decibels": "cli.console.format_decibels",
    "console.print_figures": "cli.console.print_measurement",
    "console.progress": "cli.console.progress_bars",
    "entry": "evaluation.method",
    "entry.Entry": "evaluation.method.Method",
    "evaluation.about": "evaluation.provenance",
    "evaluation.about.about": "evaluation.provenance.provenance",
    "evaluation.comparison": "evaluation.measure",
    "evaluation.comparison.Comparison": "evaluation.measure.Measured",
    "evaluation.comparison.compare": "evaluation.measure.Measure",
    "evaluation.charts.Row": "evaluation.measurement.Measurement",
    "evaluation.charts.projections": "evaluation.trace_charts.projections",
    "evaluation.charts.trajectories": "evaluation.trace_charts.trajectories",
    "evaluation.entries": "evaluation.method",
    "evaluation.evaluation": "evaluation.evaluate",
    "evaluation.evaluation.Tell": "_util.progress.Progress",
    "evaluation.intervals": "evaluation.open_loop",
    "evaluation.intervals.Row": "evaluation.open_loop.FeatureErrors",
    "evaluation.intervals.of_features": "evaluation.open_loop.feature_errors",
    "evaluation.kept": "evaluation.store",
    "evaluation.kept.Kept": "evaluation.store.Store",
    "evaluation.kept.Row": "evaluation.measurement.Measurement",
    "evaluation.measure.Call": "evaluation.measure.TimedCall",
    "evaluation.measure.Inside": "evaluation.measure.CountedRun",
    "evaluation.metrics": "metrics",
    "evaluation.metrics.Perceptual": "metrics.lpips.LPIPS",
    "evaluation.metrics.psnr": "metrics.psnr.psnr",
    "evaluation.metrics.ssim": "metrics.ssim.ssim",
    "evaluation.pictures.frontier": "evaluation.plan_charts.frontier",
    "evaluation.pictures.row_map": "evaluation.plan_charts.row_map",
    "evaluation.standing": "evaluation.compare",
    "evaluation.standing.Row": "evaluation.measurement.Measurement",
    "evaluation.standing.measured": "evaluation.compare.with_fidelity",
    "evaluation.tables.Row": "evaluation.measurement.Measurement",
    "evaluation.trace.of_features": "evaluation.trace.trace_of",
    "evaluation.trace.trace": "evaluation.trace.trace_features",
    "host": "engine.call",
    "host.Host": "engine.call.AttachedModel",
    "host.Reading": "engine.call.ModelCall",
    "ledger": "memory.accountant",
    "ledger.Ledger": "memory.accountant.Accountant",
    "noise": "engine.noise_levels",
    "patch": "engine.patch",
    "planning": "memory.plan",
    "planning.Plan": "memory.plan.MemoryPlan",
    "planning.SitePlan": "memory.plan.SiteMemory",
    "planning.plan": "memory.plan.plan_memory",
    "planning.planned_model": "memory.planned_model.planned_model",
    "planning.published_names": "memory.planned_model.published_names",
    "report": "engine.report",
    "report.Call": "engine.report.CallRecord",
    "rivals": "baselines",
    "rivals.cache_dit.Calibrated": "baselines.cache_dit.CacheDiT",
    "rivals.cache_dit.Listed": "baselines.cache_dit.DashedSteps",
    "rivals.diffusers_caches.AttentionSkip": "baselines.diffusers_caches.FasterCache",
    "rivals.diffusers_caches.FirstBlockThreshold": "baselines.diffusers_caches.FirstBlock",
    "rivals.diffusers_caches.Series": "baselines.diffusers_caches.TaylorSeer",
    "rivals.mag_cache.Skips": "baselines.mag_cache.MagCache",
    "rivals.restored": "baselines.restore",
    "rivals.rival": "baselines.baseline",
    "rivals.rival.Rival": "baselines.baseline.Baseline",
    "rivals.rival.RivalOptions": "baselines.baseline.Baseline",
    "rivals.solvers.Steps": "baselines.solvers.FewerSteps",
    "rivals.spec": "baselines.baseline",
    "rivals.spec.RIVALS": "baselines.baseline.BASELINES",
    "rivals.spec.rival": "baselines.baseline.baseline_method",
    "sampling.Request": "sampling.request.Request",
    "sampling.RequestError": "errors.RequestError",
    "sampling.load": "sampling.loading.load",
    "session": "engine.session",
    "size": "memory.input_size",
    "size.Size": "memory.input_size.InputSize",
    "source": "sampling.loading",
    "spec.parse": "spec.parse_predictor",
    "standing_in": "_util.swap",
    "standing_in.standing_in": "_util.swap.swapped",
    "taps": "engine.taps",
    "track": "sampling.trajectory",
    "track.Track": "sampling.trajectory.Trajectory",
    "track.tracked": "sampling.trajectory.trajectory_of",
    "whole": "_util.atomic_write",
    "whole.whole": "_util.atomic_write.atomic_write",
    "zoo.Entry": "zoo.ZooEntry",
    "zoo.appraisal": "zoo.scores",
    "zoo.appraisal.Critic": "zoo.scores.Scorer",
    "zoo.appraisal.critic": "zoo.scores.scorer_of",
}


def new_place(old: str) -> str | None:
    """What to say of a name of version 0.1, below `forecastcache`; None if it did not move."""
    if old not in MOVED:
        return None
    inside = [name for name in MOVED if name.startswith(f"{old}.")]
    renamed = ", ".join(
        f"{name.removeprefix(f'{old}.')} is forecastcache.{MOVED[name]}" for name in inside
    )
    return f"forecastcache.{old} is now forecastcache.{MOVED[old]}" + (renamed and f"; {renamed}")


class _OldModules:
    """Finds no module, but names the new place of an old one."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        package, _, old = name.partition(".")
        said = new_place(old) if package == "forecastcache" else None
        if said is not None:
            raise ImportError(said, name=name)


def name_new_places(module: str) -> None:
    """Let a module with the place of an old one say where the names went that it had.

    Set from here, since type checkers take any name to be in a module that defines `__getattr__`.
    """

    def missing(name: str) -> object:
        said = new_place(f"{module.removeprefix('forecastcache.')}.{name}")
        if said is not None:
            raise ImportError(said)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    sys.modules[module].__getattr__ = missing  # type: ignore[method-assign]


sys.meta_path.append(_OldModules)  # behind those that find modules
