/** Listeners, and what came before the first of them. */
export class Feed<T> {
  readonly #listeners: ((items: readonly T[]) => void)[] = [];
  readonly #watchers: ((items: readonly T[]) => void)[] = [];
  #kept: T[] = [];

  add(listener: (items: readonly T[]) => void): void {
    this.#listeners.push(listener);
    if (this.#kept.length > 0) listener(this.#kept);
    this.#kept = [];
  }

  /** Hears what is kept, too, and leaves it to the first listener. */
  watch(listener: (items: readonly T[]) => void): void {
    if (this.#kept.length > 0) listener(this.#kept);
    this.#watchers.push(listener);
  }

  publish(items: readonly T[]): void {
    if (items.length === 0) return;
    for (const watcher of this.#watchers) watcher(items);
    if (this.#listeners.length === 0) this.#kept.push(...items);
    for (const listener of this.#listeners) listener(items);
  }
}
