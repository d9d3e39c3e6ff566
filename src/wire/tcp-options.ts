/** TCP options (RFC 9293 3.2, 7323, 2018, 5482, 7413, 2385, 5925, 8684) behind `Packet`. */
import type { Packet } from './packet.ts';

export const OPTION_END = 0;
export const OPTION_NOP = 1;
export const OPTION_MSS = 2;
export const OPTION_WINDOW_SCALE = 3;
export const OPTION_SACK_PERMITTED = 4;
export const OPTION_SACK = 5;
export const OPTION_TIMESTAMPS = 8;
export const OPTION_MD5 = 19;
export const OPTION_USER_TIMEOUT = 28;
export const OPTION_AO = 29;
export const OPTION_MPTCP = 30;
export const OPTION_FAST_OPEN = 34;
export const OPTION_EXPERIMENT = 254;

/** Magic number of Fast Open in its experimental form (RFC 7413 section 4.1.1 and appendix A). */
const FAST_OPEN_MAGIC = 0xf989;

/** RFC 7323 2.3: a larger shift is used as 14. */
export const WINDOW_SCALE_MAX = 14;

/** NOP NOP kind 8 length 10: how nearly every stack lays out a lone timestamps option (RFC 7323 appendix A). */
const ALIGNED_TIMESTAMPS = 0x0101080a;

/**
 * Reads the options in `[from, to)`. A known option of a wrong length is skipped, as Linux does, and so is what follows
 * a length that leaves the list; both set `optionsMalformed`. Of a repeated option the last one counts, as in
 * tcp_parse_options (net/ipv4/tcp_input.c).
 */
export function parseOptions(p: Packet, from: number, to: number): void {
  const view = p.view;
  if (to - from === 12 && view.getInt32(from) === ALIGNED_TIMESTAMPS) {
    p.tsAt = from + 4;
    p.tsVal = view.getInt32(from + 4);
    p.tsEcr = view.getInt32(from + 8);
    return;
  }
  let at = from;
  while (at < to) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOP) {
      at += 1;
      continue;
    }
    const length = at + 1 < to ? view.getUint8(at + 1) : 0;
    if (length < 2 || length > to - at) {
      p.optionsMalformed = true;
      return;
    }
    if (!readOption(p, view, at, kind, length)) p.optionsMalformed = true;
    at += length;
  }
}

/** False: the length is wrong for the kind. Unknown kinds are fine at any length. */
function readOption(p: Packet, view: DataView, at: number, kind: number, length: number): boolean {
  switch (kind) {
    case OPTION_MSS:
      if (length !== 4) return false;
      p.mss = view.getUint16(at + 2);
      return true;
    case OPTION_WINDOW_SCALE: {
      if (length !== 3) return false;
      const shift = view.getUint8(at + 2);
      p.windowScale = Math.min(shift, WINDOW_SCALE_MAX);
      return true;
    }
    case OPTION_SACK_PERMITTED:
      if (length !== 2) return false;
      p.sackPermitted = true;
      return true;
    case OPTION_SACK:
      // Blocks of 8 bytes, 1 to 4 of them (RFC 2018 section 3). Some stacks send an empty option; it says nothing.
      if ((length & 7) !== 2) return false;
      if (length === 2) return true;
      p.sackAt = at + 2;
      p.sackCount = (length - 2) >> 3;
      return true;
    case OPTION_TIMESTAMPS:
      if (length !== 10) return false;
      p.tsAt = at + 2;
      p.tsVal = view.getInt32(at + 2);
      p.tsEcr = view.getInt32(at + 6);
      return true;
    case OPTION_MD5:
      p.md5 = true;
      return length === 18;
    case OPTION_USER_TIMEOUT:
      if (length !== 4) return false;
      p.userTimeout = view.getUint16(at + 2);
      return true;
    case OPTION_AO:
      p.ao = true;
      return length >= 4;
    case OPTION_MPTCP:
      p.mptcp = true;
      return length >= 3;
    case OPTION_FAST_OPEN:
      p.fastOpen = true;
      return true;
    case OPTION_EXPERIMENT:
      if (length >= 4 && view.getUint16(at + 2) === FAST_OPEN_MAGIC) p.fastOpen = true;
      return true;
    default:
      return true;
  }
}
