/** Verdicts of `handlePacket`. */
export const FORWARD = 0;
export const DROP = 1;
export const CONSUME = 2;
export type Disposition = typeof FORWARD | typeof DROP | typeof CONSUME;
