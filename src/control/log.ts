/**
 * The log: one line per event to standard output, JSON where a program reads it, text where a person does.
 */
import { pino } from 'pino';
import type { LogFormat, LogLevel } from '../policy/policy.ts';

/** What the shell needs of a logger; figures go into their own fields. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** Least level that is written; may change. */
  level: string;
}

/** @param format `auto` is text on a terminal and JSON elsewhere */
export function createLog(level: LogLevel, format: LogFormat): Log {
  const text = format === 'text' || (format === 'auto' && process.stdout.isTTY === true);
  // Synchronous: what is logged right before the process ends is what one wants to read.
  const output = pino.destination({ dest: 1, sync: true });
  // A reader that went away (a closed pipe) must not end the gateway.
  output.on('error', () => {});
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return text ? pino(options, { write: (line: string) => output.write(asText(line)) }) : pino(options, output);
}

/** `2026-01-31T12:00:00.000Z info  message key=value ...` */
export function asText(line: string): string {
  const { level, time, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const pairs = Object.entries(fields).map(([key, value]) => `${key}=${plain(value)}`);
  const cause = (err as { stack?: string } | undefined)?.stack;
  return `${[time, String(level).padEnd(5), msg, ...pairs].join(' ')}\n${cause === undefined ? '' : `${cause}\n`}`;
}

function plain(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}
