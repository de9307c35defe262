#!/usr/bin/env node
// An echo server or client of npm's ws, with the flags of autobahn/echoserver and autobahn/echoclient.
import { WebSocket, WebSocketServer } from 'ws';

const flags = { addr: '127.0.0.1:9001', url: '', agent: 'ws', compression: 'disabled' };
for (let i = 2; i < process.argv.length; i += 2) flags[process.argv[i].replace(/^-+/, '')] = process.argv[i + 1];
const deflate = flags.compression === 'disabled' ? false : { threshold: 0 };
const options = { perMessageDeflate: deflate, maxPayload: 32 << 20, skipUTF8Validation: flags.utf8 === 'skip' };

const echo = (socket) => {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
  socket.on('error', () => {});
  return new Promise((resolve) => socket.on('close', resolve));
};
const open = (path) => new WebSocket(flags.url + path, options);

if (flags.url) {
  const count = open('/getCaseCount');
  const n = await new Promise((resolve, reject) => {
    count.on('message', (data) => resolve(Number(data.toString())));
    count.on('error', reject);
  });
  for (let i = 1; i <= n; i++) await echo(open(`/runCase?case=${i}&agent=${encodeURIComponent(flags.agent)}`));
  await echo(open(`/updateReports?agent=${encodeURIComponent(flags.agent)}`));
  process.exit(0);
}
const [host, port] = flags.addr.split(':');
const server = new WebSocketServer({ host, port: Number(port), ...options });
server.on('listening', () => console.log(`listening on ${host}:${server.address().port}`));
server.on('connection', echo);
