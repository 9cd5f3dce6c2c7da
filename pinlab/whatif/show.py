"""What-ifs as text of fewer than 80 columns, and as a picture."""

import textwrap
from pathlib import Path
from typing import Final

from pinlab.report import charts
from pinlab.report.sizes import counted, size_name
from pinlab.report.tables import lay_out
from pinlab.whatif.answer import AtOrder, WhatIf
from pinlab.whatif.cheapest import OwnerSet
from pinlab.whatif.game import Shares

__all__ = ["as_text", "draw"]

_WIDTH: Final = 79
_MOST_PAIRS: Final = 8


def as_text(answer: WhatIf) -> str:
    """The tables, and what they come to in sentences."""
    parts = [
        _filled(f"{answer.recording}: what if {_who(answer)}?"),
        _filled(f"Linux moves {_listed(answer.moved)} here anyhow."),
        _orders(answer),
        _filled(
            "clean: nobody in the block who cannot move. had: of these, what free memory makes. "
            "A range: frames of unknown use stay, or move."
        ),
        _shares(answer),
    ]
    if answer.pairs:
        parts.append(_pairs(answer))
    parts.append(_sentences(answer))
    return "\n\n".join(part for part in parts if part)


def _who(answer: WhatIf) -> str:
    said = []
    if answer.movable:
        said.append(f"{_listed(answer.movable)} could move")
    if answer.released:
        said.append(f"{_listed(answer.released)} gave up")
    return ", and ".join(said) or "nobody were in the way"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nobody"


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ")


def _range(low: int | None, high: int | None) -> str:
    if low is None or high is None:
        return "?"
    return f"{low:,d}" if low == high else f"{low:,d}..{high:,d}"


def _orders(answer: WhatIf) -> str:
    header = ("order", "size", "blocks", "clean", "then", "had", "then")
    return lay_out(header, [_order(row) for row in answer.orders], _WIDTH, nr_names=2)


def _order(row: AtOrder) -> list[str]:
    before, after = row.before, row.after
    return [
        str(row.order),
        size_name(row.nr_bytes),
        f"{row.nr_blocks:,d}",
        _range(before.clean_lo, before.clean_hi),
        _range(after.clean_lo, after.clean_hi),
        _range(before.obtained_lo, before.obtained_hi),
        _range(after.obtained_lo, after.obtained_hi),
    ]


def _shares(answer: WhatIf) -> str:
    header = [f"owner, order {answer.order}", "clean: alone", "fair share", "last"]
    has_table = bool(answer.obtained)
    header += ["had: alone", "fair share", "last"] if has_table else []
    order = sorted(range(len(answer.clean)), key=lambda i: (-answer.clean[i].shapley, i))
    lines = [
        [
            answer.clean[i].owner,
            *_three(answer.clean[i]),
            *(_three(answer.obtained[i]) if has_table else []),
        ]
        for i in order
    ]
    return lay_out(header, lines, _WIDTH, nr_names=1) if lines else ""


def _three(shares: Shares) -> list[str]:
    return [f"{shares.alone:,d}", f"{shares.shapley:,.1f}", f"{shares.last:,d}"]


def _pairs(answer: WhatIf) -> str:
    header = (f"pair, order {answer.order}", "clean together", "beyond each alone")
    lines = [
        [f"{one}+{other}", f"{both:,d}", f"{shared:,d}"]
        for one, other, both, shared in answer.pairs[:_MOST_PAIRS]
    ]
    text = lay_out(header, lines, _WIDTH, nr_names=1)
    left = len(answer.pairs) - _MOST_PAIRS
    return text + (f"\n({left} more pairs)" if left > 0 else "")


def _sentences(answer: WhatIf) -> str:
    said = []
    alone = sum(shares.alone for shares in answer.clean)
    row = next(row for row in answer.orders if row.order == answer.order)
    together = row.after.clean_lo - row.before.clean_lo
    if len(answer.clean) > 1:
        said.append(
            f"One at a time they clean {counted(alone, 'block')} of {size_name(row.nr_bytes)}, "
            f"all together {together:,d}."
        )
    if row.before.obtained_lo is None:
        said.append("Free memory is not recorded: how many of them could be had, nothing tells.")
    if answer.compacted_before is not None:
        then, most, least = answer.compacted_after, answer.compacted_before, answer.compacted_least
        few = f"{least:,d} to " if least is not None and least < most else "about "
        said.append(
            f"The kernel's own compaction would leave {few}{most:,d} of "
            f"them to be had" + (f", then about {then:,d}." if then is not None else ".")
        )
    if answer.want is not None:
        said.append(_chosen(answer.want, size_name(row.nr_bytes), answer.choice))
    return "\n".join(_filled(sentence) for sentence in said)


def _chosen(want: int, size: str, choice: OwnerSet | None) -> str:
    if choice is None:
        return f"No set of owners is enough for {counted(want, 'block')} of {size}."
    if not choice.owners:
        return f"{counted(want, 'block')} of {size} need nobody: {choice.obtained:,d} can be had."
    how = "cheapest" if choice.is_exact else "cheapest found"
    text = (
        f"{counted(want, 'block')} of {size}: {how} set {'+'.join(choice.owners)}, cost "
        f"{choice.cost:g}, gives {choice.obtained:,d}"
    )
    if not choice.is_exact:
        text += f"; no set costs less than {choice.at_least:g}, so it may cost "
        text += f"{choice.cost - choice.at_least:g} too much"
    return text + "."


def draw(answer: WhatIf, path: Path | str) -> None:
    """Bars of what each owner adds: alone, its fair share, and last.

    Args:
        answer: what is drawn.
        path: the file to write; its ending says the form.

    Raises:
        PinpageError: matplotlib is not installed, or no picture has that ending.
        SnapshotError: the place cannot be written.
    """
    row = next(row for row in answer.orders if row.order == answer.order)
    ordered = sorted(answer.clean, key=lambda shares: (-shares.shapley, shares.owner))
    charts.bars(
        [shares.owner for shares in ordered],
        {
            "alone": [shares.alone for shares in ordered],
            "fair share (Shapley)": [shares.shapley for shares in ordered],
            "last to join": [shares.last for shares in ordered],
        },
        path,
        charts.Words(
            title=f"{answer.recording}: clean blocks gained, by owner",
            across="owner",
            up=f"blocks of {size_name(row.nr_bytes)} (order {row.order})",
            caption=f"Of {counted(row.nr_blocks, 'block')} {row.before.clean_lo:,d} are clean, "
            f"{row.after.clean_lo:,d} with all of them; frames of unknown use stay.",
        ),
    )
