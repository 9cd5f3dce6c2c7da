"""Requests for memory, one module per consumer: each serves one and says what came of it.

    account   Counting for a request: what each attempt did and took, and the report at the end
    cma       Contiguous memory: how many pages of an area a device gets, asking for more and more
              at a time
    fidelity  How close replay comes to the kernel: every recorded request, served again and
              compared
    first     What is done to a machine before a request: whoever needs memory often compacts it
              first
    huge1g    1 GiB pages: how many there are, and what they cost to get
    huge2m    2 MiB pages: what a write to nr_hugepages obtains, and how much of memory that sets
              moving
    latency   How long attempts took, split by what the time was spent on
    obeyed    Which consumer obeys which option, and the sentence with which the others refuse it
    offline   Memory blocks taken offline: some together, or one after the other
    power     Memory power management: how many regions can be switched off, and whether that pays
    reasons   Why frames stayed, counted by reason and by holder, from what `--json` printed
    report    What a request for memory is told, and what it answers: plain data, the same for every
              consumer
    run       One request on one machine: a recording or a description, under a design, served and
              told
    show      A request's report for a person: what was obtained, what it cost, what stood in the
              way

May be imported by: cli and scripts.
"""
