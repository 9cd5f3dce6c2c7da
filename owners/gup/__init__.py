"""get_user_pages: pages of a process, held so that a device may use them.

    before_pin      What Linux does about long pins instead of asking their owners: nothing, later;
                    much, before
    flags           How a pin is asked for, and how it shows in a reference count
    gup             get_user_pages: hold pages of a process so that a device may use them
    host            What get_user_pages asks of the machine
    longterm        Pins for as long as user space likes: only where memory need not stay movable
    pin_references  A holder of pages that get_user_pages gave it, and what each pin stands for

Kernel counterpart: mm/gup.c (v6.1).
May be imported by: odirect, pinlab.
"""
