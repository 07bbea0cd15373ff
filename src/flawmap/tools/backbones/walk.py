"""The walk through timm: every pretrained image backbone, as catalogue entries.

What only a built network can tell (parameters, depths, whether it is convolutional) is found on the meta
device, without weights, for the entries that are asked for, and kept in the cache folder per version of timm.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from flawmap.errors import BackboneError, OptionError, nearest_hint, option
from flawmap.records import Preprocessing, Progress, Unreadable, no_progress
from flawmap.tools.backbones.networks import count_depths, cut_backbone
from flawmap.tools.backbones.weights import build_network, is_fetched
from flawmap.tools.files import cache_folder, write_file
from flawmap.tools.zoo import (
    INPUT_MULTIPLE,
    NO_LIMITS,
    BackboneEntry,
    Limits,
    bundled_entries,
    default_entries,
    read_digest,
)

_NOT_STATED = "not stated"
_CHANNEL_GATES = ("squeeze_excite", "eca", "cbam", "global_context", "selective_kernel", "split_attn")
"""Modules of timm whose attention is over channels, not positions: they take photos of any size."""
_WRITE_EVERY = 20


def select(
    patterns: str = "bundled",
    weights: Iterable[str] = (),
    limits: Limits = NO_LIMITS,
    folder: Path | None = None,
    progress: Progress = no_progress,
) -> tuple[tuple[BackboneEntry, ...], tuple[Unreadable, ...]]:
    """The entries that patterns name and limits leave, and those passed over, by name, with the reason.

    `patterns` are "bundled", "all" or patterns of ids such as "mobilenet*,resnet18*"; `weights` are the
    user's own, as ARCHITECTURE@FILE. `folder` is the cache folder. Raises OptionError where a pattern fits
    nothing.
    """
    own = _tell_apart([user_entry(*_parse_weights(text)) for text in weights])
    named = {entry.id: entry for entry in [*_match(patterns), *own]}
    facts = _Facts(cache_folder(folder))
    kept, skipped = [], []
    for n_done, entry in enumerate(named.values()):
        progress("looking through the catalogue, backbones", n_done, len(named))
        reason = limits.refuse(entry)
        if reason is None and entry.n_parameters is None:
            try:
                entry = facts.complete(entry)
                reason = limits.refuse(entry)
            except BackboneError as error:
                reason = str(error)
        if reason is None:
            kept.append(entry)
        else:
            skipped.append(Unreadable(entry.id, reason))
    facts.write()
    if patterns == "bundled":
        missing = [e for e in bundled_entries() if e.is_convolutional and not e.is_available]
        skipped += [Unreadable(e.id, "its weights are not on this machine") for e in missing]
    return tuple(kept), tuple(skipped)


@cache
def timm_entries() -> tuple[BackboneEntry, ...]:
    """Every pretrained image backbone of timm, by name; counts only where timm states them (it does not)."""
    return tuple(
        entry for name in timm.list_models(pretrained=True) if (entry := _timm_entry(name)) is not None
    )


def user_entry(architecture: str, file: Path) -> BackboneEntry:
    """The user's own weights for a network that timm can build. Raises BackboneError, OptionError.

    Preprocessing is that of timm's default weights of the architecture.
    """
    if not timm.is_model(architecture.partition(".")[0]):
        hint = nearest_hint(architecture, timm.list_models())
        raise OptionError(f"timm has no architecture {architecture!r}{hint}")
    if not file.is_file():
        raise BackboneError(f"{file} is not there; {option('--weights')} wants ARCHITECTURE@FILE")
    config = timm.get_pretrained_cfg(architecture) or timm.models.PretrainedCfg()
    return BackboneEntry(
        id=f"{architecture}@{file.stem}",
        architecture=architecture,
        source=f"file:{file.resolve()}",
        licence=_NOT_STATED,
        preprocessing=_preprocessing(config),
        n_parameters=None,
        n_depths=None,
        is_convolutional=None,
        is_available=True,
        weights_path=file.resolve(),
        weights_digest=read_digest(file),
    )


def _tell_apart(entries: Sequence[BackboneEntry]) -> list[BackboneEntry]:
    """The same, with the beginning of the digest in the ids of different files that would share one."""
    digests_of: dict[str, set[str]] = {}
    for entry in entries:
        digests_of.setdefault(entry.id, set()).add(entry.weights_digest)
    return [
        replace(entry, id=f"{entry.id}-{entry.weights_digest[:8]}")
        if len(digests_of[entry.id]) > 1
        else entry
        for entry in entries
    ]


def _parse_weights(text: str) -> tuple[str, Path]:
    architecture, at, file = text.partition("@")
    if not at or not architecture or not file:
        raise OptionError(
            f"{option('--weights')} is '{text}'; give ARCHITECTURE@FILE, such as resnet18@weights.safetensors"
        )
    return architecture, Path(file).expanduser()


def _match(patterns: str) -> list[BackboneEntry]:
    """Entries in the order of the catalogue: those of packages first, then timm's."""
    if patterns == "bundled":
        return list(default_entries())
    everything = [e for e in bundled_entries() if e.is_available] + list(timm_entries())
    if patterns == "all":
        return everything
    wanted = [p for p in (part.strip() for part in patterns.split(",")) if p]
    chosen: dict[str, BackboneEntry] = {}
    for pattern in wanted:
        found = default_entries() if pattern == "bundled" else [e for e in everything if _fits(e.id, pattern)]
        if not found:
            missing = next((e for e in bundled_entries() if _fits(e.id, pattern)), None)
            where = (
                f"; its weights come with the package {missing.source.partition(':')[2]}" if missing else ""
            )
            known = ["bundled", "all", *(e.id for e in everything)]
            where += "" if missing else nearest_hint(pattern, known)
            raise OptionError(
                f"no backbone is named '{pattern}'{where}; list them with: flawmap zoo --backbones all "
                "(Python: flawmap.zoo('all'))"
            )
        chosen.update((e.id, e) for e in found)
    return list(chosen.values())


def _fits(name: str, pattern: str) -> bool:
    """Whole ids, or ids without the tag of their weights ("resnet18" fits "resnet18.a1_in1k")."""
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.partition(".")[0], pattern)


def _timm_entry(name: str) -> BackboneEntry | None:
    config = timm.get_pretrained_cfg(name)
    if config is None or config.input_size[0] != 3:
        return None
    return BackboneEntry(
        id=name,
        architecture=name,
        source="timm",
        licence=(config.license or _NOT_STATED),
        preprocessing=_preprocessing(config),
        n_parameters=None,
        n_depths=None,
        is_convolutional=None,
        is_available=is_fetched(config),
    )


def _preprocessing(config: Any) -> Preprocessing:
    """As published; a size that is not fixed is rounded to the nearest multiple of 32, upwards at a tie."""
    height, width = config.input_size[1:]
    if not config.fixed_input_size:
        height, width = (int(side / INPUT_MULTIPLE + 0.5) * INPUT_MULTIPLE for side in (height, width))
    interpolation = config.interpolation if config.interpolation in ("bilinear", "bicubic") else "bicubic"
    return Preprocessing((height, width), tuple(config.mean), tuple(config.std), interpolation)


class _Facts:
    """Parameters, depths and kind of timm networks, counted once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "backbones" / f"timm-{timm.__version__}-{torch.__version__}.json"
        try:
            self.known: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.known = {}
        self.n_new = 0

    def complete(self, entry: BackboneEntry) -> BackboneEntry:
        """The entry with its counts. Raises BackboneError for a network that cannot be used."""
        key = f"{entry.architecture.partition('.')[0]}|{entry.preprocessing.input_hw}"
        if key not in self.known:
            self.known[key] = _count(entry)
            self.n_new += 1
            if self.n_new % _WRITE_EVERY == 0:
                self.write()
        found = self.known[key]
        if "error" in found:
            raise BackboneError(found["error"])
        return replace(entry, **found)

    def write(self) -> None:
        if self.n_new:
            write_file(self.path, json.dumps(self.known, indent=0, sort_keys=True))


def _count(entry: BackboneEntry) -> dict[str, Any]:
    try:
        network = build_network(entry, "meta")
        is_convolutional = _is_convolutional(network, *entry.preprocessing.input_hw)
        n_depths = count_depths(network)
        backbone = cut_backbone(network, entry, None).to("meta")
        with torch.no_grad():
            backbone(torch.zeros(1, 3, *entry.preprocessing.input_hw, device="meta"), range(n_depths))
        return {
            "n_parameters": sum(p.numel() for p in backbone.parameters()),
            "n_depths": n_depths,
            "is_convolutional": is_convolutional,
        }
    except Exception as error:  # networks fail in their own ways; the walk goes on
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        return {"error": f"it cannot be used as a backbone ({reason})"}


def _is_convolutional(network: Any, height: int, width: int) -> bool:
    """Whether a larger photo gives a larger map, and no layer relates positions by attention."""
    for module in network.modules():
        kind = type(module)
        is_gate = kind.__module__.rpartition(".")[2] in _CHANNEL_GATES
        if ("Attention" in kind.__name__ or "Attn" in kind.__name__) and not is_gate:
            return False
    if any(isinstance(m, nn.MultiheadAttention) for m in network.modules()):
        return False
    try:
        with torch.no_grad():
            small = network.forward_features(torch.zeros(1, 3, height, width, device="meta"))
            large = network.forward_features(torch.zeros(1, 3, height + 64, width + 128, device="meta"))
    except Exception:  # a fixed size shows itself as any error
        return False
    return small.ndim == 4 and large.ndim == 4 and large.numel() > small.numel()
