/**
 * `npm run docs`: writes what is generated from the sources: the JSON Schema, the manual pages, the completion for bash,
 * and the marked parts of the README.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { EVENT_NAMES, eventKind } from '../base/event-table.ts';
import { program } from '../cli.ts';
import { configTable } from '../control/config-table.ts';
import { packageVersion } from '../control/version.ts';
import { configJsonSchema } from '../policy/schema.ts';
import { bashCompletion, commandManual, configManual } from './manual.ts';

/** One file that is generated, or has generated parts. */
export interface GeneratedFile {
  /** From the root of the package. */
  readonly path: string;
  /** @param before what the file holds now; empty: it is not there */
  make(before: string): string;
}

/** Parts of the README between `<!-- generated: NAME -->` and `<!-- end -->`. */
const README_PARTS: Readonly<Record<string, () => string>> = { configuration: configTable, events: eventTable };

export const GENERATED: readonly GeneratedFile[] = [
  { path: 'packaging/schema/tcpfreeze.schema.json', make: () => `${JSON.stringify(configJsonSchema(), null, 2)}\n` },
  { path: 'packaging/deb/tcpfreeze.8', make: () => commandManual(program, packageVersion()) },
  { path: 'packaging/deb/tcpfreeze.yaml.5', make: () => configManual(packageVersion()) },
  { path: 'packaging/deb/tcpfreeze.bash-completion', make: () => bashCompletion(program) },
  { path: 'README.md', make: withParts },
];

function withParts(text: string): string {
  return Object.entries(README_PARTS).reduce((now, [name, make]) => {
    const part = new RegExp(`(<!-- generated: ${name} -->\n)[\\s\\S]*?(<!-- end -->)`);
    return now.replace(part, (_all, begin: string, end: string) => `${begin}\n${make()}\n\n${end}`);
  }, text);
}

/** The events there are, GitHub-flavoured Markdown. */
function eventTable(): string {
  const rows = EVENT_NAMES.map((name) => {
    const { code, severity, meaning, figures } = eventKind(name);
    return `| ${code} | \`${name}\` | ${severity} | ${meaning} | ${figures.join(', ')} |`;
  });
  return ['| code | event | severity | meaning | figures |', '|---|---|---|---|---|', ...rows].join('\n');
}

const root = new URL('../../', import.meta.url);

function main(): void {
  for (const { path, make } of GENERATED) {
    const file = new URL(path, root);
    let before = '';
    try {
      before = readFileSync(file, 'utf8');
    } catch {
      // It is made now.
    }
    const after = make(before);
    if (after === before) continue;
    writeFileSync(file, after);
    process.stdout.write(`${path} written\n`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
