/** Seeds of scenario.ts that once found a defect, and which. They stay, whatever the random runs draw. */
export interface Regression {
  readonly seed: number;
  readonly why: string;
}

export const REGRESSIONS: readonly Regression[] = [
  { seed: 441, why: 'an ACK that advanced on an older sequence number was paired with the previous window' },
  { seed: 1274, why: 'the same, in the window update at thaw' },
  { seed: 2477, why: 'a repeated SYN undid what the SYN-ACK had negotiated: timestamps where there were none' },
  { seed: 1739, why: 'the window of a late segment was counted from the end of custody, not from its own larger ACK' },
  { seed: 8192, why: 'the same, with a pausing reader' },
];
