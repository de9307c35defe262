// The messages, as wire.go describes them.

export const kinds = { steer: 1, ping: 2, welcome: 16, positions: 17, pong: 18 };

export function steerMessage(dx, dy) {
  return new Int8Array([kinds.steer, dx, dy]);
}

// pingMessage carries a time, which is in milliseconds, as 32 bits in units of 1/16 ms: it starts anew after
// pingWraps.
export const pingWraps = 2 ** 28;

export function pingMessage(now) {
  const v = new DataView(new ArrayBuffer(5));
  v.setUint8(0, kinds.ping);
  v.setUint32(1, Math.round(now * 16) % 2 ** 32);
  return v.buffer;
}

// parse reads a message of the server.
export function parse(v) {
  const kind = v.getUint8(0);
  let at = 1;
  const u8 = () => v.getUint8(at++);
  const u16 = () => { at += 2; return v.getUint16(at - 2); };
  const u32 = () => { at += 4; return v.getUint32(at - 4); };
  switch (kind) {
    case kinds.welcome:
      return { kind, id: u16(), width: u16(), height: u16() };
    case kinds.pong:
      return { kind, sent: u32() / 16 };
    case kinds.positions: {
      const m = { kind, tick: u32(), balls: [], coins: [] };
      for (let n = u8(); n > 0; n--) m.balls.push({ id: u16(), x: u16(), y: u16(), score: u16() });
      for (let n = u8(); n > 0; n--) m.coins.push({ x: u16(), y: u16() });
      return m;
    }
  }
  throw new RangeError(`unknown message ${kind}`);
}
