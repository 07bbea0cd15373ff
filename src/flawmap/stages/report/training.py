"""The report's section on the training: its curves, the contenders, and the rule that chose among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flawmap.records import PHASE_OF_CONTENDER, Epoch
from flawmap.stages.report.facts import ReportFacts, RunFacts
from flawmap.stages.report.training_curves import epoch_name, epochs_chart, phase_words
from flawmap.stages.report.wording import is_number, listed, number, plural
from flawmap.tools.scores import state_rank

CONTENDERS = {
    "untrained": "Untrained head",
    "probe": "Linear probe of the ranking",
    "head": "Head trained with augmentation",
    "fine-tuned": "Fine-tuned",
}

_JUMP = (
    "The head learns from a few fixed views of each photo, fine-tuning from a new one in every epoch: "
    "a training loss that jumps from the one to the other is no fault."
)
_NEARLY_EVEN = 1.1
"""Class weights whose ratio is no larger are not worth a sentence."""


def training_section(facts: ReportFacts) -> dict[str, Any]:
    """Curves, contenders and the winner; plain sentences where nothing was trained."""
    winner = facts.spec.winner
    kept = kept_epoch(facts.history, winner)
    contenders = [
        {
            "name": CONTENDERS.get(key, key),
            "f1": number(figures.get("f1"), 4),
            "loss": number(figures.get("loss"), 4),
            "won": key == winner,
        }
        for key, figures in facts.contenders.items()
    ]
    return {
        "chart": training_chart(facts.history, facts.contenders, winner),
        "contenders": contenders,
        "winner": CONTENDERS.get(winner, winner),
        "tie": _tie(facts.contenders, winner),
        "won_untouched": bool(facts.history) and winner not in PHASE_OF_CONTENDER,
        "n_validation": plural(len(facts.split.validation), "photo"),
        "epochs": plural(len(facts.history), "epoch"),
        "jump": _JUMP if len({e.phase for e in facts.history}) > 1 else "",
        "phases": ", then ".join(dict.fromkeys(phase_words(e.phase) for e in facts.history)),
        "kept": "" if kept is None else epoch_name(facts.history, kept),
        "weights": _weights(facts),
        "refit": refit_words(facts),
    }


def refit_words(facts: RunFacts) -> str:
    """What came after everything was chosen on the validation part; empty where nothing did."""
    if not facts.refit:
        return ""
    return (
        f"Once everything was chosen on the validation part, these photos were learnt too, {facts.refit}: "
        "that is what shipped and what the test part judges. Validation figures are of the state before."
    )


def kept_epoch(history: Sequence[Epoch], winner: str) -> int | None:
    """Place in the history of the epoch that shipped: the best of the winner's own phase, the earliest of
    equals; None where what shipped was not trained in epochs."""
    own = [i for i, epoch in enumerate(history) if epoch.phase == PHASE_OF_CONTENDER.get(winner)]
    return max(
        own, key=lambda i: state_rank(history[i].validation_f1, history[i].validation_loss), default=None
    )


def _tie(contenders: Mapping[str, Mapping[str, float]], winner: str) -> str:
    """What decided where the winner's validation F1 was not the only one so high; else empty."""
    ranks = {
        key: state_rank(figures["f1"], figures["loss"])
        for key, figures in contenders.items()
        if is_number(figures.get("f1")) and is_number(figures.get("loss"))
    }
    if winner not in ranks:
        return ""
    equal = [key for key in ranks if key != winner and ranks[key][0] == ranks[winner][0]]
    if not equal:
        return ""
    names = listed([f"“{CONTENDERS.get(key, key)}”" for key in equal])
    is_simpler = any(ranks[key] == ranks[winner] for key in equal)
    return f"Here its F1 equals that of {names}: {'it is the simpler' if is_simpler else 'the loss decided'}."


def _weights(facts: ReportFacts) -> str:
    weights = facts.class_weights
    if len(weights) != len(facts.spec.labels) or max(weights) <= _NEARLY_EVEN * min(weights):
        return ""
    ranked = sorted(zip(weights, facts.spec.labels, strict=True))
    if len(ranked) > 6:
        (least, common), (most, rare) = ranked[0], ranked[-1]
        ends = f"from {least:.2f} ({common}) to {most:.2f} ({rare})"
        return f"Photos of rare classes weighed more in training: {ends}."
    pairs = [f"{label} {w:.2f}" for label, w in zip(facts.spec.labels, weights, strict=True)]
    return f"Photos of rare classes weighed more in training: {listed(pairs)}."


def training_chart(
    history: Sequence[Epoch], contenders: Mapping[str, Mapping[str, float]], winner: str
) -> str:
    """Loss and validation F1 over the epochs of all phases, the kept epoch ringed; the F1 of contenders that
    were not trained in epochs are dashed lines."""
    if not history:
        return ""
    levels = {
        f"{name} {contenders[name]['f1']:.3f}{', shipped' * (name == winner)}": float(contenders[name]["f1"])
        for name in ("probe", "untrained")
        if is_number(contenders.get(name, {}).get("f1"))
    }
    return epochs_chart(history, kept_epoch(history, winner), f"shipped: {winner or 'unknown'}", levels)
