import assert from 'node:assert/strict';
import { connected, fits } from '../lib.mjs';

async function say(page, text) {
  await page.getByRole('textbox', { name: 'Message' }).fill(text);
  await page.keyboard.press('Enter');
}

function heard(page, name, text) {
  return page.getByRole('log').getByRole('listitem').filter({ has: page.getByText(name, { exact: true }) }).getByText(text).waitFor();
}

export default async function wasm(stage) {
  const ada = await stage.open();
  const bob = await stage.narrow();
  for (const [name, page] of [['Ada', ada], ['Bob', bob]]) {
    await connected(page);
    await page.getByLabel('Your name').fill(name);
  }

  stage.step('one says something, the other sees it, and back');
  await say(ada, 'Hello Bob, this page is written in Go');
  await heard(bob, 'Ada', 'this page is written in Go');
  const markup = '<img src=x onerror="alert(1)"> & Grüße';
  await say(bob, markup);
  await heard(ada, 'Bob', markup);
  assert.equal(await ada.locator('#log img').count(), 0, 'text became HTML');
  for (const page of [ada, bob]) await fits(page);
  await stage.portrait(ada);
  await stage.shot(bob, 'narrow');

  stage.step('the server stops: the pages say so, and come back');
  await stage.server.stop();
  for (const page of [ada, bob]) await page.locator('#status[data-state=lost]').waitFor();
  await stage.restart();
  for (const page of [ada, bob]) await connected(page);
  await say(bob, 'Are you there?');
  await heard(ada, 'Bob', 'Are you there?');
  assert.equal(await ada.getByRole('log').getByRole('listitem').count(), 1, 'the new server has no old messages');
}
