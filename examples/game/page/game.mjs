import { $, connect, element } from './site.mjs';
import { kinds, parse, pingMessage, pingWraps, steerMessage } from './wire.mjs';

const pingEvery = 1000; // milliseconds
const tick = 1000 / 30; // milliseconds between two updates

let me = 0;             // this page's ball
let before = null;      // the update before the last
let last = null;        // the last one, with `at`, when it came
let size = { width: 1600, height: 900 };
let latencies = [];     // the last few, in milliseconds
let updates = 0;        // in this second
let bytes = 0;          // in this second

const link = connect('ws', {
  silence: 5,
  open() {
    before = last = null;
    latencies = [];
    steered = '';
    ping();
  },
  message(data) {
    bytes += data.byteLength;
    const m = parse(new DataView(data));
    switch (m.kind) {
      case kinds.welcome:
        me = m.id;
        size = m;
        break;
      case kinds.positions:
        updates++;
        m.at = performance.now();
        before = last ?? m;
        last = m;
        break;
      case kinds.pong: {
        latencies = [...latencies.slice(-4), (performance.now() - m.sent + pingWraps) % pingWraps];
        const median = latencies.toSorted((a, b) => a - b)[latencies.length >> 1];
        $('latency').textContent = `${median.toFixed(1)} ms`;
        break;
      }
    }
  },
});

// The ping carries this page's clock, and the pong brings it back: nothing is remembered between.
function ping() { link.send(pingMessage(performance.now())); }
setInterval(ping, pingEvery);

// Steering: keys first, then the pointer.

const keys = {
  ArrowLeft: [-1, 0], KeyA: [-1, 0], ArrowRight: [1, 0], KeyD: [1, 0],
  ArrowUp: [0, -1], KeyW: [0, -1], ArrowDown: [0, 1], KeyS: [0, 1],
};
const held = new Set();
let pointer = null; // where it is held, in the world's coordinates
let steered = '';   // what was sent last

function steer() {
  let dx = 0, dy = 0;
  for (const code of held) { dx += keys[code][0]; dy += keys[code][1]; }
  const ball = last?.balls.find((b) => b.id === me);
  if (!held.size && pointer && ball) {
    const distance = Math.hypot(pointer.x - ball.x, pointer.y - ball.y);
    const pace = Math.min(1, distance / 60) / Math.max(distance, 1);
    dx = (pointer.x - ball.x) * pace;
    dy = (pointer.y - ball.y) * pace;
  }
  const to = [Math.round(Math.max(-1, Math.min(1, dx)) * 127), Math.round(Math.max(-1, Math.min(1, dy)) * 127)];
  if (to.join() !== steered && link.send(steerMessage(...to))) steered = to.join();
}

addEventListener('keydown', (e) => {
  if (!(e.code in keys) || e.ctrlKey || e.metaKey || e.altKey) return;
  e.preventDefault();
  held.add(e.code);
  steer();
});
addEventListener('keyup', (e) => { if (held.delete(e.code)) steer(); });
addEventListener('blur', () => { held.clear(); pointer = null; steer(); });

function point(e) {
  const box = $('field').getBoundingClientRect();
  const scale = Math.min(box.width / size.width, box.height / size.height);
  pointer = {
    x: (e.clientX - box.left - (box.width - size.width * scale) / 2) / scale,
    y: (e.clientY - box.top - (box.height - size.height * scale) / 2) / scale,
  };
}
$('field').addEventListener('pointerdown', (e) => { $('field').setPointerCapture(e.pointerId); point(e); });
$('field').addEventListener('pointermove', (e) => { if (pointer) point(e); });
for (const end of ['pointerup', 'pointercancel']) $('field').addEventListener(end, () => { pointer = null; });

// Drawing.

// Each of the 32 numbers of players has a colour. Coins alone have hues from 21 to 69 degrees.
const colour = (id) => {
  const n = (id * 13) % 32; // players of neighbouring numbers get distant hues
  return `hsl(${(70 + n * 10) % 360} 75% ${n % 2 ? 72 : 56}%)`;
};
const ctx = $('field').getContext('2d');

function draw() {
  requestAnimationFrame(draw);
  if (!last) return;
  steer();
  ctx.clearRect(0, 0, size.width, size.height);
  ctx.fillStyle = '#1c2741';
  for (let x = 50; x < size.width; x += 100) for (let y = 50; y < size.height; y += 100) ctx.fillRect(x - 2, y - 2, 4, 4);
  for (const c of last.coins) {
    ctx.beginPath();
    ctx.arc(c.x, c.y, 20, 0, 2 * Math.PI);
    ctx.fillStyle = '#ffd25e';
    ctx.fill();
    ctx.lineWidth = 4;
    ctx.strokeStyle = '#b8860b';
    ctx.stroke();
  }
  // Between two updates each ball is drawn on the way from the one before to the last: smooth, and one tick late.
  const way = Math.min((performance.now() - last.at) / tick, 1);
  for (const b of last.balls) {
    const from = before.balls.find((old) => old.id === b.id) ?? b;
    const x = from.x + (b.x - from.x) * way;
    const y = from.y + (b.y - from.y) * way;
    ctx.beginPath();
    ctx.arc(x, y, 32, 0, 2 * Math.PI);
    ctx.fillStyle = colour(b.id);
    ctx.fill();
    if (b.id === me) {
      ctx.lineWidth = 5;
      ctx.strokeStyle = '#ffffff';
      ctx.stroke();
    }
    ctx.fillStyle = '#10182b';
    ctx.font = 'bold 28px system-ui, sans-serif';
    ctx.textAlign = 'center';
    ctx.textBaseline = 'middle';
    ctx.fillText(String(b.id), x, y + 1);
  }
}
requestAnimationFrame(draw);

function showPlayers() {
  const rows = (last?.balls ?? []).toSorted((a, b) => b.score - a.score || a.id - b.id).map((b) => {
    const li = element('li', b.id === me ? 'me' : '');
    Object.assign(li.dataset, { id: b.id, x: b.x, y: b.y });
    const dot = element('span', 'ball');
    dot.style.background = colour(b.id);
    const coins = b.score === 1 ? '1 coin' : `${b.score} coins`;
    li.append(dot, element('span', 'name', `Player ${b.id}${b.id === me ? ' (you)' : ''}`), element('span', '', coins));
    return li;
  });
  $('players').replaceChildren(...rows);
}
setInterval(showPlayers, 200);

setInterval(() => {
  $('rate').textContent = `${updates} per second`;
  $('bytes').textContent = `${bytes.toLocaleString()} bytes per second`;
  updates = bytes = 0;
}, 1000);
