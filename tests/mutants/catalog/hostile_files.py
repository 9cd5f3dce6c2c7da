"""Bugs in what bounds files from somebody else."""

from tests.mutants.mutant import Mutant

_HOSTILE = "tests/unit/pinlab/test_hostile_files.py"
_BOMBS = f"{_HOSTILE}::test_a_small_file_that_would_inflate_to_much_costs_little"
_ZONES = f"{_HOSTILE}::test_a_zone_that_no_machine_has_is_named"
_LINES = f"{_HOSTILE}::test_lines_of_proc_that_cannot_be_are_named_with_file_and_line"
_REPLAYED = f"{_HOSTILE}::test_zones_that_do_not_fit_the_frames_are_not_replayed"
_MAPPED = f"{_HOSTILE}::test_mappings_are_made_one_by_one_up_to_a_bound"

MUTANTS: list[Mutant] = [
    Mutant(
        name="npz-sizes-unjustified",
        guards="sizes are checked before anything is inflated",
        file="pinlab/snapshot/form.py",
        old="        _check_sizes(archive, sorted(described))\n",
        new="",
        tests=[_BOMBS],
    ),
    Mutant(
        name="npz-header-of-any-size",
        guards="sizes are checked before anything is inflated",
        file="pinlab/snapshot/form.py",
        old='    archive.require_at_most(name, _MOST_HEADER_NR_BYTES, "any header has")\n',
        new="",
        tests=[_BOMBS],
    ),
    Mutant(
        name="npz-columns-unbounded-together",
        guards="sizes are checked before anything is inflated",
        file="pinlab/snapshot/form.py",
        old="total > _MOST_NR_BYTES_OF_ALL * nr_frames + _MOST_NR_BYTES_BESIDE",
        new="total > 9 * _MOST_NR_BYTES_OF_ALL * nr_frames + _MOST_NR_BYTES_BESIDE",
        tests=[f"{_HOSTILE}::test_many_columns_are_no_way_around_the_bound"],
    ),
    Mutant(
        name="npz-directory-unbounded",
        guards="the directory of a zip is bounded too",
        file="pinlab/files/npz.py",
        old="if size is not None and size > _MOST_AT_ONCE:",
        new="if size is not None and size > 1 << 40:",
        tests=[f"{_HOSTILE}::test_a_directory_of_a_hundred_thousand_names_is_not_read"],
    ),
    Mutant(
        name="npz-member-of-another-size",
        guards="a member inflates to what its own header says",
        file="pinlab/files/npz.py",
        old="if info.file_size != found.nr_header_bytes + found.nr_bytes:",
        new="if info.file_size < found.nr_header_bytes + found.nr_bytes:",
        tests=[f"{_HOSTILE}::test_a_member_that_is_no_array_or_of_another_size"],
    ),
    Mutant(
        name="npz-room-unasked",
        guards="a recording that does not fit is refused unread",
        file="pinlab/files/npz.py",
        old="    if there is not None and needed > there:",
        new="    if there is not None and needed < 0:",
        tests=[f"{_HOSTILE}::test_more_frames_than_are_read_or_fit_are_refused_unread"],
    ),
    Mutant(
        name="json-depth-unguarded",
        guards="JSON nested too deeply is one line",
        file="pinlab/files/careful.py",
        old="    except RecursionError:",
        new="    except EOFError:",
        tests=[
            f"{_HOSTILE}::test_json_nested_too_deeply_is_an_error_like_any_other",
            f"{_HOSTILE}::test_a_report_that_is_awry",
        ],
    ),
    Mutant(
        name="pipe-waited-for",
        guards="a pipe in place of a file is not waited for",
        file="pinlab/files/careful.py",
        old="if not pipes and not stat.S_ISREG(path.stat().st_mode):",
        new="if not pipes and path.is_dir():",
        tests=["tests/unit/pinlab/files/test_careful.py"],
    ),
    Mutant(
        name="zone-watermarks-unordered",
        guards="SN9",
        file="pinlab/snapshot/limits.py",
        old="if not facts.min <= facts.low <= facts.high:",
        new="if not facts.min <= facts.high:",
        tests=[_ZONES],
    ),
    Mutant(
        name="zone-manages-what-is-absent",
        guards="SN9",
        file="pinlab/snapshot/limits.py",
        old="if not facts.nr_pages_of_buddy <= facts.present <= facts.spanned:",
        new="if not facts.managed <= facts.spanned:",
        tests=[_ZONES],
    ),
    Mutant(
        name="counts-below-unknown",
        guards="SN8",
        file="pinlab/snapshot/columns.py",
        old="refuse(column_of(name) < -1, name,",
        new="refuse(column_of(name) < -2, name,",
        tests=[f"{_HOSTILE}::test_facts_beyond_any_machine_are_named"],
    ),
    Mutant(
        name="ram-out-of-order",
        guards="SN10",
        file="pinlab/snapshot/limits.py",
        old="span.start < reached or",
        new="span.start < 0 or",
        tests=[f"{_HOSTILE}::test_facts_beyond_any_machine_are_named"],
    ),
    Mutant(
        name="proc-number-of-any-length",
        guards="a number of five thousand digits is one line",
        file="pinlab/procfs/lines.py",
        old="text.isdecimal() and len(text) <= _MOST_DIGITS)",
        new="text.isdecimal())",
        tests=[_LINES],
    ),
    Mutant(
        name="replay-maps-without-end",
        guards="what a header asks a replay to make is bounded",
        file="pinlab/replay/replayable.py",
        old="if int(further.max(initial=0)) >= MAX_NR_PROCESSES:",
        new="if int(further.max(initial=0)) >= 1 << 30:",
        tests=[_MAPPED],
    ),
    Mutant(
        name="replay-makes-all-of-a-huge-disk",
        guards="what a header asks a replay to make is bounded",
        file="pinlab/replay/replayable.py",
        old="max(min(recorded, told_apart),",
        new="max(min(recorded, 2 * told_apart),",
        tests=[f"{_HOSTILE}::test_swap_beyond_what_can_be_told_apart_is_not_made"],
    ),
    Mutant(
        name="replay-of-frames-without-a-zone",
        guards="whatever can be free lies in a zone",
        file="pinlab/replay/replayable.py",
        old="    _check_homes(snapshot)\n",
        new="",
        tests=[_REPLAYED],
    ),
    Mutant(
        name="replay-of-a-zone-beyond-memory",
        guards="zones lie within memory",
        file="pinlab/replay/replayable.py",
        old="if managed > nr_inside:",
        new="if managed > facts.spanned:",
        tests=[_REPLAYED],
    ),
    Mutant(
        name="recording-values-wrap",
        guards="a value that does not fit its column is named, not wrapped",
        file="pinlab/procfs/linux61.py",
        old="            elif not lowest <= value <= highest:",
        new="            elif value > highest << 64:",
        tests=["tests/unit/pinlab/procfs/test_linux61.py::test_a_value_that_would_wrap_is_named"],
    ),
    Mutant(
        name="described-scatter-of-an-amount",
        guards="a description is refused before anything is made",
        file="pinlab/described/synthetic.py",
        old='(found[2] != "%" and name == "scatter")',
        new='(found[2] != "%" and name == "scattered")',
        tests=[f"{_HOSTILE}::test_a_description_beyond_bounds_is_refused_before_anything_is_made"],
    ),
]
