import assert from 'node:assert/strict';
import { connected, fits } from '../lib.mjs';

const area = (page) => page.locator('#text:enabled');
const saved = (page) => page.locator('#saved').getByText('All changes saved').waitFor();
const shows = (page, text) => page.waitForFunction((text) => document.querySelector('#text').value === text, text);

// caret sets the caret of the page to a place in the text.
async function caret(page, at) {
  await area(page).focus();
  await page.evaluate((at) => document.querySelector('#text').setSelectionRange(at, at), at);
}

export default async function collab(stage) {
  const ada = await stage.open();
  const line = await stage.line();
  const bob = await stage.narrow({ url: line.url });
  for (const page of [ada, bob]) {
    await connected(page);
    await page.locator('#people').getByText('Writer 2').waitFor();
  }

  stage.step('one writes, the other sees it and writes into it');
  await area(ada).fill('Dear all,\n\nthe meeting is on Monday.\n\nGrüße 👋');
  await shows(bob, 'Dear all,\n\nthe meeting is on Monday.\n\nGrüße 👋');
  await caret(ada, 5);
  await ada.keyboard.type('(almost) ');
  await caret(bob, 0);
  await bob.keyboard.type('> ');
  await saved(bob);
  await shows(ada, '> Dear (almost) all,\n\nthe meeting is on Monday.\n\nGrüße 👋');
  await shows(bob, '> Dear (almost) all,\n\nthe meeting is on Monday.\n\nGrüße 👋');
  assert.equal(await ada.evaluate(() => document.querySelector('#text').selectionEnd), 16, 'the caret of the one who did not write');

  stage.step('both at the same time, at the same place');
  const before = await area(ada).inputValue();
  const [fromAda, fromBob] = ['[from Ada, who types]', '[from Bob, who types too]'];
  for (const page of [ada, bob]) await caret(page, 46);
  await Promise.all([ada.keyboard.type(fromAda), bob.keyboard.type(fromBob)]);
  const sorted = (text) => [...text].sort().join('');
  // Letters may be mixed: everybody types at a place of their own, and these two began at the same one.
  for (const page of [ada, bob]) {
    await page.waitForFunction((n) => document.querySelector('#text').value.length === n, before.length + fromAda.length + fromBob.length);
    await saved(page);
  }
  const text = await area(ada).inputValue();
  assert.equal(await area(bob).inputValue(), text);
  assert.equal(sorted(text), sorted(before + fromAda + fromBob));

  stage.step('writing without a connection');
  await area(ada).fill('Dear all,\n\nthe meeting is on Monday.\n\nGrüße\nAda');
  await saved(ada);
  await caret(bob, 11);
  await ada.locator('#carets .caret').waitFor();
  await caret(ada, 35);
  await bob.locator('#carets .caret').waitFor();
  for (const page of [ada, bob]) await fits(page);
  await stage.portrait(ada);
  await stage.shot(bob, 'narrow');
  await line.cut();
  await bob.locator('#status[data-state=lost]').waitFor();
  await caret(bob, 0);
  await bob.keyboard.type('Bob, offline: ');
  await caret(ada, 0);
  await ada.keyboard.type('Ada, online: ');
  await saved(ada);
  await line.mend();
  for (const page of [ada, bob]) {
    await page.waitForFunction(() => {
      const text = document.querySelector('#text').value;
      return text.includes('Ada, online: ') && text.includes('Bob, offline: ');
    });
    await saved(page);
  }
  assert.equal(await area(ada).inputValue(), await area(bob).inputValue());

  stage.step('the server starts anew, without the text');
  await stage.server.stop();
  await ada.locator('#status[data-state=lost]').waitFor();
  await stage.restart();
  for (const page of [ada, bob]) {
    await connected(page);
    await shows(page, '');
    await page.locator('#old').filter({ hasText: 'Monday' }).waitFor({ state: 'attached' });
  }
  await area(bob).fill('and on');
  await shows(ada, 'and on');
}
