/**
 * What a replay has seen: packets by fate, the flows that the gateway touched, and what can be said about what would have become of
 * them. Only what the capture shows is claimed.
 */
import type { Micros } from '../base/time.ts';
import type { FlowSnapshot } from '../engine/commands.ts';
import type { Note } from '../flow/note.ts';
import { FROZEN, HANDBACK, PHASE_NAMES } from '../flow/phase.ts';

/** Flows that are told one by one; the others are counted. */
const MAX_TOLD = 1_000;

export interface PhaseChange {
  readonly at: Micros;
  readonly phase: string;
}

export interface TouchedFlow {
  readonly id: string;
  readonly originator: string;
  readonly responder: string;
  /** Who was held when last held; null: nobody. */
  near: 'originator' | 'responder' | null;
  readonly phases: PhaseChange[];
  /** Packets of it by fate, and packets made for it. */
  held: number;
  dropped: number;
  changed: number;
  made: number;
  /** Most bytes that were in custody. */
  custodyBytes: number;
  /** Bytes that were in custody when the loss had been dealt with: in flight at the loss. */
  inFlight: number;
  /** The held endpoint reset the connection in the recording, while it was held here. */
  resetAt: Micros | null;
}

export class ReplayRecord {
  readonly packets = {
    read: 0,
    notIp: 0,
    tooLarge: 0,
    truncated: 0,
    forwarded: 0,
    changed: 0,
    held: 0,
    dropped: 0,
    made: 0,
    lost: 0,
  };
  readonly #flows: () => readonly FlowSnapshot[];
  /** The flows when one that is not told of yet was last looked for; by identifier. */
  #index = new Map<string, FlowSnapshot>();
  /** Of frames as captured. */
  bytes = 0;
  readonly flows = new Map<string, TouchedFlow>();
  untold = 0;
  /** Flows of the engine at the end, by phase. */
  readonly atEnd: Record<string, number> = {};
  duration: Micros = 0;
  /** Events of the script, with the number of flows known at that time. */
  readonly losses: { readonly at: Micros; readonly text: string; readonly isLoss: boolean; readonly flows: number }[] =
    [];

  /** @param flows all flows of the engine as they are now */
  constructor(flows: () => readonly FlowSnapshot[]) {
    this.#flows = flows;
  }

  /** @param note of the packet, settled */
  touch(note: Note, what: 'held' | 'dropped' | 'changed' | 'made', now: Micros): void {
    const told = this.#toldOf(note, now);
    if (told !== null) told[what]++;
  }

  onLoss(flows: readonly FlowSnapshot[], text: string, isLoss: boolean, now: Micros): void {
    this.losses.push({ at: now, text, isLoss, flows: flows.length });
  }

  /** After the engine dealt with a loss or a return. */
  onSettled(flows: readonly FlowSnapshot[], now: Micros): void {
    for (const flow of flows) {
      if (flow.near === null && !this.flows.has(flow.id)) continue;
      const told = this.#told(flow, now);
      if (told !== null && flow.phase === 'frozen') told.inFlight = Math.max(told.inFlight, flow.custodyBytes);
    }
  }

  onHeldReset(note: Note, now: Micros): void {
    const told = this.#toldOf(note, now);
    if (told !== null) told.resetAt ??= now;
  }

  end(flows: readonly FlowSnapshot[], duration: Micros): void {
    this.duration = duration;
    for (const flow of flows) {
      this.atEnd[flow.phase] = (this.atEnd[flow.phase] ?? 0) + 1;
      if (this.flows.has(flow.id)) this.#told(flow, duration);
    }
  }

  #toldOf({ flow, phase, custodyBytes }: Note, now: Micros): TouchedFlow | null {
    if (flow === null) return null;
    const { id } = flow;
    const told = this.flows.get(id);
    if (told === undefined) {
      if (this.flows.size >= MAX_TOLD) {
        this.untold++;
        return null;
      }
      // One list serves all flows that one loss concerns.
      if (!this.#index.has(id)) this.#index = new Map(this.#flows().map((one) => [one.id, one]));
      const snapshot = this.#index.get(id);
      if (snapshot === undefined) return null;
      const near = phase === FROZEN || phase === HANDBACK ? roleOf(flow.near) : null;
      return this.#told({ ...snapshot, phase: PHASE_NAMES[phase]!, near, custodyBytes }, now);
    }
    if (phase === FROZEN || phase === HANDBACK) told.near = roleOf(flow.near);
    this.#update(told, PHASE_NAMES[phase]!, custodyBytes, now);
    return told;
  }

  #update(told: TouchedFlow, phase: string, custodyBytes: number, now: Micros): void {
    if (told.phases.at(-1)?.phase !== phase) told.phases.push({ at: now, phase });
    told.custodyBytes = Math.max(told.custodyBytes, custodyBytes);
  }

  #told(flow: FlowSnapshot, now: Micros): TouchedFlow | null {
    let told = this.flows.get(flow.id);
    if (told === undefined) {
      if (this.flows.size >= MAX_TOLD) {
        this.untold++;
        return null;
      }
      const { id, originator, responder } = flow;
      told = {
        id,
        originator,
        responder,
        near: null,
        phases: [],
        held: 0,
        dropped: 0,
        changed: 0,
        made: 0,
        custodyBytes: 0,
        inFlight: 0,
        resetAt: null,
      };
      this.flows.set(id, told);
    }
    if (flow.near !== null) told.near = flow.near;
    this.#update(told, flow.phase, flow.custodyBytes, now);
    return told;
  }
}

function roleOf(half: 0 | 1): 'originator' | 'responder' {
  return half === 0 ? 'originator' : 'responder';
}
