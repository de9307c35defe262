import { $, connect, element, say as notice } from './site.mjs';

const longestLog = 300;     // messages

let link = null;
let name = '';
let node = '';            // that this page is connected to
let position = '';        // of the last message that this page has
let missed = 0;           // how many of the next messages are not new
let people = [];          // who is here, on all nodes: {name, node}

function join() {
  link = connect('ws', {
    query: () => ({ name, ...(position && { after: position }) }),
    connected: `Connected as ${name}`,
    idle: '',
    message(data) { receive(JSON.parse(data)); },
    refused(e) {
      link.close();
      $('chat').hidden = true;
      $('entry').hidden = false;
      notice(`The server says: ${e.reason}.`);
    },
  });
}

function receive(event) {
  switch (event.type) {
    case 'hello': {
      const again = node !== '';
      node = event.node;
      missed = event.missed ?? 0;
      $('node').textContent = `Node ${node}, engine: ${event.engine}`;
      engine(event.lost);
      $('entry').hidden = true;
      if ($('chat').hidden) {
        $('chat').hidden = false;
        $('text').focus();
      }
      if (!event.resumed) position = event.position ?? ''; // what follows begins there
      if (!again) $('entries').replaceChildren();
      else if (!event.resumed) append(element('li', 'divider', 'The engine or the node has restarted'));
      if (again && event.resumed) news(`You are back. You missed ${missed === 1 ? '1 message' : `${missed} messages`}.`);
      else if (again) news('You are back. Some messages may be missing.');
      break;
    }
    case 'message':
      if (isGap(event)) append(element('li', 'divider', 'Messages may be missing here'));
      position = event.position ?? '';
      message(event);
      break;
    case 'people':
      people = event.people ?? [];
      showNodes(event.count);
      break;
    case 'joined':
      people.push({ name: event.name, node: event.node });
      showNodes(event.count);
      break;
    case 'left': {
      const i = people.findIndex(({ name, node }) => name === event.name && node === event.node);
      if (i >= 0) people.splice(i, 1);
      showNodes(event.count);
      break;
    }
    case 'engine':
      engine(event.lost);
      break;
    case 'failed':
      $('failed').textContent = 'That was not sent: the engine is lost.';
      if (!$('text').value) $('text').value = event.text;
      break;
  }
}

// isGap tells whether messages between the last one and this one are missing: the
// epochs differ, or the message before this one is not known here.
function isGap(event) {
  if (!position || !event.position) return false;
  const [epoch, offset] = position.split('-');
  return event.position.split('-')[0] !== epoch || event.previous > Number(offset);
}

function engine(lost) {
  $('engine').hidden = !lost;
  if (!lost) $('failed').textContent = '';
}

// showNodes shows who is on which node. If they are very many, only their number is known.
function showNodes(count = 0) {
  const nodes = new Map();
  for (const { name, node } of people) nodes.set(node, [...nodes.get(node) ?? [], name]);
  const sections = [...nodes].sort(([a], [b]) => a.localeCompare(b)).map(([name, names]) => {
    const section = element('div', name === node ? 'this' : '');
    const list = element('ul');
    list.append(...names.sort().map((person) => element('li', '', person)));
    section.append(element('h2', '', name === node ? `Node ${name}, yours` : `Node ${name}`), list);
    return section;
  });
  if (count > people.length) sections.push(element('p', '', `${count} people`));
  $('nodes').replaceChildren(...sections);
}

function message({ name, text, node, at }) {
  const key = JSON.stringify([name, at, node, text]);
  const old = missed > 0;
  if (old) missed--;
  // What comes again after a fresh start is on the screen already.
  if (old && [...$('entries').children].some((li) => li.dataset.key === key)) return;
  const li = element('li');
  li.dataset.key = key;
  const about = element('p', 'about');
  const time = new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  about.append(element('b', '', name), ` on node ${node}, ${time}`);
  li.append(about, element('p', 'text', text));
  append(li);
}

function news(text) { append(element('li', 'news', text)); }

// append adds an entry to the log and keeps its end in view, unless the reader has scrolled away.
function append(li) {
  const log = $('log');
  const entries = $('entries');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  entries.append(li);
  while (entries.childElementCount > longestLog) entries.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

$('join').addEventListener('submit', (e) => {
  e.preventDefault();
  name = $('name').value.trim();
  link?.close();
  join();
});

$('say').addEventListener('submit', (e) => {
  e.preventDefault();
  const text = $('text').value.trim();
  $('failed').textContent = '';
  if (text && link?.send(JSON.stringify({ text }))) $('text').value = ''; // otherwise what was typed stays
});
