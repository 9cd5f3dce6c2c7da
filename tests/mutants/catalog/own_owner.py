"""One's own owner in somebody's machine, and the lab that it lives in."""

from tests.mutants.mutant import planted

OWN = "pinlab/lab/own.py"
REPLAY = "pinlab/replay/replay.py"
RELEASE = "tests/unit/pinlab/requests/test_release.py"
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
    planted(
        "release-bound-counts-moves",
        "--release: a bound counts what is given up as free",
        "pinlab/compare/give_up.py",
        "with_released=True, given_up=given_up)",
        "with_released=True)",
        RELEASE,
    ),
    planted(
        "release-gives-up-everything",
        "--release: a plan gives up what stands in its way",
        "pinlab/compare/give_up.py",
        "        if nth and int(machine.buddy.wholly_free().sum()) >= bound:",
        "        if nth and bound < 0:",
        RELEASE,
    ),
    planted(
        "release-beside-a-callback",
        "--release: obeyed or refused",
        "pinlab/replay/owners.py",
        "both = sorted(set(release) & set(movable))",
        "both = sorted(set(release) & set(movable) & set())",
        RELEASE,
    ),
    planted(
        "release-read-back-from-anywhere",
        "--release: what was given up is gone, not lost",
        "pinlab/replay/read_back.py",
        "there = pfns != GIVEN_UP",
        "there = pfns >= GIVEN_UP",
        RELEASE,
    ),
    planted(
        "release-of-an-opaque-owner-unused",
        "--release under every consumer",
        REPLAY,
        "self._machine.refs.put_page if name in self._options.release else None",
        "None",
        RELEASE,
    ),
]
