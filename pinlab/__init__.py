"""The laboratory: recordings, replays, designs side by side, and the command line.

    /proc or a recording -> snapshot -> replay -> Machine -> request -> Outcome -> table
"""
