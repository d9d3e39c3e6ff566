/**
 * Journal: what must be on stable storage before it may be acknowledged (theory of operation 3, invariant 1).
 *
 * Purpose.  Custody is a promise in another's name. The gateway may crash while it holds; so bytes are written down first, and
 *           `Custody.durable` says up to where that is done. No ACK beyond it leaves: every ACK in the far peer's name is
 *           `Frozen.shown`, which ends there.
 * Turn.     Whatever changes a held flow marks it. Once per turn the shell takes all marked flows as one batch (`poll`), writes and
 *           syncs it, and reports its number (`synced`). Flows of one loss event are one batch, and so one sync.
 * Records.  The first of a flow holds all of its custody, later ones what was added since. Progress of the handback is not
 *           recorded: the far peer's first ACK tells it to whoever comes after (engine/proof.ts).
 * Size.     When nothing is held any more the file starts anew; when it has grown well beyond what is held, all held flows are
 *           written again to a new one.
 * Failure.  A journal that cannot be written closes the custody budget: what is not yet durable is given back to its sender, and
 *           new losses are met without custody (engine/journalling.ts).
 * References. record.ts for the format; the shell's side is src/journal.
 */
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import { KEY_WORDS } from '../flow/flow.ts';
import type { FlowTable } from '../flow/table.ts';
import { seqDiff, seqMax } from '../wire/seq.ts';
import type { CustodyBudget } from './custody.ts';
import type { Frozen } from './frozen.ts';
import { emptyHead, FRAME_BYTES, type HeldHead, STATE_BYTES_MAX, writeEnded, writeHeld } from './record.ts';

/** Written beyond what is held before everything is written anew (bytes). */
const SLACK_BYTES = 32 * 2 ** 20;
/** How long a flow that was given back is kept in the journal: longer than its first round trips. */
const LINGER: Micros = 3_000_000;
/** Room of one `RECORD_ENDED`. */
const ENDED_BYTES = FRAME_BYTES + 16;

/** One write to the journal. */
export interface JournalBatch {
  /** Counts up; `synced` takes it back. */
  readonly number: number;
  /** Framed records, their checksums still 0, in the first `length` bytes. */
  readonly buffer: ArrayBuffer;
  readonly length: number;
  /** Custody waits for it: write it through to the disk at once. */
  readonly urgent: boolean;
  /** It says everything: what was written before is void. */
  readonly fresh: boolean;
}

interface Pending {
  readonly batch: number;
  readonly flow: Flow;
  readonly frozen: Frozen;
  readonly end: number;
}

export class Journal {
  readonly #table: FlowTable;
  readonly #budget: CustodyBudget;
  readonly #portNames: readonly string[];
  readonly #head = emptyHead();
  /** Flows with something to write, each once. */
  #marked: Flow[] = [];
  #ended: number[] = [];
  #lingering: { readonly id: number; readonly until: Micros }[] = [];
  #pending: Pending[] = [];
  #number = 0;
  #nextId = 1;
  /** Held flows that the journal knows. */
  #live = 0;
  #written = 0;
  #wantsFresh = false;
  /** Writing failed, and has not succeeded since. */
  isBroken = false;

  /** @param portNames interface names by port */
  constructor(table: FlowTable, budget: CustodyBudget, portNames: readonly string[]) {
    this.#table = table;
    this.#budget = budget;
    this.#portNames = portNames;
  }

  get isOff(): boolean {
    return !this.#budget.journalled;
  }

  /** The held state of `flow` has changed in a way that a later process has to know. */
  mark(flow: Flow): void {
    const frozen = flow.frozen as Frozen | null;
    if (frozen === null || frozen.isMarked || this.isOff || this.isBroken) return;
    frozen.isMarked = true;
    this.#marked.push(flow);
  }

  /**
   * The flow is no longer held: what the journal says of `frozen` is void.
   * @param since when it was given back. A process that dies just then may have taken the news with it: its successor takes the
   *   flow up once more, hears that everything has arrived, and opens the sender's window again. NEVER: it ended
   */
  ended(frozen: Frozen, since: Micros): void {
    frozen.isMarked = false;
    if (frozen.journalId === 0) return;
    this.#lingering.push({ id: frozen.journalId, until: since === NEVER ? 0 : since + LINGER });
    frozen.journalId = 0;
  }

  /** Voids the records of flows that were given back long enough ago. */
  #expire(now: Micros): void {
    if (this.#lingering.length === 0) return;
    const before = this.#lingering.length;
    for (const { id, until } of this.#lingering) if (until <= now) this.#ended.push(id);
    this.#lingering = this.#lingering.filter(({ until }) => until > now);
    this.#live -= before - this.#lingering.length;
  }

  /** A flow was restored from the journal under `id`, of which everything is durable. */
  adopt(frozen: Frozen, id: number): void {
    frozen.journalId = id;
    frozen.journalledTo = frozen.custody.end;
    frozen.custody.sync(frozen.custody.end);
    this.#live++;
    if (id >= this.#nextId) this.#nextId = id + 1;
  }

  /** What was restored has to be written anew, together with what comes: the old file may hold more than is left. */
  startFresh(): void {
    this.#wantsFresh = true;
  }

  /** The next batch, or null when there is nothing to write. */
  poll(now: Micros): JournalBatch | null {
    this.#expire(now);
    if (this.isBroken || (this.#marked.length === 0 && this.#ended.length === 0 && !this.#wantsFresh)) return null;
    if (this.#live === 0 && this.#marked.length === 0) return this.#restart();
    if (this.#written > 2 * this.#budget.used + SLACK_BYTES) this.#wantsFresh = true;
    if (this.#wantsFresh) this.#markAll();
    let room = this.#ended.length * ENDED_BYTES;
    for (const flow of this.#marked) room += STATE_BYTES_MAX + this.#unwritten(flow);
    const buffer = new ArrayBuffer(room);
    const bytes = new Uint8Array(buffer);
    const view = new DataView(buffer);
    const number = ++this.#number;
    let at = 0;
    let urgent = false;
    if (!this.#wantsFresh) for (const id of this.#ended) at = writeEnded(view, at, id);
    for (const flow of this.#marked) {
      const frozen = flow.frozen as Frozen | null;
      // It has ended meanwhile, and may have begun anew: then it is in the list twice.
      if (frozen === null || !frozen.isMarked) continue;
      frozen.isMarked = false;
      const { custody } = frozen;
      if (frozen.journalId === 0) {
        frozen.journalId = this.#nextId++;
        frozen.journalledTo = custody.base;
        this.#live++;
      }
      const from = this.#wantsFresh ? custody.base : seqMax(frozen.journalledTo, custody.base);
      at = writeHeld(view, bytes, at, this.#describe(flow, frozen.journalId), flow, frozen, clampTo(from, frozen));
      frozen.journalledTo = custody.end;
      if (custody.durable === custody.end) continue;
      urgent = true;
      this.#pending.push({ batch: number, flow, frozen, end: custody.end });
    }
    const fresh = this.#wantsFresh;
    // Of what lingers nothing is left that could be written anew.
    if (fresh) this.#live -= this.#lingering.splice(0).length;
    this.#finish(fresh ? at : this.#written + at);
    return { number, buffer, length: at, urgent, fresh };
  }

  /** Nothing is held: the file begins anew. */
  #restart(): JournalBatch {
    this.#finish(0);
    return { number: ++this.#number, buffer: new ArrayBuffer(0), length: 0, urgent: false, fresh: true };
  }

  #finish(written: number): void {
    this.#marked = [];
    this.#ended = [];
    this.#wantsFresh = false;
    this.#written = written;
  }

  #markAll(): void {
    for (const flow of this.#marked) {
      const frozen = flow.frozen as Frozen | null;
      if (frozen !== null) frozen.isMarked = false;
    }
    this.#marked = [];
    this.#table.forEach((flow) => {
      const frozen = flow.frozen as Frozen | null;
      if (frozen === null || !frozen.isHeld) return;
      frozen.isMarked = true;
      this.#marked.push(flow);
    });
  }

  #unwritten(flow: Flow): number {
    const frozen = flow.frozen as Frozen | null;
    if (frozen === null) return 0;
    const { custody } = frozen;
    if (frozen.journalId === 0 || this.#wantsFresh) return custody.length;
    return Math.max(0, seqDiff(custody.dataEnd, seqMax(frozen.journalledTo, custody.base)));
  }

  #describe(flow: Flow, id: number): HeldHead {
    const head = this.#head;
    const at = flow.index * KEY_WORDS;
    head.id = id;
    head.near = flow.near;
    head.frozenSince = flow.frozenSince;
    head.lastSeenAt = flow.lastSeenAt;
    for (let i = 0; i < KEY_WORDS; i++) head.key[i] = this.#table.keys[at + i]!;
    head.ports[0] = this.#portNames[flow.halves[0].port] ?? '';
    head.ports[1] = this.#portNames[flow.halves[1].port] ?? '';
    return head;
  }

  /**
   * All batches up to `number` are on stable storage.
   * @param onDurable gets each flow, with the state that was written, of which more is durable now
   */
  synced(number: number, onDurable: (flow: Flow, frozen: Frozen) => void): void {
    let count = 0;
    while (count < this.#pending.length && this.#pending[count]!.batch <= number) count++;
    const done = this.#pending.splice(0, count);
    for (const { flow, frozen, end } of done) {
      if (flow.frozen !== frozen) continue;
      frozen.custody.sync(end);
      onDurable(flow, frozen);
    }
  }

  /** Writing has failed: nothing more becomes durable until `mend`. */
  fail(): void {
    this.isBroken = true;
    this.#live -= this.#lingering.length;
    this.#lingering = [];
    this.#budget.closed = true;
    this.#pending = [];
    for (const flow of this.#marked) {
      const frozen = flow.frozen as Frozen | null;
      if (frozen !== null) frozen.isMarked = false;
    }
    this.#marked = [];
  }

  /** Writing works again: everything that is held is written anew. */
  mend(): void {
    this.isBroken = false;
    this.#budget.closed = false;
    this.#wantsFresh = true;
  }
}

/** A FIN is no byte: what is written next begins at most at the end of the data. */
function clampTo(from: number, frozen: Frozen): number {
  const { dataEnd } = frozen.custody;
  return seqDiff(from, dataEnd) > 0 ? dataEnd : from;
}
