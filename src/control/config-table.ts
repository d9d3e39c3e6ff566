/**
 * Every key of the configuration as a row: what it may hold, what holds without it, what it does. Made from the schema
 * alone, so that the README cannot say anything else than the program does.
 */
import type { JsonSchemaNode } from '../policy/problems.ts';
import { configJsonSchema } from '../policy/schema.ts';
import { BYTES_PATTERN, DURATION_PATTERN } from '../policy/units.ts';

export interface KeyRow {
  /** `links.<interface>.role`, `policy[].class` */
  readonly key: string;
  readonly values: string;
  readonly fallback: string;
  readonly meaning: string;
}

/** All keys that hold a value, in the order of the schema. */
export function configKeys(node = configJsonSchema() as JsonSchemaNode, key = ''): KeyRow[] {
  const inner = (name: string): string => (key === '' ? name : `${key}.${name}`);
  if (node.properties !== undefined) {
    return Object.entries(node.properties).flatMap(([name, child]) => configKeys(child, inner(name)));
  }
  if (typeof node.additionalProperties === 'object') return configKeys(node.additionalProperties, inner('<interface>'));
  if (node.items?.properties !== undefined) return configKeys(node.items, `${key}[]`);
  // A map or off: the map's own keys follow the key.
  const map = node.anyOf?.find((one) => one.properties !== undefined);
  const own = { key, values: valueWords(node), fallback: fallbackWords(node), meaning: node.description ?? '' };
  return map === undefined ? [own] : [own, ...configKeys(map, key)];
}

/** The table for the README, GitHub-flavoured Markdown. */
export function configTable(): string {
  const rows = configKeys().map(({ key, values, fallback, meaning }) => {
    return `| \`${key}\` | ${values.replaceAll(' |', ',')} | ${fallback} | ${meaning} |`;
  });
  return ['| key | values | default | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

function fallbackWords(node: JsonSchemaNode): string {
  const value = node.default;
  if (value === undefined) return '';
  if (typeof value === 'number' && isSize(node)) return sizeWords(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function isSize(node: JsonSchemaNode): boolean {
  return node.anyOf?.some((one) => one.pattern === BYTES_PATTERN.source) === true;
}

/** As it would be written in the file: `64MiB`. */
function sizeWords(bytes: number): string {
  const unit = [2 ** 30, 2 ** 20, 2 ** 10].findIndex((size) => bytes >= size && bytes % size === 0);
  return unit < 0 ? `${bytes}` : `${bytes / 2 ** (30 - 10 * unit)}${['GiB', 'MiB', 'KiB'][unit]}`;
}

/** What a key may hold, in words; alternatives separated by `|`. */
export function valueWords(node: JsonSchemaNode): string {
  if (node.anyOf !== undefined) return unionWords(node.anyOf);
  if (node.properties !== undefined) return 'a map';
  if (node.const !== undefined) return String(node.const);
  if (node.enum !== undefined) return node.enum.map(String).join(' | ');
  if (node.type === 'boolean') return 'true | false';
  if (node.type === 'array') return node.items === undefined ? 'list' : `list of: ${valueWords(node.items)}`;
  if (node.type === 'integer' || node.type === 'number') {
    return node.minimum === undefined || node.maximum === undefined ? 'number' : `${node.minimum} to ${node.maximum}`;
  }
  return textWords(node);
}

function textWords({ pattern = '', format }: JsonSchemaNode): string {
  if (pattern === DURATION_PATTERN.source) return 'duration';
  if (pattern === BYTES_PATTERN.source) return 'size';
  if (format?.startsWith('cidr') === true) return 'prefix';
  if (format === 'ipv4' || format === 'ipv6') return 'address';
  if (pattern.includes('{1,15}')) return 'interface';
  if (pattern.startsWith('^\\/')) return 'path';
  return pattern.startsWith('^\\d{1,5}(-') ? 'range' : 'text';
}

function unionWords(branches: readonly JsonSchemaNode[]): string {
  const list = branches.find((one) => one.type === 'array');
  const single = branches.filter((one) => one.type !== 'array');
  const words = single.flatMap((one) => valueWords(one).split(' | '));
  // `false` is another way to say off, a bare number of seconds or bytes another way to say a duration or a size.
  const measured = words.includes('duration') || words.includes('size');
  const shown = words.filter(
    (word) => !(word === 'false' && words.includes('off')) && !(word === 'number' && measured),
  );
  return [...new Set(shown)].join(' | ') + (list === undefined ? '' : ', or a list');
}
