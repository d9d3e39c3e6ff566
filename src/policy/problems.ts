/**
 * What is wrong with a configuration, in words: every finding of the schema with its path, and what was probably meant.
 */
import type { z } from 'zod';

/** One thing wrong with a configuration, and where. */
export interface ConfigProblem {
  /** Keys and list positions from the top; empty: the document as a whole. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** As much of a JSON Schema (draft 2020-12) as the configuration's own uses. */
export interface JsonSchemaNode {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly description?: string;
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly anyOf?: readonly JsonSchemaNode[];
  readonly properties?: Readonly<Record<string, JsonSchemaNode>>;
  readonly items?: JsonSchemaNode;
  readonly additionalProperties?: JsonSchemaNode | boolean;
}

/** The node that a path leads to. */
export function schemaNode(root: JsonSchemaNode, path: readonly PropertyKey[]): JsonSchemaNode | undefined {
  let node: JsonSchemaNode | undefined = root;
  for (const step of path) {
    // One or several of a thing: a position leads into the list.
    const shape: JsonSchemaNode | undefined = node?.anyOf?.find((one) => one.type === 'object' || one.type === 'array');
    const inner: JsonSchemaNode | undefined = shape ?? node;
    const additional: JsonSchemaNode | undefined =
      typeof inner?.additionalProperties === 'object' ? inner.additionalProperties : undefined;
    node = typeof step === 'number' ? inner?.items : (inner?.properties?.[String(step)] ?? additional);
  }
  return node;
}

/**
 * The problems behind what zod found.
 * @param document what was checked
 * @param schema of the whole document, for the names of keys
 */
export function problemsOf(
  issues: readonly z.core.$ZodIssue[],
  document: unknown,
  schema: JsonSchemaNode,
): ConfigProblem[] {
  return issues.flatMap((issue) => problemsOfIssue(issue, schema)).map((problem) => withProposal(problem, document));
}

/** The problems of one schema finding; an object with three unknown keys is three problems. */
function problemsOfIssue(issue: z.core.$ZodIssue, schema: JsonSchemaNode): ConfigProblem[] {
  const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(schemaNode(schema, path)?.properties ?? {});
    return issue.keys.map((key) => ({ path: [...path, key], message: unknownKey(key, known) }));
  }
  if (issue.code === 'invalid_union' && issue.message === 'Invalid input') {
    // A list-or-one: the branch with the deepest finding is the one that was meant.
    const branches = issue.errors.map((branch) => branch.flatMap((inner) => problemsOfIssue(inner, schema)));
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

function unknownKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known);
  if (near !== undefined) return `is not a key here; did you mean ${near}?`;
  return known.length === 0
    ? 'is not a key here; this version has none'
    : `is not a key here; there are ${known.join(', ')}`;
}

/** A word of a fixed list that was misspelt: the nearest of the list. */
function withProposal(problem: ConfigProblem, document: unknown): ConfigProblem {
  const words = /^must be (?:one of )?([\w-]+(?:, [\w-]+)*(?: or [\w-]+)?)$/.exec(problem.message)?.[1];
  const value = problem.path.reduce<unknown>(
    (at, step) => (at as Record<PropertyKey, unknown> | null)?.[step],
    document,
  );
  if (words === undefined || typeof value !== 'string') return problem;
  const near = nearest(value, words.split(/, | or /));
  return near === undefined ? problem : { ...problem, message: `${problem.message}; did you mean ${near}?` };
}

/** The name that is near enough to a misspelt one to be worth proposing: two edits away, or different in case only. */
function nearest(word: string, known: readonly string[]): string | undefined {
  const most = Math.min(2, word.length - 1);
  const ranked = known
    .map((name) => ({ name, distance: editDistance(name.toLowerCase(), word.toLowerCase()) }))
    .filter(({ distance }) => distance <= most)
    .toSorted((a, b) => a.distance - b.distance);
  return ranked[0]?.name;
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
