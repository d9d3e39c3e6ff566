/**
 * The demo proper: one story played twice, plain and with the gateway, in namespaces that demo-isolation.ts has made. Ends
 * when the process that started it does.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { TcpfreezeError } from '../base/errors.ts';
import { chooseCongestion } from './congestion.ts';
import { mountPrivate } from './demo-isolation.ts';
import { ProgressLine } from './demo-progress.ts';
import { DEMO_FLOWS, type DemoResult, demoJson, demoText } from './demo-report.ts';
import { STANDARD_LINK } from './link-handle.ts';
import { onLabExit } from './registry.ts';
import { runStory } from './scenario.ts';
import type { StoryResult } from './story.ts';

/** The program's argument, as JSON. */
export interface DemoArguments {
  /** Seconds. */
  readonly outage: number;
  readonly json: boolean;
  /** The network namespace is the demo's own. */
  readonly ownNetwork: boolean;
}

const OWN_CONGESTION = '/proc/sys/net/ipv4/tcp_congestion_control';

/**
 * CUBIC where it may be chosen, as Linux does unless told otherwise; else what this machine has.
 * @param ownNetwork it may be tried out in this very namespace
 */
async function pickCongestion(ownNetwork: boolean): Promise<string> {
  if (!ownNetwork) return chooseCongestion('cubic');
  try {
    writeFileSync(OWN_CONGESTION, 'cubic');
  } catch {
    // Not on the machine's list for namespaces, and only its owner may put it there.
  }
  return readFileSync(OWN_CONGESTION, 'utf8').trim();
}

async function play({ outage, ownNetwork }: DemoArguments, progress: ProgressLine): Promise<DemoResult> {
  const congestion = await pickCongestion(ownNetwork);
  const run = async (gateway: boolean): Promise<StoryResult> => {
    progress.begin(gateway ? 'with tcpfreeze' : 'plain routing');
    const result = await runStory({
      topology: 'router',
      congestion,
      flows: DEMO_FLOWS,
      gateway,
      cut: 'carrier',
      outages: [outage],
      typeAfterMillis: (outage * 1000) / 2,
      onProgress: (one) => progress.update(one),
    });
    progress.end();
    return result;
  };
  const plain = await run(false);
  return { outageSeconds: outage, congestion, link: STANDARD_LINK, plain, gateway: await run(true) };
}

async function main(): Promise<number> {
  const options = JSON.parse(process.argv[2] ?? '{}') as DemoArguments;
  const progress = new ProgressLine(process.stderr, DEMO_FLOWS);
  try {
    await mountPrivate();
    onLabExit(() => progress.end());
    const result = await play(options, progress);
    const text = options.json ? JSON.stringify(demoJson(result), undefined, 2) : demoText(result).join('\n');
    await new Promise((resolve) => process.stdout.write(`${text}\n`, resolve));
    return 0;
  } catch (error) {
    progress.end();
    const line = error instanceof TcpfreezeError ? error.line() : error instanceof Error ? error.stack : String(error);
    process.stderr.write(`tcpfreeze: ${line}\n`);
    return 1;
  }
}

// As the first process of its namespace it would not die of a signal without a handler; exit handlers remove the network.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));
process.on('disconnect', () => process.exit(130));

// Not by an empty event loop: the channel to the process that started this one keeps it busy.
process.exit(await main());
