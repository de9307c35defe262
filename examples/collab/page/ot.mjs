// Operational transformation, as operation.go does it. An operation is an array which walks over all of a text: a
// positive number keeps that many characters, a negative one deletes, a string is inserted. Characters are UTF-16
// code units, as everywhere in JavaScript. Operations are kept in one form: see push.

// push adds a step to an operation, in place. No step is empty, no two of one kind are neighbours, and an insertion
// stands before a deletion at the same place.
export function push(op, s) {
  if (s === 0 || s === '') return op;
  const last = op.at(-1);
  if (typeof s === 'string') {
    if (typeof last === 'string') op[op.length - 1] = last + s;
    else if (last < 0) {
      op.pop();
      push(op, s).push(last);
    } else op.push(s);
  } else if (typeof last === 'number' && last > 0 === s > 0) op[op.length - 1] = last + s;
  else op.push(s);
  return op;
}

// apply returns what op makes of text.
export function apply(text, op) {
  let result = '';
  let at = 0;
  for (const s of op) {
    if (typeof s === 'string') result += s;
    else {
      if (s > 0) result += text.slice(at, at + s);
      at += Math.abs(s);
    }
  }
  if (at !== text.length) throw new RangeError('the operation is for a text of another length');
  return result;
}

// walk goes through two operations side by side. step gets the heads of both, and returns how much of each is done.
function walk(a, b, step) {
  let i = 0, j = 0;
  let s = a[i++], t = b[j++];
  while (s !== undefined || t !== undefined) {
    const [doneS, doneT] = step(s, t);
    s = rest(s, doneS) ?? a[i++];
    t = rest(t, doneT) ?? b[j++];
  }
}

// rest is what is left of step s when n of it is done; undefined if nothing is.
function rest(s, n) {
  if (s === undefined || n === 0) return s;
  if (typeof s === 'string') return n < s.length ? s.slice(n) : undefined;
  return n < Math.abs(s) ? s - Math.sign(s) * n : undefined;
}

function differ() { throw new RangeError('the operations are for texts of different lengths'); }

// transform takes two operations that were made at the same time, on the same text, and returns what is left to do of
// each after the other: a and then b2 makes the same text as b and then a2. Where both insert at one place, a's comes
// first.
export function transform(a, b) {
  const a2 = [], b2 = [];
  walk(a, b, (s, t) => {
    if (typeof s === 'string') {
      push(a2, s);
      push(b2, s.length);
      return [s.length, 0];
    }
    if (typeof t === 'string') {
      push(a2, t.length);
      push(b2, t);
      return [0, t.length];
    }
    if (s === undefined || t === undefined) differ();
    const n = Math.min(Math.abs(s), Math.abs(t));
    if (s > 0 && t > 0) { push(a2, n); push(b2, n); }
    else if (s < 0 && t > 0) push(a2, -n);
    else if (s > 0 && t < 0) push(b2, -n);
    return [n, n];
  });
  return [a2, b2];
}

// compose returns one operation that does a and then b.
export function compose(a, b) {
  const both = [];
  walk(a, b, (s, t) => {
    if (s < 0) { // b does not see what a deletes
      push(both, s);
      return [-s, 0];
    }
    if (typeof t === 'string') {
      push(both, t);
      return [0, t.length];
    }
    if (s === undefined || t === undefined) differ();
    const n = Math.min(typeof s === 'string' ? s.length : s, Math.abs(t));
    if (t > 0) push(both, typeof s === 'string' ? s.slice(0, n) : n);
    else if (s > 0) push(both, -n);
    return [n, n];
  });
  return both;
}

// diff returns the operation that turns one text into another by replacing one stretch, as typing and pasting do.
// caret is where the caret is in the new text: it says which of several equal letters is new. A surrogate pair is
// replaced as a whole.
export function diff(before, after, caret = after.length) {
  const short = Math.min(before.length, after.length);
  let tail = 0; // what is the same at the end, as far as it is behind the caret
  while (tail < Math.min(short, after.length - caret) && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  let head = 0;
  while (head < short - tail && before[head] === after[head]) head++;
  while (tail < short - head && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  if (high(before, head - 1)) head--;
  if (tail > 0 && low(before, before.length - tail)) tail--;
  const op = [];
  push(op, head);
  push(op, after.slice(head, after.length - tail));
  push(op, -(before.length - tail - head));
  return push(op, tail);
}

const high = (text, i) => (text.charCodeAt(i) & 0xfc00) === 0xd800;
const low = (text, i) => (text.charCodeAt(i) & 0xfc00) === 0xdc00;

// move returns where a position of the text is after op. What is inserted right there stays behind it.
export function move(position, op) {
  let at = 0; // in the text before
  let moved = position;
  for (const s of op) {
    if (at > position || (at === position && typeof s === 'string')) break;
    if (typeof s === 'string') moved += s.length;
    else {
      if (s < 0) moved -= Math.min(-s, position - at);
      at += Math.abs(s);
    }
  }
  return moved;
}
