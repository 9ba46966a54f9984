"""What makes the pictures of a service: workers that share weights and nothing else."""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

import forecastcache as fc

SPEEDUP = 3.0  # where a request asks for none


class Order(BaseModel):
    """What a client asks for; sizes that are left out are the service's usual ones."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    seed: int = 0
    steps: int = Field(20, ge=1, le=200)
    height: int | None = Field(None, ge=8, le=4096)
    width: int | None = Field(None, ge=8, le=4096)
    speedup: float | None = Field(None, ge=1, description="steps by computed steps; 1 for all")


@dataclass
class Ticket:
    """One request, and what it came to."""

    number: int
    order: Order
    planned_bytes: int | None
    state: Literal["waiting", "running", "done", "cancelled", "failed"] = "waiting"
    computed: int = 0
    forecast: int = 0
    cache_bytes: int = 0
    seconds: float = 0.0
    gone: threading.Event = field(default_factory=threading.Event)

    def stop_if_gone(self, pipe: Any, step: int, time: Any, tensors: dict[str, Any]) -> Any:
        """End the run if the client has left: the pipeline asks after every step."""
        if self.gone.is_set():
            raise ClientGoneError
        return tensors

    def figures(self) -> dict[str, Any]:
        """Everything but the prompt, which is the client's."""
        own = {name: it for name, it in vars(self).items() if name not in {"order", "gone"}}
        return own | self.order.model_dump(exclude={"prompt"})


class ClientGoneError(Exception):
    """The client has closed its connection."""


def twin(pipe: Any) -> Any:
    """Another pipeline of the same weights; modules, scheduler and tokenizers are its own.

    Threads cannot share these: sessions are attached to modules, some autoencoders keep notes in
    theirs, and fast tokenizers fail where two threads ask at once.
    """
    parts = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
    weights = [it for part in parts for it in (*part.parameters(), *part.buffers())]
    return copy.deepcopy(pipe, {id(it): it for it in weights})


class Worker:
    """Makes pictures with one pipeline, one after another.

    Args:
        pipe: pipeline that nobody else calls.
        share: bytes that the cache of a request may hold; None for any number.
        usual: arguments of every call beside those of the request.
        learn: how many times faster calls are to be by what is learned; None for a formula.
    """

    def __init__(
        self, pipe: Any, share: int | None, usual: Mapping[str, Any], learn: float | None
    ) -> None:
        pipe.set_progress_bar_config(disable=True)
        self._pipe, self._share, self._usual = pipe, share, usual
        self._fast = learn and fc.accelerate(
            pipe, learn, config=fc.Config(budget=share), progress=False
        )

    def picture(self, ticket: Ticket) -> bytes:
        """The PNG of a request.

        Raises:
            ClientGoneError: the client has left meanwhile.
            BudgetError: the cache does not fit.
        """
        made = self._learning(ticket) if self._fast else self._by_formula(ticket)
        written = io.BytesIO()
        made.images[0].save(written, "png")
        return written.getvalue()

    def _by_formula(self, ticket: Ticket) -> Any:
        order = ticket.order
        computed = min(order.steps, max(2, round(order.steps / (order.speedup or SPEEDUP))))
        schedule, predictor = fc.Warped(computed), fc.VariableOrder()
        with fc.attach(self._pipe, schedule, predictor, budget=self._share) as session:
            try:
                return self._pipe(**self._call(ticket))
            finally:
                ticket.computed = sum(call.was_computed for call in session.calls)
                ticket.forecast = len(session.calls) - ticket.computed
                ticket.cache_bytes = session.cache_bytes

    def _learning(self, ticket: Ticket) -> Any:
        plain = self._fast.summary().plain_calls
        made = self._fast(**self._call(ticket))
        done = self._fast.summary()
        ticket.computed = ticket.order.steps
        if done.plain_calls == plain and done.steps is not None:
            ticket.computed, ticket.cache_bytes = len(done.computed), done.cache_bytes
        ticket.forecast = ticket.order.steps - ticket.computed
        return made

    def _call(self, ticket: Ticket) -> dict[str, Any]:
        order = ticket.order
        asked = {
            "prompt": order.prompt, "num_inference_steps": order.steps,
            "height": order.height, "width": order.width,
            "generator": torch.Generator().manual_seed(order.seed),
            "callback_on_step_end": ticket.stop_if_gone,
        }  # fmt: skip
        return {**self._usual, **{name: it for name, it in asked.items() if it is not None}}
