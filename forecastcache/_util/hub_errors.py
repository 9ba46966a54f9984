"""Errors of the Hugging Face Hub, each as one line that names its remedy."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

NETWORK = (
    "httpx",
    "httpcore",
    "requests",
    "urllib3",
)  # by which versions of the hub's client call


PIPELINE = "a file of a pipeline: give one with a model_index.json"


def hub_complaint(repo: str, error: BaseException, lacks: str = PIPELINE) -> str | None:
    """What the hub refused, and the remedy; None where nothing of the hub is behind an error.

    Args:
        repo: id on the hub, owner/name, with a revision behind an @ where one was asked for.
        error: error of a library that was to load it, with its causes.
        lacks: what the repository lacks where a file is not there, and the remedy.
    """
    from huggingface_hub import constants, errors

    causes = list(_causes(error))
    for kind, complaint in {
        errors.GatedRepoError: f"{repo} is gated: ask for access on its page of the hub, then log "
        "in with hf auth login",
        errors.RevisionNotFoundError: f"the hub has no such revision as {repo}: give a branch, a "
        "tag or a commit that is there",
        errors.RepositoryNotFoundError: f"the hub has no {repo}, or it is private: look at the "
        "name, or log in with hf auth login",
        errors.OfflineModeIsEnabled: f"{repo} is not on this machine, and the hub's offline mode "
        "is on: unset HF_HUB_OFFLINE, or give a path",
    }.items():
        if any(isinstance(each, kind) for each in causes):
            return complaint
    for each in causes:
        local = isinstance(each, errors.LocalEntryNotFoundError)
        if isinstance(each, errors.EntryNotFoundError) and not local:
            return f"{repo} on the hub lacks {lacks}"
        if isinstance(each, errors.HfHubHTTPError):
            status = getattr(each.response, "status_code", "an error")
            return f"the hub answers {status} to {repo}: try again later, or hf auth login"
    if any(map(_of_the_network, causes)):
        return (
            f"the hub at {constants.ENDPOINT} cannot be reached, and {repo} is not on this "
            "machine: look at the network and at HF_ENDPOINT, or give a path"
        )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came of, the newest first."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__


def _of_the_network(error: BaseException) -> bool:
    from huggingface_hub.errors import LocalEntryNotFoundError

    failed = ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError, LocalEntryNotFoundError
    return isinstance(error, failed) or type(error).__module__.startswith(NETWORK)
