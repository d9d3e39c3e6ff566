/** What crosses between the main thread and the datapath worker: plain data, by structured clone. */
import type { MessagePort } from 'node:worker_threads';
import type { CaptureTapStart } from '../capture/capture-tap.ts';
import type { Command, EngineEvent, Reply } from '../engine/commands.ts';
import type { EngineConfig } from '../engine/engine.ts';
import type { EchoEvent, EchoRequest, LinkEvent } from '../link/events.ts';
import type { TapStart } from './taps.ts';

/** Handed to the worker at its start. Descriptors belong to the main thread, which closes them after the worker. */
export interface WorkerStart {
  readonly engine: EngineConfig;
  readonly arenaBytes: number;
  readonly outboxBytes: number;
  readonly hugePages: boolean;
  readonly tunFd: number;
  readonly netlinkFd: number;
  readonly wakeFd: number;
  readonly taps: readonly TapStart[];
  /** Where batches go, and what an earlier process left; text: why there is no custody; null: it is kept in memory only. */
  readonly journal:
    | {
        readonly port: MessagePort;
        readonly records: readonly Uint8Array[];
        readonly handshakes: readonly Uint8Array[];
      }
    | string
    | null;
  /** COUNTERS_BYTES bytes. */
  readonly counters: SharedArrayBuffer;
  /** One int32: not 0 means that the loop has to end. Set before the process exits, when no message is read any more. */
  readonly stopFlag: SharedArrayBuffer;
}

export interface CommandMessage {
  readonly id: number;
  readonly command: Command;
}

/** A capture begins or ends; answered like a command. */
export interface CaptureMessage {
  readonly id: number;
  readonly capture: { readonly attach: CaptureTapStart } | { readonly detach: number };
}

/** An echo was answered, or could not be sent. */
export interface EchoMessage {
  readonly echo: EchoEvent;
}

export type WorkerMessage =
  /** Everything is known and packets can flow; `thread` is the kernel's id of the worker's thread. */
  | { readonly kind: 'ready'; readonly degraded: readonly string[]; readonly thread: number }
  | { readonly kind: 'reply'; readonly id: number; readonly reply: Reply }
  | {
      readonly kind: 'report';
      readonly events: readonly EngineEvent[];
      readonly links: readonly LinkEvent[];
      /** Echo requests that the engine wants to be sent. */
      readonly echoes: readonly EchoRequest[];
    }
  /** The loop ended by itself: the device disappeared. */
  | { readonly kind: 'device-gone' };
