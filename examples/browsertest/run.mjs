// Drives the examples in a headless Chromium: two windows, and what is done in one is seen in the other.
//
//	npm ci && node run.mjs                  all of them
//	node run.mjs game feed                  some
//	node run.mjs -screenshots               and store the screenshots that examples/README.md shows
//
// CHROMIUM names the browser (/usr/bin/chromium). What the windows looked like goes to artifacts/ at the top of the
// repository. The exit status is 0 only if every step held; the whole run is bounded.

import { readdirSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { build, cleanUp, Stage } from './lib.mjs';

const runTimeout = 480_000; // the first build may have to compile everything, on a machine with other work
const scenarios = new URL('scenarios/', import.meta.url);
const known = readdirSync(scenarios).map((file) => file.replace(/\.mjs$/, ''));

const args = process.argv.slice(2);
const refresh = args.includes('-screenshots');
const chosen = args.filter((arg) => arg !== '-screenshots');
const unknown = chosen.find((name) => !known.includes(name));
if (unknown) {
  console.error(`no scenario ${unknown}; there are ${known.join(', ')}`);
  process.exit(2);
}
const names = chosen.length ? chosen : known;

async function play(name, browser) {
  const stage = new Stage(name, browser, refresh);
  try {
    const scenario = await import(new URL(`${name}.mjs`, scenarios));
    await stage.start(scenario.args);
    await scenario.default(stage);
    stage.quiet();
    await stage.close();
    await stage.server.stop();
    return true;
  } catch (error) {
    console.error(`${name}:`, error);
    await stage.failed();
    await stage.close().catch(() => {});
    await stage.server?.kill();
    return false;
  }
}

const bound = setTimeout(() => {
  console.error(`browser test: not done after ${runTimeout / 1000} s`);
  cleanUp();
  process.exit(1);
}, runTimeout);
let passed = 0;
try {
  await build(names);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['gpu', 'lcd-text', 'quic', 'background-networking', 'component-update', 'sync'].map((what) => `--disable-${what}`)
      .concat('--no-first-run'),
  });
  console.log(`Chromium ${browser.version()}`);
  for (const name of names) if (await play(name, browser)) passed++;
  await browser.close();
} catch (error) {
  console.error('browser test:', error);
} finally {
  clearTimeout(bound);
  cleanUp();
}
console.log(`${passed} passed, ${names.length - passed} failed`);
if (passed < names.length) process.exitCode = 1;
