"""The same memory and the same request, under one design after another.

    compare      The same memory, the same owners, the same request, under one design after another
    conclusions  What a comparison's figures say to somebody who sees them for the first time
    fork         Runs that start from the same memory, each in a child process of its own
    results      What comparing comes to: plain data, so that tables and files need no machine

May be imported by: cli, report and requests.
"""
