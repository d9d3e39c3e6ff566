/** What a program has changed in a router's network configuration: compared before it starts and after it ended. */
import type { Namespace } from './namespace.ts';

/** Everything that steering may touch, one thing per line. */
export type RouterState = readonly string[];

const COMMANDS: readonly (readonly [string, ...string[]])[] = [
  ['ip', '-4', 'rule', 'show'],
  ['ip', '-6', 'rule', 'show'],
  ['ip', '-4', 'route', 'show', 'table', 'all'],
  ['ip', '-6', 'route', 'show', 'table', 'all'],
  ['ip', '-brief', 'address'],
  ['nft', '--stateless', 'list', 'ruleset'],
  ['sysctl', '-a', '-r', '^net\\.ipv[46]\\.(conf|ip_forward)'],
];

/** @throws TcpfreezeError: a program is missing */
export async function routerState(namespace: Namespace): Promise<RouterState> {
  const texts = await Promise.all(COMMANDS.map(([program, ...args]) => namespace.exec(program, args)));
  return texts.flatMap((text, index) =>
    text
      .split('\n')
      .map((line) => line.replace(/\s+/g, ' ').trim())
      .filter((line) => line !== '')
      .map((line) => `${COMMANDS[index]!.slice(0, 3).join(' ')}: ${line}`),
  );
}

/** The lines that are in one state only, `+` and `-` in front; the order within a state is the kernel's own affair. */
export function residueOf(before: RouterState, after: RouterState): string[] {
  const surplus = (of: RouterState, over: RouterState, sign: string): string[] => {
    const left = [...over];
    return of.flatMap((line) => {
      const index = left.indexOf(line);
      if (index < 0) return [`${sign} ${line}`];
      left.splice(index, 1);
      return [];
    });
  };
  return [...surplus(before, after, '-'), ...surplus(after, before, '+')];
}
