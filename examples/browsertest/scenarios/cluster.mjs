import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connected, fits, Server } from '../lib.mjs';

export const args = ['-second', '127.0.0.1:0']; // the engine in memory, and two nodes in one process

async function freePort() {
  const l = createServer().listen(0, '127.0.0.1');
  await once(l, 'listening');
  const { port } = l.address();
  l.close();
  await once(l, 'close');
  return port;
}

// An Engine is a real one, in a process of its own.
class Engine {
  static programs = {
    redis: (port, dir) => ['redis-server', '--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir],
    nats: (port) => ['nats-server', '-a', '127.0.0.1', '-p', port],
    jetstream: (port, dir) => ['nats-server', '-a', '127.0.0.1', '-p', port, '-js', '-sd', dir],
  };

  constructor(name, port) {
    Object.assign(this, { name, port, dir: mkdtempSync(join(tmpdir(), 'engine-')) });
    this.url = name === 'redis' ? `127.0.0.1:${port}` : `nats://127.0.0.1:${port}`;
  }

  // start returns false if the program is not there.
  async start() {
    const [program, ...args] = Engine.programs[this.name](String(this.port), this.dir);
    this.child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    try {
      await once(this.child, 'spawn');
    } catch (error) {
      if (error.code === 'ENOENT') return false;
      throw error;
    }
    this.ended = once(this.child, 'exit');
    await new Promise((resolve, reject) => {
      let said = '';
      for (const stream of [this.child.stdout, this.child.stderr]) {
        stream.on('data', (text) => {
          said += text;
          if (/Ready to accept connections|Server is ready/.test(said)) resolve();
        });
      }
      this.ended.then(() => reject(new Error(`${program} has ended: ${said}`)));
    });
    return true;
  }

  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  async end() {
    if (this.ended) await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

async function enter(page, name) {
  await page.getByLabel('Your name').fill(name);
  await page.keyboard.press('Enter');
  await connected(page, `Connected as ${name}`);
  await page.locator('#text').waitFor();
}

async function say(page, text) {
  await page.getByRole('textbox', { name: 'Message' }).fill(text);
  await page.keyboard.press('Enter');
}

const heard = (page, text) => page.locator('#log').getByText(text, { exact: true }).waitFor();
const sees = (page, name) => page.locator('#nodes').getByText(name, { exact: true }).waitFor();

// talk opens a page on each of two nodes, and lets them talk.
async function talk(stage, first, second) {
  const ada = await stage.open({ url: first });
  const bob = await stage.narrow({ url: second });
  await enter(ada, 'Ada');
  await enter(bob, 'Bob');
  await sees(ada, 'Bob');
  await sees(bob, 'Ada');
  await say(ada, 'Hello from the first node');
  await heard(bob, 'Hello from the first node');
  await say(bob, 'And hello from the second');
  await heard(ada, 'And hello from the second');
  return [ada, bob];
}

// moves kills the first node, and sees its page come to the second one, where bob is, without a loss.
async function moves(stage, name, nodes, bob) {
  stage.step(`${name}: a node is killed, and its page moves to the other`);
  const front = await Server.start('cluster', '127.0.0.1:0', ['-front', nodes.map((node) => node.addr).join(',')]);
  const eve = await stage.open({ url: front.url });
  await enter(eve, 'Eve');
  const [first] = nodes;
  const on = (node) => eve.locator('#node').getByText(`Node ${new URL(node.url).port},`).waitFor({ timeout: 1000 }).then(() => true, () => false);
  while (!await on(first)) { // the balancer chooses at random
    await eve.reload();
    await enter(eve, 'Eve');
  }
  await say(eve, 'I am on the first node');
  await heard(bob, 'I am on the first node');
  await first.kill();
  first.killed = true;
  await say(bob, 'You missed this');
  await say(bob, 'And this');
  await heard(eve, 'You missed this');
  await heard(eve, 'And this');
  await eve.getByText(/^You are back\. You missed/).waitFor();
  const log = await eve.locator('#log .text').allTextContents();
  assert.deepEqual(log.slice(-3), ['I am on the first node', 'You missed this', 'And this']);
  // Those of the killed node go, within 15 s. Eve is on the second one.
  await eve.waitForFunction(() => document.querySelectorAll('#nodes ul').length === 1, null, { timeout: 20_000 });
  assert.deepEqual(await eve.locator('#nodes li').allTextContents(), ['Bob', 'Eve']);
  await eve.close();
  await front.stop();
}

export default async function cluster(stage) {
  stage.step('two nodes in one process');
  const [, second] = await stage.server.line(/open (http:\S+) too/);
  const pages = await talk(stage, stage.url, second);
  for (const page of pages) await fits(page);
  await stage.portrait(pages[0]);
  await stage.shot(pages[1], 'narrow');
  for (const page of pages) await page.close();

  for (const name of ['redis', 'jetstream', 'nats']) {
    const engine = new Engine(name, await freePort());
    try {
      if (!await engine.start()) {
        stage.step(`SKIPPED: the server of ${name} is not here`);
        continue;
      }
      stage.step(`two processes, and ${name} at port ${engine.port}`);
      const nodes = [];
      for (let i = 0; i < 2; i++) nodes.push(await Server.start('cluster', '127.0.0.1:0', ['-engine', name, '-url', engine.url]));
      const [ada, bob] = await talk(stage, nodes[0].url, nodes[1].url);

      stage.step(`${name} is killed, and starts again`);
      await engine.kill();
      for (const page of [ada, bob]) await page.getByText('This node has lost the engine').waitFor();
      await say(ada, 'Does this arrive?');
      await ada.getByText('That was not sent').waitFor();
      await engine.start();
      for (const page of [ada, bob]) await page.getByText('This node has lost the engine').waitFor({ state: 'hidden' });
      await say(ada, 'We are back');
      await heard(bob, 'We are back');
      await bob.getByText('Messages may be missing here').waitFor(); // the epoch is another one
      await ada.close();
      if (name !== 'nats') await moves(stage, name, nodes, bob); // core NATS keeps nothing
      await bob.close();
      for (const node of nodes) if (!node.killed) await node.stop();
    } finally {
      await engine.end();
    }
  }
}
