import { Client } from './client.mjs';
import { apply, diff, move } from './ot.mjs';
import { $, connect, element } from './site.mjs';

const caretEvery = 100; // milliseconds between two messages about this page's caret, at least

const id = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, '0')).join('');
const client = new Client(id, (message) => link.send(JSON.stringify({ type: 'change', ...message })));
const area = $('text');

let epoch = '';
let text = '';          // what the textarea shows; its value is ahead of it only while an edit is being handled
let carets = new Map(); // of the others, by client: where they are in text
let numbers = new Map(); // of all who are here, by client
let composing = false;  // an input method is at work: the textarea must not be touched
let waiting = [];       // changes that came meanwhile

const link = connect('ws', {
  query: () => ({ client: id, ...(epoch && { epoch, revision: client.revision }) }),
  message(data) {
    const m = JSON.parse(data);
    if (composing) waiting.push(m); else receive(m);
  },
  close() {
    client.lost();
    waiting = [];
    carets.clear();
    drawCarets();
    showSaved();
  },
});

function receive(m) {
  switch (m.type) {
    case 'change':
      remote(m);
      break;
    case 'changes':
      m.changes.forEach(remote);
      break;
    case 'start':
      if (m.text !== undefined) startOver(m);
      epoch = m.epoch;
      area.disabled = false;
      client.resume();
      break;
    case 'people':
      showPeople(m.people);
      break;
    case 'caret':
      if (m.client === id) return;
      // It is a place in the server's text, and this page is ahead of that by what is not confirmed.
      carets.set(m.client, [client.outstanding?.op, client.buffer].reduce((at, op) => (op ? move(at, op) : at), m.at));
      drawCarets();
      break;
  }
  showSaved();
}

function startOver(m) {
  if (epoch && text && text !== m.text) {
    $('old').textContent = text;
    $('copy').hidden = false;
  }
  client.reset(m.revision);
  setText(m.text, [0, 0]);
}

function remote(change) {
  const op = client.receive(change);
  if (!op) return;
  for (const [who, at] of carets) carets.set(who, move(at, op));
  setText(apply(text, op), [move(area.selectionStart, op), move(area.selectionEnd, op)]);
}

// setText changes the textarea and keeps the selection and the scroll position.
function setText(value, [start, end]) {
  const { scrollTop } = area;
  text = value;
  area.value = value;
  area.setSelectionRange(start, end);
  area.scrollTop = scrollTop;
  drawCarets();
}

function edited() {
  const op = diff(text, area.value, area.selectionEnd);
  if (area.value === text) return;
  text = area.value;
  for (const [who, at] of carets) carets.set(who, move(at, op));
  client.edit(op);
  drawCarets();
  showSaved();
}

area.addEventListener('compositionstart', () => { composing = true; });
area.addEventListener('compositionend', () => {
  composing = false;
  edited();
  for (const m of waiting.splice(0)) receive(m);
});
area.addEventListener('input', () => { if (!composing) edited(); });

// The caret is told when everything is confirmed: then it is a place in the server's text.
let caretTimer = 0;
let caretSent = '';
function tellCaret() {
  caretTimer ||= setTimeout(() => {
    caretTimer = 0;
    const message = { type: 'caret', revision: client.revision, at: area.selectionEnd };
    if (document.activeElement !== area || !client.saved || caretSent === JSON.stringify(message)) return;
    if (link.send(JSON.stringify(message))) caretSent = JSON.stringify(message);
  }, caretEvery);
}
document.addEventListener('selectionchange', tellCaret);

const colour = (n) => `hsl(${(n * 137.5) % 360} 70% 38%)`;

function showPeople(people) {
  numbers = new Map(people.map((p) => [p.client, p.number]));
  for (const who of carets.keys()) if (!numbers.has(who)) carets.delete(who);
  $('people').replaceChildren(...people.map((p) => {
    const li = element('li', p.client === id ? 'me' : '');
    const dot = element('span', 'dot');
    dot.style.background = colour(p.number);
    li.append(dot, `Writer ${p.number}${p.client === id ? ' (you)' : ''}`);
    return li;
  }));
  drawCarets();
  caretSent = '';
  tellCaret(); // for those who are new
}

function drawCarets() {
  const parts = [];
  let at = 0;
  for (const [who, place] of [...carets].sort((a, b) => a[1] - b[1])) {
    const number = numbers.get(who);
    if (number === undefined) continue;
    parts.push(text.slice(at, place));
    at = place;
    const caret = element('span', 'caret');
    caret.style.color = colour(number);
    const label = element('span', 'label', String(number));
    label.style.background = colour(number);
    caret.append(label);
    parts.push(caret);
  }
  parts.push(text.slice(at) + '\n'); // a line end at the end of the text makes a line of its own, as in a textarea
  $('carets').replaceChildren(...parts);
  $('carets').scrollTop = area.scrollTop;
}
area.addEventListener('scroll', () => { $('carets').scrollTop = area.scrollTop; });

function showSaved() {
  $('saved').textContent = !epoch ? '' : client.saved ? 'All changes saved' : 'Saving…';
  if (client.saved) tellCaret();
}
