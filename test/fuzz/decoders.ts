/** Every decoder of what comes from outside, and of what may be damaged: samples, and what has to hold whatever is done to them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TcpfreezeError } from '../../src/base/errors.ts';
import { ByteSource } from '../../src/capture/byte-source.ts';
import { readCapture } from '../../src/capture/capture-file.ts';
import { parseFilter } from '../../src/capture/filter-language.ts';
import { toCommand } from '../../src/control/api.ts';
import { parseConfig } from '../../src/control/config-file.ts';
import { readFrames, sealFrames } from '../../src/journal/frames.ts';
import { DhcpExchange } from '../../src/link/dhcp-exchange.ts';
import { LinkTable } from '../../src/native/link-table.ts';
import { parseNetlink } from '../../src/native/netlink-messages.ts';
import { ECHO_DATA_LENGTH, emitEchoRequest, sequenceOfReply } from '../../src/wire/echo.ts';
import { CAPTURES } from '../capture/replayed.ts';
import { GATEWAY, Gateway, makeMemory } from '../sim/gateway.ts';
import { runScenario } from '../sim/run.ts';
import { makeSchedule } from '../sim/schedule.ts';
import { readCapture as readFrameFile } from '../wire/pcap-fixtures.ts';

export interface Decoder {
  readonly name: string;
  readonly samples: readonly Uint8Array[];
  /** Where the samples are texts: the words of their language. */
  readonly words?: readonly string[];
  /** @throws whatever must not happen */
  decode(bytes: Uint8Array): void;
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const bytesOf = (content: string): Uint8Array => new Uint8Array(Buffer.from(content));

/** Errors for people are what bad input has to end in; anything else passes on. */
function refusing(code: RegExp, run: () => void): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof TcpfreezeError) || !code.test(error.code)) throw error;
    if (/\n/.test(error.message) && error.code !== 'CONFIG_INVALID')
      throw new Error(`more than one line: ${error.message}`);
  }
}

function netlink(): Decoder {
  const path = new URL('../native/rtnetlink-6.18.json', import.meta.url);
  const { steps } = JSON.parse(readFileSync(path, 'utf8')) as { steps: { datagrams: string[] }[] };
  const table = new LinkTable();
  return {
    name: 'netlink',
    samples: steps.flatMap((step) => step.datagrams.map((hex) => new Uint8Array(Buffer.from(hex, 'hex')))),
    decode(bytes) {
      for (const message of parseNetlink(bytes, bytes.length)) {
        if (message.kind === 'route' && message.prefixLength > 8 * message.destination.length)
          throw new Error('a prefix too long');
        table.handle(message, () => {});
      }
    },
  };
}

function dhcp(): Decoder {
  const files = ['zeek/dhcp.pcap', 'zeek/dhcp_inform.pcap', 'chrissanders/dhcp6_outlease_acquisition.pcapng'];
  const exchanges = (['lan', 'wan'] as const).map((role) => new DhcpExchange('eth0', role));
  return {
    name: 'dhcp',
    samples: files.flatMap((name) => readFrameFile(`../../../captures/shared/${name}`)),
    decode(bytes) {
      for (const exchange of exchanges) {
        exchange.handle(bytes, ({ family, address }) => {
          if (address !== undefined && address.length !== (family === 4 ? 4 : 16)) throw new Error('half an address');
        });
      }
    },
  };
}

function captures(): Decoder {
  const names = ['pcapng/be_test202.pcapng', 'pcapng/le_test100.pcapng', 'zeek/option-sack.pcap'];
  return {
    name: 'capture',
    samples: names.map((name) => new Uint8Array(readFileSync(join(CAPTURES, 'shared', name))).slice(0, 4_096)),
    decode(bytes) {
      let at = 0;
      const read = (target: Uint8Array): number => {
        const piece = bytes.subarray(at, at + Math.min(target.length, 700));
        target.set(piece);
        at += piece.length;
        return piece.length;
      };
      refusing(/^CAPTURE_/, () => {
        for (const packet of readCapture(new ByteSource(read))) {
          if (packet.bytes.length > bytes.length) throw new Error('a packet larger than its file');
        }
      });
    },
  };
}

function filter(): Decoder {
  const texts = [
    'tcp and port 443',
    'not (host 10.0.0.7 or net 2001:db8::/32)',
    'link lan0 && touched',
    'flow 3.1 || icmp',
    'ip6',
  ];
  return {
    name: 'filter',
    samples: texts.map(bytesOf),
    words: [
      'host ',
      'net ',
      'port ',
      'not ',
      ' and ',
      ' or ',
      '(',
      ')',
      '10.0.0.0/8',
      '::/0',
      '22',
      '65536',
      'link ',
      'lan0',
      '!',
    ],
    decode: (bytes) => refusing(/^FILTER_INVALID$/, () => parseFilter(text(bytes), ['lan0', 'wan1'])),
  };
}

function config(): Decoder {
  const texts = [
    'lan: [eth1]\nwan:\n  - eth0\njournal: /var/lib/tcpfreeze\n',
    'lan: eth1\nwan: {name: wwan0, maxOutage: 90s}\nrules:\n  - match: {port: [22, 1000-2000], host: 10.0.0.0/8}\n    class: critical\n    maxOutage: 2h\n    trickle: auto\n',
    'limits:\n  flows: 20000\n  custodyPerFlow: 4MiB\n  flowsPerHost: 50%\nlog: {level: debug}\n',
  ];
  return {
    name: 'config',
    samples: texts.map(bytesOf),
    words: [
      'lan: ',
      'wan: ',
      'rules:\n',
      '  - ',
      'match: ',
      '{',
      '}',
      '[',
      ']',
      '&a ',
      '*a',
      '!!js/function ',
      '1e999',
      '.nan',
      '-1',
      '10.0.0.0/33',
      '99999999999d',
      'null',
      '"',
      '\n',
    ],
    decode: (bytes) => refusing(/^CONFIG_/, () => parseConfig(text(bytes), 'tcpfreeze.yaml')),
  };
}

function control(): Decoder {
  const texts = [
    '{"link":"wan0","lead":2.5}',
    '{"prefix":"192.0.2.0/24","for":60}',
    '{"host":"2001:db8::1"}',
    '{"flow":"3.1"}',
    '{"class":"temporary"}',
    '{"interface":"eth0","reason":"BOUND","address":"192.0.2.7","leaseSeconds":3600}',
  ];
  return {
    name: 'control',
    samples: texts.map(bytesOf),
    words: [
      '"link":',
      '"lead":',
      '"for":',
      '1e308',
      '-1',
      'null',
      '[]',
      '{}',
      '"__proto__":',
      '"constructor":',
      '"host":"',
      '/129"',
      '""',
      ',',
    ],
    decode(bytes) {
      let body: unknown;
      try {
        body = JSON.parse(text(bytes));
      } catch {
        return;
      }
      for (const action of ['freeze', 'resume', 'abort', 'dhcp-event'] as const) {
        refusing(/^BAD_REQUEST$/, () => {
          const command = toCommand(action, body);
          if (command.kind === 'freeze' && !((command.leadMicros ?? 0) >= 0)) throw new Error('a lead that is no time');
        });
      }
    },
  };
}

function echo(): Decoder {
  const data = Uint8Array.from({ length: ECHO_DATA_LENGTH }, (_none, index) => index);
  const request = emitEchoRequest(4, 7, 9, data);
  const reply4 = Uint8Array.from([0x45, ...new Uint8Array(19), ...request]);
  reply4[20] = 0;
  const reply6 = emitEchoRequest(6, 7, 9, data);
  reply6[0] = 129;
  return {
    name: 'echo reply',
    samples: [reply4, reply6],
    decode(bytes) {
      for (const family of [4, 6] as const) {
        const sequence = sequenceOfReply(family, bytes, 7, data);
        if (!(sequence >= -1 && sequence <= 0xffff)) throw new Error(`sequence ${sequence}`);
      }
    },
  };
}

/** What processes left that died in the simulated network. */
function leftovers(): { records: Uint8Array[]; handshakes: Uint8Array[] } {
  const records: Uint8Array[] = [];
  const handshakes: Uint8Array[] = [];
  for (let seed = 1; seed <= 60; seed++) {
    const day = makeSchedule(seed);
    if ((day.crashes ?? []).length === 0) continue;
    runScenario(day, {
      prepare: ({ gateway }) => {
        const restart = gateway!.restart.bind(gateway);
        gateway!.restart = (links, found, now) => {
          records.push(...found);
          handshakes.push(...gateway!.handshakes);
          restart(links, found, now);
        };
      },
    });
  }
  return { records, handshakes };
}

const MEMORY = makeMemory(4 * 70_000, 128 * 1024);

/** A process begins with what it finds, and lives a minute. */
function begin(records: readonly Uint8Array[], handshakes: readonly Uint8Array[]): void {
  const gateway = new Gateway({ ...GATEWAY, journal: true, maxFlows: 16, custodyBytesTotal: 65_536 }, MEMORY, () => {});
  gateway.handshakes = [...handshakes];
  gateway.restart([], records, 1_000_000);
  gateway.timeout(61_000_000);
  let held = 0;
  for (const flow of gateway.flows(61_000_000)) held += flow.custodyBytes;
  if (held > 65_536) throw new Error(`${held} bytes in custody`);
  if (!(gateway.deadline() >= 0)) throw new Error(`deadline ${gateway.deadline()}`);
}

function journal(samples: readonly Uint8Array[]): Decoder {
  return { name: 'journal records', samples, decode: (bytes) => begin([bytes, ...samples.slice(0, 2)], []) };
}

function handshakes(samples: readonly Uint8Array[]): Decoder {
  return { name: 'handshake records', samples, decode: (bytes) => begin([], [bytes, ...samples.slice(0, 2)]) };
}

function frames(samples: readonly Uint8Array[]): Decoder {
  const file = (bodies: readonly Uint8Array[]): Uint8Array => {
    const pieces = bodies.map((body) => {
      const frame = new Uint8Array(8 + body.length);
      new DataView(frame.buffer).setUint32(0, body.length, true);
      frame.set(body, 8);
      sealFrames(frame);
      return frame;
    });
    return new Uint8Array(Buffer.concat(pieces));
  };
  return {
    name: 'journal frames',
    samples: [file(samples.slice(0, 3)), file(samples.slice(3, 5))],
    decode(bytes) {
      const { records, end } = readFrames(bytes);
      if (end > bytes.length || records.some((record) => record.length > bytes.length))
        throw new Error('read beyond the end');
    },
  };
}

export function decoders(): Decoder[] {
  const { records, handshakes: known } = leftovers();
  return [
    netlink(),
    dhcp(),
    captures(),
    filter(),
    config(),
    control(),
    echo(),
    frames(records),
    journal(records),
    handshakes(known),
  ];
}
