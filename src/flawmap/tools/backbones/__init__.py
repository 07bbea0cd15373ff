"""Catalogue entry → torch module; the walk through timm. The only tools that import torch and timm."""

from flawmap.tools.backbones.networks import (
    Backbone,
    ClassifierNetwork,
    count_depths,
    describe_cuts,
    load_backbone,
)
from flawmap.tools.backbones.weights import build_network, load_weights

__all__ = [
    "Backbone",
    "ClassifierNetwork",
    "build_network",
    "count_depths",
    "describe_cuts",
    "load_backbone",
    "load_weights",
]
