import assert from 'node:assert/strict';
import { connected, fits } from '../lib.mjs';

export const args = ['-every', '100ms']; // so that there is a chart soon, and what it shows stays there for 12 seconds

// points waits until the chart of the CPU has so many samples.
function points(page, n) {
  return page.waitForFunction((n) => (document.querySelector('#cpu-chart .line').getAttribute('d') ?? '').split('L').length >= n, n);
}

const mark = (page, text) => page.locator('#marks').getByText(text).waitFor();

export default async function dashboard(stage) {
  const ada = await stage.open({ viewport: { width: 900, height: 640 } });
  const line = await stage.line();
  const bob = await stage.narrow({ url: line.url });
  for (const page of [ada, bob]) {
    await connected(page);
    await points(page, 10);
    await page.locator('#cpu').getByText(/^\d+ %$/).waitFor();
    await page.locator('#memory').getByText(/^[\d.]+ [GM]iB( of [\d.]+ GiB)?$/).waitFor();
  }

  stage.step('the axes have labels');
  for (const page of [ada, bob]) {
    assert.deepEqual(await page.locator('#cpu-scale span').allTextContents(), ['100 %', '50 %', '0 %']);
    assert.match(await page.locator('#memory-scale').textContent(), /^[\d.]+ [GM]iB[\d.]+ [GM]iB0$/);
    for (const times of await page.locator('.times').all()) assert.equal(await times.textContent(), '11.9 s ago6 s agonow');
    const lines = await page.locator('#memory').evaluate((p) => p.getClientRects().length && p.clientHeight / parseFloat(getComputedStyle(p).lineHeight));
    assert.ok(lines < 1.5, `the memory takes ${lines} lines`);
  }

  stage.step('a mark that one page makes is on the other');
  await bob.getByLabel('Mark this moment').fill('Started the test');
  await bob.keyboard.press('Enter');
  for (const page of [ada, bob]) await mark(page, 'Started the test');

  stage.step('what a page has missed is there when it comes back');
  await line.cut();
  await bob.locator('#status[data-state=lost]').waitFor();
  await ada.getByLabel('Mark this moment').fill('Bob is away');
  await ada.keyboard.press('Enter');
  await mark(ada, 'Bob is away');
  await line.mend();
  await mark(bob, 'Bob is away');
  await points(ada, 60);
  for (const page of [ada, bob]) await fits(page);
  await stage.portrait(ada);
  await stage.shot(bob, 'narrow');

  stage.step('the server restarts');
  await stage.server.stop();
  await stage.restart();
  for (const page of [ada, bob]) {
    await connected(page);
    await points(page, 2);
  }
}
