"""Networks with normalisation folded in: fewer layers, the same values, and a plain copy where that fails."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from flawmap.tools.backbones import folded, simplified  # noqa: E402


def make_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(8)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 2.0)
    last = nn.BatchNorm2d(8)
    last.running_var.uniform_(0.1, 2.0)
    inner = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), last, nn.ReLU6(inplace=True))
    return nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU6(inplace=True), inner).eval()


class Crossed(nn.Module):
    """The normalisation stands after the convolution, and is used before it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.norm.running_mean.fill_(3.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(self.norm(images)))


def count_norms(network: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def test_frozen_normalisation_is_folded_and_the_values_stay() -> None:
    network, images = make_network().requires_grad_(False), torch.randn(2, 3, 16, 16)
    quick = folded(network, images)
    assert (count_norms(network), count_norms(quick)) == (2, 0)
    torch.testing.assert_close(quick(images), network(images), rtol=1e-5, atol=1e-5)


def test_what_learns_is_left_alone() -> None:
    network = make_network().requires_grad_(False)
    network[3].requires_grad_(True)
    quick = folded(network, torch.randn(1, 3, 16, 16))
    assert count_norms(quick) == 1 and isinstance(quick[3][1], nn.BatchNorm2d)
    assert all(parameter.requires_grad for parameter in quick[3].parameters())


def test_where_folding_would_change_the_values_the_copy_is_a_plain_one() -> None:
    network, images = Crossed().eval().requires_grad_(False), torch.randn(2, 3, 4, 4)
    copied = folded(network, images)
    assert copied is not network and count_norms(copied) == 1
    assert torch.equal(copied(images), network(images))


def test_a_simplified_copy_overwrites_nothing_and_learns_nothing() -> None:
    network, images = make_network(), torch.randn(2, 3, 16, 16)
    simple = simplified(network, images)
    assert count_norms(simple) == 0 and not any(p.requires_grad for p in simple.parameters())
    assert not any(getattr(layer, "inplace", False) for layer in simple.modules())
    assert network[2].inplace and all(p.requires_grad for p in network.parameters())
    with torch.no_grad():
        torch.testing.assert_close(simple(images), network(images), rtol=1e-5, atol=1e-5)
