/** Seeds of schedule.ts that once found a defect, and which. They stay, whatever the random runs draw. */
import type { Regression } from './seeds.ts';

export const SCHEDULES: readonly Regression[] = [
  { seed: 408, why: 'a late data segment set the window that belonged to an older ACK' },
  { seed: 1125, why: 'a late ACK of the far peer passed with custody that had been given up' },
  { seed: 1281, why: 'after a crash the replay acknowledged too little for the far peer (RFC 5961 5.2)' },
  { seed: 16411, why: 'after a crash an ACK of what the near endpoint had sent meanwhile was taken for a lie' },
  { seed: 23953, why: 'after a crash custody was refused because of the share of its host' },
  {
    seed: 11783,
    why: 'a planned freeze of a transfer both ways: both ends answered below what the other expected, for ever',
  },
  { seed: 38338, why: 'the same: a corrected ACK brought a timestamp that nobody remembered' },
  { seed: 67527, why: 'the same, when the gateway died meanwhile: the next one knew too little to correct it' },
  { seed: 176286, why: 'the same: of an adopted connection no timestamp was known, and 0 was echoed' },
  { seed: 17165, why: 'what custody held beyond the far window was sent again beyond it' },
];
