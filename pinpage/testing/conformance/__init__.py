"""The owner kit: does an owner keep what the contract promises?

    accounts     What an owner took and did not give back: every page and reference of a run,
                 accounted for
    check        The owner kit: does this owner keep what the contract promises?
    columns      Columns of what an owner was asked and what it answered, as plain lists
    counts       What a suite has covered, in numbers
    escape       What leaves an owner's code and is no plain exception: an exit is a fault like
                 any other
    lab          The small world that an owner under test lives in, and the hooks by which a suite
                 drives it
    owner_model  The model of what an owner keeps, and everything that must hold while it is at
                 rest
    partner      Another owner of the same frames: polite, until its fault is due
    plan         What a suite makes an owner go through, as data: a plan is a tuple of actions
    promises     What an owner promises, numbered: the table of docs/explanation/contract.md as
                 values
    run          One run of a plan: an owner in its lab, its users, the VM and another owner
                 around it
    search       Where a suite looks for the first broken promise, and how it makes the trace
                 short
    watch        Stands between the VM and an owner, and writes down what each of them does

May be imported by: tests; in pinlab what `tests/arch/table.py` names (`MAY_USE_THE_KIT`).
"""
