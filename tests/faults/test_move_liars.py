"""Every lie a few times: whatever it is, the honest lose nothing."""

import pytest

from tests.kit.pinpage.liar_lab import LIES, LiarLab

NR_MOVES = 12


@pytest.mark.parametrize("lie", LIES)
def test_the_honest_lose_nothing(lie):
    for nth in range(NR_MOVES):
        lab = LiarLab(LIES.index(lie) * 1000 + nth, lie)
        interrupt = lab.run()
        assert interrupt is None or "interrupted" in lie
        lab.check()
