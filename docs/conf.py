"""The site: the pages of this folder, and an API reference of everything public.

    make docs       builds it into build/docs; a warning is an error

The pages are Markdown that reads as well without the site.  The API pages are made from the
docstrings at each build (`api_pages.py`) and not kept.
"""

import gc
import sys
from pathlib import Path

from sphinx.domains.python import PythonDomain

gc.disable()  # millions of nodes that live to the end; looking for garbage takes a fifth
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import api_pages  # noqa: E402  (found through the path that was just set)

project = "pinpage"
author = "The pinpage authors"
release = "0.1.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "pinpage"
html_copy_source = False

myst_heading_anchors = 3
smartquotes = False

# Single backticks in docstrings are code.
default_role = "literal"
# Names of attributes that several classes have: their descriptions refer to nothing.
suppress_warnings = ["ref.python"]
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
# Parameters and attributes as lists of text: as fields each name is looked up among all objects.
napoleon_use_param = False
napoleon_custom_sections = [("Attributes", "params_style")]
# Each page shows the way to all others: to folders, not to each function.
toc_object_entries = False


def _find_each_name_once():
    """A name in an annotation is compared with the ends of all names: once, and only if one fits.

    `int` and `Iterator` are no objects of ours; they were most of 20,000 searches.
    """
    find = PythonDomain.find_obj
    known = {}
    last_parts = {}

    def find_obj(self, env, modname, classname, name, *rest):
        nr_objects = len(self.objects)
        if nr_objects not in last_parts:
            last_parts[nr_objects] = {one.rpartition(".")[2] for one in self.objects}
        if name.removesuffix("()").rpartition(".")[2] not in last_parts[nr_objects]:
            return []
        key = (nr_objects, modname, classname, name, *rest)
        if key not in known:
            known[key] = find(self, env, modname, classname, name, *rest)
        return known[key]

    PythonDomain.find_obj = find_obj


def setup(app):
    """Make the API pages before sources are read, and read docstrings in the house's form."""
    _find_each_name_once()
    api_pages.setup(app)
