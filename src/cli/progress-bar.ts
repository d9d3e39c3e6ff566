/** A bar for work whose size is known: one line on a terminal, rewritten in place and cleared at the end; nothing elsewhere. */

export interface BarOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** How often it is drawn, milliseconds. */
const INTERVAL = 100;
const BAR_LEAST = 10;
const BAR_MOST = 40;

export class ProgressBar {
  readonly #output: BarOutput;
  readonly #label: string;
  readonly #now: () => number;
  readonly #started: number;
  #drawnAt: number;
  #isShown = false;

  /** @param now milliseconds on any monotonic scale */
  constructor(output: BarOutput, label: string, now: () => number = () => performance.now()) {
    this.#output = output;
    this.#label = label;
    this.#now = now;
    this.#started = now();
    this.#drawnAt = this.#started;
  }

  /** @param done bytes; @param size bytes of all, 0 when unknown */
  update(done: number, size: number): void {
    if (this.#output.isTTY !== true) return;
    const now = this.#now();
    if (now - this.#drawnAt < INTERVAL) return;
    this.#drawnAt = now;
    this.#isShown = true;
    const width = Math.max(1, (this.#output.columns ?? 80) - 1);
    const text = barText(this.#label, done, size, (now - this.#started) / 1_000, width);
    this.#output.write(`\r${text}\x1b[K`);
  }

  /** Clears the line. */
  end(): void {
    if (this.#isShown) this.#output.write('\r\x1b[K');
    this.#isShown = false;
  }
}

/**
 * `replay  [####------]   42 %  412 of 1000 MB  510 MB/s  2 s left`
 * @param elapsed seconds
 * @param width columns that it may fill
 */
export function barText(label: string, done: number, size: number, elapsed: number, width: number): string {
  const rate = elapsed > 0 ? done / elapsed : 0;
  const speed = `${megabytes(rate)} MB/s`;
  if (size <= 0) return `${label}  ${megabytes(done)} MB  ${speed}`.slice(0, width);
  const share = Math.min(1, done / size);
  const left = rate > 0 ? `${Math.ceil((size - done) / rate)} s left` : '';
  const words = [
    `${Math.floor(share * 100)} %`.padStart(5),
    `${megabytes(done)} of ${megabytes(size)} MB`,
    speed,
    left,
  ];
  const text = words.filter((word) => word !== '').join('  ');
  const room = Math.min(BAR_MOST, width - label.length - text.length - 6);
  if (room < BAR_LEAST) return `${label}  ${text}`.slice(0, width);
  const filled = Math.round(share * room);
  return `${label}  [${'#'.repeat(filled)}${'-'.repeat(room - filled)}]  ${text}`;
}

function megabytes(bytes: number): string {
  const value = bytes / 1e6;
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}
