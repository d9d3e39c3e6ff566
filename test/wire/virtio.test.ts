import { endianness } from 'node:os';
import { describe, expect, it } from 'vitest';
import { NATIVE_LITTLE_ENDIAN } from '../../src/wire/checksum.ts';
import { emitPlainVnet, emitTcpGsoVnet, VNET_HEADER_LENGTH, VnetHeader } from '../../src/wire/virtio.ts';

describe('virtio-net header', () => {
  it('uses the byte order of this host by default', () => {
    expect(NATIVE_LITTLE_ENDIAN).toBe(endianness() === 'LE');
    const view = new DataView(new ArrayBuffer(VNET_HEADER_LENGTH));
    emitTcpGsoVnet(view, 0, 4, 20, 32, 1448, false);
    const native = new Uint16Array(view.buffer);
    expect([...native.slice(1)]).toEqual([52, 1448, 20, 16]);
  });

  it.each([true, false])('round trips in either byte order (little: %s)', (little) => {
    const view = new DataView(new ArrayBuffer(VNET_HEADER_LENGTH + 2));
    const header = new VnetHeader();
    Object.assign(header, {
      flags: 3,
      gsoType: 0x84,
      hdrLen: 0x0102,
      gsoSize: 0x0304,
      csumStart: 0x0506,
      csumOffset: 7,
    });
    header.emit(view, 1, little);
    expect(view.getUint8(0)).toBe(0);
    expect(view.getUint8(VNET_HEADER_LENGTH + 1)).toBe(0);
    expect(view.getUint8(3)).toBe(little ? 0x02 : 0x01);
    const again = new VnetHeader();
    again.parse(view, 1, little);
    expect(again).toEqual(header);
  });

  it('describes a TCP super-packet', () => {
    const view = new DataView(new ArrayBuffer(VNET_HEADER_LENGTH));
    const header = new VnetHeader();
    emitTcpGsoVnet(view, 0, 6, 48, 20, 1000, true);
    header.parse(view, 0);
    expect({ ...header }).toEqual({
      flags: 1,
      gsoType: 0x84,
      hdrLen: 68,
      gsoSize: 1000,
      csumStart: 48,
      csumOffset: 16,
    });
    emitPlainVnet(view, 0);
    expect([...new Uint8Array(view.buffer)]).toEqual(new Array(10).fill(0));
  });
});
