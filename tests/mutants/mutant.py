"""One planted bug: what changes, what it endangers, which tests must notice."""

from attrs import field, frozen

__all__ = ["Mutant", "planted"]


@frozen
class Mutant:
    """A textual change to one shipped file that at least one of `tests` must fail on.

    Attributes:
        name: unique, kebab-case, says what the bug does ("batch-not-drained").
        guards: the race, invariant or property that it endangers ("R-7", "I3").
        file: the file that changes, from the root of the project ("pinpage/registry.py").
        old: text that occurs exactly once in `file`.
        new: what stands there instead.
        tests: pytest paths or node ids; one of them must fail, and all of them pass
            without the mutant.
    """

    name: str
    guards: str
    file: str
    old: str = field(repr=False)
    new: str = field(repr=False)
    tests: tuple[str, ...] = field(converter=tuple)

    def __attrs_post_init__(self) -> None:
        """Refuse a mutant that cannot mean anything."""
        if self.old == self.new:
            raise ValueError(f"mutant {self.name}: old and new are the same text")
        if not self.tests:
            raise ValueError(f"mutant {self.name}: names no test")

    def apply(self, text: str) -> str:
        """`text` with the bug planted.

        Raises:
            ValueError: `old` does not occur exactly once, so nobody knows what would change.
        """
        count = text.count(self.old)
        if count != 1:
            raise ValueError(
                f"mutant {self.name}: old occurs {count} times in {self.file}, not once"
            )
        return text.replace(self.old, self.new)


def planted(name: str, guards: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    """A mutant in one line of a catalogue."""
    return Mutant(name=name, guards=guards, file=file, old=old, new=new, tests=tests)
