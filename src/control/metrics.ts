/**
 * Metrics in Prometheus text form: what the worker counts in shared memory, what the engine says of its links and flows, and the
 * process itself. Everything is read when it is asked for; nothing runs in between.
 *
 * Names are in metric-names.ts.
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
import { COUNTERS, FAMILY_METRICS, HISTOGRAM_METRICS, snakeCase } from './metric-names.ts';

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
    new Gauge(this.#collected(name, help, labelNames, collect));
  }

  #counter(name: string, help: string, labelNames: readonly string[], collect: (counter: Counter) => void): void {
    new Counter(this.#collected(name, help, labelNames, collect));
  }

  /** A metric without a memory: whenever it is asked for, it is filled anew. */
  #collected<M extends Gauge | Counter>(
    name: string,
    help: string,
    labelNames: readonly string[],
    collect: (metric: M) => void,
  ) {
    return {
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect(this: M) {
        this.reset();
        collect(this);
      },
    };
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
