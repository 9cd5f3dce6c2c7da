"""The lowest version of each dependency that pyproject.toml declares, as pip constraints.

python tests/lowest.py > constraints.txt; only the standard library is needed.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["lowest"]

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_BOUND = re.compile(r"([A-Za-z0-9-]+)>=([0-9.]+)")


def lowest(text: str) -> Iterator[str]:
    """`name==version` for each bound; extras of ourselves have none."""
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    for named in [*project["dependencies"], *(one for name in extras for one in extras[name])]:
        if bound := _BOUND.fullmatch(named):
            yield f"{bound[1]}=={bound[2]}"


if __name__ == "__main__":
    print("\n".join(lowest(PROJECT.read_text())))
