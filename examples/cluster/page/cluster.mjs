import { $, connect, element, say as notice } from './site.mjs';

const forgetAfter = 7_000;  // milliseconds without a word from a node: it is gone
const longestLog = 300;     // messages

let link = null;
let name = '';
let node = '';            // that this page is connected to
let position = '';        // of the last message that this page has
let missed = 0;           // how many of the next messages are not new
const nodes = new Map();  // what was heard of each node: {people, at}

function join() {
  link = connect('ws', {
    query: () => ({ name, ...(position && { after: position }) }),
    connected: `Connected as ${name}`,
    message(data) { receive(JSON.parse(data)); },
    refused(e) {
      $('chat').hidden = true;
      $('join').hidden = false;
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
      $('join').hidden = true;
      if ($('chat').hidden) {
        $('chat').hidden = false;
        $('text').focus();
      }
      if (!event.resumed) $('log').replaceChildren();
      if (again && event.resumed) news(`You are back. You missed ${missed === 1 ? '1 message' : `${missed} messages`}.`);
      else if (again) news('You are back. Some messages may be missing.');
      break;
    }
    case 'message':
      position = event.position ?? '';
      message(event);
      break;
    case 'people':
      nodes.set(event.node, { people: event.people ?? [], at: Date.now() });
      showNodes();
      break;
    case 'engine':
      engine(event.lost);
      break;
    case 'failed':
      $('failed').textContent = 'That was not sent: the engine is lost.';
      if (!$('text').value) $('text').value = event.text;
      break;
  }
}

function engine(lost) {
  $('engine').hidden = !lost;
  if (!lost) $('failed').textContent = '';
}

function showNodes() {
  for (const [name, heard] of nodes) if (Date.now() - heard.at > forgetAfter) nodes.delete(name);
  const busy = [...nodes].filter(([, { people }]) => people.length).sort(([a], [b]) => a.localeCompare(b));
  const sections = busy.map(([name, { people }]) => {
    const section = element('div', name === node ? 'this' : '');
    const list = element('ul');
    list.append(...people.map((person) => element('li', '', person)));
    section.append(element('h2', '', name === node ? `Node ${name}, yours` : `Node ${name}`), list);
    return section;
  });
  $('nodes').replaceChildren(...sections);
}
setInterval(showNodes, 1000);

function message({ name, text, node, at }) {
  if (missed > 0) missed--;
  const li = element('li');
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
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(li);
  while (log.childElementCount > longestLog) log.firstElementChild.remove();
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
