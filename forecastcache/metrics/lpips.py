"""LPIPS of the decoded samples, by AlexNet, written out so that torchvision need not be there."""

from __future__ import annotations

from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from forecastcache.errors import OptionError
from forecastcache.metrics.metric import Compared, Metric
from forecastcache.metrics.weights import read_weights, weights_file

FILE = "alexnet-owt-7be5be79.pth"
URL = f"https://download.pytorch.org/models/{FILE}"
MEGABYTES = 233
PATTERNS = ("alexnet*.safetensors", "alexnet*.pth")
NEEDS = f"torchvision's AlexNet, such as {FILE}"
PARTS = (
    f"LPIPS has two parts: its linear layers come with torchmetrics, as with the lpips package, "
    f"and its backbone, AlexNet ({MEGABYTES} MB), comes with neither"
)
TAPS = (1, 4, 7, 9, 11)  # layers whose outputs are compared: each after its rectifier
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
LEAST = 32  # pixels, of which AlexNet leaves one
TINY = 1e-8


class LPIPS(Metric):
    """Perceptual distance of the decoded samples to the plain ones (Zhang et al., 1801.03924).

    The sum over five layers of AlexNet of mean_{h,w} w_l (f_l / |f_l| - g_l / |g_l|)^2, where f
    and g are the features of the two pictures and w_l the layer's learned weights.

    Attributes:
        weights: AlexNet's weights as torchvision has them, a file or its folder; None takes what
            torch has downloaded, or downloads it once.
    """

    title: ClassVar[str] = "LPIPS of samples"
    better: ClassVar[Literal["more", "less"]] = "less"

    weights: Path | None = None

    def prepare(self, prompts: object) -> None:
        _ = self._network

    def measure(self, compared: Compared) -> float | None:
        pictures, plain = compared.samples.flatten(0, -4), compared.plain.flatten(0, -4)
        if pictures.shape[-3] != 3 or min(pictures.shape[-2:]) < LEAST:
            raise OptionError(
                f"LPIPS is of pictures in colour of {LEAST} pixels or more, and these are "
                f"{tuple(pictures.shape[-3:])}: leave it out"
            )
        with torch.no_grad():
            distances = [self._network(*pair) for pair in zip(pictures.split(1), plain.split(1))]
        return float(torch.cat(distances).mean())

    @cached_property
    def _network(self) -> PerceptualDistance:
        return PerceptualDistance(self._backbone())

    def _backbone(self) -> dict[str, Tensor]:
        if self.weights is not None:
            return read_weights(weights_file(self.weights, PATTERNS, NEEDS))
        if downloaded() is not None:
            return read_weights(kept_by_torch())
        try:
            found: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
                URL, progress=False, check_hash=True, weights_only=True
            )
        except Exception as error:  # of the network, the disk or the file
            raise OptionError(
                f"{PARTS}, and cannot be downloaded ({type(error).__name__}: {error}): write "
                f"--metrics lpips=FOLDER with {NEEDS} in the folder"
            ) from error
        return found


class PerceptualDistance(nn.Module):
    """LPIPS of pairs of pictures.

    Args:
        backbone: AlexNet's weights by torchvision's names; those of its classifier are not used.

    Raises:
        OptionError: they are of something else.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: dict[str, Tensor]) -> None:
        super().__init__()
        self.features = alexnet_features()
        own = {name: it for name, it in backbone.items() if name.startswith("features.")}
        try:
            self.load_state_dict(own)
        except RuntimeError:
            raise OptionError(f"these weights are not those of an AlexNet: give {NEEDS}") from None
        for at, weight in enumerate(_linear_layers()):
            self.register_buffer(f"linear{at}", weight)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor, reference: Tensor) -> Tensor:
        """Distances `(n,)` of pictures `(n, 3, h, w)` in [0, 1]."""
        total = torch.zeros(len(pictures))
        for at, (one, other) in enumerate(zip(self._seen(pictures), self._seen(reference))):
            weight: Tensor = getattr(self, f"linear{at}")
            total = total + (weight * (one - other).square()).sum(1).mean((1, 2))
        return total

    def _seen(self, pictures: Tensor) -> list[Tensor]:
        """The features at each tap, of length 1 at every place."""
        seen, found = (2 * pictures - 1 - self.shift) / self.scale, []
        for at, layer in enumerate(self.features):
            seen = layer(seen)
            if at in TAPS:
                found.append(seen / (TINY + seen.square().sum(1, keepdim=True)).sqrt())
        return found


def alexnet_features() -> nn.Sequential:
    """The convolutions of AlexNet (1404.5997) as torchvision numbers them, up to the last tap."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


def kept_by_torch() -> Path:
    """Where torch and torchvision keep AlexNet's weights once they are downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE


def downloaded() -> Path | None:
    """Those weights, if they are there."""
    return kept_by_torch() if kept_by_torch().is_file() else None


def _linear_layers() -> list[Tensor]:
    """The learned weights of each tap, `(1, channels, 1, 1)`."""
    with as_file(files("torchmetrics.functional.image") / "lpips_models" / "alex.pth") as path:
        found = read_weights(path)
    return [found[f"lin{at}.model.1.weight"] for at in range(len(TAPS))]
