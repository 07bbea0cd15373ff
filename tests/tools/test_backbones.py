"""Backbones cut at every depth, the classifier on top, static padding, weights and the walk through timm."""

import functools
import http.server
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from flawmap.errors import BackboneError, OptionError
from flawmap.records import Cut, LinearHead, Preprocessing
from flawmap.tools import backbones
from flawmap.tools.backbones import ClassifierNetwork, padding, weights
from flawmap.tools.zoo import BackboneEntry, Limits, bundled_entries, default_entries

BUNDLED = [entry for entry in bundled_entries() if entry.is_available]
QUICK = ("efficientnet_lite0", "mobilenetv2", "test_efficientnet", "test_convnext", "test_vit")
SMALL = ("test_efficientnet", "test_convnext", "test_vit", "test_resnet", "test_nfnet", "test_byobnet")
"""timm's own miniatures: one of each way to return intermediate maps."""


def by_name(entries) -> list:
    """Test parameters; those that take longer carry the mark."""
    named = [(getattr(entry, "id", entry), entry) for entry in entries]
    return [pytest.param(e, id=name, marks=() if name in QUICK else pytest.mark.slow) for name, e in named]


def small_entry(architecture: str, side: int = 160) -> BackboneEntry:
    """An entry for a network that is built without weights."""
    half = (0.5, 0.5, 0.5)
    is_convolutional = "vit" not in architecture
    return BackboneEntry(
        architecture,
        architecture,
        "file:",
        "",
        Preprocessing((side, side), half, half),
        None,
        None,
        is_convolutional,
        True,
    )


def photos_like(entry: BackboneEntry, n_photos: int = 2, hw: tuple[int, int] | None = None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return 255 * torch.rand(n_photos, 3, *(hw or entry.preprocessing.input_hw), generator=generator)


@functools.cache
def loaded(entry: BackboneEntry) -> backbones.Backbone:
    return backbones.load_backbone(entry)


# Contract: every bundled backbone on this machine


@pytest.mark.parametrize("entry", by_name(BUNDLED))
def test_a_bundled_backbone_keeps_the_contract(entry: BackboneEntry) -> None:
    network, images = loaded(entry), photos_like(entry, 1)
    costs = backbones.describe_cuts(entry)
    assert list(costs) == list(range(entry.n_depths or 0))
    with torch.inference_mode():
        maps = network(images, list(costs))
    for depth, features in enumerate(maps):
        assert features.ndim == 4 and features.shape[:2] == (1, costs[depth].n_channels)
        assert torch.isfinite(features).all()
        assert features.std() > 0
    for values in ([c.n_parameters for c in costs.values()], [c.macs for c in costs.values()]):
        assert values == sorted(values) and values[0] > 0
    assert costs[len(costs) - 1].n_parameters == entry.n_parameters
    assert all(cost.n_bytes >= 4 * cost.n_parameters for cost in costs.values())
    assert not network.training


@pytest.mark.parametrize("entry", by_name(default_entries()))
def test_static_padding_and_cutting_change_nothing(entry: BackboneEntry) -> None:
    """Against timm's network with its computed padding, at the input's size and at another."""
    network, original = loaded(entry), weights.load_weights(entry)
    original = original.to(memory_format=torch.channels_last)
    for hw in (entry.preprocessing.input_hw, (64, 128)):
        images = photos_like(entry, 1, hw)
        with torch.inference_mode():
            expected = original.forward_features((images - network.mean) / network.std)
            torch.testing.assert_close(network(images)[0], expected, rtol=1e-3, atol=2e-3)


# Any network of timm


@pytest.mark.parametrize("architecture", by_name(SMALL))
def test_networks_of_every_kind_can_be_cut(architecture: str) -> None:
    entry = small_entry(architecture, 160 if "vit" in architecture else 64)
    images = photos_like(entry)
    torch.manual_seed(0)
    network = weights.build_network(entry)
    whole = backbones.cut_backbone(network, entry, None).eval()
    with torch.inference_mode():
        maps = whole(images, range(whole.last + 1))
        # `whole` holds the network's layers, so what the network itself says is the truth.
        for depth, features in enumerate(maps):
            torch.testing.assert_close(whole(images, [depth])[0], features)
    assert len(maps) == whole.last + 1 == len(backbones.describe_cuts(entry))
    reached = whole.stage_parameters()
    assert all(stage for stage in reached)
    assert sum(len(stage) for stage in reached) == len(list(whole.body.parameters()))
    columns = backbones.embedding_columns(entry)
    assert [columns[f"average:{d}"] for d in range(len(maps))] == [(m.shape[1],) for m in maps]


def test_the_last_depth_is_what_the_whole_network_returns() -> None:
    entry = small_entry("test_vit")
    torch.manual_seed(0)
    network = weights.build_network(entry)
    images = photos_like(entry)
    with torch.inference_mode():
        tokens = network.forward_features((images - 127.5) / 127.5)[:, network.num_prefix_tokens :]
        got = backbones.cut_backbone(network, entry, None)(images)[0]
    assert got.shape[2:] == (10, 10)
    torch.testing.assert_close(got.flatten(2).transpose(1, 2), tokens)


def test_a_depth_that_is_not_there_is_refused() -> None:
    with pytest.raises(BackboneError, match="depths 0 to 6; got 7"):
        backbones.load_backbone(BUNDLED[0], 7)


# Static padding


@pytest.mark.parametrize("side", [32, 64, 96])
def test_explicit_padding_equals_the_computed_one(side: int) -> None:
    from timm.layers import create_conv2d, create_pool2d
    from timm.layers.std_conv import StdConv2dSame

    torch.manual_seed(0)
    layers = nn.Sequential(
        create_conv2d(3, 4, 3, stride=2, padding="same"),
        StdConv2dSame(4, 6, 5, stride=2, padding="SAME"),
        create_pool2d("max", 3, stride=2, padding="same"),
        create_pool2d("avg", 3, stride=2, padding="same"),
        create_conv2d(6, 4, 3, stride=1, dilation=2, padding="same"),
    )
    images = torch.randn(2, 3, side, side + 32)
    with torch.inference_mode():
        expected = layers(images)
        assert padding.fix_padding(layers) >= 4
        torch.testing.assert_close(layers(images), expected)


# The classifier


@pytest.fixture(scope="module")
def classifier() -> ClassifierNetwork:
    return ClassifierNetwork(default_entries()[0], Cut(2, "average+maximum"), 3, dropout=0.5)


def test_the_head_is_linear_in_average_and_maximum(classifier: ClassifierNetwork) -> None:
    rng = np.random.default_rng(0)
    wanted = LinearHead(rng.normal(size=(3, 80)).astype(np.float32), np.array([1, 2, 3], np.float32))
    classifier.set_head(wanted)
    np.testing.assert_array_equal(classifier.get_head().weight, wanted.weight)
    with torch.inference_mode():
        features, logits = classifier(photos_like(BUNDLED[0]))
    maps = features.numpy()
    pooled = np.concatenate([maps.mean((2, 3)), maps.max((2, 3))], axis=1)
    np.testing.assert_allclose(logits, pooled @ wanted.weight.T + wanted.bias, rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match=r"\(3, 80\)"):
        classifier.set_head(LinearHead(np.zeros((2, 80), np.float32), np.zeros(2, np.float32)))


@pytest.mark.slow
def test_nothing_after_the_cut_is_kept(classifier: ClassifierNetwork) -> None:
    cost = backbones.describe_cuts(default_entries()[0])[2]
    assert sum(p.numel() for p in classifier.backbone.parameters()) == cost.n_parameters
    assert sum(p.numel() for p in classifier.stages[0]) == 1824
    assert len(classifier.stages) == 3
    only_average = ClassifierNetwork(default_entries()[0], Cut(1, "average"), 2, pretrained=False)
    assert only_average.head.in_features == 24


def test_frozen_stages_stay_as_they_are(classifier: ClassifierNetwork) -> None:
    network = classifier
    network.freeze(2)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network(photos_like(BUNDLED[0], hw=(64, 64)))[1].square().sum().backward()
    optimiser.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(("backbone.body.groups.2.", "head.")) for name in changed)
    assert any("running_mean" in name for name in changed)
    network.freeze(0)
    assert all(p.requires_grad for p in network.parameters())
    network.eval()
    with pytest.raises(ValueError, match="0 to 3 stages; got 4"):
        network.freeze(4)


def test_a_classifier_is_built_the_same_twice() -> None:
    entry = default_entries()[0]
    first, second = (ClassifierNetwork(entry, Cut(1, "average"), 2) for _ in range(2))
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


# Weights


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_users_own_weights(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(5)
    network = timm.create_model("test_resnet", num_classes=7)
    file = tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(network.state_dict(), file)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, file)
    kept, skipped = backbones.select("test_vit.*", [f"test_resnet@{file}"], folder=tmp_path)
    entry = kept[-1]
    assert not skipped and entry.n_depths == 5 and entry.is_convolutional
    images = photos_like(entry)
    own = backbones.load_backbone(entry)
    with torch.inference_mode():
        expected = network.eval().forward_features((images - own.mean) / own.std)
        torch.testing.assert_close(own(images)[0], expected, rtol=1e-3, atol=1e-4)


def test_two_files_of_one_name_are_two_backbones(tmp_path: Path) -> None:
    files = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        files.append(tmp_path / f"{seed}" / "mine.pth")
        files[-1].parent.mkdir()
        torch.save(timm.create_model("test_resnet").state_dict(), files[-1])
    weights = [f"test_resnet@{file}" for file in (*files, files[0])]
    kept, _ = backbones.select("", weights, folder=tmp_path)
    assert [entry.weights_path for entry in kept] == [file.resolve() for file in files]
    assert len({entry.id for entry in kept}) == 2
    (alone,), _ = backbones.select("", weights[:1], folder=tmp_path)
    assert alone.id == "test_resnet@mine"


class _RunsCode:
    def __reduce__(self):
        return (print, ("code was run",))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evil.pth"
    torch.save({"weight": torch.zeros(1), "trap": _RunsCode()}, file)
    entry = backbones.user_entry("test_resnet", file)
    with pytest.raises(BackboneError, match=r"would have to run code to be read.*safetensors"):
        backbones.load_weights(entry)
    assert "code was run" not in capsys.readouterr().out


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, file)
    with pytest.raises(BackboneError, match="do not fit test_resnet"):
        backbones.load_weights(backbones.user_entry("test_resnet", file))
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(BackboneError, match="Wanted a state dict"):
        backbones.load_weights(backbones.user_entry("test_resnet", file))
    with pytest.raises(OptionError, match="no architecture 'resnot18'; did you mean 'resnet18'"):
        backbones.user_entry("resnot18", file)
    with pytest.raises(OptionError, match="ARCHITECTURE@FILE"):
        backbones.select(weights=["resnet18"], folder=tmp_path)


def test_bundled_weights_that_were_altered_are_refused(tmp_path: Path) -> None:
    entry = default_entries()[0]
    assert entry.weights_path is not None
    altered = tmp_path / entry.weights_path.name
    content = bytearray(entry.weights_path.read_bytes())
    content[len(content) // 2] ^= 1
    altered.write_bytes(content)
    with pytest.raises(BackboneError, match="damaged or another file"):
        backbones.load_backbone(replace(entry, weights_path=altered))


# The walk


def test_the_walk_gives_every_pretrained_network_its_own_preprocessing() -> None:
    entries = {e.id: e for e in backbones.timm_entries()}
    assert len(entries) > 1000
    assert entries["resnet18.a3_in1k"].preprocessing.input_hw == (160, 160)
    assert entries["tf_efficientnet_b3.ns_jft_in1k"].preprocessing.input_hw == (288, 288)
    assert entries["vit_small_patch14_dinov2.lvd142m"].preprocessing.input_hw == (518, 518)
    assert entries["resnet18.fb_ssl_yfcc100m_ft_in1k"].licence == "cc-by-nc-4.0"


def test_patterns_and_limits(tmp_path: Path) -> None:
    kept, skipped = backbones.select(
        "test_resnet*, test_convnext,test_vit.*", limits=Limits(max_parameters=320_000), folder=tmp_path
    )
    assert [e.id.partition(".")[0] for e in kept] == ["test_convnext", "test_vit"]
    assert [(s.path, s.reason) for s in skipped] == [
        ("test_resnet.r160_in1k", "0.4 million parameters; the limit is 0.32")
    ]
    again, _ = backbones.select("test_vit", folder=tmp_path)
    assert again[0].n_parameters == kept[1].n_parameters
    assert again[0].is_convolutional is False
    nobody, refused = backbones.select("test_vit", limits=Limits(licences=("mit",)), folder=tmp_path)
    assert not nobody and "licence is apache-2.0" in refused[0].reason
    with pytest.raises(OptionError, match="no backbone is named 'resnot\\*'"):
        backbones.select("resnot*", folder=tmp_path)


def test_bundled_is_the_default(tmp_path: Path) -> None:
    kept, _ = backbones.select(folder=tmp_path)
    assert kept == default_entries()


# Fetching, against a stand-in


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    weights._unreachable.cache_clear()
    return tmp_path


def timm_entry(name: str) -> BackboneEntry:
    return next(e for e in backbones.timm_entries() if e.id == name)


def test_a_hub_that_does_not_answer_is_said_in_one_line(
    empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        BackboneError, match=r"not on this machine, and 127\.0\.0\.1 does not answer"
    ) as caught:
        backbones.load_backbone(timm_entry("test_resnet.r160_in1k"))
    assert "\n" not in str(caught.value)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_weights_are_fetched_checked_and_found_again(
    empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local server stands in for the address that timm names."""
    torch.manual_seed(9)
    network = timm.create_model("test_resnet")
    served = empty_caches / "served"
    served.mkdir()
    torch.save(network.state_dict(), served / "mini.pth")
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=served)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        entry = timm_entry("test_resnet.r160_in1k")
        config = replace(timm.get_pretrained_cfg(entry.id), hf_hub_id=None, url=f"{base}/mini.pth")
        monkeypatch.setitem(timm.models._registry._model_pretrained_cfgs, entry.id, config)
        assert not weights.is_fetched(config)
        fetched = weights.load_weights(entry)
        assert weights.is_fetched(config)
        lost = replace(config, url=f"{base}/lost.pth")
        monkeypatch.setitem(timm.models._registry._model_pretrained_cfgs, entry.id, lost)
        with pytest.raises(BackboneError, match=r"could not be fetched \(.*404"):
            weights.load_weights(entry)
        server.shutdown()
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in fetched.state_dict().items())
    assert weights.digest_of(fetched) == weights.digest_of(fetched) != weights.digest_of(network)
