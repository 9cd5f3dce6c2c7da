"""Results as tables, maps and pictures; nothing here reaches a machine.

    cells        What sits in each pageblock, condensed from frames per class to what a map shows
    heatmap      The map of physical memory, as text and as a picture: what keeps each pageblock
                 from emptying
    heatmap_png  Maps of physical memory as a picture.  Colour = worst owner, depth = share of the
                 cell
    tables       Comparisons as tables: for a terminal of any width, for a mail, and as markdown

May be imported by: cli and requests.
"""
