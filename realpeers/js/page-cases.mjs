// What is asked of the WebSocket interface itself, in the manner of the web-platform-tests' Create-, Send- and Close- groups: for browsers, and for
// undici, which implements the same standard.

import { Peer, eq, noise, same, throws, until } from './harness.mjs';

export const pageCases = {
  async 'create-bad-urls'(t) {
    for (const url of ['ws://127.0.0.1:99999/', 'mailto:someone@example.com', 'ws://', `${t.plain}echo#fragment`, 'about:blank']) {
      throws(() => new t.WebSocket(url), 'SyntaxError', `new WebSocket(${url})`);
    }
  },

  async 'create-bad-protocols'(t) {
    for (const p of ['', 'a b', 'a,b', 'a/b', '\u0080', 'é', '(x)', 'a\tb', ['chat', 'chat'], ['ok', '']]) {
      throws(() => new t.WebSocket(t.url('echo'), p), 'SyntaxError', `protocols ${JSON.stringify(p)}`);
    }
  },

  async 'create-url'(t) {
    const u = new URL(t.url('echo?end=1000'));
    const spelled = `WS://127.0.0.1:${u.port}/a/../echo?end=1000&x= y&case=${t.name}&run=${t.run}`;
    const peer = new Peer(new t.WebSocket(spelled));
    eq(peer.ws.url.startsWith(`ws://127.0.0.1:${u.port}/echo?end=1000&x=%20y&`), true, `url ${peer.ws.url} is normalised`);
    await peer.opened;
    t.connections++;
    await t.finish(peer);
    const http = t.start(t.url('echo?end=1000').replace('ws://', 'http://'));
    eq(http.ws.url.startsWith('ws://'), true, 'http becomes ws');
    await http.opened;
    t.connections++;
    await t.finish(http);
  },

  async 'create-defaults'(t) {
    const peer = t.start('echo?end=1000');
    const ws = peer.ws;
    eq([ws.binaryType, ws.bufferedAmount, ws.extensions, ws.protocol], ['blob', 0, '', ''], 'attributes of a new WebSocket');
    eq([t.WebSocket.CONNECTING, t.WebSocket.OPEN, t.WebSocket.CLOSING, t.WebSocket.CLOSED], [0, 1, 2, 3], 'constants');
    await peer.opened;
    t.connections++;
    ws.binaryType = 'notBlobOrArrayBuffer';
    eq(ws.binaryType, 'blob', 'binaryType after an invalid value');
    await t.finish(peer);
  },

  async 'send-before-open'(t) {
    const peer = t.start('echo?end=1000');
    throws(() => peer.ws.send('early'), 'InvalidStateError', 'send while connecting');
    await peer.opened;
    t.connections++;
    eq(await peer.call('later'), 'later', 'echo');
    await t.finish(peer);
  },

  async 'send-values'(t) {
    const peer = await t.open('echo?end=1000');
    for (const [value, want] of [[null, 'null'], [undefined, 'undefined'], [12.5, '12.5'], [{ toString: () => 'object' }, 'object'],
      ['\ud83d\ude00', '😀'], ['\ud83d', '\ufffd'], ['a\ude00b', 'a\ufffdb'], ['\ude00\ud83d', '\ufffd\ufffd']]) {
      eq(await peer.call(value), want, `send(${JSON.stringify(want)})`);
    }
    await t.finish(peer);
  },

  async 'send-views'(t) {
    const peer = await t.open('echo?end=1000');
    const source = noise(1 << 16, 6);
    for (const View of [Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array, BigInt64Array]) {
      const view = new View(source.buffer, 64, 100);
      await same(await peer.call(view), source.slice(64, 64 + view.byteLength), View.name);
    }
    await same(await peer.call(source.buffer), source, '64 KiB in an ArrayBuffer');
    await same(await peer.call(new Blob([source, 'tail'])), new Blob([source, 'tail']).size === 65540 && new Uint8Array([...source, 116, 97, 105, 108]), 'a Blob of two parts');
    await t.finish(peer);
  },

  async 'send-after-close'(t) {
    const peer = await t.open('take?end=1000&count=1');
    peer.ws.send('one');
    peer.ws.close(1000);
    const before = peer.ws.bufferedAmount;
    peer.ws.send('never sent');
    if (!t.cannot.countUnsent) eq(peer.ws.bufferedAmount - before, 10, 'growth of bufferedAmount while closing');
    eq((await peer.closed).wasClean, true, 'wasClean');
    peer.ws.send('nor this'); // throws nothing
    eq(peer.ws.readyState, 3, 'readyState');
  },

  async 'close-bad-arguments'(t) {
    const peer = await t.open(`echo?end=${encodeURIComponent(`1000:${'r'.repeat(123)}`)}`);
    for (const code of [0, 500, 999, 1001, 1005, 1006, 2999, 5000, 65536 + 1000, null, NaN]) {
      throws(() => peer.ws.close(code), 'InvalidAccessError', `close(${code})`);
    }
    for (const reason of ['r'.repeat(124), 'ü'.repeat(62)]) throws(() => peer.ws.close(1000, reason), 'SyntaxError', 'a reason of 124 bytes');
    eq(peer.ws.readyState, 1, 'readyState after bad arguments');
    eq(await peer.call('still open'), 'still open', 'echo');
    peer.ws.close(1000, 'r'.repeat(123));
    eq((await peer.closed).code, 1000, 'close code');
  },

  async 'close-clamps-and-converts'(t) {
    for (const [code, want] of [['1000', 1000], [3000.4, 3000], [undefined, 1005]]) {
      const peer = await t.open(`echo?end=${want}`);
      peer.ws.close(code);
      eq((await peer.closed).code, want, `close(${code})`);
    }
  },

  async 'close-reason-surrogates'(t) {
    const peer = await t.open(`echo?end=${encodeURIComponent('1000:\ufffd!')}`);
    peer.ws.close(1000, '\ud807!');
    eq((await peer.closed).wasClean, true, 'wasClean');
  },

  async 'close-while-connecting'(t) {
    const peer = t.start('slow?end=any&maybe=1');
    peer.ws.close();
    eq(peer.ws.readyState, 2, 'readyState');
    const e = await peer.closed;
    eq([e.code, e.wasClean], [t.abnormal, false], 'close event');
    eq(peer.log, ['error', 'close'], 'events');
  },

  async 'close-twice'(t) {
    const peer = await t.open(`echo?end=${encodeURIComponent('3000:first')}`);
    peer.ws.close(3000, 'first');
    peer.ws.close(3001, 'second');
    const e = await peer.closed;
    eq([e.code, e.wasClean], [3000, true], 'close event');
    peer.ws.close(3002, 'third');
    eq(peer.ws.readyState, 3, 'readyState');
    eq(peer.log, ['open', 'close'], 'events');
  },

  // The server closes while the page closes: one close event, and it is clean.
  async 'close-from-both-sides'(t) {
    for (let i = 0; i < 10; i++) {
      const peer = await t.open('close?code=4003&reason=server&wait=message&crossing=1');
      peer.ws.send('go');
      peer.ws.close(4004, 'page');
      const e = await peer.closed;
      eq([[4003, 4004].includes(e.code), e.wasClean], [true, true], `close event with code ${e.code}`);
      eq(peer.log, ['open', 'close'], 'events');
    }
  },

  async events(t) {
    const ws = new t.WebSocket(t.url('close?code=4005&reason=r&messages=1'));
    const seen = [];
    for (const type of ['open', 'message', 'error', 'close']) ws.addEventListener(type, (e) => seen.push(e));
    await until(() => ws.readyState === 3 && seen.some((e) => e.type === 'close'), 'closed');
    t.connections++;
    eq(seen.map((e) => e.type), ['open', 'message', 'close'], 'events');
    if (!t.cannot.fillEvents) eq(seen.map((e) => Object.prototype.toString.call(e)), ['[object Event]', '[object MessageEvent]', '[object CloseEvent]'], 'their classes');
    if (!t.cannot.fillEvents) eq(seen[1].origin, new URL(t.plain).origin, 'origin of a message');
    eq(seen.map((e) => [e.bubbles, e.cancelable]), [[false, false], [false, false], [false, false]], 'bubbles, cancelable');
    eq([seen[2].code, seen[2].reason], [4005, 'r'], 'close event');
  },

  async 'constructor-and-interface'(t) {
    throws(() => t.WebSocket(t.url('echo')), 'TypeError', 'without new');
    throws(() => new t.WebSocket(), 'TypeError', 'without a URL');
    for (const name of ['url', 'readyState', 'bufferedAmount', 'extensions', 'protocol']) {
      const d = Object.getOwnPropertyDescriptor(t.WebSocket.prototype, name);
      eq([typeof d.get, typeof d.set], ['function', 'undefined'], `attribute ${name}`);
    }
  },
};

// What only a page in a browser can be asked.
export const browserCases = {
  // The browser does not connect to the ports of other protocols.
  async 'create-blocked-port'(t) {
    const peer = t.start('echo', { base: 'ws://127.0.0.1:25/' });
    eq((await peer.closed).code, t.abnormal, 'close code');
  },

  // The page's origin is not that of the tap: the server's check refuses it, unless it has been told otherwise.
  async 'origin-refused'(t) {
    await t.fails('echo?strict=1', { base: t.tapped });
    const peer = await t.open('echo?strict=1&end=1000');
    eq(await peer.call('same origin'), 'same origin', 'echo');
    await t.finish(peer);
    const header = await t.open('headers?end=1000', { base: t.tapped });
    eq(JSON.parse(await header.next()).Origin, [location.origin], 'Origin');
    await t.finish(header);
  },

  async 'in-a-worker'(t) {
    const source = `onmessage = (e) => {
      const ws = new WebSocket(e.data);
      ws.onopen = () => ws.send('from a worker');
      ws.onmessage = (m) => { ws.close(1000, m.data); };
      ws.onclose = (c) => postMessage([c.code, c.wasClean]);
    };`;
    const worker = new Worker(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
    worker.postMessage(t.url(`echo?end=${encodeURIComponent('1000:from a worker')}`));
    const got = await new Promise((resolve, reject) => { worker.onmessage = (e) => resolve(e.data); worker.onerror = (e) => reject(new Error(e.message)); });
    t.connections++;
    eq(got, [1000, true], 'close event in the worker');
    worker.terminate();
  },

  // A frame that is taken out of the page, and one that navigates: the browser says 1001, or just ends.
  async 'frame-goes-away'(t) {
    for (const leave of [(f) => f.remove(), (f) => { f.src = 'about:blank'; }]) {
      const frame = document.createElement('iframe');
      const loaded = new Promise((resolve) => { frame.onload = resolve; });
      frame.src = '/empty.html';
      document.body.append(frame);
      await loaded;
      const ws = new frame.contentWindow.WebSocket(t.url('echo?end=1001'));
      await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onclose = reject; });
      t.connections++;
      leave(frame);
    }
  },
};
