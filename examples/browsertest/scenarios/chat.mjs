import assert from 'node:assert/strict';
import { fits } from '../lib.mjs';

async function enter(page, name) {
  await page.keyboard.type(name); // the form has the focus
  await page.keyboard.press('Enter');
  await connected(page, name);
}

function connected(page, name) {
  return page.getByRole('status').getByText(`Connected as ${name}`, { exact: true }).waitFor();
}

async function say(page, text) {
  await page.getByRole('textbox', { name: 'Message' }).fill(text);
  await page.keyboard.press('Enter');
}

// heard waits until the page shows that text as said by name.
function heard(page, name, text) {
  return page.getByRole('log').getByRole('listitem').filter({ has: page.getByText(name, { exact: true }) })
    .getByText(text, { exact: true }).waitFor();
}

async function scrolls(page) {
  const [tall, high] = await page.evaluate(() => [document.documentElement.scrollHeight, document.documentElement.clientHeight]);
  assert.ok(tall <= high, `the page is ${tall} pixels tall, its window ${high}`);
}

export default async function chat(stage) {
  const ada = await stage.open();
  const bob = await stage.narrow();
  const pages = [['ada', ada], ['bob', bob]];
  for (const [name, page] of pages) {
    await stage.shot(page, `join-${name}`);
    assert.equal(await page.locator('#status').textContent(), '', 'the status before joining');
  }
  await enter(ada, 'Ada');
  await enter(bob, 'Bob');
  await ada.getByRole('log').getByText('Bob joined').waitFor();

  stage.step('one says something, the other sees it, and back');
  await say(ada, 'Hello Bob');
  await heard(bob, 'Ada', 'Hello Bob');
  await heard(ada, 'Ada', 'Hello Bob');
  await say(bob, 'Hello Ada. Is there a quieter room?');
  await heard(ada, 'Bob', 'Hello Ada. Is there a quieter room?');
  const eve = await stage.open();
  await eve.getByLabel('Room', { exact: true }).fill('Garden');
  await eve.getByLabel('Your name').focus();
  await enter(eve, 'Eve');
  await eve.getByText('You are in Garden.').waitFor();
  await say(ada, 'Eve has just opened the garden. Click it.');
  await heard(bob, 'Ada', 'Eve has just opened the garden. Click it.');
  await stage.portrait(ada);
  const markup = '<img src=x onerror="alert(1)"> <b>bold?</b> & Grüße';
  await say(bob, markup);
  await heard(ada, 'Bob', markup);
  for (const [, page] of pages) assert.equal(await page.locator('#log img, #log .text b').count(), 0, 'text became HTML');
  await say(ada, 'A longer message, so that the line has to break somewhere: RFC 6455 is about seventy pages long, and a word like '
    + 'w'.repeat(80) + ' must not push the page out of its window.');
  await bob.getByText('must not push').waitFor();
  for (const [name, page] of pages) {
    await fits(page);
    await scrolls(page);
    await stage.shot(page, `talk-${name}`);
  }

  stage.step('another room');
  await bob.locator('#rooms').getByRole('button', { name: 'Garden' }).click();
  await eve.getByRole('log').getByText('Bob joined').waitFor();
  await ada.getByRole('log').getByText('Bob left').waitFor();
  await say(bob, 'It is quiet here');
  await heard(eve, 'Bob', 'It is quiet here');
  await bob.locator('#rooms').getByRole('button', { name: 'Lobby' }).click();
  await bob.getByText('You are in Lobby. The last 5 messages:').waitFor();
  await heard(bob, 'Ada', 'Hello Bob');
  assert.equal(await ada.getByText('It is quiet here').count(), 0, 'the other room is heard');
  await eve.getByRole('button', { name: 'Leave' }).click();

  stage.step('a name that the server refuses');
  await eve.getByLabel('Your name').fill('Eve\u202e');
  await eve.keyboard.press('Enter');
  await eve.getByRole('alert').getByText('cannot be shown').waitFor();
  await stage.shot(eve, 'refused');
  await eve.close();

  stage.step('the server stops: the pages say so and try again');
  // All pages at once, and before anything else: each says so for a second only, until it has tried again in vain.
  const told = pages.map(([, page]) => page.getByRole('alert').getByText('the server is stopping (code 1001)').waitFor());
  await stage.server.stop();
  await Promise.all(told);
  for (const [name, page] of pages) {
    await page.getByRole('status').getByText('Not connected').waitFor();
    await stage.shot(page, `lost-${name}`);
  }
  await ada.getByRole('textbox', { name: 'Message' }).fill('Written while away');
  await ada.keyboard.press('Enter');
  assert.equal(await ada.getByRole('textbox', { name: 'Message' }).inputValue(), 'Written while away', 'text that was not sent');
  await stage.restart();
  // The page may come back by itself before the button is pressed.
  await Promise.race([bob.getByRole('button', { name: 'Try now' }).click().catch(() => {}), connected(bob, 'Bob')]);
  for (const [name, page] of [['Ada', ada], ['Bob', bob]]) {
    await connected(page, name);
    await page.getByRole('alert').waitFor({ state: 'hidden' });
  }
  await ada.getByRole('button', { name: 'Send' }).click();
  await heard(bob, 'Ada', 'Written while away');
  for (const [name, page] of pages) { // what was said before the restart stays, above a divider
    await heard(page, 'Ada', 'Hello Bob');
    const order = await page.locator('#entries li').evaluateAll((rows) => {
      const at = (found) => rows.findIndex(found);
      return [at((li) => li.textContent.endsWith('Hello Bob')), at((li) => li.className === 'divider'),
        at((li) => li.textContent.endsWith('Written while away'))];
    });
    assert.ok(order[0] >= 0 && order[0] < order[1] && order[1] < order[2], `${name}: message, divider, message at ${order}`);
    await stage.shot(page, `back-${name}`);
  }

  stage.step('one leaves');
  await bob.getByRole('button', { name: 'Leave' }).click();
  await ada.getByRole('log').getByText('Bob left').nth(1).waitFor(); // the first is from before the restart
  await bob.getByLabel('Your name').waitFor();
}
