/** Hostile DHCP: decoder and watcher never throw and never say something of a message that is not whole. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DhcpExchange } from '../../src/link/dhcp-exchange.ts';
import { parseDhcp } from '../../src/wire/dhcp.ts';
import { parseDhcpv6 } from '../../src/wire/dhcpv6.ts';
import { dhcpMessage, udp4, udp6 } from '../wire/dhcp-messages.ts';
import { readCapture } from '../wire/pcap-fixtures.ts';

const RUNS = Number(process.env.TCPFREEZE_FUZZ_RUNS ?? 5_000);
const SHARED = '../../../captures/shared/';
const recorded = [
  'zeek/dhcp.pcap',
  'zeek/dhcp_inform.pcap',
  'zeek/dhcp_bad_cookie_option_retention.pcap',
  'zeek/dhcp_time_and_nameserver.pcap',
  'chrissanders/dhcp_inlease_renewal.pcapng',
  'chrissanders/dhcp_nolease_initialization.pcapng',
  'chrissanders/dhcp6_outlease_acquisition.pcapng',
].flatMap((name) => readCapture(`${SHARED}${name}`));

/** A watcher of each role, and whether what it says is well-formed. */
function watchers(): (bytes: Uint8Array) => void {
  const exchanges = (['lan', 'wan'] as const).map((role) => new DhcpExchange('eth0', role));
  return (bytes) => {
    for (const exchange of exchanges) {
      exchange.handle(bytes, (event) => {
        expect(event.address?.length ?? (event.family === 4 ? 4 : 16)).toBe(event.family === 4 ? 4 : 16);
        for (const seconds of [event.leaseSeconds, event.renewSeconds, event.rebindSeconds]) {
          if (seconds !== undefined) expect(seconds >= 0 && seconds < 2 ** 32).toBe(true);
        }
      });
    }
  };
}

describe('hostile DHCP', () => {
  test('recorded datagrams with bytes overwritten and cut anywhere', () => {
    const hear = watchers();
    const change = fc.array(fc.tuple(fc.nat(600), fc.nat(255)), { maxLength: 8 });
    fc.assert(
      fc.property(fc.nat(recorded.length - 1), change, fc.nat(700), (which, changes, cut) => {
        const bytes = recorded[which]!.slice(0, cut);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        hear(bytes);
      }),
      { numRuns: RUNS },
    );
  });

  test('options of random bytes', () => {
    const hear = watchers();
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 80 }),
        fc.nat(3),
        fc.uint8Array({ maxLength: 60 }),
        (options, overload, file) => {
          const message = dhcpMessage({
            options: [53, 1, 3, 52, 1, overload, ...options],
            file: [...file],
            sname: [...file],
          });
          parseDhcp(message, 0, message.length);
          hear(udp4([10, 0, 0, 9], 68, 67, message));
          const v6 = Uint8Array.of(options[0] ?? 7, 0, 0, 1, ...options);
          parseDhcpv6(v6, 0, v6.length);
          hear(udp6(546, 547, v6));
        },
      ),
      { numRuns: RUNS },
    );
  });
});
