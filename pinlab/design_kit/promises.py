"""What every design promises mm, numbered."""

import enum

__all__ = ["DesignPromise"]


class DesignPromise(enum.Enum):
    """One promise.

    Attributes:
        title: the promise.
        meaning: what a broken one means to whoever uses the design.
    """

    DP1 = ("asking changes nothing", "a planner asks about all of memory and moves little of it")
    DP2 = ("what nobody knows stays", "somebody uses that frame, and its next user will too")
    DP3 = ("a refusal leaves everything as it was", "an owner that said no has lost something")
    DP4 = ("what it reports is so", "whoever asked for the frame takes it, and it is not free")
    DP5 = ("no byte is lost", "somebody reads what he never wrote")
    DP6 = ("the same question has the same answer", "a plan is made of answers, and comes later")
    DP7 = ("every question has an answer", "whoever asked, in the middle of its work, is stuck")

    def __init__(self, title: str, meaning: str) -> None:
        self.title = title
        self.meaning = meaning
