"""A plugin of pytest that counts the steps which stateful machines take.

Each process writes its count into the folder that PINPAGE_SOAK names, when it ends.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine

_STEPS = [0]
_check_invariants = RuleBasedStateMachine.check_invariants


def _counted(machine: RuleBasedStateMachine, *arguments: Any) -> None:
    _STEPS[0] += 1
    _check_invariants(machine, *arguments)


def pytest_configure() -> None:
    """Count from here on: invariants are checked once a step."""
    RuleBasedStateMachine.check_invariants = _counted  # type: ignore[method-assign]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the count of this process."""
    del session
    path = Path(os.environ["PINPAGE_SOAK"]) / f"{os.getpid()}.steps"
    path.write_text(str(_STEPS[0]))
