/** What is published about the configuration agrees with what the program accepts. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { GENERATED } from '../../src/cli/documents.ts';
import { configKeys, valueWords } from '../../src/control/config-table.ts';
import type { JsonSchemaNode } from '../../src/policy/problems.ts';
import { checkConfig } from '../../src/policy/schema.ts';

const ROOT = new URL('../../', import.meta.url);
const REFRESH = 'refresh it with: npm run docs';

describe('what is generated is up to date', () => {
  test.each(GENERATED)('$path', ({ path, make }) => {
    const there = readFileSync(new URL(path, ROOT), 'utf8');
    expect(make(there) === there ? '' : `${path} is out of date, ${REFRESH}`).toBe('');
  });
  test('the README has its generated table', () => {
    expect(readFileSync(new URL('README.md', ROOT), 'utf8')).toContain('| `steering.tun` | interface | tcpfreeze0 |');
  });
});

test('every key says what it does (describe it in src/policy/schema.ts)', () => {
  expect(configKeys().filter(({ meaning }) => meaning === '')).toEqual([]);
  expect(configKeys().length).toBeGreaterThan(20);
});

test('values in words', () => {
  const words = Object.fromEntries(configKeys().map(({ key, values }) => [key, values]));
  expect(words['limits.arenaBytes']).toBe('size');
  expect(words['policy[].maxOutage']).toMatch(/duration/);
  expect(words['policy[].match.prefix']).toMatch(/^prefix \| address, or a list$/);
  expect(valueWords({ type: 'array', items: { type: 'boolean' } })).toBe('list of: true | false');
});

const published = JSON.parse(
  readFileSync(new URL('packaging/schema/tcpfreeze.schema.json', ROOT), 'utf8'),
) as JsonSchemaNode;

describe('the published schema accepts what the program accepts', () => {
  const documents: object[] = [
    {},
    { links: { lan0: { role: 'lan' }, 'wan0.7': { role: 'wan', detectors: { silence: true } } } },
    { limits: { arenaBytes: '64MiB', custodyBytesPerFlow: 65_536 }, log: { level: 'debug', format: 'json' } },
    { policy: [{ match: { prefix: ['10.0.0.0/8', 'fd00::/8'], port: [22, '5000-5999'] }, maxOutage: '2h' }] },
    { policy: [{ match: { interface: 'wan0' }, maxOutage: 'off', custody: false }] },
    { control: '/run/x.sock', steering: { tun: 'tf0', table: 'auto', priority: 7, connectionTracking: 'off' } },
  ];
  test.each(documents)('%j', (document) => {
    expect(checkConfig(document).ok).toBe(true);
    expect(fits(published, document)).toBe(true);
  });
});

describe('the published schema refuses what the program refuses', () => {
  const documents: object[] = [
    { linkz: {} },
    { links: { lan0: {} } },
    { links: { 'a b': { role: 'lan' } } },
    { log: { level: 'loud' } },
    { policy: {} },
    { policy: [{ maxOutage: '5 minutes' }] },
    { policy: [{ match: { port: 70_000 } }] },
    { limits: { maxFlows: 0 } },
    { limits: { arenaBytes: 'much' } },
    { control: 'relative.sock' },
    { steering: { priority: 40_000 } },
  ];
  test.each(documents)('%j', (document) => {
    expect(checkConfig(document).ok).toBe(false);
    expect(fits(published, document)).toBe(false);
  });
});

interface FullNode extends JsonSchemaNode {
  readonly required?: readonly string[];
  readonly propertyNames?: JsonSchemaNode;
  readonly minItems?: number;
  readonly exclusiveMinimum?: number;
}

/** As much of JSON Schema's validation (draft 2020-12) as the schema uses. */
function fits(node: FullNode, value: unknown): boolean {
  const { anyOf, const: only, enum: one, pattern, minimum, maximum, exclusiveMinimum, items, minItems } = node;
  if (anyOf !== undefined && !anyOf.some((branch) => fits(branch, value))) return false;
  if (only !== undefined && only !== value) return false;
  if (one !== undefined && !one.includes(value)) return false;
  if (node.type !== undefined && !hasType(node.type, value)) return false;
  if (typeof value === 'string') return pattern === undefined || new RegExp(pattern).test(value);
  if (typeof value === 'number') {
    return value >= (minimum ?? -Infinity) && value <= (maximum ?? Infinity) && value > (exclusiveMinimum ?? -Infinity);
  }
  if (Array.isArray(value)) {
    return value.length >= (minItems ?? 0) && (items === undefined || value.every((item) => fits(items, item)));
  }
  if (typeof value !== 'object' || value === null) return true;
  const map = value as Record<string, unknown>;
  if (node.required?.some((key) => !(key in map)) === true) return false;
  return Object.entries(map).every(([key, inner]) => {
    if (node.propertyNames !== undefined && !fits(node.propertyNames, key)) return false;
    const known = node.properties?.[key];
    if (known !== undefined) return fits(known, inner);
    const other = node.additionalProperties;
    return typeof other === 'object' ? fits(other, inner) : other !== false;
  });
}

function hasType(type: string, value: unknown): boolean {
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  const kind: string = typeof value;
  return type === 'integer' ? Number.isInteger(value) : kind === type;
}
