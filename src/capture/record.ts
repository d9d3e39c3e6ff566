/**
 * Records in the ring of a capture, as word offsets from the record's start (the length and type of ring.ts come first); doubles as
 * byte offsets. Three types: a packet that simply passed, a packet of which there is something to tell, and a text that later
 * records refer to by its number.
 */

export const PLAIN = 1;
export const TOLD = 2;
export const TEXT = 3;

/** Double: microseconds since the capture's epoch. */
export const TIME = 8;
/** Bytes kept, and bytes of the IP packet. */
export const KEPT = 4;
export const LENGTH = 5;
/** Interface in bits 0..7, direction in 8..15, fate in 16..19, PARTIAL. */
export const PLACE = 6;
/** Packets of the interface that were dropped just before. */
export const MISSING = 7;
export const PLAIN_BYTES = 32;

export const FATE_PASSED = 0;
export const FATE_CHANGED = 1;
export const FATE_HELD = 2;
export const FATE_MADE = 3;
/** The TCP checksum is partial and is to be completed. */
export const PARTIAL: number = 1 << 20;

export const CODE = 8;
/** Index of the flow; -1: none. */
export const FLOW = 9;
export const GENERATION = 10;
export const PHASE = 11;
export const CUSTODY = 12;
export const VALUE = 13;
export const FLAGS = 14;
export const ACK = 15;
export const WINDOW = 16;
export const PAYLOAD = 17;
export const WAS_ACK = 18;
export const WAS_WINDOW = 19;
/** Numbers of texts; 0: none. */
export const LOSS_NAME = 20;
export const LOSS_REASON = 21;
export const LOSS_STATE = 22;
export const LOST = 1;
export const BACK = 2;
/** Double: microseconds since the loss or the return. */
export const ELAPSED = 96;
export const TOLD_BYTES = 104;

export const TEXT_ID = 2;
export const TEXT_LENGTH = 3;
export const TEXT_BYTES = 16;
export const TEXT_MAX = 1_024;
