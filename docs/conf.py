"""How the pages are made: ``make docs``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
from docstrings import option_titles

project = "fnopt"
author = "The fnopt authors"
copyright = "The fnopt authors"

extensions = [
    "claim_pages",
    "docstrings",
    "mathml",
    "myst_nb",
    "page_runs",
    "presentation",
    "sphinx.ext.autodoc",
    "sphinx.ext.githubpages",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

# page_runs.py fills the cache at every build; with "off" no cell is run.
nb_execution_mode = "cache"
nb_execution_timeout = 180
nb_merge_streams = True
nb_output_stderr = "remove"  # what libraries say of the machine is not for readers
nb_render_markdown_format = "myst"
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
suppress_warnings = ["myst-nb.lexer"]  # the kernel names the lexer; cells not run have none

smartquotes = False
highlight_language = "none"  # commands for a shell; Python says what it is

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "fnopt"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_extra_path = ["_extra"]
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
