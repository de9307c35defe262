// Runs cases in a page of ours in WebKitGTK's MiniBrowser, which WebKitWebDriver drives, on a display of Xvfb. Arguments and output
// are those of client.mjs.

import { createServer } from 'node:net';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Workshop, line, pageURL, runInPage } from './drive.mjs';

// The browser is in the folder of the library's version and of the machine's architecture.
function miniBrowser() {
  for (const machine of readdirSync('/usr/lib')) for (const version of ['webkitgtk-6.0', 'webkit2gtk-4.1', 'webkit2gtk-4.0']) {
    const path = join('/usr/lib', machine, version, 'MiniBrowser');
    if (existsSync(path)) return path;
  }
  throw new Error('there is no MiniBrowser of WebKitGTK in /usr/lib');
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const workshop = new Workshop();
try {
  const xvfb = workshop.start('Xvfb', ['-displayfd', '3', '-nolisten', 'tcp', '-screen', '0', '800x600x24']);
  const [display] = await line(xvfb.stdio[3], /^\d+/);
  const port = await freePort();
  // Nothing but loopback is reached without the proxy, which there is not.
  const driver = workshop.start('WebKitWebDriver', [`--port=${port}`, '--host=127.0.0.1'], { env: {
    ...process.env, DISPLAY: `:${display}`, HOME: workshop.dir, XDG_RUNTIME_DIR: workshop.dir, NO_AT_BRIDGE: '1', GDK_BACKEND: 'x11',
    LIBGL_ALWAYS_SOFTWARE: '1', WEBKIT_DISABLE_COMPOSITING_MODE: '1', http_proxy: 'http://127.0.0.1:9', https_proxy: 'http://127.0.0.1:9',
    no_proxy: '127.0.0.1,localhost',
  } });
  driver.stdout.resume();
  driver.stderr.pipe(process.stderr);
  const call = async (path, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, body && { method: 'POST', body: JSON.stringify(body) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${path}: ${value.error}: ${value.message}`);
    return value;
  };
  for (const end = Date.now() + 10_000; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    try { await call('/status'); break; } catch (e) { if (Date.now() > end) throw e; }
  }
  const { sessionId, capabilities } = await call('/session', { capabilities: { alwaysMatch: {
    acceptInsecureCerts: true, // there is no way to name the one certificate
    'webkitgtk:browserOptions': { binary: miniBrowser(), args: ['--automation'] },
  } } });
  const session = `/session/${sessionId}`;
  await call(`${session}/timeouts`, { script: 60_000, pageLoad: 30_000 });
  await call(`${session}/url`, { url: pageURL });
  await runInPage(`WebKitGTK ${capabilities.browserVersion}`, (expression) => call(`${session}/execute/async`, {
    script: `const done = arguments[0]; ${expression}.then(done, (e) => done(JSON.stringify({ case: 'the page', connections: 0, error: String(e) })));`,
    args: [],
  }));
  await fetch(`http://127.0.0.1:${port}${session}`, { method: 'DELETE' });
} finally {
  await workshop.end();
}
