/** The live captures of a gateway: started and stopped by command or configuration, and carried over to a datapath that is made anew. */
import { TcpfreezeError } from '../base/errors.ts';
import type { CaptureTapStart } from './capture-tap.ts';
import { parseFilter } from './filter-language.ts';
import {
  type CaptureFigures,
  type CapturePlace,
  type CaptureRequest,
  LiveCapture,
  type StreamSink,
} from './live-capture.ts';

/** At a time. Each costs the datapath a copy per packet. */
const CAPTURES_MAX = 4;

/** The datapath, as far as captures need it. */
export interface CaptureHost {
  /** @throws TcpfreezeError when the datapath is gone */
  attachCapture(tap: CaptureTapStart): Promise<void>;
  detachCapture(id: number): Promise<void>;
}

export interface CaptureStatus extends CaptureRequest, Omit<CaptureFigures, 'file'> {
  readonly id: number;
  readonly since: Date;
  /** File that is being written; null for a stream. */
  readonly file: string | null;
}

export interface StartedCapture {
  readonly status: CaptureStatus;
  /** Settles when everything is written; with the reason when it ended by itself. Never rejects. */
  readonly ended: Promise<TcpfreezeError | null>;
}

/** What is told of captures: started, stopped, failed. */
export type CaptureListener = (
  name: 'capture-started' | 'capture-stopped' | 'capture-failed',
  message: string,
  figures: Readonly<Record<string, number>>,
) => void;

export class Captures {
  readonly #place: CapturePlace;
  readonly #listener: CaptureListener;
  readonly #running = new Map<number, LiveCapture>();
  #host: CaptureHost | null = null;
  #nextId = 1;
  /** Captures that are being started count, too. */
  #starting = 0;

  constructor(place: CapturePlace, listener: CaptureListener) {
    this.#place = place;
    this.#listener = listener;
  }

  /** The datapath is there, is another one, or is gone (null); captures go on with the new one. */
  async setHost(host: CaptureHost | null): Promise<void> {
    this.#host = host;
    if (host === null) return;
    for (const capture of this.#running.values()) await host.attachCapture(capture.tap);
  }

  /**
   * Starts a capture. Everything that can be wrong is found before anything is captured.
   * @param sink for a stream
   * @throws TcpfreezeError FILTER_INVALID, CAPTURE_REFUSED, CAPTURE_LIMIT, DATAPATH_ENDED
   */
  async start(request: CaptureRequest, sink: StreamSink | null = null): Promise<StartedCapture> {
    parseFilter(request.filter, this.#place.links);
    const { file } = request;
    for (const { request: other, id } of this.#running.values()) {
      if (file !== null && other.file === file)
        throw new TcpfreezeError(
          'CAPTURE_REFUSED',
          `capture ${id} already writes ${file}`,
          `stop it: tcpfreeze capture stop ${id}`,
        );
    }
    if (this.#running.size + this.#starting >= CAPTURES_MAX) {
      const message = `${CAPTURES_MAX} captures are running`;
      throw new TcpfreezeError('CAPTURE_LIMIT', message, 'stop one: tcpfreeze capture stop ID');
    }
    if (this.#host === null) {
      throw new TcpfreezeError('DATAPATH_ENDED', 'the datapath is being restarted', 'try again in a moment');
    }
    const id = this.#nextId++;
    this.#starting += 1;
    let capture: LiveCapture;
    try {
      capture = await LiveCapture.start(id, request, this.#place, sink);
    } finally {
      this.#starting -= 1;
    }
    this.#running.set(id, capture);
    try {
      await this.#host?.attachCapture(capture.tap);
    } catch (error) {
      this.#running.delete(id);
      await capture.end();
      throw error;
    }
    void capture.ended.then((failure) => this.#onEnded(capture, failure));
    this.#listener('capture-started', `capture ${id} to ${file ?? 'a stream'} started`, {});
    return { status: statusOf(capture), ended: capture.ended };
  }

  /** @throws TcpfreezeError NO_CAPTURE */
  async stop(id: number): Promise<CaptureStatus> {
    const capture = this.#running.get(id);
    if (capture === undefined)
      throw new TcpfreezeError('NO_CAPTURE', `there is no capture ${id}`, 'see "tcpfreeze capture status"');
    await this.#stop(capture);
    return statusOf(capture);
  }

  /** Stops all captures to files, or every capture. */
  async stopAll(streamsToo: boolean): Promise<CaptureStatus[]> {
    const chosen = [...this.#running.values()].filter(({ request }) => streamsToo || request.file !== null);
    for (const capture of chosen) await this.#stop(capture);
    return chosen.map(statusOf);
  }

  list(): CaptureStatus[] {
    return [...this.#running.values()].map(statusOf);
  }

  async #stop(capture: LiveCapture): Promise<void> {
    const isDetached = await this.#detach(capture);
    await capture.end();
    // Ordinarily done by now; the order of two callbacks is nobody's promise.
    this.#onEnded(capture, await capture.ended);
    if (isDetached) capture.recycle();
  }

  /** A datapath that is gone has let go. @returns whether it has said so */
  async #detach({ id }: LiveCapture): Promise<boolean> {
    const said = await this.#host?.detachCapture(id).then(
      () => true,
      () => false,
    );
    return said === true;
  }

  #onEnded(capture: LiveCapture, failure: TcpfreezeError | null): void {
    if (!this.#running.delete(capture.id)) return;
    const { packets, bytes, dropped } = capture.figures;
    if (failure === null) {
      const message = `capture ${capture.id} stopped: ${packets} packets, ${dropped} dropped`;
      this.#listener('capture-stopped', message, { packets, bytes, dropped });
      return;
    }
    void this.#detach(capture);
    const message = `capture ${capture.id} ended: ${failure.message}`;
    this.#listener('capture-failed', message, { packets, bytes, dropped });
  }
}

function statusOf({ id, request, since, figures }: LiveCapture): CaptureStatus {
  return { ...request, ...figures, id, since };
}
