/**
 * Gives up the rights that a gateway does not need (capabilities(7)): what root may do beyond networks is of no use to it, and of much use
 * to whoever takes it over.
 *
 * The kernel keeps capabilities by thread. The calling thread loses them at once, and so does every thread and program started from it
 * later: the bounding set says what a program of root may have at most. Threads that exist already, those of the JavaScript engine's
 * compiler and collector, keep theirs until the program is replaced; a gateway behind its supervisor is started after this, and has none.
 */
import { readFileSync } from 'node:fs';
import { addressOf, capset, dropBounding, setrlimit } from './libc.ts';

/** uapi/linux/capability.h, _LINUX_CAPABILITY_VERSION_3. */
const CAPABILITY_VERSION = 0x2008_0522;
/** uapi/asm-generic/resource.h; the limit is 20 less the nice value. */
const RLIMIT_NICE = 13;
/** Of the datapath's and the journal's threads (datapath/worker.ts, journal/thread.ts). */
const NICE_LOWEST = -10;
/** uapi/linux/capability.h: may raise priorities beyond RLIMIT_NICE. */
const CAP_SYS_NICE = 23n;
/** Highest number that a capability can have. */
const CAPABILITY_MAX = 63;

/** One set of this thread, as bits. */
function heldBits(field: 'CapPrm' | 'CapInh'): bigint {
  const match = new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(readFileSync('/proc/thread-self/status', 'utf8'));
  return match === null ? 0n : BigInt(`0x${match[1]}`);
}

/**
 * Keeps the given capabilities, as far as they are held, and no other. What the gateway has others for is done before: its threads may
 * raise their priority later, and a socket may be given to `group`.
 * @param keep numbers of linux/capability.h
 * @param group that files of this process may be given to; null: none
 * @returns negative errno of the call that was refused; 0 when there is nothing more to give up
 */
export function keepOnly(keep: readonly number[], group: number | null): number {
  let wanted = keep.reduce((bits, capability) => bits | (1n << BigInt(capability)), 0n);
  const permitted = heldBits('CapPrm');
  if ((permitted & ~wanted & ~(1n << CAP_SYS_NICE)) === 0n) return 0;
  // Where root may not raise limits either (a container): a datapath that waits for the processor is the greater evil.
  if (setrlimit(RLIMIT_NICE, 20 - NICE_LOWEST) < 0) wanted |= 1n << CAP_SYS_NICE;
  if (group !== null && process.getgroups?.().includes(group) === false) joinGroup(group);
  for (let capability = 0; capability <= CAPABILITY_MAX; capability++) {
    if ((wanted & (1n << BigInt(capability))) !== 0n) continue;
    // EINVAL: this kernel has no such capability.
    if (dropBounding(capability) < 0 && (permitted & (1n << BigInt(capability))) !== 0n) break;
  }
  return setCapabilities(permitted & wanted, heldBits('CapInh') & wanted);
}

function joinGroup(group: number): void {
  try {
    process.setgroups?.([...(process.getgroups?.() ?? []), group]);
  } catch {
    // Where groups may not be changed the socket cannot be given to it, and that is said then.
  }
}

/** struct __user_cap_header_struct and two of __user_cap_data_struct {effective, permitted, inheritable}. */
function setCapabilities(permitted: bigint, inheritable: bigint): number {
  const header = Uint32Array.of(CAPABILITY_VERSION, 0);
  const low = (bits: bigint): number => Number(bits & 0xffff_ffffn);
  const high = (bits: bigint): number => Number(bits >> 32n);
  const data = Uint32Array.of(
    ...[low(permitted), low(permitted), low(inheritable)],
    ...[high(permitted), high(permitted), high(inheritable)],
  );
  return capset(addressOf(header), addressOf(data));
}
