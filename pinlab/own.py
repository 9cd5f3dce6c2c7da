"""Whether `mm` and `owners` are ours: other packages, and people's scripts, have such names too.

Kernel counterpart: none.
Cost: about 0.1 ms.
"""

import importlib.util
from pathlib import Path

__all__ = ["foreign_package"]

_ROOT = Path(__file__).resolve().parents[1]


def foreign_package(root: Path = _ROOT) -> str | None:
    """A sentence about the first package that would be imported in place of ours, or None.

    Args:
        root: where ours lie.
    """
    for name in ("pinpage", "mm", "owners"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            return f"there is no package {name!r} beside pinlab in {root}: install pinpage again"
        if Path(spec.origin).resolve() != root / name / "__init__.py":
            return (
                f"another {name!r} would be imported, {spec.origin}, in place of {root / name}: "
                "rename it, start from another directory, or give pinpage a venv of its own"
            )
        if not (root / name / "py.typed").is_file():
            return f"{root / name} is not pinpage's: give pinpage a venv of its own"
    return None
