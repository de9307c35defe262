import { $, element } from './site.mjs';
import { ways } from './ways.mjs';

const shown = 60;        // latencies in each chart
const kept = 500;        // latencies that the median is of
const statsEvery = 1000; // milliseconds

// newClient returns the name under which the server counts: another name begins at zero.
const newClient = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, '0')).join('');
let client = newClient();

let offset = 0;            // of the server's clock, in milliseconds
let bestTrip = Infinity;   // of the request that told it: the shortest tells best
const now = () => performance.timeOrigin + performance.now() + offset;

// The charts are logarithmic, from 0.1 ms at the bottom to 10 s at the top.
const decades = [0.1, 10, 1000]; // those that have a label
const y = (ms) => 20 - 4 * Math.min(Math.max(Math.log10(ms) + 1, 0), 5);

// A Card shows one way, and runs it.
class Card {
  events = 0;
  latencies = []; // the last ones

  constructor(way) {
    this.way = way;
    const card = element('section', 'card');
    card.dataset.way = way.name;
    card.append(element('h2', '', way.title));
    this.state = element('p', '', '');
    this.state.setAttribute('role', 'status');
    const list = element('dl');
    this.rows = {};
    for (const [name, title] of [['events', 'Events'], ['median', 'Latency, median'], ['worst', 'Latency, worst'], ['requests', 'Requests'],
      ['in', 'Bytes sent'], ['out', 'Bytes received'], ['each', 'Bytes per event']]) {
      const row = element('div', ['median', 'each'].includes(name) ? 'main' : '');
      this.rows[name] = element('dd', name, '–');
      row.append(element('dt', '', title), this.rows[name]);
      list.append(row);
    }
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('viewBox', `0 0 ${shown - 1} 20`);
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', `Latency of the last ${shown} events, by ${way.title}`);
    const path = () => svg.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'path'));
    this.grid = path();
    this.grid.setAttribute('class', 'grid');
    this.grid.setAttribute('d', decades.map((ms) => `M0 ${y(ms)}H${shown - 1}`).join(''));
    this.path = path();
    const scale = element('div', 'scale');
    scale.setAttribute('aria-hidden', 'true'); // the numbers above say it in words
    scale.append(...decades.toReversed().map((ms) => element('span', '', ms < 1000 ? `${ms} ms` : `${ms / 1000} s`)));
    const chart = element('div', 'chart');
    chart.append(scale, svg);
    card.append(this.state, list, chart);
    $('ways').append(card);
  }

  start() {
    this.stop?.();
    Object.assign(this, { events: 0, latencies: [] });
    this.stop = this.way.run({
      client,
      wait: () => Number($('poll').value),
      event: (e) => this.event(e),
      state: (text) => { if (this.state.textContent !== text) this.state.textContent = text; },
    });
    this.show();
  }

  event(e) {
    this.events++;
    this.latencies.push(Math.max(now() - e.at / 1000, 0));
    if (this.latencies.length > kept) this.latencies.shift();
  }

  show(used) {
    const { rows, latencies } = this;
    rows.events.textContent = this.events.toLocaleString();
    const sorted = latencies.toSorted((a, b) => a - b);
    rows.median.textContent = sorted.length ? milliseconds(sorted[sorted.length >> 1]) : '–';
    rows.worst.textContent = sorted.length ? milliseconds(sorted.at(-1)) : '–';
    const last = latencies.slice(-shown);
    this.path.setAttribute('d', last.length ? 'M' + last.map((ms, i) => `${i} ${y(ms).toFixed(2)}`).join('L') : '');
    if (!used) return;
    rows.requests.textContent = used.requests.toLocaleString();
    rows.in.textContent = used.in.toLocaleString();
    rows.out.textContent = used.out.toLocaleString();
    rows.each.textContent = this.events ? Math.round((used.in + used.out) / this.events).toLocaleString() : '–';
  }
}

const milliseconds = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

const cards = ways.map((way) => new Card(way));

async function stats() {
  const asked = client;
  try {
    const sent = performance.now();
    const response = await fetch(`stats?client=${asked}`);
    const trip = performance.now() - sent;
    const { used, every, now: clock } = await response.json();
    if (trip < bestTrip) {
      bestTrip = trip;
      offset = clock / 1000 - (performance.timeOrigin + sent + trip / 2);
    }
    if (asked === client) for (const card of cards) card.show(used[card.way.name]);
    if (document.activeElement !== $('rate')) $('rate').value = String(every); // another page may have changed it
  } catch {
    for (const card of cards) card.show(); // the server is away: the ways say so themselves
  }
  setTimeout(stats, statsEvery);
}

function startAll() {
  client = newClient();
  for (const card of cards) card.start();
}

const post = (path) => fetch(path, { method: 'POST' }).catch(() => {}); // the ways say that the server is away

$('rate').addEventListener('change', () => post(`rate?every=${$('rate').value}`));
$('publish').addEventListener('click', () => post('publish'));
$('reset').addEventListener('click', startAll);
$('controls').addEventListener('submit', (e) => e.preventDefault());

await stats(); // the clock first
startAll();
