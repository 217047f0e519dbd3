"""The pages of docs/: the tutorials run, links lead somewhere, and all pages are in the site's table of contents."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_hlr.options.yaml_values import load_yaml
from tests.processes import Process

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Purchases of two tastes, in the working directory."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(1)
    names = ["ann", "bob", *(f"customer {n}" for n in range(40))]
    rows = [
        (name, f"product {item}", "2026-03-01")
        for n, name in enumerate(names)
        for item in draw.choice(20, 9, replace=False) + 20 * (n % 2)
    ]
    pd.DataFrame(rows, columns=["customer", "product", "bought_at"]).to_csv("shop.csv", index=False)
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_tutorial(shop):
    (commands,) = blocks("tutorial.md", "sh")
    for line in commands.splitlines():
        program, *words = shlex.split(line)
        assert program == "recbole-hlr"
        words = [str(next(Path().glob(word))) if "*" in word else word for word in words]
        process = Process(words, cwd=shop)
        out, errors = process.communicate(timeout=200)
        assert process.returncode == 0, f"{line}: {errors}"
        if "--users=ann" in words:
            assert out.count("product ") == 5
    table = pd.read_parquet("recs.parquet")
    assert table["user"].nunique() == 42
    assert set(table.groupby("user").size()) == {20}


@pytest.mark.slow
@pytest.mark.parametrize("page", ["tutorial.md", "notebook.md"])
def test_the_python_of_a_tutorial(shop, page):
    names: dict = {}
    for code in blocks(page, "python"):
        exec(code, names)
    assert "ndcg@10" in names["result"].test


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        file = page.parent / target
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
            slugs = {
                re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower())).strip("-") for title in titles
            }
            assert anchor[1:] in slugs, anchor


def test_every_page_is_in_the_table_of_contents():
    listed = set(re.findall(r": (\S+\.md)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {"index.md", *(page.relative_to(ROOT / "docs").as_posix() for page in PAGES)}
    assert load_yaml(ROOT / "mkdocs.yml")["docs_dir"] == "docs"
    assert os.path.isfile(ROOT / load_yaml(ROOT / "mkdocs.yml")["hooks"][0])
