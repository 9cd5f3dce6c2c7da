"""Bugs in what makes one snapshot of whatever people have of a machine."""

from tests.mutants.mutant import Mutant

_HERE = "tests/unit/pinlab/sources"
_OWNER = f"{_HERE}/test_page_owner.py"
_SOURCE = f"{_HERE}/test_source.py"
_TYPES = f"{_HERE}/test_page_types.py"
_REDACT = f"{_HERE}/test_redact.py"
_FLEET = f"{_HERE}/test_fleet.py"
_BESIDE = f"{_HERE}/test_beside.py"
_FIRST = f"{_HERE}/test_stacks.py::test_the_first_function_from_the_allocator_outwards_decides"
_COUNTS = (
    "tests/cli/test_sources.py"
    "::test_counts_alone_can_be_validated_and_converted_and_named_in_no_map"
)
_MEMBERS = (
    f"{_HERE}/test_dump.py::test_every_member_is_found_by_its_name_and_every_kind_of_page_is_told"
)
_ROWS = (
    "tests/unit/pinlab/snapshot/test_allocations.py::test_what_describes_no_allocations_is_named"
)
_PACKED = "tests/unit/pinlab/files/test_packed.py"

MUTANTS: list[Mutant] = [
    Mutant(
        name="packed-line-without-bound",
        guards="a line of a hostile text is kept up to a bound",
        file="pinlab/files/packed.py",
        old="                rest = rest[:_MOST_LINE_NR_BYTES]\n",
        new="",
        tests=[f"{_PACKED}::test_a_line_without_end_costs_no_memory"],
    ),
    Mutant(
        name="packed-xz-takes-any-memory",
        guards="the memory that a header of xz asks for is bounded",
        file="pinlab/files/packed.py",
        old="lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_XZ_NR_BYTES)",
        new="lzma.LZMADecompressor(lzma.FORMAT_XZ)",
        tests=[f"{_PACKED}::test_xz_that_asks_for_gigabytes_is_damaged"],
    ),
    Mutant(
        name="packed-record-too-short-is-fatal",
        guards="page_owner is read in whole records",
        file="pinlab/files/packed.py",
        old="    except OSError:  # what it is",
        new="    except MemoryError:  # what it is",
        tests=[f"{_PACKED}::test_files_of_the_kernel_that_are_not_read_byte_by_byte"],
    ),
    Mutant(
        name="page-owner-cut-record-forgotten",
        guards="what is not read is counted",
        file="pinlab/sources/page_owner.py",
        old='            self.reading.add("records_cut")\n',
        new="",
        tests=[f"{_OWNER}::test_records_that_cannot_be_are_counted"],
    ),
    Mutant(
        name="page-owner-noise-forgotten",
        guards="what is not read is counted",
        file="pinlab/sources/page_owner.py",
        old="        elif not line.startswith(_SAID_BESIDE):\n",
        new="        elif line.startswith(_SAID_BESIDE):\n",
        tests=[f"{_OWNER}::test_lines_that_mean_nothing_are_counted_and_passed_over"],
    ),
    Mutant(
        name="page-owner-rows-inside-rows",
        guards="SN13",
        file="pinlab/sources/page_owner.py",
        old="    keep = by_place[starts >= reach]\n",
        new="    keep = by_place\n",
        tests=[f"{_OWNER}::test_records_that_cannot_be_are_counted"],
    ),
    Mutant(
        name="page-owner-earlier-record-wins",
        guards="of two records of a page the later one is true",
        file="pinlab/sources/page_owner.py",
        old="np.lexsort((-np.arange(nr), ",
        new="np.lexsort((np.arange(nr), ",
        tests=[f"{_OWNER}::test_records_that_cannot_be_are_counted"],
    ),
    Mutant(
        name="page-owner-cut-file-says-nothing",
        guards="a text that ends in the middle is said to",
        file="pinlab/sources/page_owner.py",
        old='        rows.reading.add("files_cut_short")\n',
        new="        pass\n",
        tests=[f"{_OWNER}::test_a_text_that_is_cut_keeps_what_came_before"],
    ),
    Mutant(
        name="stack-read-from-the-far-end",
        guards="the function nearest to the allocator decides whose a page is",
        file="pinlab/sources/stacks.py",
        old="        for compiled in stack:\n",
        new="        for compiled in reversed(stack):\n",
        tests=[_FIRST],
    ),
    Mutant(
        name="own-table-asked-last",
        guards="a table of one's own goes before the packaged one",
        file="pinlab/sources/stacks.py",
        old="        if first != FrameClass.UNKNOWN:\n",
        new="        if first == FrameClass.UNMANAGED:\n",
        tests=[f"{_HERE}/test_stacks.py::test_ones_own_table_goes_first_over_the_whole_stack"],
    ),
    Mutant(
        name="record-makes-a-free-frame-used",
        guards="two files that disagree are counted, and the flags stand",
        file="pinlab/sources/overlay.py",
        old="    rows, pfns = rows[~idle], pfns[~idle]\n",
        new="",
        tests=[f"{_SOURCE}::test_a_frame_that_two_files_disagree_about_stays_free_and_is_counted"],
    ),
    Mutant(
        name="disagreement-not-counted",
        guards="two files that disagree are counted, and the flags stand",
        file="pinlab/sources/overlay.py",
        old='        reading.add("frames_of_two_minds", int(np.count_nonzero(idle)))\n',
        new="        pass\n",
        tests=[f"{_SOURCE}::test_a_frame_that_two_files_disagree_about_stays_free_and_is_counted"],
    ),
    Mutant(
        name="compound-loses-its-tails",
        guards="compound pages keep their shape",
        file="pinlab/sources/overlay.py",
        old="    flags[pfns[compound[rows] & ~is_first]] = PageFlag.COMPOUND_TAIL.mask\n",
        new="",
        tests=[f"{_SOURCE}::test_compounds_keep_their_shape"],
    ),
    Mutant(
        name="few-rows-claim-terabytes",
        guards="memory is taken for frames that rows justify",
        file="pinlab/sources/blank.py",
        old="    if nr_frames > max(_FEW, _FRAMES_PER_ROW * nr_rows):\n",
        new="    if nr_frames < 0:\n",
        tests=[f"{_SOURCE}::test_what_cannot_be_used_is_one_line"],
    ),
    Mutant(
        name="page-types-letters-by-place-alone",
        guards="letters of older versions of page-types stand elsewhere",
        file="pinlab/sources/page_types.py",
        old="        if letter in _LATER:\n            mask |= int(_LATER[letter].mask)\n",
        new="        if letter in _LATER and letters[23] != '_':\n"
        "            mask |= int(_LATER[letter].mask)\n",
        tests=[f"{_TYPES}::test_letters_of_older_versions_stand_elsewhere"],
    ),
    Mutant(
        name="page-types-swap-offset-is-a-frame",
        guards="a swap entry lies in no frame",
        file="pinlab/sources/page_types.py",
        old='    if "w" in letters[len(_FIXED) :]:\n',
        new='    if "w" in letters[:0]:\n',
        tests=[f"{_TYPES}::test_rows_that_cannot_be_are_counted"],
    ),
    Mutant(
        name="page-types-summary-not-compared",
        guards="a list that its own summary denies is said to be",
        file="pinlab/sources/page_types.py",
        old="nr_listed != nr_counted:",
        new="nr_listed < 0:",
        tests=[f"{_TYPES}::test_a_list_that_its_own_summary_denies_is_counted"],
    ),
    Mutant(
        name="counts-pass-for-frames",
        guards="what is not in a file is said not to be",
        file="pinlab/sources/blank.py",
        old="    if NO_FRAMES in snapshot.unknown_fields:\n",
        new='    if "nothing" in snapshot.unknown_fields:\n',
        tests=[_COUNTS],
    ),
    Mutant(
        name="redacted-keeps-commands",
        guards="a redacted snapshot has no string of its original",
        file="pinlab/snapshot/allocations.py",
        old="            commands=(),\n",
        new="",
        tests=[f"{_REDACT}::test_no_string_of_the_original_is_left"],
    ),
    Mutant(
        name="redacted-keeps-the-hosts-release",
        guards="a redacted snapshot has no string of its original",
        file="pinlab/sources/redact.py",
        old='        kernel_release=release[0] if release else "",\n',
        new="        kernel_release=facts.kernel_release,\n",
        tests=[f"{_REDACT}::test_no_string_of_the_original_is_left"],
    ),
    Mutant(
        name="redacted-keeps-any-counter",
        guards="a redacted snapshot has no string of its original",
        file="pinlab/sources/redact.py",
        old="        workload=_of(snapshot.workload, _COUNTERS),\n",
        new="",
        tests=[f"{_REDACT}::test_what_is_left_of_a_recording_is_out_of_our_own_list"],
    ),
    Mutant(
        name="redacted-forgets-what-the-kernel-gave",
        guards="a redacted snapshot gives the same answers",
        file="pinlab/sources/redact.py",
        old='        "pgmigrate_success", ',
        new="        ",
        tests=[f"{_REDACT}::test_what_the_kernel_gave_is_kept"],
    ),
    Mutant(
        name="fleet-ends-with-the-first-bad-file",
        guards="a bad file is a row with its reason",
        file="pinlab/sources/fleet.py",
        old="    except (PinpageError, OSError, MemoryError) as error:\n"
        "        return _failed(source, str(error) or type(error).__name__)\n",
        new="    except MemoryError as error:\n        return _failed(source, str(error))\n",
        tests=[
            f"{_FLEET}::test_a_row_is_a_row_without_any_executor",
        ],
    ),
    Mutant(
        name="fleet-ends-with-a-bug-of-one-reader",
        guards="a bad file is a row with its reason",
        file="pinlab/sources/fleet.py",
        old="    except Exception as error:  #",
        new="    except MemoryError as error:  #",
        tests=[f"{_FLEET}::test_a_reader_that_dies_takes_no_other_row_with_it"],
    ),
    Mutant(
        name="fleet-broken-pool-takes-all",
        guards="a reader that dies takes no other row with it",
        file="pinlab/sources/fleet.py",
        old="    for index in broken:  #",
        new="    for index in broken[:0]:  #",
        tests=[f"{_FLEET}::test_what_broke_a_pool_is_read_once_more_alone"],
    ),
    Mutant(
        name="fleet-paths-of-this-directory",
        guards="readers elsewhere are told the whole path",
        file="pinlab/sources/fleet.py",
        old="        places = [_from_anywhere(source) for source in sources]\n",
        new="        places = list(sources)\n",
        tests=[f"{_FLEET}::test_readers_in_another_directory_are_told_the_whole_path"],
    ),
    Mutant(
        name="fleet-table-of-this-directory",
        guards="readers elsewhere are told the whole path",
        file="pinlab/sources/fleet.py",
        old="table = None if owners_table is None else _from_anywhere(owners_table)",
        new="table = owners_table",
        tests=[f"{_FLEET}::test_readers_in_another_directory_are_told_the_whole_path"],
    ),
    Mutant(
        name="fleet-gone-cluster-has-no-words",
        guards="a source that is not read is a row with its reason",
        file="pinlab/sources/fleet.py",
        old="    except CancelledError:",
        new="    except KeyError:",
        tests=[f"{_FLEET}::test_a_cluster_that_goes_leaves_a_reason_in_each_row"],
    ),
    Mutant(
        name="owners-beside-have-all-time",
        guards="page_owner is read for so long at most",
        file="pinlab/sources/beside.py",
        old="and self._now_ns() >= over_ns:",
        new="and self._now_ns() < 0:",
        tests=[f"{_BESIDE}::test_it_is_left_at_the_end_of_a_record_when_time_is_over"],
    ),
    Mutant(
        name="owners-beside-cut-a-record",
        guards="page_owner is left at the end of a record",
        file="pinlab/sources/beside.py",
        old="if (not line or not nr % _NR_LINES) and",
        new="if",
        tests=[f"{_BESIDE}::test_it_is_left_at_the_end_of_a_record_when_time_is_over"],
    ),
    Mutant(
        name="owners-beside-wait-for-an-empty-line",
        guards="page_owner is read for so long at most",
        file="pinlab/sources/beside.py",
        old="if (not line or not nr % _NR_LINES) and",
        new="if not line and",
        tests=[f"{_BESIDE}::test_a_text_without_records_is_left_too"],
    ),
    Mutant(
        name="owners-beside-end-the-recording",
        guards="what cannot be read of page_owner leaves the rest",
        file="pinlab/sources/beside.py",
        old="        except (SnapshotError, OSError) as error:\n",
        new="        except OSError as error:\n",
        tests=[f"{_BESIDE}::test_what_cannot_be_taken_is_said_and_the_rest_recorded"],
    ),
    Mutant(
        name="owners-beside-cannot-be-left-out",
        guards="page_owner is left out where it is asked for",
        file="pinlab/sources/beside.py",
        old="        if not self._most_ns:\n            return None\n",
        new="",
        tests=[f"{_BESIDE}::test_no_time_for_it_leaves_it_out"],
    ),
    Mutant(
        name="dump-members-by-place",
        guards="members of struct page are found by their names",
        file="pinlab/sources/dump.py",
        old="    return member.bit_offset // 8, size\n",
        new="    return member.bit_offset // 8 // 16 * 16, size\n",
        tests=[_MEMBERS],
    ),
    Mutant(
        name="allocations-beyond-memory",
        guards="SN13",
        file="pinlab/snapshot/allocations.py",
        old="            if len(self) and int(stops[-1]) > nr_frames:\n",
        new="            if len(self) and int(stops[-1]) < 0:\n",
        tests=[_ROWS],
    ),
]
