/**
 * What a replay has seen: packets by fate, the flows that the gateway touched, and what can be said about what would have become of
 * them. Only what the capture shows is claimed.
 */
import type { Micros } from '../base/time.ts';
import type { FlowSnapshot } from '../engine/commands.ts';
import { formatEndpoint } from '../wire/address.ts';
import { IcmpError } from '../wire/icmp.ts';
import type { Packet } from '../wire/packet.ts';

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
  readonly #error = new IcmpError();
  /** Flows by their endpoints, of the snapshot that was searched last. */
  #index = new Map<string, FlowSnapshot>();
  #indexed: readonly FlowSnapshot[] | null = null;
  /** Of frames as captured. */
  bytes = 0;
  readonly flows = new Map<string, TouchedFlow>();
  untold = 0;
  /** Some comments rest on a snapshot that was not quite new. */
  isApproximate = false;
  /** Flows of the engine at the end, by phase. */
  readonly atEnd: Record<string, number> = {};
  duration: Micros = 0;
  /** Events of the script, with the number of flows known at that time. */
  readonly losses: { readonly at: Micros; readonly text: string; readonly isLoss: boolean; readonly flows: number }[] =
    [];

  /** The snapshot that a segment or an ICMP error belongs to, and whether it goes to the originator. */
  find(flows: readonly FlowSnapshot[], packet: Packet): readonly [FlowSnapshot | null, boolean] {
    const { view, family } = packet;
    const error = this.#error;
    const isTcp = packet.tcpAt >= 0;
    if (!isTcp && !error.parse(view, packet.payloadAt, packet.end, family)) return [null, false];
    // The gateway's ICMP errors quote a segment of their addressee.
    const from = isTcp
      ? formatEndpoint(view, packet.srcAt, family, packet.srcPort)
      : formatEndpoint(view, error.dstAt, family, error.dstPort);
    const to = isTcp
      ? formatEndpoint(view, packet.dstAt, family, packet.dstPort)
      : formatEndpoint(view, error.srcAt, family, error.srcPort);
    if (this.#indexed !== flows) {
      this.#index = new Map(flows.map((flow) => [`${flow.originator}>${flow.responder}`, flow]));
      this.#indexed = flows;
    }
    const forth = this.#index.get(`${from}>${to}`);
    if (forth !== undefined) return [forth, false];
    const back = this.#index.get(`${to}>${from}`);
    return back === undefined ? [null, false] : [back, true];
  }

  /** Who is or was held; a flow is no longer said to be held when the packets that release it leave. */
  nearOf(flow: FlowSnapshot | null): 'originator' | 'responder' | null {
    if (flow === null) return null;
    return flow.near ?? this.flows.get(flow.id)?.near ?? null;
  }

  touch(flow: FlowSnapshot | null, what: 'held' | 'dropped' | 'changed' | 'made', now: Micros): void {
    const told = this.#told(flow, now);
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

  onHeldReset(flow: FlowSnapshot | null, now: Micros): void {
    const told = this.#told(flow, now);
    if (told !== null) told.resetAt ??= now;
  }

  end(flows: readonly FlowSnapshot[], duration: Micros): void {
    this.duration = duration;
    for (const flow of flows) {
      this.atEnd[flow.phase] = (this.atEnd[flow.phase] ?? 0) + 1;
      if (this.flows.has(flow.id)) this.#told(flow, duration);
    }
  }

  #told(flow: FlowSnapshot | null, now: Micros): TouchedFlow | null {
    if (flow === null) return null;
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
    if (told.phases.at(-1)?.phase !== flow.phase) told.phases.push({ at: now, phase: flow.phase });
    told.custodyBytes = Math.max(told.custodyBytes, flow.custodyBytes);
    return told;
  }
}
