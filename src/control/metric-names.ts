/**
 * What the metrics are called and what they mean. Names follow the Prometheus conventions (base units, `_total` for counters); a
 * counter of `status --json` that is not in COUNTERS appears under its own name in snake case.
 */
import type { CounterName } from '../base/counters.ts';
import type { FamilyName, HistogramName } from '../base/figures.ts';

export interface Named {
  readonly name: string;
  readonly help: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** One metric for several counters, told apart by the value of a label. */
function labelled(name: string, help: string, label: string): (value: string) => Named {
  return (value) => ({ name, help, labels: { [label]: value } });
}

const dispositions = labelled('packets_handled_total', 'Packets by what was done with them', 'disposition');
const unparsed = labelled('unparsed_packets_total', 'Packets passed on without being looked into', 'kind');
const flowChanges = labelled('flow_changes_total', 'Flows that came, went, or found no room', 'change');
const deviceErrors = labelled('device_errors_total', 'Reads and writes of the TUN device that failed', 'error');

/** Counters whose names are better than what their snake case would be; null: a family says the same in more detail. */
export const COUNTERS: Readonly<Partial<Record<CounterName, Named | null>>> = {
  packets: { name: 'packets_total', help: 'Packets read from the TUN device' },
  bytes: { name: 'bytes_total', help: 'Bytes read from the TUN device' },
  forwarded: dispositions('forwarded'),
  dropped: dispositions('dropped'),
  consumed: dispositions('consumed'),
  malformed: unparsed('malformed'),
  notTcp: unparsed('not-tcp'),
  fragments: unparsed('fragment'),
  transmits: { name: 'made_packets_total', help: 'Packets made by the gateway' },
  transmitBytes: { name: 'made_bytes_total', help: 'Bytes of packets made by the gateway' },
  flowsCreated: flowChanges('created'),
  flowsExpired: flowChanges('expired'),
  flowsRefused: flowChanges('refused'),
  flowsBypassed: null,
  flowsGivenUp: flowChanges('given-up'),
  nearTimeouts: flowChanges('near-timed-out'),
  nearResets: flowChanges('near-reset'),
  hostFlowsRefused: flowChanges('host-refused'),
  newcomersDeferred: {
    name: 'newcomers_deferred_total',
    help: 'First segments of new connections that were not tracked: a flood',
  },
  synsParked: { name: 'syns_parked_total', help: 'SYNs kept for a lost link' },
  synsRefused: { name: 'syns_refused_total', help: 'SYNs towards a lost link that found no place' },
  trickles: { name: 'trickles_total', help: 'Windows opened a little against user timeouts' },
  trickledBytes: { name: 'trickled_bytes_total', help: 'Bytes taken into custody by the trickle' },
  recuts: { name: 'recuts_total', help: 'Deliveries cut anew because the path takes smaller packets' },
  freezes: null,
  thaws: null,
  zeroWindowAcks: { name: 'zero_window_acks_total', help: 'Windows closed without custody' },
  probesAnswered: { name: 'probes_answered_total', help: 'Window probes and keepalives answered for a far peer' },
  custodyAcks: { name: 'custody_acks_total', help: 'ACKs for bytes taken into custody' },
  custodyBytesTaken: { name: 'custody_taken_bytes_total', help: 'Bytes taken into custody' },
  custodyRefused: { name: 'custody_refused_total', help: 'Freezes without custody: it was denied or did not fit' },
  replayedBytes: { name: 'replayed_bytes_total', help: 'Bytes of custody sent to far peers' },
  retransmittedBytes: { name: 'retransmitted_bytes_total', help: 'Bytes of custody sent again' },
  handbacks: { name: 'handbacks_total', help: 'Flows whose custody was delivered completely' },
  undeliverableBytes: { name: 'undeliverable_bytes_total', help: 'Bytes acknowledged that could not be delivered' },
  refreshes: { name: 'refreshes_total', help: 'Unsolicited ACKs that keep frozen senders waiting' },
  icmpToNear: { name: 'near_unreachables_total', help: 'ICMP unreachable sent to near endpoints without custody' },
  headReplays: { name: 'head_replays_total', help: 'Head segments and SYNs sent on after a return' },
  wakeups: { name: 'wakeups_total', help: 'ICMP messages sent to wake far senders (RFC 6069)' },
  wakeupsAnswered: { name: 'wakeups_answered_total', help: 'Far senders that sent data while being woken' },
  lateFromFar: { name: 'late_from_far_total', help: 'Segments from beyond a loss' },
  absorbed: { name: 'absorbed_packets_total', help: 'Packets of held flows that say nothing new' },
  outOfWindow: { name: 'out_of_window_packets_total', help: 'Segments that cannot belong to their connection' },
  unsound: { name: 'unsound_packets_total', help: 'Segments with a wrong checksum that nothing is done upon' },
  arenaWraps: { name: 'arena_wraps_total', help: 'Times that the packet ring was filled' },
  turns: { name: 'loop_turns_total', help: 'Turns of the datapath loop' },
  flowsRecalled: flowChanges('recalled'),
  journalBatches: { name: 'journal_batches_total', help: 'Writes of the journal, each with its fsync' },
  journalBytes: { name: 'journal_written_bytes_total', help: 'Bytes written to the journal' },
  icmpHeard: { name: 'icmp_heard_total', help: 'ICMP errors seen on the links' },
  dhcpHeard: { name: 'dhcp_heard_total', help: 'DHCP messages that say something of a lease' },
  tapPauses: { name: 'tap_pauses_total', help: 'Times that a flood made a packet tap pause' },
  echoRequests: { name: 'echo_requests_total', help: 'Echo requests sent to find out about a link' },
  echoReplies: { name: 'echo_replies_total', help: 'Echo requests that were answered' },
  captured: { name: 'captured_packets_total', help: 'Packets handed to the running capture' },
  captureDropped: { name: 'capture_dropped_packets_total', help: 'Packets that the capture had no room for' },
  readErrors: deviceErrors('read'),
  writeErrors: deviceErrors('write'),
  writeDropped: deviceErrors('no-room'),
};

export const FAMILY_METRICS: Readonly<Record<FamilyName, { name: string; label: string; help: string }>> = {
  freezes: { name: 'freezes_total', label: 'cause', help: 'Flows frozen, by what held their peer for lost' },
  thaws: { name: 'thaws_total', label: 'cause', help: 'Flows thawed, by what had frozen them' },
  bypasses: { name: 'bypasses_total', label: 'reason', help: 'Flows left alone' },
  drops: { name: 'drops_total', label: 'reason', help: 'Packets dropped by the engine' },
};

export const HISTOGRAM_METRICS: Readonly<Record<HistogramName, { name: string; help: string }>> = {
  freezeDuration: { name: 'freeze_duration_seconds', help: 'From the freeze of a flow to its thaw' },
  detectionDelay: { name: 'detection_delay_seconds', help: 'From the first sign of a loss to the verdict' },
  handbackDuration: { name: 'handback_duration_seconds', help: 'From the thaw to the delivery of the last byte' },
  firstByte: { name: 'thaw_to_first_byte_seconds', help: 'From the thaw of a flow until bytes arrive again' },
  turnTime: { name: 'loop_turn_seconds', help: 'One turn of the datapath loop without its sleep' },
};

/** The name of a counter that has none of its own. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
