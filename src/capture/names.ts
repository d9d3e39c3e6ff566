/** Names that a capture brings along: the router's own addresses, and what its hosts file says. No name is looked up in the network. */
import { readFileSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { parseAddress } from '../wire/address.ts';
import type { WrittenName } from './pcapng-writer.ts';

/** Most entries of the hosts file that are taken; some block advertisements with a hundred thousand. */
const HOSTS_MAX = 256;
const LOOPBACK = /^(127\.|::1$|::$|0\.0\.0\.0$|ff0|fe00)/;

/** @param links interfaces whose addresses are named "<host>.<interface>" */
export function captureNames(links: readonly string[]): WrittenName[] {
  const names: WrittenName[] = [];
  const host = hostname().split('.')[0] ?? 'gateway';
  const interfaces = networkInterfaces();
  for (const link of links) {
    for (const { address: text } of interfaces[link] ?? []) {
      const address = parseAddress(text);
      if (address !== undefined) names.push({ address, name: `${host}.${link}` });
    }
  }
  return [...names, ...hostsNames(readHosts())];
}

function readHosts(): string {
  try {
    return readFileSync('/etc/hosts', 'utf8');
  } catch {
    return '';
  }
}

/** @param text of a hosts file (hosts(5)) */
export function hostsNames(text: string): WrittenName[] {
  const names: WrittenName[] = [];
  for (const line of text.split('\n')) {
    const [where, name] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (where === undefined || name === undefined || LOOPBACK.test(where)) continue;
    const address = parseAddress(where);
    if (address !== undefined) names.push({ address, name });
    if (names.length === HOSTS_MAX) break;
  }
  return names;
}
