"""Compressors: exact both ways, lazily found, missing with a hint."""

import importlib

import numpy as np
import pytest

from owners.compress import COMPRESSORS, compressor
from pinpage.errors import PinpageError


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("noise", [0, 700, 4096])
def test_a_page_comes_back_exactly(name, noise):
    if name != "zlib":
        pytest.importorskip({"lz4": "lz4.block", "zstd": "zstandard"}[name])
    both = compressor(name)
    page = np.random.default_rng(1).bytes(noise) + bytes(4096 - noise)
    assert both.decompress(both.compress(page)) == page
    assert (len(both.compress(page)) < 4000) == (noise < 4096)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(PinpageError, match="zlib, lz4, zstd"):
        compressor("lzo")


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_a_missing_extra_is_named(name, monkeypatch):
    def missing(module):
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(PinpageError, match=r"pinpage\[compress\]"):
        compressor(name)
