"""What the commands print: plain lines, each with a figure and what it stands beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flawmap.errors import option, some_of
from flawmap.pipeline.seen_sources import rows_of_seen_sources
from flawmap.records import (
    Audit,
    Candidate,
    Dataset,
    Evaluation,
    ModelSpec,
    Ranking,
    Split,
    Survey,
    TrainedModel,
    TrainedSegmenter,
    Unreadable,
)
from flawmap.stages.predict import LARGE_TIMES, PredictionRow, PredictSummary
from flawmap.stages.report import copies_note, position_note, scale_note
from flawmap.tools.bootstrap import LOWER_IS_BETTER, no_interval
from flawmap.tools.bundle import Bundle
from flawmap.tools.words import counted, held_back_words, kin_words, shared_words
from flawmap.tools.zoo import BackboneEntry

if TYPE_CHECKING:
    from flawmap.pipeline.preparing import Prepared

_LISTED = 10
_N_SIZES = 3


def evaluation_lines(evaluation: Evaluation, title: str, origin: str) -> tuple[str, ...]:
    """The main figures with their intervals, the trivial answer, and every note."""
    m = evaluation.metrics
    rows = [
        ("F1", "f1"),
        ("macro F1", "macro_f1"),
        ("accuracy", "accuracy"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("AUROC", "auroc"),
        ("average precision", "average_precision"),
        ("escape rate", "escape_rate"),
        ("overkill rate", "overkill_rate"),
    ]
    lines = [f"{title}: {counted(m['n'], 'photo')} {origin}"]
    for title, key in rows:
        if m.get(key) is not None:
            trivial = m["trivial"].get(key)
            beside = f"   trivial answer {trivial:.3f}" if trivial is not None else ""
            lines.append(f"  {title:<18}{m[key]:.3f}{interval_words(m, key)}{beside}")
    lines += [f"  {claim['text']}" for claim in m.get("claims", ())]
    lines += [f"  note: {note}" for note in m.get("notes", ())]
    return tuple(lines)


def interval_words(metrics: dict[str, Any], key: str) -> str:
    low_high = metrics.get("interval95", {}).get(key)
    if not low_high or low_high[0] is None:
        return ""
    low, high = low_high
    why = no_interval(low_high, 1.0 - (key in LOWER_IS_BETTER), metrics.get("n_groups"))
    return f"  {why or f'[{low:.3f}, {high:.3f}]'}"


def refit_words(model: TrainedModel | TrainedSegmenter) -> str:
    return f"; then it learnt the validation photos too, {model.refit}" if model.refit else ""


def prediction_lines(rows: Sequence[PredictionRow]) -> tuple[str, ...]:
    """One line per readable photo, as a table."""
    width = max((len(row.path) for row in rows), default=4)
    lines = [f"{'path':<{width}}  {'score':>6}  {'flaw':>6}  review  label"]
    for row in rows:
        if not row.error:
            review = "yes" if row.review else ""
            lines.append(
                f"{row.path:<{width}}  {row.score:6.3f}  {row.flaw_score:6.3f}  {review:<6}  {row.label}"
            )
    return tuple(lines)


def prediction_summary_lines(summary: PredictSummary, out: Path | str) -> tuple[str, ...]:
    """Photos per label, and how many a person should look at."""
    counts = [f"{n:,} {label}" for label, n in sorted(summary.counts.items()) if label]
    if summary.counts.get(""):
        counts.append(f"{summary.counts['']:,} without a label")
    if summary.errors:
        counts.append(f"{len(summary.errors):,} not readable")
    review = "" if summary.n_review is None else f"; {summary.n_review:,} for a person to look at"
    head = f"{counted(summary.n_photos, 'photo')}: {', '.join(counts)}{review}"
    return (head, f"wrote {out}")


def large_photos_lines(n_large: int, spec: ModelSpec) -> tuple[str, ...]:
    """What predict says of photos that a classifier saw made small, below what it was trained on."""
    if not n_large:
        return ()
    which = "1 photo is" if n_large == 1 else f"{n_large:,} photos are"
    height, width = spec.tile_hw
    inspecting = "look for flaws in it with 'flawmap inspect'"
    remedy = inspecting if spec.can_be_good else "give it tiles of that size"
    return (
        f"{which} over {LARGE_TIMES} times as large as those that the model was trained on ({width}×{height} "
        f"px), and one label for a whole photo says little; {remedy}",
    )


def dataset_lines(dataset: Dataset, audit: Audit) -> tuple[str, ...]:
    """What is in the folder and what is wrong with it."""
    counts = ", ".join(f"{n:,} {label}" for label, n in audit.class_counts.items())
    good = f"good: {', '.join(dataset.good_labels)}"
    if not dataset.good_labels and dataset.is_multilabel:
        good = f"{int((~dataset.is_flawed).sum()):,} good"
    elif not dataset.good_labels:
        good = f"good: none (if a label is, name it: {option('--good')})"
    remedy = f"; if you know them, give {option('--group-by')}" if audit.are_groups_found else ""
    lines = [
        f"{counted(len(dataset), 'photo')} in {dataset.root} ({counts}); {good}; {dataset.layout}",
        f"  {counted(len(set(audit.groups)), 'source')} ({audit.group_origin}){remedy}",
    ]
    problems = [
        (len(dataset.unreadable), "file", "that cannot be used"),
        (len(audit.exact_duplicates), "set", "of exact duplicates"),
        (len(audit.conflicting_duplicates), "set", "of duplicates with conflicting labels"),
        (len(audit.near_duplicates), "pair", "of near duplicates"),
        (len(audit.leaks), "photo", "in two given parts"),
        (len(audit.shared_groups), "source", "in several given parts"),
        (len(audit.label_suspects), "label", "to look at again"),
    ]
    found = [f"{counted(n, what)} {more}" for n, what, more in problems if n]
    lines.append("  " + ("; ".join(found) if found else "no problems found"))
    return tuple(lines)


def picture_lines(audit: Audit) -> tuple[str, ...]:
    """How large and how bright the photos are."""
    sizes = [f"{size} ({counted(n, 'photo')})" for size, n in audit.summary["sizes"].items()]
    more = audit.summary["n_sizes"] - _N_SIZES
    told = ", ".join(sizes[:_N_SIZES]) + (f" and {counted(more, 'other size')}" if more > 0 else "")
    light = audit.summary["brightness"]
    most = f"{light['p5']:.0f} to {light['p95']:.0f} for nine in ten photos"
    return (f"  width × height: {told}; median brightness {light['median']:.0f} of 255, {most}",)


def split_lines(prepared: Prepared) -> tuple[str, ...]:
    """Photos and sources of each part, what of them is uneven, and how far given parts are kin."""
    uneven = prepared.split.uneven
    return (split_line(prepared.split), *((f"  {uneven}",) if uneven else ()), *_shared_lines(prepared))


def _shared_lines(prepared: Prepared) -> tuple[str, ...]:
    """Given parts are kept as they are; that they share sources has to be said."""
    audit, split = prepared.audit, prepared.split
    if not audit.shared_groups:
        return ()
    rows, learnt = split.test.tolist(), set(prepared.training_digests)
    n = len(rows_of_seen_sources(prepared.dataset, rows, split.groups, learnt))
    of_test = f"of {counted(len(rows), 'test photo')} "
    kin = (
        f"{of_test}{kin_words(n, audit.are_groups_found)}: the figures flatter"
        if n
        else "none in the test part"
    )
    return (f"  {shared_words(len(audit.shared_groups), audit.are_groups_found)}; {kin}",)


def split_line(split: Split) -> str:
    """Photos and sources of each part."""
    parts = []
    for name, rows in (("train", split.train), ("validation", split.validation), ("test", split.test)):
        n_groups = len({split.groups[row] for row in rows})
        parts.append(f"{name} {len(rows):,} ({counted(n_groups, 'source')})")
    left_out = f"; {len(split.left_out):,} left out of training" if len(split.left_out) else ""
    return f"  split: {', '.join(parts)}{left_out}"


def ranking_lines(ranking: Ranking, top: int) -> tuple[str, ...]:
    """The best candidates as a table, the choice, the control, and what was skipped."""
    head = (
        f"  {'backbone':<28}{'depth':>6}  {'pooling':<16}{'MB':>7}{'MMACs':>8}{'ms':>7}{'F1':>8}{'± se':>8}"
    )
    shown = ranking.choosable[:top]
    rows = [_candidate_line(c, ranking) for c in shown]
    if ranking.chosen not in shown:
        rows.append(_candidate_line(ranking.chosen, ranking))
    control = ranking.control
    lines = [
        head,
        *rows,
        f"chosen (*): {ranking.why}",
        *_deeper_lines(ranking),
        f"control, last layer with average pooling: {control.backbone_id}, F1 {control.f1:.3f}",
        *skipped_lines(ranking.skipped),
    ]
    return tuple(lines)


def _deeper_lines(ranking: Ranking) -> tuple[str, ...]:
    one = ranking.deeper
    if one is None:
        return ()
    return (f"train also fine-tunes a deeper cut, which may learn more: {one.backbone_id}, {one.cut.words}",)


def _candidate_line(c: Candidate, ranking: Ranking) -> str:
    mark = "*" if c is ranking.chosen or c == ranking.chosen else " "
    return (
        f"{mark} {c.backbone_id:<28}{c.cut.depth:>6}  {c.cut.pooling:<16}{c.cost.n_bytes / 1e6:>7.1f}"
        f"{c.cost.macs / 1e6:>8.0f}{c.ms_per_photo:>7.1f}{c.f1:>8.4f}{c.standard_error:>8.4f}"
    )


def audit_lines(audit: Audit) -> tuple[str, ...]:
    """The problems one by one, at most ten of a kind."""
    kinds: list[tuple[str, list[str]]] = [
        ("exact duplicates", [" = ".join(names) for names in audit.exact_duplicates]),
        ("conflicting labels", [" = ".join(names) for names in audit.conflicting_duplicates]),
        ("near duplicates", [" ~ ".join(names) for names in audit.near_duplicates]),
        ("in two parts", [" = ".join(names) for names in audit.leaks]),
        (
            "labels to look at again",
            [f"{s.path}: {s.label}, looks like {s.suggested} ({s.score:.2f})" for s in audit.label_suspects],
        ),
    ]
    lines = []
    for title, found in kinds:
        if found:
            lines += [f"{title}:", *first_lines(found, "--json FILE (Python: .audit)")]
    return tuple(lines)


def first_lines(items: Sequence[str], place: str) -> list[str]:
    """The first items, a line each; then how many more there are, and in which place all are."""
    lines = [f"  {item}" for item in items[:_LISTED]]
    if len(items) > _LISTED:
        lines.append(f"  … and {len(items) - _LISTED:,} more; {place} lists all")
    return lines


def training_lines(
    prepared: Prepared,
    ranking: Ranking,
    model: TrainedModel,
    test: Evaluation,
    bundle: Bundle,
    run: Path,
) -> tuple[str, ...]:
    """The run in a screen: data, split, choice, contenders, the honest figures, where everything is."""
    best, spec = ranking.chosen, bundle.spec
    contenders = ", ".join(f"{name} {figures['f1']:.3f}" for name, figures in model.contenders.items())
    size_mb = bundle.model_path.stat().st_size / 1e6
    return (
        *dataset_lines(prepared.dataset, prepared.audit),
        *split_lines(prepared),
        f"chosen: {best.backbone_id}, {best.cut.words}, of {len(ranking.choosable)} candidates "
        f"(CV F1 {best.f1:.3f} ± {best.standard_error:.3f})",
        *((f"  {ranking.why}",) if ranking.deeper is not None else ()),
        *skipped_lines(ranking.skipped),
        f"shipped: {model.winner} (validation F1: {contenders}){refit_words(model)}",
        *evaluation_lines(test, "test", held_back_words(test.metrics)),
        f"model: {bundle.folder} ({size_mb:.1f} MB; {agreement_text(spec)})",
        f"report: {run / 'report.html'}",
    )


def agreement_text(spec: ModelSpec) -> str:
    """What the export check found."""
    found = spec.agreement
    photos = counted(found["n_photos"], "photo")
    return f"largest difference from the network {found['max_difference']:.1g} on {photos}"


def entry_record(entry: BackboneEntry) -> dict[str, Any]:
    """One catalogue entry as plain JSON."""
    return {
        "id": entry.id,
        "architecture": entry.architecture,
        "source": entry.source,
        "licence": entry.licence,
        "parameters": entry.n_parameters,
        "depths": entry.n_depths,
        "is_convolutional": entry.is_convolutional,
        "is_available": entry.is_available,
        "preprocessing": asdict(entry.preprocessing),
    }


def _of_rgb(values: Sequence[float]) -> str:
    """Of the three colours in 0..1; one figure where they share it."""
    return "/".join(f"{value:.2g}" for value in (values[:1] if len(set(values)) == 1 else values))


def skipped_lines(skipped: Sequence[Unreadable]) -> tuple[str, ...]:
    """Backbones that could not be had, each with the reason."""
    return tuple(f"skipped {item.path}: {item.reason}" for item in skipped)


def zoo_lines(entries: Sequence[BackboneEntry], skipped: Sequence[Unreadable]) -> tuple[str, ...]:
    """One line per backbone, then those passed over."""
    width = max((len(e.id) for e in entries), default=8)
    heads = f"{'M param.':>8}  {'depths':>6}  {'input':>9}  {'resized':<8}  {'mean, std':<30}  {'weights':<9}"
    lines = [f"{'id':<{width}}  {heads}  licence"]
    for e in entries:
        parameters = "?" if e.n_parameters is None else f"{e.n_parameters / 1e6:.2f}"
        height, width_px = e.preprocessing.input_hw
        here = "here" if e.is_available else "to fetch"
        depths = "?" if e.n_depths is None else str(e.n_depths)
        size = f"{height}x{width_px}"
        norm = f"{_of_rgb(e.preprocessing.mean)}, {_of_rgb(e.preprocessing.std)}"
        facts = f"{parameters:>8}  {depths:>6}  {size:>9}  {e.preprocessing.interpolation:<8}  {norm:<30}"
        lines.append(f"{e.id:<{width}}  {facts}  {here:<9}  {e.licence}")
    return tuple(lines) + skipped_lines(skipped)


def _why_ungraded(survey: Survey) -> str:
    have_scale = survey.which_have_scale  # of what was measured
    if any(have_scale) or not have_scale:
        return ", too short or too broad for a crack" + ", or without a scale" * (not all(have_scale))
    return f": a grade needs widths in mm, and no photo has a scale; give {option('--mm-per-px')}"


def survey_file(out: Path | str, name: str) -> str:
    """A file of a survey folder, which may be an address."""
    return f"{str(out).rstrip('/')}/{name}"


def survey_lines(
    survey: Survey,
    out: Path | str,
    without_region: Sequence[str] = (),
    passed_over: Mapping[str, int] | None = None,
) -> tuple[str, ...]:
    """What `inspect` prints: how much was found, what was not judged, where the reports lie.

    `without_region` are folders of photos for which none was given, where others had one; `passed_over` are
    folders of surveys, with the number of their pictures."""
    n_with = sum(bool(row.inspection.findings) for row in survey.rows)
    unread = f", {len(survey.unreadable)} not readable" if survey.unreadable else ""
    photos = counted(len(survey.rows), "photo")
    same = f", {counted(survey.n_flaws, 'flaw')}" if survey.n_flaws < survey.n_findings else ""
    lines = [f"{photos}: {n_with} with findings ({survey.n_findings} in all{same}){unread}"]
    if passed_over:
        pictures = counted(sum(passed_over.values()), "picture")
        lines.append(f"left out {pictures} of surveys among the photos: {some_of(sorted(passed_over), 3)}")
    if survey.overlaps is not None and survey.overlaps.n_pairs:
        matched, compared = survey.overlaps.n_matched, survey.overlaps.n_pairs
        lines.append(f"{matched} of {counted(compared, 'pair')} of neighbouring photos could be matched")
    if note := copies_note(survey):
        lines.append(note)
    if survey.not_assessable:
        lines.append(f"{len(survey.not_assessable)} could be read but not judged:")
        reasons = [f"{row.name}: {row.inspection.reason}" for row in survey.not_assessable]
        lines += first_lines(reasons, survey_file(out, "findings.json"))
    if without_region:
        n, names = counted(len(without_region), "folder"), some_of(list(without_region), 3)
        lines.append(f"{n} of photos without a region of interest, looked at in full: {names}")
    if note := scale_note(survey):
        lens = f"{option('--focal-mm')} and {option('--sensor-width-mm')}"
        is_lens = "lens" in note and not all(survey.which_have_scale)
        lines.append(f"scale: {note}{f'; give {lens}' if is_lens else ''}")
    if note := position_note(survey):
        lines.append(note)
    for row in survey.crowded[:5]:
        n = len(row.inspection.findings)
        lines.append(f"{row.name} has {n:,} findings: the model is probably not made for such photos")
    n_of = survey.count_grades()
    if n_of and survey.grades:
        told = [f"  {grade}: {n_of[grade]}" for grade in reversed(survey.grades) if grade in n_of]
        lines += ["flaws by grade, of their width alone:", *told]
        lines += [f"  not graded: {n_of['']}{_why_ungraded(survey)}"] if n_of.get("") else []
    report = survey_file(out, "report.html")
    lines.append(f"wrote {report}, report.pdf and findings (.json, .csv, .geojson, .xlsx, COCO)")
    return tuple(lines)
