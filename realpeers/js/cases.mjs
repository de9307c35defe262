// What every client is asked that has the browser's WebSocket interface. Each case has a connection, or several, to a path of our server;
// the server checks its side, and how the connection ended, by the parameters of the URL (end=CODE:REASON, or end=abrupt).

import { eq, noise, pause, prose, same, sha256, until } from './harness.mjs';

const reason123 = 'ü'.repeat(61) + '!'; // in bytes of UTF-8

export const cases = {
  async open(t) {
    const peer = t.start('echo?end=1005');
    const ws = peer.ws;
    eq(ws.readyState, 0, 'readyState of a new WebSocket');
    await peer.opened;
    t.connections++;
    eq([ws.readyState, ws.protocol], [1, ''], 'readyState and protocol when open');
    eq(ws.url, t.url('echo?end=1005'), 'url');
    ws.close();
    eq(ws.readyState, 2, 'readyState after close()');
    const e = await peer.closed;
    eq([e.code, e.reason, e.wasClean, e.readyState], [1005, '', true, 3], 'close event');
    eq(peer.log, ['open', 'close'], 'events');
  },

  async text(t) {
    const peer = await t.open('echo?end=1000');
    for (const s of ['a', 'Grüße', '日本語', '👋🏽👨‍👩‍👧‍👦', '\u0000\u0001\u007f', t.cannot.keepBOM ? 'BOM' : '\ufeffBOM', '\uffff\u{10ffff}', 'x'.repeat(125), 'é'.repeat(63)]) {
      eq(await peer.call(s), s, 'echo');
    }
    await t.finish(peer);
  },

  async empty(t) {
    const peer = await t.open('echo?end=1000');
    eq(await peer.call(''), '', 'empty text');
    await same(await peer.call(new Uint8Array(0)), new Uint8Array(0), 'empty binary');
    eq(await peer.call(''), '', 'empty text');
    await t.finish(peer);
  },

  async binary(t) {
    const peer = await t.open('echo?end=1000');
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    await same(await peer.call(all.buffer), all, 'ArrayBuffer');
    await same(await peer.call(all), all, 'Uint8Array');
    await same(await peer.call(all.subarray(10, 20)), all.slice(10, 20), 'a part of a buffer');
    await same(await peer.call(new DataView(all.buffer, 7, 99)), all.slice(7, 106), 'DataView');
    await t.finish(peer);
  },

  async blob(t) {
    const peer = await t.open('echo?end=1000');
    const all = noise(70_000, 1);
    await same(await peer.call(new Blob([all])), all, 'a Blob that was sent');
    peer.ws.binaryType = 'blob';
    const got = await peer.call(all);
    eq([got instanceof Blob, got.size], [true, all.length], 'what comes in is a Blob');
    await same(await got.arrayBuffer(), all, 'a Blob that came in');
    await t.finish(peer);
  },

  // The lengths around which the encoding of a frame header changes, and two buffers of ours.
  async sizes(t) {
    const peer = await t.open('echo?end=1000');
    for (const n of [1, 125, 126, 127, 4095, 4096, 4097, 65535, 65536, 65537]) {
      await same(await peer.call(noise(n, n)), noise(n, n), `binary, ${n} bytes`);
      await same(await peer.call(prose(n)), prose(n), `text, ${n} bytes`);
    }
    await t.finish(peer);
  },

  async mebibyte(t) {
    const peer = await t.open('echo?end=1000');
    await same(await peer.call(noise(1 << 20, 3)), noise(1 << 20, 3), '1 MiB of binary');
    await same(await peer.call(prose(1 << 20)), prose(1 << 20), '1 MiB of text');
    await t.finish(peer);
  },

  async 'five-megabytes'(t) {
    const peer = await t.open('echo?end=1000&limit=16777216');
    await same(await peer.call(noise(5_000_000, 5)), noise(5_000_000, 5), '5 MB of binary');
    await same(await peer.call(prose(5_000_000)), prose(5_000_000), '5 MB of text');
    await t.finish(peer);
  },

  async 'many-messages'(t) {
    const peer = await t.open('echo?end=1000');
    for (let i = 0; i < 2000; i++) peer.ws.send(`${i} ${'.'.repeat(i % 200)}`);
    for (let i = 0; i < 2000; i++) eq(await peer.next(), `${i} ${'.'.repeat(i % 200)}`, 'echo');
    await t.finish(peer);
  },

  async 'many-connections'(t) {
    const peers = await Promise.all(Array.from({ length: 30 }, () => t.open('echo?end=1000')));
    for (const round of [1, 2]) {
      const got = await Promise.all(peers.map((p, i) => p.call(`${round}/${i}`)));
      eq(got, peers.map((_, i) => `${round}/${i}`), 'echoes');
    }
    await Promise.all(peers.map((p) => t.finish(p)));
  },

  // The server writes one message in pieces, some of which cut a character.
  async 'fragments-from-server'(t) {
    const peer = await t.open('fragments?end=1000');
    const text = await peer.next();
    eq(text, '🦊'.repeat(5000), 'fragmented text');
    const binary = await peer.next();
    eq(await sha256(binary), await peer.next(), 'SHA-256 of fragmented binary');
    await t.finish(peer);
  },

  // The server pings and says when the pong has come.
  async 'ping-from-server'(t) {
    const peer = await t.open('ping?end=1000');
    eq(await peer.next(), 'pong came', 'message');
    await t.finish(peer);
  },

  async subprotocol(t) {
    const peer = await t.open('echo?end=1000&protocols=superchat,chat', { protocols: ['chat', 'superchat'] });
    eq(peer.ws.protocol, 'superchat', 'protocol: the server prefers it');
    await t.finish(peer);
    const one = await t.open('echo?end=1000&protocols=chat', { protocols: 'chat' });
    eq(one.ws.protocol, 'chat', 'protocol');
    await t.finish(one);
  },

  // Asked for subprotocols and got none: browsers fail the connection.
  async 'subprotocol-none'(t) {
    if (!t.cannot.insistOnSubprotocol) {
      t.connections++; // the server takes it as made
      await t.fails('echo?end=any&protocols=other', { protocols: ['chat', 'superchat'] });
      return;
    }
    const peer = await t.open('echo?end=1000&protocols=other', { protocols: ['chat', 'superchat'] });
    eq(peer.ws.protocol, '', 'protocol');
    await t.finish(peer);
  },

  async 'close-from-client'(t) {
    for (const [code, reason] of [[1000, ''], [1000, 'done'], [3000, 'a reason'], [3999, ''], [4000, 'Grüße 👋'], [4999, reason123]]) {
      const peer = await t.open(`echo?end=${encodeURIComponent(`${code}:${reason}`)}`);
      peer.ws.close(code, reason);
      const e = await peer.closed;
      eq([e.code, e.wasClean], [code, true], `close(${code}, ${reason})`);
      eq(peer.errors, 0, 'error events');
    }
    const peer = await t.open('echo?end=1005:');
    peer.ws.close();
    const e = await peer.closed;
    eq([e.code, e.reason, e.wasClean], [1005, '', true], 'close()');
  },

  async 'close-from-server'(t) {
    const codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, ...(t.cannot.close1012 ? [] : [1012, 1013]),
      ...(t.cannot.close1014 ? [] : [1014]), 3000, 4999];
    for (const [code, reason] of [...codes.map((c) => [c, `reason of ${c}`]), [1000, ''], [4000, reason123], [1005, '']]) {
      const peer = await t.open(`close?code=${code}&reason=${encodeURIComponent(reason)}`);
      const e = await peer.closed;
      eq([e.code, e.reason, e.wasClean], [code, reason, true], `Close(${code}, ${reason})`);
      eq(peer.errors, 0, 'error events');
    }
  },

  // What the server wrote before its close frame arrives before the close event.
  async 'close-behind-messages'(t) {
    const peer = await t.open('close?code=4001&reason=all+sent&messages=500');
    const e = await peer.closed;
    eq([e.code, e.reason, e.wasClean], [4001, 'all sent', true], 'close event');
    eq(peer.queue, Array.from({ length: 500 }, (_, i) => `message ${i}`), 'messages');
  },

  // close() behind send(): the message comes first, whole.
  async 'close-while-sending'(t) {
    const data = noise(3_000_000, 9);
    const peer = await t.open(`take?limit=16777216&end=${encodeURIComponent('3001:behind it')}&sum=${await sha256(data)}`);
    peer.ws.send(data);
    peer.ws.close(3001, 'behind it');
    const e = await peer.closed;
    eq([e.code, e.wasClean], [3001, true], 'close event');
  },

  async 'close-in-the-middle-of-a-download'(t) {
    const peer = await t.open('pour?end=1000');
    await peer.next();
    peer.ws.close(1000);
    const e = await peer.closed;
    eq([e.code, e.wasClean], [1000, true], 'close event');
  },

  // The transport ends without a close frame: FIN, reset, and a server process that is killed.
  async 'server-dies'(t) {
    for (const [path, base] of [['die?how=end', t.plain], ['die?how=reset', t.plain], ['kill', t.victim]]) {
      const peer = await t.open(path, { base });
      if (base === t.victim) t.connections--; // nobody is left to count it
      peer.ws.send('now');
      const e = await peer.closed;
      eq([e.code, e.reason, e.wasClean], [t.abnormal, '', false], `close event after ${path}`);
    }
  },

  async 'read-limit'(t) {
    const peer = await t.open('echo?limit=1000&end=too-big');
    eq((await peer.call('x'.repeat(1000))).length, 1000, 'at the limit');
    peer.ws.send('x'.repeat(1001));
    const e = await peer.closed;
    eq([e.code, e.wasClean || Boolean(t.cannot.endCleanly)], [1009, true], 'close event past the limit');
  },

  async refused(t) {
    await t.fails('nothing-is-here');
    await t.fails('forbidden');
    await t.fails('plain-200');
  },

  async compression(t) {
    const on = t.mode.compression !== 'off' && !t.cannot.compress;
    const text = prose(300_000);
    const most = t.cannot.compressSends ? 'most-to-client=100000' : 'most=100000';
    for (const api of ['messages', 'stream', 'read', 'mixed']) { // of our server
      // A tap between client and server counts the bytes of both directions.
      const peer = await t.open(`echo?end=1000&api=${api}&${on ? most : 'least=600000'}`, { base: t.tapped });
      eq(peer.ws.extensions.includes('permessage-deflate'), on, `permessage-deflate in the extensions ${JSON.stringify(peer.ws.extensions)}`);
      const alone = /server_no_context_takeover/.test(peer.ws.extensions);
      if (on && !t.cannot.tellParameters) eq(alone, t.mode.compression === 'none', `server_no_context_takeover in ${JSON.stringify(peer.ws.extensions)}`);
      await same(await peer.call(text), text, 'text that compresses');
      await same(await peer.call(text), text, 'the same once more');
      eq(await peer.call('short'), 'short', 'a message under the threshold');
      for (let i = 0; i < 20; i++) {
        const json = JSON.stringify({ kind: 'quote', number: i, names: Array.from({ length: 20 }, (_, j) => `name-${j * i}`) });
        eq(await peer.call(json), json, 'JSON');
      }
      await same(await peer.call(noise(20_000, 2)), noise(20_000, 2), 'what does not compress');
      await same(await peer.call(text), text, 'text behind it');
      await t.finish(peer);
    }
  },

  async wss(t) {
    const peer = await t.open('echo?end=1000&limit=16777216', { base: t.secure });
    eq(await peer.call('hello over TLS'), 'hello over TLS', 'echo');
    await same(await peer.call(noise(1 << 20, 4)), noise(1 << 20, 4), '1 MiB');
    eq((await peer.call(prose(100))).length > 0, true, 'text');
    await t.finish(peer);
    const closed = await t.open('close?code=4002&reason=over+TLS', { base: t.secure });
    const e = await closed.closed;
    eq([e.code, e.reason, e.wasClean], [4002, 'over TLS', true], 'close event');
    const dead = await t.open('die?how=end', { base: t.secure });
    dead.ws.send('now');
    eq((await dead.closed).code, t.abnormal, 'close code of a connection that was cut');
  },

  // A certificate that nobody vouches for.
  async 'wss-unknown-certificate'(t) {
    await t.fails('echo?end=any', { base: t.unknown, code: t.cannot.hideTLS ? 1015 : t.abnormal });
  },

  async 'buffered-amount'(t) {
    const peer = await t.open('take?limit=16777216&end=1000');
    eq(peer.ws.bufferedAmount, 0, 'bufferedAmount at first');
    const data = noise(2_000_000, 8);
    peer.ws.send(data);
    peer.ws.send('four');
    eq(peer.ws.bufferedAmount, data.length + 4, 'bufferedAmount right after send');
    await until(() => peer.ws.bufferedAmount === 0, 'bufferedAmount is 0 again');
    await pause(1);
    await t.finish(peer);
  },
};
