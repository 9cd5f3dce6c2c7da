"""What every design promises mm, numbered."""

import enum

__all__ = ["DesignPromise"]


class DesignPromise(enum.Enum):
    """One promise.

    Attributes:
        title: the promise.
        meaning: what a broken one means to whoever uses the design.
    """

    D1 = ("asking changes nothing", "a planner asks about all of memory and moves little of it")
    D2 = ("what nobody knows stays", "somebody uses that frame, and its next user will too")
    D3 = ("a refusal leaves everything as it was", "an owner that said no has lost something")
    D4 = ("what it reports is so", "whoever asked for the frame takes it, and it is not free")
    D5 = ("no byte is lost", "somebody reads what he never wrote")
    D6 = ("the same question has the same answer", "a plan is made of answers, and comes later")
    D7 = ("every question has an answer", "whoever asked, in the middle of its work, has no way on")

    def __init__(self, title: str, meaning: str) -> None:
        self.title = title
        self.meaning = meaning
