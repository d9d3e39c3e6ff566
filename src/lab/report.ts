/** The same story twice, plain and with the gateway, and what to say about it. */
import type { Recovery } from './recovery.ts';
import { runStory, type StoryOptions, type StoryResult } from './scenario.ts';

export interface Comparison {
  readonly plain: StoryResult;
  readonly gateway: StoryResult;
}

/** Plays a story without the gateway, which shows what the peers do by themselves, then with it. @throws as runStory */
export async function runBoth(options: StoryOptions): Promise<Comparison> {
  const plain = await runStory({ ...options, gateway: false });
  const gateway = await runStory({ ...options, gateway: options.gateway || true });
  return { plain, gateway };
}

/** Two lines for the log of a test or a benchmark. @param name the story in a few words */
export function describeComparison(name: string, { plain, gateway }: Comparison): string[] {
  return [`${name}, plain:   ${describeStory(plain)}`, `${name}, gateway: ${describeStory(gateway)}`];
}

/** One line: when the data came back, and what it cost the senders. */
export function describeStory(result: StoryResult): string {
  const { flows, recovery } = result;
  const parts: string[] = [];
  if (recovery !== undefined) parts.push(describeRecovery(recovery));
  const echoes = flows.map((flow) => flow.echoMillis).filter((millis) => millis !== undefined);
  if (echoes.length > 0) parts.push(`typed line echoed after ${seconds(Math.max(...echoes))}`);
  const senders = flows.filter((flow) => flow.before !== undefined && flow.after !== undefined);
  if (senders.length === 1) parts.push(`cwnd ${senders[0]!.before!.cwnd} -> ${senders[0]!.after!.cwnd}`);
  if (senders.length > 0) {
    parts.push(
      `${senders.reduce((sum, flow) => sum + (flow.retransmissions ?? 0), 0)} retransmissions by the endpoints`,
    );
  }
  const intact = flows.filter((flow) => flow.intact).length;
  parts.push(`${intact} of ${flows.length} connections intact`);
  return parts.join(', ');
}

function describeRecovery(recovery: Recovery): string {
  const { firstByteMillis, to85Millis } = recovery;
  if (firstByteMillis === undefined) return 'no new byte';
  const rate = to85Millis === undefined ? 'old rate not reached' : `85 % of the old rate after ${seconds(to85Millis)}`;
  return `first new byte after ${seconds(firstByteMillis)}, ${rate}`;
}

function seconds(millis: number): string {
  return `${(millis / 1000).toFixed(3)} s`;
}
