"""Every Python example of the README and of the documentation runs, from the top of its page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# they have pages of their own
PACKAGES = ("bijector", "likelihood", "minimize", "montecarlo", "operators", "prior", "store", "stream")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def examples(page: Path) -> str:
    """Return the Python blocks of a page, padded with empty lines so that errors show its line numbers."""
    code, inside = [], False
    for line in page.read_text().splitlines():
        if line.strip() == "```":
            inside = False
        code.append(line if inside else "")
        if line.strip() == "```python":
            inside = True
    return "\n".join(code)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


WITH_EXAMPLES = [page for page in PAGES if examples(page).strip()]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name_of)
def test_examples_of_the_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some pages write files
    exec(compile(examples(page), str(page), "exec"), {"__name__": "__main__"})


def test_readme_has_the_two_setup_commands():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert lines.count('pip install -e ".[demo]" && treedyn demo sandcastle') == 1
    assert lines.count('pip install -e ".[test]" && pytest') == 1


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_linked_pictures_and_pages_exist(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


def test_pages_stay_small():
    large = [path.name for path in (ROOT / "docs" / "assets").iterdir() if path.stat().st_size > 3_000_000]
    assert not large
    assert (ROOT / "docs" / "assets" / "sandcastle.png").stat().st_size < 400_000


@pytest.mark.parametrize(
    "name",
    [
        "treedyn",
        "treedyn.bijector",
        "treedyn.operators",
        "treedyn.minimize",
        "treedyn.montecarlo",
        "treedyn.networks",
        "treedyn.networks.prior",
        "treedyn.networks.likelihood",
        "treedyn.stream",
        "treedyn.store",
        "treedyn.particles",
        "treedyn.particles.io",
        "treedyn.particles.io.ase",
        "treedyn.diffusion",
        "treedyn.view",
        "treedyn.testing",
    ],
)
def test_every_public_name_is_in_the_reference(name):
    source = ROOT.joinpath(*name.split("."), "__init__.py").read_text()
    public = re.findall(r"import (\w+) as \1$", source, re.MULTILINE)
    reference = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    documented = set(re.findall(r"^::: ([\w.]+)$", reference, re.MULTILINE))
    # re-exported names are documented under the shorter name
    missing = [x for x in public if not documented & {f"{name}.{x}", f"treedyn.{x}"} and x not in PACKAGES]
    assert public and not missing


def test_every_example_has_a_page_in_the_gallery():
    gallery = "".join(page.read_text() for page in (ROOT / "docs" / "gallery").glob("*.md"))
    missing = [path.name for path in (ROOT / "examples").glob("*.py") if f"examples/{path.name}" not in gallery]
    assert not missing


@pytest.mark.parametrize("topic", ["NPT", "barostats", "SGLD", "GPU", "units", "diffusion"])
def test_a_page_says_what_there_is_of_every_topic(topic):
    assert topic in (ROOT / "docs" / "start" / "scope.md").read_text()
