"""How a consumer of memory decides what to move."""

from typing import Literal, TypeAlias

__all__ = ["Strategy"]

Strategy: TypeAlias = Literal["scan", "plan"]
"""`scan`, the kernel's two scanners without foresight; or `plan`, what is known goes first."""
