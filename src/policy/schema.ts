/**
 * What a configuration may say, as a schema, and the check that lists everything wrong with one at once.
 *
 * Keys are those that do something. A key of the public interface whose work is not done by this version takes only
 * the value that says so (`off`), so that nobody believes in a journal that is not kept.
 */
import { z } from 'zod';
import {
  DEFAULT_CONFIG,
  DEFAULT_LIMITS,
  DEFAULT_RULE,
  DEFAULT_STEERING,
  FLOW_CLASSES,
  type GatewayConfig,
  LOG_FORMATS,
  LOG_LEVELS,
  type PolicyRule,
} from './policy.ts';
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

const rule = z.strictObject({
  match: z
    .strictObject({
      prefix: listOf(prefix).optional(),
      port: listOf(port).optional(),
      interface: listOf(interfaceName).optional(),
    })
    .default({}),
  class: z.enum(FLOW_CLASSES, `must be one of ${FLOW_CLASSES.join(', ')}`).default(DEFAULT_RULE.class),
  maxOutage: durationOrOff.default(DEFAULT_RULE.maxOutage),
  custody: z.boolean('must be true or false').default(DEFAULT_RULE.custody),
  wakeup: z.boolean('must be true or false').default(DEFAULT_RULE.wakeup),
  trickle: durationOrOff.default(DEFAULT_RULE.trickle),
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
        role: z.enum(['lan', 'wan'], 'must be lan or wan'),
        detectors: z.strictObject({ silence: z.boolean('must be true or false').optional() }).default({}),
      }),
    )
    .default({}),
  policy: z.array(rule, 'must be a list of rules').default([]),
  limits: z
    .strictObject({
      maxFlows: whole(1, 2 ** 24).default(DEFAULT_LIMITS.maxFlows),
      arenaBytes: bytes(ARENA_LEAST, ARENA_MOST).default(DEFAULT_LIMITS.arenaBytes),
      custodyBytesPerFlow: bytes(0, ARENA_MOST).default(DEFAULT_LIMITS.custodyBytesPerFlow),
      custodyBytes: bytes(0, ARENA_MOST).default(DEFAULT_LIMITS.custodyBytes),
      flowsPerHost: notInThisVersion('has no limit per host'),
    })
    .prefault({}),
  journal: notInThisVersion('keeps no journal'),
  control: z
    .string('must be the path of a socket')
    .startsWith('/', 'must be an absolute path')
    .max(107, 'is too long for a Unix socket (107 bytes, unix(7))')
    .optional(),
  metrics: notInThisVersion('serves no metrics'),
  log: z
    .strictObject({
      level: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).default(DEFAULT_CONFIG.log.level),
      format: z.enum(LOG_FORMATS, `must be one of ${LOG_FORMATS.join(', ')}`).default(DEFAULT_CONFIG.log.format),
    })
    .prefault({}),
  capture: notInThisVersion('records no captures'),
  steering: z
    .strictObject({
      tun: interfaceName.default(DEFAULT_STEERING.tun),
      table: z.union([z.literal('auto'), whole(1, 2 ** 32 - 1, TABLE_MESSAGE)], TABLE_MESSAGE).default('auto'),
      priority: z.union([z.literal('auto'), whole(1, 32_765, PRIORITY_MESSAGE)], PRIORITY_MESSAGE).default('auto'),
      connectionTracking: z.enum(['auto', 'off'], 'must be auto or off').default(DEFAULT_STEERING.connectionTracking),
    })
    .prefault({}),
});

/** One thing wrong with a configuration, and where. */
export interface ConfigProblem {
  /** Keys and list positions from the top; empty: the document as a whole. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export type ConfigResult =
  | { readonly ok: true; readonly config: GatewayConfig }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** Names near enough to a misspelt key to be worth proposing: one edit away, or differing in case only. */
function proposal(key: string, parent: readonly PropertyKey[]): string {
  const known = knownKeys(parent);
  const near = known.find((name) => name.toLowerCase() === key.toLowerCase() || editDistance(name, key) <= 2);
  if (near !== undefined) return `is not a key here; did you mean ${near}?`;
  return known.length === 0
    ? 'is not a key here; this version has none'
    : `is not a key here; there are ${known.join(', ')}`;
}

/** Keys that the schema knows below a path. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let node: JsonSchemaNode | undefined = configJsonSchema() as JsonSchemaNode;
  for (const step of path) {
    const additional: JsonSchemaNode | undefined =
      typeof node?.additionalProperties === 'object' ? node.additionalProperties : undefined;
    node = typeof step === 'number' ? node?.items : (node?.properties?.[String(step)] ?? additional);
  }
  return Object.keys(node?.properties ?? {});
}

interface JsonSchemaNode {
  readonly properties?: Readonly<Record<string, JsonSchemaNode>>;
  readonly items?: JsonSchemaNode;
  readonly additionalProperties?: JsonSchemaNode | boolean;
}

/** Levenshtein distance; keys are short. */
function editDistance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const cost = left[row - 1] === right[column - 1] ? 0 : 1;
      current.push(Math.min(previous[column]! + 1, current[column - 1]! + 1, previous[column - 1]! + cost));
    }
    previous = current;
  }
  return previous[right.length]!;
}

/** The problems of one schema finding; an object with three unknown keys is three problems. */
function problemsOf(issue: z.core.$ZodIssue): ConfigProblem[] {
  const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key], message: proposal(key, path) }));
  }
  if (issue.code === 'invalid_union' && issue.message === 'Invalid input') {
    // A list-or-one: the branch with the deepest finding is the one that was meant.
    const branches = issue.errors.map((branch) => branch.flatMap(problemsOf));
    const deepest = branches.toSorted((a, b) => Math.max(...b.map(depth)) - Math.max(...a.map(depth)))[0] ?? [];
    return deepest.map((problem) => ({ path: [...path, ...problem.path], message: problem.message }));
  }
  if (issue.code === 'invalid_key') return [{ path, message: 'must be an interface name (1 to 15 characters)' }];
  if (issue.code === 'invalid_type' && issue.expected === 'object') {
    return [{ path, message: 'must be a map of keys to values' }];
  }
  if (issue.code === 'invalid_type' && issue.expected === 'record') {
    return [{ path, message: 'must be a map of interface names to settings' }];
  }
  return [{ path, message: issue.message.replace(/^Invalid input: /, '') }];
}

function depth(problem: ConfigProblem): number {
  return problem.path.length;
}

/**
 * Checks a parsed configuration document and fills in the defaults.
 * @param document what the file holds; null and undefined stand for an empty file
 * @returns the configuration, or every problem of it with its path
 */
export function checkConfig(document: unknown): ConfigResult {
  const parsed = schema.safeParse(document ?? {});
  if (!parsed.success) return { ok: false, problems: parsed.error.issues.flatMap(problemsOf) };
  const { links, policy, limits, control, log, steering } = parsed.data;
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
