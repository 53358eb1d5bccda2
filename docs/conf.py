"""How the pages are made: ``make docs``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "fnopt"
author = "The fnopt authors"
copyright = "The fnopt authors"

extensions = [
    "mathml",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "fnopt"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["fnopt.css"]

# A copied example is what was typed: no prompts, no output.
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
