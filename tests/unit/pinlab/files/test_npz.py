"""What an .npz is refused for before anything of it is read."""

import pytest

from pinlab.files import npz
from pinlab.snapshot.errors import SnapshotError


@pytest.mark.parametrize(
    ("name", "problem"), [("gone.npz", "does not exist"), (".", "is not a regular file")]
)
def test_what_is_no_file_is_refused_for_what_it_is(tmp_path, name, problem):
    path = tmp_path / name
    with pytest.raises(SnapshotError, match=problem) as caught, npz.opened(path):
        pass
    assert str(path) in str(caught.value)
