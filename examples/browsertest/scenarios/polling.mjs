import assert from 'node:assert/strict';
import { fits } from '../lib.mjs';

export const args = ['-every', '0s']; // no events but those that this sends

const ways = ['short', 'long', 'sse', 'ws'];

// reach waits until all four ways of the page have had so many events.
function reach(page, n) {
  return page.waitForFunction(([ways, n]) => ways.every((way) => {
    return Number(document.querySelector(`[data-way=${way}] .events`).textContent) >= n;
  }), [ways, n]);
}

// started waits until the four ways of the page work.
async function started(page) {
  for (const way of ['sse', 'ws']) await page.locator(`[data-way=${way}]`).getByText('Connected').waitFor();
  for (const way of ['short', 'long']) {
    await page.waitForFunction((way) => document.querySelector(`[data-way=${way}] .requests`).textContent > '0', way);
  }
}

const number = async (page, way, what) => Number((await page.locator(`[data-way=${way}] .${what}`).textContent()).replaceAll(',', ''));

export default async function polling(stage) {
  const ada = await stage.open({ viewport: { width: 1000, height: 620 }, locale: 'en-US' });
  const bob = await stage.narrow({ locale: 'en-US' });
  for (const page of [ada, bob]) {
    await page.locator('#poll').selectOption('500');
    await started(page);
  }

  stage.step('an event that one page sends comes to the other, in four ways');
  await ada.getByRole('button', { name: 'Event now' }).click();
  await reach(bob, 1);
  await reach(ada, 1);

  stage.step('one page sets the rate for all');
  await bob.locator('#rate').selectOption('100');
  await ada.waitForFunction(() => document.querySelector('#rate').value === '100');
  await reach(ada, 30);
  await bob.locator('#rate').selectOption('0');

  stage.step('the numbers');
  await ada.waitForFunction((ways) => ways.every((way) => document.querySelector(`[data-way=${way}] .each`).textContent !== '–'), ways);
  assert.equal(await number(ada, 'ws', 'requests'), 1);
  assert.equal(await number(ada, 'sse', 'requests'), 1);
  assert.ok(await number(ada, 'short', 'requests') > 2);
  assert.ok(await number(ada, 'long', 'requests') > 10);
  assert.ok(await number(ada, 'ws', 'out') < await number(ada, 'long', 'out'));
  for (const way of ways) assert.match(await ada.locator(`[data-way=${way}] .median`).textContent(), /^[\d.]+ ms$/);
  for (const page of [ada, bob]) await fits(page);
  await stage.portrait(ada);
  await stage.shot(bob, 'narrow');

  stage.step('the server goes away and comes back');
  await stage.server.stop();
  for (const way of ways) await ada.locator(`[data-way=${way}]`).getByText('cannot be reached').waitFor();
  await stage.restart();
  await ada.getByRole('button', { name: 'Reset counters' }).click();
  await started(ada);
  await ada.getByRole('button', { name: 'Event now' }).click();
  await reach(ada, 1);
}
