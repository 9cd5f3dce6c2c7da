"""Counting reasons from files: by reason, by holder, filtered; what is no such file is named."""

import pytest

from pinlab.requests.reasons import ANYBODY, REASONS, as_json, as_text, chosen, read
from pinpage.errors import PinpageError
from pinpage.owner import Reason
from tests.kit.pinlab.reasons import BY_OWNER, compare_text, request_text


def test_the_taxonomy_is_the_one_of_the_contract():
    assert [*REASONS] == [r.name.lower() for r in Reason if r > Reason.RELEASED]


def test_a_request_counts_by_holder_and_reason():
    (run,) = read(request_text(), "a.json")
    assert run.name == "offline registry (slab) scan"
    assert (run.by_owner, run.total) == (BY_OWNER, 1_036)


def test_a_comparison_counts_by_run_and_reason():
    first, second = read(compare_text(), "a.json")
    assert (first.name, first.by_owner) == ("unmovable scan", {ANYBODY: {"no_owner": 7}})
    assert (second.name, second.total) == ("registry (slab) plan", 0)


def test_reason_and_owner_filter():
    runs = read(request_text(), "a.json")
    assert chosen(runs, reason="no_callback")[0].total == 1_030
    assert chosen(runs, owner="kernel")[0].by_owner == {"kernel": BY_OWNER["kernel"]}
    both = chosen(runs, reason="owner_busy", owner="kernel")
    assert as_json(both) == [
        {
            "run": "offline registry (slab) scan",
            "refused_by_owner": {"kernel": {"owner_busy": 2}},
            "total": 2,
        }
    ]
    assert chosen(runs, reason="timeout")[0].by_owner == {}
    assert chosen(runs) == runs


def test_a_filter_that_names_nothing_there_is_refused():
    with pytest.raises(PinpageError, match="'lazy' is unknown: it is one of no_owner, no_callback"):
        chosen(read(request_text(), "a"), reason="lazy")
    with pytest.raises(PinpageError, match="'gpu' is not counted here: it is one of home, kernel"):
        chosen(read(request_text(), "a"), owner="gpu")
    with pytest.raises(PinpageError, match="does not count by owner"):
        chosen(read(compare_text(), "a"), owner="slab")


def test_the_table_has_sums_at_both_ends():
    assert as_text(BY_OWNER).splitlines() == [
        "holder  no callback  owner busy  unaccounted    all",
        "---------------------------------------------------",
        "home              0           0            4      4",
        "kernel           30           2            0     32",
        "slab          1,000           0            0  1,000",
        "all           1,030           2            4  1,036",
    ]
    assert as_text({}) == "none"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("{}", "neither refused_by_owner nor rows"),
        ('{"rows": [3]}', "neither"),
        ('{"rows": [{"refused": 3}]}', "refused of anybody: is not an object"),
        ('{"refused_by_owner": {"slab": {"lazy": 1}}}', "refused of slab: lazy=1"),
        ('{"refused_by_owner": {"slab": {"no_owner": -1}}}', "no_owner=-1"),
        ('{"refused_by_owner": {"slab": {"no_owner": "1"}}}', "no_owner='1'"),
        ('{"refused_by_owner": []}', "refused_by_owner: is not an object"),
    ],
)
def test_a_file_that_is_none_of_ours_is_named_with_the_fix(text, words):
    with pytest.raises(PinpageError) as caught:
        read(text, "a.json")
    assert words in str(caught.value)
    assert "a.json" in str(caught.value)
    assert "as_json=" in str(caught.value)
