"""What the site makes of the pages: README.md is the first; files that are no pages are named, not linked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#:]+)(?P<anchor>#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add README.md as the first page."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at pages of the site, name other files; `ValueError` for one that is not there."""
    folder = ROOT if page.file.src_uri == "index.md" else (ROOT / "docs" / page.file.src_uri).parent
    here = ROOT / "docs" / page.file.src_uri

    def moved(link: re.Match[str]) -> str:
        target = (folder / link["target"]).resolve()
        if not target.exists():
            raise ValueError(f"{page.file.src_uri}: there is no {link['target']}")
        if target.is_dir() and (target / "README.md").is_file():
            target = target / "README.md"
        if target.suffix == ".md" and target.is_relative_to(ROOT / "docs"):
            path = Path(
                *[".."] * (len(here.parent.parts) - len((ROOT / "docs").parts)),
                target.relative_to(ROOT / "docs"),
            )
            return f"[{link['text']}]({path.as_posix()}{link['anchor'] or ''})"
        return f"{link['text']} (`{target.relative_to(ROOT).as_posix()}`)"

    return LINK.sub(moved, markdown)
