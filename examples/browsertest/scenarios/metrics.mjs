import { connected, fits } from '../lib.mjs';

export const args = [];

// number waits until the row of a metric with these labels has a value.
function number(page, metric, labels, value) {
  return page.waitForFunction(([metric, labels, value]) => [...document.querySelectorAll('#numbers tr')].some((row) =>
    row.cells[0].textContent === metric && labels.every((l) => row.cells[1].textContent.includes(l)) && row.cells[2].textContent === value,
  ), [metric, labels, value]);
}

export default async function metrics(stage) {
  const ada = await stage.open({ viewport: { width: 900, height: 640 } });
  const bob = await stage.narrow();
  for (const page of [ada, bob]) await connected(page);

  stage.step('what one page does is in the numbers of the other');
  await bob.getByRole('button', { name: 'Open a connection' }).click();
  await bob.getByRole('button', { name: 'Open a connection' }).click();
  for (const page of [ada, bob]) await number(page, 'websocket_server_active_connections', [], '4');
  await bob.getByRole('button', { name: 'Send a message on each' }).click();
  for (const page of [ada, bob]) await number(page, 'websocket_server_messages_total', ['receive'], '3');
  await bob.getByRole('button', { name: 'Close one with 4000' }).click();
  await fetch(new URL('ws', stage.server.url)); // the button would leave an error in the console
  for (const page of [ada, bob]) {
    await number(page, 'websocket_server_connection_duration_seconds_count', ['4000', 'peer'], '1');
    await number(page, 'http_server_request_duration_seconds_count', ['426'], '1');
  }
  for (const page of [ada, bob]) await fits(page);
  await stage.portrait(ada);
  await stage.shot(bob, 'narrow');
}
