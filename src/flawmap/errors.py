"""The exceptions a user can mend, and the exit code each one stands for.

Everything here is one line: what was found, what was wanted, how to mend it. Any other exception is a bug of
ours and keeps its traceback.
"""

from collections.abc import Collection, Iterable, Sequence


class FlawmapError(Exception):
    """Something the user has to change; the command line prints it as one line and exits with 2."""

    exit_code = 2


class PhotoError(FlawmapError):
    """A photo that cannot be read as it is; `str(error)` ends in the reason that reports and tables print."""


class MaskError(FlawmapError):
    """A mask that cannot be used as it is; `str(error)` is the reason that reports and tables print."""


class DatasetError(FlawmapError):
    """A folder or manifest that is not a data set, or holds too little to split honestly."""


class OptionError(FlawmapError):
    """An option, or a key of a configuration file, that is unknown or out of range."""


class ArgumentError(OptionError, TypeError):
    """Arguments that a function of flawmap does not have or lacks; to Python a TypeError, as ever."""


class BackboneError(FlawmapError):
    """A backbone whose weights are not here, do not fit or fail their digest."""


class BundleError(FlawmapError):
    """A model folder that is missing, incomplete or altered."""


class FetchError(FlawmapError):
    """A data set that cannot be fetched, does not have the digest it should, or cannot be unpacked."""


class AgreementError(FlawmapError):
    """An exported file that does not give the same answers as the network it was made from."""


class ServiceError(FlawmapError):
    """A service that does not answer, or refuses what it was asked; the message says why."""


class MissingExtraError(FlawmapError):
    """A command that needs a part of flawmap which is not installed."""


_IN_PYTHON = {
    "--archive": "archive=…",
    "--backbones": "options.backbones",
    "--cache": "options.embed.cache",
    "--calibrate": "options.forms.calibrate",
    "--cascade": "options.cascade",
    "--distance-m": "scale=ScaleOptions(distance_m=…)",
    "--exposure": "grading=GradingOptions(exposure=…)",
    "--focal-mm": "scale=ScaleOptions(focal_mm=…)",
    "--good": "options.dataset.good",
    "--group-by": "options.audit.group_by",
    "--json": "json_file=…",
    "--mask-threshold": "options.dataset.mask_threshold",
    "--marker-mm": "scale=ScaleOptions(marker_mm=…)",
    "--max-depth": "options.rank.max_depth",
    "--max-megapixels": "max_megapixels=…",
    "--mm-per-px": "scale=ScaleOptions(mm_per_px=…)",
    "--model": "model=…",
    "--number": "number=…",
    "--out": "out=…",
    "--masks": "masks=…",
    "--overwrite": "overwrite=True",
    "--part-by": "options.survey.part_by",
    "--overlay": "overlay=…",
    "--photo": "photo=…",
    "--resize-masks": "options.dataset.resize_masks",
    "--resume": "resume=True",
    "--turn-masks": "options.dataset.turn_masks",
    "--task": "options.task",
    "--to": "to=…",
    "--sensor-width-mm": "scale=ScaleOptions(sensor_width_mm=…)",
    "--size-mm": "size_mm=…",
    "--sha256": "sha256=…",
    "--unmasked-good": "options.dataset.unmasked_good",
    "--url": "url=…",
    "--weights": "options.weights",
}


def some_of(names: Sequence[str], most: int, between: str = ", ") -> str:
    """The first names, and how many follow: "a, b and 7 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is spelled most like this one, capitals aside; None where none is much like it."""
    import difflib

    lowered = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=cutoff)
    return lowered[near[0]] if near else None


def nearest_hint(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Such as "; did you mean 'x'?", where a known name is spelled much like this one; else nothing."""
    near = nearest(name, known, cutoff)
    return f"; did you mean '{near}'?" if near else ""


def known_hint(name: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """How to mend an unknown name: as nearest_hint(), else "; known are: " and all of them."""
    return nearest_hint(name, known, cutoff) or f"; known are: {', '.join(known)}"


def option(flag: str) -> str:
    """How a message names an option, for the command line and for Python alike."""
    return f"{flag} (Python: {_IN_PYTHON[flag]})"


def require_extra(module: str, extra: str | None = None) -> None:
    """Raise MissingExtraError, naming the install command, unless `module` can be imported.

    `extra` is the part of flawmap that brings it; None: none does, and the module is installed by its name.
    """
    import importlib.util
    import sys

    # What another thread is just importing may have no specification yet, which find_spec() refuses.
    if sys.modules.get(module) is None and importlib.util.find_spec(module) is None:
        wanted = module if extra is None else f"'flawmap[{extra}]'"
        raise MissingExtraError(
            f"this needs '{module}', which is not installed. Install it with: pip install {wanted}"
        )
