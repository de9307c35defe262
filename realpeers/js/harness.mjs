// What the cases need, written so that it runs in a browser's page, in Node, in Bun and in Deno.

const caseTimeout = 30_000;

// A Peer wraps a WebSocket of the client under test: messages wait in a queue, events are counted.
export class Peer {
  constructor(ws) {
    this.ws = ws;
    this.errors = 0;
    this.log = []; // the events, in order
    this.queue = [];
    this.waiting = [];
    this.opened = new Promise((resolve, reject) => {
      ws.onopen = () => { this.log.push('open'); resolve(this); };
      this.closed = new Promise((done) => {
        ws.onclose = (e) => {
          this.log.push('close');
          const event = { code: e.code, reason: e.reason, wasClean: e.wasClean, readyState: ws.readyState };
          reject(new Error(`not opened: close event ${JSON.stringify(event)}`));
          done(event);
          for (const waiter of this.waiting.splice(0)) waiter.reject(new Error(`closed: ${JSON.stringify(event)}`));
        };
      });
    });
    this.opened.catch(() => {});
    ws.onerror = () => { this.errors++; this.log.push('error'); };
    ws.onmessage = (e) => {
      this.log.push('message');
      const waiter = this.waiting.shift();
      if (waiter) waiter.resolve(e.data); else this.queue.push(e.data);
    };
  }

  // next resolves with the next message's data.
  next() {
    if (this.queue.length) return Promise.resolve(this.queue.shift());
    if (this.log.includes('close')) return Promise.reject(new Error('closed'));
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  async call(data) {
    this.ws.send(data);
    return this.next();
  }
}

// A Test is what a case gets.
export class Test {
  constructor(name, config, WebSocket) {
    Object.assign(this, config); // plain, secure, tapped, unknown, victim, run, mode, cannot
    this.abnormal = config.cannot.name1006 ? 0 : 1006; // the close code of a connection that broke
    this.name = name;
    this.WebSocket = WebSocket;
    this.connections = 0; // as the server counts them
  }

  // url returns the URL of what the server has at path, such as 'echo?end=1000'; base is plain, secure or tapped.
  url(path, base = this.plain) {
    const u = new URL(path, base);
    const add = { run: this.run, case: this.name, ...this.mode };
    for (const [k, v] of Object.entries(add)) if (!u.searchParams.has(k)) u.searchParams.set(k, v);
    return u.href;
  }

  // start makes a WebSocket that need not open.
  start(path, { protocols, base } = {}) {
    const url = this.url(path, base);
    const ws = protocols === undefined ? new this.WebSocket(url) : new this.WebSocket(url, protocols);
    return new Peer(ws);
  }

  async open(path, options) {
    const peer = this.start(path, options);
    peer.ws.binaryType = 'arraybuffer';
    await peer.opened;
    this.connections++;
    return peer;
  }

  // finish closes the connection the usual way.
  async finish(peer) {
    peer.ws.close(1000);
    const e = await peer.closed;
    eq([e.code, e.wasClean, e.readyState], [1000, true, 3], 'the close event of an orderly end');
    eq(peer.errors, 0, 'error events');
  }

  // fails expects a connection that does not open.
  async fails(path, options) {
    const peer = this.start(path, options);
    const e = await peer.closed;
    eq(peer.log.includes('open'), false, 'opened');
    eq([e.code, e.wasClean], [options?.code ?? this.abnormal, false], 'the close event of a connection that failed');
    return peer;
  }
}

export function eq(got, want, what) {
  const g = JSON.stringify(got), w = JSON.stringify(want);
  if (g !== w) throw new Error(`${what}: ${short(g)}, want ${short(w)}`);
}

function short(s) {
  return s && s.length > 300 ? `${s.slice(0, 300)}... (${s.length} characters)` : s;
}

// throws expects f to throw a DOMException of that name.
export function throws(f, name, what) {
  try { f(); } catch (e) { eq(e.name, name, what); return; }
  throw new Error(`${what}: nothing was thrown, want ${name}`);
}

export function pause(ms) { return new Promise((resolve) => setTimeout(resolve, ms)); }

// until polls, for conditions without an event.
export async function until(condition, what) {
  for (const end = Date.now() + 10_000; !condition(); await pause(5)) {
    if (Date.now() > end) throw new Error(`not in 10 s: ${what}`);
  }
}

// noise returns n bytes that do not compress, the same ones for the same seed.
export function noise(n, seed) {
  const out = new Uint8Array(n);
  let x = (seed * 2654435761 + 1) >>> 0;
  for (let i = 0; i < n; i++) {
    x ^= x << 13; x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5; x >>>= 0;
    out[i] = x >>> 11;
  }
  return out;
}

// prose returns text of n bytes in UTF-8 that compresses well, and has characters of one to four bytes.
export function prose(n) {
  const unit = 'The quick brown fox, der flinke Fuchs über Gärten, 狐は速い, 🦊🏃 jumps. ';
  const size = new TextEncoder().encode(unit).length;
  return unit.repeat(Math.floor(n / size)) + 'x'.repeat(n % size);
}

export async function sha256(data) {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(sum, (b) => b.toString(16).padStart(2, '0')).join('');
}

// same compares two messages by their type and checksum.
export async function same(got, want, what) {
  const text = typeof want === 'string';
  eq(typeof got === 'string' ? 'text' : 'binary', text ? 'text' : 'binary', `${what}: type`);
  eq(text ? got.length : got.byteLength, text ? want.length : want.byteLength, `${what}: length`);
  eq(await sha256(got), await sha256(want), `${what}: SHA-256`);
}

// runCases runs the cases of the given names one after the other and tells report of each.
export async function runCases(cases, config, WebSocket, report) {
  for (const name of config.cases) {
    const t = new Test(name, config, WebSocket);
    const begin = Date.now();
    let error = '';
    let timer;
    try {
      if (!cases[name]) throw new Error('this client has no such case');
      const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not done after ${caseTimeout / 1000} s`)), caseTimeout);
      });
      await Promise.race([cases[name](t), late]);
    } catch (e) {
      error = String(e);
      if (e?.stack && !e.stack.includes(error)) error += `\n${e.stack}`;
      else if (e?.stack) error = e.stack;
    } finally {
      clearTimeout(timer);
    }
    await report({ case: name, connections: t.connections, seconds: (Date.now() - begin) / 1000, error });
  }
}
