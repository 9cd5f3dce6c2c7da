"""`pinpage check`: exit codes, one line for each mistake, text and JSON."""

import json
import sys

import pytest

from pinlab.lab.find import load_factory
from pinpage.errors import PinpageError
from pinpage.testing.conformance.promises import Promise


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch, pytestconfig):
    monkeypatch.chdir(pytestconfig.rootpath)


@pytest.fixture
def owners(tmp_path):
    """A file with an owner that forgets the device, and things that are no factories."""
    path = tmp_path / "my_owner.py"
    path.write_text(
        "from pinpage.owner import PinOwner, Verdict\n"
        "from pinpage.testing.conformance.lab import PageSubject\n"
        "class Hasty(PinOwner):\n"
        "    name = 'hasty'\n"
        "    def __init__(self): self.pfn_of = {}\n"
        "    def isolate(self, pin, mode): return Verdict.YES\n"
        "    def migrate(self, pin, target): self.pfn_of[pin.private] = target\n"
        "def hasty(lab):\n"
        "    owner = Hasty()\n"
        "    return PageSubject(lab, owner, owner.pfn_of)\n"
        "def empty(lab): return None\n"
        "def exits(lab): raise SystemExit(0)\n"
        "class Quitter(Hasty):\n"
        "    def isolate(self, pin, mode): raise SystemExit(0)\n"
        "def quitter(lab):\n"
        "    owner = Quitter()\n"
        "    return PageSubject(lab, owner, owner.pfn_of)\n"
        "number = 7\n"
    )
    return path


def test_an_owner_that_keeps_its_promises(pinpage):
    ended = pinpage("check", "docs/tutorial/ring.py:ring", "--examples", "3")
    code, out, err = ended.code, ended.out, ended.err
    assert (code, err) == (0, "")
    assert out.startswith("ring keeps every promise: it migrates.\n")


def test_a_dotted_name_and_json(pinpage):
    ended = pinpage("check", "tests.conformance.broken:good", "--examples=2", "--json")
    code, out = ended.code, ended.out
    found = json.loads(out)
    assert code == 0
    assert found["kept"]
    assert found["finding"] is None
    assert found["counts"]["nr_moved"] > 0
    assert (found["can_migrate"], found["can_release"]) == (True, False)


def test_a_broken_promise_is_exit_code_1_with_its_trace(pinpage, owners):
    ended = pinpage("check", f"{owners}:hasty")
    code, out, err = ended.code, ended.out, ended.err
    assert (code, err) == (1, "")
    assert out.startswith("hasty breaks a promise.\n\nC1 Yes means quiesced: until migrate or")
    assert "1. user   gives it thing 0 to keep" in out
    assert out.endswith("writes pfn 0x0 after it said Yes and before migrate or putback\n")


def test_a_broken_promise_as_json(pinpage, owners):
    ended = pinpage("check", f"{owners}:hasty", "--json")
    code, out = ended.code, ended.out
    finding = json.loads(out)["finding"]
    assert code == 1
    assert finding["promise"] == "C1"
    assert finding["meaning"] == Promise.C1.meaning
    assert finding["trace"][-1] == "owner  writes pfn 0x0"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("ring", "'ring' is not MODULE:OWNER, such as my_owner.py:make_ring"),
        ("nowhere.py:ring", "nowhere.py: there is no such file"),
        ("no.such.module:ring", "no.such.module does not load: ModuleNotFoundError"),
        ("docs/tutorial/ring.py:rings", "has no callable 'rings'; it has Ring, ring"),
        ("{owners}:number", "has no callable 'number'; it has Hasty, hasty, empty"),
        ("{owners}:exits", "the factory raised SystemExit: 0"),
        ("{owners}:empty", "the factory returned NoneType, not a Subject"),
        ("pinpage.owner:PinOwner", "the factory raised TypeError"),
        ("docs/tutorial/ring.py:Ring", "; it gets a lab and returns a Subject"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(pinpage, owners, target, says):
    ended = pinpage("check", target.format(owners=owners))
    code, out, err = ended.code, ended.out, ended.err
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_an_owner_that_exits_does_not_end_the_command(pinpage, owners):
    ended = pinpage("check", f"{owners}:quitter")
    assert (ended.code, ended.err) == (1, "")
    assert "=> isolate raised SystemExit: 0" in ended.out


def test_ctrl_c_ends_the_command_in_one_line(pinpage, tmp_path):
    path = tmp_path / "patient.py"
    path.write_text(
        "import _thread\n"
        "from tests.conformance.broken import good\n"
        "nr_made = 0\n"
        "def patient(lab):\n"
        "    global nr_made\n"
        "    nr_made += 1\n"
        "    if nr_made == 5: _thread.interrupt_main()\n"
        "    return good(lab)\n"
    )
    ended = pinpage("check", f"{path}:patient", "--examples", "100000")
    assert (ended.code, ended.out, ended.err) == (130, "", "pinpage: interrupted\n")


def test_a_module_that_exits_does_not_load(pinpage, tmp_path):
    for number, code in enumerate(("raise SystemExit(0)", "import os; os._exit(0)")):
        path = tmp_path / f"script{number}.py"
        path.write_text(f"{code}\n")
        ended = pinpage("check", f"{path}:owner")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == f"pinpage: {path} does not load: SystemExit: 0\n"


def test_a_module_that_does_not_load_says_why(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("1 / 0\n")
    with pytest.raises(PinpageError, match="does not load: ZeroDivisionError: division by zero"):
        load_factory(f"{path}:owner")


def test_without_hypothesis_the_extra_is_named(pinpage, monkeypatch):
    for name in [n for n in sys.modules if n == "pinlab.cli.check" or ".conformance" in n]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    ended = pinpage("check", "docs/tutorial/ring.py:ring")
    code, out, err = ended.code, ended.out, ended.err
    assert (code, out) == (2, "")
    assert err.startswith(
        "pinpage: the owner kit needs hypothesis; install the extra pinpage[test]"
    )
    assert err.count("\n") == 1
