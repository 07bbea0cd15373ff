"""Run a model folder without a training framework: ONNX Runtime, OpenVINO or LiteRT, as they are installed.

A photo's answer never depends on its neighbours: every photo is a batch of its own, computed on one thread,
and several photos run at once. So the answers are the same bits however many photos, threads or workers there
are, and this is no slower than sharing the cores between the operators of one large batch.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from flawmap.errors import BundleError, OptionError, require_extra
from flawmap.records import Answer, FileKind, ModelSpec, Precision
from flawmap.tools import scores
from flawmap.tools.bundle import Bundle
from flawmap.tools.devices import Device, onnx_providers, openvino_device, openvino_hint
from flawmap.tools.files import cache_folder
from flawmap.tools.options import Options
from flawmap.tools.preprocess import check_images, fit_image, to_batch
from flawmap.tools.words import join_labels

Runtime = Literal["onnxruntime", "openvino", "litert"]
RUNTIME_OF: dict[FileKind, Runtime] = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "litert"}
Network = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(n, 3, h, w) float32 RGB 0..255 → features (n, k, h', w'), logits (n, labels); threads may share it."""
MaskNetwork = Callable[[np.ndarray], np.ndarray]
"""(n, 3, h, w) float32 RGB 0..255, sides multiples of 32 → logits (n, labels, h, w); threads may share it."""
_Run = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class RuntimeOptions(Options):
    """How a model file is run. In float32 no option changes an answer by more than the runtimes differ (about
    1e-5); a reduced precision is that of a model folder which was checked in it.
    """

    runtime: Runtime | None = None
    """None: the one that the model folder was made for."""
    n_threads: int | None = None
    """Photos computed at once, one thread each; None: as many as the process may use cores."""
    cache: Path | None = None
    """Folder in which OpenVINO keeps compiled models; None: $FLAWMAP_CACHE, else ~/.cache/flawmap."""
    device: Device = "cpu"
    """gpu: a graphics card, through what is installed for it; answers then differ by its own rounding."""
    precision: Precision = "float32"
    """In which the file computes; for_bundle() takes it from the model folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_threads is not None and self.n_threads < 1:
            raise OptionError(f"n_threads is {self.n_threads}; 1 or more was wanted, or none")

    def for_bundle(self, bundle: Bundle) -> RuntimeOptions:
        """With the runtime and the precision of a model folder.

        Raises OptionError for a runtime other than the one in which a translated file was checked.
        """
        form = bundle.spec.form
        own = RUNTIME_OF[form.kind]
        wanted = self.runtime or own
        if wanted != own and (not form.is_plain or wanted == "litert"):
            raise OptionError(
                f"{bundle.folder} holds {form.kind} files in {form.precision}, which are run by {own}; got "
                f"{wanted}. Leave the runtime out, or write a folder for {wanted} with 'flawmap export'."
            )
        return replace(self, runtime=wanted, precision=form.precision)


DEFAULT_OPTIONS = RuntimeOptions()


@dataclass(frozen=True)
class Predictions:
    """Answers for n images, as parallel arrays in the order of the images; gone through, an Answer each."""

    labels: tuple[str, ...]
    probabilities: np.ndarray
    """(n, n_labels) float: calibrated; rows sum to 1 unless photos carry several labels."""
    printed: np.ndarray
    """(n, n_labels) uint8: the label that is printed, or the labels where a photo may carry several."""
    scores: np.ndarray
    """(n,) float: probability of the printed label (the likeliest of several; of none: 1 - flaw score)."""
    flaw_scores: np.ndarray
    """(n,) float: probability of any flaw; with several labels per photo, of the likeliest flaw."""
    review: np.ndarray | None
    """(n,) bool: the flaw score lies in the band in which a person should look; None where no label is
    good, so that there is no such band."""

    def __post_init__(self) -> None:
        shape = (len(self.flaw_scores), len(self.labels))
        review = self.flaw_scores if self.review is None else self.review
        if self.probabilities.shape != shape or self.printed.shape != shape or len(review) != shape[0]:
            raise ValueError(
                f"wanted probabilities and printed {shape}; got {self.probabilities.shape} and "
                f"{self.printed.shape}"
            )

    def __len__(self) -> int:
        return len(self.flaw_scores)

    def __iter__(self) -> Iterator[Answer]:
        """Each image's answer by itself, as models that give masks say it."""
        for i, text in enumerate(self.texts):
            yield Answer(
                label=text,
                score=float(self.scores[i]),
                flaw_score=float(self.flaw_scores[i]),
                review=None if self.review is None else bool(self.review[i]),
                probabilities=dict(zip(self.labels, self.probabilities[i].tolist(), strict=True)),
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """The printed label of each image; several are joined by ";", none is ""."""
        return tuple(join_labels(self.labels, row) for row in self.printed)


def to_predictions(logits: np.ndarray, spec: ModelSpec) -> Predictions:
    """(n, n_labels) raw logits of the model file → calibrated answers, as every command prints them."""
    t, is_flaw, is_multilabel = spec.thresholds, spec.is_flaw_label, spec.is_multilabel
    probabilities = scores.to_probabilities(logits, t.temperature, is_multilabel)
    printed = scores.printed_labels(probabilities, t.threshold, is_flaw, is_multilabel)
    flaw_scores = scores.to_flaw_scores(probabilities, is_flaw, is_multilabel)
    review = scores.needs_review(flaw_scores, t.review_low, t.review_high) if spec.can_be_good else None
    return Predictions(
        labels=spec.labels,
        probabilities=probabilities,
        printed=printed,
        scores=scores.printed_scores(probabilities, printed, is_flaw, is_multilabel),
        flaw_scores=flaw_scores,
        review=review,
    )


class Model(Protocol):
    """What prediction asks of a model folder, whatever its task."""

    bundle: Bundle
    spec: ModelSpec
    n_threads: int

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB of any size → what `answer` needs of it, as small as may be."""
        ...

    def answer(self, prepared: np.ndarray) -> Answer:
        """What the model says; threads may call it at once."""
        ...


class Classifier:
    """A model folder, ready to answer. Safe to use from several threads."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions = DEFAULT_OPTIONS) -> None:
        """Loads the file. Raises BundleError, or MissingExtraError where OpenVINO is wanted and not here."""
        self.bundle = bundle
        self.spec = bundle.spec
        self.options = options.for_bundle(bundle)
        self.n_threads = options.n_threads or n_usable_cores()
        self._network = open_network(bundle.model_path, self.options)

    def run(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One (H, W, 3) uint8 RGB image of any size → features (k, h', w') and logits (n_labels,) float32."""
        features, logits = self._network(to_batch([fit_image(image, self.spec.preprocessing)]))
        return features[0], logits[0]

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The image at the size of the network's input."""
        return fit_image(image, self.spec.preprocessing)

    def answer(self, prepared: np.ndarray) -> Answer:
        """What is printed of one image."""
        return next(iter(to_predictions(self.run(prepared)[1][None], self.spec)))

    def outputs(self, images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Images as for run() → features (n, k, h', w') and logits (n, n_labels)."""
        found = list(self.map(self.run, images))
        if not found:
            raise ValueError("wanted at least one image; got none")
        return np.stack([f for f, _ in found]), np.stack([logits for _, logits in found])

    def logits(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Images as for run() → (n, n_labels) float32 raw logits (see to_predictions for their meaning)."""
        found = list(self.map(lambda image: self.run(image)[1], images))
        return np.stack(found) if found else np.zeros((0, len(self.spec.labels)), np.float32)

    def predict(self, images: Iterable[np.ndarray]) -> Predictions:
        """Images as for run() → labels and calibrated scores, all at once: arrays, or an Answer each."""
        return to_predictions(self.logits(check_images(images)), self.spec)

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """work(item) for every item on the classifier's threads; results in order, items drawn as needed."""
        return map_ordered(work, items, self.n_threads)


def map_ordered(work: Callable[[Any], Any], items: Iterable[Any], n_threads: int) -> Iterator[Any]:
    """Like map(), on threads; at most four items per thread are drawn ahead, so memory stays bounded."""
    if n_threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque[Any] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 4 * n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def n_usable_cores() -> int:
    """Cores that this process may use, which on shared machines is fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_network(model: Path | bytes, options: RuntimeOptions = DEFAULT_OPTIONS) -> Network:
    """A classifier's file as a function of a batch. Raises BundleError for any other file."""
    run = _open(model, options, ("features", "logits"))

    def answer(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features, logits = run(batch)
        return features, logits

    return answer


def open_masks(model: Path | bytes, options: RuntimeOptions = DEFAULT_OPTIONS) -> MaskNetwork:
    """A segmenter's file as a function of a batch. Raises BundleError for any other file."""
    run = _open(model, options, ("masks",))
    return lambda batch: run(batch)[0]


def open_maps(segment: Any, options: RuntimeOptions = DEFAULT_OPTIONS) -> MaskNetwork:
    """The network of a tools.segments.Segment as a function: (n, c, h, w) float32 → (n, k, h', w')."""
    run = _open(segment, options, ("maps",))
    return lambda batch: run(batch)[0]


def _open(model: Path | bytes, options: RuntimeOptions, outputs: Sequence[str]) -> _Run:
    openers = {"openvino": _open_openvino, "litert": _open_litert}
    return openers.get(options.runtime or "", _open_onnxruntime)(model, options, outputs)


def _open_onnxruntime(model: Path | bytes, options: RuntimeOptions, outputs: Sequence[str]) -> _Run:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.use_deterministic_compute = True
    if "maps" in outputs:
        # One photo passes many sessions; each would keep what its largest piece ever needed.
        _share_memory()
        settings.add_session_config_entry("session.use_env_allocators", "1")
    settings.log_severity_level = 3  # warnings about the graph are of no use to a user
    content = model if isinstance(model, bytes) else str(model)
    providers = onnx_providers(options.device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(content, settings, providers=providers)
    except Exception as error:  # its exceptions share no base but Exception
        raise _unreadable(model, error) from error
    named = [o.name for o in session.get_outputs()]
    _check_names([i.name for i in session.get_inputs()], named, outputs, model)

    def run(batch: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(found) for found in session.run(list(outputs), {"image": batch})]

    return run


@cache
def _share_memory() -> None:
    """One arena for all segments. Without one every layer would have its pages from the system anew, which
    doubles the time."""
    import onnxruntime

    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    doubling, by_default = 0, -1  # growth by exact sizes leaves gaps that nothing else fits into
    limits = {
        "max_mem": 0,
        "arena_extend_strategy": doubling,
        "initial_chunk_size_bytes": by_default,
        "max_dead_bytes_per_chunk": by_default,
    }
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(limits))


def _open_openvino(model: Path | bytes, options: RuntimeOptions, outputs: Sequence[str]) -> _Run:
    require_extra("openvino", "openvino")
    from flawmap.tools.openvino_import import import_openvino

    openvino = import_openvino()
    core = openvino.Core()
    device = openvino_device(options.device, core.available_devices)
    n_threads = options.n_threads or n_usable_cores()
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": openvino_hint(options.precision, device),
        "NUM_STREAMS": n_threads,
        "CACHE_DIR": str(cache_folder(options.cache) / "openvino"),
    }
    if device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = n_threads
    try:
        network = core.read_model(model) if isinstance(model, bytes | Path) else model
        compiled = core.compile_model(network, device, settings)
    except RuntimeError as error:
        raise _unreadable(model, error) from error
    named = [o.any_name for o in compiled.outputs]
    _check_names([i.any_name for i in compiled.inputs], named, outputs, model)
    own = threading.local()  # a request holds its buffers, so each thread has its own

    def run(batch: np.ndarray) -> list[np.ndarray]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        own.request.infer({"image": batch})
        return [own.request.get_tensor(name).data.copy() for name in outputs]

    return run


def _open_litert(model: Path | bytes, options: RuntimeOptions, outputs: Sequence[str]) -> _Run:
    """A .tflite file takes photos one at a time, each of the one size that it was made for."""
    require_extra("ai_edge_litert", "litert")
    from ai_edge_litert.interpreter import Interpreter

    if options.device != "cpu":
        raise OptionError(
            "LiteRT runs on the processor here; leave the device out, or choose another runtime"
        )
    given: dict[str, Any] = (
        {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    )
    own = threading.local()  # an interpreter holds its buffers, so each thread has its own

    def opened() -> Any:
        if not hasattr(own, "runner"):
            own.interpreter = Interpreter(**given, num_threads=1)
            own.runner = own.interpreter.get_signature_runner()
        return own.runner

    try:
        first = opened()
        inputs, named = list(first.get_input_details()), list(first.get_output_details())
    except (ValueError, RuntimeError) as error:
        raise _unreadable(model, error) from error
    _check_names(inputs, named, outputs, model)
    wanted = tuple(int(side) for side in first.get_input_details()["image"]["shape"])

    def run(batch: np.ndarray) -> list[np.ndarray]:
        if batch.shape[1:] != wanted[1:]:
            raise BundleError(
                f"a LiteRT file takes photos of one size: wanted {wanted[1:]}; got {batch.shape[1:]}. Use "
                "the ONNX or OpenVINO form for other sizes."
            )
        found = [opened()(image=one[None]) for one in batch]
        return [np.concatenate([one[name] for one in found]) for name in outputs]

    return run


def _check_names(
    inputs: Sequence[str], outputs: Sequence[str], wanted: Sequence[str], model: Path | bytes
) -> None:
    if list(inputs) != ["image"] or not set(wanted) <= set(outputs):
        raise _unreadable(model, f"its inputs are {list(inputs)} and its outputs {list(outputs)}")


def _unreadable(model: Path | bytes, why: object) -> BundleError:
    name = "the model file" if isinstance(model, bytes) else str(model)
    reason = str(why).strip().splitlines()[0] if str(why).strip() else "no reason given"
    return BundleError(f"{name} is no model that flawmap can run ({reason}). Export the model again.")
