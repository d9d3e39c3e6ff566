/** What is used of raw-socket 1.8.1, which has no types of its own. */
declare module 'raw-socket' {
  import type { EventEmitter } from 'node:events';

  export interface Socket extends EventEmitter {
    /** @throws Error with the system's words */
    setOption(level: number, option: number, value: Buffer, length: number): void;
    /** `done` is called with the system's error, or with null and the number of bytes. */
    send(
      buffer: Buffer,
      offset: number,
      length: number,
      address: string,
      done: (error: Error | null, bytes: number) => void,
    ): this;
    /** Closes the descriptor; no message is emitted afterwards. */
    close(): this;
  }

  /** Emits `message` (Buffer, source address as text), `error`, `close`. IPv4 messages begin with the IP header, IPv6 ones do not. */
  export function createSocket(options: { protocol: number; addressFamily: number }): Socket;

  export const AddressFamily: { readonly IPv4: number; readonly IPv6: number };
  export const Protocol: { readonly ICMP: number; readonly ICMPv6: number };
}
