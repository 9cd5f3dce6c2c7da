"""Pinners that refuse, raise or lie on request."""

from pinpage.owner import Verdict

__all__ = ["PinnerError", "misbehave"]


class PinnerError(RuntimeError):
    """What a pinner raises when told to."""


def misbehave(world, pinner, behaviour):
    """Make one pinner do what `behaviour` says; a lie keeps a reference of the source."""

    def fail(*_args):
        raise PinnerError(behaviour)

    def lie(pin, target):
        if pin.pfn == world.source:  # (else it is being brought back)
            world.machine.frames.refcount[pin.pfn] -= 1  # frozen counts are kept negated
            world.nr_sneaked += 1

    if behaviour in ("again", "busy"):
        verdict = Verdict[behaviour.upper()]
        pinner.isolate = lambda pin, mode: verdict
    elif behaviour == "lie":
        pinner.migrate = lie
    elif behaviour != "ok":
        setattr(pinner, behaviour.split()[-1], fail)
