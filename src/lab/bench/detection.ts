/** The table of detection: what was lost, within which time that was noticed, what else was taken for lost, and how it went on. */
import { playDetection } from '../detection.ts';
import { FLAPPING, idleEchoes, LOSSES, quietStories } from '../detection-stories.ts';

/** A quiet link is watched for this many times the seconds of a measurement: ten minutes at `--seconds 20`. */
const QUIET_TIMES = 30;

export interface DetectionFigure {
  readonly name: string;
  readonly noticedMillis: number | null;
  /** Goal; null: nothing is to be noticed. */
  readonly withinMillis: number | null;
  readonly reason: string | null;
  readonly falseAlarms: number;
  /** From the return until it was noticed. */
  readonly restoredMillis: number | null;
  readonly firstByteMillis: number | null;
  readonly to85Millis: number | null;
  readonly intact: boolean;
}

export interface DetectionFigures {
  readonly losses: readonly DetectionFigure[];
  /** Watched for this long, seconds. */
  readonly quietSeconds: number;
  readonly quiet: readonly { readonly name: string; readonly falseAlarms: number }[];
  /** Freezes and thaws while the link went up and down for ten seconds. */
  readonly flapping: { readonly lost: number; readonly restored: number };
  /** Echo requests per second on a link with idle connections only. */
  readonly idleEchoesPerSecond: number;
}

/** @throws what the lab throws: a program is missing, no permission */
export async function playDetections(seconds: number, onProgress: (line: string) => void): Promise<DetectionFigures> {
  const losses: DetectionFigure[] = [];
  for (const [index, story] of LOSSES.entries()) {
    onProgress(`detection ${index + 1}/${LOSSES.length}: ${story.name}`);
    const result = await playDetection(story);
    const { recovery, flows } = result.story;
    losses.push({
      name: story.name,
      noticedMillis: result.noticedMillis ?? null,
      withinMillis: story.noticedWithin,
      reason: result.reason ?? null,
      falseAlarms: result.falseAlarms,
      restoredMillis: result.restoredMillis ?? null,
      firstByteMillis: recovery?.firstByteMillis ?? null,
      to85Millis: recovery?.to85Millis ?? null,
      intact: flows.every((flow) => flow.intact),
    });
  }
  onProgress(`detection: ${FLAPPING.name}`);
  const { verdicts } = await playDetection(FLAPPING);
  const quietSeconds = QUIET_TIMES * seconds;
  const quiet: { name: string; falseAlarms: number }[] = [];
  for (const story of quietStories(quietSeconds)) {
    onProgress(`detection: ${story.name}, ${quietSeconds} s`);
    quiet.push({ name: story.name, falseAlarms: (await playDetection(story)).falseAlarms });
  }
  return {
    losses,
    quietSeconds,
    quiet,
    flapping: {
      lost: verdicts.filter(({ name }) => name.endsWith('-lost')).length,
      restored: verdicts.filter(({ name }) => name.endsWith('-restored')).length,
    },
    idleEchoesPerSecond: idleEchoes.perSecond,
  };
}

export function detectionText(figures: DetectionFigures): string[] {
  const seconds = (millis: number | null): string => (millis === null ? '-' : (millis / 1000).toFixed(2));
  const row = (cells: readonly string[]): string =>
    `${cells[0]!.padEnd(42)}${cells
      .slice(1, 7)
      .map((cell) => cell.padStart(9))
      .join('')}  ${cells[7] ?? ''}`.trimEnd();
  return [
    row(['lost (seconds)', 'noticed', 'goal', 'false', 'restored', '1st byte', '85 %', 'reason']),
    ...figures.losses.map((one) =>
      row([
        one.name,
        seconds(one.noticedMillis),
        seconds(one.withinMillis),
        String(one.falseAlarms),
        seconds(one.restoredMillis),
        seconds(one.firstByteMillis),
        seconds(one.to85Millis),
        `${one.reason ?? 'not noticed'}${one.intact ? '' : '; CONNECTIONS NOT INTACT'}`,
      ]),
    ),
    '',
    `up and down once a second for 8 s: ${figures.flapping.lost} lost, ${figures.flapping.restored} restored`,
    `idle connections only: ${figures.idleEchoesPerSecond.toFixed(2)} echo requests per second`,
    ...figures.quiet.map(
      ({ name, falseAlarms }) => `${name} for ${figures.quietSeconds} s: ${falseAlarms} false alarms`,
    ),
    '',
  ];
}
