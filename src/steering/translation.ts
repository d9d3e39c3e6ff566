/** Whether this machine translates addresses: masquerade or source NAT in nftables, or the older iptables. */
import { readFileSync } from 'node:fs';
import { isInstalled, run } from './command.ts';

const WORDS = /\b(masquerade|snat)\b/;

/** @returns false too where the rules cannot be read */
export async function findsTranslation(): Promise<boolean> {
  if (!(await isInstalled('nft'))) return false;
  try {
    if (WORDS.test(await run('nft', ['list', 'ruleset']))) return true;
  } catch {
    return false;
  }
  try {
    // Rules of iptables-legacy do not show in nft; that its table is loaded is all that can be read.
    return readFileSync('/proc/net/ip_tables_names', 'utf8').split('\n').includes('nat');
  } catch {
    return false;
  }
}
