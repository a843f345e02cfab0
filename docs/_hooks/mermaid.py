"""A MkDocs hook: serve the diagrams' script from the site itself, where a copy is given.

Material fetches mermaid from a public CDN when a page with a diagram is opened, unless the site
brings the script along. Nothing is fetched at build time either way. To bring it along::

    npm pack @mermaid-js/tiny@11 && tar xzf mermaid-js-tiny-11*.tgz
    MERMAID_JS=package/dist/mermaid.tiny.js make docs
"""

# MkDocs loads this file by its path: it is no module of a package.
# ruff: noqa: INP001

from __future__ import annotations

import os
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

TARGET = "assets/mermaid.js"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Load the script with every page, before Material looks for it."""
    if os.environ.get("MERMAID_JS"):
        config.extra_javascript.append(TARGET)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the script to the files of the site."""
    if source := os.environ.get("MERMAID_JS"):
        if not Path(source).is_file():
            raise PluginError(f"MERMAID_JS is {source!r}, which is no file")
        files.append(File.generated(config, TARGET, abs_src_path=str(Path(source).resolve())))
    return files
