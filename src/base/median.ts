/**
 * Median of the last few samples: an estimate that one outlier cannot move, where an average would be pulled and a maximum
 * would keep it. Acknowledgements arrive in clumps, so rate samples have outliers upwards as well as downwards.
 */
const SIZE = 5;

export class Median {
  readonly #samples = new Float64Array(SIZE);
  readonly #sorted = new Float64Array(SIZE);
  #count = 0;
  #next = 0;

  /** Takes a sample and returns the median of the last five, or of as many as there were. */
  add(sample: number): number {
    this.#samples[this.#next] = sample;
    this.#next = (this.#next + 1) % SIZE;
    if (this.#count < SIZE) this.#count++;
    // Insertion sort; the samples fill from the front, so the first `count` are the ones taken.
    for (let i = 0; i < this.#count; i++) {
      const value = this.#samples[i]!;
      let at = i;
      while (at > 0 && this.#sorted[at - 1]! > value) {
        this.#sorted[at] = this.#sorted[at - 1]!;
        at--;
      }
      this.#sorted[at] = value;
    }
    return this.#sorted[(this.#count - 1) >> 1]!;
  }
}
