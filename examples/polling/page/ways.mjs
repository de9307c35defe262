// The four ways. Each has run({client, wait, event, state}), which starts it and returns what stops it:
//
//	client   the name to give to the server
//	wait()   milliseconds between two short polls
//	event(e) is called with each event, once
//	state(s) says how it is

const longestWait = 15_000; // milliseconds between two attempts

// later returns a random time for the next attempt, longer after each that was in vain.
const later = (failures) => Math.random() * Math.min(500 * 2 ** failures, longestWait);

const sleep = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
});

// poll asks again and again. pause is how long to wait after an answer.
async function poll(path, { client, event, state }, signal, pause) {
  let after = '';
  for (let failures = 0; !signal.aborted;) {
    try {
      const response = await fetch(`${path}?client=${client}&after=${after}`, { signal });
      if (!response.ok) throw new Error(response.statusText);
      const answer = await response.json();
      failures = 0;
      state('Polling');
      answer.events?.forEach(event);
      after = answer.last;
      await sleep(pause(), signal);
    } catch {
      if (signal.aborted) return;
      state('The server cannot be reached');
      await sleep(later(failures++), signal);
    }
  }
}

function polling(path, pause) {
  return (on) => {
    const stop = new AbortController();
    poll(path, on, stop.signal, () => pause(on));
    return () => stop.abort();
  };
}

function sse({ client, event, state }) {
  state('Connecting…');
  const source = new EventSource(`sse?client=${client}`); // it comes back by itself, and says where it was
  source.addEventListener('open', () => state('Connected'));
  source.addEventListener('error', () => state('The server cannot be reached'));
  source.addEventListener('message', (e) => event(JSON.parse(e.data)));
  return () => source.close();
}

function websocket({ client, event, state }) {
  let socket = null;
  let after = '';
  let failures = 0;
  let timer = 0;
  let stopped = false;
  function dial() {
    state('Connecting…');
    const url = new URL('ws', location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    url.search = new URLSearchParams({ client, after });
    socket = new WebSocket(url);
    socket.addEventListener('open', () => state('Connected'));
    socket.addEventListener('message', (e) => {
      if (stopped) return;
      failures = 0;
      const m = JSON.parse(e.data);
      after = m.number;
      event(m);
    });
    socket.addEventListener('close', () => {
      if (stopped) return;
      state('The server cannot be reached');
      timer = setTimeout(dial, later(failures++));
    });
  }
  dial();
  return () => {
    stopped = true;
    clearTimeout(timer);
    socket.close();
  };
}

export const ways = [
  { name: 'short', title: 'Short polling', run: polling('short', (on) => on.wait()) },
  { name: 'long', title: 'Long polling', run: polling('long', () => 0) },
  { name: 'sse', title: 'Server-sent events', run: sse },
  { name: 'ws', title: 'WebSocket', run: websocket },
];
