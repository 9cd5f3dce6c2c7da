"""Writing: whole files by a rename, through what is no file, and never over what may not go."""

import ast
import os
import socket
import stat
from pathlib import Path

import pytest

from pinlab.files.output import path_of, require_place, written
from pinlab.snapshot import image
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.open import open_snapshot
from pinpage.errors import PinpageError
from tests.kit.pinlab.small import small_recording

ROOT = Path(__file__).resolve().parents[4]


def put(path, content=b"new"):
    with written(path) as file:
        file.write(content)


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with written(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "full"), ValueError])
def test_what_fails_half_way_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(BaseException), written(path) as file:  # noqa: B017, PT012
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path, there):
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.parent.mkdir()
    if there:
        target.write_bytes(b"old")
    link.symlink_to(Path("folder") / "target")
    put(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_a_pipe_is_written_through(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    put(path, b"x" * 10_000)
    assert os.read(reader, 20_000) == b"x" * 10_000
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_device_is_written_through_and_stays_one():
    before = Path("/dev/null").stat()
    put("/dev/null")
    assert Path("/dev/null").stat().st_ino == before.st_ino
    with pytest.raises(SnapshotError, match="No space left on device"):
        put("/dev/full")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_what_can_be_no_place_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    (tmp_path / "socket").touch()
    (tmp_path / "socket").unlink()
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        for path, words in (
            (tmp_path, "is a directory"),
            (tmp_path / "socket", "neither a file nor a pipe"),
            (tmp_path / "none" / "a", "No such file or directory"),
            (Path("/"), "is a directory"),
            (".", "is a directory"),
        ):
            with pytest.raises(SnapshotError, match=words):
                require_place(path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SnapshotError, match="symbolic links"):
        require_place("loop")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_kept(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(SnapshotError, match="Permission denied"):
        put(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("given", ["", None, 7, b"a", ["a"], "a\0b"])
def test_what_is_no_path_is_the_named_error(given):
    with pytest.raises(PinpageError, match="output="):
        require_place(given)
    snapshot = small_recording()
    with pytest.raises(PinpageError, match="output="):
        image.save(snapshot, given)
    with pytest.raises(PinpageError, match="path="):
        image.load(given)
    if given is not None:  # the recording that is built in
        with pytest.raises(PinpageError, match="recording="):
            open_snapshot(given)


def test_texts_and_paths_are_the_same(tmp_path):
    path = tmp_path / "a.npz"
    image.save(small_recording(), str(path))
    assert image.load(str(path)).nr_frames == open_snapshot(path).nr_frames
    assert path_of("a", "x") == path_of(Path("a"), "x") == Path("a")


# Nobody else writes.

WRITERS = {"write_text", "write_bytes", "savez", "savez_compressed", "savefig", "mkstemp"}


def writes(path):
    """Calls in a module that write a file by its name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
        modes += [k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)]
        opens = name == "open" and any(
            isinstance(mode, str) and set(mode) & set("wax") and set(mode) <= set("waxb+t")
            for mode in modes
        )
        first = node.args[0].id if node.args and isinstance(node.args[0], ast.Name) else ""
        if opens or (name in WRITERS and first != "file"):
            yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_every_file_is_written_in_one_place(tmp_path):
    files = [p for f in ("pinpage", "mm", "owners", "pinlab") for p in (ROOT / f).rglob("*.py")]
    found = [place for path in files for place in writes(path)]
    assert {place.partition(":")[0] for place in found} == {"pinlab/files/output.py"}
