/** What the parts of freeze/ share: the memory they work in and the few things they ask of the engine. */
import type { EventName } from '../base/event-table.ts';
import type { Micros } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Note } from '../flow/note.ts';
import type { FlowTable } from '../flow/table.ts';
import type { Arena } from './arena.ts';
import type { CustodyBudget } from './custody.ts';
import type { Journal } from './journal.ts';
import type { Pacer } from './pacer.ts';
import type { Parking } from './parking.ts';
import type { Synthesizer } from './synthesis.ts';
import type { Suspects } from './trickle.ts';

/** For how long a flow may stay frozen, and who says so. */
export interface Limit {
  /** NEVER: no limit. */
  readonly micros: Micros;
  readonly by: 'rule' | 'link' | 'originator' | 'responder' | null;
}

export interface FreezeContext {
  readonly table: FlowTable;
  readonly arena: Arena;
  readonly budget: CustodyBudget;
  readonly journal: Journal;
  readonly synthesizer: Synthesizer;
  readonly counters: Float64Array;
  /** What is being done with the packet at hand. */
  readonly note: Note;
  /** Pacer of the link behind port `port`; port -1 has one too. */
  pacerOf(port: number): Pacer;
  /** Whether the packet read to the arena at `offset` has right checksums; its bytes may then be vouched for. */
  isSound(offset: number, length: number): boolean;
  /** MTU of the interface behind port `port`. */
  mtuOf(port: number): number;
  /** Whether writing towards this endpoint makes sense now: its link carries packets, whatever a command says of it. */
  isReachable(flow: Flow, half: 0 | 1): boolean;
  /** A flow restored from the journal cannot be given back: forgets it and what it holds. */
  abandon(flow: Flow, why: string, now: Micros): void;
  /** The flow's timers changed; the engine asks `Freezer.deadlineOf`. */
  reschedule(flow: Flow): void;
  readonly suspects: Suspects;
  readonly parking: Parking;
  /** How long the flow, which is being frozen, may stay so. */
  limitOf(flow: Flow): Limit;
  /** Makes room for `bytes` of custody at the cost of flows that are worth less, if there are any. */
  relieve(flow: Flow, bytes: number, now: Micros): void;
  /** The flow's time is over. @param why in words */
  giveUp(flow: Flow, why: string, now: Micros): void;
  /** Custody was sent towards half `far`; `isRepeat`: not for the first time. */
  onReplayed(flow: Flow, far: 0 | 1, isRepeat: boolean, now: Micros): void;
  /** Something worth telling about one flow. */
  report(name: EventName, flow: Flow, message: string, figures: Readonly<Record<string, number>>, now: Micros): void;
}
