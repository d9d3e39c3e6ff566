/**
 * Scopes of loss below a whole link: a host, a prefix, one flow, declared lost by command. Bounded; each may release
 * itself after a time.
 */
import type { LossCause } from '../base/figures.ts';
import { type Micros, NEVER } from '../base/time.ts';
import { matchesPrefix } from './routes.ts';

export interface Scope {
  /** Text that names it, as the user gave it; the key for release. */
  readonly label: string;
  readonly family: 4 | 6 | 0;
  readonly words: Int32Array;
  readonly prefixLength: number;
  /** Flow index when the scope is one flow, else -1. */
  readonly flowIndex: number;
  readonly flowGeneration: number;
  /** Half of that flow that counts as lost. */
  readonly flowHalf: 0 | 1;
  readonly until: Micros;
  /** What holds it for lost; default: a command. */
  readonly cause?: LossCause;
}

/** Most scopes at a time. */
export const MAX_SCOPES = 1_024;

export class ScopeList {
  #scopes: Scope[] = [];

  get size(): number {
    return this.#scopes.length;
  }

  /** @returns false when there are too many */
  add(scope: Scope): boolean {
    this.remove(scope.label);
    if (this.#scopes.length >= MAX_SCOPES) return false;
    this.#scopes.push(scope);
    return true;
  }

  /** @returns whether there was such a scope */
  remove(label: string): boolean {
    const before = this.#scopes.length;
    this.#scopes = this.#scopes.filter((scope) => scope.label !== label);
    return this.#scopes.length < before;
  }

  /** @returns what was released */
  clear(): readonly Scope[] {
    const all = this.#scopes;
    this.#scopes = [];
    return all;
  }

  /** Releases scopes whose time is over, and returns them. */
  expire(now: Micros): readonly Scope[] {
    const over = this.#scopes.filter((scope) => scope.until <= now);
    if (over.length > 0) this.#scopes = this.#scopes.filter((scope) => scope.until > now);
    return over;
  }

  nextExpiry(): Micros {
    let next = NEVER;
    for (const scope of this.#scopes) if (scope.until < next) next = scope.until;
    return next;
  }

  /** Whether this endpoint of this flow is inside any scope. */
  covers(family: 4 | 6, words: Int32Array, at: number, flowIndex: number, generation: number, half: 0 | 1): boolean {
    return this.find(family, words, at, flowIndex, generation, half) !== null;
  }

  /** The first scope that this endpoint of this flow is inside of. */
  find(family: 4 | 6, words: Int32Array, at: number, flowIndex: number, generation: number, half: 0 | 1): Scope | null {
    for (const scope of this.#scopes) {
      if (scope.flowIndex >= 0) {
        if (scope.flowIndex === flowIndex && scope.flowGeneration === generation && scope.flowHalf === half)
          return scope;
      } else if (scope.family === family && matchesPrefix(words, at, scope.words, scope.prefixLength)) return scope;
    }
    return null;
  }
}
