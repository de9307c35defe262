"""The server of the package websockets, for our client: python3 server.py CHAIN KEY

It prints its ports, and for each connection "ended ID CODE REASON" when it is over; the client gives the ID. It ends when its standard input does.
"""

import asyncio
import http
import os
import signal
import socket
import ssl
import struct
import sys
from urllib.parse import parse_qs, urlsplit

import websockets
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory as Deflate

from harness import noise, sha256


async def echo(ws, q):
    async for message in ws:
        await ws.send(message)


async def close(ws, q):
    if "code" in q:
        await ws.close(int(q["code"]), q.get("reason", ""))
    else:
        await ws.write_close_frame(websockets.frames.Close(1005, ""), b"")


async def die(ws, q):
    await ws.recv()
    if q["how"] == "reset":
        sock = ws.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ws.transport.abort()
        return
    if q["how"] == "inside":
        ws.transport.write(b"\x81\x0ahalf")
    ws.transport.close()


async def kill(ws, q):
    await ws.recv()
    os.kill(os.getpid(), signal.SIGKILL)


async def ping(ws, q):
    await (await ws.ping("are you there"))
    await ws.send("pong: are you there")
    await ws.wait_closed()


async def fragments(ws, q):
    text = "🦊" * 5000
    await ws.send([text[i : i + 1249] for i in range(0, len(text), 1249)])
    binary = noise(300_000)
    await ws.send([binary[i : i + 70_001] for i in range(0, len(binary), 70_001)])
    await ws.send(sha256(binary))
    await ws.wait_closed()


async def invalid(ws, q):
    await ws.write_frame(True, 1, b"a\xff")
    await ws.wait_closed()


async def big(ws, q):
    await ws.send(bytes(200_000))
    await ws.wait_closed()


async def burst(ws, q):
    for i in range(500):
        await ws.send(f"message {i}")
    await ws.close(4001, "all sent")


BEHAVIOURS = {f.__name__: f for f in (echo, close, die, kill, ping, fragments, invalid, big, burst)}
DEFLATE = {
    "on": [Deflate(compress_settings={"memLevel": 5})],
    "alone": [Deflate(server_no_context_takeover=True, client_no_context_takeover=True)],
    "small": [Deflate(server_max_window_bits=9, client_max_window_bits=9)],
    "off": [],
}


class Protocol(websockets.WebSocketServerProtocol):
    async def process_request(self, path, headers):
        u = urlsplit(path)
        self.q = {k: v[0] for k, v in parse_qs(u.query, keep_blank_values=True).items()}
        self.serve = BEHAVIOURS.get(u.path[1:])
        if self.serve is None:
            return http.HTTPStatus.FORBIDDEN, [], b"not for you"
        deflate = DEFLATE[self.q.get("deflate", "on")]
        self.process_extensions = lambda headers, _: super(Protocol, self).process_extensions(headers, deflate)


async def serve(ws):
    try:
        await ws.serve(ws, ws.q)
        await ws.close()
    except ConnectionClosed:
        pass
    finally:
        await ws.wait_closed()
        print("ended", ws.q.get("id"), ws.close_code, ws.close_reason, flush=True)


async def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[1], sys.argv[2])
    options = dict(create_protocol=Protocol, subprotocols=["superchat", "chat"], max_size=32 << 20, compression=None, ping_interval=None)
    for name, context in [("plain", None), ("secure", tls)]:
        server = await websockets.serve(serve, "127.0.0.1", 0, ssl=context, **options)
        print(f"{name} on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
