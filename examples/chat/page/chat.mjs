import { $, connect, element, say as notice } from './site.mjs';

const longestLog = 500; // entries

let wanted = '';     // the name that was asked for
let room = '';       // the room that this page is in, or wants to be in
let me = '';         // the name that the server gave
let position = '';   // of the last message of the room that this page has
let missed = 0;      // how many of the messages that come now are not new
let link = null;     // the connection, while the page wants one
let rooms = [];      // [{name, people}]
let unread = 0;      // messages that came while the page was hidden

function join() {
  link = connect('ws', {
    query: () => ({ name: wanted, room, ...(position && { after: position }) }),
    connected: 'Joining…',
    idle: '',
    message(data) { receive(JSON.parse(data)); },
    close: showSend,
    refused(e) {
      leave();
      notice(e.reason ? `The server says: ${e.reason}.` : `The server closed the connection (code ${e.code}).`);
    },
  });
}

function receive(event) {
  switch (event.type) {
    case 'hello': {
      const again = me !== '' && event.room === room;
      me = event.name;
      missed = event.missed ?? 0;
      $('status').textContent = 'Connected as ' + me;
      showChat(true);
      if (!again) $('entries').replaceChildren();
      if (event.room !== room) position = '';
      room = event.room;
      showPeople(event.people);
      showRooms();
      showSend();
      // What is on the screen stays, also when the server does not know it any more.
      if (again && !event.resumed) append(element('li', 'divider', 'The server has restarted, or you were away for long'), false);
      news(greeting(again, event));
      break;
    }
    case 'rooms':
      rooms = event.rooms;
      showRooms();
      break;
    case 'joined':
      showPeople([...people(), event.name]);
      news(event.name + ' joined');
      break;
    case 'left':
      showPeople(people().filter((name) => name !== event.name));
      news(event.name + ' left');
      break;
    case 'message':
      position = event.position;
      message(event);
      break;
  }
}

function greeting(again, event) {
  const messages = missed === 1 ? '1 message' : `${missed} messages`;
  if (again && event.resumed) return missed ? `You are back. You missed ${messages}:` : 'You are back, and missed nothing.';
  if (again) return 'You are back. Messages that were sent while you were away may be missing.';
  return `You are in ${event.room}.` + (missed ? ` The last ${messages}:` : '');
}

function enter(name) {
  if (name !== room && link?.send(JSON.stringify({ enter: name }))) $('text').focus();
}

function leave() {
  link?.close();
  link = null;
  me = position = '';
  showChat(false);
}

function showSend() {
  $('send').setAttribute('aria-disabled', String($('status').dataset.state !== 'open'));
}

// showChat shows the conversation, or the form to join it.
function showChat(on) {
  const change = $('chat').hidden === on;
  $('chat').hidden = !on;
  $('entry').hidden = on;
  $('leave').hidden = !on;
  if (!change) return;
  if (!on) $('entries').replaceChildren();
  $(on ? 'text' : 'name').focus();
}

function showRooms() {
  $('rooms').replaceChildren(...rooms.map(({ name, people }) => {
    const li = element('li');
    const button = element('button', '', name);
    button.type = 'button';
    button.setAttribute('aria-current', String(name === room));
    const count = element('span', 'count', String(people));
    count.title = people === 1 ? '1 person' : `${people} people`;
    button.append(count);
    button.addEventListener('click', () => enter(name));
    li.append(button);
    return li;
  }));
}

function people() {
  return [...$('people').children].map((li) => li.dataset.name);
}

function showPeople(names) {
  $('people').replaceChildren(...names.sort((a, b) => a.localeCompare(b)).map((name) => {
    const li = element('li', name === me ? 'me' : '', name === me ? name + ' (you)' : name);
    li.dataset.name = name;
    return li;
  }));
  $('here-title').textContent = `Here now: ${names.length}`;
}

function message({ name, text, at }) {
  const old = missed > 0;
  if (old) missed--;
  const mine = name === me && !old; // another member may have had the name then
  const when = new Date(at);
  const li = element('li', mine ? 'mine' : '');
  const about = element('p', 'about');
  const time = element('time', '', when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
  time.dateTime = when.toISOString();
  about.append(element('b', '', name), ' ', time);
  li.append(about, element('p', 'text', text));
  append(li, mine);
  if (document.hidden) document.title = `(${++unread}) Chat`;
}

function news(text) {
  append(element('li', 'news', text), false);
}

// append adds an entry to the log and keeps its end in view, unless the reader has scrolled away.
function append(li, always) {
  const log = $('log');
  const entries = $('entries');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  entries.append(li);
  while (entries.childElementCount > longestLog) entries.firstElementChild.remove();
  if (always || atEnd) log.scrollTop = log.scrollHeight; else $('newest').hidden = false;
}

// remember and remembered keep the name and the room for this tab.
function remember(values) {
  try { for (const [key, value] of Object.entries(values)) sessionStorage.setItem(key, value); } catch { /* storage is off */ }
}

function remembered(key) {
  try { return sessionStorage.getItem(key); } catch { return null; }
}

$('join').addEventListener('submit', (e) => {
  e.preventDefault();
  wanted = $('name').value.trim();
  room = $('room').value.trim();
  remember({ name: wanted, room });
  link?.close();
  join();
});

$('say').addEventListener('submit', (e) => {
  e.preventDefault();
  const text = $('text').value.trim();
  if (!text || !link?.send(JSON.stringify({ text }))) return; // what was typed stays
  $('text').value = '';
  $('text').focus();
});

$('leave').addEventListener('click', leave);
$('newest').addEventListener('click', () => { $('log').scrollTop = $('log').scrollHeight; $('text').focus(); });
$('log').addEventListener('scroll', () => {
  const log = $('log');
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 40) $('newest').hidden = true;
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  unread = 0;
  document.title = 'Chat';
});

$('name').value = remembered('name') ?? '';
$('room').value = remembered('room') || 'Lobby';
