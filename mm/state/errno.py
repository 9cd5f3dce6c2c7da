"""Errors as values: the codes that mm functions answer with, negative as in the kernel.

A refusal is a value, never an exception.  Each code keeps one meaning throughout mm and owners:

==========  ==============================================  ==========================
code        it means                                        the caller should
==========  ==============================================  ==========================
EAGAIN      somebody uses it at this moment                 retry within its budget
EFAULT      no such address in the process                  stop: it is permanent
EBUSY       cannot now: unmovable, or isolated already      try another target
ENOMEM      no memory, or no destination                    abort the batch
EINTR       a signal                                        abort everything, undo
EINVAL      bad range, slot or size, or not supported       stop: it is permanent
EEXIST      it is there already: a block, a cached slot     look it up, use that
ENOENT      no such entry: the slot or index is empty       look up anew, or stop
ENOSPC      it does not fit, or the device is full          keep it elsewhere
ENODEV      nobody serves this swap area                    keep it elsewhere
ECANCELED   the swap area is going away                     give up; its owner frees
==========  ==============================================  ==========================
"""

import enum

__all__ = ["Errno"]


class Errno(enum.IntEnum):
    """Success and the negative error numbers of Linux (asm-generic/errno*.h)."""

    OK = 0
    ENOENT = -2
    EINTR = -4
    EAGAIN = -11
    ENOMEM = -12
    EFAULT = -14
    EBUSY = -16
    EEXIST = -17
    ENODEV = -19
    EINVAL = -22
    ENOSPC = -28
    ECANCELED = -125
