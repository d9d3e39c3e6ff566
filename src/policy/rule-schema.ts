/** What one rule of the policy may say: matches, classes, limits; and the values it is made of. */
import { z } from 'zod';
import { DEFAULT_RULE, FLOW_CLASSES, GIVE_UP_STYLES, type PolicyRule, PRIORITIES, TRICKLE_DEFAULT } from './policy.ts';
import { DURATION_FORM, DURATION_PATTERN, parseDuration } from './units.ts';

/** IFNAMSIZ of linux/if.h is 16 with the final zero; dev_valid_name() in net/core/dev.c forbids `/`, `:` and blanks. */
const INTERFACE_PATTERN = /^(?!\.{1,2}$)[^\s/:]{1,15}$/;

export const interfaceName = z
  .string('must be an interface name')
  .regex(INTERFACE_PATTERN, 'must be an interface name (1 to 15 characters)');

export const durationOrOff = z
  .union(
    [
      z.literal('off'),
      z.literal(false),
      z.number().positive(),
      z.string().regex(DURATION_PATTERN, `must be off or ${DURATION_FORM}`),
    ],
    `must be off or ${DURATION_FORM}`,
  )
  .transform((value) => (value === 'off' || value === false ? null : (parseDuration(value) ?? Number.NaN)))
  .refine((value) => !Number.isNaN(value), `must be off or ${DURATION_FORM}`);

const DURATION_MESSAGE = `must be ${DURATION_FORM}`;
const duration = z
  .union([z.number().min(0), z.string().regex(DURATION_PATTERN, DURATION_MESSAGE)], DURATION_MESSAGE)
  .transform((value) => parseDuration(value) ?? Number.NaN)
  .refine((value) => !Number.isNaN(value), DURATION_MESSAGE);

/** Faster than this the trickle would be no trickle. */
const TRICKLE_LEAST = 100_000;
const TRICKLE_MESSAGE = `must be off, on, auto or ${DURATION_FORM} (100ms at least)`;
const trickle = z
  .union(
    [
      z.literal(['off', 'on', 'auto']),
      z.boolean(),
      z.number().positive(),
      z.string().regex(DURATION_PATTERN, TRICKLE_MESSAGE),
    ],
    TRICKLE_MESSAGE,
  )
  .transform((value): PolicyRule['trickle'] => {
    if (value === 'off' || value === false) return 'off';
    if (value === 'on' || value === true) return TRICKLE_DEFAULT;
    return value === 'auto' ? 'auto' : (parseDuration(value) ?? Number.NaN);
  })
  .refine((value) => typeof value === 'string' || value >= TRICKLE_LEAST, TRICKLE_MESSAGE);

const yesOrNo = z.boolean('must be true or false');

function oneOf<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, `must be one of ${values.join(', ')}`);
}

function whole(least: number, most: number, message: string) {
  return z.int(message).min(least, message).max(most, message);
}

/** One or several of a thing, as a list. */
function listOf<T extends z.ZodType>(item: T) {
  return z.union([item, z.array(item).min(1)]).transform((value) => (Array.isArray(value) ? value : [value]));
}

const prefix = z
  .union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()], 'must be a prefix such as 192.0.2.0/24 or 2001:db8::/32')
  .transform((value) => (value.includes('/') ? value : `${value}/${value.includes(':') ? 128 : 32}`));

const PORT_MESSAGE = 'must be a port, 1 to 65535, or a range such as 5000-5999';
const port = z
  .union([whole(1, 65_535, PORT_MESSAGE), z.string().regex(/^\d{1,5}(-\d{1,5})?$/, PORT_MESSAGE)], PORT_MESSAGE)
  .transform((value) => {
    const [from, to] = String(value).split('-').map(Number);
    return { from: from!, to: to ?? from! };
  })
  .refine(({ from, to }) => from >= 1 && to <= 65_535 && from <= to, PORT_MESSAGE);

/** One rule of the list `policy`. */
export const rule = z.strictObject({
  match: z
    .strictObject({
      prefix: listOf(prefix).optional().describe('one endpoint lies in one of these prefixes'),
      port: listOf(port).optional().describe('one endpoint uses one of these ports or ranges'),
      interface: listOf(interfaceName).optional().describe('the flow passes one of these interfaces'),
    })
    .default({})
    .describe('what the rule applies to; every part given must match'),
  freeze: yesOrNo.default(DEFAULT_RULE.freeze).describe('false: never touched, whatever happens to the link'),
  class: oneOf(FLOW_CLASSES)
    .default(DEFAULT_RULE.class)
    .describe(
      'temporary: kept as long as resources allow; suspension: at least for keep; critical: never given up for want of them',
    ),
  priority: oneOf(PRIORITIES)
    .default(DEFAULT_RULE.priority)
    .describe('order of handback: interactive first, bulk last'),
  maxOutage: durationOrOff.prefault('off').describe('a connection frozen for longer is given up'),
  keep: duration
    .prefault('10m')
    .describe('class suspension: least time before it may be given up for want of resources'),
  custody: yesOrNo.default(DEFAULT_RULE.custody).describe("bytes in flight may be acknowledged in the far peer's name"),
  wakeup: yesOrNo.default(DEFAULT_RULE.wakeup).describe('far senders are woken by ICMP when the link is back'),
  trickle: trickle
    .prefault('auto')
    .describe('a frozen sender may send a little, against TCP_USER_TIMEOUT; auto: where a limit is known or suspected'),
  parkSyn: yesOrNo.default(DEFAULT_RULE.parkSyn).describe('a SYN towards a lost link is kept and sent at link-up'),
  giveUp: oneOf(GIVE_UP_STYLES)
    .default(DEFAULT_RULE.giveUp)
    .describe('what the near endpoint is told when its connection is given up: RST, or nothing'),
});
