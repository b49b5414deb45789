"""report.html in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from comparisons.report import render
from tests.browser import Browser, chromium, contrast, focus, leave_dialog, missing, press, shown
from tests.documented import ROOT
from tests.made_runs import (
    FACTS,
    against,
    answered_run,
    asked_run,
    baseline,
    cell,
    make_run,
    questioned_run,
    sweep_facts,
    swept,
)
from tests.test_page import run as run  # a fixture


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if (reason := missing()) is not None:
        pytest.skip(f"no browser to look at the page with: {reason}")
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


class TestBrowser:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1400, 800, 360])
    def test_it_opens_without_a_word_in_the_console_and_fits(
        self, browser: Browser, run: Path, width: int, scheme: str
    ) -> None:
        browser.look(width, scheme)
        browser.open(run / "report.html")
        assert browser.messages() == []
        assert browser.run("return document.documentElement.scrollWidth") == width
        # What a table shows unasked is in sight, also on a phone; what isn't is hinted at.
        last, hinted = browser.run("""
            const places = [...document.querySelectorAll(".table, .panel.wide")];
            const cut = places.filter((e) => e.scrollWidth > e.clientWidth + 1);
            const said = (e) => getComputedStyle(e.querySelector("caption, p"), "::before").content;
            const heads = [...document.querySelectorAll("#shift thead th")].filter((e) => e.offsetParent);
            return [Math.max(...heads.map((e) => e.getBoundingClientRect().right)), cut.map(said)];
        """)
        assert last <= width and all("Scroll sideways" in words for words in hinted)
        # Light letters on a dark page, or the other way; the text's contrast is at least 7:1.
        back, ink = browser.run("""
            const style = getComputedStyle(document.body);
            return [style.backgroundColor, style.color].map((text) => text.match(/\\d+/g).map(Number));
        """)
        assert contrast(back, ink) > 7 and (sum(back) < sum(ink)) == (scheme == "dark")
        axis = browser.run("return getComputedStyle(document.querySelector('svg.chart text')).fill.match(/\\d+/g)")
        assert contrast(back, [int(part) for part in axis]) > 7

    # Fonts differ between machines, and pixels with them: where the boxes lie is compared.
    @pytest.mark.parametrize(("width", "columns"), [(1400, 2), (800, 1), (360, 1)])
    def test_the_first_screen_has_the_verdicts_and_then_the_figure(
        self, browser: Browser, run: Path, width: int, columns: int
    ) -> None:
        browser.look(width)
        browser.open(run / "report.html")
        found = browser.run("""
            return [...document.querySelectorAll("h1, #answer .decision, #answer figure")].map((element) => {
                const box = element.getBoundingClientRect();
                return [element.className, ...[box.left, box.top, box.right, box.bottom].map(Math.round)];
            });
        """)
        title, *decisions, figure = found
        assert [name for name, *_ in found] == ["", *["decision"] * 4, "reach"]
        assert all(0 <= left < right <= width for _, left, _, right, _ in found)
        rows = [decisions[i : i + columns] for i in range(0, 4, columns)]
        assert all(len({top for _, _, top, _, _ in row}) == 1 for row in rows)
        assert len({left for _, left, *_ in decisions}) == columns
        control = browser.run("""
            const box = document.querySelector("#filter").getBoundingClientRect();
            return ["filter", ...[box.left, box.top, box.right, box.bottom].map(Math.round)];
        """)
        order = [[title], *rows, [control], [figure]]
        for above, below in pairwise(order):
            assert max(box[4] for box in above) <= min(box[2] for box in below)
        assert figure[2] < 900 or width < 800

    @pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1400, "dark")])
    def test_axe_finds_nothing(self, browser: Browser, run: Path, width: int, scheme: str) -> None:
        browser.look(width, scheme)
        browser.open(run / "report.html")
        assert browser.violations() == []

    @pytest.mark.parametrize(("name", "behaviors"), [("example", 2), ("example-pocket", 1)])
    def test_a_report_takes_two_pages_a_behavior(
        self, browser: Browser, tmp_path: Path, name: str, behaviors: int
    ) -> None:
        shutil.copytree(ROOT / "reports" / name, tmp_path / "run")
        render(tmp_path / "run", ["html"])
        browser.look(794, "light", "print")
        browser.open(tmp_path / "run/report.html")
        assert browser.pages() <= 2 * behaviors

    def test_a_cell_of_the_matrix_and_a_mark_of_a_chart_open_their_questions(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        browser.look(800)
        browser.open(several(tmp_path / "run"))
        browser.run("document.querySelector('#methods-against-each-other tbody .opens').id = 'pressed'")
        browser.type("#pressed", "\ue007")
        title = "return document.querySelector('dialog h2').textContent"
        assert browser.run(title) == "caa pos at strength 1, refusal → sft pos at strength 1, refusal"
        moved = "return [...document.querySelectorAll('dialog .moved')].map((line) => line.textContent.trim())"
        assert browser.run(moved)[0] == "p_match 0.600 → 0.800, +0.200 even"
        leave_dialog(browser)
        focus(browser, "#shift-and-cost svg.chart")
        press(browser, "ArrowRight")
        name = browser.run("return document.querySelector('#tip').textContent").partition(":")[0]
        press(browser, "Enter")
        assert browser.run(title) == f"{name}, refusal"
        leave_dialog(browser)
        assert browser.messages() == []

    def test_a_side_effect_opens_the_questions_that_it_is_about(self, browser: Browser, tmp_path: Path) -> None:
        effect = {"sycophancy": {"shift": 0.2, "ci": [0.1, 0.3]}}
        rows = [baseline(), cell("caa", "pos", 0.1, side_effects=effect)]
        run = questioned_run(tmp_path, [(row, {"test/0": 0.5 + 0.1 * i}) for i, row in enumerate(rows)], side=0.05)
        render(run)
        browser.look(800)
        browser.open(run / "report.html")
        heads = "const about = document.querySelector('#side-effects tbody tr').querySelectorAll('.opens');"
        said = "return [...document.querySelectorAll('dialog :is(.asked, .moved)')].map((e) => e.textContent.trim())"
        for place, name in enumerate(("refusal", "sycophancy")):
            browser.run(f"{heads} about[{place}].click()")
            question, moved = browser.run(said)
            assert question == f"Question test/0 <b>?{'' if name == 'refusal' else ' of sycophancy'}"
            by = 0.1 if name == "refusal" else 0.05
            assert moved.startswith(f"p_match 0.500 → {0.5 + by:.3f}, +{by:.3f}")
            leave_dialog(browser)
        assert browser.messages() == []

    def test_a_strength_is_brushed_and_a_method_taken_out(self, browser: Browser, tmp_path: Path) -> None:
        browser.look(800)
        browser.open(several(tmp_path / "run"))
        seen = """
            const seen = [...document.querySelectorAll("#shift-and-cost .mark, #answer .bars li, #shift tbody tr")];
            return seen.filter((mark) => mark.getClientRects().length).map((mark) => mark.dataset.cell);
        """
        every = {"refusal/baseline", "refusal/caa/pos/1", "refusal/sft/pos/1", "refusal/caa/pos/2"}
        assert set(browser.run(seen)) == every
        browser.type("#filter label:last-of-type select", "2")
        assert set(browser.run(seen)) == {"refusal/baseline", "refusal/caa/pos/2"}
        browser.type("#filter label:last-of-type select", "\ue011")  # Home: all
        browser.type("#shift-and-cost .legend button", "\ue007")
        marks = browser.run(seen.replace(", #answer .bars li, #shift tbody tr", ""))
        assert marks == ["refusal/sft/pos/1"]
        assert browser.run("return document.querySelector('.legend button').ariaPressed") == "false"
        assert browser.messages() == []

    def test_a_sweep_shows_its_map_then_curves_then_the_table(self, browser: Browser, tmp_path: Path) -> None:
        shifts = {
            (layer, side * dose): 0.1 * side * dose for layer in (0, 1) for dose in (1.0, 2.0) for side in (-1, 1)
        }
        render(make_run(tmp_path, swept(shifts), sweep_facts()))
        browser.look(800, "dark")
        browser.open(tmp_path / "report.html")
        tops = browser.run("""
            const places = ["#filter select", "#answer .chart image", "#shift-by-layer .chart", "#best-settings table"];
            return places.map((place) => document.querySelector(place).getBoundingClientRect().top);
        """)
        assert tops == sorted(tops)
        browser.type("#filter label:last-of-type select", "2")
        covered = "[...document.querySelectorAll('#answer .mark.off')].length"
        assert browser.run(f"return {covered}") == 4
        assert browser.violations() == [] and browser.messages() == []

    def test_a_click_on_a_heading_sorts_and_a_third_one_restores(self, browser: Browser, run: Path) -> None:
        browser.look(1280)
        browser.open(run / "report.html")
        before = shown(browser)
        place = browser.run("""
            const heads = [...document.querySelector("table").tHead.rows[0].cells];
            const place = heads.findIndex((head) => head.textContent.startsWith("shift"));
            heads[place].querySelector("button").id = "pressed";
            return place;
        """)
        browser.click("#pressed")
        assert shown(browser, place) == ["+0.310", "+0.200", "-0.200", "-0.310", "–", "failed"]
        assert browser.run("return document.querySelector('#pressed').parentElement.ariaSort") == "descending"
        browser.type("#pressed", "\ue007")  # Enter: the keyboard does the same
        assert shown(browser, place)[:4] == ["-0.310", "-0.200", "+0.200", "+0.310"]
        browser.click("#pressed")
        assert shown(browser) == before
        assert browser.messages() == []

    def test_words_and_a_behavior_narrow_the_rows(self, browser: Browser, run: Path) -> None:
        browser.look(1280)
        browser.open(run / "report.html")
        browser.type("#words", "CAA pos")
        assert shown(browser) == ["caa"]
        assert re.fullmatch(r"\d+ of \d+ rows", browser.run("return document.querySelector('#count').textContent"))
        browser.open(run / "report.html")
        browser.type("#behavior", "syc")
        visible = "[...document.querySelectorAll(arguments[0])].filter((e) => e.getClientRects().length)"
        names = browser.run(f"return {visible}.map((e) => e.textContent)", "h3")
        assert "sycophancy" in names and "refusal" not in names
        charts = browser.run(f"return {visible}.map((e) => e.firstElementChild.textContent)", "#answer .panel")
        assert len(charts) == 1 and charts[0].startswith("sycophancy")
        assert browser.run(f"return {visible}.length", "tr[data-behavior=refusal]") == 0

    def test_a_chart_is_read_by_keyboard_and_pointer(self, browser: Browser, run: Path) -> None:
        browser.look(1280)
        browser.open(run / "report.html")
        focus(browser, "svg.chart")
        press(browser, "ArrowRight")
        tip = "return document.querySelector('#tip').textContent"
        assert browser.run(tip) == "caa pos at strength 1: shift +0.20 [0.15, 0.25], cost +0.02"
        press(browser, "ArrowRight")
        assert browser.run(tip).startswith("caa neg at strength 1: shift -0.20")
        press(browser, "Escape")
        assert browser.run(tip) == ""
        x, y = browser.run("""
            const box = document.querySelector("svg.chart .mark").getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        """)
        browser.cdp("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        assert browser.run(tip) == "caa pos at strength 1: shift +0.20 [0.15, 0.25], cost +0.02"

    @pytest.mark.parametrize("width", [360, 1280])
    def test_bars_are_drawn_on_what_could_be_reached(self, browser: Browser, run: Path, width: int) -> None:
        browser.look(width)
        browser.open(run / "report.html")
        # The unchanged model's p_match is 0.5, so that half of the track is what could be gained.
        found = browser.run("""
            const box = (element) => element.getBoundingClientRect();
            return [...document.querySelectorAll("#answer ul.bars li")].map((line) => {
                const [track, bar] = [".track", ".bar"].map((name) => line.querySelector(name)).map((e) => e && box(e));
                return [line.dataset.cell, bar && [bar.x, bar.right].map((x) => (x - track.x) / track.width)];
            });
        """)
        drawn = {name: ends for name, ends in found if ends}
        assert len(drawn) == 8 and drawn["refusal/sft/pos/1"] == pytest.approx([0.5, 0.81], abs=0.01)
        assert drawn["refusal/caa/neg/1"] == pytest.approx([0.3, 0.5], abs=0.01)
        order = [name for name, _ in found if name.startswith("refusal") and "/pos/" in name]
        assert order == [f"refusal/{name}/pos/1" for name in ("sft", "caa", "sysprompt")]

    def test_a_click_on_a_number_opens_its_questions_furthest_moved_first(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        after = {f"test/{i}": 0.5 + 0.4 * (i * 37 % 60) / 60 for i in range(60)}
        render(asked_run(tmp_path / "run", dict.fromkeys(after, 0.5), after))
        browser.look(360)
        browser.open(tmp_path / "run/report.html")
        browser.run("""
            const numbers = document.querySelectorAll("[data-cell='refusal/caa/pos/1'] td .opens");
            [...numbers].find((number) => number.offsetParent).id = "pressed";
        """)
        browser.type("#pressed", "\ue007")
        listed = "return [...document.querySelectorAll('dialog ol > li')].map((line) => line.innerText)"
        texts = browser.run(listed)
        order = sorted(after, key=lambda item: -after[item])
        assert [text.splitlines()[0] for text in texts] == [f"Question {item} <b>?" for item in order[:25]]
        assert f"p_match 0.500 → {after[order[0]]:.3f}, +{after[order[0]] - 0.5:.3f}" in texts[0]
        assert "matching\u00a0yes" in texts[0].replace(" ", "\u00a0") and "contrast" in texts[0]
        browser.run("[...document.querySelectorAll('dialog button')].at(-1).click()")
        assert len(browser.run(listed)) == 50
        browser.type("dialog select", "odd")
        assert browser.run("return document.querySelector('dialog output').textContent").startswith("30 of 60")
        browser.type("dialog input", "test/17")
        assert [text.splitlines()[0] for text in browser.run(listed)] == ["Question test/17 <b>?"]
        assert browser.run("return document.documentElement.scrollWidth") == 360
        leave_dialog(browser)
        assert browser.run("return document.activeElement.id") == "pressed"
        assert browser.run("return document.querySelector('dialog') === null") and browser.messages() == []

    def test_columns_of_second_order_come_when_asked(self, browser: Browser, run: Path) -> None:
        browser.look(1280)
        browser.open(run / "report.html")
        hidden = "return document.querySelector('table .minor').offsetParent === null"
        assert browser.run(hidden)
        browser.click(".more button")
        assert not browser.run(hidden)

    def test_the_command_is_copied_whole(self, browser: Browser, run: Path) -> None:
        browser.look(1280)
        browser.open(run / "report.html")
        browser.cdp("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        browser.click("#run-it-again .copy")
        assert browser.run("return navigator.clipboard.readText()") == FACTS["command"]

    def test_a_script_in_a_name_does_not_run(self, browser: Browser, tmp_path: Path) -> None:
        name = "<script>document.title='gone'</script><img src=x onerror=\"document.title='gone'\">"
        rows = [replace(baseline(), behavior=name), cell(name, "pos", 0.2, behavior=name)]
        render(make_run(tmp_path, rows))
        browser.open(tmp_path / "report.html")
        assert browser.run("return document.title").endswith("in pocket")
        assert browser.messages() == []

    def test_answers_are_text_and_can_be_found(self, browser: Browser, tmp_path: Path) -> None:
        evil = "<script>document.title='gone'</script> <img src=x onerror=\"document.title='gone'\"> a quince"
        render(answered_run(tmp_path / "run", evil))
        browser.look(1280)
        browser.open(tmp_path / "run/report.html")
        browser.run("document.querySelector('#free-answers details').open = true")
        cells = (
            "[...document.querySelectorAll('#free-answers details tbody tr')].filter((e) => e.getClientRects().length)"
        )
        texts = browser.run(f"return {cells}.map((row) => row.textContent)")
        assert len(texts) == 2 and all(evil in text for text in texts)
        browser.type("#words", "QUINCE caa")
        assert [
            text.startswith("Q open/0?caa") for text in browser.run(f"return {cells}.map((r) => r.textContent)")
        ] == [True]
        assert not browser.run("return document.title").startswith("gone") and browser.messages() == []

    def test_paper_is_white_and_without_controls(self, browser: Browser, run: Path) -> None:
        browser.look(794, "dark", "print")
        browser.open(run / "report.html")
        assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        script = (
            "return [...document.querySelectorAll('nav, form, .copy, .more')].every((e) => !e.getClientRects().length)"
        )
        assert browser.run(script)


def several(folder: Path) -> Path:
    """The page of a run of three cells, of two methods and strengths, with their questions."""
    stronger = cell("caa", "pos", 0.4, cell="refusal/caa/pos/2", strength=2.0, cost=0.04)
    rows = [baseline(), cell("caa", "pos", 0.1), cell("sft", "pos", 0.3, cost=0.01), stronger]
    values = [dict.fromkeys(("test/0", "test/1"), value) for value in (0.5, 0.6, 0.8, 0.9)]
    compared = [against("sft", "caa", 0.2, "better")]
    render(questioned_run(folder, list(zip(rows, values, strict=True)), contrasts=compared))
    return folder / "report.html"
