/**
 * Lets the nftables table outlive the TUN by a moment when the gateway is killed.
 *
 * A killed process loses the pipe to its nft and the TUN in no certain order, and on a busy machine the TUN can stay for tenths of a
 * second longer (its removal waits for the lock of all network configuration). If the table goes first, what the LAN sends is
 * tracked on its way into that dead TUN; and a translated connection that leaves by another interface than the one it is
 * masqueraded on is forgotten by the kernel at once (nf_nat_oif_changed, net/netfilter/nf_nat_core.c): the router then answers
 * the far peer with a reset (measured: one kill in 11 under load). In the other order a few segments leave untranslated, and are
 * sent again.
 *
 * So the pipe is held by a second process, too: it waits until the gateway is gone, and then until the TUN is. Like nft it does not hear
 * the SIGTERM that a service manager sends to all processes of a service at once.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Writable } from 'node:stream';

/**
 * Waits for the end of its input, then at most 5 s for the interface $1 to vanish. The pipe that it holds is its descriptor 3; what it
 * starts must not hold it longer. /proc/self/net is that of its own network namespace.
 */
const SCRIPT =
  'trap "" TERM; read -r _; n=0; while [ $n -lt 500 ] && grep -qF "$1:" /proc/self/net/dev 3>&-; do sleep 0.01 3>&-; n=$((n + 1)); done';

export class TableKeeper {
  readonly #child: ChildProcess;

  /**
   * @param pipe the input of nft, whose end takes the table away
   * @param tun name of the interface that has to go first
   */
  constructor(pipe: Writable, tun: string) {
    this.#child = spawn('sh', ['-c', SCRIPT, 'sh', tun], {
      stdio: ['pipe', 'ignore', 'ignore', pipe],
      // As nft: Ctrl-C in a terminal must reach the gateway alone.
      detached: true,
    });
    // Without a shell the table goes when it goes.
    this.#child.on('error', () => {});
    this.#child.stdin?.on('error', () => {});
    this.#child.unref();
  }

  /** Lets go of the pipe at once: the table is taken away in order. */
  release(): void {
    this.#child.kill('SIGKILL');
  }
}
