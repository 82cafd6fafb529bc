import codecs
import re
import shutil
import subprocess

import pytest

from toypersona.worlds import encodings

CHINESE = "我今天不想上学，作业太多了。\n老师说考试很难。\n"
RUSSIAN = "Привет, как дела сегодня?\nНе знаю, посмотрим завтра.\n"
GERMAN = "Schöne Grüße aus Köln, das Wetter ist trüb.\nWir müssen los.\n"
TEXTS = [
    ("gb18030", CHINESE),
    ("big5", "我今天不想上學，作業太多了。\n老師說考試很難。\n"),
    ("shift_jis", "今日は学校に行きたくない。\n先生は試験が難しいと言った。\n"),
    ("euc_kr", "오늘 학교에 가고 싶지 않아요.\n숙제가 너무 많아요.\n"),
    ("cp1251", RUSSIAN),
    ("cp1252", GERMAN),
    ("utf-16", CHINESE),
    ("utf-16-le", GERMAN),
    ("utf-16-be", CHINESE),
    ("utf-32", GERMAN),
]


@pytest.mark.parametrize(("encoding", "text"), TEXTS)
def test_a_file_that_is_not_utf_8_is_named_with_its_encoding(tmp_path, encoding, text):
    file = tmp_path / "ann.txt"
    file.write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=rf"ann.txt is not in UTF-8, it seems to be in {encoding}: save it") as e:
        encodings.read(file)
    command = re.search(r"\((iconv .*)\)", str(e.value))
    assert bool(command) == (encoding not in ("cp1251", "cp1252"))
    if command and shutil.which("iconv"):
        ran = subprocess.run(command[1].split(), cwd=tmp_path, capture_output=True, check=True)
        assert ran.stdout.decode("utf-8-sig") == text


def test_a_few_broken_bytes_are_found_and_no_other_encoding_is_guessed(tmp_path):
    file = tmp_path / "ann.txt"
    file.write_bytes((GERMAN * 5).encode() + b"Gr\xfc\xdfe\n")
    with pytest.raises(ValueError, match=r"ann.txt is in UTF-8 but for line 11: write that line again in UTF-8"):
        encodings.read(file)


@pytest.mark.parametrize("text", [CHINESE, RUSSIAN, GERMAN, "plain\n", ""])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_utf_8_is_read_with_and_without_its_mark(tmp_path, text, mark):
    file = tmp_path / "ann.txt"
    file.write_bytes(mark + text.encode())
    assert encodings.read(file) == text


@pytest.mark.parametrize("data", [b"\x00\x01\x02\x03" * 20, bytes(range(256)), b"\x89PNG\x00\x00\x00\r\xff\x00\xfe"])
def test_what_is_no_text_is_named(tmp_path, data):
    file = tmp_path / "ann.txt"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="ann.txt is no text: write lines of speech in UTF-8, or remove the file"):
        encodings.read(file)
