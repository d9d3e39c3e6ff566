/**
 * Metrics in Prometheus text form: what the worker counts in shared memory, what the engine says of its links and flows, and the
 * process itself. Everything is read when it is asked for; nothing runs in between.
 *
 * Names: `tcpfreeze_` and the Prometheus conventions (base units, `_total` for counters). A counter of `status --json` without a
 * line in COUNTERS appears under its own name in snake case.
 */
import { readdirSync } from 'node:fs';
import {
  Counter,
  Gauge,
  Histogram,
  type MetricObjectWithValues,
  type MetricValueWithName,
  Registry,
} from 'prom-client';
import { COUNTER_NAMES, type CounterName, readCounters } from '../base/counters.ts';
import { type FamilyName, HISTOGRAM_BOUNDS, type HistogramName, readFamily, readHistogram } from '../base/figures.ts';
import { MICROS_PER_SECOND } from '../base/time.ts';
import type { StatusJson } from './api.ts';

/** Where the figures come from; the daemon implements it. */
export interface MetricsSource {
  /** Null while the datapath is being restarted. */
  status(): Promise<StatusJson | null>;
  /** Laid out as base/figures.ts says. */
  figures(): Float64Array;
  /** Events told so far, by `name severity`. */
  eventCounts(): ReadonlyMap<string, number>;
  readonly version: string;
}

interface Named {
  readonly name: string;
  readonly help: string;
  readonly labels?: Readonly<Record<string, string>>;
}

function dispositions(disposition: string): Named {
  return { name: 'packets_handled_total', help: 'Packets by what was done with them', labels: { disposition } };
}

function unparsed(kind: string): Named {
  return { name: 'unparsed_packets_total', help: 'Packets passed on without being looked into', labels: { kind } };
}

function flowChanges(change: string): Named {
  return { name: 'flow_changes_total', help: 'Flows that came, went, or found no room', labels: { change } };
}

function deviceErrors(error: string): Named {
  return { name: 'device_errors_total', help: 'Reads and writes of the TUN device that failed', labels: { error } };
}

/** Counters whose names are better than what their snake case would be; null: a family says the same in more detail. */
const COUNTERS: Readonly<Partial<Record<CounterName, Named | null>>> = {
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
  arenaWraps: { name: 'arena_wraps_total', help: 'Times that the packet ring was filled' },
  turns: { name: 'loop_turns_total', help: 'Turns of the datapath loop' },
  flowsRecalled: flowChanges('recalled'),
  flowsGivenUp: { name: 'flows_given_up_total', help: 'Frozen flows ended because they reached a limit' },
  nearTimeouts: { name: 'near_timeouts_total', help: 'Near endpoints that gave up while they were frozen' },
  nearResets: { name: 'near_resets_total', help: 'Applications that ended their frozen connection' },
  hostFlowsRefused: flowChanges('host-limit'),
  synsParked: { name: 'syns_parked_total', help: 'Handshakes kept until the link is back' },
  synsRefused: { name: 'syns_refused_total', help: 'Handshakes that found no room to be kept' },
  trickles: { name: 'trickles_total', help: 'Windows opened a little against TCP_USER_TIMEOUT' },
  trickledBytes: { name: 'trickled_bytes_total', help: 'Bytes taken into custody that way' },
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

const FAMILY_METRICS: Readonly<Record<FamilyName, { name: string; label: string; help: string }>> = {
  freezes: { name: 'freezes_total', label: 'cause', help: 'Flows frozen, by what held their peer for lost' },
  thaws: { name: 'thaws_total', label: 'cause', help: 'Flows thawed, by what had frozen them' },
  bypasses: { name: 'bypasses_total', label: 'reason', help: 'Flows left alone' },
  drops: { name: 'drops_total', label: 'reason', help: 'Packets dropped by the engine' },
};

const HISTOGRAM_METRICS: Readonly<Record<HistogramName, { name: string; help: string }>> = {
  freezeDuration: { name: 'freeze_duration_seconds', help: 'From the freeze of a flow to its thaw' },
  detectionDelay: { name: 'detection_delay_seconds', help: 'From the first sign of a loss to the verdict' },
  handbackDuration: { name: 'handback_duration_seconds', help: 'From the thaw to the delivery of the last byte' },
  firstByte: { name: 'thaw_to_first_byte_seconds', help: 'From the thaw of a flow until bytes arrive again' },
  turnTime: { name: 'loop_turn_seconds', help: 'One turn of the datapath loop without its sleep' },
};

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** A histogram whose buckets are counted elsewhere: prom-client knows no way to hand over finished ones. */
class SharedHistogram extends Histogram {
  readonly #metric: { readonly name: string; readonly help: string };
  readonly #which: HistogramName;
  readonly #figures: () => Float64Array;

  constructor(which: HistogramName, figures: () => Float64Array, registry: Registry) {
    const { name, help } = HISTOGRAM_METRICS[which];
    const metric = { name: `tcpfreeze_${name}`, help };
    super({ ...metric, registers: [registry] });
    this.#metric = metric;
    this.#which = which;
    this.#figures = figures;
  }

  override get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    const { name, help } = this.#metric;
    const { cumulative, count, sumMicros } = readHistogram(this.#figures(), this.#which);
    const bounds: readonly number[] = HISTOGRAM_BOUNDS[this.#which];
    const values: MetricValueWithName<string>[] = bounds.map((bound, i) => ({
      metricName: `${name}_bucket`,
      labels: { le: bound / MICROS_PER_SECOND },
      value: cumulative[i]!,
    }));
    values.push({ metricName: `${name}_bucket`, labels: { le: '+Inf' }, value: count });
    values.push({ metricName: `${name}_sum`, labels: {}, value: sumMicros / MICROS_PER_SECOND });
    values.push({ metricName: `${name}_count`, labels: {}, value: count });
    // The type says how values of several processes are added up; there is but one.
    return Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values } as never);
  }

  /** What the registry calls for its text. */
  getForPromString(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    return this.get();
  }
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #source: MetricsSource;
  #status: StatusJson | null = null;

  constructor(source: MetricsSource) {
    this.#source = source;
    this.#state();
    this.#counters();
    for (const which of Object.keys(HISTOGRAM_BOUNDS) as HistogramName[])
      new SharedHistogram(which, () => source.figures(), this.#registry);
    this.#process();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics as of now, in Prometheus' text format 0.0.4. */
  async text(): Promise<string> {
    this.#status = await this.#source.status();
    return this.#registry.metrics();
  }

  #gauge(name: string, help: string, labelNames: readonly string[], collect: (gauge: Gauge) => void): void {
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect() {
        this.reset();
        collect(this);
      },
    });
  }

  #counter(name: string, help: string, labelNames: readonly string[], collect: (counter: Counter) => void): void {
    new Counter({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect() {
        this.reset();
        collect(this);
      },
    });
  }

  /** Links, flows, custody: the engine's own words. */
  #state(): void {
    const source = this.#source;
    this.#gauge('tcpfreeze_build_info', 'Version, as a label', ['version'], (gauge) => {
      gauge.set({ version: source.version }, 1);
    });
    this.#gauge('tcpfreeze_datapath_up', '1 while the datapath runs', [], (gauge) => {
      gauge.set(this.#status === null ? 0 : 1);
    });
    this.#counter('tcpfreeze_datapath_restarts_total', 'Times that the datapath was started again', [], (counter) => {
      counter.inc(source.eventCounts().get('datapath-restarted warn') ?? 0);
    });
    this.#gauge('tcpfreeze_link_up', '1 while the link is held for usable', ['link', 'role'], (gauge) => {
      for (const { name, role, state } of this.#status?.links ?? [])
        gauge.set({ link: name, role }, state === 'up' ? 1 : 0);
    });
    const since = 'When the present verdict of the link was reached';
    this.#gauge('tcpfreeze_link_since_timestamp_seconds', since, ['link', 'role'], (gauge) => {
      for (const link of this.#status?.links ?? [])
        gauge.set({ link: link.name, role: link.role }, Date.parse(link.since) / 1_000);
    });
    this.#gauge('tcpfreeze_flows', 'Flows tracked', ['phase', 'class'], (gauge) => {
      for (const [flowClass, counts] of Object.entries(this.#status?.classes ?? {})) {
        for (const [phase, count] of Object.entries(counts)) gauge.set({ phase, class: flowClass }, count);
      }
    });
    this.#gauge('tcpfreeze_custody_bytes', 'Bytes acknowledged and not yet delivered', [], (gauge) => {
      gauge.set(this.#status?.custodyBytes ?? 0);
    });
    this.#counter('tcpfreeze_events_total', 'Events by name', ['event', 'severity'], (counter) => {
      for (const [key, count] of source.eventCounts()) {
        const [event, severity] = key.split(' ');
        counter.inc({ event: event!, severity: severity! }, count);
      }
    });
  }

  #counters(): void {
    const byMetric = new Map<
      string,
      { help: string; parts: { at: CounterName; labels: Readonly<Record<string, string>> }[] }
    >();
    for (const at of COUNTER_NAMES) {
      const known = COUNTERS[at];
      if (known === null) continue;
      const {
        name,
        help,
        labels = {},
      } = known ?? {
        name: `${snakeCase(at)}_total`,
        help: `Counter ${at} of status --json`,
      };
      const entry = byMetric.get(name) ?? { help, parts: [] };
      entry.parts.push({ at, labels });
      byMetric.set(name, entry);
    }
    for (const [name, { help, parts }] of byMetric) {
      this.#counter(`tcpfreeze_${name}`, help, Object.keys(parts[0]!.labels), (counter) => {
        const all = readCounters(this.#source.figures());
        for (const { at, labels } of parts) counter.inc(labels, all[at]);
      });
    }
    for (const [family, { name, label, help }] of Object.entries(FAMILY_METRICS)) {
      this.#counter(`tcpfreeze_${name}`, help, [label], (counter) => {
        const counts = readFamily(this.#source.figures(), family as FamilyName);
        for (const [value, count] of Object.entries(counts)) counter.inc({ [label]: value }, count);
      });
    }
  }

  /** The names that every Prometheus client uses for its own process. */
  #process(): void {
    const started = Date.now() / 1_000 - process.uptime();
    this.#counter('process_cpu_seconds_total', 'Processor time of the process, all threads', [], (counter) => {
      const { user, system } = process.cpuUsage();
      counter.inc((user + system) / MICROS_PER_SECOND);
    });
    this.#gauge('process_resident_memory_bytes', 'Resident memory', [], (gauge) =>
      gauge.set(process.memoryUsage.rss()),
    );
    this.#gauge('process_start_time_seconds', 'Start of the process since 1970', [], (gauge) => gauge.set(started));
    this.#gauge('process_open_fds', 'Open file descriptors', [], (gauge) => gauge.set(openDescriptors()));
    this.#gauge('nodejs_heap_size_used_bytes', 'Heap of the main thread in use', [], (gauge) => {
      gauge.set(process.memoryUsage().heapUsed);
    });
    this.#gauge('nodejs_version_info', 'Version of Node.js', ['version'], (gauge) => {
      gauge.set({ version: process.version }, 1);
    });
  }
}

function openDescriptors(): number {
  try {
    // One of them is the one that lists them.
    return readdirSync('/proc/self/fd').length - 1;
  } catch {
    return 0;
  }
}
