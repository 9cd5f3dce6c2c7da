"""Consumers that serve what they are told to: for everything around the real ones."""

import os
import signal

import numpy as np

from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.reasons import Refusals
from pinlab.requests.account import Account
from pinpage.errors import PinpageError
from pinpage.owner import Mode, Reason
from pinpage.units import Span

__all__ = ["interrupts_itself", "moves_a_block", "refuses_the_call"]


def moves_a_block(subject, options):
    """Empties pageblock 4 as far as it goes, by compaction's own means, once per unit wanted."""
    account = Account(subject, options, request="huge2m", unit="2 MiB page", bound=5)
    machine = account.machine
    wanted = options.count or 2
    for _ in range(wanted):
        if account.interrupted:
            break
        account.begin("a block", of=wanted)
        machine.compact(options.strategy)
        refusals = Refusals()
        used = np.flatnonzero(machine.frames.state == FrameState.USED)
        found = machine.mover.classify(used, machine.design, Mode.SYNC)
        stays = found.answers == 0
        holders = machine.design.holders(machine.frames.nr_frames)
        refusals.add(used[stays], found.reasons[stays], holders)
        account.end(Span(2048, 2560), Errno.OK, refusals=refusals)
    return account.finish(wanted=wanted, obtained=len(account.attempts))


def interrupts_itself(subject, options):
    """Presses Ctrl-C inside its first attempt; its retry policy notices."""
    account = Account(subject, options, request="huge2m", unit="2 MiB page")
    for at in range(3):
        if account.interrupted:
            break
        account.begin(f"block {at}", of=3)
        os.kill(os.getpid(), signal.SIGINT)
        errno = Errno.EINTR if options.interrupted() else Errno.OK
        refusals = Refusals()
        refusals.counts[Reason.TIMEOUT, "home"] = 3
        account.end(Span(at * 512, at * 512 + 512), errno, refusals=refusals)
    return account.finish(wanted=3, obtained=0)


def refuses_the_call(subject, options):
    """Finds that the options make no sense here."""
    raise PinpageError("offline: block=99: there are 8; give 0 to 7")
