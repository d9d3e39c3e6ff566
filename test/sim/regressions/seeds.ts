/** Seeds of scenario.ts that once found a defect, and which. They stay, whatever the random runs draw. */
export interface Regression {
  readonly seed: number;
  readonly why: string;
}

export const REGRESSIONS: readonly Regression[] = [
  { seed: 1, why: 'the first one, kept so that the list is never empty' },
];
