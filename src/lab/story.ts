/** What a story is made of, and what it says in the end. scenario.ts plays it. */
import type { StatusJson } from '../control/api.ts';
import type { CaptureFinding, CaptureSigns } from './capture.ts';
import type { GatewayOptions, LabGateway } from './gateway.ts';
import type { CutKind } from './link-handle.ts';
import type { Recovery } from './recovery.ts';
import type { SocketReading } from './ss.ts';
import type { Timeline } from './timeline.ts';
import type { Lab, LabOptions } from './topology.ts';
import type { EndReport, Flow, FlowOptions, Traffic } from './traffic-handle.ts';
import type { Turns } from './turns.ts';

export interface StoryOptions extends LabOptions {
  /** The connections; all are opened before the warm-up. */
  readonly flows: readonly FlowOptions[];
  /** Default: none, i.e. plain kernel forwarding. */
  readonly gateway?: boolean | GatewayOptions;
  readonly cut?: CutKind;
  /** A loss that is not the emulated link's; takes the place of `cut`. */
  readonly loss?: Loss;
  /** Called when the network is there, before the gateway starts. */
  readonly prepare?: (lab: Lab) => Promise<Company>;
  /** Length of each outage in seconds; several are several cuts in a row. */
  readonly outages: readonly number[];
  /** Time from link-up to the next cut of several, milliseconds, default 100. */
  readonly betweenMillis?: number;
  /** Order the freeze by command this long after the cut, and the resume at link-up: for cuts that nothing else sees. */
  readonly freezeAfterMillis?: number;
  /** Type a line into each echo connection this long after the (first) cut. */
  readonly typeAfterMillis?: number;
  /** Least warm-up time, milliseconds, default 3000. */
  readonly warmMillis?: number;
  /** How long to wait for recovery, seconds; default 30 and one and a half outages. */
  readonly patienceSeconds?: number;
  /** How long the recovered transfers are followed, milliseconds, default 1500. */
  readonly afterMillis?: number;
  /** Capture on both sides of the gateway and check it; costs processor time. Default false. */
  readonly capture?: boolean;
  /** Shared by stories that are told side by side, see turns.ts. Default: this one has the machine to itself. */
  readonly turns?: Turns;
  /** Called at the turns of the story, to do more than is foreseen here (kill the gateway, ask it for its state). */
  readonly onStage?: (stage: Stage, scene: Scene) => Promise<void> | void;
  /** Called about four times a second with the bytes received so far by each flow: for showing progress. */
  readonly onProgress?: (progress: Progress) => void;
}

/** What a story needs beside its network. */
export interface Company {
  /** The gateway runs now. */
  readonly onGateway?: (gateway: LabGateway) => void;
  readonly dispose: () => Promise<void>;
}

/** Something that is lost and comes back; both say when, in microseconds of CLOCK_MONOTONIC. */
export interface Loss {
  readonly begin: (scene: Scene) => Promise<number>;
  readonly end: (scene: Scene) => Promise<number>;
}

/**
 * `warm`: about to cut. `cut`: just cut. `again`: about to cut once more. `restored`: just restored, after the last cut. `recovered`: before
 * the transfers are ended.
 */
export type Stage = 'warm' | 'cut' | 'again' | 'restored' | 'recovered';

export interface Scene {
  readonly lab: Lab;
  readonly traffic: Traffic;
  readonly flows: readonly Flow[];
  readonly gateway: LabGateway | undefined;
}

export interface Progress {
  readonly phase: 'warming up' | 'link lost' | 'recovering';
  readonly at: number;
  readonly receivedBytes: readonly number[];
}

export interface FlowResult {
  readonly options: FlowOptions;
  /** undefined: still open when the story ended. */
  readonly sent: EndReport | undefined;
  readonly received: EndReport | undefined;
  /** Every byte arrived, unchanged and in order, and both ends closed without an error. */
  readonly intact: boolean;
  readonly timeline: Timeline | undefined;
  readonly recovery: Recovery | undefined;
  /** The sender's socket just before the first cut, at the end of the last outage, and 15 RTT after link-up or later. */
  readonly before: SocketReading | undefined;
  readonly frozen: SocketReading | undefined;
  readonly after: SocketReading | undefined;
  /**
   * What `after.cwnd` is to be compared with, segments: that of `before`; under BBR the lowest of the last second before the cut, because its
   * window moves by itself.
   */
  readonly cwndBefore: number | undefined;
  /** Segments that the sender's kernel retransmitted between `before` and `after`. */
  readonly retransmissions: number | undefined;
  /** The same from the freeze by command on; undefined where none was given. */
  readonly retransmissionsSinceFreeze: number | undefined;
  /** From link-up to the echo of the line that was typed during the outage, milliseconds. */
  readonly echoMillis: number | undefined;
}

export interface StoryResult {
  readonly flows: readonly FlowResult[];
  /** All bulk transfers added up. */
  readonly timeline: Timeline | undefined;
  readonly recovery: Recovery | undefined;
  /** Microseconds of CLOCK_MONOTONIC: the first cut; link-up after the last (of an `admin` cut: operational again). */
  readonly cutAt: number;
  readonly restoredAt: number;
  /** RSTs that each kernel sent by itself during the story. */
  readonly resets: Readonly<Record<'host' | 'gateway' | 'server', number>>;
  /** What tshark found wrong; undefined without a capture. */
  readonly findings: readonly CaptureFinding[] | undefined;
  /** What tshark's analysis sees on both sides; undefined without a capture. */
  readonly signs: Readonly<Record<'lan' | 'wan', CaptureSigns>> | undefined;
  readonly gatewayLog: readonly string[];
  /** What the gateway left behind in the router's configuration, or took away; undefined without one. */
  readonly residue: readonly string[] | undefined;
  /** What the gateway said of itself when the transfers had recovered, before they were ended; undefined without one or when it is gone. */
  readonly status: StatusJson | undefined;
  /** The gateway's counters at the end of the story, before it was stopped. */
  readonly counters: Readonly<Record<string, number>> | undefined;
}
