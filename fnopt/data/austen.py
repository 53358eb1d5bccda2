"""Six novels of Jane Austen, letter by letter."""

from __future__ import annotations

import dataclasses
import functools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fnopt.data.files import check_sha256, find

PACKAGE, FOLDER = "r-cran-janeaustenr", "usr/lib/R/site-library/janeaustenr/data"
SHA256 = "1f48a6d7751aa60776b8aacf34d3b6898c46f4ee0fd103d733dd04f45e761841"


@dataclasses.dataclass(frozen=True)
class Text:
    """A text and its symbols; a symbol's token is its position among them.

    Examples:
        >>> text = Text("to be or not to be")
        >>> text.vocabulary, text.encode("bet").tolist()
        (' benort', [1, 2, 6])
        >>> text.windows(6).tolist() == [text.encode("to be ").tolist(), [4, 5, 0, 3, 4, 6], \
[0, 6, 4, 0, 1, 2]]
        True
    """

    text: str

    @functools.cached_property
    def vocabulary(self) -> str:
        """The symbols, in the order of their code points."""
        return "".join(sorted(set(self.text)))

    @functools.cached_property
    def tokens(self) -> np.ndarray:
        """The text in tokens, which cannot be written into: there is one array of them."""
        tokens = self.encode(self.text)
        tokens.setflags(write=False)
        return tokens

    def encode(self, text: str) -> np.ndarray:
        """The tokens of another text, uint8 if they fit.

        Raises:
            ValueError: it has a symbol that the text has not.
        """
        tokens = {symbol: token for token, symbol in enumerate(self.vocabulary)}
        strange = sorted(set(text) - tokens.keys())
        if strange:
            raise ValueError(f"encode: no {strange[0]!r} among the symbols {self.vocabulary!r}")
        dtype = np.uint8 if len(tokens) <= 256 else np.int32
        return np.fromiter(map(tokens.__getitem__, text), dtype, len(text))

    def decode(self, tokens: np.ndarray) -> str:
        """The text of tokens."""
        return "".join(self.vocabulary[token] for token in np.asarray(tokens).tolist())

    def windows(self, length: int) -> np.ndarray:
        """A copy of the tokens in pieces of a length, in order, the remainder left out.

        Raises:
            ValueError: the text is shorter.
        """
        if not 1 <= length <= len(self.text):
            raise ValueError(f"windows: length must be in [1, {len(self.text)}], got {length}")
        count = len(self.text) // length
        return self.tokens[: count * length].reshape(count, length).copy()


def austen(root: str | Path | None = None) -> Text:
    """Emma, Mansfield Park, Northanger Abbey, Persuasion, Pride and Prejudice, and Sense and
    Sensibility, in this order: 4,025,027 characters, 81 symbols.

    Args:
        root: the folder with ``Rdata.rdb`` or with Debian's package ``r-cran-janeaustenr``
            unpacked; by default the environment's ``FNOPT_DATA``, or where packages are installed.

    Raises:
        FileNotFoundError: they are not there; says how to get them.
        ValueError: the text's SHA-256 is another.

    References:
        The novels, 1811 to 1817, as Project Gutenberg has them.
    """
    path = find(PACKAGE, FOLDER, "Rdata.rdb", root)
    novels = ("\n".join(strings(record)) for record in records(path.read_bytes()))
    text = "\n".join(novels)
    check_sha256(text.encode(), SHA256, path)
    return Text(text)


def records(raw: bytes) -> Iterator[bytes]:
    """The records of an R data base: the length of one, then it compressed by zlib."""
    while raw:
        stream = zlib.decompressobj()
        record = stream.decompress(raw[4:])
        if len(record) != struct.unpack(">I", raw[:4])[0]:
            raise ValueError("an R data base's record has another length than it says")
        yield record
        raw = stream.unused_data


def strings(record: bytes) -> Iterator[str]:
    """The strings of a vector of them that R has written in XDR, version 3 of the format."""
    encoding = struct.unpack_from(">I", record, 14)[0]
    at = 18 + encoding
    kind, count = struct.unpack_from(">II", record, at)
    if record[:6] != b"X\n\0\0\0\3" or kind & 0xFF != 16:
        raise ValueError("not a vector of strings in R's XDR format, version 3")
    at += 8
    for _ in range(count):
        length = struct.unpack_from(">I", record, at + 4)[0]
        yield record[at + 8 : at + 8 + length].decode()
        at += 8 + length
