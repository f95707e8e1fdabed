"""What the browser front makes of written text: mrkdwn, markdown, unknown blocks; no text makes it dangerous."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.browsing import (
    MISSING,
    launched,
    served,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.debian,
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
]
ALLOWED = {
    "STRONG",
    "EM",
    "S",
    "CODE",
    "PRE",
    "BLOCKQUOTE",
    "BR",
    "A",
    "BUTTON",
    "SPAN",
    "TIME",
    "SVG",
    "TITLE",
    "CIRCLE",
    "RECT",
    "PATH",
    "P",
    "UL",
    "OL",
    "LI",
    "HR",
    "DIV",
    "TABLE",
    "THEAD",
    "TBODY",
    "TR",
    "TH",
    "TD",
    "INPUT",
}
SAFE = """(node) => [...node.querySelectorAll('*')].map((one) => [one.tagName.toUpperCase(), one.getAttributeNames().filter((name) => name.startsWith('on')).length,
  one.getAttribute('href') || ''])"""
SHOWN = (
    "async ([module, text]) => { const made = await import('/js/' + module + '.js'); const box = document.createElement('div');"
    f"box.append(made[module](text)); return [({SAFE})(box), box.textContent]; }}"
)
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "*",
                "_",
                "~",
                "`",
                "```",
                "<",
                ">",
                "|",
                "\n",
                "[",
                "](",
                ")",
                "#",
                "- ",
                "1. ",
                "&lt;",
                "&amp;",
                "<!date^1^{time}|x>",
                "<@U1>",
                "<javascript:x|y>",
                "<https://a.example|",
                ":tada:",
                "| a | b |\n|--|--|\n",
                "**",
                "    ",
                "\\",
                "<img onerror=x>",
                "data:text/html,x",
            ]
        ),
        st.text(max_size=6),
    ),
    max_size=14,
).map("".join)


@pytest.fixture(scope="module")
def bare_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with served(tmp_path_factory.mktemp("text")) as url, launched() as browser:
        page = browser.new_page()
        page.goto(url)
        yield page


@pytest.mark.parametrize("module", ["mrkdwn", "markdown"])
@settings(max_examples=150, deadline=None)
@given(text=PIECES)
def test_any_text_renders_to_harmless_elements(bare_page: Page, module: str, text: str) -> None:
    """Whatever is written, rendering ends, makes only elements of the list, no handlers, and only web and mail addresses."""
    elements, _ = bare_page.evaluate(SHOWN, [module, text])
    assert {tag for tag, _, _ in elements} <= ALLOWED
    assert not any(handlers for _, handlers, _ in elements)
    assert all(href.startswith(("http:", "https:", "mailto:", "#/")) for tag, _, href in elements if tag == "A")


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_characters="*_~`:<>&\n\r", exclude_categories=["Cs"]), max_size=60))
def test_text_without_signs_is_shown_as_it_is(bare_page: Page, text: str) -> None:
    """Words without formatting signs come out letter by letter."""
    assert bare_page.evaluate(SHOWN, ["mrkdwn", text])[1] == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("*bold* and _it_ and ~no~", "<strong>bold</strong> and <em>it</em> and <s>no</s>"),
        ("snake_case_name 2*3*4", "snake_case_name 2*3*4"),
        ("*not\nbold*", "*not<br>bold*"),
        ("`*raw*` &amp; &lt;b&gt;", "<code>*raw*</code> &amp; &lt;b&gt;"),
        ("&gt; said\nme", "<blockquote>said</blockquote>me"),
        ("```a &lt; b```", '<pre class="code-block"><code>a &lt; b</code></pre>'),
        ("<!date^x^{time}|soon>", "soon"),
        ("open ``` fence", "open ``` fence"),
    ],
)
def test_mrkdwn_reads_as_slack_shows_it(bare_page: Page, text: str, shown: str) -> None:
    """Each sign of Slack's mrkdwn becomes its element, and only where Slack would take it for one."""
    html = "async (text) => { const {mrkdwn} = await import('/js/mrkdwn.js'); const box = document.createElement('div'); box.append(mrkdwn(text)); return box.innerHTML; }"
    assert bare_page.evaluate(html, text) == shown


def test_an_unknown_block_says_so(bare_page: Page) -> None:
    """A block type of the future is named instead of vanishing."""
    show = "async () => { const {renderBlock} = await import('/js/blocks.js'); return renderBlock({type: 'hologram'}, {}).textContent; }"
    assert bare_page.evaluate(show) == "This block type is not shown here: hologram"
