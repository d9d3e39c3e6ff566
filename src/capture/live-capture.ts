/**
 * One live capture as the main thread holds it: the ring, the thread that writes it, and what is known of its progress.
 */
import { arch, cpus, release, type } from 'node:os';
import { Worker } from 'node:worker_threads';
import { TcpfreezeError } from '../base/errors.ts';
import type { Micros } from '../base/time.ts';
import type { CaptureTapStart } from './capture-tap.ts';
import type { ThreadMessage, ThreadStart } from './capture-thread.ts';
import { captureNames } from './names.ts';
import type { Rotation } from './output-file.ts';
import { Ring } from './ring.ts';
import { COUNT_DROPPED, total } from './ring-counters.ts';

/** Between datapath and writer: at 1 Gb/s a tenth of a second of whole packets, with 128 bytes of each several seconds. */
const RING_BYTES = 16 << 20;

/**
 * Rings of captures that are over, for those to come. Left to the garbage collectors of three threads, which have little to do and no idea
 * of their size, they pile up (measured: nine of them after 15 captures, 70 MB in 10 minutes).
 */
const spareRings: SharedArrayBuffer[] = [];
const SPARE_RINGS_MAX = 2;

function takeRing(): SharedArrayBuffer {
  const memory = spareRings.pop() ?? Ring.allocate(RING_BYTES);
  Ring.clear(memory);
  return memory;
}

export interface CaptureRequest {
  /** Absolute path; null: a stream. */
  readonly file: string | null;
  /** In the language of filter-language.ts; empty: everything. */
  readonly filter: string;
  /** Most bytes kept of a packet, 1 .. 65 535. */
  readonly snapLength: number;
  readonly rotation: Rotation | null;
}

/** What a capture is made on. */
export interface CapturePlace {
  readonly version: string;
  /** The gateway's links, by port. */
  readonly links: readonly string[];
  readonly tun: string;
  /** Now on the engine's clock. */
  now(): Micros;
}

export interface CaptureFigures {
  readonly packets: number;
  readonly bytes: number;
  readonly dropped: number;
  readonly files: number;
  /** File that is being written; null for a stream. */
  readonly file: string | null;
}

/** Takes the bytes of a stream; resolves when they are gone. */
export type StreamSink = (bytes: Uint8Array) => Promise<void>;

export class LiveCapture {
  readonly id: number;
  readonly request: CaptureRequest;
  readonly since = new Date();
  /** What the datapath needs to take part. */
  readonly tap: CaptureTapStart;
  /** Settles when the thread has written everything and ended; with the reason when it ended by itself. Never rejects. */
  readonly ended: Promise<TcpfreezeError | null>;
  readonly #ring: Ring;
  #figures: Omit<CaptureFigures, 'dropped'>;
  /** How many were dropped, once the ring is another's. */
  #droppedAtEnd: number | undefined;

  private constructor(
    id: number,
    request: CaptureRequest,
    tap: CaptureTapStart,
    worker: Worker,
    sink: StreamSink | null,
    onReady: () => void,
  ) {
    this.id = id;
    this.request = request;
    this.tap = tap;
    this.#ring = new Ring(tap.ring);
    this.#figures = { packets: 0, bytes: 0, files: 1, file: request.file };
    let failure: TcpfreezeError | null = null;
    worker.on('message', (message: ThreadMessage) => {
      switch (message.kind) {
        case 'ready':
          onReady();
          break;
        case 'chunk':
          void this.#pass(message.bytes, sink);
          break;
        case 'progress': {
          const { packets, bytes, files, file } = message;
          this.#figures = { packets, bytes, files, file };
          break;
        }
        case 'failed':
          failure = failureOf(message.code, message.message, request.file);
          break;
      }
    });
    worker.on('error', (error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      failure = new TcpfreezeError('CAPTURE_FAILED', `the capture failed: ${message}`, 'start it again');
    });
    this.ended = new Promise((resolve) => {
      worker.once('exit', () => resolve(failure));
    });
  }

  /**
   * Opens the output and starts the writing thread; nothing is captured before the datapath has the tap.
   * @throws TcpfreezeError CAPTURE_REFUSED: the file cannot be written
   */
  static async start(
    id: number,
    request: CaptureRequest,
    place: CapturePlace,
    sink: StreamSink | null,
  ): Promise<LiveCapture> {
    const ring = takeRing();
    const { epoch, nanos } = bothClocks(place);
    const { links, tun } = place;
    const { filter, snapLength } = request;
    const interfaces = [
      ...links.map((name) => ({ name, description: `link ${name} of the gateway` })),
      { name: 'tcpfreeze', description: 'packets made by the gateway' },
      { name: tun, description: 'packets of no known link' },
    ];
    const hardware = cpus()[0]?.model.trim();
    const start: ThreadStart = {
      ring,
      epoch: nanos,
      section: {
        application: `tcpfreeze ${place.version}`,
        os: `${type()} ${release()} ${arch()}`,
        ...(hardware === undefined || hardware === '' ? {} : { hardware }),
      },
      interfaces,
      names: captureNames(links),
      snapLength,
      file: request.file,
      rotation: request.rotation,
    };
    const worker = new Worker(new URL('./capture-thread.js', import.meta.url), {
      name: 'tcpfreeze-capture',
      workerData: start,
    });
    const tap: CaptureTapStart = { id, ring, filter, snapLength, links, epoch };
    let onReady = (): void => {};
    const ready = new Promise<void>((resolve) => {
      onReady = resolve;
    });
    const capture = new LiveCapture(id, request, tap, worker, sink, onReady);
    const failure = await Promise.race([ready.then(() => null), capture.ended]);
    if (failure !== null) throw failure;
    return capture;
  }

  get figures(): CaptureFigures {
    return { ...this.#figures, dropped: this.#droppedAtEnd ?? total(this.#ring.counters, COUNT_DROPPED) };
  }

  /** Call when the datapath has let go of the tap: what is in the ring is written, then the thread ends. */
  end(): Promise<TcpfreezeError | null> {
    this.#ring.end();
    return this.ended;
  }

  /** Leaves the ring to another capture. Call once, when `end` has settled and the datapath has certainly let go of the tap. */
  recycle(): void {
    // A stream whose reader has not taken everything still counts in it.
    if (this.#ring.underWay !== 0 || this.#droppedAtEnd !== undefined) return;
    this.#droppedAtEnd = this.figures.dropped;
    if (spareRings.length < SPARE_RINGS_MAX) spareRings.push(this.tap.ring);
  }

  async #pass(bytes: Uint8Array, sink: StreamSink | null): Promise<void> {
    try {
      await sink?.(bytes);
    } finally {
      this.#ring.addUnderWay(-bytes.length);
    }
  }
}

function failureOf(code: string, message: string, file: string | null): TcpfreezeError {
  if (code === 'CAPTURE_REFUSED') return new TcpfreezeError(code, message, 'name another file with --file');
  const full = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG';
  const what = full ? `no room is left for ${file} (${code})` : `the capture failed: ${message}`;
  return new TcpfreezeError('CAPTURE_FAILED', what, full ? 'make room, then start it again' : 'start it again');
}

/** The same instant on both clocks: the wall clock is read as it ticks, which is good to some microseconds. */
function bothClocks(place: CapturePlace): { epoch: Micros; nanos: bigint } {
  const before = Date.now();
  let wall = before;
  // A wall clock that stands still for 20 ms is not waited for.
  for (let i = 0; wall === before && i < 1_000_000; i++) wall = Date.now();
  return { epoch: place.now(), nanos: BigInt(wall) * 1_000_000n };
}
