"""What `request --json` and `compare --json` print, with reasons to count."""

import json

from tests.kit.pinlab.reports import make_report

__all__ = ["BY_OWNER", "compare_text", "request_text"]

BY_OWNER = {
    "kernel": {"no_callback": 30, "owner_busy": 2},
    "home": {"unaccounted": 4},
    "slab": {"no_callback": 1_000},
}


def request_text():
    totals = {"no_callback": 1_030, "owner_busy": 2, "unaccounted": 4}
    return json.dumps(make_report(refused=totals, refused_by_owner=BY_OWNER).as_json())


def compare_text():
    rows = [
        {"design": "unmovable", "movable": [], "strategy": "scan", "refused": {"no_owner": 7}},
        {"design": "registry", "movable": ["slab"], "strategy": "plan", "refused": {}},
    ]
    return json.dumps({"rows": rows})
