"""Depthwise convolutions stay in float32 while the rest of a step is computed in bfloat16."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from flawmap.stages.train.precision import choose_arithmetic, depthwise_in_float32


def _network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=8), nn.Conv2d(8, 2, 1)
        )


def _dtypes(network: nn.Sequential) -> list[torch.dtype]:
    """Of what each layer gives under autocast."""
    seen: list[torch.dtype] = []
    hooks = [layer.register_forward_hook(lambda *call: seen.append(call[2].dtype)) for layer in network]
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.ones(1, 3, 8, 8))
    for hook in hooks:
        hook.remove()
    return seen


def test_only_depthwise_layers_are_kept_and_only_within() -> None:
    network = _network()
    half, full = torch.bfloat16, torch.float32
    assert _dtypes(network) == [half, half, half]
    with depthwise_in_float32(network):
        assert _dtypes(network) == [half, full, half]
    assert _dtypes(network) == [half, half, half]


def test_other_processes_can_be_handed_the_network_within() -> None:
    """As spawned ones are, where several devices share the work."""
    network, images = _network(), torch.rand(2, 3, 8, 8)
    with depthwise_in_float32(network):
        handed = pickle.loads(pickle.dumps(network))
    assert _dtypes(handed) == [torch.bfloat16, torch.float32, torch.bfloat16]
    assert torch.equal(handed(images), network(images))


def test_an_error_within_leaves_the_network_as_it_was() -> None:
    network = _network()
    with pytest.raises(KeyError), depthwise_in_float32(network):
        raise KeyError
    assert all("forward" not in vars(layer) for layer in network)


def test_the_weights_of_depthwise_layers_still_learn() -> None:
    network, images = _network(), torch.rand(2, 3, 8, 8)
    network(images).square().sum().backward()
    exact = network[1].weight.grad.clone()
    network.zero_grad()
    with depthwise_in_float32(network), torch.autocast("cpu", torch.bfloat16):
        network(images).float().square().sum().backward()
    assert network[1].weight.grad.dtype == torch.float32
    torch.testing.assert_close(network[1].weight.grad, exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("precision", "wanted"), [("float32", "32-true"), ("bfloat16", "bf16-mixed")])
def test_a_precision_that_is_given_is_taken(precision: str, wanted: str) -> None:
    assert choose_arithmetic(precision, "cpu") == wanted  # type: ignore[arg-type]
