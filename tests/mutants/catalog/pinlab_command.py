"""Bugs in tables, notes, progress, and the command."""

from tests.mutants.mutant import Mutant, planted

_UNIT = "tests/unit/pinlab"
_TABLES = f"{_UNIT}/report/test_tables.py"
_NOTES = f"{_UNIT}/compare/test_conclusions.py"
_OUTPUT = f"{_UNIT}/cli/test_output.py"
_ERRORS = "tests/cli/test_errors.py"
_RECORD = "tests/cli/test_record.py"
_REPORT = "tests/cli/test_report.py"
_CALLS = f"{_ERRORS}::test_a_wrong_call_is_one_line"
_NO_BAR = """\
    if {}:
        yield None
        return
    with _bar() as bar:
        task = bar.add_task(first"""

_PRINTED = [
    planted(
        "tables-never-stacked",
        "80 columns",
        "pinlab/report/tables.py",
        "if width is None or len(whole[1]) <= width:",
        "if width is None or width:",
        f"{_TABLES}::test_a_table_that_is_too_wide_is_stacked_not_wrapped",
    ),
    planted(
        "tables-runs-look-alike",
        "80 columns",
        "pinlab/report/tables.py",
        'f"({callbacks})" if callbacks.strip("-") else ""',
        '""',
        f"{_TABLES}::test_a_stacked_table_tells_runs_of_one_design_apart",
    ),
    planted(
        "notes-a-gain-is-a-loss",
        "what a callback buys",
        "pinlab/compare/conclusions.py",
        "gained = row.huge_pages - base.huge_pages",
        "gained = base.huge_pages - row.huge_pages",
        f"{_NOTES}::test_one_callback_that_buys_next_to_nothing_is_said",
    ),
    planted(
        "notes-blames-the-bound-always",
        "what a callback buys",
        "pinlab/compare/conclusions.py",
        "if row.bound - base.bound <= base.bound * _LITTLE:",
        "if row.bound >= base.bound:",
        f"{_NOTES}::test_the_bound_is_blamed_only_where_it_is_to_blame",
    ),
    planted(
        "notes-losses-unsaid",
        "bytes lost",
        "pinlab/compare/conclusions.py",
        "for row in rows if row.bytes_lost\n",
        "for row in rows if row.bytes_lost < 0\n",
        f"{_NOTES}::test_lost_bytes_come_first",
    ),
    planted(
        "output-bar-into-a-file",
        "only on a terminal",
        "pinlab/cli/output.py",
        _NO_BAR.format("not is_terminal(sys.stderr)"),
        _NO_BAR.format("sys.stderr is None"),
        f"{_OUTPUT}::test_no_bar_where_nobody_looks",
    ),
]

_FILES = f"{_UNIT}/files/test_output.py"
_WRITTEN = [
    planted(
        "output-replaces-devices",
        "output never destroys",
        "pinlab/files/output.py",
        "    if stat.S_ISREG(mode):\n        return False\n",
        "    if mode:\n        return False\n",
        f"{_FILES}::test_a_pipe_is_written_through",
    ),
    planted(
        "output-replaces-links",
        "output never destroys",
        "pinlab/files/output.py",
        "with _replaced(Path(os.path.realpath(path)), mode) as file:",
        "with _replaced(path, mode) as file:",
        f"{_FILES}::test_a_link_stays_and_what_it_leads_to_is_written",
    ),
    planted(
        "output-writes-over-disks",
        "output never destroys",
        "pinlab/files/output.py",
        "    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):\n",
        "    if mode:\n",
        f"{_FILES}::test_what_can_be_no_place_is_refused_before_anything_is_written",
    ),
    planted(
        "output-forgets-the-mode",
        "output never destroys",
        "pinlab/files/output.py",
        "            elif path.exists():\n",
        "            elif not path.exists():\n",
        f"{_FILES}::test_a_file_is_replaced_as_a_whole_and_keeps_its_mode",
    ),
    planted(
        "record-looks-at-the-place-last",
        "nothing in vain",
        "pinlab/procfs/capture.py",
        "    place = require_place(output)  # before a minute's work\n",
        "    place = path_of(output, 'output')\n",
        f"{_RECORD}::test_a_place_is_looked_at_before_memory_is",
    ),
    planted(
        "png-whatever-the-ending",
        "--png x.pdf writes a PDF",
        "pinlab/report/heatmap_png.py",
        "figure.savefig(file, format=form,",
        'figure.savefig(file, format="png",',
        f"{_REPORT}::test_the_ending_says_which_picture_it_is",
    ),
    planted(
        "cli-full-disk-traceback",
        "a full disk is one line",
        "pinlab/cli/main.py",
        "    except OSError as error:  # files",
        "    except TimeoutError as error:  # files",
        f"{_ERRORS}::test_a_full_disk_is_one_line_in_every_command",
    ),
]

_MANNERS = "tests/cli/test_manners.py"
_KEPT = f"{_UNIT}/compare/test_interrupted.py"
_BEHAVED = [
    planted(
        "cli-deaf-to-no-color",
        "NO_COLOR",
        "pinlab/cli/main.py",
        'return False if os.environ.get("NO_COLOR") else None',
        "return None",
        f"{_MANNERS}::test_colours_go_where_no_color_says_so",
    ),
    planted(
        "cli-starts-with-a-traceback",
        "an interrupt at the start is one line",
        "pinlab/cli/start.py",
        "    except KeyboardInterrupt:\n",
        "    except TimeoutError:\n",
        f"{_MANNERS}::test_an_interrupt_while_the_command_is_read_in_is_one_line",
    ),
    planted(
        "cli-begins-behind-its-back",
        "an interrupt at the start is one line",
        "pinlab/cli/start.py",
        "        run()\n    except KeyboardInterrupt:\n"
        '        print("pinpage: interrupted", file=sys.stderr)\n'
        "        sys.exit(_INTERRUPTED)\n",
        "    except KeyboardInterrupt:\n"
        '        print("pinpage: interrupted", file=sys.stderr)\n'
        "        sys.exit(_INTERRUPTED)\n"
        "    run()\n",
        f"{_MANNERS}::test_an_interrupt_before_the_command_listens_is_one_line",
    ),
    planted(
        "cli-takes-a-stranger",
        "another owners is named",
        "pinlab/cli/main.py",
        "    if sentence := foreign_package():\n",
        "    if sentence := None:\n",
        f"{_MANNERS}::test_a_stranger_of_our_name_is_named",
    ),
    planted(
        "compare-loses-ended-rows",
        "Ctrl-C prints what is done",
        "pinlab/compare/compare.py",
        "        if not keeps_ended or not found:\n",
        "        if keeps_ended or not found:\n",
        f"{_KEPT}::test_rows_that_had_ended_are_kept",
    ),
    planted(
        "compare-partial-looks-whole",
        "Ctrl-C prints what is done",
        "pinlab/compare/compare.py",
        "partial=len(done) < nr_runs,",
        "partial=False,",
        f"{_KEPT}::test_rows_that_had_ended_are_kept",
    ),
]

_COMMAND = [
    planted(
        "cli-parser-errors-in-a-box",
        "one line",
        "pinlab/cli/main.py",
        'app(prog_name="pinpage", standalone_mode=False, color=_colour())',
        'app(prog_name="pinpage", color=_colour())',
        _CALLS,
    ),
    planted(
        "cli-usage-is-a-failure",
        "exit code 2",
        "pinlab/cli/errors.py",
        "1 if isinstance(error, HostMemoryError | SnapshotError) else 2)\n",
        "1)\n",
        _CALLS,
    ),
    planted(
        "cli-a-file-is-a-wrong-call",
        "exit code 1",
        "pinlab/cli/errors.py",
        "isinstance(error, HostMemoryError | SnapshotError)",
        "isinstance(error, HostMemoryError)",
        "tests/cli/test_request.py::test_a_file_that_is_not_there_is_no_wrong_call",
    ),
    planted(
        "cli-wrong-run-is-a-failure",
        "exit code 2",
        "pinlab/cli/errors.py",
        "2 if isinstance(error, WrongCallError) else 1)\n",
        "1)\n",
        _CALLS,
    ),
    planted(
        "cli-arguments-are-no-options",
        "errors name options",
        "pinlab/cli/errors.py",
        "one_line(_with_options(message))",
        "one_line(message)",
        _CALLS,
    ),
    planted(
        "cli-loads-numpy-for-help",
        "--help answers at once",
        "pinlab/cli/main.py",
        "import typer\n",
        "import numpy\nimport typer\n",
        f"{_ERRORS}::test_help_loads_nothing_heavy",
    ),
    planted(
        "cli-permission-traceback",
        "one line",
        "pinlab/cli/errors.py",
        "    except OSError as error:\n",
        "    except BlockingIOError as error:\n",
        f"{_ERRORS}::test_what_the_system_refuses_without_a_file_is_said_of_it",
    ),
    planted(
        "cli-interrupt-unsaid",
        "Ctrl-C",
        "pinlab/cli/main.py",
        "    if code == INTERRUPTED:\n",
        "    if code == -INTERRUPTED:\n",
        f"{_RECORD}::test_an_interrupt_leaves_the_old_file",
    ),
    planted(
        "cli-map-before-the-picture-fails",
        "nothing half done",
        "pinlab/cli/main.py",
        "        text = draw.text(snapshot, width)\n",
        "        text = draw.text(snapshot, width)\n        typer.echo(text)\n",
        f"{_REPORT}::test_without_matplotlib_the_extra_is_named_and_nothing_is_printed",
    ),
    planted(
        "form-directory-does-not-exist",
        "one clear line",
        "pinlab/files/npz.py",
        "        if not path.exists():\n",
        "        if not path.is_file():\n",
        f"{_UNIT}/files/test_npz.py::test_what_is_no_file_is_refused_for_what_it_is",
    ),
]

MUTANTS: list[Mutant] = [*_PRINTED, *_WRITTEN, *_BEHAVED, *_COMMAND]
