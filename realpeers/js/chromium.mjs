// Runs cases in a page of ours in a headless Chromium. CHROMIUM names it; arguments and output are those of client.mjs.

import { chromium } from 'playwright-core';

const config = JSON.parse(process.argv[3]);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    `--ignore-certificate-errors-spki-list=${config.spki}`],
});
try {
  console.log(JSON.stringify({ version: `Chromium ${browser.version()}` }));
  const page = await browser.newPage();
  page.on('pageerror', (e) => console.log(JSON.stringify({ case: 'the page', connections: 0, error: String(e) })));
  await page.exposeFunction('report', (result) => console.log(JSON.stringify(result)));
  await page.goto(config.plain.replace('ws:', 'http:') + 'page.html');
  await page.evaluate((c) => window.run(c), config);
  await page.close();
  console.log(JSON.stringify({ done: true }));
} finally {
  await browser.close();
}
