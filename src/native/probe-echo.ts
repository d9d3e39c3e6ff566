/** The other thread of the wake-up probe: sleeps in ppoll on one eventfd and answers on another, as the datapath does. */
import { workerData } from 'node:worker_threads';
import { addressOf, POLLIN, PollSet, read, write } from './libc.ts';

const { askFd, answerFd, rounds } = workerData as { askFd: number; answerFd: number; rounds: number };
const cell = new BigUint64Array(1);
const address = addressOf(cell);
const set = new PollSet(1);
set.add(askFd, POLLIN);
for (let i = 0; i < rounds; i++) {
  set.wait(Number.POSITIVE_INFINITY);
  read(askFd, address, 8);
  write(answerFd, address, 8);
}
