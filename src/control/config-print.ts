/**
 * The configuration in effect as a file would say it, each value with where it came from. What is printed can be used
 * as a configuration file again, and means the same.
 */
import { Document, isNode, isScalar, Scalar } from 'yaml';
import type { JsonSchemaNode } from '../policy/problems.ts';
import { configJsonSchema } from '../policy/schema.ts';

/** One value in effect. */
export interface Setting {
  readonly path: readonly (string | number)[];
  readonly value: unknown;
  /** `default`, `file`, `flag --wan`, ... */
  readonly origin: string;
}

/**
 * Every value in effect, in the order of the schema.
 * @param document what the file says
 * @param decided values that neither file nor schema decide, with who did
 */
export function effectiveSettings(document: unknown, decided: readonly Setting[]): Setting[] {
  const given = new Map(decided.map((setting) => [JSON.stringify(setting.path), setting]));
  const walk = (node: JsonSchemaNode, path: (string | number)[], value: unknown): Setting[] => {
    const known = given.get(JSON.stringify(path));
    if (known !== undefined) return [known];
    const children = childrenOf(node, value);
    if (children !== undefined) return children.flatMap(([step, child, inner]) => walk(child, [...path, step], inner));
    if (value !== undefined && value !== null) return [{ path, value, origin: 'file' }];
    return node.default === undefined ? [] : [{ path, value: node.default, origin: 'default' }];
  };
  return walk(configJsonSchema() as JsonSchemaNode, [], document ?? {});
}

type Child = [step: string | number, node: JsonSchemaNode, value: unknown];

/** What is inside of a value that has keys or items of its own; undefined: it is a value by itself. */
function childrenOf(node: JsonSchemaNode, value: unknown): Child[] | undefined {
  // One or several of a thing, or a word instead of a map: what is written decides.
  const shape = node.anyOf?.find((one) => one.type === 'object' && typeof value === 'object') ?? node;
  const map = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  if (shape.properties !== undefined) {
    return Object.entries(shape.properties).map(([key, child]) => [key, child, map[key]]);
  }
  const { additionalProperties: inner, items } = shape;
  if (typeof inner === 'object' && Object.keys(map).length > 0) {
    return Object.entries(map).map(([key, child]) => [key, inner, child]);
  }
  if (items?.properties !== undefined && Array.isArray(value) && value.length > 0) {
    return value.map((item, index) => [index, items, item]);
  }
  return undefined;
}

/** YAML, each value followed by its origin as a comment. */
export function settingsText(settings: readonly Setting[]): string {
  const document = new Document({});
  for (const { path, value, origin } of settings) {
    for (let depth = 1; depth < path.length; depth += 1) {
      const parent = path.slice(0, depth);
      if (!document.hasIn(parent))
        document.setIn(parent, document.createNode(typeof path[depth] === 'number' ? [] : {}));
    }
    const node = document.createNode(value);
    const leaf = isNode(node) ? node : new Scalar(node);
    leaf.comment = ` ${origin}`;
    if (!isScalar(leaf)) (leaf as { flow?: boolean }).flow = true;
    document.setIn(path, leaf);
  }
  return document.toString({ lineWidth: 0 });
}
