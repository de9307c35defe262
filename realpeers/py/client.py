"""Runs cases with the client of the package websockets: python3 client.py '{"plain": "ws://127.0.0.1:1234/", "cases": ["open"], ...}'

realpeers/run starts it and reads what it prints: a line of JSON for each case. The cases of the same names in js/cases.mjs say what they are about.
"""

import asyncio
import json
import re
import ssl
import sys
import time
import traceback
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

import websockets
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatusCode

from harness import eq, noise, prose, same, say, sha256

CONFIG = json.loads(sys.argv[1])
REASON123 = "ü" * 61 + "!"
TRUSTED = ssl.create_default_context(cafile=CONFIG["authority"])


class Test:
    def __init__(self, name):
        self.name = name
        self.connections = 0

    def url(self, path, base):
        u = urlsplit(urljoin(CONFIG[base], path))
        query = dict(parse_qsl(u.query, keep_blank_values=True))
        query = {"run": CONFIG["run"], "case": self.name, **CONFIG["mode"], **query}
        return u._replace(query=urlencode(query)).geturl()

    async def open(self, path, base="plain", **options):
        if base in ("secure", "unknown"):
            options["ssl"] = TRUSTED
        options = {"max_size": None, "ping_interval": None, **options}
        ws = await websockets.connect(self.url(path, base), **options)
        self.connections += 1
        return ws

    async def call(self, ws, data):
        await ws.send(data)
        return await ws.recv()

    async def finish(self, ws):
        await ws.close(1000)
        eq(ws.close_code, 1000, "close code of an orderly end")

    async def ended(self, ws):
        """Read to the end; return the messages, the peer's code and its reason."""
        messages = []
        try:
            while True:
                messages.append(await ws.recv())
        except ConnectionClosed:
            return messages, ws.close_code, ws.close_reason


CASES = {}


def case(f):
    CASES[f.__name__.replace("_", "-")] = f


@case
async def open(t):
    ws = await t.open("echo?end=1000:")
    eq(ws.subprotocol, None, "subprotocol")
    await t.finish(ws)


@case
async def text(t):
    ws = await t.open("echo?end=1000")
    for s in ["a", "Grüße", "日本語", "👋🏽👨‍👩‍👧‍👦", "\0\1\x7f", "\ufeffBOM", "\uffff\U0010ffff", "x" * 125, "é" * 63]:
        eq(await t.call(ws, s), s, "echo")
    await t.finish(ws)


@case
async def empty(t):
    ws = await t.open("echo?end=1000")
    for data in ["", b"", ""]:
        eq(await t.call(ws, data), data, "echo of nothing")
    await t.finish(ws)


@case
async def binary(t):
    ws = await t.open("echo?end=1000")
    every = bytes(range(256))
    for data in [every, bytearray(every), memoryview(every)[10:20]]:
        eq(await t.call(ws, data), bytes(data), "echo")
    await t.finish(ws)


@case
async def sizes(t):
    ws = await t.open("echo?end=1000")
    for n in [1, 125, 126, 127, 4095, 4096, 4097, 65535, 65536, 65537]:
        same(await t.call(ws, noise(n, n)), noise(n, n), f"binary, {n} bytes")
        same(await t.call(ws, prose(n)), prose(n), f"text, {n} bytes")
    await t.finish(ws)


@case
async def mebibyte(t):
    ws = await t.open("echo?end=1000")
    for data in [noise(1 << 20), prose(1 << 20)]:
        same(await t.call(ws, data), data, "1 MiB")
    await t.finish(ws)


@case
async def five_megabytes(t):
    ws = await t.open("echo?end=1000&limit=16777216")
    for data in [noise(5_000_000), prose(5_000_000)]:
        same(await t.call(ws, data), data, "5 MB")
    await t.finish(ws)


@case
async def many_messages(t):
    ws = await t.open("echo?end=1000")

    async def send():
        for i in range(2000):
            await ws.send(f"{i} {'.' * (i % 200)}")

    sender = asyncio.create_task(send())
    for i in range(2000):
        eq(await ws.recv(), f"{i} {'.' * (i % 200)}", "echo")
    await sender
    await t.finish(ws)


@case
async def many_connections(t):
    peers = await asyncio.gather(*(t.open("echo?end=1000") for _ in range(30)))
    got = await asyncio.gather(*(t.call(ws, str(i)) for i, ws in enumerate(peers)))
    eq(got, [str(i) for i in range(30)], "echoes")
    await asyncio.gather(*(t.finish(ws) for ws in peers))


@case
async def fragments_from_server(t):
    ws = await t.open("fragments?end=1000")
    eq(await ws.recv(), "🦊" * 5000, "fragmented text")
    eq(sha256(await ws.recv()), await ws.recv(), "SHA-256 of fragmented binary")
    await t.finish(ws)


@case
async def ping_from_server(t):
    ws = await t.open("ping?end=1000")
    eq(await ws.recv(), "pong came", "message")
    await t.finish(ws)


@case
async def subprotocol(t):
    ws = await t.open("echo?end=1000&protocols=superchat,chat", subprotocols=["chat", "superchat"])
    eq(ws.subprotocol, "superchat", "the server prefers it")
    await t.finish(ws)


@case
async def subprotocol_none(t):
    ws = await t.open("echo?end=1000&protocols=other", subprotocols=["chat", "superchat"])
    eq(ws.subprotocol, None, "subprotocol")
    await t.finish(ws)


@case
async def close_from_client(t):
    for code, reason in [(1000, ""), (1000, "done"), (1001, "leaving"), (3000, "a reason"), (3999, ""), (4000, "Grüße 👋"), (4999, REASON123)]:
        ws = await t.open("echo?end=" + quote(f"{code}:{reason}"))
        await ws.close(code, reason)
        eq(ws.close_code, code, f"close({code}, {reason})")


@case
async def close_from_server(t):
    codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999]
    for code, reason in [(c, f"reason of {c}") for c in codes] + [(1000, ""), (4000, REASON123), (1005, "")]:
        ws = await t.open(f"close?code={code}&reason={quote(reason)}")
        eq(await t.ended(ws), ([], code, reason), "end")


@case
async def close_behind_messages(t):
    ws = await t.open("close?code=4001&reason=all+sent&messages=500")
    eq(await t.ended(ws), ([f"message {i}" for i in range(500)], 4001, "all sent"), "end")


@case
async def close_while_sending(t):
    data = noise(3_000_000)
    ws = await t.open(f"take?limit=16777216&end={quote('3001:behind it')}&sum={sha256(data)}")
    await ws.send(data)
    await ws.close(3001, "behind it")
    eq(ws.close_code, 3001, "close code")


@case
async def close_in_the_middle_of_a_download(t):
    ws = await t.open("pour?end=1000", max_queue=None)  # with a full queue this client would not read its peer's close frame
    await ws.recv()
    await ws.close(1000)
    eq(ws.close_code, 1000, "close code")


@case
async def server_dies(t):
    for path, base in [("die?how=end", "plain"), ("die?how=reset", "plain"), ("kill", "victim")]:
        ws = await t.open(path, base)
        if base == "victim":
            t.connections -= 1  # nobody is left to count it
        await ws.send("now")
        try:
            await ws.recv()
            raise AssertionError("a message came")
        except ConnectionClosedError:
            eq(ws.close_code, 1006, f"close code after {path}")


@case
async def read_limit(t):
    ws = await t.open("echo?limit=1000&end=too-big")
    eq(len(await t.call(ws, "x" * 1000)), 1000, "at the limit")
    await ws.send("x" * 1001)
    eq((await t.ended(ws))[1], 1009, "close code past the limit")


@case
async def refused(t):
    for path, status in [("nothing-is-here", 404), ("forbidden", 403), ("plain-200", 200)]:
        try:
            await t.open(path)
        except InvalidStatusCode as e:
            eq(e.status_code, status, path)
        else:
            raise AssertionError(f"{path}: opened")


@case
async def compression(t):
    mode = CONFIG["mode"]["compression"]
    on = mode != "off"
    text = prose(300_000)
    for api in ["messages", "stream", "read", "mixed"]:  # of our server
        ws = await t.open(f"echo?end=1000&api={api}&" + ("most=100000" if on else "least=600000"), "tapped")
        extensions = ws.response_headers.get("Sec-WebSocket-Extensions", "")
        eq("permessage-deflate" in extensions, on, f"permessage-deflate in {extensions!r}")
        if on:
            eq("server_no_context_takeover" in extensions, mode == "none", f"server_no_context_takeover in {extensions!r}")
        for data in [text, text, "short", json.dumps([{"n": i} for i in range(1000)]), noise(20_000), text]:
            same(await t.call(ws, data), data, "echo")
        await t.finish(ws)
    if on:
        # Every size of window, and each flag, asked for by the client.
        from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Offer

        offers = [Offer(server_max_window_bits=b, client_max_window_bits=b) for b in range(9, 16)]
        offers += [Offer(server_no_context_takeover=True), Offer(client_no_context_takeover=True)]
        for offer in offers:
            ws = await t.open("echo?end=1000&most=100000", "tapped", extensions=[offer])
            eq(len(ws.extensions), 1, f"extensions agreed on for {offer.server_max_window_bits} bits")
            for data in [text[:20000], text[:20000], noise(5000), text[:40000]]:
                same(await t.call(ws, data), data, f"echo with {ws.extensions}")
            await t.finish(ws)
        # And none.
        ws = await t.open("echo?end=1000&least=600000", "tapped", compression=None)
        eq(ws.extensions, [], "extensions not asked for")
        for _ in range(2):
            same(await t.call(ws, text), text, "echo")
        await t.finish(ws)


@case
async def wss(t):
    ws = await t.open("echo?end=1000&limit=16777216", "secure")
    for data in ["hello over TLS", noise(1 << 20)]:
        same(await t.call(ws, data), data, "echo")
    await t.finish(ws)
    ws = await t.open("close?code=4002&reason=over+TLS", "secure")
    eq(await t.ended(ws), ([], 4002, "over TLS"), "end")
    ws = await t.open("die?how=end", "secure")
    await ws.send("now")
    eq((await t.ended(ws))[1], 1006, "close code of a connection that was cut")


@case
async def wss_unknown_certificate(t):
    try:
        await t.open("echo?end=any", "unknown")
    except ssl.SSLCertVerificationError:
        return
    raise AssertionError("opened")


@case
async def python_ping(t):
    ws = await t.open("echo?end=1000")
    for payload in [b"", b"p", b"x" * 125]:
        await asyncio.wait_for(await ws.ping(payload), 10)
    several = [await ws.ping(b"%d" % i) for i in range(50)]
    await asyncio.wait_for(asyncio.gather(*several), 10)
    await ws.pong(b"unasked")
    eq(await t.call(ws, "behind it"), "behind it", "echo")
    await t.finish(ws)


@case
async def python_fragments(t):
    ws = await t.open("echo?end=1000")
    data = noise(100_000)
    same(await t.call(ws, [data[i : i + 9999] for i in range(0, len(data), 9999)]), data, "fragmented binary")
    text = prose(50_000)
    same(await t.call(ws, [text[i : i + 997] for i in range(0, len(text), 997)]), text, "fragmented text")
    eq(await t.call(ws, ["", "", "end", ""]), "end", "empty fragments")
    await t.finish(ws)


@case
async def python_abort(t):
    """The client's side of the connection goes away without a close frame, inside a message too."""
    ws = await t.open("echo?end=abrupt")
    eq(await t.call(ws, "x"), "x", "echo")
    ws.transport.abort()
    ws = await t.open("echo?end=abrupt")
    ws.transport.write(b"\x82\xfe\x01\x00maskhalf a message")
    await asyncio.sleep(0.05)
    ws.transport.close()


async def main():
    for name in CONFIG["cases"]:
        t = Test(name)
        error = ""
        begin = time.monotonic()
        try:
            if name not in CASES:
                raise AssertionError("this client has no such case")
            await asyncio.wait_for(CASES[name](t), 30)
        except Exception:
            error = re.sub(r"(?s)^Traceback.*\n(?=  File)", "", traceback.format_exc())
        say({"case": name, "connections": t.connections, "seconds": time.monotonic() - begin, "error": error})
    say({"done": True})


asyncio.run(main())
