/**
 * Every command that the README shows exists, and is run by a test. A command line of a code block stands in RUN_BY with the
 * place that runs it; the test looks there for the proof. A new command line fails here until somebody runs it, too.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { program } from '../../src/cli.ts';

const ROOT = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');
const README = read('README.md');

interface Proof {
  /** The beginning of the command line. */
  readonly line: string;
  /** Who runs it. */
  readonly file: string;
  /** What there shows that it does. */
  readonly as: RegExp;
}

const RUN_BY: readonly Proof[] = [
  // Both quick starts install packages, and run what .ci/run and the tests run on a fresh machine.
  { line: "sudo sh -c 'apt-get install", file: '.ci/run', as: /apt-get install .*[\s\S]*npm ci[\s\S]*npm test/ },
  { line: 'npm ci && npm run package:deb', file: 'test/live/deb.test.ts', as: /packaging\/deb\/build\.mjs/ },
  { line: 'sudo apt-get install ./dist-deb/', file: 'test/live/deb.test.ts', as: /'dpkg'.*'--install'/ },
  {
    line: 'sudo tcpfreeze doctor --lan lan0 --wan wan0',
    file: 'test/live/realities-firewall.test.ts',
    as: /'doctor'.*'--lan'/,
  },
  {
    line: 'sudoedit /etc/tcpfreeze/tcpfreeze.yaml',
    file: 'test/live/deb.test.ts',
    as: /machine\.write\(CONFIGURATION/,
  },
  {
    line: 'sudo systemctl enable --now tcpfreeze',
    file: 'test/live/deb.test.ts',
    as: /'enable', '--now', 'tcpfreeze'/,
  },
  { line: 'sudo node dist/cli.js doctor', file: 'test/live/cli.test.ts', as: /plainCli\(\['doctor'/ },
  {
    line: 'sudo node dist/cli.js run --lan lan0 --wan wan0',
    file: 'test/steering/router.ts',
    as: /CLI, 'run', '--lan', 'lan0'/,
  },
  { line: 'docker compose --profile router up', file: 'test/compose/stack.ts', as: /this\.compose\('up'/ },
  { line: 'tcpfreeze capture ', file: 'test/live/capture.test.ts', as: /'capture'/ },
  { line: 'tcpfreeze replay', file: 'test/cli/replay.test.ts', as: /replay/ },
];

/** Where each command of the command line is run. */
const COMMANDS_RUN_BY: Readonly<Record<string, readonly [file: string, as: RegExp]>> = {
  run: ['test/steering/router.ts', /'run'/],
  status: ['test/live/cli.test.ts', /'status', '--json'/],
  flows: ['test/live/cli.test.ts', /'flows', '--json', '--frozen'/],
  events: ['test/live/cli.test.ts', /'events', '--json'/],
  freeze: ['test/live/cli.test.ts', /'freeze', '--link', 'wan0'/],
  resume: ['test/live/cli.test.ts', /'resume', '--link', 'wan0'/],
  abort: ['test/live/cli.test.ts', /'abort', '--flow'/],
  replay: ['test/cli/replay.test.ts', /replay/],
  doctor: ['test/live/cli.test.ts', /'doctor', '--config'/],
  demo: ['test/e2e/demo.test.ts', /demo/],
  top: ['test/live/top.test.ts', /top/],
  capture: ['test/live/capture.test.ts', /'capture'/],
  'dhcp-event': ['test/cli/hooks.test.ts', /dhcp-event|TCPFREEZE/],
  reload: ['test/live/reload.test.ts', /reload/],
};

/** Where each script of package.json that the README names is run; those that `.ci/run` runs need no line. */
const SCRIPTS_RUN_BY: Readonly<Record<string, readonly [file: string, as: RegExp]>> = {
  demo: ['test/e2e/demo.test.ts', /demo/],
  docs: ['test/control/config-table.test.ts', /GENERATED/],
  bench: ['test/e2e/bench.test.ts', /bench/],
  probes: ['test/live/datapath-probes.test.ts', /probes/],
  soak: ['test/live/soak.test.ts', /runSoak/],
  'package:deb': ['test/live/deb.test.ts', /build\.mjs/],
  'test:compose': ['.ci/run', /test:compose/],
};

/** Command lines of the `sh` blocks, comments cut off, continued lines joined. */
function commandLines(): string[] {
  const blocks = [...README.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map((match) => match[1]!);
  return blocks
    .flatMap((block) => block.replaceAll('\\\n', ' ').split('\n'))
    .map((line) => line.replace(/\s+#.*$/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** `tcpfreeze ...` in inline code and in blocks. */
function invocations(): string[] {
  const inline = [...README.matchAll(/`(tcpfreeze [a-z][^`]*)`/g)].map((match) => match[1]!);
  const lines = commandLines().flatMap((line) => /\b(?:tcpfreeze|dist\/cli\.js) ([a-z].*)$/.exec(line)?.[1] ?? []);
  return [...inline.map((text) => text.slice('tcpfreeze '.length)), ...lines];
}

function commandOf(words: readonly string[]): Command | undefined {
  let found: Command | undefined;
  let among: readonly Command[] = program.commands;
  for (const word of words) {
    const next = among.find((command) => command.name() === word);
    if (next === undefined) break;
    found = next;
    among = next.commands;
  }
  return found;
}

function provesIt(file: string, as: RegExp): string {
  if (!existsSync(new URL(file, ROOT))) return `${file} does not exist`;
  return as.test(read(file)) ? '' : `${file} has no ${as}`;
}

describe('command lines of the README', () => {
  test.each(commandLines())('%s', (line) => {
    const proof = RUN_BY.find((one) => line.startsWith(one.line));
    expect(proof, 'no test is known that runs it: name one in RUN_BY').toBeDefined();
    expect(provesIt(proof!.file, proof!.as)).toBe('');
  });

  test('there are some', () => expect(commandLines().length).toBeGreaterThan(6));
});

describe('what the README says of tcpfreeze', () => {
  const unique = [...new Set(invocations())];

  test.each(unique)('tcpfreeze %s: command and options exist', (text) => {
    const words = text.replaceAll(/[[\]]/g, ' ').split(/[\s|]+/);
    const command = commandOf(words);
    expect(command, 'no such command').toBeDefined();
    const known = new Set(command!.options.flatMap(({ long }) => (long === null || long === undefined ? [] : [long])));
    expect(words.filter((word) => /^--[a-z]/.test(word) && !known.has(word.replace(/=.*/, '')))).toEqual([]);
  });

  test.each([...new Set(unique.map((text) => text.split(/\s/)[0]!))])('tcpfreeze %s is run by a test', (name) => {
    const [file, as] = COMMANDS_RUN_BY[name] ?? ['', /$^/];
    expect(file, `name the test that runs tcpfreeze ${name} in COMMANDS_RUN_BY`).not.toBe('');
    expect(provesIt(file, as)).toBe('');
  });
});

describe('scripts of the README', () => {
  const { scripts } = JSON.parse(read('package.json')) as { readonly scripts: Readonly<Record<string, string>> };
  const named = [...new Set([...README.matchAll(/npm run ([a-z:]+)/g)].map((match) => match[1]!))];

  test.each(named)('npm run %s', (name) => {
    expect(Object.keys(scripts)).toContain(name);
    const ci = new RegExp(`npm run ${name}\\b`).test(read('.ci/run'));
    const [file, as] = SCRIPTS_RUN_BY[name] ?? ['', /$^/];
    expect(ci || file !== '', `name the test that runs npm run ${name} in SCRIPTS_RUN_BY`).toBe(true);
    if (!ci) expect(provesIt(file, as)).toBe('');
  });
});

test('the README has its chapters in order', () => {
  const chapters = [...README.matchAll(/^## (.*)$/gm)].map((match) => match[1]);
  expect(chapters).toEqual([
    'What it is not',
    'Quick start',
    'How it works',
    'Install on a router',
    'Try it with compose',
    'Configuration',
    'Commands',
    'Inspecting it',
    'Metrics and events',
    'What happens when ...',
    'Stacks and measurements',
    'Source',
    'Security',
    'Limits',
    'Licence',
  ]);
});
