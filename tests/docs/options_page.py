"""The page of the options of a request: python -m tests.docs.options_page writes it."""

from pathlib import Path
from typing import get_args

from mm.move.design import Strategy
from pinlab.cli.errors import OPTION_OF
from pinlab.cli.request import CONCERNS
from pinlab.requests.obeyed import OPTIONS, refusal
from pinlab.requests.report import RequestName

__all__ = ["PAGE", "main", "page"]

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/request-options.md"
_CONSUMERS = get_args(RequestName)
_STRATEGIES = get_args(Strategy)
_HEAD = """\
# Which option is for whom

Made by `make readme`; a test asks every consumer by every strategy under every design with each
option, and fails on one that changes nothing and says nothing. `yes`: obeyed; `scan` or `plan`:
obeyed by that strategy alone; `script`: in `RequestOptions`, not on the command line; else
refused, with the sentence below.

`--design`, `--strategy`, `--seed` and `--first` are obeyed by everybody; `--movable` and
`--release` under a design that asks owners, and any other refuses them.

"""


def page() -> str:
    """The page, as the table in the code has it."""
    lines = ["| option | in a script | " + " | ".join(_CONSUMERS) + " |"]
    lines.append("|---|---|" + "---|" * len(_CONSUMERS))
    sentences = []
    for option in OPTIONS:
        cells = [_cell(option, consumer) for consumer in _CONSUMERS]
        lines.append(f"| `{OPTION_OF[option]}` | `{option}` | " + " | ".join(cells) + " |")
        for consumer in _CONSUMERS:
            said = {refusal(consumer, strategy, option) for strategy in _STRATEGIES} - {None}
            sentences += [f"- {sentence}" for sentence in sorted(said)]
    return _HEAD + "\n".join(lines) + "\n\n## The sentences\n\n" + "\n".join(sentences) + "\n"


def _cell(option: str, consumer: RequestName) -> str:
    obeyed = [s for s in _STRATEGIES if refusal(consumer, s, option) is None]
    if not obeyed:
        return ""
    if consumer not in CONCERNS.get(OPTION_OF[option], (consumer,)):
        return "script"
    return "yes" if len(obeyed) == len(_STRATEGIES) else " ".join(obeyed)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
