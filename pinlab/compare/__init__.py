"""The same memory and the same request, under one design after another.

    compare       The same memory, the same owners, the same request, under one design after another
    conclusions   What a comparison's figures say to somebody who sees them for the first time
    every_design  Every design on one memory, and what each of them cannot express
    fork          Runs that start from the same memory, each in a child process of its own
    give_up       Compacting where some owners can only give their pages up: what that can come to,
                  and by plan
    results       What comparing comes to: plain data, so that tables and files need no machine

May be imported by: cli, report and requests.
"""
