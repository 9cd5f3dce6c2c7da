"""What would be gained if somebody could move, from a recording alone: no machine is made.

    answer    What if these owners could move: blocks before and after, and what each owner adds
    cheapest  The cheapest set of owners to make movable so that so many blocks can be had
    game      What each set of owners would be worth: clean blocks, as a function of who can move
    page      A what-if as one page of HTML that needs nothing else: the map, the tables, and the
              switches
    page_script  What a page of HTML does by itself: counting, which needs no browser, drawing, and
              its looks
    scanners  Which pageblocks the kernel's compaction would empty, without replaying it
    show      What-ifs as text of fewer than 80 columns, and as a picture

May be imported by: cli and diagnose.
"""
