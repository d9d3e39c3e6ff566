// Health of the gateway: it answers on its control socket. Not `tcpfreeze status`, whose start costs a busy machine ten times as
// much. Without tcpfreeze (TCPFREEZE_PLAIN=1) there is nothing to ask.
import { get } from 'node:http';

if (process.env.TCPFREEZE_PLAIN !== '1') {
  const socketPath = process.env.TCPFREEZE_CONTROL || '/run/tcpfreeze/control.sock';
  get({ socketPath, path: '/status', timeout: 8_000 }, (answer) => process.exit(answer.statusCode === 200 ? 0 : 1))
    .on('error', () => process.exit(1))
    .on('timeout', () => process.exit(1));
}
