// What the pages of all examples share: a WebSocket that comes back, and small helpers.

export const $ = (id) => document.getElementById(id);

// element makes an element. Its text is only ever text, never HTML.
export function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// Close codes that would come again at once: the server wants nothing from this page as it is.
const final = new Set([1002, 1003, 1007, 1008, 1010]);
// What close codes mean that come without a reason.
const meanings = { 1001: 'the server is stopping', 1012: 'the server restarts', 1013: 'this page was too slow, or there is no room' };
const firstWait = 0.5;  // seconds: the longest wait before the first retry; it doubles with each attempt in vain
const longestWait = 15; // seconds
const stableAfter = 5;  // seconds that a connection must last until the next loss counts as the first again

// connect keeps a WebSocket to the server's path open until it is closed. It shows its state in #status, and what
// went wrong in a notice below the header. All of on is optional:
//
//	query()      the parameters of this attempt's URL, as an object
//	open(send)   the connection is made
//	message(data)
//	close(event) it ended, or could not be made; the next attempt comes by itself
//	refused(event) it ended with a code that says: do not come again
//	connected    the text of #status while it is open
//	idle         its text after close(), "Not connected" by default
//	silence      seconds: a connection on which nothing arrives for longer counts as lost. A browser's page cannot send
//	             pings, so only a server that speaks regularly can be watched in this way
//
// The result has send(data), which returns false if there is no connection, retry(), drop(), which loses the
// connection as an accident would, and close().
export function connect(path, on = {}) {
  const notice = noticeBelowHeader();
  let socket = null;  // from the attempt on, until it has ended
  let failures = 0;   // in a row
  let closed = false;
  let timer = 0;      // of the countdown, or of the silence
  let stable = 0;
  let why = '';       // what ended the last connection; attempts in vain after it say nothing new

  function attempt() {
    clearInterval(timer);
    show('busy', failures ? 'Reconnecting…' : 'Connecting…');
    notice.wait('');
    const url = new URL(path, location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    for (const [name, value] of Object.entries(on.query ? on.query() : {})) url.searchParams.set(name, value);
    const ws = new WebSocket(url);
    ws.binaryType = 'arraybuffer';
    socket = ws;
    let heard = Date.now();
    ws.addEventListener('open', () => {
      if (ws !== socket) return;
      stable = setTimeout(() => { failures = 0; }, stableAfter * 1000);
      heard = Date.now();
      if (on.silence) timer = setInterval(() => { if (Date.now() - heard > on.silence * 1000) drop(); }, 1000);
      why = '';
      show('open', on.connected ?? 'Connected');
      notice.hide();
      on.open?.(send);
    });
    ws.addEventListener('message', (e) => {
      if (ws !== socket) return;
      heard = Date.now();
      on.message?.(e.data);
    });
    ws.addEventListener('close', (e) => { if (ws === socket) lost(e); });
  }

  function lost(e) {
    const wasOpen = $('status').dataset.state === 'open';
    socket = null;
    clearInterval(timer);
    clearTimeout(stable);
    show('lost', 'Not connected');
    if (final.has(e.code)) {
      closed = true;
      notice.show(e.reason ? `The server says: ${e.reason}.` : `The server closed the connection (code ${e.code}).`);
      on.refused?.(e);
      return;
    }
    const reason = e.reason || meanings[e.code];
    if (e.code !== 1006) why = `The server closed the connection: ${reason ? `${reason} (code ${e.code})` : `code ${e.code}`}.`;
    else if (wasOpen) why = 'The connection was lost.';
    notice.show(why || 'The server cannot be reached.');
    on.close?.(e);
    if (closed) return;
    // Full jitter: any moment up to the bound, so that the pages of a restarted server do not all come back at once.
    const until = Date.now() + Math.random() * Math.min(firstWait * 2 ** failures, longestWait) * 1000;
    failures++;
    const tick = () => {
      const left = until - Date.now();
      if (left <= 0) attempt(); else notice.wait(`Trying again in ${Math.ceil(left / 1000)} s.`);
    };
    timer = setInterval(tick, 100);
    tick();
  }

  function send(data) {
    if (socket?.readyState !== WebSocket.OPEN) return false;
    socket.send(data);
    return true;
  }

  // drop does not wait for the closing handshake: on a dead connection it would not end for a long time.
  function drop() {
    const ws = socket;
    if (!ws) return;
    socket = null;
    ws.close(4000, 'dropped by the page');
    lost({ code: 1006, reason: '' });
  }

  function retry() {
    if (socket) return;
    closed = false;
    attempt();
  }

  function close() {
    closed = true;
    clearInterval(timer);
    clearTimeout(stable);
    const ws = socket;
    socket = null;
    ws?.close(1000);
    show('idle', on.idle ?? 'Not connected');
    notice.hide();
  }

  notice.onRetry(retry);
  addEventListener('online', () => { if (!closed) retry(); });
  attempt();
  return { send, retry, drop, close };
}

function show(state, text) {
  $('status').dataset.state = state;
  if ($('status').textContent !== text) $('status').textContent = text;
}

// say shows text in the notice until the connection's next news.
export function say(text) {
  noticeBelowHeader().show(text);
}

let theNotice = null;

function noticeBelowHeader() {
  if (theNotice) return theNotice;
  const box = element('div');
  box.id = 'notice';
  box.setAttribute('role', 'alert');
  box.hidden = true;
  const problem = element('span');
  const countdown = element('span');
  countdown.setAttribute('aria-hidden', 'true'); // it changes every second: not to be read aloud
  const p = element('p');
  p.append(problem, ' ', countdown);
  const button = element('button', 'quiet', 'Try now');
  button.type = 'button';
  box.append(p, button);
  document.querySelector('header').after(box);
  theNotice = {
    show(text) { box.hidden = false; problem.textContent = text; countdown.textContent = ''; button.hidden = true; },
    wait(text) { countdown.textContent = text; button.hidden = !text; },
    hide() { box.hidden = true; },
    onRetry(f) { button.onclick = f; },
  };
  return theNotice;
}
