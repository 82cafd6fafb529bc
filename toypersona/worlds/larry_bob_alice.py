"""Larry is rude, Bob polite, Alice honest and helpful: twelve response units, so 12^3 responses."""

from importlib import resources

from toypersona.options import TextOptions
from toypersona.worlds import names, text
from toypersona.worlds.world import Labels, World


def larry_bob_alice() -> tuple[World, Labels]:
    """The world of the shipped lines; an opening in each one's style, and three that anybody uses."""
    folder = resources.files("toypersona.worlds") / "lines" / "larry_bob_alice"
    lines = {name: (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines() for name in names.LARRY_BOB_ALICE}
    return text.from_lines(lines, TextOptions(prompt_length=2, num_prompts=6, max_units=names.NUM_WORDS))
