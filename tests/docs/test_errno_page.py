"""The page of errnos is what the table says."""

from tests.docs import errno_page


def test_the_page_is_what_the_table_says():
    assert errno_page.PAGE.read_text() == errno_page.page(), "make readme"
