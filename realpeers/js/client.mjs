// Runs cases with one of the clients that JavaScript has: ws, undici, or the runtime's own (node, bun and deno).
//
//	node client.mjs ws '{"plain": "ws://127.0.0.1:1234/", "cases": ["open"], ...}'
//
// realpeers/run starts it and reads what it prints: a line of JSON for each case.

import { cases } from './cases.mjs';
import { runCases } from './harness.mjs';
import { pageCases } from './page-cases.mjs';

const [client, json] = globalThis.Deno ? Deno.args : process.argv.slice(2);
let WebSocket = globalThis.WebSocket;
const all = { ...cases, ...pageCases };
if (client === 'ws') {
  WebSocket = (await import('ws')).WebSocket;
  Object.assign(all, (await import('./ws-cases.mjs')).wsCases);
} else if (client === 'undici') {
  WebSocket = (await import('undici')).WebSocket;
}
await runCases(all, JSON.parse(json), WebSocket, (result) => console.log(JSON.stringify(result)));
console.log(JSON.stringify({ done: true }));
if (globalThis.Deno) Deno.exit(0);
process.exit(0);
