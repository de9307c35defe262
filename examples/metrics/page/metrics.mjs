import { $, connect, element } from './site.mjs';

const more = []; // connections in addition to the page's own
const main = connect('ws', { open: show, message: show });

const url = new URL('ws', location.href);
url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';

$('open').addEventListener('click', () => {
  const ws = new WebSocket(url);
  more.push(ws);
  for (const event of ['open', 'message', 'close']) ws.addEventListener(event, show);
});
$('send').addEventListener('click', () => {
  main.send('hello');
  for (const ws of more) if (ws.readyState === WebSocket.OPEN) ws.send('hello');
});
$('close').addEventListener('click', () => more.pop()?.close(4000));
$('bare').addEventListener('click', async () => {
  await fetch('ws').catch(() => {});
  show();
});

// Of the page for Prometheus: the counts, without the buckets of histograms.
async function show() {
  const response = await fetch('metrics');
  if (!response.ok) return;
  const rows = [];
  for (const line of (await response.text()).split('\n')) {
    const found = /^(websocket_\w+|http_server_\w+_count)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (found && !/_(bucket|sum)$/.test(found[1])) rows.push(found.slice(1));
  }
  $('numbers').replaceChildren(...rows.map(([name, labels, value]) => {
    const row = element('tr');
    row.append(element('td', '', name), element('td', 'hint', (labels ?? '').replaceAll('",', '", ')), element('td', '', value));
    return row;
  }));
}
setInterval(show, 1000);
