/** What a configuration may say about detectors (detectors.ts), as a schema. */
import { z } from 'zod';
import { type Micros, seconds } from '../base/time.ts';
import { DEFAULT_DETECTORS, type DetectorConfig } from './detectors.ts';
import { durationOrOff } from './rule-schema.ts';
import { DURATION_FORM, DURATION_PATTERN, parseDuration } from './units.ts';

/** A duration within bounds. */
function duration(least: Micros, most: Micros) {
  const message = `must be ${DURATION_FORM}, ${least / 1e6} s to ${most / 1e6} s`;
  return z
    .union([z.number().positive(), z.string().regex(DURATION_PATTERN, message)], message)
    .transform((value) => parseDuration(value) ?? Number.NaN)
    .refine((value) => value >= least && value <= most, message);
}

function either(fallback: boolean, meaning: string) {
  return z.boolean('must be true or false').default(fallback).describe(meaning);
}

const TARGETS_MESSAGE = 'must be auto, off, or a list of at most 8 IPv4 or IPv6 addresses';
const KEEPALIVE_MESSAGE = `must be off, suspicion, or ${DURATION_FORM} of at least 1 s`;
const DAMPING_MESSAGE = 'must be a number of losses, above 1 and at most 100';
const REUSE_MESSAGE = 'must be a number of losses, at least 0.1 and below suppress';

export const detectors = z
  .strictObject({
    silence: either(DEFAULT_DETECTORS.silence, 'TCP segments without an answer count as a sign of loss'),
    keepalive: z
      .union(
        [
          z.enum(['off', 'suspicion']),
          z.literal(false),
          z.number().positive(),
          z.string().regex(DURATION_PATTERN, KEEPALIVE_MESSAGE),
        ],
        KEEPALIVE_MESSAGE,
      )
      .prefault('suspicion')
      .transform((value) => {
        if (value === 'suspicion') return value;
        return value === 'off' || value === false ? 'off' : (parseDuration(value) ?? Number.NaN);
      })
      .refine((value) => typeof value === 'string' || value >= seconds(1), KEEPALIVE_MESSAGE)
      .describe(
        "TCP keepalives in an endpoint's name: when something looks wrong, or on quiet links, too, at an interval",
      ),
    echo: z
      .strictObject({
        targets: z
          .union(
            [
              z.enum(['auto', 'off']),
              z
                .array(z.union([z.ipv4(), z.ipv6()]))
                .min(1)
                .max(8),
            ],
            TARGETS_MESSAGE,
          )
          .default('auto')
          .describe('whom to send ICMP echo requests; auto: the routers of default routes'),
        interval: duration(seconds(1), seconds(3_600))
          .prefault('1s')
          .describe('time between two echoes while all is well and no traffic proves the link'),
      })
      .prefault({}),
    icmp: either(DEFAULT_DETECTORS.icmp, 'ICMP errors about connections count as evidence'),
    dhcp: either(DEFAULT_DETECTORS.dhcp, 'DHCP leases count: those of the link and those of its hosts'),
    neighbour: either(DEFAULT_DETECTORS.neighbour, 'address resolution (ARP, IPv6 neighbours) counts as evidence'),
    damping: z
      .strictObject({
        halfLife: durationOrOff
          .prefault('3s')
          .describe('time in which the penalty of a loss halves (RFC 2439); off: every return is believed at once'),
        suppress: z
          .number(DAMPING_MESSAGE)
          .gt(1, DAMPING_MESSAGE)
          .max(100, DAMPING_MESSAGE)
          .default(1.5)
          .describe('penalty, in losses, from which a return is held back'),
        reuse: z
          .number(REUSE_MESSAGE)
          .min(0.1, REUSE_MESSAGE)
          .default(1)
          .describe('penalty at which a return is believed again'),
        longest: duration(0, seconds(3_600)).prefault('15s').describe('longest time that a return is held back'),
      })
      .refine(({ suppress, reuse }) => reuse < suppress, { message: REUSE_MESSAGE, path: ['reuse'] })
      .prefault({}),
  })
  .prefault({});

/** The detectors of one link as the engine takes them. @param checked what the schema made of the file's words */
export function detectorConfig(checked: z.output<typeof detectors>): DetectorConfig {
  const { echo, damping, keepalive, ...rest } = checked;
  const { targets, interval } = echo;
  const { halfLife, ...levels } = damping;
  return {
    ...rest,
    keepalive: keepalive as DetectorConfig['keepalive'],
    echo: targets === 'off' ? null : { targets, interval },
    damping: halfLife === null ? null : { halfLife, ...levels },
  };
}
