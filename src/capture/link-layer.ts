/**
 * From a frame to the IP packet in it. Link types by their LINKTYPE_ value (https://www.tcpdump.org/linktypes.html); the same
 * numbers stand in pcap and in pcapng files, but for those that each BSD gave to raw IP on its own.
 */
const NULL = 0;
const ETHERNET = 1;
/** DLT_RAW of OpenBSD and of the others. */
const RAW_BSD = 14;
const RAW_OTHERS = 12;
const RAW = 101;
const LOOP = 108;
const LINUX_SLL = 113;
const IPV4 = 228;
const IPV6 = 229;
const LINUX_SLL2 = 276;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
/** IEEE 802.1Q, 802.1ad, and what was used for stacked tags before. */
const VLAN_TAGS: readonly number[] = [0x8100, 0x88a8, 0x9100];
/** More tags than this are not stacked in earnest. */
const MAX_TAGS = 4;

/** AF_INET6 is 10 on Linux, 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on macOS. */
const ADDRESS_FAMILIES: readonly number[] = [2, 10, 24, 28, 30];

export function isKnownLinkType(linkType: number): boolean {
  return [NULL, ETHERNET, RAW_BSD, RAW_OTHERS, RAW, LOOP, LINUX_SLL, IPV4, IPV6, LINUX_SLL2].includes(linkType);
}

/** Offset of the IP header in the frame, or -1 when the frame holds no IP packet. */
export function ipOffset(linkType: number, frame: Uint8Array): number {
  switch (linkType) {
    case RAW:
    case RAW_BSD:
    case RAW_OTHERS:
    case IPV4:
    case IPV6:
      return checked(frame, 0);
    case ETHERNET:
      return afterType(frame, 12);
    case LINUX_SLL:
      return afterType(frame, 14);
    case LINUX_SLL2:
      return isIp(word(frame, 0)) ? checked(frame, 20) : -1;
    // In the byte order of the machine that captured; in network order for LOOP. A family is below 256.
    case NULL:
    case LOOP: {
      const family = word(frame, 0) === 0 ? word(frame, 2) : (frame[1] ?? 0) === 0 ? (frame[0] ?? 0) : 0;
      return ADDRESS_FAMILIES.includes(family) ? checked(frame, 4) : -1;
    }
    default:
      return -1;
  }
}

function word(frame: Uint8Array, at: number): number {
  return at + 2 <= frame.length ? (frame[at]! << 8) | frame[at + 1]! : 0;
}

function isIp(type: number): boolean {
  return type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6;
}

/** The type field is at `at`; tags may precede the true one. */
function afterType(frame: Uint8Array, at: number): number {
  let place = at;
  for (let tags = 0; tags < MAX_TAGS && VLAN_TAGS.includes(word(frame, place)); tags++) place += 4;
  return isIp(word(frame, place)) ? checked(frame, place + 2) : -1;
}

/** The frame says IP; the version field must agree. */
function checked(frame: Uint8Array, at: number): number {
  const version = at < frame.length ? frame[at]! >>> 4 : 0;
  return version === 4 || version === 6 ? at : -1;
}
