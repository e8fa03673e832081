"""Secrets in a run's output become ``***``, also where they are cut by chunks or encoded."""

import base64
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote_from_bytes, quote_plus

MASK: Final = b"***"
MIN_BYTES: Final = 4
"""What is shorter than this stands in every log by chance and is not masked."""
_MIN_LINE: Final = 8


class Mask:
    """Masks one stream. What may be the beginning of a secret is held back until it is decided."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._needles = sorted(
            {form for secret in secrets for form in _forms(secret)},
            key=lambda form: (-len(form), form),
        )
        self._pattern = (
            re.compile(b"|".join(map(re.escape, self._needles))) if self._needles else None
        )
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What of the stream so far can be shown and was not yet."""
        return self._masked(chunk, last=False)

    def flush(self) -> bytes:
        """The rest, at the end of the stream."""
        return self._masked(b"", last=True)

    def _masked(self, chunk: bytes, *, last: bool) -> bytes:
        if self._pattern is None:
            return chunk
        text = self._held + chunk
        shown, at = [], 0
        held = len(text) if last else self._undecided(text, 0)
        for found in self._pattern.finditer(text):
            if found.start() >= held:
                break
            shown += [text[at : found.start()], MASK]
            at = found.end()
            if at > held:
                held = self._undecided(text, at)
        shown.append(text[at:held])
        self._held = text[held:]
        return b"".join(shown)

    def _undecided(self, text: bytes, start: int) -> int:
        """Where the longest end of ``text`` begins that a secret may begin with."""
        first = len(text)
        for needle in self._needles:
            at = text.find(needle[:1], max(start, len(text) - len(needle) + 1))
            while -1 < at < first:
                if needle.startswith(text[at:]):
                    first = at
                    break
                at = text.find(needle[:1], at + 1)
        return first


def _forms(secret: bytes) -> set[bytes]:
    """A secret, its lines, and each of these in base64 (at every offset) and as URLs carry it."""
    forms: set[bytes] = set()
    lines = [line.strip() for line in secret.splitlines()]
    for raw in {secret, secret.strip(), *(line for line in lines if len(line) >= _MIN_LINE)}:
        if len(raw) < MIN_BYTES:
            continue
        forms.add(raw)
        for encoded in (quote_plus(raw), quote_from_bytes(raw), quote_from_bytes(raw, safe="")):
            lower = re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)
            forms |= {encoded.encode(), lower.encode()}
        for before in range(3):
            # Without the characters that also carry bits of what stands before or after it.
            padded = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
            bits = (before + len(raw)) * 8
            core = padded[-(-before * 8 // 6) : bits // 6]
            if len(core) >= MIN_BYTES:
                forms |= {core, core.translate(bytes.maketrans(b"+/", b"-_"))}
    return forms
