"""How the pages are made: ``make docs``."""

project = "fnopt"
author = "The fnopt authors"
copyright = "The fnopt authors"

extensions = ["myst_parser"]
myst_enable_extensions = ["amsmath", "dollarmath"]
html_theme = "furo"
html_title = "fnopt"
myst_heading_anchors = 3
