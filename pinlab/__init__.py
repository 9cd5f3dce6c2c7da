"""The laboratory: recordings, replays, designs side by side, and the command line.

    /proc or a recording -> snapshot -> replay -> Machine -> request -> Outcome -> table

Each arrow is one module, and each module can be used without those to its right.
"""
