"""How figures look; a browser for the explorer, and the page opened in it."""

import importlib
import os
import shutil

import explorer as page
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from figures import style

ADDRESS = page.SHIPPED.as_uri()
SIZES = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@pytest.fixture
def looks():
    """Those of figures, for one test."""
    with mpl.rc_context():
        style._use()
        yield
    plt.close("all")


@pytest.fixture(scope="session")
def browser():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None and not os.environ.get("CI"):
        pytest.skip("No chromium, chromium-browser or google-chrome is on the path.")
    assert path, "CI is set, and no chromium, chromium-browser or google-chrome is on the path."
    with importlib.import_module("playwright.sync_api").sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Opens the page, without motion unless it is wanted; at the end nothing was asked for and nothing went wrong."""
    contexts, wrong, asked = [], [], []

    def go(state="", size="wide", wait=True, script=None, **settings):
        context = browser.new_context(viewport=SIZES[size], **{"reduced_motion": "reduce"} | settings)
        contexts.append(context)
        context.set_default_timeout(30_000)
        tab = context.new_page()
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url.partition("#")[0]))
        if script:
            tab.add_init_script(script)
        tab.goto(f"{ADDRESS}{state}")
        if wait:
            tab.wait_for_function("document.getElementById('story').textContent")
        return tab

    yield go
    for context in contexts:
        context.close()
    assert not wrong
    # A worker made of the page's own text has an address too.
    assert [url for url in asked if not url.startswith("blob:")] == [ADDRESS] * len(contexts)
