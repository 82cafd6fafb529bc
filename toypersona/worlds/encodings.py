"""Text files in UTF-8; a file in another encoding is named, and what it seems to be is guessed. Without jax."""

import codecs
import re
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_USUAL = {
    "euc_kr": r"[\uac00-\ud7a3]",
    "shift_jis": r"[\u3040-\u30ff\u4e00-\u9fff\u3000-\u3002\uff01-\uff1f]",
    "gb18030": r"[\u4e00-\u9fff\u3000-\u3002\uff01-\uff1f\u201c\u201d]",
    "big5": r"[\u4e00-\u9fff\u3000-\u3002\uff01-\uff1f]",
    "cp1251": r"[\u0410-\u044f\u0451]",
}
"""The characters, beyond ASCII, of which text in an encoding mostly consists."""

_MOSTLY = 0.9

_ICONV = {"utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE", "euc_kr": "EUC-KR"}
"""Names that iconv has for encodings where it does not take Python's."""

_BYTES = ("cp1251", "cp1252")
"""Of these every file of one byte a letter is one, so that a guess may be of another: no command is given."""


def read(path: Path) -> str:
    """The text of a file.

    Raises:
        ValueError: it is not UTF-8, or no text.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = None
        if _nearly(data):
            line = 1 + data.count(b"\n", 0, error.start)
            raise ValueError(f"{path} is in UTF-8 but for line {line}: write that line again in UTF-8.") from None
    if text is not None and "\0" not in text:
        return text
    guess = guessed(data)
    if guess is None:
        raise ValueError(f"{path} is no text: write lines of speech in UTF-8, or remove the file.")
    command = "" if guess in _BYTES else f" (iconv -f {_ICONV.get(guess, guess.upper())} -t UTF-8 {path.name})"
    raise ValueError(f"{path} is not in UTF-8, it seems to be in {guess}: save it as UTF-8{command}.")


def _nearly(data: bytes) -> bool:
    """Whether of what is beyond ASCII nearly all is UTF-8."""
    text = data.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    return sum(char > "\x7f" for char in text) - broken > 10 * broken


def guessed(data: bytes) -> str | None:
    """The encoding that bytes which are not UTF-8 seem to be in; None if they seem to be no text."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    if b"\0" in data:
        # Line feeds alone tell: their zero stands after them or before.
        after, before = (data[first::2].count(0) for first in (1, 0))
        wide = "utf-16-le" if after > before else "utf-16-be"
        return wide if _is_text(_decoded(data, wide)) and min(after, before) * 10 < max(after, before) else None
    runs = re.findall(rb"[\x80-\xff]+", data)
    if len(b"".join(runs)) <= 1.5 * len(runs):
        # Accented letters stand alone between others.
        return "cp1252"
    shares = {name: _share(data, name, usual) for name, usual in _USUAL.items()}
    best = max(shares, key=shares.__getitem__)
    return best if shares[best] > _MOSTLY else "cp1252"


def _share(data: bytes, encoding: str, usual: str) -> float:
    """The share of characters beyond ASCII that are usual in an encoding; 0 if it is another."""
    beyond = re.sub(r"[\x00-\x7f]", "", _decoded(data, encoding) or "")
    return len(re.findall(usual, beyond)) / max(1, len(beyond))


def _is_text(decoded: str | None) -> bool:
    return decoded is not None and all(char.isprintable() or char.isspace() for char in decoded)


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None
