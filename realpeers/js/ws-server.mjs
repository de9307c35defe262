// The server of the ws package, for our client: node ws-server.mjs CHAIN KEY
//
// It prints its ports, and for each connection "ended ID CODE REASON" when it is over; the client gives the ID. It ends when its standard input does.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { WebSocketServer } from 'ws';
import { noise } from './harness.mjs';

const sha256 = (data) => createHash('sha256').update(data).digest('hex');

const behaviours = {
  echo(ws) { ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary })); },
  close(ws, q) {
    const code = q.get('code');
    if (code) ws.close(Number(code), q.get('reason')); else ws.close();
  },
  die(ws, q) {
    ws.on('message', () => {
      if (q.get('how') === 'reset') ws._socket.resetAndDestroy();
      else if (q.get('how') === 'inside') ws._socket.end(Buffer.from([0x81, 10, 0x68, 0x61, 0x6c, 0x66])); // half a message
      else ws._socket.end();
    });
  },
  kill(ws) { ws.on('message', () => process.kill(process.pid, 'SIGKILL')); },
  ping(ws) {
    ws.ping('are you there');
    ws.on('pong', (data) => ws.send(`pong: ${data}`));
  },
  fragments(ws) {
    const text = Buffer.from('🦊'.repeat(5000));
    for (let i = 0; i < text.length; i += 4999) {
      ws.send(text.subarray(i, i + 4999), { binary: false, fin: i + 4999 >= text.length });
      ws.ping(); // control frames go between fragments
    }
    const binary = noise(300_000, 4);
    for (let i = 0; i < binary.length; i += 70_001) ws.send(binary.subarray(i, i + 70_001), { fin: i + 70_001 >= binary.length });
    ws.send(sha256(binary));
  },
  invalid(ws) { ws.send(Buffer.from([0x61, 0xff]), { binary: false }); },
  big(ws) { ws.send(Buffer.alloc(200_000)); },
  burst(ws) {
    for (let i = 0; i < 500; i++) ws.send(`message ${i}`);
    ws.close(4001, 'all sent');
  },
};

function serve(server, name) {
  const make = (deflate) => new WebSocketServer({
    noServer: true,
    maxPayload: 32 << 20,
    perMessageDeflate: deflate,
    handleProtocols: (protocols) => ['superchat', 'chat'].find((p) => protocols.has(p)) || false,
  });
  const servers = {
    on: make({ threshold: 0 }),
    alone: make({ threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true }),
    small: make({ threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 }),
    off: make(false),
  };
  server.on('upgrade', (req, socket, head) => {
    const u = new URL(req.url, 'http://x');
    const serveConn = behaviours[u.pathname.slice(1)];
    if (!serveConn) {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 11\r\n\r\nnot for you');
      return;
    }
    servers[u.searchParams.get('deflate') || 'on'].handleUpgrade(req, socket, head, (ws) => {
      ws.on('error', () => {}); // close follows
      ws.on('close', (code, reason) => console.log(`ended ${u.searchParams.get('id')} ${code} ${reason}`));
      serveConn(ws, u.searchParams);
    });
  });
  server.listen(0, '127.0.0.1', () => console.log(`${name} on 127.0.0.1:${server.address().port}`));
}

const [chain, key] = process.argv.slice(2).map((path) => readFileSync(path));
serve(http.createServer(), 'plain');
serve(https.createServer({ cert: chain, key }), 'secure');
process.stdin.on('end', () => process.exit(0)).resume();
