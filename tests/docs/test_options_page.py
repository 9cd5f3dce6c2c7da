"""The page of a request's options is what the code says."""

from tests.docs import options_page


def test_the_page_is_what_the_table_says():
    assert options_page.PAGE.read_text() == options_page.page(), "make readme"
