"""Every decoder on every bundled backbone: maps of the photo's size, for any size, from the same start."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from flawmap.errors import BackboneError
from flawmap.records import Decoder
from flawmap.tools.backbones import SegmenterNetwork, default_depth, spare_work
from flawmap.tools.backbones.decoders import GridPool
from flawmap.tools.zoo import BackboneEntry, bundled_entries

DECODERS = get_args(Decoder)
ENTRIES = {entry.id: entry for entry in bundled_entries()}
CONVOLUTIONAL = [name for name, entry in ENTRIES.items() if entry.is_convolutional]
N_LABELS = 2


def make(decoder: str, name: str = "mobilenetv2", depth: int | None = None, **options) -> SegmenterNetwork:
    entry: BackboneEntry = ENTRIES[name]
    depth = default_depth(entry) if depth is None else depth
    return SegmenterNetwork(entry, depth, decoder, N_LABELS, pretrained=False, **options)


def photos(*hw: int, n: int = 1) -> torch.Tensor:
    return 255 * torch.rand(n, 3, *hw, generator=torch.Generator().manual_seed(2))


def check_contract(network: SegmenterNetwork, *sizes_hw: tuple[int, int]) -> None:
    for hw in sizes_hw:
        with torch.inference_mode():
            logits = network(photos(*hw))
        assert logits.shape == (1, N_LABELS, *hw) and torch.isfinite(logits).all() and logits.std() > 0


@pytest.mark.parametrize("depth", [2, pytest.param(None, marks=pytest.mark.slow)], ids=["shallow", "default"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_answers_at_the_size_of_the_photo(decoder: str, depth: int | None) -> None:
    check_contract(make(decoder, depth=depth), (32, 32), (64, 96))


@pytest.mark.parametrize("is_exclusive", [False, True])
def test_before_learning_a_label_is_as_likely_as_its_share(is_exclusive: bool) -> None:
    network = make("unet", depth=2, is_exclusive=is_exclusive)
    network.start_from([0.02, 0.003])
    with torch.inference_mode():
        network.head[0].weight.zero_()
        found = network(photos(32, 32)).sigmoid()
    assert torch.allclose(found[0, :, 5, 7], torch.tensor([0.02, 0.003]), rtol=1e-3)


def test_labels_that_exclude_each_other_share_what_is_likely() -> None:
    network = make("unet", depth=2, is_exclusive=True)
    with torch.inference_mode():
        network.head[0].weight.mul_(40)
        found = network(photos(64, 96))
    assert found.shape == (1, N_LABELS, 64, 96)
    total = found.sigmoid().sum(dim=1)
    assert total.max() <= 1 + 1e-5 and total.std() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_stands_on_every_bundled_backbone(decoder: str, name: str) -> None:
    for depth in (2, 3, None):
        check_contract(make(decoder, name, depth), (64, 64))


@pytest.mark.parametrize("decoder", ["unet", pytest.param("deeplabv3", marks=pytest.mark.slow)])
def test_weights_start_alike_and_the_random_state_stays(decoder: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make(decoder).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second = make(decoder).state_dict()
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_measuring_a_backbone_draws_nothing() -> None:
    before = torch.get_rng_state()
    assert [default_depth(ENTRIES[name]) for name in ("efficientnet_lite0", "mobilenetv2")] == [5, 5]
    assert torch.equal(torch.get_rng_state(), before)


def test_only_what_training_shall_leave_alone_is_in_the_backbone() -> None:
    network = make("unet")
    assert {name.partition(".")[0] for name, _ in network.named_parameters()} == {
        "backbone",
        "decoder",
        "head",
    }
    assert not network.training


def test_a_dilated_backbone_keeps_its_map_fine_and_sees_as_far() -> None:
    dilated = make("deeplabv3").backbone
    with torch.inference_mode():
        assert dilated(photos(128, 128))[0].shape[2:] == (16, 16)
    stages = dilated.chained_stages() or []
    layers = [[m for m in stage.modules() if isinstance(m, nn.Conv2d)] for stage in stages]
    wide = [{m.dilation for m in stage if m.kernel_size != (1, 1)} for stage in layers]
    assert wide == [{(1, 1)}] * 3 + [{(2, 2)}] * 2 + [{(4, 4)}]
    assert all(m.stride == (1, 1) for stage in layers[3:] for m in stage)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_parameter_learns(decoder: str) -> None:
    """None is left without a gradient: a map that no layer reads would be trained in vain."""
    network = make(decoder, depth=3).train()
    network(photos(64, 64, n=2)).square().mean().backward()
    untouched = [name for name, p in network.named_parameters() if p.grad is None]
    assert all(name.startswith("decoder.") for name in untouched), untouched


def test_a_backbone_without_a_pyramid_is_refused() -> None:
    with pytest.raises(BackboneError, match="choose another"):
        SegmenterNetwork(ENTRIES["vit_small_14"], 3, "unet", 1, pretrained=False)
    for depth, maps in enumerate(("1 map", "2 maps")):
        words = f"cut at depth {depth} gives {maps}; a decoder wants 3 or more: cut it at depth 2 or later"
        with pytest.raises(BackboneError, match=words):
            make("unet", depth=depth)
    make("unet", depth=2)
    with pytest.raises(BackboneError, match="depths 0 to 6; got 9"):
        make("unet", depth=9)


@pytest.mark.parametrize("side", [2, 3, 6])
@pytest.mark.parametrize("hw", [(1, 1), (2, 5), (7, 12), (20, 6)])
def test_the_grid_pool_is_the_library_s(side: int, hw: tuple[int, int]) -> None:
    maps = torch.randn(2, 4, *hw, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(GridPool(side)(maps), nn.AdaptiveAvgPool2d(side)(maps))


@pytest.mark.parametrize(
    ("decoder", "hw"), [("pspnet", (96, 160)), ("upernet", (96, 64)), ("pan", (128, 256))]
)
def test_mended_decoders_answer_as_the_library_s(
    decoder: str, hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flawmap.tools.backbones import segmenter

    mended = make(decoder, depth=3)
    monkeypatch.setattr(segmenter, "mend_decoder", lambda decoder: None)
    original = make(decoder, depth=3)
    original.load_state_dict(mended.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(mended(photos(*hw)), original(photos(*hw)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("depth", "n_labels"), [(2, 1), (2, 2), (5, 1)])
def test_sparing_work_changes_no_answer(depth: int, n_labels: int) -> None:
    network = SegmenterNetwork(ENTRIES["efficientnet_lite0"], depth, "unet", n_labels, pretrained=False)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in network.decoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
    spared = spare_work(network)
    images = 255 * torch.rand(2, 3, 64, 96, generator=generator)
    with torch.inference_mode():
        wanted, found = network(images), spared(images)
    assert (wanted - found).abs().max() <= 1e-5 * wanted.abs().max()
    assert sum(p.numel() for p in spared.parameters()) > sum(p.numel() for p in network.parameters())


def test_other_decoders_are_copied_as_they_are() -> None:
    network = SegmenterNetwork(ENTRIES["efficientnet_lite0"], 3, "fpn", 1, pretrained=False)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network(images), spare_work(network)(images))
