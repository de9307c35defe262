// The page's half of the algorithm of examples/collab, without a page: node --test.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { Client } from '../collab/page/client.mjs';
import { apply, compose, diff, move, push, transform } from '../collab/page/ot.mjs';

// random returns a generator of numbers below n, which gives the same numbers in every run.
function random(seed) {
  let state = BigInt(seed);
  return (n) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number((state >> 33n) % BigInt(n));
  };
}

const alphabet = [...'abc \nüß世😀🎉'];
const randomText = (r, n) => Array.from({ length: r(n + 1) }, () => alphabet[r(alphabet.length)]).join('');

function randomOp(r, text) {
  const op = [];
  for (const c of text) {
    if (r(4) === 0) push(op, randomText(r, 3));
    push(op, r(4) === 0 ? -c.length : c.length);
  }
  return r(3) === 0 ? push(op, randomText(r, 3)) : op;
}

test('transform does what the server\'s does', () => {
  const vectors = JSON.parse(readFileSync(new URL('../collab/testdata/transform.json', import.meta.url)));
  assert.ok(vectors.length >= 100);
  for (const v of vectors) {
    assert.deepEqual(transform(v.A, v.B), [v.A2, v.B2]);
    assert.equal(apply(apply(v.Text, v.A), v.B2), v.After);
  }
});

test('transform converges', () => {
  const r = random(1);
  for (let i = 0; i < 5000; i++) {
    const text = randomText(r, 20);
    const [a, b] = [randomOp(r, text), randomOp(r, text)];
    const [a2, b2] = transform(a, b);
    assert.equal(apply(apply(text, a), b2), apply(apply(text, b), a2));
  }
});

test('compose does both', () => {
  const r = random(2);
  for (let i = 0; i < 5000; i++) {
    const text = randomText(r, 20);
    const a = randomOp(r, text);
    const b = randomOp(r, apply(text, a));
    assert.equal(apply(text, compose(a, b)), apply(apply(text, a), b));
  }
});

test('operations for texts of different lengths', () => {
  for (const f of [() => apply('abc', [2]), () => transform([3], [4]), () => compose([3], [4])]) assert.throws(f, RangeError);
});

test('diff', () => {
  assert.deepEqual(diff('abc', 'abc'), [3]);
  assert.deepEqual(diff('', 'a'), ['a']);
  assert.deepEqual(diff('aaa', 'aaaa', 2), [1, 'a', 2]);
  assert.deepEqual(diff('abcd', 'ad', 1), [1, -2, 1]);
  assert.deepEqual(diff('😀', '😁'), ['😁', -2]);     // they differ in the second half only
  assert.deepEqual(diff('😀', '🨀'), ['🨀', -2]);     // and these in the first
  const r = random(3);
  for (let i = 0; i < 5000; i++) {
    const [a, b] = [randomText(r, 10), randomText(r, 10)];
    const op = diff(a, b, r(b.length + 1));
    assert.equal(apply(a, op), b);
    for (const s of op) assert.ok(typeof s !== 'string' || s.isWellFormed(), `${a} to ${b}: ${op}`);
  }
});

test('move', () => {
  assert.equal(move(2, [1, 'xyz', 3]), 5);
  assert.equal(move(2, [2, 'xyz', 2]), 2);
  assert.equal(move(2, [-4]), 0);
  assert.equal(move(2, [1, -2, 3]), 1);
  assert.equal(move(4, ['x', -1, 3]), 4);
  assert.equal(move(1, [3, 'x']), 1);
});

// The server's part, as document.go has it.
class Document {
  text = '';
  history = [];

  receive(client, { seq, revision, op }) {
    for (const h of this.history.slice(revision)) [, op] = transform(h.op, op);
    this.text = apply(this.text, op);
    this.history.push({ revision: this.history.length + 1, client, seq, op });
    return this.history.at(-1);
  }
}

// Clients edit at the same time, lose their connection at any moment, and come back; in the end all have the same
// text, and nothing was done twice.
test('clients converge, with connections that break', () => {
  const r = random(4);
  for (let round = 0; round < 200; round++) {
    const server = new Document();
    const clients = Array.from({ length: 2 + r(3) }, (_, i) => {
      const c = { text: '', typed: 0, up: true, out: [], in: [] };
      c.model = new Client(String(i), (m) => c.out.push(m));
      c.model.resume();
      return c;
    });
    const steps = {
      edit(c) {
        const typed = apply(c.text, randomOp(r, c.text));
        c.model.edit(diff(c.text, typed));
        c.text = typed;
      },
      out(c) {
        if (!c.out.length) return;
        const change = server.receive(c.model.id, c.out.shift());
        for (const other of clients) if (other.up) other.in.push(change);
      },
      in(c) {
        if (!c.in.length) return;
        const op = c.model.receive(c.in.shift());
        if (op) c.text = apply(c.text, op);
      },
      lose(c) {
        Object.assign(c, { up: false, out: [], in: [] });
        c.model.lost();
      },
      back(c) {
        if (c.up) return;
        c.up = true;
        c.in = server.history.slice(c.model.revision);
        while (c.in.length) steps.in(c);
        c.model.resume();
      },
    };
    const names = ['edit', 'out', 'out', 'in', 'in', 'in', 'in', 'back', 'lose'];
    for (let i = 0; i < 200; i++) steps[names[r(i % 10 ? names.length - 1 : names.length)]](clients[r(clients.length)]);
    for (const c of clients) steps.back(c);
    while (clients.some((c) => c.out.length || c.in.length || !c.model.saved)) {
      for (const c of clients) { steps.out(c); steps.in(c); }
    }
    for (const c of clients) assert.equal(c.text, server.text, `round ${round}, client ${c.model.id}`);
    const made = server.history.map((h) => `${h.client} ${h.seq}`);
    assert.equal(new Set(made).size, made.length, 'a change was accepted twice');
  }
});
