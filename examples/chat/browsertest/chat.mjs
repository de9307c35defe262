// Drives examples/chat in a headless Chromium: two windows talk, the server goes away and comes back.
//
//	npm ci && node chat.mjs
//
// CHROMIUM names the browser (/usr/bin/chromium). Screenshots go to artifacts/ at the top of the repository. The exit status is 0
// only if every step held; the whole run is bounded. CHAT names a chat program to run in place of `go run ./examples/chat`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const top = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const artifacts = join(top, 'artifacts');
const stepTimeout = 20_000;
const runTimeout = 180_000; // the first `go run` may have to compile everything

let server = null;

// start runs the chat on addr and returns the URL that it prints.
async function start(addr) {
  const [program, ...args] = process.env.CHAT ? [process.env.CHAT] : ['go', 'run', './examples/chat'];
  // A process group of its own: `go run` has the server as its child, and a signal has to reach both.
  const child = spawn(program, [...args, '-addr', addr], { cwd: top, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  server = child;
  child.printed = [];
  child.complaints = '';
  child.stderr.on('data', (text) => {
    child.complaints += text;
    process.stderr.write(text);
  });
  const lines = createInterface({ input: child.stdout });
  child.ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      child.printed.push(line);
      const found = /^Open (http:\S+) in two windows/.exec(line);
      if (found) resolve(found[1]);
    });
    child.ended.then(() => reject(new Error('the chat ended without printing its URL')), reject);
  });
}

// stop interrupts the chat, which must end in peace. (`go run` itself exits with 1 when it is interrupted, whatever its child does.)
async function stop() {
  process.kill(-server.pid, 'SIGINT');
  await server.ended;
  assert.equal(server.printed.at(-1), 'Stopping.');
  assert.equal(server.complaints, '', 'what the chat wrote to its standard error');
  server = null;
}

function killServer() {
  if (!server) return;
  try { process.kill(-server.pid, 'SIGKILL'); } catch { /* it has ended already */ }
}

function step(text) {
  console.log(`${new Date().toISOString().slice(11, 19)} ${text}`);
}

// A window on the chat, which collects what the browser complains about.
async function open(browser, url, options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(stepTimeout);
  const page = await context.newPage();
  page.complaints = [];
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) page.complaints.push(m.text()); });
  page.on('pageerror', (e) => page.complaints.push(String(e)));
  await page.goto(url);
  return page;
}

async function enter(page, name) {
  await page.keyboard.type(name); // the form has the focus
  await page.keyboard.press('Enter');
  await connected(page, name);
}

function connected(page, name) {
  return page.getByRole('status').getByText(`Connected as ${name}`, { exact: true }).waitFor();
}

async function say(page, text) {
  await page.getByRole('textbox', { name: 'Message' }).fill(text);
  await page.keyboard.press('Enter');
}

// heard waits until the page shows that text as said by name.
function heard(page, name, text) {
  return page.getByRole('log').getByRole('listitem').filter({ has: page.getByText(name, { exact: true }) })
    .getByText(text, { exact: true }).waitFor();
}

function shot(page, name) {
  return page.screenshot({ path: join(artifacts, `chat-${name}.png`) });
}

async function fits(page) {
  const [wide, seen, tall, high] = await page.evaluate(() => {
    const e = document.documentElement;
    return [e.scrollWidth, e.clientWidth, e.scrollHeight, e.clientHeight];
  });
  assert.ok(wide <= seen && tall <= high, `the page (${wide}x${tall}) does not fit its window (${seen}x${high})`);
}

async function run() {
  mkdirSync(artifacts, { recursive: true });
  step('starting the chat');
  const url = await start('127.0.0.1:0');
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    step(`Chromium ${browser.version()} opens ${url} twice`);
    const ada = await open(browser, url, { viewport: { width: 1200, height: 800 }, colorScheme: 'light' });
    const bob = await open(browser, url, { viewport: { width: 400, height: 800 }, colorScheme: 'dark' });
    const pages = [['ada', ada], ['bob', bob]];
    for (const [name, page] of pages) await shot(page, `join-${name}`);
    await enter(ada, 'Ada');
    await enter(bob, 'Bob');
    await ada.getByRole('log').getByText('Bob joined').waitFor();

    step('one says something, the other sees it, and back');
    await say(ada, 'Hello Bob');
    await heard(bob, 'Ada', 'Hello Bob');
    await heard(ada, 'Ada', 'Hello Bob');
    const markup = '<img src=x onerror="alert(1)"> <b>bold?</b> & Grüße';
    await say(bob, markup);
    await heard(ada, 'Bob', markup);
    for (const [, page] of pages) assert.equal(await page.locator('#log img, #log .text b').count(), 0, 'text became HTML');
    await say(ada, 'A longer message, so that the line has to break somewhere: RFC 6455 is about seventy pages long, and a word like '
      + 'w'.repeat(80) + ' must not push the page out of its window.');
    await bob.getByText('must not push').waitFor();
    for (const [name, page] of pages) {
      await fits(page);
      await shot(page, `talk-${name}`);
      assert.deepEqual(page.complaints, [], `what the browser says about ${name}'s page`);
    }

    step('a name that the server refuses');
    const eve = await open(browser, url, { viewport: { width: 400, height: 800 } });
    await eve.getByLabel('Your name').fill('Eve\u202e');
    await eve.keyboard.press('Enter');
    await eve.getByRole('alert').getByText('cannot be shown').waitFor();
    await shot(eve, 'refused');
    assert.deepEqual(eve.complaints, []);
    await eve.context().close();

    step('the server stops: the pages say so and try again');
    // All pages at once, and before anything else: each says so for a second only, until it has tried again in vain.
    const told = [...pages].map(([, page]) => page.getByRole('alert').getByText('the server is stopping (code 1001)').waitFor());
    await stop();
    await Promise.all(told);
    for (const [name, page] of pages) {
      await page.getByRole('status').getByText('Not connected').waitFor();
      await shot(page, `lost-${name}`);
    }
    await ada.getByRole('textbox', { name: 'Message' }).fill('Written while away');
    await ada.keyboard.press('Enter');
    assert.equal(await ada.getByRole('textbox', { name: 'Message' }).inputValue(), 'Written while away', 'text that was not sent');
    await start(new URL(url).host);
    await bob.getByRole('button', { name: 'Try now' }).click();
    for (const [name, page] of [['Ada', ada], ['Bob', bob]]) {
      await connected(page, name);
      await page.getByRole('alert').waitFor({ state: 'hidden' });
    }
    await ada.getByRole('button', { name: 'Send' }).click();
    await heard(bob, 'Ada', 'Written while away');

    step('one leaves');
    await bob.getByRole('button', { name: 'Leave' }).click();
    await ada.getByRole('log').getByText('Bob left').waitFor();
    await bob.getByLabel('Your name').waitFor();
    for (const [name, page] of pages) {
      // While the server was away the browser reported refused connections; nothing else may be there.
      assert.deepEqual(page.complaints.filter((text) => !text.includes('ERR_CONNECTION_REFUSED')), [], `what the browser says about ${name}'s page`);
    }
  } catch (error) {
    // What the windows looked like then.
    for (const [i, context] of browser.contexts().entries()) {
      for (const page of context.pages()) await shot(page, `failed-${i}`).catch(() => {});
    }
    throw error;
  } finally {
    await browser.close();
  }
  await stop();
}

const bound = setTimeout(() => {
  console.error(`browser test: not done after ${runTimeout / 1000} s`);
  killServer();
  process.exit(1);
}, runTimeout);
try {
  await run();
  console.log('1 passed, 0 failed');
} catch (error) {
  console.error('browser test:', error);
  console.log('0 passed, 1 failed');
  process.exitCode = 1;
} finally {
  clearTimeout(bound);
  killServer();
}
