"""The explorer's tabs of thoughts and of measured runs in headless Chromium."""

import json
import re

import explorer as page
import pytest

from figures import explorer_measured

pytestmark = [pytest.mark.slow, pytest.mark.browser]

CHOSEN = ".t-map button[aria-pressed=true]"
DROP = """(text) => {
  const moved = new DataTransfer();
  moved.items.add(new File([text], "dropped.json"));
  for (const type of ["dragover", "drop"]) {
    const event = new DragEvent(type, { dataTransfer: moved, bubbles: true, cancelable: true });
    document.querySelector("h1").dispatchEvent(event);
  }
}"""


@pytest.fixture
def thoughts(visit):
    tab = visit("#tab=thoughts", wait=False)
    tab.wait_for_selector(CHOSEN)
    return tab


@pytest.fixture
def measured(visit):
    tab = visit("#tab=measured", wait=False)
    tab.wait_for_selector(".m-panel")
    return tab


def address(tab):
    tab.evaluate(page.QUIET)
    return dict(pair.split("=") for pair in tab.url.partition("#")[2].split("&"))


def cell(tab, at):
    """What the page's data have of one cell."""
    return tab.evaluate("(at) => tp.thoughts.cell(tp.data.thoughts, at)", at)


def test_untouched_it_shows_where_codes_are_clearest(thoughts):
    assert "coded" in thoughts.inner_text(CHOSEN) and "where the reader does not find it" in thoughts.inner_text(
        ".t-verdict"
    )
    data = page.data(page.SHIPPED.read_text(encoding="utf-8"))["thoughts"]
    at = dict(zip(("cost", "strength", "seed"), data["clear"]["coded"], strict=True)) | {"rule": 0}
    here = cell(thoughts, at)
    accuracy, agreement = (
        int(n) for n in re.findall(r"(\d+)% of the (?:answers|cases)", thoughts.inner_text(".t-verdict"))
    )
    assert abs(accuracy - 100 * here["measures"]["accuracy"]) <= 0.5
    assert abs(agreement - 100 * here["measures"]["agreement"]) <= 0.5
    assert thoughts.locator(".t-line").count() == len(here["lines"])
    first = thoughts.inner_text(".t-line >> nth=0")
    assert " ".join(word["text"] for word in here["lines"][0]["words"]) in " ".join(first.split())
    numbers = thoughts.locator(".t-numbers .num").all_inner_texts()
    assert numbers == [
        f"{here['measures'][name]:.2f}".replace("-", "−") for name in ("read", "sharpening", "keyed", "code")
    ]


def test_every_cell_of_every_rule_is_drawn(thoughts):
    """By clicks on the cells of the first rule, then by the choice of others; the fixture sees what goes wrong."""
    seen = set()
    for i in range(thoughts.locator(".t-map button").count()):
        thoughts.locator(".t-map button").nth(i).click()
        thoughts.wait_for_timeout(50)
        seen.add(thoughts.inner_text(".t-verdict"))
        assert thoughts.locator(CHOSEN).count() == 1
        assert thoughts.evaluate(f"document.querySelectorAll('.t-map button')[{i}].ariaPressed") == "true"
    assert len(seen) == thoughts.locator(".t-map button").count()
    for rule in thoughts.locator("#t-rule option").evaluate_all("all => all.map((one) => one.value)"):
        thoughts.select_option("#t-rule", rule)
        thoughts.wait_for_timeout(50)
        text = thoughts.inner_text("#panel-thoughts")
        assert not any(word in text for word in ("NaN", "undefined", "unknown"))
        # Every column of the chart is inside of it.
        assert thoughts.evaluate(
            "[...document.querySelectorAll('#panel-thoughts svg rect')].every((one) => one.y.baseVal.value >= 0 &&"
            " one.y.baseVal.value + one.height.baseVal.value <= 212)"
        )


def test_arrows_move_the_choice_and_stop_at_the_edges(thoughts):
    thoughts.click("text=mixture >> nth=0")
    thoughts.wait_for_timeout(50)
    data = page.data(page.SHIPPED.read_text(encoding="utf-8"))["thoughts"]
    thoughts.focus(CHOSEN)
    for key in ["ArrowLeft"] * 6 + ["ArrowDown"] * 4 + ["ArrowRight", "ArrowUp"]:
        thoughts.keyboard.press(key)
        thoughts.wait_for_timeout(30)
    found = address(thoughts)
    assert (found["t_cost"], found["t_strength"]) == tuple(
        f"{values[1]:g}" for values in (data["costs"], data["strengths"])
    )
    assert thoughts.evaluate("document.activeElement.ariaPressed") == "true"
    assert thoughts.locator(".t-map button[tabindex='0']").count() == 1


def test_an_address_opens_what_was_seen(thoughts, visit):
    thoughts.select_option("#t-rule", "RLOO")
    thoughts.select_option("#t-draw", "1")
    thoughts.locator(".t-map button").nth(2).click()
    address(thoughts)
    again = visit("#" + thoughts.url.partition("#")[2], wait=False)
    again.wait_for_selector(CHOSEN)
    assert again.inner_text("#panel-thoughts") == thoughts.inner_text("#panel-thoughts")
    assert again.input_value("#t-rule") == "RLOO" and again.input_value("#t-draw") == "1"


def test_each_phase_has_an_example_that_is_one(thoughts):
    for button in thoughts.locator(".t-controls button").all():
        button.click()
        thoughts.wait_for_timeout(50)
        assert button.inner_text() in thoughts.inner_text(CHOSEN)


def report(change=lambda step: None):
    """The example after a change of its last step, of which there are several."""
    content = json.loads(explorer_measured.EXAMPLE.read_text(encoding="utf-8"))
    change(content["steps"][-1])
    return json.dumps(content)


def choose(tab, text, name="mine.json"):
    tab.set_input_files("#m-file", {"name": name, "mimeType": "application/json", "buffer": text.encode()})
    tab.wait_for_timeout(200)


def test_without_a_file_an_example_is_shown_and_called_one(measured):
    text = measured.inner_text("#panel-measured")
    assert "an example" in text and "stays on your machine" in text and "at most one in 10^" in text
    assert not any(word in text for word in ("NaN", "undefined"))
    assert measured.locator(".m-panel").count() == 7
    assert "friend" in measured.inner_text(".m-words tr:nth-child(2)")


def test_a_report_is_shown_by_choice_and_by_drop(measured):
    choose(measured, report(lambda step: step["estimates"]["total"].update(value=7.77, std_error=0.1)))
    assert "mine.json, written by toypersona" in measured.inner_text("#panel-measured")
    assert "7.77 ± 0.20" in measured.inner_text(".m-panel >> nth=0")
    measured.evaluate(DROP, report(lambda step: step.update(num_samples=4321)))
    measured.wait_for_timeout(200)
    assert "dropped.json" in measured.inner_text("#panel-measured") and "4,321 responses" in measured.inner_text(
        "#panel-measured"
    )
    measured.select_option("#m-step", "100")
    found = address(measured)
    assert found["m_step"] == "100" and "dropped" not in measured.url
    assert measured.evaluate("document.activeElement.id") == "m-step" or measured.input_value("#m-step") == "100"


def test_steps_of_the_example_are_chosen_by_address(visit):
    tab = visit("#tab=measured&m_step=0", wait=False)
    tab.wait_for_selector(".m-panel")
    assert tab.input_value("#m-step") == "0" and "nothing speaks against a mix" in tab.inner_text("#panel-measured")


def test_wrong_files_get_one_sentence_and_what_was_seen_stays(measured):
    choose(measured, report(lambda step: step.update(num_samples=4321)))
    for text, sentence in {
        "{": "breaks off",
        "[]": "no report",
        "x": "no JSON",
        '{"toypersona": "0.0.1", "steps": [{}]}': "lacks estimates",
    }.items():
        choose(measured, text, "odd.json")
        said = measured.locator(".error").all_inner_texts()
        assert len(said) == 1 and said[0].startswith("odd.json") and sentence in said[0]
        assert "4,321 responses" in measured.inner_text("#panel-measured")
    choose(measured, report())
    assert measured.locator(".error").count() == 0


def test_a_report_is_text_and_never_run(measured):
    planted = "<img src=x onerror=document.title='run'>"

    def plant(step):
        step.update(evidence_in_words=planted, notes=[planted])
        step["words"][0]["word"] = step["responses"][0]["response"] = step["responses"][0]["prompt"] = planted

    choose(measured, report(plant), f"{planted}.json".replace("/", ""))
    assert measured.locator("#panel-measured img").count() == 0 and measured.title() != "run"
    assert planted in measured.inner_text("#panel-measured")


def test_one_step_infinite_and_unknown_numbers_and_a_noise_floor(measured):
    def change(step):
        step["estimates"]["total"] = {"value": "inf", "std_error": None}
        step["estimates"]["selection_fraction"] = {"value": None, "std_error": None}
        step["estimates"]["novelty"] = {"value": 0.5, "std_error": 0.1}
        step.update(log_evidence="inf", certified=False, base_inside=False, noise_floor={"total": 0.3})
        step["words"][0].update(nats="inf", ratio="inf")

    content = json.loads(report(change))
    choose(measured, json.dumps(content | {"steps": content["steps"][-1:]}))
    text = measured.inner_text("#panel-measured")
    assert "Over training" not in text and "∞" in text and "no persona says it" in text
    assert "noise alone" in text and "Not certified" in text and "not shown to be a mix" in text
    assert measured.locator(".m-panel").count() == 3 and "NaN" not in measured.inner_html("#panel-measured")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_wide_report_fits_a_phone(visit, scheme):
    """Long names, many personas and prompts."""
    tab = visit("#tab=measured", wait=False, size="phone", color_scheme=scheme)
    tab.wait_for_selector(".m-panel")

    def change(step):
        names = [f"persona_{k}_{'x' * 60}" for k in range(10)]
        prompts = {f"prompt {i} {'y' * 200}": 1 / 500 for i in range(500)}
        mix = dict.fromkeys(names, 0.1)
        weights = dict.fromkeys(prompts, mix)
        step.update(personas=names, prompts=prompts, weights=weights, base_weights=weights, pooled_weights=mix)
        step["words"][0]["word"] = "w" * 300
        step["responses"][0]["response"] = "z" * 3000

    choose(tab, report(change))
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "492 more prompts" in tab.inner_text("#panel-measured")
