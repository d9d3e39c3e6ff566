/**
 * What a configuration may say, as a schema, and the check that lists everything wrong with one at once.
 *
 * Keys are those that do something. A key of the public interface whose work is not done by this version takes only
 * the value that says so (`off`), so that nobody believes in a journal that is not kept.
 */
import { z } from 'zod';
import { parseAddress } from '../wire/address.ts';
import {
  DEFAULT_CONFIG,
  DEFAULT_LIMITS,
  DEFAULT_RULE,
  DEFAULT_STEERING,
  FLOW_CLASSES,
  type GatewayConfig,
  LOG_FORMATS,
  LOG_LEVELS,
  type MetricsAddress,
  type PolicyRule,
} from './policy.ts';
import { type ConfigProblem, type JsonSchemaNode, problemsOf } from './problems.ts';
import { BYTES_FORM, BYTES_PATTERN, DURATION_FORM, DURATION_PATTERN, parseBytes, parseDuration } from './units.ts';

/** IFNAMSIZ of linux/if.h is 16 with the final zero; dev_valid_name() in net/core/dev.c forbids `/`, `:` and blanks. */
const INTERFACE_PATTERN = /^(?!\.{1,2}$)[^\s/:]{1,15}$/;

const interfaceName = z
  .string('must be an interface name')
  .regex(INTERFACE_PATTERN, 'must be an interface name (1 to 15 characters)');

const durationOrOff = z
  .union(
    [
      z.literal('off'),
      z.literal(false),
      z.number().positive(),
      z.string().regex(DURATION_PATTERN, `must be off or ${DURATION_FORM}`),
    ],
    `must be off or ${DURATION_FORM}`,
  )
  .transform((value) => (value === 'off' || value === false ? null : (parseDuration(value) ?? Number.NaN)))
  .refine((value) => !Number.isNaN(value), `must be off or ${DURATION_FORM}`);

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

/** One or several of a thing, as a list. */
function listOf<T extends z.ZodType>(item: T) {
  return z.union([item, z.array(item).min(1)]).transform((value) => (Array.isArray(value) ? value : [value]));
}

const prefix = z
  .union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()], 'must be a prefix such as 192.0.2.0/24 or 2001:db8::/32')
  .transform((value) => (value.includes('/') ? value : `${value}/${value.includes(':') ? 128 : 32}`));

const PORT_MESSAGE = 'must be a port, 1 to 65535, or a range such as 5000-5999';
const port = z
  .union([whole(1, 65_535, PORT_MESSAGE), z.string().regex(/^\d{1,5}(-\d{1,5})?$/, PORT_MESSAGE)], PORT_MESSAGE)
  .transform((value) => {
    const [from, to] = String(value).split('-').map(Number);
    return { from: from!, to: to ?? from! };
  })
  .refine(({ from, to }) => from >= 1 && to <= 65_535 && from <= to, PORT_MESSAGE);

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

const rule = z.strictObject({
  match: z
    .strictObject({
      prefix: listOf(prefix).optional().describe('one endpoint lies in one of these prefixes'),
      port: listOf(port).optional().describe('one endpoint uses one of these ports or ranges'),
      interface: listOf(interfaceName).optional().describe('the flow passes one of these interfaces'),
    })
    .default({})
    .describe('what the rule applies to; every part given must match'),
  class: z
    .enum(FLOW_CLASSES, `must be one of ${FLOW_CLASSES.join(', ')}`)
    .default(DEFAULT_RULE.class)
    .describe('order in which flows are handed back; bypass: never frozen'),
  maxOutage: durationOrOff.prefault('off').describe('a flow frozen for longer is ended'),
  custody: z
    .boolean('must be true or false')
    .default(DEFAULT_RULE.custody)
    .describe("bytes in flight may be acknowledged in the far peer's name"),
  wakeup: z
    .boolean('must be true or false')
    .default(DEFAULT_RULE.wakeup)
    .describe('far senders are woken by ICMP when the link is back'),
  trickle: durationOrOff
    .prefault('off')
    .describe('interval at which a frozen flow may send a little, against TCP_USER_TIMEOUT'),
});

/** A key that this version takes note of only to say that it does nothing yet. */
function notInThisVersion(what: string) {
  return z.union([z.literal('off'), z.literal(false)], `must be off: this version ${what}`).optional();
}

/** Arena: at least 16 reads of the largest size fit, so that the ring is a ring. */
const ARENA_LEAST = 2 ** 20;
const ARENA_MOST = 4 * 2 ** 30;

const TABLE_MESSAGE = 'must be auto or a table number, 1 to 4294967295';
const PRIORITY_MESSAGE = 'must be auto or a priority, 1 to 32765';

const schema = z.strictObject({
  links: z
    .record(
      interfaceName,
      z.strictObject({
        role: z
          .enum(['lan', 'wan'], 'must be lan or wan')
          .describe('lan: towards the hosts; wan: towards the rest of the world'),
        detectors: z
          .strictObject({
            silence: z
              .boolean('must be true or false')
              .optional()
              .describe('connections without answers count as a sign of loss'),
          })
          .default({}),
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
      flowsPerHost: notInThisVersion('has no limit per host').describe('flows of one LAN host'),
    })
    .prefault({}),
  journal: notInThisVersion('keeps no journal').describe('where custody is written before it is acknowledged'),
  control: z
    .string('must be the path of a socket')
    .startsWith('/', 'must be an absolute path')
    .max(107, 'is too long for a Unix socket (107 bytes, unix(7))')
    .optional()
    .describe('path of the control socket; default /run/tcpfreeze/control.sock'),
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
  capture: notInThisVersion('records no captures').describe('what is captured from the start on'),
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
  const { links, policy, limits, control, metrics, log, steering } = parsed.data;
  return {
    ok: true,
    config: {
      links: Object.entries(links).map(([name, { role, detectors }]) => ({
        name,
        role,
        ...(detectors.silence === undefined ? {} : { silence: detectors.silence }),
      })),
      policy: policy satisfies readonly PolicyRule[],
      limits: {
        ...limits,
        // The smaller limit rules; a person who lowers the total need not know of the other.
        custodyBytesPerFlow: Math.min(limits.custodyBytesPerFlow, limits.custodyBytes),
        flowsPerHost: null,
      },
      control: control ?? null,
      metrics,
      log,
      steering: {
        ...steering,
        table: steering.table === 'auto' ? null : steering.table,
        priority: steering.priority === 'auto' ? null : steering.priority,
      },
    },
  };
}

/** JSON Schema (draft 2020-12) of the configuration file, for editors. */
export function configJsonSchema(): Record<string, unknown> {
  const { '~standard': _standard, ...json } = z.toJSONSchema(schema, { io: 'input' }) as Record<string, unknown>;
  return { ...json, title: 'tcpfreeze configuration' };
}
