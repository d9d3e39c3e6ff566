/** All applications of the story. The order counts: what is started last is nearest to the cut. */
import type { Application } from './application.ts';
import { GIT } from './git.ts';
import { mqtt } from './mqtt.ts';
import { curl } from './nginx.ts';
import { PSQL } from './psql.ts';
import { RSYNC } from './rsync.ts';
import { SSH } from './ssh.ts';

export const APPLICATIONS: readonly Application[] = [
  SSH,
  PSQL,
  mqtt(),
  mqtt(900),
  GIT,
  curl({
    name: 'curl from nginx beyond the link, send_timeout 15m',
    bytes: 12e6,
    server: 'beyond',
    sendTimeout: '15m',
  }),
  RSYNC,
  curl({ name: 'curl from nginx on the LAN, default settings', bytes: 1.5e6, server: 'lan', untilWritten: true }),
];
