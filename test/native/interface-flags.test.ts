import { readlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { InterfaceFlags } from '../../src/native/interface-flags.ts';

const root = process.getuid?.() === 0;
if (!root) console.warn('interface flags of another namespace: skipped, setns needs root');

describe('interface flags', () => {
  test('the loopback interface is asked without any privilege', () => {
    const flags = new InterfaceFlags('lo');
    expect(typeof flags.isOperational()).toBe('boolean');
    flags.close();
  });

  test.each(['', 'tfz-none', 'longer-than-fifteen'])('no interface "%s"', (name) => {
    expect(() => new InterfaceFlags(name)).toThrow(expect.objectContaining({ code: 'INTERFACE_UNKNOWN' }));
  });

  test('a namespace that does not exist', () => {
    expect(() => new InterfaceFlags('lo', '/run/netns/tfz-none')).toThrow(/open\(\/run\/netns\/tfz-none\)/);
  });

  test.skipIf(!root)('through a namespace by path, and back in the own one', () => {
    const own = readlinkSync('/proc/thread-self/ns/net');
    const flags = new InterfaceFlags('lo', '/proc/self/ns/net');
    expect(readlinkSync('/proc/thread-self/ns/net')).toBe(own);
    const here = new InterfaceFlags('lo');
    expect(flags.isOperational()).toBe(here.isOperational());
    flags.close();
    here.close();
    expect(() => new InterfaceFlags('lo', '/proc/self/ns/mnt')).toThrow(/setns/);
    expect(readlinkSync('/proc/thread-self/ns/net')).toBe(own);
  });
});
