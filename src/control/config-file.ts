/**
 * Reads the configuration file. What it may say is the policy's business; here problems get their line.
 */
import { readFileSync } from 'node:fs';
import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from 'yaml';
import { TcpfreezeError } from '../base/errors.ts';
import type { GatewayConfig } from '../policy/policy.ts';
import type { ConfigProblem } from '../policy/problems.ts';
import { checkConfig } from '../policy/schema.ts';

/** A file, checked, and what it says word for word. */
export interface ReadConfig {
  readonly config: GatewayConfig;
  readonly document: unknown;
}

/**
 * @param file path of a YAML file
 * @throws TcpfreezeError CONFIG_UNREADABLE, CONFIG_INVALID (every problem, one per line)
 */
export function readConfigFile(file: string): GatewayConfig {
  return readConfig(file).config;
}

/** As `readConfigFile`, with the document that the configuration was made from. */
export function readConfig(file: string): ReadConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new TcpfreezeError(
      'CONFIG_UNREADABLE',
      `the configuration ${file} cannot be read: ${code}`,
      'check --config',
      1,
      error,
    );
  }
  return parseConfigDocument(text, file);
}

/**
 * @param text YAML 1.2
 * @param name of the file, for messages
 * @throws TcpfreezeError CONFIG_INVALID
 */
export function parseConfig(text: string, name: string): GatewayConfig {
  return parseConfigDocument(text, name).config;
}

function parseConfigDocument(text: string, name: string): ReadConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw invalid(
      document.errors.map((error) => `${placeText(name, error.pos[0], lines)} ${error.message.split('\n')[0]}`),
    );
  }
  const written = contentOf(document, (offset) => placeText(name, offset, lines));
  const result = checkConfig(written);
  if (result.ok) return { config: result.config, document: written };
  const root = document.contents as Node | null;
  const found = result.problems.map((problem) => ({ offset: offsetOf(root, problem.path), problem }));
  found.sort((left, right) => left.offset - right.offset);
  throw invalid(
    found.map(({ offset, problem }) => `${placeText(name, offset, lines)} ${pathText(problem)}${problem.message}`),
  );
}

/**
 * What the document says, aliases (`*name`) followed.
 * @throws TcpfreezeError CONFIG_INVALID: an alias without its anchor, or aliases of aliases without end
 */
function contentOf(document: Document, place: (offset: number) => string): unknown {
  const strays: string[] = [];
  visit(document, {
    Alias: (_key, alias) => {
      if (alias.resolve(document) !== undefined) return;
      const offset = alias.range?.[0] ?? 0;
      strays.push(
        `${place(offset)} *${alias.source} has no anchor &${alias.source} before it; quote a value that begins with *`,
      );
    },
  });
  if (strays.length > 0) throw invalid(strays);
  try {
    return document.toJS() as unknown;
  } catch (error) {
    throw invalid([`${place(0)} ${(error as Error).message}`]);
  }
}

/** `FILE:LINE:COLUMN:`, both counted from one, as compilers do and editors follow. */
function placeText(name: string, offset: number, lines: LineCounter): string {
  const { line, col } = lines.linePos(offset);
  return `${name}:${line}:${col}:`;
}

function invalid(problems: readonly string[]): TcpfreezeError {
  return new TcpfreezeError('CONFIG_INVALID', problems.join('\n'), '');
}

function pathText({ path }: ConfigProblem): string {
  if (path.length === 0) return '';
  const text = path.map((step) => (typeof step === 'number' ? `[${step + 1}]` : `.${step}`)).join('');
  return `${text.replace(/^\./, '')} `;
}

/** Where the key, or the list item, begins that a path names; the innermost one that exists. */
function offsetOf(root: Node | null, path: readonly (string | number)[]): number {
  let node: unknown = root;
  let offset = root?.range?.[0] ?? 0;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String(isScalar(item.key) ? item.key.value : item.key) === String(step));
      if (pair === undefined) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else break;
  }
  return offset;
}
