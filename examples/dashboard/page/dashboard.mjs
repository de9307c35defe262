import { $, connect, element } from './site.mjs';

let position = '';  // of the last message that this page has
let every = 1000;   // milliseconds between two samples
let shown = 120;    // samples in the chart
let samples = [];
let marks = [];

const link = connect('ws', {
  silence: 15,
  query: () => (position ? { after: position } : {}),
  message(data) {
    const m = JSON.parse(data);
    if (m.position) position = m.position;
    switch (m.type) {
      case 'hello':
        ({ every, shown } = m);
        $('what').textContent = `${m.what}, ${m.cpus} CPUs`;
        if (!m.resumed) { samples = []; marks = []; }
        break;
      case 'sample':
        samples.push(m);
        if (samples.length > shown) samples.shift();
        break;
      case 'mark':
        marks.push(m);
        break;
    }
    redraw();
  },
});

// redraw draws at most once for each frame, however many messages there are: after a reconnection it is the whole
// chart.
let frame = 0;
function redraw() {
  frame ||= requestAnimationFrame(() => { frame = 0; draw(); });
}

const width = 1000, height = 100; // of the charts, in units of their own

class Chart {
  constructor(svg) {
    this.scale = svg.previousElementSibling;
    this.times = svg.nextElementSibling;
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.setAttribute('preserveAspectRatio', 'none');
    for (const name of ['grid', 'area', 'line', 'mark']) {
      this[name] = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      this[name].setAttribute('class', name);
      svg.append(this[name]);
    }
    this.grid.setAttribute('d', [25, 50, 75].map((y) => `M0 ${y}H${width}`).join(''));
  }

  // draw takes points [at, from 0 to 1], and the labels of the scale from top to bottom. Where more than one sample is
  // missing there is a gap.
  draw(points, x, labels) {
    const runs = [];
    let last = -Infinity;
    for (const [at, value] of points) {
      if (at - last > every * 2.5) runs.push([]);
      runs.at(-1).push([x(at).toFixed(1), (height - value * height).toFixed(2)]);
      last = at;
    }
    this.line.setAttribute('d', runs.map((run) => 'M' + run.map((p) => p.join(' ')).join('L')).join(''));
    this.area.setAttribute('d', runs.map((run) => `M${run[0][0]} ${height}L${run.map((p) => p.join(' ')).join('L')}V${height}Z`).join(''));
    label(this.scale, labels);
    label(this.times, [1, 0.5, 0].map((part) => ago((shown - 1) * every * part)));
    this.mark.setAttribute('d', marks.map((m) => `M${x(m.at).toFixed(1)} 0V${height}`).join(''));
  }
}

const cpu = new Chart($('cpu-chart'));
const memory = new Chart($('memory-chart'));

const percent = (value) => `${(value * 100).toFixed(0)} %`;
const size = (bytes) => (bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`);

const ago = (ms) => (ms ? `${+(ms / 1000).toFixed(1)} s ago` : 'now');

function label(box, texts) {
  const same = box.childElementCount === texts.length && texts.every((text, i) => box.children[i].textContent === text);
  if (!same) box.replaceChildren(...texts.map((text) => element('span', '', text)));
}

function draw() {
  const last = samples.at(-1);
  if (!last) return;
  const from = last.at - (shown - 1) * every;
  const x = (at) => ((at - from) / (last.at - from)) * width;
  marks = marks.filter((m) => m.at >= from);
  // Without a total the highest value seen stands for it.
  const highest = last.total || Math.max(...samples.map((s) => s.used)) * 1.2;
  cpu.draw(samples.map((s) => [s.at, s.cpu]), x, [1, 0.5, 0].map(percent));
  memory.draw(samples.map((s) => [s.at, s.used / highest]), x, [size(highest), size(highest / 2), '0']);
  $('cpu').textContent = percent(last.cpu);
  $('memory').textContent = last.total ? `${size(last.used)} of ${size(last.total)}` : size(last.used);
  showMarks();
}

function showMarks() {
  const texts = marks.map((m) => `${new Date(m.at).toLocaleTimeString()} ${m.text}`);
  const old = [...$('marks').children].map((li) => li.textContent);
  if (texts.join('\n') !== old.join('\n')) $('marks').replaceChildren(...texts.map((text) => element('li', '', text)));
}

$('marking').addEventListener('submit', (e) => {
  e.preventDefault();
  const mark = $('mark').value.trim();
  if (mark && link.send(JSON.stringify({ mark }))) $('mark').value = ''; // otherwise what was typed stays
});
