/**
 * What a configuration may say, as a schema, and the check that lists everything wrong with one at once.
 *
 * Keys are those that do something.
 */
import { z } from 'zod';
import { parseAddress } from '../wire/address.ts';
import { detectorConfig, detectors } from './detector-schema.ts';
import {
  DEFAULT_CONFIG,
  DEFAULT_LIMITS,
  DEFAULT_STEERING,
  type GatewayConfig,
  LOG_FORMATS,
  LOG_LEVELS,
  type MetricsAddress,
  type PolicyRule,
  SNAP_LENGTH_MAX,
} from './policy.ts';
import { type ConfigProblem, type JsonSchemaNode, problemsOf } from './problems.ts';
import { durationOrOff, interfaceName, rule } from './rule-schema.ts';
import { BYTES_FORM, BYTES_PATTERN, parseBytes } from './units.ts';

/** A size of at least `least` and at most `most` bytes. */
function bytes(least: number, most: number) {
  const message = `must be ${BYTES_FORM}, ${least} to ${most}`;
  return z
    .union([z.number(), z.string().regex(BYTES_PATTERN, message)], message)
    .transform((value) => parseBytes(value) ?? Number.NaN)
    .refine((value) => value >= least && value <= most, message);
}

function whole(least: number, most: number, message = `must be a whole number, ${least} to ${most}`) {
  return z.int(message).min(least, message).max(most, message);
}

const METRICS_MESSAGE = 'must be off, or an address and a port such as 127.0.0.1:9469 or [::1]:9469';
const METRICS_PATTERN = /^(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9A-Fa-f:.]+)\]):(\d{1,5})$/;
const metricsAddress = z
  .union([z.literal('off'), z.literal(false), z.string().regex(METRICS_PATTERN, METRICS_MESSAGE)], METRICS_MESSAGE)
  .transform((value) => (value === 'off' || value === false ? null : toMetricsAddress(value)))
  .refine((value) => value !== undefined, METRICS_MESSAGE)
  .transform((value) => value ?? null);

function toMetricsAddress(text: string): MetricsAddress | undefined {
  const [, v4, v6, portText] = METRICS_PATTERN.exec(text) ?? [];
  const host = v4 ?? v6;
  const number = Number(portText);
  if (host === undefined || parseAddress(host) === undefined || number < 1 || number > 65_535) return undefined;
  return { host, port: number };
}

/** Arena: at least 16 reads of the largest size fit, so that the ring is a ring. */
const ARENA_LEAST = 2 ** 20;
const ARENA_MOST = 4 * 2 ** 30;

const HOST_MESSAGE = 'must be auto, off, or a whole number, 1 to 16777216';
const TABLE_MESSAGE = 'must be auto or a table number, 1 to 4294967295';
const PRIORITY_MESSAGE = 'must be auto or a priority, 1 to 32765';

/** Rotated files are worth it from here on, and numbered with five digits. */
const ROTATE_LEAST = 65_536;
const FILES_MOST = 99_999;

const CAPTURE_FILE_MESSAGE = 'must be an absolute path that ends in .pcapng';
const captureOrOff = z
  .union([
    z.literal('off'),
    z.literal(false),
    z.strictObject({
      file: z
        .string(CAPTURE_FILE_MESSAGE)
        .regex(/^\/.*\.pcapng$/, CAPTURE_FILE_MESSAGE)
        .describe('absolute path, ending in .pcapng'),
      filter: z.string('must be an expression').default('').describe('which packets, as in `tcpfreeze capture`'),
      snaplen: whole(1, SNAP_LENGTH_MAX).default(SNAP_LENGTH_MAX).describe('most bytes kept of a packet'),
      rotate: z
        .strictObject({
          size: bytes(ROTATE_LEAST, Number.MAX_SAFE_INTEGER).describe('of one file'),
          count: whole(1, FILES_MOST).describe('files that are kept'),
        })
        .optional()
        .describe('go on with another file when one is full'),
    }),
  ])
  .transform((value) =>
    value === 'off' || value === false
      ? null
      : {
          file: value.file,
          filter: value.filter,
          snapLength: value.snaplen,
          rotation: value.rotate === undefined ? null : { bytes: value.rotate.size, count: value.rotate.count },
        },
  );

const schema = z.strictObject({
  links: z
    .record(
      interfaceName,
      z.strictObject({
        role: z
          .enum(['lan', 'wan'], 'must be lan or wan')
          .describe('lan: towards the hosts; wan: towards the rest of the world'),
        maxOutage: durationOrOff.optional().describe('connections that wait for this link longer are given up'),
        nat: z
          .union([z.literal('auto'), z.boolean()], 'must be auto, true or false')
          .default('auto')
          .describe("connections leave with the link's own address; auto: as nftables and iptables look"),
        detectors,
      }),
    )
    .default({})
    .describe('interfaces by name'),
  policy: z.array(rule, 'must be a list of rules').default([]).describe('ordered rules; the first match wins'),
  limits: z
    .strictObject({
      maxFlows: whole(1, 2 ** 24)
        .default(DEFAULT_LIMITS.maxFlows)
        .describe('flows tracked at once; more are forwarded untracked'),
      arenaBytes: bytes(ARENA_LEAST, ARENA_MOST)
        .prefault(DEFAULT_LIMITS.arenaBytes)
        .describe('ring into which packets are read: the retransmission buffer'),
      custodyBytesPerFlow: bytes(0, ARENA_MOST)
        .prefault(DEFAULT_LIMITS.custodyBytesPerFlow)
        .describe('custody of one flow'),
      custodyBytes: bytes(0, ARENA_MOST)
        .prefault(DEFAULT_LIMITS.custodyBytes)
        .describe('custody of all flows together'),
      flowsPerHost: z
        .union([z.literal(['auto', 'off']), z.literal(false), whole(1, 2 ** 24, HOST_MESSAGE)], HOST_MESSAGE)
        .default('auto')
        .describe('flows of one LAN host; auto: as many as the others leave free'),
      parkedSyns: whole(0, 2 ** 20)
        .default(DEFAULT_LIMITS.parkedSyns)
        .describe('SYNs that wait for a lost link, of all hosts together'),
    })
    .prefault({}),
  journal: z
    .union(
      [z.literal(['off', false]), z.string().startsWith('/', 'must be off or an absolute path')],
      'must be off or an absolute path',
    )
    .prefault(DEFAULT_CONFIG.journal ?? 'off')
    .transform((value) => (value === 'off' || value === false ? null : value))
    .describe('directory where custody is written before it is acknowledged; off: a crash loses it'),
  control: z
    .string('must be the path of a socket')
    .startsWith('/', 'must be an absolute path')
    .max(107, 'is too long for a Unix socket (107 bytes, unix(7))')
    .optional()
    .describe('path of the control socket; default /run/tcpfreeze/control.sock'),
  controlGroup: z
    .string('must be the name of a group')
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/, 'must be the name of a group')
    .optional()
    .describe('group that may use the control socket, and so cut connections; default: that of the process'),
  metrics: metricsAddress
    .prefault('off')
    .describe('address and port for Prometheus, beside the control socket; unauthenticated'),
  log: z
    .strictObject({
      level: z
        .enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`)
        .default(DEFAULT_CONFIG.log.level)
        .describe('least level that is logged'),
      format: z
        .enum(LOG_FORMATS, `must be one of ${LOG_FORMATS.join(', ')}`)
        .default(DEFAULT_CONFIG.log.format)
        .describe('auto: text on a terminal, JSON lines elsewhere'),
    })
    .prefault({}),
  capture: captureOrOff.prefault('off').describe('a capture that runs from the start on'),
  steering: z
    .strictObject({
      tun: interfaceName.default(DEFAULT_STEERING.tun).describe('name of the TUN device'),
      table: z
        .union([z.literal('auto'), whole(1, 2 ** 32 - 1, TABLE_MESSAGE)], TABLE_MESSAGE)
        .default('auto')
        .describe('route table; auto: the first free one from 7100 on'),
      priority: z
        .union([z.literal('auto'), whole(1, 32_765, PRIORITY_MESSAGE)], PRIORITY_MESSAGE)
        .default('auto')
        .describe('priority of the ip rules; auto: before every other rule but the local table'),
      connectionTracking: z
        .enum(['auto', 'off'], 'must be auto or off')
        .default(DEFAULT_STEERING.connectionTracking)
        .describe('whether nftables rules keep connection tracking from seeing packets twice'),
      firewall: z
        .enum(['check', 'ignore'], 'must be check or ignore')
        .default(DEFAULT_STEERING.firewall)
        .describe('check: a firewall that would drop all steered TCP is a reason not to start'),
    })
    .prefault({}),
});

export type ConfigResult =
  | { readonly ok: true; readonly config: GatewayConfig }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/**
 * Checks a parsed configuration document and fills in the defaults.
 * @param document what the file holds; null and undefined stand for an empty file
 * @returns the configuration, or every problem of it with its path
 */
export function checkConfig(document: unknown): ConfigResult {
  const parsed = schema.safeParse(document ?? {});
  if (!parsed.success) {
    return { ok: false, problems: problemsOf(parsed.error.issues, document, configJsonSchema() as JsonSchemaNode) };
  }
  const { links, policy, limits, control, controlGroup, journal, metrics, capture, log, steering } = parsed.data;
  return {
    ok: true,
    config: {
      links: Object.entries(links).map(([name, link]) => ({
        name,
        role: link.role,
        detectors: detectorConfig(link.detectors),
        ...(link.nat === 'auto' ? {} : { isTranslated: link.nat }),
        ...(link.maxOutage === undefined || link.maxOutage === null ? {} : { maxOutage: link.maxOutage }),
      })),
      policy: policy satisfies readonly PolicyRule[],
      limits: {
        ...limits,
        // The smaller limit rules; a person who lowers the total need not know of the other.
        custodyBytesPerFlow: Math.min(limits.custodyBytesPerFlow, limits.custodyBytes),
        flowsPerHost: flowsPerHost(limits.flowsPerHost, limits.maxFlows),
      },
      control: control ?? null,
      controlGroup: controlGroup ?? null,
      journal,
      metrics,
      capture,
      log,
      steering: {
        ...steering,
        table: steering.table === 'auto' ? null : steering.table,
        priority: steering.priority === 'auto' ? null : steering.priority,
      },
    },
  };
}

/** `auto` is null: half of what is free. `off`: the table alone limits. */
function flowsPerHost(value: number | string | false, maxFlows: number): number | null {
  if (value === 'auto') return null;
  return typeof value === 'number' ? value : maxFlows;
}

/** JSON Schema (draft 2020-12) of the configuration file, for editors. */
export function configJsonSchema(): Record<string, unknown> {
  const { '~standard': _standard, ...json } = z.toJSONSchema(schema, { io: 'input' }) as Record<string, unknown>;
  return { ...json, title: 'tcpfreeze configuration' };
}
