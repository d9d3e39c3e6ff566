/** The one list of events: complete, stable, and the same in sources and documentation. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { EVENT_NAMES, type EventName, eventKind, SEVERITIES } from '../../src/base/event-table.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const TABLE = 'event-table.ts';

const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith(TABLE) && !name.startsWith('lab'))
  .map((name) => readFileSync(join(ROOT, 'src', name), 'utf8'));

/** Whether any source names it as a text of its own; the compiler sees to it that nothing else can be pushed. */
function isUsed(name: EventName): boolean {
  return sources.some((text) => text.includes(`'${name}'`));
}

describe('event table', () => {
  test('every event of the table is told somewhere in the sources', () => {
    expect(EVENT_NAMES.filter((name) => !isUsed(name))).toEqual([]);
  });

  test('codes are unique, in order, and belong to their hundred', () => {
    const codes = EVENT_NAMES.map((name) => eventKind(name).code);
    expect(codes).toEqual([...new Set(codes)].sort((a, b) => a - b));
    for (const code of codes) expect(code >= 100 && code < 1_000).toBe(true);
  });

  test('names and figures are well formed', () => {
    for (const name of EVENT_NAMES) {
      const { figures, meaning, severity } = eventKind(name);
      expect(name).toMatch(/^[a-z]+(-[a-z]+)+$/);
      expect(meaning).toMatch(/^[a-z].*[^.]$/);
      expect(SEVERITIES).toContain(severity);
      for (const figure of figures) expect(figure).toMatch(/^[a-z][a-zA-Z]*$/);
    }
  });

  test('the README has the table', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    for (const name of EVENT_NAMES) expect(readme).toContain(`| ${eventKind(name).code} | \`${name}\` |`);
  });
});
