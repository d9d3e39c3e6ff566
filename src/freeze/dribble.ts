/**
 * Dribble: keeping a frozen sender from looking idle.
 *
 * A Linux sender whose window opens after more than one RTO without anything in flight restarts from the initial window
 * (RFC 5681 4.1; tcp_slow_start_after_idle_check in tcp_ack_update_window, which asks for packets_out == 0). Measured here
 * on Linux 6.18 with CUBIC: everything acknowledged at the loss, window opened after 5 s: cwnd 669 -> 10.
 * So custody is not shown at once. Segments in custody are acknowledged one by one, each before the sender's loss probe
 * or RTO would fire: the sender sees a very slow path, keeps its congestion window, and has data in flight when the
 * window opens. Each such ACK is also a round-trip sample as old as the outage, so the sender's timers grow with it and
 * the ACKs can come ever more slowly: about 18 for 10 s, 25 for a minute. When they are used up, the rest is
 * acknowledged and the sender waits in persist state.
 *
 * Model of the sender (tcp_rtt_estimator, tcp_schedule_loss_probe): srtt moves an eighth of the way to each sample, the loss
 * probe fires two srtt after the last ACK. The dribble acts after one.
 */
import { type Micros, NEVER } from '../base/time.ts';
import { seqDiff, seqGe } from '../wire/seq.ts';
import type { Frozen } from './frozen.ts';

/** With fewer segments in flight there is no congestion window worth keeping. */
export const MIN_SEGMENTS = 4;
/**
 * Segments kept back for the dribble; the others are acknowledged at once. Acknowledging hundreds together with the
 * opening window would let CUBIC, whose clock ran on during the outage, grow beyond what the path takes (measured: 645 ->
 * 771 after 5 s, then 76 losses).
 */
export const KEPT_SEGMENTS = 48;
/** Shortest interval; below that a sender's timer granularity protects it anyway. */
const INTERVAL_MIN: Micros = 4_000;
/** Linux's largest RTO (TCP_RTO_MAX) with a margin. */
const INTERVAL_MAX: Micros = 50_000_000;
/** Our estimate of the sender's srtt may be high; a lower one only costs an ACK more. */
const CAUTION = 0.75;

/**
 * Begins to dribble if it is worth it. Call when custody has just become complete.
 * @param una what the far peer itself has acknowledged
 * @param segment payload bytes of one wire segment
 * @param srtt smoothed round trip seen at the gateway, 0 when unknown
 */
export function beginDribble(frozen: Frozen, una: number, segment: number, srtt: Micros, now: Micros): void {
  const end = frozen.custody.end;
  frozen.dribbleAt = NEVER;
  if (srtt === 0 || segment === 0 || seqDiff(end, una) < MIN_SEGMENTS * segment) {
    frozen.shown = end;
    return;
  }
  const kept = Math.min(KEPT_SEGMENTS, Math.floor(seqDiff(end, una) / segment) - 1);
  frozen.shown = (end - kept * segment) | 0;
  startDribble(frozen, srtt, now);
}

/**
 * Sets `dribbleAt` for the first segment after those that have just been shown.
 * @param srtt smoothed round trip seen at the gateway
 */
export function startDribble(frozen: Frozen, srtt: Micros, now: Micros): void {
  frozen.modelSrtt = srtt * CAUTION;
  frozen.flightSentAt = now - srtt;
  schedule(frozen, now);
}

/**
 * Shows one more segment. Call when `dribbleAt` is due.
 * @returns whether this was the last
 */
export function dribble(frozen: Frozen, segment: number, now: Micros): boolean {
  frozen.shown = (frozen.shown + segment) | 0;
  frozen.dribbled = true;
  if (seqGe(frozen.shown, frozen.custody.end)) {
    endDribble(frozen);
    return true;
  }
  schedule(frozen, now);
  return false;
}

/** Shows everything: the dribble is over. */
export function endDribble(frozen: Frozen): void {
  frozen.shown = frozen.custody.end;
  frozen.dribbleAt = NEVER;
}

function schedule(frozen: Frozen, now: Micros): void {
  const sample = now - frozen.flightSentAt;
  frozen.modelSrtt += (sample * CAUTION - frozen.modelSrtt) / 8;
  frozen.dribbleAt = now + Math.min(INTERVAL_MAX, Math.max(INTERVAL_MIN, frozen.modelSrtt));
}
