"""Compressors by name: zlib in the core install, lz4 and zstd with the extra `compress`.

Real compression of real bytes: sizes, and with them how full a zbud page gets, are not
modelled.  zswap of v3.11 defaults to lzo, which Python does not have; lz4 comes closest in
ratio and speed.

Cost: per 4 KiB page of text about 8 us (lz4), 25 us (zstd), 60 us (zlib).
"""

import importlib
import zlib
from collections.abc import Callable
from types import ModuleType

from attrs import frozen

from pinpage.errors import PinpageError
from pinpage.extras import missing_extra
from pinpage.units import PAGE_SIZE

__all__ = ["COMPRESSORS", "Compressor", "compressor"]


@frozen
class Compressor:
    """A name and the two directions.

    Attributes:
        name: as asked for.
        compress: page to compressed bytes; larger than a page where that does not compress.
        decompress: back again, exactly.
    """

    name: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes], bytes]


def _zlib() -> Compressor:
    return Compressor("zlib", lambda page: zlib.compress(page, 1), zlib.decompress)


def _lz4() -> Compressor:
    block = _extra("lz4", "lz4.block")
    return Compressor(
        "lz4",
        lambda page: bytes(block.compress(page, store_size=False)),
        lambda data: bytes(block.decompress(data, uncompressed_size=PAGE_SIZE)),
    )


def _zstd() -> Compressor:
    zstandard = _extra("zstd", "zstandard")
    write, read = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
    return Compressor(
        "zstd",
        lambda page: bytes(write.compress(page)),
        lambda data: bytes(read.decompress(data, max_output_size=PAGE_SIZE)),
    )


_FACTORIES: dict[str, Callable[[], Compressor]] = {"zlib": _zlib, "lz4": _lz4, "zstd": _zstd}

COMPRESSORS = tuple(_FACTORIES)
"""Names that `compressor` knows, whether installed or not."""


def compressor(name: str) -> Compressor:
    """The compressor of that name.

    Raises:
        PinpageError: there is no such compressor, or its extra is not installed.

    >>> compressor("zlib").decompress(compressor("zlib").compress(b"zbud" * 1024))[:4]
    b'zbud'
    """
    if name not in _FACTORIES:
        raise PinpageError(f"compressor {name!r}: use one of {', '.join(COMPRESSORS)}")
    return _FACTORIES[name]()


def _extra(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise missing_extra(f"compressor {name!r} is not installed", "compress") from missing
