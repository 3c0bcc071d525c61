"""Pages, messages, comments and names of tests use the field's words: docs/terms.md has them; these are retired."""

import io
import json
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHANGES = ROOT / "docs/CHANGELOG.md"  # says what things were called
RETIRED = {
    r"\byardsticks?\b": "metric fingerprint",
    r"\brestless\b": "noisy",
    r"\bsick\b": "say what fails: collapse, no gradient, an overconfident discriminator",
    r"\bin so long\b": "at least every N minutes",
    r"as a coin would": "no better than chance",
    r"sits at the table|take leave of|police and the thief": "say what it does",
    r"believe what you see": "know whether the result is any good",
    r"\bthe finite numbers\b": "became NaN or infinite",
    r"\bthe same words\b": "the same overrides, or settings",
    r"\bof yours\b": "your own",
    r"\bdo(es)? without a word\b|without a word\b": "by default",
    r"\brings? when\b": "is raised when",
    r"\bgo(es)? on with\b": "resume",
    r"what usually helps, one at a time": "try one of these",
    r"\bstands? still at\b": "has not changed from",
    r"there is none to assume": "is required",
    r"takes away what every run needs": "removes a required setting",
    r"could not be brought": "could not be downloaded",
    r"look at the network\b": "check the connection",
    r"\bno finite number": "NaN or infinite",
    r"may come from anybody": "may come from others",
    r"\blies without\b": "has no matching",
    r"\bto the bit\b": "bit-exactly, or bit for bit",
    r"\banew\b": "again",
    r"one word away|change one word": "one setting",
    r"\b(a|the|real|training|generated) pictures?\b(?![.(])": "image, or sample for a generated one",
    r"\bheld against\b|\bhold (it|them) against\b": "compared with",
    r"\bstrangers?\b": "untrusted, or from others",
    r"\bcannot be meant\b": "say what is wrong",
    r"\bin its own words\b|\bin this program's words\b|\bput .{1,40} into words\b": "explain",
    r"\bthe void\b": "the null device",
    r"\bwhatever the broken byte\b": "anything, for damaged bytes",
    r"\bset(s)? aside as\b": "renamed",
    r"\bwords that one would type\b|\bwords of (a|the) command\b": "overrides, or arguments",
    r"\b(is|are|was) gone on with|\bgoes on with\b": "resumed",
    r"\bwhat comes of\b": "the result",
    r"(?<!there )\b(is|are) no (class or|class of|pairs?|regular|checkpoint of|mapping|images that)\b": "is not a ...",
    r"\blies there\b|\bnothing lies\b": "exists, is there, or what the folder has",
    r"\bgot over (it|its)\b": "recovered",
    r"\b(is|are) nowhere\b|\bleads? nowhere\b": "is missing",
    r"\b(loss|page|grid|checkpoint|choice|network|none) of ours\b|\bor of ours\b": "of this package",
    r"\bmade to fall nowhere\b|\bfalls nowhere\b": "monotone",
    r"\bread off\b": "read from",
    r"\bdisbelief\b": "the adversarial loss",
    r"\bpulls G nowhere\b": "gives G no gradient",
    r"\bone another's\b|\bcome equally often\b": "are sampled equally often",
}


def html_pages():
    """The files that gan-compare and gan-export make their pages of."""
    return [path for ending in ("html", "js", "css") for path in ROOT.glob(f"gan_runner/**/*.{ending}")]


def names_of_tests():
    """The sentence that each test's name is, with the test's file."""
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        for name in re.findall(r"^ *def test_(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            yield str(path.relative_to(ROOT)), name.replace("_", " ")


def prose():
    """Every text that somebody reads, with its place: pages, YAML, strings and comments of Python, names of tests."""
    yield from names_of_tests()
    pages = (ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("conf/**/*.yaml"), *html_pages())
    for path in sorted({*pages} - {CHANGES}):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{path.relative_to(ROOT)}:{number}", line
    for path in sorted(ROOT.glob("docs/*.ipynb")):
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            yield f"{path.relative_to(ROOT)}, cell {number}", "".join(cell["source"])
    for path in sorted([*ROOT.glob("gan_runner/**/*.py"), *ROOT.glob("benchmarks/*.py")]):
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
        for token in tokens:
            if token.type in (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)):
                yield f"{path.relative_to(ROOT)}:{token.start[0]}", token.string


@pytest.fixture(scope="module")
def texts():
    return list(prose())


@pytest.mark.parametrize("retired", RETIRED, ids=lambda pattern: re.sub(r"\W+", " ", pattern))
def test_no_retired_word_comes_back(texts, retired):
    pattern = re.compile(retired, re.IGNORECASE)
    used = [(place, match[0]) for place, text in texts for match in pattern.finditer(text)]
    assert used == [], f"say instead: {RETIRED[retired]}"


# What only names of tests must not say; messages and pages may, in another sense.
RETIRED_IN_NAMES = {
    r"\bpictures?\b": "image, or grid",
    r"\bplayers?\b": "network",
    r"\bones own\b|\bthe users own\b": "custom",
    r"\bgo(es)? on\b|\bgone on\b": "resumes, or continues",
    r"\b(is|are) told\b(?! apart)": "is reported, or explained",
    r"\bplanted\b": "injected",
    r"\bput into words\b|\bin words\b": "is explained, or refused",
    r"\bcomes? of\b": "the result",
    r"\blooks? at\b|\blooked at\b": "checks, measures, reads, or evaluates",
}


@pytest.mark.parametrize("retired", RETIRED_IN_NAMES, ids=lambda pattern: re.sub(r"\W+", " ", pattern))
def test_no_retired_word_comes_back_in_a_test_name(retired):
    used = [name for _, name in names_of_tests() if re.search(retired, name)]
    assert used == [], f"say instead: {RETIRED_IN_NAMES[retired]}"


def test_html_pages_call_an_image_an_image():
    assert len(html_pages()) > 8
    assert [path.name for path in html_pages() if "picture" in path.read_text(encoding="utf-8").lower()] == []


def test_every_term_is_listed_once():
    page = (ROOT / "docs/terms.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^-|][^|]*?) \|", page, re.MULTILINE)[1:]
    terms = [term for row in rows for term in row.split(", ")]
    assert sorted(terms) == sorted(set(terms))
    assert len(terms) > 40
