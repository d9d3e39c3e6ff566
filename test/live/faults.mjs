// Preloaded into the gateway by a test (NODE_OPTIONS=--import=...): one of its threads hangs or grows as soon as a file says so.
//   TCPFREEZE_TEST_FAULTS names a folder; a file `main` or `datapath` in it holds the fault: loop, read, memory.
// `read` is a system call that does not return, on the folder's FIFO `fifo`.
import { existsSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import threads from 'node:worker_threads';

const folder = process.env.TCPFREEZE_TEST_FAULTS;
const isGateway = process.env.TCPFREEZE_SUPERVISED !== undefined;
const isDatapath = threads.workerData?.start?.tunFd !== undefined;

function look(thread) {
  const path = join(folder, thread);
  if (!existsSync(path)) return;
  const fault = readFileSync(path, 'latin1');
  // The next one works again.
  rmSync(path);
  const held = [];
  if (fault === 'read') readSync(openSync(join(folder, 'fifo'), 'r+'), new Uint8Array(1));
  for (;;) if (fault === 'memory') held.push(Array.from({ length: 1_000 }, () => ({})));
}

if (isGateway && threads.isMainThread) setInterval(() => look('main'), 20).unref();
if (isGateway && isDatapath) {
  const { receiveMessageOnPort } = threads;
  // Asked at every wake-up, of which every command is one.
  threads.receiveMessageOnPort = (port) => {
    look('datapath');
    return receiveMessageOnPort(port);
  };
  syncBuiltinESMExports();
}
