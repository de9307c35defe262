// What the ws package can do beyond the browser's interface.

import { eq, noise, same } from './harness.mjs';

export const wsCases = {
  async 'ws-ping'(t) {
    const peer = await t.open('echo?end=1000');
    for (const payload of ['', 'p', 'x'.repeat(125)]) {
      const pong = new Promise((resolve) => peer.ws.once('pong', resolve));
      peer.ws.ping(payload);
      eq((await pong).toString(), payload, 'pong');
    }
    peer.ws.pong('unasked');
    eq(await peer.call('behind it'), 'behind it', 'echo');
    await t.finish(peer);
  },

  async 'ws-fragments'(t) {
    const peer = await t.open('echo?end=1000');
    const data = noise(100_000, 7);
    for (let i = 0; i < data.length; i += 9999) {
      peer.ws.send(data.subarray(i, i + 9999), { binary: true, fin: i + 9999 >= data.length });
      peer.ws.ping('between'); // control frames go between fragments
    }
    await same(await peer.next(), data, 'echo of a fragmented message');
    const text = new TextEncoder().encode('🦊'.repeat(1000));
    for (let i = 0; i < text.length; i += 997) peer.ws.send(text.subarray(i, i + 997), { binary: false, fin: i + 997 >= text.length });
    eq(await peer.next(), '🦊'.repeat(1000), 'echo of text whose characters were cut');
    peer.ws.send('', { fin: false });
    peer.ws.send('', { fin: false });
    peer.ws.send('end', { fin: true });
    eq(await peer.next(), 'end', 'echo of a message with empty fragments');
    await t.finish(peer);
  },

  async 'ws-fragments-uncompressed-and-not'(t) {
    const peer = await t.open('echo?end=1000');
    for (const compress of [true, false, true]) {
      peer.ws.send('part one '.repeat(300), { fin: false, compress });
      peer.ws.send('part two '.repeat(300), { fin: true, compress });
      eq(await peer.next(), 'part one '.repeat(300) + 'part two '.repeat(300), `echo, compress ${compress}`);
    }
    await t.finish(peer);
  },

  // The client process's side of the connection goes away without a close frame.
  async 'ws-terminate'(t) {
    const peer = await t.open('echo?end=abrupt');
    eq(await peer.call('x'), 'x', 'echo');
    peer.ws.terminate();
    eq((await peer.closed).code, 1006, 'close code');
  },

  // Invalid UTF-8 in text and in a close reason, sent by force.
  async 'ws-invalid-utf8'(t) {
    const peer = await t.open('echo?end=invalid');
    peer.ws.send(Buffer.from([0x61, 0xff]), { binary: false });
    eq((await peer.closed).code, 1007, 'close code');
  },
};
