"""Check every link of the built site.

    python docs/site/check.py build/site

Pages, files and anchors inside must be there, nothing may be loaded from elsewhere; links to other places are listed,
not followed.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("audio", "src"), ("source", "src"), ("iframe", "src"), ("video", "src")}
LOADED_RELATIONS = {"stylesheet", "icon", "preload", "preconnect", "prefetch", "modulepreload", "manifest"}


class Page(HTMLParser):
    """What a page links to, loads and can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element refers to."""
        values = {name: value for name, value in attrs if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if name in values and tag != "meta"}
        for name, value in values.items():
            if (tag, name) in LOADED:
                self.loads.append(value)
        if "href" in values:
            relations = set(values.get("rel", "").split())
            loads = tag == "link" and relations & LOADED_RELATIONS
            (self.loads if loads else self.links).append(values["href"])


def check(site: Path) -> tuple[list[str], set[str]]:
    """Return what is wrong, one sentence each, and the links to other places."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    wrong, elsewhere = [], set()

    for path, page in pages.items():
        where = path.relative_to(site)
        if path.name == "404.html":  # its links start at the root, wherever the site will be
            continue
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                elsewhere.add(link)
                if link in page.loads:
                    wrong.append(f"{where} loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or not target.is_relative_to(site.resolve()):
                wrong.append(f"{where} links to {link}, which is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                wrong.append(f"{where} links to {link}, which has no such anchor")

    return wrong, elsewhere


def main() -> None:
    """Check the folder that is named."""
    site = Path(sys.argv[1]).resolve()
    wrong, elsewhere = check(site)
    for link in sorted(elsewhere):
        print(f"not followed: {link}")
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"{len(list(site.rglob('*.html')))} pages, no broken link")


if __name__ == "__main__":
    main()
