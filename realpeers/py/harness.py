"""What client.py and server.py have in common."""

import hashlib
import json


def noise(n, seed=1):
    """n bytes that do not compress, the same ones for the same seed."""
    return b"".join(hashlib.sha512(b"%d/%d" % (seed, i)).digest() for i in range(0, n, 64))[:n]


def prose(n):
    """Text of n bytes in UTF-8 that compresses well, and has characters of one to four bytes."""
    unit = "The quick brown fox, der flinke Fuchs über Gärten, 狐は速い, 🦊🏃 jumps. "
    size = len(unit.encode())
    return unit * (n // size) + "x" * (n % size)


def sha256(data):
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def eq(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: {short(got)}, want {short(want)}")


def same(got, want, what):
    """Compare two messages by type and checksum."""
    eq((type(got), len(got), sha256(got)), (type(want), len(want), sha256(want)), what)


def short(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} characters)"


def say(value):
    print(json.dumps(value), flush=True)
