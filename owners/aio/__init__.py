"""Completion rings of asynchronous I/O.

    ring_format  The bytes of a completion ring: a header, then events of 32 bytes, over several
                 pages
    rings        Completion rings of asynchronous I/O as an owner: one owner, a few pages per
                 context

Kernel counterpart: fs/aio.c (v6.1).
May be imported by: pinlab.
"""
