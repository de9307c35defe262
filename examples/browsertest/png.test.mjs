import assert from 'node:assert/strict';
import test from 'node:test';
import { deflateSync, inflateSync } from 'node:zlib';
import { shrink } from './png.mjs';

function part(type, data) {
  const b = Buffer.alloc(data.length + 12); // the checksum stays 0: nobody looks at it here
  b.writeUInt32BE(data.length);
  b.write(type, 4, 'latin1');
  Buffer.from(data).copy(b, 8);
  return b;
}

test('all filters, and a palette', () => {
  const rows = [
    [0, 10, 20, 30, 11, 22, 33],  // none
    [1, 1, 2, 3, 1, 1, 1],        // left: 1 2 3, 2 3 4
    [2, 1, 1, 1, 1, 1, 1],        // up: 2 3 4, 3 4 5
    [3, 1, 1, 1, 1, 1, 1],        // average: 2 2 3, 3 4 5
    [4, 0, 0, 0, 0, 0, 255],      // Paeth: 2 2 3, 3 4 4
  ];
  const header = [0, 0, 0, 2, 0, 0, 0, 5, 8, 2, 0, 0, 0];
  const png = Buffer.concat([Buffer.alloc(8), part('IHDR', header), part('IDAT', deflateSync(Buffer.from(rows.flat()))), part('IEND', [])]);
  const small = shrink(png);
  const at = (type) => small.indexOf(type) + 4;
  const palette = small.subarray(at('PLTE'), small.indexOf('IDAT') - 8);
  const indexes = inflateSync(small.subarray(at('IDAT'), small.indexOf('IEND') - 8));
  const colours = [...indexes].filter((_, i) => i % 3 > 0).map((i) => [...palette.subarray(i * 3, i * 3 + 3)].join(' '));
  assert.deepEqual(colours, ['10 20 30', '11 22 33', '1 2 3', '2 3 4', '2 3 4', '3 4 5', '2 2 3', '3 4 5', '2 2 3', '3 4 4']);
  assert.equal(small.readUInt32BE(small.length - 4), 0xae426082, 'the checksum of IEND');
});

test('more colours than a palette has', () => {
  const n = 300;
  const row = Buffer.alloc(1 + n * 3);
  for (let i = 0; i < n; i++) row.writeUIntBE(i * 40, 1 + i * 3, 3);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(n, 0);
  header.writeUInt32BE(1, 4);
  header.set([8, 2], 8);
  const small = shrink(Buffer.concat([Buffer.alloc(8), part('IHDR', header), part('IDAT', deflateSync(row)), part('IEND', [])]));
  assert.equal(small.readUInt32BE(small.indexOf('PLTE') - 4), 256 * 3);
});
