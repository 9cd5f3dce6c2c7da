"""The page of errnos, by cause: python -m tests.docs.errno_page writes it."""

from pathlib import Path

from tests.kit.pinlab.errnos import ASKED, CAUSES, TABLE

__all__ = ["PAGE", "main", "page"]

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/errno.md"
_HEAD = """\
# Which errno, for which cause

Made by `make readme`; a test provokes every cell. It is what Linux 6.1 gives for the same cause;
where the two strategies differ the cell says so. `nothing`: no attempt ends with a code, for there
is none, or the request stops before the next. `refused`: an error, before anything has changed. An
empty cell cannot occur.

"""
_FOOT = """
## Why it is so

- cma_alloc goes on to its next range after `EBUSY`, and says `ENOMEM` when there are no more; so
  do the walks for gigantic pages, and the allocator knows no other word.
- offline_pages learns from isolating that a page cannot move (`EBUSY`). One with a reference more
  than anybody accounts for passes that test, and so does a block whose pages have nowhere to go:
  the kernel tries again until a signal comes (`EINTR`; `--timeout` stands for it, `--tries` ends
  with `EBUSY` instead). By plan both are known beforehand, without a move.
- What `machine.hotplug.verdict` says is what `offline` by plan gives, and whether it is `OK` is
  what `offline` by scan comes to, where the verdict is `certain`. `answer` says it in words: yes,
  no, or on what it hangs: whether a huge page can be made for one in use, whether there is room
  when it is wanted. `request offline` says how many blocks go for certain.
- A write to nr_hugepages that is interrupted keeps what it has got, and the report is partial.
- A signal during a long-term pin is not modelled.
- Power regions are no kernel's: the codes are those of emptying a range.

What each code means in all of mm and owners, and what a caller should do: `mm.state.errno`.
"""


def page() -> str:
    """The page, as the table has it."""
    lines = ["| asked | " + " | ".join(CAUSES.values()) + " |", "|---|" + "---|" * len(CAUSES)]
    for asked, words in ASKED.items():
        cells = [_cell(asked, cause) for cause in CAUSES]
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    return _HEAD + "\n".join(lines) + "\n" + _FOOT


def _cell(asked: str, cause: str) -> str:
    given = {how: row[cause] for (who, how), row in TABLE.items() if who == asked}
    if len({*given.values()}) == 1:
        return _shown(next(iter(given.values())))
    return ", ".join(f"{how} {_shown(value)}" for how, value in given.items())


def _shown(value: str) -> str:
    return f"`{value}`" if value.startswith("E") else value


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
