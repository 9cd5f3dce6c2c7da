"""The table of whose stacks are: the packaged one, one's own before it, and what is no table."""

import pytest

from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.errors import SnapshotError
from pinlab.sources.stacks import load_table, packaged_table


@pytest.mark.parametrize(
    ("stack", "klass"),
    [
        (("__alloc_pages", "zbud_zpool_malloc", "zswap_frontswap_store", "swap_writepage"), "ZBUD"),
        (("__alloc_pages", "zbud_alloc.constprop.0", "handle_mm_fault"), "ZBUD"),
        (("allocate_slab", "___slab_alloc", "zbud_alloc"), "SLAB"),
        (("__vmalloc_area_node.isra.0", "dup_task_struct"), "VMALLOC"),
        (("pte_alloc_one", "handle_mm_fault"), "PAGETABLE"),
        (("__folio_alloc", "__handle_mm_fault"), "ANON"),
        (("filemap_alloc_folio", "handle_mm_fault"), "FILE"),
        (("__alloc_pages", "my_driver"), "UNKNOWN"),
        ((), "UNKNOWN"),
    ],
)
def test_the_first_function_from_the_allocator_outwards_decides(stack, klass):
    assert packaged_table().owner_of(stack) == FrameClass[klass]


def test_ones_own_table_goes_first_over_the_whole_stack(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[owner]]\nname = "mine"\nfunctions = ["my_*", "handle_mm_fault"]\n'
        '[[owner]]\nclass = "zram"\nfunctions = ["my_ram_page"]\n'
    )
    table = load_table(path)
    assert table.names == ("mine",)
    assert table.owner_of(("pte_alloc_one", "handle_mm_fault")) == "mine"
    assert table.owner_of(("__alloc_pages", "my_ring")) == "mine"
    assert table.owner_of(("my_ram_page",)) == FrameClass.ZRAM
    assert table.owner_of(("zbud_alloc",)) == FrameClass.ZBUD


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "something else than"),
        ("[[owner]]", "neither|has not functions"),
        ('[[owner]]\nclass="zbud"\nfunctions="f"', "no list of names"),
        ('[[owner]]\nclass="zbud"\nfunctions=["a b"]', "no list of names"),
        ('[[owner]]\nclass="free"\nfunctions=["f"]', "class 'free' is none of anon"),
        ('[[owner]]\nname="slab"\nfunctions=["f"]', "no name for an owner"),
        ('[[owner]]\nname="a"\nfunctions=["f"]\n[[owner]]\nname="b"\nfunctions=["f"]', "already"),
        ("\x00", "is no TOML"),
        ("a = " + "[" * 100_000, "is no TOML"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SnapshotError, match=words) as caught:
        load_table(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SnapshotError, match="cannot be read"):
        load_table(tmp_path / "nowhere.toml")
