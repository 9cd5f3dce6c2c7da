"""The README's table of what the demo finds: where it stands."""

from pathlib import Path

__all__ = ["BEGIN", "END", "README", "between_marks"]

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN = "<!-- demo table: begin (make readme) -->\n"
END = "<!-- demo table: end -->\n"


def between_marks(text: str) -> str:
    """The table that a README holds now."""
    return text.partition(BEGIN)[2].partition(END)[0]
