/**
 * Reads the configuration file. What it may say is the policy's business; here problems get their line.
 */
import { readFileSync } from 'node:fs';
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { TcpfreezeError } from '../base/errors.ts';
import type { GatewayConfig } from '../policy/policy.ts';
import { type ConfigProblem, checkConfig } from '../policy/schema.ts';

/**
 * @param file path of a YAML file
 * @throws TcpfreezeError CONFIG_UNREADABLE, CONFIG_INVALID (every problem, one per line)
 */
export function readConfigFile(file: string): GatewayConfig {
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
  return parseConfig(text, file);
}

/**
 * @param text YAML 1.2
 * @param name of the file, for messages
 * @throws TcpfreezeError CONFIG_INVALID
 */
export function parseConfig(text: string, name: string): GatewayConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw invalid(
      document.errors.map((error) => `${name}:${lines.linePos(error.pos[0]).line}: ${error.message.split('\n')[0]}`),
    );
  }
  const result = checkConfig(document.toJS() as unknown);
  if (result.ok) return result.config;
  const root = document.contents as Node | null;
  const found = result.problems.map((problem) => ({ line: lineOf(root, problem.path, lines), problem }));
  found.sort((left, right) => left.line - right.line);
  throw invalid(found.map(({ line, problem }) => `${name}:${line}: ${pathText(problem)}${problem.message}`));
}

function invalid(problems: readonly string[]): TcpfreezeError {
  return new TcpfreezeError('CONFIG_INVALID', problems.join('\n'), '');
}

function pathText({ path }: ConfigProblem): string {
  if (path.length === 0) return '';
  const text = path.map((step) => (typeof step === 'number' ? `[${step + 1}]` : `.${step}`)).join('');
  return `${text.replace(/^\./, '')} `;
}

/** Line of the key, or of the list item, that a path names; of the innermost one that exists. */
function lineOf(root: Node | null, path: readonly (string | number)[], lines: LineCounter): number {
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
  return lines.linePos(offset).line;
}
