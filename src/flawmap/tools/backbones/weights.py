"""Weights onto timm networks: digests checked, nothing unpickled that could run code."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from torch import nn

from flawmap.errors import BackboneError
from flawmap.tools.zoo import BackboneEntry, check_digest

_CONNECT_TIMEOUT_S = 4.0
_WRAPPERS = ("state_dict_ema", "state_dict", "model_state_dict", "model")


def build_network(entry: BackboneEntry, device: str = "cpu") -> nn.Module:
    """The timm network of an entry, without classifier and without its weights, in eval mode."""
    options: dict[str, Any] = {}
    config = timm.get_pretrained_cfg(entry.architecture)
    published_hw = tuple(config.input_size[1:]) if config is not None else entry.preprocessing.input_hw
    if entry.is_convolutional is False and published_hw != entry.preprocessing.input_hw:
        options["img_size"] = entry.preprocessing.input_hw
    try:
        with torch.device(device):
            return timm.create_model(entry.architecture, pretrained=False, num_classes=0, **options).eval()
    except RuntimeError as error:
        raise BackboneError(
            f"{entry.id}: timm cannot build {entry.architecture!r} ({_brief(error)})"
        ) from error


def load_weights(entry: BackboneEntry) -> nn.Module:
    """The timm network of an entry with its pretrained weights, in eval mode.

    Raises BackboneError where the weights are not here, cannot be fetched, have another digest, do not fit or
    would have to run code to be read.
    """
    if entry.source == "timm":
        return _fetch(entry)
    check_digest(entry)
    if entry.weights_path is None:
        package = entry.source.partition(":")[2]
        raise BackboneError(f"the weights of {entry.id} are in the package {package}, which is not installed")
    network = build_network(entry)
    if entry.weights_path.suffix == ".onnx":
        state = _read_onnx_vit(entry.weights_path, network)
    else:
        state = read_state_dict(entry.weights_path)
        is_foreign = entry.is_known_digest and not set(network.state_dict()) & set(state)
        state = (_rename_in_order if is_foreign else _adapt)(state, network)
    _load_all(entry, network, state)
    return network.eval()


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name from a .safetensors file or a PyTorch file that holds nothing but tensors."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every reader has its own family of errors for a file it cannot read
        reason = "it would have to run code to be read" if "eights_only" in str(error) else _brief(error)
        raise BackboneError(
            f"{path}: {reason}. Wanted a state dict of tensors; save it with safetensors.torch.save_file()."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not loaded:
        raise BackboneError(f"{path}: wanted a state dict of tensors by name; got {type(loaded).__name__}")
    tensors = {str(k).removeprefix("module."): v for k, v in loaded.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise BackboneError(f"{path}: wanted a state dict of tensors by name; it holds none")
    return tensors


def digest_of(network: nn.Module) -> str:
    """SHA-256 over the names, shapes and values of a network's state: the digest of fetched weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def is_fetched(config: Any) -> bool:
    """Whether timm's weights lie in the caches of this machine; asks no network."""
    if config.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        names = (
            [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
        )
        return any(isinstance(try_to_load_from_cache(config.hf_hub_id, name), str) for name in names)
    if isinstance(config.url, str) and config.url:
        return (Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(config.url).path).name).is_file()
    return bool(config.file and Path(config.file).is_file())


def _fetch(entry: BackboneEntry) -> nn.Module:
    """timm's own weights, through its caches; a host that does not answer fails within seconds, once."""
    config = timm.get_pretrained_cfg(entry.architecture)
    if config is None:
        raise BackboneError(f"{entry.id}: timm has no weights of that name")
    if not is_fetched(config):
        address = config.url if isinstance(config.url, str) else ""
        if config.hf_hub_id:
            address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        if problem := _unreachable(urlsplit(address or "").netloc):
            raise BackboneError(f"its weights are not on this machine, and {problem}")
    try:
        return timm.create_model(entry.architecture, pretrained=True, num_classes=0).eval()
    except Exception as error:  # hub, url and file errors share no base class
        raise BackboneError(f"its weights could not be fetched ({_brief(error)})") from error


@functools.cache
def _unreachable(netloc: str) -> str | None:
    """Why a host cannot be talked to; asked once a process, so that a long list does not wait for each."""
    parts = urlsplit(f"//{netloc}")
    if proxy := getproxies().get("https") or getproxies().get("http"):
        parts = urlsplit(proxy)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=_CONNECT_TIMEOUT_S):
            return None
    except OSError as error:
        return f"{parts.hostname or 'no host'} does not answer ({error.strerror or error})"


def _load_all(entry: BackboneEntry, network: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Load, insisting that the network gets every value and that only the classifier is left over."""
    config = getattr(network, "pretrained_cfg", None) or {}
    classifiers = config.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    try:
        missing, left_over = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise BackboneError(
            f"{entry.id}: the weights do not fit {entry.architecture} ({_brief(error)})"
        ) from error
    left_over = [k for k in left_over if not k.startswith(tuple(f"{c}." for c in classifiers) or ("\0",))]
    if missing or left_over:
        raise BackboneError(
            f"{entry.id}: the weights do not fit {entry.architecture}: {len(missing)} values missing"
            f"{_some(missing)}, {len(left_over)} left over{_some(left_over)}"
        )


def _rename_in_order(state: dict[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """The same layers in the same order under other names; the classifier (last) is left out."""
    names = list(network.state_dict())
    values = list(state.values())[: len(names)]
    if len(values) < len(names):
        raise BackboneError(f"wanted {len(names)} tensors; the file holds {len(values)}")
    return dict(zip(names, values, strict=True))


def _adapt(state: dict[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """timm's own conversion of older checkpoints of this architecture, where it has one."""
    import sys

    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return convert(state, network) if convert is not None else state


def _read_onnx_vit(path: Path, network: Any) -> dict[str, torch.Tensor]:
    """Weights of a DINOv2-structure ViT out of an ONNX file, under timm's names.

    Matrices carry no names in such a file; the names of the nodes that multiply by them tell what they are.
    """
    import onnx
    from onnx import numpy_helper
    from timm.models.vision_transformer import checkpoint_filter_fn

    graph = onnx.load(str(path)).graph
    values = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
    prefix = "backbone."
    named = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
    for node in graph.node:
        if node.op_type == "MatMul" and len(node.input) == 2 and node.input[1] in values:
            name = node.name.strip("/").removesuffix("/MatMul").removeprefix("backbone/").replace("/", ".")
            named[f"{name}.weight"] = values[node.input[1]].T
    patches = next(
        v for k, v in values.items() if v.ndim == 3 and v.shape[1] > 1 and not k.startswith(prefix)
    )
    first = next(
        v for k, v in values.items() if v.shape == (1, 1, patches.shape[2]) and not k.startswith(prefix)
    )
    state = {
        "cls_token": named["embeddings.cls_token"],
        "pos_embed": torch.cat([first, patches], dim=1),
        "patch_embed.proj.weight": named["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": named["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": named["layernorm.weight"],
        "norm.bias": named["layernorm.bias"],
    }
    n_blocks = len({k.split(".")[2] for k in named if k.startswith("encoder.layer.")})
    for block in range(n_blocks):
        state |= _block_state(named, f"encoder.layer.{block}.", f"blocks.{block}.")
    return checkpoint_filter_fn(state, network)


def _block_state(named: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    """One transformer block: query, key and value stacked as timm has them."""
    state = {f"{new}ls{i}.gamma": named[f"{old}layer_scale{i}.lambda1"] for i in (1, 2)}
    for kind in ("weight", "bias"):
        parts = [named[f"{old}attention.attention.{p}.{kind}"] for p in ("query", "key", "value")]
        state[f"{new}attn.qkv.{kind}"] = torch.cat(parts)
        state[f"{new}attn.proj.{kind}"] = named[f"{old}attention.output.dense.{kind}"]
        for part in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
            state[f"{new}{part}.{kind}"] = named[f"{old}{part}.{kind}"]
    return state


def _some(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""


def _brief(error: BaseException) -> str:
    """The first sentence of an error's message, on one line."""
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    return text[:160].rstrip(" .") + ("…" if len(text) > 160 else "")
