/** The rules of the architecture that a compiler does not know: who imports whom, what the core may not touch, sizes. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '..');
const SOURCE = join(ROOT, 'src');

/** Rank of each core folder: imports run to lower ranks, or stay within the folder. */
const RANK: Readonly<Record<string, number>> = { base: 0, wire: 1, flow: 2, link: 2, policy: 2, freeze: 3, engine: 4 };
const CORE = Object.keys(RANK);
/** Packages that a core folder may use: pure computation, no clock and no I/O. */
const PURE_PACKAGES: Readonly<Record<string, readonly string[]>> = { policy: ['zod'] };
const LINE_LIMIT = 400;

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name))
    .sort();
}

const sources = filesBelow(SOURCE).map((path) => {
  const name = relative(SOURCE, path);
  return {
    path,
    name,
    folder: name.includes('/') ? name.slice(0, name.indexOf('/')) : '',
    text: readFileSync(path, 'utf8'),
  };
});
const tests = filesBelow(join(ROOT, 'test')).map((path) => ({
  path,
  name: relative(ROOT, path),
  text: readFileSync(path, 'utf8'),
}));

/** Comments and strings blanked, so that words in prose do not count as code. */
function codeOf(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|[^:'"`])\/\/.*$/gm, '$1')
    .replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''");
}

function importsOf(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const pattern = /(?:\bfrom\s*|\bimport\s*\(\s*|^\s*import\s+)(['"])([^'"\n]+)\1/gm;
  return [...code.matchAll(pattern)].map((match) => match[2] ?? '');
}

/** Top-level folder of src that a relative import leads to. */
function folderOf(from: string, specifier: string): string {
  const target = relative(SOURCE, resolve(dirname(from), specifier));
  return target.includes('/') ? target.slice(0, target.indexOf('/')) : '';
}

describe('imports', () => {
  it('run downwards in the core, and never from the core to the shell', () => {
    const wrong: string[] = [];
    for (const { path, name, folder, text } of sources) {
      const rank = RANK[folder];
      if (rank === undefined) continue;
      for (const specifier of importsOf(text)) {
        if (!specifier.startsWith('.')) {
          if (!PURE_PACKAGES[folder]?.includes(specifier)) wrong.push(`${name} imports ${specifier}`);
        } else {
          const target = folderOf(path, specifier);
          const targetRank = RANK[target];
          if (target !== folder && (targetRank === undefined || targetRank >= rank))
            wrong.push(`${name} imports ${specifier}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it('name koffi in src/native only', () => {
    const users = sources.filter(({ text }) =>
      importsOf(text).some((name) => name === 'koffi' || name.startsWith('koffi/')),
    );
    expect(users.map(({ folder }) => folder).filter((folder) => folder !== 'native')).toEqual([]);
  });

  it('end in .ts when relative', () => {
    const wrong: string[] = [];
    for (const { name, text } of sources) {
      const relatives = importsOf(text).filter((specifier) => specifier.startsWith('.'));
      wrong.push(
        ...relatives.filter((specifier) => !specifier.endsWith('.ts')).map((specifier) => `${name}: ${specifier}`),
      );
    }
    expect(wrong).toEqual([]);
    expect(sources.length).toBeGreaterThan(20);
  });
});

describe('the core', () => {
  const core = sources.filter(({ folder }) => CORE.includes(folder));
  const forbidden: readonly [string, RegExp][] = [
    ['a clock', /\bDate\b|\bperformance\b|\bhrtime\b/],
    ['a timer', /\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/],
    ['randomness', /\bMath\.random\b|\bcrypto\b/],
    ['a log', /\bconsole\b/],
    ['Node.js', /\bprocess\b|\bBuffer\b|\brequire\b|\bglobalThis\b/],
    ['waiting', /\bawait\b|\basync\b|\bPromise\b/],
  ];

  it('is there', () => {
    expect(new Set(core.map(({ folder }) => folder))).toEqual(new Set(CORE));
  });

  it.each(forbidden)('uses no %s', (_what, pattern) => {
    expect(core.filter(({ text }) => pattern.test(codeOf(text))).map(({ name }) => name)).toEqual([]);
  });
});

describe('every file', () => {
  const all = [...sources, ...tests];

  it(`has at most ${LINE_LIMIT} lines`, () => {
    const long = all.filter(({ text }) => text.trimEnd().split('\n').length > LINE_LIMIT);
    expect(long.map(({ name }) => name)).toEqual([]);
  });

  it('is free of any, of silenced compiler errors, and of unfinished business', () => {
    const wrong: string[] = [];
    for (const { name, text } of all) {
      if (name === 'test/architecture.test.ts') continue;
      if (/@ts-(?:ignore|nocheck|expect-error)/.test(text)) wrong.push(`${name}: @ts-`);
      if (/\b(?:TODO|FIXME|XXX)\b/.test(text)) wrong.push(`${name}: unfinished`);
      if (/(?::|\bas|<|\|)\s*any\b\s*(?:[;,)>=|[\]{]|$)/m.test(codeOf(text))) wrong.push(`${name}: any`);
    }
    expect(wrong).toEqual([]);
  });

  it('is named by what it is', () => {
    const vague = sources.filter(({ name }) =>
      /(?:^|\/|-)(?:utils?|helpers?|common|misc|manager|service)(?:\/|-|\.ts$)/.test(name),
    );
    expect(vague.map(({ name }) => name)).toEqual([]);
  });
});

describe('the layout', () => {
  it('has the folders of the architecture and no others', () => {
    const shell = ['native', 'datapath', 'steering', 'capture', 'control', 'journal', 'lab'];
    const roots = ['daemon.ts', 'cli.ts', 'index.ts'];
    // Command-line parts and the benchmark are composition roots with several files.
    const allowed = new Set([...CORE, ...shell, ...roots, 'cli', 'bench']);
    expect(readdirSync(SOURCE).filter((name) => !allowed.has(name))).toEqual([]);
  });
});
