"""Hub: where a calibration lies, and how others come by it."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from forecastcache import zoo
from forecastcache._util.hub_errors import hub_complaint
from forecastcache.calibration.scales import scales_in_words
from forecastcache.errors import CalibrationError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from forecastcache.calibration.calibration import Calibration
    from forecastcache.calibration.fits import Fit
    from forecastcache.calibration.identity import Identity

NAME = "calibration.safetensors"
PAGE = "README.md"
PICTURE = "frontier.png"
ON_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
LACKS = f"{NAME}: give one that Calibration.push_to_hub has published"
OURS = "library_name: forecastcache"

SHOWN = f"""
![Latent PSNR against computed steps]({PICTURE})
"""
CARD = """\
---
{ours}
tags: [forecastcache, diffusers]
---

# A calibration of {model}

What {prompts} plain runs of {steps} steps with {scheduler} and guidance {guidance} taught
[forecastcache](https://pypi.org/project/forecastcache/) about forecasting the features of
{model}, at {sizes}. Rows and figures, no weights of the model.

```python
import forecastcache as fc

calibration = fc.Calibration.load("{repo}")
fc.attach(pipe, *calibration.choose({count}))
```

It serves any schedule in open loop. Fitted in closed loop, PSNR of the final latents to those of
the plain run (data range 2), rolled on prompts that the rows were not fitted to:

| computed of {steps} | latent PSNR | steps |
|---|---|---|
{fits}
{picture}
Made with {versions}.
"""


def find(source: str | Path) -> Path:
    """The file that `source` names: a path, zoo:NAME, or a hub id, which is downloaded.

    Behind a hub id and an @ a revision may stand: a branch, a tag or a commit.

    Raises:
        CalibrationError: there is none.
        UnknownNameError: the zoo has no such model.
    """
    name, path = str(source), Path(source)
    if path.is_file():
        return path
    if name.startswith(zoo.PREFIX):
        return _shipped(name)
    if (on_hub := ON_HUB.fullmatch(name)) and not path.exists():
        return _downloaded(**on_hub.groupdict())
    raise CalibrationError(
        f"{name} is no file: make one with forecastcache calibrate MODEL --out {name}"
    )


def _shipped(name: str) -> Path:
    path = zoo.calibration(name)
    if not path.is_file():
        raise CalibrationError(
            f"{name} has no calibration beside it: make one with "
            f"forecastcache calibrate {name} --out {path}"
        )
    return path


def _downloaded(repo: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo, NAME, revision=revision))
    except Exception as error:  # of many kinds: offline, refused, not there
        asked = repo if revision is None else f"{repo}@{revision}"
        complaint = hub_complaint(asked, error, LACKS) or f"{asked} is no file: {_reason(error)}"
        raise CalibrationError(complaint) from error


def push(
    calibration: Calibration, repo: str, private: bool, picture: str | Path | None = None
) -> str:
    """Publish a calibration with its card; gives the address of what was committed.

    A README.md that is there already and is no card of ours is left as it is.

    Args:
        calibration: the calibration.
        repo: repository, which is made if need be.
        private: whether it is private.
        picture: PNG for the card to show; None for none.

    Raises:
        CalibrationError: the hub refuses, or is not to be reached.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        calibration.save(Path(folder) / NAME)
        api = HfApi()
        try:
            api.create_repo(repo, private=private, exist_ok=True)
            if _has_no_other_page(api, repo):
                page = card(calibration, repo, with_picture=picture is not None)
                (Path(folder) / PAGE).write_text(page, encoding="utf-8")
                if picture is not None:
                    shutil.copyfile(picture, Path(folder) / PICTURE)
            commit = api.upload_folder(
                repo_id=repo, folder_path=folder, commit_message="A calibration by forecastcache"
            )
        except Exception as error:  # as above
            raise CalibrationError(
                f"{repo} cannot be published ({_reason(error)}): log in with hf auth login, and "
                "give a name that is yours"
            ) from error
    return str(commit.commit_url)


def _has_no_other_page(api: HfApi, repo: str) -> bool:
    if not api.file_exists(repo, PAGE):
        return True
    there = Path(api.hf_hub_download(repo, PAGE, force_download=True))
    return OURS in there.read_text(encoding="utf-8", errors="replace")


def card(calibration: Calibration, repo: str, with_picture: bool = False) -> str:
    """The page that the hub shows for a calibration; it may show `PICTURE`."""
    identity, fits = calibration.identity, calibration.fits
    lines = [
        f"| {len(fit.computed)} | {_nearness(fit)} | {' '.join(map(str, fit.computed))} |"
        for fit in fits
    ]
    return CARD.format(
        ours=OURS,
        model=identity.model.name,
        scheduler=identity.scheduler.name,
        steps=identity.steps,
        guidance=_guidance(identity),
        prompts=sum(size.recording.prompts for size in calibration.sizes),
        sizes=", ".join(size.name for size in calibration.sizes),
        repo=repo,
        count=len(fits[0].computed) if fits else max(1, identity.steps // 5),
        fits="\n".join(lines) or "| none | | |",
        picture=SHOWN if with_picture else "",
        versions=", ".join(f"{name} {number}" for name, number in calibration.versions.items()),
    )


def _guidance(identity: Identity) -> str:
    if identity.scales:
        return scales_in_words(identity.scales)
    first = "as the pipeline has it" if identity.guidance is None else str(identity.guidance)
    if identity.guidance_2 is None:
        return first
    return f"{first}, {identity.guidance_2:g} where the second model answers"


def _nearness(fit: Fit) -> str:
    if fit.latent_psnr_db is None:
        return f"{fit.fitted_latent_psnr_db:.1f} dB, on the prompt that the rows were fitted to"
    return f"{fit.latent_psnr_db:.1f} dB"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
