import assert from 'node:assert/strict';
import { connected, fits } from '../lib.mjs';

// player returns a row of the table of players that page shows.
const player = (page, id) => page.locator(`#players li[data-id="${id}"]`);
const me = (page) => page.locator('#players li.me').getAttribute('data-id');

export default async function game(stage) {
  const ada = await stage.open({ viewport: { width: 760, height: 720 } });
  const bob = await stage.narrow();
  for (const page of [ada, bob]) await connected(page);
  const [adaID, bobID] = [await me(ada), await me(bob)];
  assert.notEqual(adaID, bobID);

  stage.step('one steers with the keys, the other sees it');
  const x = async () => Number(await player(bob, adaID).getAttribute('data-x'));
  const from = await x();
  const key = from < 800 ? 'ArrowRight' : 'ArrowLeft';
  await ada.keyboard.down(key);
  await bob.waitForFunction(([id, from]) => {
    const at = Number(document.querySelector(`#players li[data-id="${id}"]`).dataset.x);
    return Math.abs(at - from) > 100;
  }, [adaID, from]);
  await ada.keyboard.up(key);

  stage.step('the other with the pointer');
  const field = bob.locator('#field');
  const box = await field.boundingBox();
  await bob.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await bob.mouse.down();
  await ada.waitForFunction((id) => {
    const { x, y } = document.querySelector(`#players li[data-id="${id}"]`).dataset;
    return Math.hypot(x - 800, y - 450) < 60;
  }, bobID);
  await bob.mouse.up();

  stage.step('colours, and the instructions');
  await bob.waitForFunction(() => document.querySelectorAll('#players .ball').length === 2);
  const hues = await bob.evaluate(() => [...document.querySelectorAll('#players .ball')].map((dot) => getComputedStyle(dot).backgroundColor));
  assert.notEqual(hues[0], hues[1]);
  for (const page of [ada, bob]) {
    const [text, canvas] = [await page.getByText('Collect the coins.').boundingBox(), await field.boundingBox()];
    assert.ok(text.y + text.height <= canvas.y, 'the instructions stand above the field');
  }

  stage.step('the numbers');
  for (const page of [ada, bob]) {
    await page.locator('#latency').getByText(/^\d+\.\d ms$/).waitFor();
    await page.locator('#rate').getByText(/^[1-9]\d* per second$/).waitFor();
    await fits(page);
  }
  await stage.portrait(ada);
  await stage.shot(bob, 'narrow');

  stage.step('one leaves, the server restarts');
  await bob.close();
  await player(ada, bobID).waitFor({ state: 'detached' });
  await stage.server.kill();
  await ada.locator('#status[data-state=lost]').waitFor();
  await stage.restart();
  await connected(ada);
  await player(ada, '1').waitFor();
}
