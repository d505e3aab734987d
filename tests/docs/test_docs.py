"""What the documents say is there: links, files, commands and their options, configurations, the request path, the words."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import click
import pytest

from turnout.cli import COMMANDS, turnout
from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.providers import vendors

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")],
)
NAMES: Final = [page.relative_to(ROOT).as_posix() for page in PAGES]
CONFIG_PAGES: Final = [
    page for page in PAGES if page.name == "rollouts.md" or page.parent.name == "how-to" or page == ROOT / "README.md"
]

FENCE: Final = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE: Final = re.compile(r"`([^`\n]+)`")
FILE: Final = re.compile(r"(?:[a-z_.-]+/)+[a-z0-9_-]+\.(?:py|toml|ya?ml|txt|svg|sqlite3)")
HOMES: Final = (ROOT, ROOT / "src" / "turnout", ROOT / "docs")
WORTHY = "Zq7Lm2Xv9Tb4Rk8Wc1Yp6Nd3Hf5Jg0Ss"
"""What every variable holds: a key, or a secret that is worth one."""
MARK: Final = "# turnout.yaml\n"

BANNED: Final = (
    "backend",
    "client-side",
    "server-side",
    "custom_llm_provider",
    "deployment",
    "instance",
    "model group",
    "api_type",
    "transaction",
    "strategy",
    "handler",
    "manager",
    "middleware",
    "cooldown",
    "rate limiter",
    "spend log",
    "experiment flag",
)
"""STYLE's column "do not say", as far as the words are no part of plain English."""


def fences(page: Path) -> list[tuple[str, str]]:
    """Every fenced block of a page: its language and its text."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What `#…` may name: each heading as GitHub spells it."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    broken = []
    for link in LINK.findall(prose(page)):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    return broken


def commands(page: Path) -> list[str]:
    """Every `turnout …` line of a page: in its shell blocks and in its inline code."""
    found = []
    for language, text in fences(page):
        if language in {"sh", "bash", "console", ""}:
            found += [line.strip() for line in text.splitlines()]
    found += CODE.findall(prose(page))
    lines = [re.sub(r"^(?:\w+=\S+ )*(?:\.venv/bin/)?turnout ", "turnout ", one) for one in found]
    return [one for one in lines if re.match(r"turnout [a-z-]", one)]


def wrong_with(line: str) -> str:
    """What is wrong with a `turnout …` line: an unknown command or option. "" if nothing is."""
    words = shlex.split(line, comments=True)[1:]
    context = click.Context(turnout)
    command: click.Command = turnout
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            return f"there is no command {words[0]}"
        command = found
        words = words[1:]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help", "--version"}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"there is no option {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_somewhere(name):
    """To a file that is there, and to a heading that is in it."""
    assert [] == broken_links(ROOT / name)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_is_named_is_there(name):
    """A path in inline code is one of the repository, of the package, or of docs/."""
    named = [one for code in CODE.findall(prose(ROOT / name)) for one in code.split() if FILE.fullmatch(one)]
    missing = [one for one in named if not any((home / one).exists() for home in (*HOMES, (ROOT / name).parent))]
    assert [] == missing


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_is_named_exists(name):
    """And knows the options that it is shown with."""
    assert {} == {line: wrong for line in commands(ROOT / name) if (wrong := wrong_with(line))}


def test_an_unknown_command_or_option_would_be_seen():
    """The check sees what it is for."""
    assert wrong_with("turnout fly") == "there is no command fly"
    assert wrong_with("turnout rollout fly") == "there is no command fly"
    assert wrong_with("turnout serve --wings 2  # two") == "there is no option --wings"
    assert wrong_with("turnout rollout set litellm 25 --json") == ""


def test_every_command_is_shown_somewhere():
    """Each has a place in the documents."""
    shown = {shlex.split(line, comments=True)[1] for page in PAGES for line in commands(page)}
    assert set(COMMANDS) <= shown


@pytest.mark.parametrize("page", CONFIG_PAGES, ids=lambda page: page.stem)
def test_every_configuration_that_is_shown_loads(page, tmp_path):
    """A yaml block of the README, the how-tos and the page on rollouts is a whole turnout.yaml, and says so first."""
    keys = {row.key_env: "sk-made-up-for-a-test" for row in vendors().values() if row.key_env}
    for language, text in fences(page):
        if language == "yaml":
            assert text.startswith(MARK)
            names = re.findall(r"\$\{(\w+)\}", text)
            environment = Environment({**keys, **dict.fromkeys(names, WORTHY), "TURNOUT_HOME": str(tmp_path)})
            file = tmp_path / "turnout.yaml"
            file.write_text(text, encoding="utf-8")
            assert load(file, environment).snapshot.accounts


def test_there_are_configurations_to_load():
    """The mark is in use."""
    assert 5 <= sum(text.startswith(MARK) for page in CONFIG_PAGES for _, text in fences(page))


def test_the_request_path_is_short():
    """At most nine files and 2,000 lines tell the story of a request, and the page says how many lines they have."""
    page = ROOT / "docs" / "life-of-a-request.md"
    shell = next(text for _, text in fences(page) if "wc -l" in text)
    files = re.findall(r"[a-z_]+/[a-z_]+\.py", shell)
    lines = sum((ROOT / "src" / "turnout" / file).read_text(encoding="utf-8").count("\n") for file in files)
    assert len(files) == len(set(files)) <= 9
    assert lines <= 2000
    told = re.search(r"9 files, about ([\d,]+) lines", prose(page))
    assert told is not None
    assert abs(int(told[1].replace(",", "")) - lines) <= 100
    for file in files:
        assert f"`{file}`" in prose(page)


def test_the_index_leads_to_every_page():
    """docs/README.md names each page below docs/."""
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(index))}
    assert set() == {page.name for page in (ROOT / "docs").rglob("*.md") if page not in {*linked, index}}


def test_decisions_have_numbers_of_their_own():
    """Four digits, each once, the same in the file's name and in its title, and the same parts in each."""
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [page.name[:4] for page in pages]
    assert sorted(set(numbers)) == numbers
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {page.name[:4]}: ")
        for part in ("Context", "Decision", "Consequences", "How we would know it was wrong"):
            assert f"**{part}.**" in text


def test_the_glossary_uses_none_of_the_words_that_it_replaces():
    """STYLE, "do not say"."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").lower()
    assert [] == [word for word in BANNED if re.search(rf"\b{re.escape(word)}s?\b", text)]


def test_a_word_of_the_glossary_stands_once():
    """One row a word."""
    rows = re.findall(r"^\| ([^|]+?) \| ", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    words = [word for word in rows if word not in {"word", "---"}]
    assert len(words) >= 40
    assert sorted(set(words)) == sorted(words)
