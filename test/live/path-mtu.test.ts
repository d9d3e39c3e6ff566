/** The path takes smaller packets after the outage than before: what the gateway delivers is cut anew (RFC 1191, RFC 8201). */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { describe, expect, test } from 'vitest';
import { LabGateway } from '../../src/lab/gateway.ts';
import { ADDRESS, ISP_SERVER_INTERFACE, Lab } from '../../src/lab/topology.ts';
import { storiesPossible } from '../e2e/story-goals.ts';

const MTU = 1_280;

/** Prints the hash of all bytes of the first connection. */
const SERVER = (address: string): string => `import socket,hashlib
s=socket.create_server(("${address}",7200),family=socket.AF_INET6 if ":" in "${address}" else socket.AF_INET); print("up",flush=True)
c,_=s.accept(); h=hashlib.sha256()
while True:
    b=c.recv(65536)
    if not b: break
    h.update(b)
print(h.hexdigest(),flush=True)`;
/** Sends at full speed until a line comes. */
const CLIENT = (address: string): string => `import socket,hashlib,threading,sys
c=socket.create_connection(("${address}",7200)); h=hashlib.sha256(); stop=threading.Event()
threading.Thread(target=lambda:(sys.stdin.readline(),stop.set()),daemon=True).start()
print("up",flush=True); n=0
while not stop.is_set():
    b=hashlib.sha256(str(n).encode()).digest()*512; n+=1
    c.sendall(b); h.update(b)
c.shutdown(socket.SHUT_WR)
print(h.hexdigest(),flush=True)`;

const pause = (seconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));

function linesOf(child: ChildProcess): () => Promise<string> {
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return async () => String((await lines.next()).value);
}

describe.skipIf(!storiesPossible)('a path with a smaller MTU after the outage', () => {
  test.each([4, 6] as const)(
    'IPv%i upload: what was in custody arrives in smaller pieces, every byte',
    async (family) => {
      const lab = await Lab.create({ topology: 'site' });
      let gateway: LabGateway | undefined;
      try {
        gateway = await LabGateway.start(lab);
        const address = ADDRESS.server[family];
        const stdio = ['pipe', 'pipe', 'inherit'] as const;
        const server = lab.server.spawn('python3', ['-c', SERVER(address)], { stdio: [...stdio] });
        const fromServer = linesOf(server);
        expect(await fromServer()).toBe('up');
        const client = lab.host.spawn('python3', ['-c', CLIENT(address)], { stdio: [...stdio] });
        const fromClient = linesOf(client);
        expect(await fromClient()).toBe('up');
        await pause(2);
        await lab.link.cut('carrier');
        await lab.isp!.ip('link', 'set', ISP_SERVER_INTERFACE, 'mtu', String(MTU));
        await pause(3);
        const during = await gateway.client.status();
        expect(during.custodyBytes).toBeGreaterThan(50_000);
        await lab.link.restore();
        await pause(3);
        client.stdin!.write('stop\n');
        const [sent, received] = await Promise.all([fromClient(), fromServer()]);
        expect(received).toBe(sent);
        const { counters, custodyBytes } = await gateway.client.status();
        console.log(
          `path MTU, IPv${family}: cut anew ${counters.recuts} times, ${counters.retransmittedBytes} bytes sent again`,
        );
        expect(counters.recuts).toBe(1);
        expect(custodyBytes).toBe(0);
      } finally {
        await gateway?.stop();
        await lab.dispose();
      }
    },
  );
});
