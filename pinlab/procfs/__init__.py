"""What a kernel says of its memory in text files and tables, read by each one's grammar.

    lines     where in which file something stands
    proc_text /proc's text files, buddyinfo and zoneinfo among them
    iomem     which addresses are RAM, nested or not
    survey    what a folder has, and the sizes that it says
    unread    which lines of those texts mean nothing
    infer     what the kernel does not export, worked out and marked as guessed
    capture   capture of a live machine, or of a folder of copies
    beside    page_owner beside a machine that is being recorded, for so long at most
    linux61   recordings of Linux 6.1 guests, made inside the kernel

Kernel counterpart: fs/proc/page.c, mm/vmstat.c, kernel/resource.c (v6.1), from the other side.
May be imported by: snapshot, sources, described, report, replay, cli.
"""
