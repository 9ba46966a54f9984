"""The site: equations are drawn, pages fit a phone, search works from disk, nothing is fetched."""

from __future__ import annotations

import re
import shutil
from inspect import cleandoc
from pathlib import Path

import pytest

from forecastcache.registry import PREDICTORS, SCHEDULES
from forecastcache.schedules.adaptive import Adaptive

from .browser import overflow
from .test_docs import DOCS, PAGES, ROOT, hooks, name_of  # noqa: F401  # a fixture

MAIN = (
    "index.html", "quickstart.html", "accelerate.html", "concepts.html", "calibration.html",
    "schedules.html", "tables.html", "fidelity.html", "peers.html", "commands.html",
    "predictors/index.html", "predictors/taylor.html", "predictors/bdf.html", "models/index.html",
    "models/flux.html", "notebooks/01_one_line.html", "notebooks/04_calibrate_and_plan.html",
    "reference/index.html", "reference/schedules.html", "contributing.html", "changelog.html",
)  # fmt: skip
# What a page says outside of code.
TEXT = """() => {
    const content = document.querySelector(".md-content").cloneNode(true);
    content.querySelectorAll("pre, code, math").forEach((it) => it.remove());
    return content.textContent;
}"""
PLACE = re.compile(r"(?<!\$)\$(?!\$)([^$]+)\$(?!\$)|\$\$(.*?)\$\$", re.DOTALL)


def test_every_method_has_equations_and_they_convert(hooks):  # noqa: F811
    equations = hooks.equations
    kinds = {**hooks.ours(PREDICTORS), **hooks.ours(SCHEDULES)}
    with_rules = [kind for kind in kinds.values() if issubclass(kind, Adaptive)]
    due = {kind.__name__ for kind in (*hooks.ours(PREDICTORS).values(), *with_rules)}
    assert due <= {*equations.typeset()} <= {kind.__name__ for kind in kinds.values()}
    for kind in kinds.values():
        if kind.__name__ in equations.typeset():
            text = equations.with_equations(kind.__name__, cleandoc(kind.__doc__))
            found = PLACE.findall(text)
            assert any(block for _, block in found), kind.__name__
            assert len(re.findall(r"(?:^|\n *\n)\$\$\n", text)) == text.count("$$") / 2
            for inline, block in found:
                assert "<math" in equations.mathml(block or inline, bool(block))


def test_a_docstring_that_has_moved_on_stops_the_build(hooks):  # noqa: F811
    with pytest.raises(LookupError, match=r"Reuse no longer says 'F\^_s = F_0,'"):
        hooks.equations.with_equations("Reuse", "The newest feature, F^ = F_0.")


def test_latex_that_is_not_known_stops_the_build(hooks):  # noqa: F811
    with pytest.raises(ValueError, match="cannot convert"):
        hooks.equations.mathml(r"\nosuch x", True)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_typesets_converts(page, hooks):  # noqa: F811
    text = re.sub(r"^```.*?^```$|`[^`]*`", "", page.read_text("utf-8"), flags=re.DOTALL | re.M)
    for inline, block in PLACE.findall(text):
        assert "<math" in hooks.equations.mathml(block or inline, bool(block))
    assert "$" not in PLACE.sub("", text)


def test_every_notebook_is_a_page_with_what_it_showed(hooks):  # noqa: F811
    made = hooks.notebook_pages
    pages = made.pages()
    for path in made.notebooks():
        text = pages[f"notebooks/{path.stem}.md"]
        assert text.startswith(f"# {made.title(path)}\n")
        assert ".ipynb)" not in text.replace(f"({path.name})", "")
        shown = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
        assert [f"notebooks/{name}" in pages for name in shown] == [True] * len(shown)
        assert all(pages[f"notebooks/{name}"].startswith(b"\x89PNG") for name in shown)
        assert "%%capture" not in text
    assert "```text\nDiTTransformer2DModel, site output" in pages["notebooks/02_quickstart.md"]
    assert [*made.navigation()[0].values()] == ["notebooks/01_one_line.md"]


def words(path: str) -> str:
    return " ".join((ROOT / path).read_text("utf-8").split())


@pytest.mark.parametrize(
    ("figure", "page"),
    [
        ("5.58", "docs/speed.md"),
        ("11 to 27 dB", "docs/fidelity.md"),
        ("2.9 to 7.9 dB", "docs/fidelity.md"),
        ("40 to 51 dB", "docs/peers.md"),
        ("1.1 to 1.3 times", "docs/peers.md"),
        ("see no difference at 9 computed steps", "docs/peers.md"),
        ("48.7 dB", "README.md"),
    ],
)
def test_figures_of_the_front_page_stand_where_it_leads(figure, page):
    assert figure in words("docs/index.md")
    assert figure in words(page)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built from the checkout as it is."""
    load = pytest.importorskip("mkdocs.config").load_config
    from mkdocs.commands.build import build

    folder = tmp_path_factory.mktemp("site")
    package = folder / "package" / "forecastcache"  # in one place, as in a wheel
    for name in ("", "predictors", "adapters", "calibration"):
        source = ROOT / (name or "forecastcache")
        skipped = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.png")
        shutil.copytree(source, package / name, ignore=skipped)
    config = load(str(ROOT / "mkdocs.yml"), site_dir=str(folder / "site"), strict=True)
    handlers = config.plugins["mkdocstrings"].config["handlers"]
    handlers["python"]["paths"] = [str(package.parent)]
    build(config)
    return folder / "site"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of mkdocs and its plug-ins
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_pages_fit_and_say_nothing_raw(site, browser, width, dark):
    for name in MAIN:
        page = browser(site / name, width, dark)
        assert overflow(page) <= 0, f"{name} is {overflow(page)} pixels wider than {width}"
        text = page.evaluate(TEXT)
        for raw in ("$$", r"\(", r"\[", "\\frac", "sum_{", "F^", "<!--"):
            assert raw not in text, f"{name} shows {raw}"
        page.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tables_scroll_in_their_own_box_and_break_no_word(site, browser):
    page = browser(site / "commands.html", 390)
    cells = page.evaluate(
        """() => [...document.querySelectorAll("td code")].map((it) =>
        [it.textContent, it.getClientRects().length])"""
    )
    assert cells
    assert [text for text, lines in cells if lines > 1] == []
    page = browser(site / "models" / "index.html", 390)
    wide = page.evaluate(
        """() => [...document.querySelectorAll(".md-typeset__scrollwrap")].map((it) =>
        it.scrollWidth - it.clientWidth)"""
    )
    assert max(wide) > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_equations_are_drawn(site, browser):
    page = browser(site / "predictors" / "taylor.html")
    heights = page.evaluate(
        """() => [...document.querySelectorAll(".equation math")].map((it) =>
        it.getBoundingClientRect().height)"""
    )
    assert len(heights) == 3
    assert min(heights) > 25  # pixels; a line of text has 16


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_search_finds_a_word_from_disk(site, browser):
    page = browser(site / "predictors" / "taylor.html")  # the index lies a folder above
    page.type("[data-md-component=search-query]", "Prony")
    page.wait_for_selector(".md-search-result__item a")
    found = page.eval_on_selector_all(
        ".md-search-result__item a", "links => links.map((it) => it.href)"
    )
    assert any("predictors/exponential.html" in link for link in found)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_front_page_has_a_toggle_a_repository_and_fetches_nothing(site, browser):
    page = browser(site / "index.html")
    asked: list[str] = []
    page.on("request", lambda it: asked.append(it.url))
    page.reload()
    page.wait_for_load_state("networkidle")
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    scheme = "document.body.getAttribute('data-md-color-scheme')"
    seen = set()
    for _ in range(3):
        page.click("form[data-md-component=palette] label:not([hidden])")
        seen.add(page.evaluate(scheme))
    assert seen == {"default", "slate"}
    assert page.get_attribute(".md-header .md-source", "href").startswith("https://github.com/")
