import assert from 'node:assert/strict';
import { connected, fits } from '../lib.mjs';

async function signIn(page, name) {
  await page.getByLabel('Your name').fill(name);
  await page.keyboard.press('Enter');
  await connected(page, `Signed in as ${name}`);
}

const has = (page, text) => page.locator('#unread').getByText(text, { exact: true }).waitFor();
const hasNot = (page, text) => page.locator('#unread').getByText(text, { exact: true }).waitFor({ state: 'detached' });

export default async function notify(stage) {
  const ada = await stage.open({ viewport: { width: 820, height: 440 } });
  await ada.getByLabel('Your name').waitFor();
  await stage.shot(ada, 'sign-in');
  await signIn(ada, 'ada');
  const adaToo = await stage.open({ context: ada.context() }); // the same browser: signed in already
  await connected(adaToo, 'Signed in as ada');
  const bob = await stage.narrow();
  await signIn(bob, 'bob');

  stage.step('a program notifies a user');
  const [, token] = await stage.server.line(/Bearer (\w+)/);
  const post = async (user, text) => (await fetch(stage.url + 'notify', {
    method: 'POST', headers: { Authorization: `Bearer ${token}` }, body: new URLSearchParams({ user, text }),
  })).json();
  assert.deepEqual(await post('ada', 'Dinner is ready'), { pages: 2 });
  for (const page of [ada, adaToo]) await has(page, 'Dinner is ready');

  stage.step('one user notifies the other');
  const question = 'Are you coming?';
  assert.equal(await bob.getByLabel('User').inputValue(), 'bob', 'the user of a first try');
  await bob.getByLabel('User').fill('ada');
  await bob.getByLabel('Text').fill(question);
  await bob.keyboard.press('Enter');
  await bob.getByText('Sent to ada, who has 2 pages open.').waitFor();
  for (const page of [ada, adaToo]) await has(page, question);
  assert.equal(await bob.locator('#unread li').count(), 0, 'notifications of another user');
  await post('bob', 'Your parcel has arrived');
  await has(bob, 'Your parcel has arrived');
  for (const page of [ada, bob]) await fits(page);
  await stage.portrait(ada);
  await stage.shot(bob, 'narrow');

  stage.step('dismissed on one page, gone from the other');
  await ada.getByRole('button', { name: 'Dismiss: Dinner is ready' }).click();
  await hasNot(adaToo, 'Dinner is ready');
  await has(adaToo, question);

  stage.step('signed out on one page, signed out on the other');
  await adaToo.getByRole('button', { name: 'Sign out' }).click();
  await ada.getByRole('alert').getByText('you have signed out').waitFor();
  await ada.getByLabel('Your name').waitFor();
  await signIn(ada, 'ada');
  await has(ada, question);

  stage.expected.push(/HTTP Authentication failed/); // the connection that a page tries before it knows
  stage.step('the server starts anew: nobody is signed in');
  await stage.server.stop();
  await stage.restart();
  await bob.getByLabel('Your name').waitFor();
}
