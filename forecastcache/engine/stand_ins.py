"""Stand-ins: what stands for a model's modules while it is being called, one kind a feature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from forecastcache.adapter import Site
from forecastcache.engine.attention_scores import AttentionReceived
from forecastcache.engine.streams import Stream, Streams, packed, residuals_of, with_residuals
from forecastcache.engine.token_shards import shard_of
from forecastcache.errors import HistoryError


class Recorder(Protocol):
    """What taps report computed features to and take forecast ones from, in one call."""

    @property
    def computing(self) -> bool:
        """Whether this call of the model is computed."""

    @property
    def age(self) -> int:
        """Number of steps since the newest computed one."""

    @property
    def share(self) -> float:
        """Share of the run's steps that lie before this one.

        Raises:
            ScheduleError: nothing tells how many steps there are.
        """

    def observe(self, path: str, feature: Any) -> None:
        """Take note of the computed feature, a tensor or a nest of tensors, at a site."""

    def forecast(self, path: str) -> Any:
        """The forecast feature at a site, nested as the computed one was."""


class ModulePlace(NamedTuple):
    """Where a module stands: its name in its parent, and where that stands; None for the model."""

    path: str
    name: str
    parent: ModulePlace | None

    @classmethod
    def at(cls, path: str) -> ModulePlace:
        above, _, name = path.rpartition(".")
        return cls(path, name, cls.at(above) if above else None)


class CallUnderWay:
    """The call that the stand-ins of a model are in place for.

    Attributes:
        recorder: recorder of the call; None between calls.
        runs: how often a module has run in it, by path.
        chosen: numbers of the tokens to compute, by the name of their score and whether they
            lead there.
        given: what the first block of a span was given, by the name of its feature.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None
        self.runs: dict[str, int] = {}
        self.given: dict[str, list[Stream]] = {}
        self.chosen: dict[tuple[str, bool], Tensor] = {}

    def end(self) -> None:
        """Let go of the call."""
        self.recorder = None
        self.given.clear()
        self.chosen.clear()

    def name(self, path: str) -> str:
        """The name of a module's next feature: the path, with a number from the second run on."""
        count = self.runs[path] = self.runs.get(path, 0) + 1
        return path if count == 1 else f"{path}#{count}"


class StandIn(nn.Module):
    """Looks like the module it stands for: attributes that it lacks are the module's."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.refer_to(module)

    def refer_to(self, module: nn.Module) -> None:
        # Not a child: the module's parameters stay where the model has them.
        object.__setattr__(self, "module", module)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(object.__getattribute__(self, "module"), name)


class Tap(StandIn):
    """A stand-in that shows one site to the recorder of the call under way."""

    def __init__(self, module: nn.Module, site: Site, under_way: CallUnderWay, path: str) -> None:
        super().__init__(module)
        self.site = site
        self.place = ModulePlace.at(path)
        self._under_way = under_way

    @property
    def _call(self) -> Recorder:
        recorder = self._under_way.recorder
        if recorder is None:
            raise RuntimeError(f"the tap at {self.site.path} was called outside its model")
        return recorder


class _OutputTap(Tap):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        recorder, name = self._call, self._under_way.name(self.site.path)
        return pass_output(name, recorder, self.module, args, kwargs)


class _InputTap(Tap):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._call.computing:
            self._call.observe(self.site.path, args[0])
            return self.module(*args, **kwargs)
        return self.module(self._call.forecast(self.site.path), *args[1:], **kwargs)


class _ResidualTap(Tap):
    """A block, or one of a span of blocks.

    The last of them makes the forecast, from what the first was given: what the model itself adds
    between two blocks is in the residual, and is not to be added again.
    """

    def __init__(self, module: nn.Module, site: Site, under_way: CallUnderWay, path: str) -> None:
        super().__init__(module, site, under_way, path)
        self._streams = Streams(module, site.streams)
        self._first = path == site.path
        self._last = path == (site.path, *site.through)[-1]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        recorder, name, spans = self._call, self.site.name, self._under_way.given
        if self._runs_anyway(recorder):
            return self.module(*args, **kwargs)
        if self._first:
            spans[name] = self._streams.read(*shard_of(self.module, args, kwargs))
        given = spans.pop(name) if self._last else []
        if not recorder.computing:
            if not self._last:
                return self._streams.unchanged(*shard_of(self.module, args, kwargs))
            return packed(with_residuals(given, recorder.forecast(name)))
        returned = self.module(*args, **kwargs)
        if self._last:
            recorder.observe(name, residuals_of(returned, given))
        return returned

    def _runs_anyway(self, recorder: Recorder) -> bool:
        """Whether this is a forecast step in whose part of the run others are forecast."""
        if recorder.computing or not self.site.moves:
            return False
        return not self.site.is_forecast_at(recorder.share)


class _NothingTap(Tap):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._call.computing:
            return self.module(*args, **kwargs)
        if not self.site.streams:
            given = args[0] if args else next(iter(kwargs.values()))
            if self.site.wide:
                return given[..., :1].expand(*given.shape[:-1], self.module.out_features)
            return given
        # Read anew: the module may have been replaced, by one with adapters say.
        return Streams(self.module, self.site.streams).unchanged(args, kwargs)


class _NormTap(Tap):
    """A projection whose tokens have norms that are kept, of one channel."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        returned = self.module(*args, **kwargs)
        if self._call.computing:
            self._call.observe(self.site.path, returned.norm(dim=-1, keepdim=True))
        return returned


class _ReceivedTap(Tap):
    """An attention, of which the attention that each token receives is kept."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self._call.computing:
            return self.module(*args, **kwargs)
        with AttentionReceived() as seen:
            returned = self.module(*args, **kwargs)
        if seen.scores is None:
            raise HistoryError(
                f"{self.site.path} did not call torch's scaled_dot_product_attention, so what "
                "attention its tokens receive cannot be had: call "
                'set_attention_backend("native") on the model, or leave out by=attention'
            )
        self._call.observe(self.site.name, seen.scores)
        return returned


class _PartTap(Tap):
    """A stand-in that deals with some of the tokens."""

    def _chosen(self, tokens: int) -> Tensor:
        """Numbers `(batch, count, 1)` of those of so many tokens that are computed, in order."""
        site, known = self.site, self._under_way.chosen
        key = site.score, site.leads
        if key not in known:
            assert site.tokens is not None
            scores = self._call.forecast(site.score)
            own = scores[:, :tokens] if site.leads else scores[:, -tokens:]
            count = site.tokens.count(tokens, self._call.age)
            largest = site.tokens.by == "attention"
            known[key] = own.topk(count, dim=1, largest=largest).indices.sort(1).values
        return known[key]

    def _of_chosen(self, tokens: Tensor) -> Tensor:
        """The chosen ones of tokens `(batch, tokens, channels)`."""
        return tokens.gather(1, self._chosen(tokens.shape[1]).expand(-1, -1, tokens.shape[2]))


class _EntryTap(_PartTap):
    def forward(self, tokens: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not self._call.computing:
            tokens = self._of_chosen(tokens)
        return self.module(tokens, *args, **kwargs)


class _BesideTap(_PartTap):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        path = self.site.path
        found = pass_output(path, self._call, self.module, args, kwargs)
        return found if self._call.computing else self._of_chosen(found)


class _TokensTap(_PartTap):
    def forward(self, tokens: Tensor, *args: Any, **kwargs: Any) -> Any:
        recorder, path = self._call, self.site.path
        if recorder.computing:
            return pass_output(path, recorder, self.module, (tokens, *args), kwargs)
        found: Tensor = recorder.forecast(path)
        chosen = self._chosen(found.shape[1])
        if chosen.shape[1] == 0:
            return found
        if not self.site.entered:
            tokens = self._of_chosen(tokens)
        computed = self.module(tokens, *args, **kwargs)
        return found.scatter(1, chosen.expand_as(computed), computed.to(found.dtype))


class Bypass(StandIn):
    """A block that returns what it was given, for the tail to replace."""

    def __init__(self, module: nn.Module, streams: tuple[str | None, ...]) -> None:
        super().__init__(module)
        self._streams = Streams(module, streams)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._streams.unchanged(*shard_of(self.module, args, kwargs))


TAPS: dict[str, type[Tap]] = {
    "output": _OutputTap,
    "input": _InputTap,
    "residual": _ResidualTap,
    "nothing": _NothingTap,
    "norm": _NormTap,
    "received": _ReceivedTap,
    "entry": _EntryTap,
    "beside": _BesideTap,
    "tokens": _TokensTap,
}


def pass_output(
    path: str, recorder: Recorder, compute: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    """The output at a path: computed and shown to the recorder, or forecast by it."""
    if not recorder.computing:
        return recorder.forecast(path)
    output = compute(*args, **kwargs)
    recorder.observe(path, output)
    return output
