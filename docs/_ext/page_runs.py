"""Runs the cells of the pages while Sphinx reads the pages that have none.

Pages run side by side and leave their outputs in the cache that myst-nb reads. They are run again
when a cell, the package or what it needs has changed. A cell that fails is a warning, and so fails
the build. The files that a page writes lie beside it on the site.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import kernels
import sources
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.cache.main import NbArtifacts
from myst_nb.core.read import is_myst_markdown_notebook, myst_nb_reader_plugin
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


class PageRuns:
    """The runs of one build."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="fnopt-")
        self.notebooks: dict[str, NotebookNode] = {}
        self.pending: dict[str, Future[kernels.Run]] = {}
        self.failed: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.cache: JupyterCacheAbstract

    def begin(self, app: Sphinx, env: Any, docnames: list[str]) -> None:
        """Starts the pages whose outputs are not known, and has pages with cells read last."""
        config = env.mystnb_config
        if config.execution_mode != "cache":
            return
        self.cache = opened(Path(config.execution_cache_path))
        paths = {name: Path(env.doc2path(name)) for name in docnames}
        pages = [name for name in docnames if is_myst_markdown_notebook(paths[name].read_text())]
        docnames.sort(key=lambda name: name in pages)
        self.notebooks = {name: myst_nb_reader_plugin(str(paths[name])) for name in pages}
        missing = {name: nb for name, nb in self.notebooks.items() if self.cached(name) is None}
        search = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        own = {
            "IPYTHONDIR": self.folder.name,  # no settings of who builds
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(filter(None, search)),
        }
        self.pending = kernels.start(
            missing, Path(self.folder.name), os.environ | own, config.execution_timeout
        )

    def cached(self, name: str) -> int | None:
        """The key of a page's outputs in the cache; None if they are not there."""
        try:
            return self.cache.match_cache_notebook(self.notebooks[name]).pk
        except KeyError:
            return None

    def wait(self, app: Sphinx, name: str, text: list[str]) -> None:
        """Before a page is read: puts its outputs into the cache."""
        if name not in self.pending:
            return
        run = self.pending.pop(name).result()
        self.seconds[name] = round(run.seconds, 2)
        files = NbArtifacts([p for p in run.folder.rglob("*") if p.is_file()], run.folder)
        bundle = CacheBundleIn(
            run.notebook, name, artifacts=files, data={"execution_seconds": run.seconds}
        )
        pk = self.cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True).pk
        if run.error:
            self.failed[name] = pk
            line = run.notebook.metadata["source_map"][run.cell] + 1
            logger.warning("a cell of the page failed\n%s", run.error, location=(name, line))

    def forget(self, app: Sphinx, tree: Any) -> None:
        """After a page is read: the outputs of one that failed are not used again."""
        if (pk := self.failed.pop(app.env.docname, None)) is not None:
            self.cache.remove_cache(pk)

    def finish(self, app: Sphinx, error: Exception | None) -> None:
        """Copies the files of the pages, and reports how long each page took."""
        if error is None:
            for name in self.notebooks:
                if (pk := self.cached(name)) is not None:
                    with self.cache.cache_artefacts_temppath(pk) as files:
                        if files.exists():
                            to = Path(app.outdir, name).parent
                            shutil.copytree(files, to, dirs_exist_ok=True)
        if self.seconds:
            report(self.seconds, Path(app.outdir).parent / "page_seconds.json")
        self.folder.cleanup()


def opened(path: Path) -> JupyterCacheAbstract:
    """The cache of outputs, emptied if the package or what it needs is not that of the outputs."""
    key, now = path / "sources", sources.digest(sources.PACKAGE) + sources.environment()
    if not key.exists() or key.read_text() != now:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        key.write_text(now)
    return get_cache(path)


def report(seconds: dict[str, float], path: Path) -> None:
    """Leaves the seconds of all pages in a file, and says which are the slowest."""
    ranked = dict(sorted(seconds.items(), key=lambda item: -item[1]))
    path.write_text(json.dumps(ranked, indent=1) + "\n")
    slowest = ", ".join(f"{name} {time:.0f} s" for name, time in list(ranked.items())[:5])
    print(f"{len(ranked)} pages run, {sum(ranked.values()):.0f} s in all; slowest: {slowest}")


def setup(app: Sphinx) -> dict[str, bool]:
    runs = PageRuns()
    app.connect("env-before-read-docs", runs.begin)
    app.connect("source-read", runs.wait)
    app.connect("doctree-read", runs.forget)
    app.connect("build-finished", runs.finish)
    # Reading in several processes is slower: each compiles, and pickles, what the others have too.
    return {"parallel_read_safe": False, "parallel_write_safe": True}
