// Makes the screenshots of pages small enough for the repository: with a palette of 256 colours, of which most pixels
// have one exactly.

import { deflateSync, inflateSync } from 'node:zlib';

const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

// decode reads a PNG of 8 bits for each of red, green and blue, without interlacing, as the browser makes them.
function decode(png) {
  const parts = [];
  let width, height, size;
  for (let at = signature.length; at < png.length;) {
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + length);
    if (type === 'IHDR') {
      [width, height] = [data.readUInt32BE(0), data.readUInt32BE(4)];
      size = { 2: 3, 6: 4 }[data[9]];
      if (data[8] !== 8 || !size || data[12] !== 0) throw new Error('a kind of PNG that is not expected');
    } else if (type === 'IDAT') parts.push(data);
    at += 12 + length;
  }
  const raw = inflateSync(Buffer.concat(parts));
  const row = width * size;
  const pixels = Buffer.alloc(row * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (row + 1)];
    for (let x = 0; x < row; x++) {
      const i = y * row + x;
      const left = x >= size ? pixels[i - size] : 0;
      const up = y > 0 ? pixels[i - row] : 0;
      const corner = x >= size && y > 0 ? pixels[i - row - size] : 0;
      const guess = [() => 0, () => left, () => up, () => (left + up) >> 1, () => paeth(left, up, corner)][filter]();
      pixels[i] = raw[y * (row + 1) + 1 + x] + guess;
    }
  }
  const colours = new Uint32Array(width * height);
  for (let i = 0; i < colours.length; i++) colours[i] = pixels.readUIntBE(i * size, 3);
  return { width, height, colours };
}

function paeth(left, up, corner) {
  const [a, b, c] = [up - corner, left - corner, left + up - 2 * corner].map(Math.abs);
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

// shrink returns the picture with a palette.
export function shrink(png) {
  const { width, height, colours } = decode(png);
  const counts = new Map();
  for (const c of colours) counts.set(c, (counts.get(c) ?? 0) + 1);
  const byCount = [...counts].sort((a, b) => b[1] - a[1]).map(([c]) => c);
  const palette = byCount.slice(0, 256);
  const index = new Map(byCount.map((c, i) => [c, i < 256 ? i : nearest(palette, c)]));
  const rows = Buffer.alloc((width + 1) * height);
  for (let i = 0; i < colours.length; i++) rows[i + Math.floor(i / width) + 1] = index.get(colours[i]);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3], 8); // 8 bits, with a palette
  const table = Buffer.alloc(palette.length * 3);
  palette.forEach((c, i) => table.writeUIntBE(c, i * 3, 3));
  const data = deflateSync(rows, { level: 9, memLevel: 9 });
  return Buffer.concat([signature, chunk('IHDR', header), chunk('PLTE', table), chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))]);
}

function nearest(palette, c) {
  const parts = (c) => [c >> 16, (c >> 8) & 255, c & 255];
  const [r, g, b] = parts(c);
  const distances = palette.map((p) => {
    const [pr, pg, pb] = parts(p);
    return (pr - r) ** 2 + (pg - g) ** 2 + (pb - b) ** 2;
  });
  return distances.indexOf(Math.min(...distances));
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const all = Buffer.alloc(body.length + 8);
  all.writeUInt32BE(data.length, 0);
  body.copy(all, 4);
  all.writeUInt32BE(crc32(body), body.length + 4);
  return all;
}

// crc32 is the checksum of a chunk.
function crc32(data) {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
