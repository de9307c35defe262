import assert from 'node:assert/strict';
import { connected, fits } from '../lib.mjs';

export const args = ['-every', '0s']; // nothing happens but what this does

const goal = (page, team) => page.getByRole('button', { name: team }).click();
const update = (page, text) => page.locator('#updates').getByText(text).waitFor();
const positions = (page) => page.locator('#updates li').evaluateAll((rows) => rows.map((row) => row.dataset.position));

export default async function feed(stage) {
  const ada = await stage.open({ viewport: { width: 900, height: 480 } });
  const line = await stage.line();
  const bob = await stage.narrow({ url: line.url });
  for (const page of [ada, bob]) await connected(page);

  stage.step('a goal in one is seen in the other');
  await goal(ada, 'Harbour');
  await update(bob, 'Goal for Harbour: Greenfield 0, Harbour 1');
  await goal(bob, 'Ashford');
  await update(ada, 'Goal for Ashford: Ashford 1, Brook End 0');

  stage.step('a connection is lost: what was missed is replayed');
  await line.cut();
  await bob.locator('#status[data-state=lost]').waitFor();
  for (const score of [2, 3, 4]) {
    await goal(ada, 'Ashford');
    await update(ada, `Goal for Ashford: Ashford ${score}, Brook End 0`);
  }
  await line.mend();
  await bob.locator('#resume').getByText('3 updates missed, and replayed').waitFor();
  await update(bob, 'Goal for Ashford: Ashford 4, Brook End 0');
  assert.equal(await bob.locator('#updates .replayed').count(), 3);
  await bob.locator('#matches').getByText('4 : 0').waitFor();

  stage.step('a new page shows what happened before as earlier');
  const eve = await stage.open();
  await update(eve, 'Goal for Ashford: Ashford 4, Brook End 0');
  assert.deepEqual(await eve.locator('#updates .badge').allTextContents(), Array(5).fill('earlier'));
  await eve.close();

  stage.step('the same with the button');
  await ada.getByRole('button', { name: 'Disconnect' }).click();
  await goal(bob, 'Fairview');
  await update(bob, 'Goal for Fairview');
  await goal(bob, 'Harbour');
  await update(bob, 'Harbour 2');
  await ada.getByRole('button', { name: 'Come back' }).click();
  await ada.locator('#resume').getByText('2 updates missed, and replayed').waitFor();
  await update(ada, 'Harbour 2');
  assert.deepEqual(await positions(ada), await positions(bob), 'the updates of the two pages');
  for (const page of [ada, bob]) await fits(page);
  await stage.portrait(ada);
  await stage.shot(bob, 'narrow');

  stage.step('the server starts anew');
  await stage.server.kill();
  await stage.restart();
  for (const page of [ada, bob]) await page.locator('#resume').getByText('no longer has what you missed').waitFor();
  await goal(ada, 'Dunmore');
  for (const page of [ada, bob]) await update(page, 'Goal for Dunmore: Castle Hill 0, Dunmore 1');
  assert.deepEqual(await positions(ada), await positions(bob), 'the updates of the two pages');
}
