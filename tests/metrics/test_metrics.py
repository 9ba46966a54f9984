"""Metrics: their formulas, their weights, and what is said where these are missing."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

import forecastcache as fc
from forecastcache.errors import ConformanceError, OptionError, UnknownNameError
from forecastcache.metrics import lpips
from forecastcache.metrics.clip import CLIPScore
from forecastcache.metrics.lpips import LPIPS, alexnet_features
from forecastcache.metrics.metric import METRICS, Compared, Metric, figure_of, metrics_of
from forecastcache.testing import check_metric


class Untitled(Metric):
    def measure(self, compared: Compared) -> float:
        return 0.0


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    one, other = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    return one, other


def compared(*shape: int, prompts: tuple[str, ...] = ()) -> Compared:
    return Compared(*pair(*shape), *pair(shape[0], 4), prompts)


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """A folder with an AlexNet of random weights, by torchvision's names, and its features."""
    torch.manual_seed(0)
    features = alexnet_features()
    own = {f"features.{name}": it for name, it in features.state_dict().items()}
    folder = tmp_path_factory.mktemp("alexnet")
    torch.save({**own, "classifier.1.weight": torch.ones(2)}, folder / "alexnet-owt.pth")
    return folder, features


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder with a small CLIP of random weights and a tokenizer of letters."""
    torch.manual_seed(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *[c + "</w>" for c in letters]]
    size = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **size, "vocab_size": len(words), "num_hidden_layers": 1,
            "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1,
        },
        vision_config={**size, "num_hidden_layers": 1, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(folder)
    CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[]).save_pretrained(folder)
    return folder


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No AlexNet was downloaded, and none can be."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)


@pytest.fixture
def own():
    """Registers for one test."""
    before = dict(METRICS._added)
    yield fc.register_metric
    METRICS._added.clear()
    METRICS._added.update(before)


def test_lpips_is_that_of_torchmetrics(alexnet, monkeypatch):
    """By random weights of the backbone and the linear layers that torchmetrics brings."""
    import torchmetrics.functional.image.lpips as theirs

    folder, features = alexnet
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *_, **__: features)
    reference = theirs._LPIPS(pnet_rand=True, net="alex").eval()
    seen = compared(3, 3, 64, 48)
    with torch.no_grad():
        expected = reference(seen.samples, seen.plain, normalize=True).mean().item()
    # Float32 sums in another order.
    assert LPIPS(weights=folder).measure(seen) == pytest.approx(expected, rel=1e-5)
    clips = Compared(seen.samples[:, None], seen.plain[:, None], *pair(3, 4))
    assert LPIPS(weights=folder).measure(clips) == pytest.approx(expected, rel=1e-5)


def test_lpips_says_which_part_is_missing(offline, tmp_path):
    with pytest.raises(
        OptionError, match="linear layers come with torchmetrics.*AlexNet .233 MB."
    ):
        LPIPS().prepare(())
    with pytest.raises(OptionError, match=r"no route to host\): write --metrics lpips=FOLDER"):
        LPIPS().prepare(())
    with pytest.raises(OptionError, match=r"has no alexnet\*.safetensors or alexnet\*.pth: put"):
        LPIPS(weights=tmp_path).prepare(())
    with pytest.raises(OptionError, match="is neither a file nor a folder: give one with"):
        LPIPS(weights=tmp_path / "nowhere").prepare(())
    (tmp_path / "alexnet.pth").write_bytes(b"nothing")
    with pytest.raises(OptionError, match="alexnet.pth cannot be read as weights"):
        LPIPS(weights=tmp_path).prepare(())
    torch.save({"features.0.weight": torch.ones(1)}, tmp_path / "alexnet.pth")
    with pytest.raises(OptionError, match="not those of an AlexNet: give torchvision's AlexNet"):
        LPIPS(weights=tmp_path).prepare(())


def test_lpips_of_what_it_cannot_see(alexnet):
    with pytest.raises(OptionError, match=r"of 32 pixels or more, and these are \(3, 16, 16\)"):
        LPIPS(weights=alexnet[0]).measure(compared(1, 3, 16, 16))
    assert LPIPS(weights=alexnet[0]).measure(compared(1, 3, 32, 32)) > 0


def test_lpips_is_found_where_torch_keeps_it(offline, alexnet):
    place = lpips.kept_by_torch()
    place.parent.mkdir(parents=True)
    place.write_bytes((alexnet[0] / "alexnet-owt.pth").read_bytes())
    seen = compared(1, 3, 40, 40)
    assert LPIPS().measure(seen) == LPIPS(weights=alexnet[0]).measure(seen)


def test_a_clip_score_is_the_cosine_that_transformers_computes(clip):
    metric = CLIPScore(weights=clip)
    prompts = ("a red seven", "two")
    seen = compared(2, 3, 16, 16, prompts=prompts)
    model, tokenizer = metric._loaded
    words = tokenizer(list(prompts), padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(pixel_values=metric._pixels(seen.samples), **words).logits_per_image
    cosines = logits.diagonal() / model.logit_scale.exp()
    assert metric.measure(seen) == pytest.approx(
        100 * cosines.clamp(min=0).mean().item(), rel=1e-4
    )


def test_clip_reads_the_square_in_the_middle_in_its_size(clip):
    metric = CLIPScore(weights=clip)
    wide = torch.zeros(1, 3, 32, 64)
    wide[..., 16:48] = 1
    seen = metric._pixels(wide)
    assert seen.shape == (1, 3, 16, 16)
    white = (1 - torch.tensor(metric._scales[0])) / torch.tensor(metric._scales[1])
    assert torch.allclose(seen[0, :, 8, 8], white, atol=1e-4)


def test_clip_says_what_is_missing(tmp_path):
    with pytest.raises(OptionError, match="needs a model: give --metrics clip=FOLDER"):
        CLIPScore().prepare(["a two"])
    with pytest.raises(OptionError, match="asked in classes: leave clip out"):
        CLIPScore(weights=tmp_path).prepare(())
    with pytest.raises(OptionError, match="has no config.json of a model"):
        CLIPScore(weights=tmp_path).prepare(["a two"])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(OptionError, match="cannot be loaded as a CLIP model"):
        CLIPScore(weights=tmp_path).prepare(["a two"])


def test_the_built_in_ones_conform(alexnet, clip):
    for metric in ("psnr", "ssim", "latent-psnr", f"lpips={alexnet[0]}", f"clip={clip}"):
        check_metric(metric)


def test_names_that_are_no_metric_are_refused():
    with pytest.raises(UnknownNameError, match="no metric is called 'dists': write one of clip"):
        metrics_of(["dists"])
    with pytest.raises(OptionError, match="psnr takes no weights: write psnr alone"):
        metrics_of(["psnr=folder"])
    with pytest.raises(OptionError, match="ssim is asked for twice"):
        metrics_of(["ssim", "ssim"])


def test_a_function_is_a_metric_and_a_cell_runs_again(own):
    for _ in range(2):  # a cell is run again and again

        @own("mean-error")
        def mean_error(samples, plain):
            """Mean absolute error of the samples."""
            return (samples - plain).abs().mean()

    (metric,) = metrics_of(["mean-error"]).values()
    seen = compared(2, 3, 8, 8)
    expected = (seen.samples - seen.plain).abs().mean().item()
    assert figure_of("mean-error", metric, seen) == pytest.approx(expected)
    assert metric.title == "mean error"
    check_metric("mean-error")
    with pytest.raises(fc.errors.NameTakenError, match="'psnr' .* is taken by forecastcache"):
        own("psnr")(mean_error)
    with pytest.raises(fc.ForecastCacheError, match="is registered as metric, but is none"):
        own("seven")(7)


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda samples, plain: math.nan, "gave nan: return a finite number, or None"),
        (lambda samples, plain: samples[0, 0, 0, 0, 0, 0], "failed .IndexError.*repair it"),
        (lambda samples, plain: samples.mul_(0.5).mean(), "wrote to the|for the same again"),
        (lambda samples, plain: torch.rand(()), "for the same again"),
    ],
)
def test_what_breaks_the_contract_is_named(own, function, complaint):
    own("bad")(function)
    with pytest.raises(ConformanceError, match=complaint):
        check_metric("bad")


def test_a_class_without_a_title_is_told_so():
    with pytest.raises(ConformanceError, match="has no title: name its column"):
        check_metric(Untitled())
