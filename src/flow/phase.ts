/** The phases of a flow; what each does with each kind of segment is the table in freeze/phases.ts. */
export const OPENING = 0;
export const FLOWING = 1;
export const FROZEN = 2;
export const HANDBACK = 3;
export const CLOSING = 4;
export const BYPASS = 5;

export type Phase = typeof OPENING | typeof FLOWING | typeof FROZEN | typeof HANDBACK | typeof CLOSING | typeof BYPASS;

/** Names as in the public JSON, by phase number. */
export const PHASE_NAMES: readonly string[] = ['opening', 'flowing', 'frozen', 'handback', 'closing', 'bypass'];
