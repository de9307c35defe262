'use strict';

const $ = (id) => document.getElementById(id);

// Close codes that would come again at once: the server wants nothing from this page as it is.
const refused = new Set([1002, 1003, 1007, 1008]);
const longestWait = 15; // seconds between two attempts
const longestLog = 500; // entries

let wanted = '';     // the name that was asked for
let me = '';         // the name that the server gave
let socket = null;   // the connection, from the attempt on
let attempts = 0;    // failed ones in a row
let timer = 0;       // the countdown's, while one runs
let unread = 0;      // messages that came while the page was hidden

function connect() {
  clearInterval(timer);
  setState('busy', attempts || me ? 'Reconnecting…' : 'Connecting…');
  $('countdown').textContent = '';
  $('retry').hidden = true;

  const url = new URL('ws', location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  url.searchParams.set('name', wanted);
  const ws = new WebSocket(url);
  socket = ws;
  ws.addEventListener('message', (e) => { if (ws === socket) receive(JSON.parse(e.data)); });
  ws.addEventListener('close', (e) => { if (ws === socket) lost(e); });
}

function receive(event) {
  switch (event.type) {
    case 'hello': {
      const again = me !== '';
      me = event.name;
      attempts = 0;
      setState('open', 'Connected as ' + me);
      showNotice('');
      showPeople(event.people);
      showChat(true);
      news(again ? 'You are back. What was said meanwhile is not shown.' : 'You are in.');
      break;
    }
    case 'joined':
      showPeople([...people(), event.name]);
      news(event.name + ' joined');
      break;
    case 'left':
      showPeople(people().filter((name) => name !== event.name));
      news(event.name + ' left');
      break;
    case 'message':
      message(event.name, event.text);
      break;
  }
}

// lost goes on after the connection has ended, or could not be made.
function lost(e) {
  socket = null;
  const why = e.reason ? `${e.reason} (code ${e.code})` : `code ${e.code}`;
  if (refused.has(e.code)) {
    leave();
    showNotice(e.reason ? `The server says: ${e.reason}.` : `The server closed the connection with ${why}.`);
    return;
  }
  showNotice(e.code === 1006
    ? (me && !attempts ? 'The connection was lost.' : 'The server cannot be reached.')
    : `The server closed the connection: ${why}.`);
  setState('lost', 'Not connected');

  let wait = Math.min(2 ** attempts, longestWait);
  attempts++;
  // Up to a second more, so that all pages do not come back at the same moment.
  const at = Date.now() + (wait + Math.random()) * 1000;
  const tick = () => {
    wait = Math.ceil((at - Date.now()) / 1000);
    if (wait <= 0) connect(); else $('countdown').textContent = `Trying again in ${wait} s.`;
  };
  timer = setInterval(tick, 250);
  tick();
  $('retry').hidden = false;
}

function leave() {
  clearInterval(timer);
  const ws = socket;
  socket = null;
  if (ws) ws.close(1000);
  me = '';
  attempts = 0;
  setState('idle', 'Not connected');
  showNotice('');
  showChat(false);
}

function setState(state, text) {
  $('status').dataset.state = state;
  $('state').textContent = text;
  $('send').setAttribute('aria-disabled', String(state !== 'open'));
}

function showNotice(text) {
  $('notice').hidden = !text;
  $('problem').textContent = text;
  $('countdown').textContent = '';
  $('retry').hidden = true;
}

// showChat shows the conversation, or the form to join it.
function showChat(on) {
  const change = $('chat').hidden === on;
  $('chat').hidden = !on;
  $('join').hidden = on;
  $('leave').hidden = !on;
  if (!change) return;
  if (!on) $('log').replaceChildren();
  $(on ? 'text' : 'name').focus();
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

function message(name, text) {
  const now = new Date();
  const li = element('li', name === me ? 'mine' : '');
  const about = element('p', 'about');
  const time = element('time', '', now.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
  time.dateTime = now.toISOString();
  about.append(element('b', '', name), ' ', time);
  li.append(about, element('p', 'text', text));
  append(li, name === me);
  if (document.hidden) document.title = `(${++unread}) Chat`;
}

function news(text) {
  append(element('li', 'news', text), false);
}

// append adds an entry to the log and keeps its end in view, unless the reader has scrolled away.
function append(li, always) {
  const log = $('log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(li);
  while (log.childElementCount > longestLog) log.firstElementChild.remove();
  if (always || atEnd) log.scrollTop = log.scrollHeight; else $('newest').hidden = false;
}

// element makes an element. Its text is only ever text, never HTML.
function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

$('join').addEventListener('submit', (e) => {
  e.preventDefault();
  wanted = $('name').value.trim();
  try { sessionStorage.setItem('name', wanted); } catch { /* storage is off: then it is not remembered */ }
  showNotice('');
  if (socket) socket.close();
  connect();
});

$('say').addEventListener('submit', (e) => {
  e.preventDefault();
  const text = $('text').value.trim();
  if (!text || $('status').dataset.state !== 'open') return; // what was typed stays
  socket.send(JSON.stringify({ text }));
  $('text').value = '';
  $('text').focus();
});

$('leave').addEventListener('click', leave);
$('retry').addEventListener('click', connect);
$('newest').addEventListener('click', () => { $('log').scrollTop = $('log').scrollHeight; $('text').focus(); });
$('log').addEventListener('scroll', () => {
  const log = $('log');
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 40) $('newest').hidden = true;
});
addEventListener('online', () => { if (!$('retry').hidden) connect(); });
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  unread = 0;
  document.title = 'Chat';
});

try { $('name').value = sessionStorage.getItem('name') || ''; } catch { /* as above */ }
