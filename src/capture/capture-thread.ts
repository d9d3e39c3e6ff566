/**
 * The thread that writes a capture: drains the ring, makes words, writes to a file or hands chunks to the main thread. A slow disk
 * or reader stops this thread and nobody else; the ring then fills, and the datapath drops and counts.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { Rotation } from './output-file.ts';
import { OutputFiles } from './output-file.ts';
import { PcapngWriter, type WrittenInterface, type WrittenName, type WrittenSection } from './pcapng-writer.ts';
import { Ring } from './ring.ts';
import { RingReader } from './ring-reader.ts';

export interface ThreadStart {
  readonly ring: SharedArrayBuffer;
  /** Nanoseconds since 1970. */
  readonly epoch: bigint;
  readonly section: WrittenSection;
  readonly interfaces: readonly WrittenInterface[];
  readonly names: readonly WrittenName[];
  readonly snapLength: number;
  /** Null: chunks go to the main thread. */
  readonly file: string | null;
  readonly rotation: Rotation | null;
}

export type ThreadMessage =
  /** The output could be opened. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'chunk'; readonly bytes: Uint8Array<ArrayBuffer> }
  | {
      readonly kind: 'progress';
      readonly packets: number;
      readonly bytes: number;
      readonly file: string | null;
      readonly files: number;
    }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string };

/** Pause when the ring is empty, milliseconds: what a live view lags behind. */
const PAUSE = 10;
/** Records between two looks at anything else. */
const TURN = 4_096;
/** Bytes handed to the main thread that it has not yet passed on; beyond it this thread waits. */
const UNDER_WAY_MAX = 4 << 20;
const PROGRESS_MILLIS = 500;

interface Output {
  readonly name: string | null;
  readonly number: number;
  write(bytes: Uint8Array): void;
  isFull(bytes: number): boolean;
  rotate(now: Date): void;
  close(): void;
}

const start = workerData as ThreadStart;
const port = parentPort!;
const ring = new Ring(start.ring);

function post(message: ThreadMessage, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, [...transfer]);
}

/** To the main thread, no faster than it gets rid of it. */
function streamOutput(): Output {
  return {
    name: null,
    number: 1,
    write: (bytes) => {
      while (ring.underWay > UNDER_WAY_MAX && !ring.isEnded) ring.sleep(PAUSE);
      const chunk = bytes.slice();
      ring.addUnderWay(chunk.length);
      post({ kind: 'chunk', bytes: chunk }, [chunk.buffer]);
    },
    isFull: () => false,
    rotate: () => {},
    close: () => {},
  };
}

class Run {
  readonly #output: Output;
  readonly #reader = new RingReader(ring, start.epoch);
  #writer: PcapngWriter;
  /** Counters and time at the start of the present file. */
  #before = this.#reader.counts(start.interfaces.length);
  #since = start.epoch;
  #bytesBefore = 0;

  constructor(output: Output) {
    this.#output = output;
    this.#writer = this.#begin();
  }

  #begin(): PcapngWriter {
    const writer = new PcapngWriter(start.section, start.interfaces, start.snapLength, (bytes) =>
      this.#output.write(bytes),
    );
    writer.names(start.names);
    writer.flush();
    return writer;
  }

  #finish(): void {
    const { time } = this.#reader;
    this.#reader.counts(start.interfaces.length).forEach(({ received, accepted, dropped }, index) => {
      const before = this.#before[index]!;
      this.#writer.statistics(index, this.#since, time, {
        received: received - before.received,
        accepted: accepted - before.accepted,
        dropped: dropped - before.dropped,
      });
    });
    this.#writer.flush();
  }

  #rotate(): void {
    this.#finish();
    this.#before = this.#reader.counts(start.interfaces.length);
    this.#since = this.#reader.time;
    this.#bytesBefore += this.#writer.bytesWritten;
    this.#output.rotate(new Date());
    this.#writer = this.#begin();
  }

  #progress(): void {
    const { name, number } = this.#output;
    const bytes = this.#bytesBefore + this.#writer.bytesWritten;
    post({ kind: 'progress', packets: this.#reader.packets, bytes, file: name, files: number });
  }

  run(): void {
    let toldAt = 0;
    for (;;) {
      // Asked before the ring is looked at: what was published before the end is still there.
      const isEnded = ring.isEnded;
      const count = this.#reader.drain(this.#writer, TURN);
      if (this.#output.isFull(this.#writer.bytesWritten)) this.#rotate();
      if (count < TURN) this.#writer.flush();
      if (performance.now() - toldAt > PROGRESS_MILLIS) {
        toldAt = performance.now();
        this.#progress();
      }
      if (count > 0) continue;
      if (isEnded) break;
      ring.sleep(PAUSE);
    }
    this.#finish();
    this.#progress();
  }
}

function main(): void {
  let output: Output | undefined;
  try {
    output = start.file === null ? streamOutput() : new OutputFiles(start.file, start.rotation, new Date());
    post({ kind: 'ready' });
    new Run(output).run();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'CAPTURE_FAILED';
    post({ kind: 'failed', code, message: error instanceof Error ? error.message : String(error) });
  } finally {
    output?.close();
  }
}

main();
