// Runs cases in a page of ours in a headless Firefox, which WebDriver BiDi drives. Arguments and output are those of client.mjs.

import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { Workshop, config, line, pageURL, runInPage } from './drive.mjs';

const workshop = new Workshop();
try {
  // Whatever the browser wants from elsewhere goes to a proxy that there is not; loopback needs none.
  const prefs = {
    'network.proxy.type': 1, 'network.proxy.http': '127.0.0.1', 'network.proxy.http_port': 9, 'network.proxy.ssl': '127.0.0.1',
    'network.proxy.ssl_port': 9, 'network.proxy.no_proxies_on': '127.0.0.1,localhost', 'network.trr.mode': 5, 'app.update.auto': false,
    'app.normandy.enabled': false, 'toolkit.telemetry.enabled': false, 'datareporting.policy.dataSubmissionEnabled': false,
    'network.captive-portal-service.enabled': false, 'network.connectivity-service.enabled': false,
  };
  writeFileSync(join(workshop.dir, 'user.js'), Object.entries(prefs).map(([k, v]) => `user_pref(${JSON.stringify(k)}, ${JSON.stringify(v)});\n`).join(''));
  // The user has accepted one certificate: that of the server at config.secure.
  const { fingerprint256 } = new X509Certificate(readFileSync(config.chain));
  writeFileSync(join(workshop.dir, 'cert_override.txt'), `${new URL(config.secure).host}:\tOID.2.16.840.1.101.3.4.2.1\t${fingerprint256}\t\n`);

  const firefox = workshop.start(process.env.FIREFOX || '/usr/bin/firefox-esr',
    ['--headless', '--no-remote', '--profile', workshop.dir, '--remote-debugging-port', '0']);
  firefox.stdout.resume();
  const [, address] = await line(firefox.stderr, /^WebDriver BiDi listening on (ws:\S+)/);
  const bidi = new WebSocket(`${address}/session`, { maxPayload: 64 << 20 });
  await new Promise((resolve, reject) => { bidi.onopen = resolve; bidi.onerror = (e) => reject(new Error(e.message)); });
  const waiting = new Map();
  bidi.onmessage = ({ data }) => {
    const answer = JSON.parse(data);
    const { resolve, reject } = waiting.get(answer.id) ?? {};
    if (answer.type === 'success') resolve?.(answer.result); else reject?.(new Error(data));
  };
  bidi.onclose = () => { for (const { reject } of waiting.values()) reject(new Error('Firefox has ended')); };
  const call = (method, params) => new Promise((resolve, reject) => {
    const id = waiting.size + 1;
    waiting.set(id, { resolve, reject });
    bidi.send(JSON.stringify({ id, method, params }));
  });

  const { capabilities } = await call('session.new', { capabilities: {} });
  const { contexts: [{ context }] } = await call('browsingContext.getTree', {});
  await call('browsingContext.navigate', { context, url: pageURL, wait: 'complete' });
  await runInPage(`Firefox ${capabilities.browserVersion}`, async (expression) => {
    const answer = await call('script.evaluate', { expression, target: { context }, awaitPromise: true });
    if (answer.type !== 'success') throw new Error(answer.exceptionDetails.text);
    return answer.result.value;
  });
  await call('browser.close', {}).catch(() => {});
} finally {
  await workshop.end();
}
