// What the scenarios stand on: servers, windows, steps.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { shrink } from './png.mjs';

export const top = join(dirname(fileURLToPath(import.meta.url)), '../..');
const artifacts = join(top, 'artifacts');
const screenshots = join(top, 'examples/screenshots');
const largestScreenshot = 60_000; // bytes: they are in the repository
const stepTimeout = 30_000;       // far more than any step takes on a machine that does nothing else

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const binaries = mkdtempSync(join(tmpdir(), 'examples-'));
const running = new Set();

export function cleanUp() {
  for (const child of running) child.kill('SIGKILL');
  rmSync(binaries, { recursive: true, force: true });
}

// build compiles the named examples: one go build for those of the root module, one for each that is a module of its
// own.
export async function build(names) {
  mkdirSync(artifacts, { recursive: true });
  const own = names.filter((name) => existsSync(join(top, 'examples', name, 'go.mod')));
  const root = names.filter((name) => !own.includes(name));
  const go = (cwd, packages) => promisify(execFile)('go', ['build', '-o', binaries + '/', ...packages], { cwd });
  if (root.length) await go(top, root.map((name) => `./examples/${name}`));
  for (const name of own) await go(join(top, 'examples', name), ['.']);
}

// A Server is one run of an example.
export class Server {
  static async start(name, addr, args) {
    const server = new Server();
    const child = spawn(join(binaries, name), ['-addr', addr, ...args], { cwd: top, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    server.child = child;
    server.printed = [];
    server.complaints = '';
    child.stderr.on('data', (text) => { server.complaints += text; process.stderr.write(text); });
    server.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    }).finally(() => running.delete(child));
    createInterface({ input: child.stdout }).on('line', (line) => {
      server.printed.push(line);
      server.onLine?.();
    });
    [, server.url] = await server.line(/^Open (http:\S+) in two windows/);
    return server;
  }

  // line waits for a line of the server's output, and returns its match.
  line(pattern) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.printed.map((line) => pattern.exec(line)).find(Boolean);
        if (found) resolve(found);
      };
      this.onLine = look;
      look();
      this.ended.then(() => reject(new Error(`the server ended without printing ${pattern}`)), reject);
    });
  }

  get addr() { return new URL(this.url).host; }

  // stop interrupts the program, which must end in peace and without an error.
  async stop() {
    this.child.kill('SIGINT');
    assert.equal(await this.ended, 0, 'the exit status of the server');
    assert.equal(this.printed.at(-1), 'Stopping.');
    assert.equal(this.complaints, '', 'what the server wrote to its standard error');
  }

  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

// A Line is a way to a server that can be cut: a TCP proxy.
export class Line {
  #sockets = new Set();

  static async to(url) {
    const line = new Line();
    line.target = new URL(url);
    await line.mend();
    line.url = `http://127.0.0.1:${line.port}/`;
    return line;
  }

  // mend lets connections through.
  mend() {
    this.listener = createServer((near) => {
      const far = createConnection(this.target.port, this.target.hostname);
      for (const [from, to] of [[near, far], [far, near]]) {
        this.#sockets.add(from);
        from.pipe(to);
        from.on('error', () => {});
        from.on('close', () => { this.#sockets.delete(from); to.destroy(); });
      }
    });
    return new Promise((resolve, reject) => {
      this.listener.once('error', reject);
      this.listener.listen(this.port ?? 0, '127.0.0.1', () => { this.port = this.listener.address().port; resolve(); });
    });
  }

  // cut ends all connections and lets no new ones through.
  cut() {
    const closed = new Promise((resolve) => this.listener.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    return closed;
  }
}

// A Stage is what a scenario gets: a server that runs (server, url), and windows.
export class Stage {
  constructor(name, browser, refresh) {
    Object.assign(this, { name, browser, refresh, windows: [], lines: [], expected: [/ERR_CONNECTION_(REFUSED|RESET)|closed before receiving a handshake response/] });
  }

  // start starts the server, with more arguments than -addr.
  async start(args = []) {
    this.args = args;
    this.server = await Server.start(this.name, '127.0.0.1:0', args);
    this.url = this.server.url;
  }

  // restart starts the server again where it was.
  async restart() {
    this.server = await Server.start(this.name, this.server.addr, this.args);
  }

  // line returns a new way to the server.
  async line() {
    this.lines.push(await Line.to(this.url));
    return this.lines.at(-1);
  }

  step(text) {
    console.log(`${new Date().toISOString().slice(11, 19)} ${this.name}: ${text}`);
  }

  // open opens a window of its own, which shares no cookies with others, and collects what the browser complains
  // about.
  async open({ url = this.url, context, ...options } = {}) {
    context ??= await this.browser.newContext({ viewport: { width: 900, height: 600 }, colorScheme: 'light', ...options });
    context.setDefaultTimeout(stepTimeout);
    const page = await context.newPage();
    page.complaints = [];
    page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) page.complaints.push(m.text()); });
    page.on('pageerror', (e) => page.complaints.push(String(e)));
    this.windows.push(page);
    await page.goto(url);
    return page;
  }

  narrow(options) {
    return this.open({ viewport: { width: 380, height: 760 }, colorScheme: 'dark', ...options });
  }

  // quiet fails if a browser complained about anything but what is expected: at first, the connections that a stopped
  // server, or a cut line, refuses.
  quiet() {
    const other = (text) => !this.expected.some((pattern) => pattern.test(text));
    for (const page of this.windows) assert.deepEqual(page.complaints.filter(other), [], `the browser on ${page.url()}`);
  }

  // shot takes a picture, and lets axe-core look for what keeps people out.
  async shot(page, name) {
    await page.screenshot({ path: join(artifacts, `${this.name}-${name}.png`) });
    assert.deepEqual(await barriers(page), [], `axe-core on ${this.name}, ${name}`);
  }

  // portrait is the screenshot that examples/README.md shows; it is replaced there only when the run was asked to.
  async portrait(page) {
    await this.shot(page, 'portrait');
    if (!this.refresh) return;
    mkdirSync(screenshots, { recursive: true });
    const png = shrink(await page.screenshot({ animations: 'disabled' }));
    assert.ok(png.length < largestScreenshot, `the screenshot has ${png.length} bytes, more than ${largestScreenshot}`);
    writeFileSync(join(screenshots, `${this.name}.png`), png);
  }

  async failed() {
    for (const [i, page] of this.windows.entries()) if (!page.isClosed()) {
      await page.screenshot({ path: join(artifacts, `${this.name}-failed-${i}.png`) }).catch(() => {});
    }
  }

  async close() {
    for (const line of this.lines) if (line.listener.listening) await line.cut();
    await Promise.all([...new Set(this.windows.map((page) => page.context()))].map((context) => context.close()));
  }
}

// connected waits until the page says that its connection is open.
export function connected(page, text = 'Connected') {
  return page.locator('#status[data-state=open]').getByText(text).waitFor();
}

// barriers returns what axe-core finds on a page: the rule, how bad it is, and where.
async function barriers(page) {
  await page.evaluate(axeSource); // past the page's Content-Security-Policy, which lets no script of others in
  const { passes, violations } = await page.evaluate(() => globalThis.axe.run());
  assert.ok(passes.length > 10, `axe-core looked at ${passes.length} rules only`);
  return violations.map(({ id, impact, nodes }) => `${impact}: ${id}: ${nodes.map((node) => node.target.join(' ')).join(', ')}`);
}

// fits fails if the page is wider than its window.
export async function fits(page) {
  const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= seen, `the page is ${wide} pixels wide, its window ${seen}`);
}
