"""How to get an optional package that is not there: from an index, or into a clone.

Kernel counterpart: none.
"""

from pathlib import Path

from pinpage.errors import PinpageError

__all__ = ["missing_extra"]

_ROOT = Path(__file__).resolve().parents[1]


def missing_extra(what: str, extra: str, root: Path = _ROOT) -> PinpageError:
    """The error of whoever needs an extra that is not installed; says what to type.

    Args:
        what: who needs it, and what.
        extra: its name in pyproject.toml.
        root: where these packages lie; a clone has its pyproject.toml there.
    """
    at = f"-e '{root}[{extra}]'" if (root / "pyproject.toml").is_file() else f"'pinpage[{extra}]'"
    return PinpageError(f"{what}; install the extra pinpage[{extra}]: pip install {at}")
