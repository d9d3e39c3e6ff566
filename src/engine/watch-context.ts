/** What those work with who bring word from outside the connections (ICMP, DHCP, neighbours) to a verdict. */
import type { FlowTable } from '../flow/table.ts';
import type { NextHops } from '../link/next-hops.ts';
import type { Asker } from './asker.ts';
import type { Inquiries } from './inquiry.ts';
import type { Verdicts } from './verdicts.ts';
import type { Watch } from './watch.ts';

export interface WatchContext {
  readonly table: FlowTable;
  readonly verdicts: Verdicts;
  readonly watch: Watch;
  readonly inquiries: Inquiries;
  readonly asker: Asker;
  readonly hops: NextHops;
}
