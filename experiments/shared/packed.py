"""Files of arrays and texts that are the same bytes whenever they are made of the same numbers."""

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

BETWEEN = "\uffff"
"""Between texts in the file: no character, and a part of none."""


def keep(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of numbers or texts, packed as small as can be."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as packed:
        for name, array in arrays.items():
            written = io.BytesIO()
            np.lib.format.write_array(written, _bytes(array) if array.dtype.kind == "U" else array)
            packed.writestr(zipfile.ZipInfo(f"{name}.npy"), written.getvalue(), zipfile.ZIP_LZMA)
    path.write_bytes(content.getvalue())


def load(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays of these names that ``keep`` wrote; texts are bytes yet.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    try:
        with np.load(path) as packed:
            return {name: packed[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: check it out again, or make it anew by --from-model.") from error


def texts(array: np.ndarray) -> np.ndarray:
    """Texts from their bytes, in one axis."""
    return np.array(array.tobytes().decode().split(BETWEEN))


def _bytes(written: np.ndarray) -> np.ndarray:
    return np.frombuffer(BETWEEN.join(written.ravel()).encode(), np.uint8)
