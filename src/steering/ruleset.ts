/**
 * The nftables rules of the gateway, as text. Pure.
 *
 * Connection tracking would see each packet twice: once on its way into the TUN, once when it comes back. A packet
 * must be tracked in exactly one pass, and with address translation it must be the pass that touches the WAN:
 *
 *     LAN -> TUN   not tracked          TUN -> WAN   tracked (and masqueraded)
 *     WAN -> TUN   tracked (and translated back)          TUN -> LAN   not tracked
 *
 * `fib daddr oifname` asks the routing tables at raw priority where the packet will go, so no list of LAN prefixes has
 * to be kept up to date.
 */
import { SOURCE_MARK } from './rules.ts';

export const NFT_TABLE = 'tcpfreeze';

/** NF_IP_PRI_RAW: before connection tracking (-200), after defragmentation (-400). */
const PRIORITY_RAW = -300;

/** NF_IP_PRI_MANGLE: after connection tracking (-200), before translation (-100). */
const PRIORITY_MANGLE = -150;

/** After every translation of addresses and everybody's marks (mangle -150, dstnat -100), right before routing. */
const PRIORITY_LAST = 1_000;

export interface RulesetOptions {
  readonly tun: string;
  readonly lan: readonly string[];
  /** Mark ICMP towards the LAN, for source validation (`sourceRule`). */
  readonly markSource: boolean;
  /** Connection tracking is in use already, so a rule may ask it (asking switches it on). */
  readonly trackingActive: boolean;
  /** WAN interfaces whose connections are translated to addresses of theirs; none where tracking is not in use. */
  readonly translated: readonly string[];
}

/**
 * The table's content.
 * @param lanTimeout seconds after which the LAN interfaces drop out of their set unless refreshed; undefined: never.
 */
export function ruleset(options: RulesetOptions, lanTimeout?: number): string {
  const { tun, lan, markSource, trackingActive, translated } = options;
  const flags = lanTimeout === undefined ? '' : 'flags timeout; ';
  const elements = lan.length === 0 ? '' : `elements = { ${lanElements(lan, lanTimeout)} }; `;
  const lanSet = `{ ${lan.map(quoted).join(', ')} }`;
  const lines = [
    `set lan { type ifname; ${flags}${elements}}`,
    // WAN interfaces that are lost, or came back moments ago.
    'set lost { type ifname; flags timeout; }',
    `chain prerouting { type filter hook prerouting priority ${PRIORITY_RAW}; policy accept; ${
      lan.length === 0
        ? ''
        : `iifname @lan meta l4proto tcp fib daddr type != local counter notrack; ` +
          `iifname ${quoted(tun)} fib daddr oifname ${lanSet} counter notrack; `
    }}`,
    // The router must not answer for a connection whose translation it forgot when the interface went down. And
    // nothing of its own goes into the TUN, not even the reports of IPv6 groups that the kernel would send there.
    `chain output { type filter hook output priority ${PRIORITY_RAW}; policy accept; ` +
      `oifname @lost tcp flags & rst == rst counter drop; oifname ${quoted(tun)} counter drop; }`,
  ];
  if (trackingActive) {
    // Nor may it adopt the forgotten connection as one of its own: that entry would take the port, and the near
    // side's next segment would leave translated to another one. `new` without SYN is a pick-up in mid-stream.
    lines.push(
      'chain input { type filter hook input priority -1; policy accept; ' +
        'iifname @lost ct state new tcp flags & (fin | syn | rst | ack) != syn counter drop; }',
    );
  }
  if (translated.length > 0) {
    // Nor forward it back to where it came from, which is the way to an address that was the link's own until a moment ago: that
    // would be tracked, too, and have the port when the address returns.
    const stray = translated.map(
      (name) =>
        `iifname ${quoted(name)} ct state new tcp flags & (fin | syn | rst | ack) != syn ` +
        `fib daddr oifname ${quoted(name)} counter drop; `,
    );
    lines.push(
      `chain stray { type filter hook prerouting priority ${PRIORITY_MANGLE}; policy accept; ${stray.join('')}}`,
    );
  }
  if (markSource && lan.length > 0) {
    const mark = `0x${SOURCE_MARK.toString(16)}`;
    lines.push(
      `chain validate { type filter hook prerouting priority ${PRIORITY_LAST}; policy accept; ` +
        `iifname ${quoted(tun)} meta l4proto icmp meta mark 0 fib daddr oifname ${lanSet} meta mark set ${mark}; }`,
      `chain validated { type filter hook forward priority ${PRIORITY_RAW}; policy accept; ` +
        `iifname ${quoted(tun)} meta mark ${mark} meta mark set 0; }`,
    );
  }
  return lines.map((line) => `${line};`).join(' ');
}

/** `add table ...` in one line, as the interactive nft wants it. */
export function addTable(options: RulesetOptions, kind: 'owner' | 'plain', lanTimeout?: number): string {
  const flags = kind === 'owner' ? 'flags owner; ' : '';
  return `add table inet ${NFT_TABLE} { ${flags}${ruleset(options, lanTimeout)} }`;
}

export function deleteTable(): string {
  return `delete table inet ${NFT_TABLE}`;
}

/** Refreshes the LAN set before its elements time out. */
export function refreshLan(lan: readonly string[], seconds: number): string {
  // An element's timeout can be changed only by replacing it on kernels before 6.12; one line is one transaction.
  const names = `{ ${lan.map(quoted).join(', ')} }`;
  return (
    `add element inet ${NFT_TABLE} lan ${names}; delete element inet ${NFT_TABLE} lan ${names}; ` +
    `add element inet ${NFT_TABLE} lan { ${lanElements(lan, seconds)} }`
  );
}

/**
 * Puts a WAN interface into the set of lost ones.
 * @param seconds how long; undefined: until told otherwise
 */
export function markLost(name: string, seconds?: number): string {
  const element = `inet ${NFT_TABLE} lost { ${quoted(name)} }`;
  const timeout = seconds === undefined ? '' : ` timeout ${seconds}s`;
  // Added first, so that the deletion never fails, then set afresh: all in one transaction.
  return `add element ${element}; delete element ${element}; add element inet ${NFT_TABLE} lost { ${quoted(name)}${timeout} }`;
}

function lanElements(lan: readonly string[], seconds: number | undefined): string {
  return lan.map((name) => quoted(name) + (seconds === undefined ? '' : ` timeout ${seconds}s`)).join(', ');
}

/** Interface names may hold nearly anything; a quote or a backslash would end the nft string. */
function quoted(name: string): string {
  return `"${name}"`;
}

/** Interface names that nft's quoting cannot carry. */
export function isQuotable(name: string): boolean {
  return !/["\\*\s]/.test(name);
}
