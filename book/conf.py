"""Settings of the book, for Sphinx; `tools/build_book.py` lays out the pages and starts it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = author = "sdlesson"
root_doc = "index"
exclude_patterns = ["README.md"]  # index.md takes it in
extensions = ["myst_nb", "sphinx.ext.autodoc", "worded_book"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of other projects have no page here
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88  # longer ones: a line for each parameter

nb_execution_mode = "off"  # the stored outputs are the book's
nb_code_prompt_show, nb_code_prompt_hide = "Show the imports", "Hide the imports"  # nothing else is folded so
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 3
myst_heading_slug_func = "worded_book.anchor"

html_title = "sdlesson"
html_favicon = "favicon.svg"
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_theme = "sphinx_book_theme"
html_math_renderer = "mathml"
html_sidebars = {"**": ["search-button-field.html", "sbt-sidebar-nav.html"]}
html_static_path = ["custom.css", "book.js"]
html_css_files = ["custom.css"]
html_js_files = ["book.js"]
html_copy_source = False
html_scaled_image_link = False  # a figure is a figure, not a link
html_show_copyright = False
html_context = {"default_mode": "auto"}  # dark or light, as the reader's system is
html_theme_options = {
    "home_page_in_toc": True,
    "max_navbar_depth": 1,  # the arrow that unfolds a deeper level has no name for screen readers
    "navbar_persistent": [],  # one search field is enough: the sidebar's
    "use_download_button": False,
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
