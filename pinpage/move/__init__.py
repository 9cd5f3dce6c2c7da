"""A move, step by step: who is asked, what is taken, what comes of it.

    batch       A batch of frames in a mover's hands: how they are taken, refused and put back
    callbacks   Calling an owner, and what happens when the call itself goes wrong
    interrupts  What an interrupt may not part: a call from the note of its answer, an undo from its
                end
    pins        The pins of a batch of frames, as rows: who is to be asked, and what has become of
                each
    release     Ask owners to give frames up instead of moving them: zbud's unuse, balloon's deflate
    report      How a move ended, frame by frame
    steps       What a move is made of: its named steps, what the VM lends to it, where targets come
                from
    undoing     The way back of a move: whatever became of its frames, nobody waits for it
                afterwards

The steps of a move themselves are in `pinpage.migrate`.

Kernel counterpart: mm/migrate.c, as far as it asks somebody.
May be imported by: `pinpage.migrate`, its door. Who lends memory to a move or reads how it ended
wants `steps` and `report`.
"""
