/**
 * Classic BPF programs (bpf(4), uapi/linux/filter.h) of the packet tap: of everything that enters an interface, the kernel hands over
 * ICMP errors and DHCP only. Offsets count from the IP header, as a SOCK_DGRAM packet socket delivers it. Pure.
 */

/** One instruction, struct sock_filter {u16 code; u8 jt; u8 jf; u32 k}. */
export interface Instruction {
  readonly code: number;
  /** Instructions skipped when a comparison holds, and when it does not. */
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** Load byte, load half-word (absolute, and relative to X), header length of IPv4 to X; jumps; return. */
export const LDB = 0x30;
export const LDH = 0x28;
export const LDB_X = 0x50;
export const LDH_X = 0x48;
export const LDX_HEADER = 0xb1;
export const JEQ = 0x15;
export const JSET = 0x45;
export const RET = 0x06;

/** Bytes handed over of each packet: more than any ICMP error quotes (RFC 1812 4.3.2.3: 576) and any DHCP message on Ethernet holds. */
export const TAP_BYTES = 1_536;

/** A comparison with labels, a load, or an end; labels are resolved by `assemble`. */
type Line =
  | readonly ['load', number, number]
  | readonly ['if', number, number, string, string]
  | readonly ['at', string]
  | readonly ['return', number];

/** IPv4: ICMP 3 ("fragmentation needed" is among them: what is being delivered is cut anew) and 11; UDP to 67 and 68. No fragments but first ones. */
export const TAP_IPV4: readonly Instruction[] = assemble([
  ['load', LDH, 6],
  ['if', JSET, 0x1fff, 'no', 'whole'],
  ['at', 'whole'],
  ['load', LDX_HEADER, 0],
  ['load', LDB, 9],
  ['if', JEQ, 1, 'icmp', 'not icmp'],
  ['at', 'not icmp'],
  ['if', JEQ, 17, 'udp', 'no'],
  ['at', 'icmp'],
  ['load', LDB_X, 0],
  ['if', JEQ, 11, 'yes', 'not exceeded'],
  ['at', 'not exceeded'],
  ['if', JEQ, 3, 'yes', 'no'],
  ['at', 'udp'],
  ['load', LDH_X, 2],
  ['if', JEQ, 67, 'yes', 'not 67'],
  ['at', 'not 67'],
  ['if', JEQ, 68, 'yes', 'no'],
  ['at', 'yes'],
  ['return', TAP_BYTES],
  ['at', 'no'],
  ['return', 0],
]);

/** IPv6 without extension headers: ICMPv6 1, 2 ("too big") and 3; UDP to 546 and 547. */
export const TAP_IPV6: readonly Instruction[] = assemble([
  ['load', LDB, 6],
  ['if', JEQ, 58, 'icmp', 'not icmp'],
  ['at', 'not icmp'],
  ['if', JEQ, 17, 'udp', 'no'],
  ['at', 'icmp'],
  ['load', LDB, 40],
  ['if', JEQ, 1, 'yes', 'not unreachable'],
  ['at', 'not unreachable'],
  ['if', JEQ, 2, 'yes', 'not too big'],
  ['at', 'not too big'],
  ['if', JEQ, 3, 'yes', 'no'],
  ['at', 'udp'],
  ['load', LDH, 42],
  ['if', JEQ, 546, 'yes', 'not 546'],
  ['at', 'not 546'],
  ['if', JEQ, 547, 'yes', 'no'],
  ['at', 'yes'],
  ['return', TAP_BYTES],
  ['at', 'no'],
  ['return', 0],
]);

/** Turns labels into distances. Jumps go forwards only, as the kernel demands (bpf_check_classic, net/core/filter.c). */
function assemble(lines: readonly Line[]): Instruction[] {
  const labels = new Map<string, number>();
  let count = 0;
  for (const line of lines) {
    if (line[0] === 'at') labels.set(line[1], count);
    else count++;
  }
  const program: Instruction[] = [];
  const distance = (label: string): number => labels.get(label)! - program.length - 1;
  for (const line of lines) {
    if (line[0] === 'load') program.push({ code: line[1], jt: 0, jf: 0, k: line[2] });
    else if (line[0] === 'if') {
      program.push({ code: line[1], jt: distance(line[3]), jf: distance(line[4]), k: line[2] });
    } else if (line[0] === 'return') program.push({ code: RET, jt: 0, jf: 0, k: line[1] });
  }
  return program;
}

/** A program as the kernel reads it, in host order. */
export function emitProgram(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(8 * program.length);
  const halves = new Uint16Array(bytes.buffer);
  const words = new Uint32Array(bytes.buffer);
  program.forEach(({ code, jt, jf, k }, at) => {
    halves[4 * at] = code;
    bytes[8 * at + 2] = jt;
    bytes[8 * at + 3] = jf;
    words[2 * at + 1] = k;
  });
  return bytes;
}
