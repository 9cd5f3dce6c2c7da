"""One's own owner in somebody's machine, and the lab that it lives in."""

from tests.mutants.mutant import planted

OWN = "pinlab/lab/own.py"
REPLAY = "pinlab/replay/replay.py"
UNIT = "tests/unit/pinlab/lab/test_own.py"

MUTANTS = [
    planted(
        "own-owner-loses-in-silence",
        "--owner: bytes read back",
        OWN,
        "DATA_NR_BYTES * same, DATA_NR_BYTES * (not same)",
        "DATA_NR_BYTES, 0 * same",
        UNIT,
    ),
    planted(
        "own-owner-beside-the-opaque-one",
        "--owner: it answers in the label's place",
        REPLAY,
        "if len(pfns) and name != self._taken_over:",
        "if len(pfns):",
        UNIT,
    ),
    planted(
        "own-owner-takes-some",
        "--owner: it takes all frames or is refused",
        OWN,
        "        if lab.nr_left:\n            raise",
        "        if lab.nr_left == wanted + 1:\n            raise",
        UNIT,
    ),
    planted(
        "own-owner-exits-the-command",
        "--owner: a hook that exits is one line",
        OWN,
        "        except BaseException as error:  # an exit of theirs is no exit of ours",
        "        except Exception as error:",
        UNIT,
    ),
    planted(
        "own-owner-time-stands",
        "--owner: its device completes as time passes",
        OWN,
        "        own.tick_on(machine)\n",
        "",
        UNIT,
    ),
    planted(
        "load-pins-by-name",
        "LR2",
        "pinlab/load/run.py",
        "by_owner.setdefault(id(pin.owner), (",
        "by_owner.setdefault(hash(pin.owner.name), (",
        UNIT,
    ),
]
