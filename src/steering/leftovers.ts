/**
 * What a killed run left behind: rules and routes that carry our protocol number, and our nftables table. They are
 * harmless (the rules find no route), but they must not pile up, and a table that is still owned means that another
 * gateway is alive.
 */
import { TcpfreezeError } from '../base/errors.ts';
import { run } from './command.ts';
import { deleteRule, type Family, flushRoutes, isOurs, parseRoutes, parseRules, type RoutingState } from './rules.ts';
import { deleteTable, NFT_TABLE } from './ruleset.ts';

/** A process that was just killed needs a moment until its TUN and its table are gone. */
const PATIENCE_MILLIS = 5_000;
const RETRY_MILLIS = 100;

/** The policy routing of a family as it is now. */
export async function readRouting(family: Family): Promise<RoutingState> {
  const flag = family === 4 ? '-4' : '-6';
  const rules = parseRules(await run('ip', ['-N', '-j', flag, 'rule', 'show']));
  const routes = parseRoutes(await run('ip', ['-N', '-j', flag, 'route', 'show', 'table', 'all']));
  return { rules, routes };
}

/**
 * Removes left-overs.
 * @param nft whether nft is there to be asked
 * @returns what was removed, for the log
 * @throws TcpfreezeError ALREADY_STEERING when they belong to a gateway that is alive
 */
export async function removeLeftovers(families: readonly Family[], nft: boolean): Promise<string[]> {
  await patiently(async () => {
    for (const family of families) {
      const owner = (await readRouting(family)).routes.find((route) => isOurs(route) && route.dev !== undefined);
      if (owner !== undefined) throw alreadySteering(`through ${owner.dev}`);
    }
  });
  const removed: string[] = [];
  for (const family of families) {
    const { rules, routes } = await readRouting(family);
    for (const rule of rules.filter(isOurs)) {
      await run('ip', deleteRule(family, rule));
      removed.push(`IPv${family} rule for ${rule.iif ?? 'all'}`);
    }
    for (const table of new Set(routes.filter(isOurs).map((route) => route.table))) {
      await run('ip', flushRoutes(family, table));
      removed.push(`IPv${family} routes in table ${table}`);
    }
  }
  if (nft && (await hasNftTable())) {
    await patiently(async () => {
      if (!(await hasNftTable())) return;
      try {
        await run('nft', ['-f', '-'], `${deleteTable()}\n`);
        removed.push(`nftables table inet ${NFT_TABLE}`);
      } catch (error) {
        if (error instanceof Error && error.message.includes('not permitted') && (await hasNftTable())) {
          throw alreadySteering(`and owns the nftables table inet ${NFT_TABLE}`);
        }
        if (await hasNftTable()) throw error;
      }
    });
  }
  return removed;
}

/** Whether our table exists. */
export async function hasNftTable(): Promise<boolean> {
  const listed = await run('nft', ['list', 'tables']);
  return listed.split('\n').some((line) => line.trim() === `table inet ${NFT_TABLE}`);
}

function alreadySteering(how: string): TcpfreezeError {
  return new TcpfreezeError(
    'ALREADY_STEERING',
    `another tcpfreeze steers this machine's traffic ${how}`,
    'stop it first (systemctl stop tcpfreeze, or end its process)',
  );
}

/** Tries again for a while as long as another gateway seems to be alive. */
async function patiently(attempt: () => Promise<void>): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MILLIS; ; ) {
    try {
      await attempt();
      return;
    } catch (error) {
      const again = error instanceof TcpfreezeError && error.code === 'ALREADY_STEERING' && Date.now() < deadline;
      if (!again) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MILLIS));
  }
}
