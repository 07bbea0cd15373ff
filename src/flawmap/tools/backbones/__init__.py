"""Catalogue entry → torch module; the walk through timm. The only tools that import torch and timm."""

from flawmap.tools.backbones.embedding import EmbeddingNetwork, embedding_columns, load_embedding_network
from flawmap.tools.backbones.folding import folded, simplified
from flawmap.tools.backbones.networks import (
    Backbone,
    ClassifierNetwork,
    count_depths,
    cut_backbone,
    describe_cuts,
    load_backbone,
)
from flawmap.tools.backbones.segmenter import SegmenterNetwork, default_depth
from flawmap.tools.backbones.sparing import spare_work
from flawmap.tools.backbones.walk import select, timm_entries, user_entry
from flawmap.tools.backbones.weights import build_network, digest_of, load_weights, read_state_dict

__all__ = [
    "Backbone",
    "ClassifierNetwork",
    "EmbeddingNetwork",
    "SegmenterNetwork",
    "build_network",
    "count_depths",
    "cut_backbone",
    "default_depth",
    "describe_cuts",
    "digest_of",
    "embedding_columns",
    "folded",
    "load_backbone",
    "load_embedding_network",
    "load_weights",
    "read_state_dict",
    "select",
    "simplified",
    "spare_work",
    "timm_entries",
    "user_entry",
]
