"""How the pages are made: ``make docs``."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
from docstrings import option_titles

# The kernels that run the course find its claims there.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [sys.path[0], *filter(None, [os.environ.get("PYTHONPATH")])]
)

project = "fnopt"
author = "The fnopt authors"
copyright = "The fnopt authors"

extensions = [
    "claim_pages",
    "docstrings",
    "mathml",
    "presentation",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

# The course is run at every build, and an error in it is one of the build.
nb_execution_mode = "force"
nb_execution_show_tb = True
nb_execution_timeout = 180
nb_merge_streams = True
nb_render_markdown_format = "myst"

smartquotes = False

html_theme = "furo"
html_title = "fnopt"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["fnopt.css"]

# A copied example is what was typed: no prompts, no output.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_default_options = {"member-order": "bysource"}
# Types are said where an argument is explained (docstrings.py); signatures stay short.
autodoc_typehints = "none"
napoleon_custom_sections = [
    "When",
    *((title, "params_style") for title in ("Attributes", *option_titles())),
]
python_maximum_signature_line_length = 90
# References must have targets, but those to other packages, whose pages are not here.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(collections|contextlib|flax|jax|nnx|numpy|optax|os|pathlib|typing)\..*"),
]
