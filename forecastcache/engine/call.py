"""AttachedModel and ModelCall: one model under a session, and one call of it."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from threading import RLock
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from forecastcache._util.nests import tensors_in
from forecastcache.adapter import Adapter, Site
from forecastcache.engine.patch import Forward, Owner, Patch, is_compiled
from forecastcache.engine.probe import Probe
from forecastcache.engine.stand_ins import Recorder
from forecastcache.engine.taps import Taps
from forecastcache.engine.token_shards import shares_tokens
from forecastcache.errors import AttachError
from forecastcache.granularity import Granularity
from forecastcache.history import is_feature
from forecastcache.memory.autocast import autocast_on
from forecastcache.schedule import Signal, not_asked_for

EXACT_CACHES = ("TextKVCacheConfig",)  # of diffusers: what they return is what would be computed


class ModelCall(NamedTuple):
    """One call of a model: what it was given, and how to make it.

    Attributes:
        model: model that is called.
        forward: the model's own forward.
        args: positional arguments as they came.
        kwargs: keyword arguments as they came.
        by_name: every argument by name.
        times: times of its step as they were given, tensors or numbers; most models take one.
        sample: tensor of real numbers that the adapter names, else the first among the arguments;
            those of a list or dictionary as one tensor, or its first tensor where they differ in
            shape.
        conditions: other tensors among the arguments, without the time; where there is none, those
            in other lists and dictionaries.
        signature: shapes, dtypes (autocast's too), devices and the type returned, which two calls
            must share for the features of one to forecast the other's.
    """

    model: AttachedModel
    forward: Forward
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    by_name: dict[str, Any]
    times: tuple[Any, ...]
    sample: Tensor
    conditions: list[Tensor]
    signature: object

    def make(self, recorder: Recorder) -> Any:
        """The model's output, its sites shown to `recorder`."""
        taps = self.model.taps
        with self.model.turn:
            return taps.call(self.model.present, recorder, self.forward, self.args, self.kwargs)

    def look(self, signal: Signal) -> Tensor:
        """Run the model as far as a signal of the schedule's, and return it.

        Raises:
            ScheduleError: the schedule does not ask for it.
        """
        probe = self.model.probes.get(signal)
        if probe is None:
            return not_asked_for(signal)
        with self.model.turn:
            return probe.value(self.model.present, self.forward, self.args, self.kwargs)


class AttachedModel:
    """A model that a session is attached to, held weakly.

    Args:
        model: model whose calls are to be seen.
        adapter: record that serves it.
        site: granularity of the sites.
        signals: the features inside the model that the schedule reads.
        number: number of the model among those that take turns in the pipeline.

    Attributes:
        name: class of the model.
        number: number of the model, as given.
        taps: stand-ins at the sites.
        probes: looks into the model, by signal.
        turn: held while stand-ins are in the model, which serve one thread at a time.

    Raises:
        AttachError: the adapter does not know the granularity or a signal, the model takes no
            time, or a site lies inside what is compiled.
    """

    def __init__(
        self,
        model: nn.Module,
        adapter: Adapter,
        site: Granularity,
        signals: Sequence[Signal] = (),
        number: int = 0,
    ) -> None:
        self.name = type(model).__name__
        self.number = number
        self._patch: Patch | None = None
        self._model = weakref.ref(model)
        self._times = adapter.time_arguments(model)
        self._samples = adapter.sample
        self._signature = inspect.signature(model.forward)
        parameters = self._signature.parameters
        self._others = next((p.name for p in parameters.values() if p.kind is p.VAR_KEYWORD), None)
        self._names = frozenset(parameters)
        self.taps = Taps.at(model, adapter, site)
        places = {it: adapter.signal_site(it) for it in signals}
        self.probes = {signal: Probe(model, place) for signal, place in places.items()}
        self._inside = bool(self.probes) or any(site.path for site in self.taps.sites)
        self.turn: AbstractContextManager[Any] = RLock() if self._inside else nullcontext()
        self._shares_tokens = shares_tokens(model)
        self._require_reach(model, [*self.taps.sites, *places.values()])
        self._require_terms(model)

    @property
    def model(self) -> nn.Module | None:
        """The model; None once nobody else holds it."""
        return self._model()

    @property
    def present(self) -> nn.Module:
        """The model, where a call of it is under way."""
        model = self._model()
        assert model is not None
        return model

    @cached_property
    def config(self) -> Any:
        """The model's configuration; None if it has none."""
        return getattr(self.model, "config", None)

    def attach(self, call: Callable[[Forward, Any, Any], Any], owner: Owner) -> None:
        """Send calls of the model to `call`, until `detach` or the end of the model."""
        self._model = weakref.ref(self.present, self._end)
        self._patch = Patch(self.present, call, owner)

    def detach(self) -> None:
        """Leave the model as it was found; a second call does nothing."""
        model, patch, self._patch = self.model, self._patch, None
        if model is not None and patch is not None:
            self.taps.restore()
            for probe in self.probes.values():
                probe.restore()
            patch.remove(model)

    def _end(self, _: object) -> None:
        """The model is gone, and with it what the session is for."""
        patch, self._patch = self._patch, None
        self.taps.forget()
        self.probes.clear()
        if patch is not None and patch.owner is not None:
            patch.owner.reset()  # nobody is left to be told of forecasts that were not finite
            patch.owner.detach()

    def read(self, forward: Forward, args: Any, kwargs: Any) -> ModelCall:
        """What a call with these arguments says.

        Raises:
            AttachError: it brings no time or no tensor, or something was switched on since
                `attach` that has to be on before it, or not at all.
        """
        self._require_terms(self.present)
        given = self._by_name(args, kwargs)
        times: list[Any] = []
        kinds: list[tuple[object, ...]] = []
        bare: dict[str, Tensor] = {}
        nests: dict[str, list[Tensor]] = {}
        for name, value in given.items():
            if value is None:
                continue
            if name in self._times:
                times.append(value)
            elif isinstance(value, Tensor):
                bare[name] = value
                kinds.append(_kind(value))
            elif isinstance(value, str):  # a mode, such as of a cache of keys and values
                kinds.append((value,))
            elif tensors := tensors_in(value):
                nests[name] = tensors
                kinds += map(_kind, tensors)
        if not times or not (bare or nests):
            lacking = "a tensor" if times else " or ".join(self._times)
            raise AttachError(
                f"{self.name} was called without {lacking}: forecasting needs it at every call"
            )
        sample = self._take_sample(bare, nests)
        # What hangs on attention's arguments comes and goes: it counts where nothing else does.
        conditions = list(bare.values()) or [each for nest in nests.values() for each in nest]
        return ModelCall(
            model=self,
            forward=forward,
            args=args,
            kwargs=kwargs,
            by_name=given,
            times=tuple(times),
            sample=sample,
            conditions=conditions,
            signature=(given.get("return_dict"), kinds, autocast_on(sample.device.type)),
        )

    def _by_name(self, args: Any, kwargs: Any) -> dict[str, Any]:
        if not args and kwargs.keys() <= self._names:  # as most pipelines call; binding takes long
            return dict(kwargs)
        given = dict(self._signature.bind(*args, **kwargs).arguments)
        if self._others is not None:
            given |= given.pop(self._others, {})
        return given

    def _take_sample(self, bare: dict[str, Tensor], nests: dict[str, list[Tensor]]) -> Tensor:
        """The sample of a call, taken out of its arguments.

        Args:
            bare: arguments that are tensors.
            nests: tensors of those that are lists or dictionaries.
        """
        own = sample_in(bare, nests, self._samples)
        if own in bare:
            return bare.pop(own)
        nest = nests.pop(own)
        samples = [tensor for tensor in nest if is_feature(tensor)] or nest
        alike = len(set(map(_kind, samples))) == 1
        return torch.stack(samples) if alike else samples[0]

    def _require_terms(self, model: nn.Module) -> None:
        """Refuse what else is on in the model, where the two would give wrong numbers."""
        if shares_tokens(model) != self._shares_tokens:
            raise AttachError(
                f"enable_parallelism was called on {self.name} while it was attached, which puts "
                "the session where each process has its own tokens: detach, call "
                "enable_parallelism, then attach"
            )
        cache = type(getattr(model, "_cache_config", None)).__name__
        if self._inside and cache not in ("NoneType", *EXACT_CACHES):
            raise AttachError(
                f"a cache of diffusers is on in {self.name} ({cache}), which skips or replaces "
                "what would be seen and forecast inside: call disable_cache() first, or use "
                "site='output' with a schedule that does not look inside"
            )

    def _require_reach(self, model: nn.Module, sites: Sequence[Site]) -> None:
        """Refuse sites inside what is compiled: reaching them would break its graph."""
        for site in sites:
            places = site.path.split(".")[:-1] if site.path else []
            for path in {"", *(".".join(places[:i]) for i in range(1, len(places) + 1))}:
                if site.path and is_compiled(model.get_submodule(path)):
                    raise AttachError(
                        f"{path or self.name} is compiled, and inside it {site.path} cannot be "
                        "reached without breaking its graph: use a site outside it (output for a "
                        "compiled model; output, hidden or block for compiled blocks), or compile "
                        "smaller parts"
                    )


def sample_in(
    bare: Mapping[str, Tensor], nests: Mapping[str, list[Tensor]], known: Sequence[str]
) -> str:
    """The name of the argument that is the sample.

    Args:
        bare: arguments of a call that are tensors, in its order.
        nests: tensors of those that are lists or dictionaries.
        known: names that it may have, where the adapter says so.
    """
    own = next((name for name in known if name in bare or name in nests), None)
    if own is None:
        own = next((name for name, tensor in bare.items() if is_feature(tensor)), None)
    if own is None:
        own = next((name for name, nest in nests.items() if any(map(is_feature, nest))), None)
    return own if own is not None else next(iter(bare or nests))  # where nothing is real


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, tensor.device
