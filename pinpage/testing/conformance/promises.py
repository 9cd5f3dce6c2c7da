"""What an owner promises, numbered: the table of docs/explanation/contract.md as values."""

import enum

from attrs import frozen

__all__ = ["Finding", "Promise"]


class Promise(enum.Enum):
    """One promise of the contract: a title, and what it means.

    The number is the member's name; it never changes, so that people can quote it.
    """

    C1 = (
        "Yes means quiesced",
        (
            "until migrate or putback the owner neither reads nor writes the frame, nor lets a "
            "device do so"
        ),
    )
    C2 = (
        "Migrate repoints everything",
        (
            "the contents are at the target already, and from now on the owner finds there "
            "whatever it keeps"
        ),
    )
    C3 = ("Migrate may not refuse", "an owner that said Yes follows; migrate does not raise")
    C4 = ("Putback carries on", "it did not happen: the owner goes on as before isolate")
    C5 = ("Putback may not fail", "putback does not raise")
    C6 = (
        "References are accounted for",
        (
            "`references` says how many page references each pin stands for, and the owner holds "
            "exactly those"
        ),
    )
    C7 = (
        "A frame under move is not pinned",
        "a callback may pin other frames; the frame under move, and its target, it may only unpin",
    )
    C8 = ("Batch and single forms agree", "they answer alike and do alike, pin by pin")
    C9 = ("Release means gone", "after Yes the owner's pin and its reference are gone")
    C10 = (
        "A callback does not wait for its mover",
        "it may not unregister its owner nor wait for a frame under move; it returns",
    )
    C11 = (
        "The answer is a verdict",
        "isolate and release say Yes, Again or Busy, one for each pin; they do not raise",
    )
    C12 = (
        "Unpinned means let go",
        (
            "an owner that unpins a frame has freed it: it neither uses the frame nor holds a "
            "reference of it from then on"
        ),
    )
    C13 = (
        "Migrate goes back, too",
        "an owner may be asked to return to the frame it came from, when an owner after it raised",
    )
    C14 = ("Whoever holds a frame pins it", "from before its first use until after its last")
    C15 = (
        "Movable means that it moves",
        "with nothing in use an owner that has a migrate callback says Yes within ten passes",
    )
    C16 = (
        "What is kept is kept",
        "what an owner was given it gives back unchanged until it is told to let go, moved or not",
    )
    C17 = (
        "A callback moves nothing",
        (
            "from inside a callback an owner neither moves frames nor has them released: whoever "
            "asks may be in the middle of both"
        ),
    )
    C18 = (
        "Only release allocates",
        (
            "isolate, migrate, putback and `references` take no new frame: whoever asks may be the "
            "allocator, short of memory"
        ),
    )
    C19 = (
        "What is let go goes back",
        (
            "told to let go of everything, an owner keeps no page and no reference but those that "
            "it uses again"
        ),
    )

    @property
    def title(self) -> str:
        """The promise in a few words."""
        return self.value[0]

    @property
    def meaning(self) -> str:
        """The promise in one sentence, without a full stop."""
        return self.value[1]

    def __str__(self) -> str:
        """Number and title, as reports print it."""
        return f"{self.name} {self.title}"


@frozen
class Finding:
    """The first promise that an owner broke.

    Attributes:
        promise: which.
        detail: what was seen.
        trace: what led there, one line each; the last one broke it.
    """

    promise: Promise
    detail: str
    trace: tuple[str, ...]

    def __str__(self) -> str:
        """The promise in the words of the contract, the trace, what was seen."""
        width = len(str(len(self.trace)))
        lines = [f"  {n:{width}}. {line}" for n, line in enumerate(self.trace, start=1)]
        return "\n".join(
            [f"{self.promise}: {self.promise.meaning}.", *lines, f"  => {self.detail}"]
        )
