#!/usr/bin/env python3
"""An echo server or client of Python's websockets, with the flags of autobahn/echoserver and autobahn/echoclient."""
import argparse
import asyncio
import logging
from urllib.parse import quote

import websockets

logging.disable(logging.CRITICAL)
parser = argparse.ArgumentParser()
parser.add_argument("-addr", default="127.0.0.1:9001")
parser.add_argument("-url", default="")
parser.add_argument("-agent", default="websockets")
parser.add_argument("-compression", default="disabled")
parser.add_argument("-api")
flags = parser.parse_args()
options = {
    "compression": None if flags.compression == "disabled" else "deflate",
    "max_size": 32 << 20,
    "ping_interval": None,
}


async def echo(ws, path=None):
    try:
        async for message in ws:
            await ws.send(message)
    except websockets.ConnectionClosed:
        pass


async def client():
    async with websockets.connect(flags.url + "/getCaseCount", **options) as ws:
        count = int(await ws.recv())
    agent = quote(flags.agent)
    for i in range(1, count + 1):
        try:
            async with websockets.connect(f"{flags.url}/runCase?case={i}&agent={agent}", **options) as ws:
                await echo(ws)
        except (OSError, websockets.WebSocketException):
            pass
    async with websockets.connect(f"{flags.url}/updateReports?agent={agent}", **options) as ws:
        await echo(ws)


async def server():
    host, port = flags.addr.split(":")
    async with websockets.serve(echo, host, int(port), **options) as listening:
        address = listening.sockets[0].getsockname()
        print(f"listening on {address[0]}:{address[1]}", flush=True)
        await asyncio.Future()


asyncio.run(client() if flags.url else server())
