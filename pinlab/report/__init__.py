"""Results as tables, maps and pictures; nothing here reaches a machine.

    blocks         What can be made of the blocks of each order, and who is in the way of the rest
    cells          What sits in each pageblock, condensed from frames per class to what a map shows
    charts         Curves and bars as pictures: one look for all, the same bytes for the same input
    fragmentation  Free memory by order as the kernel sees it: unusable free index, and the
                   fragmentation index
    frames         Everything that a recording says of a frame, or of a range of frames
    heatmap        The map of physical memory, as text and as a picture: what keeps each pageblock
                   from emptying
    heatmap_png    Maps of physical memory as a picture.  Colour = worst owner, depth = share of the
                   cell
    plain          Tables as csv and as markdown: plain values under the names that the JSON has
    sizes          Sizes and addresses in the words of reports
    tables         Comparisons as tables: for a terminal of any width, for a mail, and as markdown
    taint          How much of memory unmovable frames spoil: per owner, per order of block, per
                   pageblock
    taken          When frames were taken, and through which function: what page_owner kept of their
                   allocations
    trust          How far a recording can be trusted: its frames beside the kernel's own totals

May be imported by: cli, compare, diagnose, requests, sources and whatif.
"""
