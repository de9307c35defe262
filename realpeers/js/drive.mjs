// What the drivers of Firefox and WebKit have in common.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const config = JSON.parse(process.argv[3]);
export const pageURL = config.plain.replace('ws:', 'http:') + 'page.html';

const print = (result) => console.log(JSON.stringify(result));

// runInPage runs the cases in page.html, which is open. evaluate evaluates an
// expression in the page, waits for its promise, and returns the string that it
// has become.
export async function runInPage(version, evaluate) {
  print({ version });
  for (const name of config.cases) {
    print(JSON.parse(await evaluate(`(async () => {
      let result;
      window.report = (r) => { result = r; };
      await window.run(${JSON.stringify({ ...config, cases: [name] })});
      return JSON.stringify(result);
    })()`)));
  }
  print({ done: true });
}

// A Workshop has the programs and the folder of a run, and ends them.
export class Workshop {
  children = [];
  dir = mkdtempSync(join(tmpdir(), 'browser-'));

  start(program, args, options) {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'], ...options });
    child.on('error', (e) => console.error(String(e)));
    this.children.push(child);
    return child;
  }

  async end() {
    for (const child of this.children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null || !child.pid) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(timer);
    }
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

// line waits for a line of stream, and returns its match.
export function line(stream, pattern) {
  return new Promise((resolve, reject) => {
    let all = '';
    const lines = createInterface({ input: stream });
    lines.on('line', (text) => {
      all += text + '\n';
      const found = pattern.exec(text);
      if (found) resolve(found);
    });
    lines.on('close', () => reject(new Error(`no line ${pattern} in:\n${all}`)));
  });
}
