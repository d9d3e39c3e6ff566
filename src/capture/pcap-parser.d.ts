/** What is used of pcap-parser 0.2.1, which has no types of its own. */
declare module 'pcap-parser' {
  import type { EventEmitter } from 'node:events';

  export interface PcapGlobalHeader {
    readonly snapshotLength: number;
    readonly linkLayerType: number;
  }

  export interface PcapPacketHeader {
    readonly timestampSeconds: number;
    readonly timestampMicroseconds: number;
    readonly capturedLength: number;
    readonly originalLength: number;
  }

  /** Emits globalHeader, packetHeader, packet {header, data}, end, error. */
  export function parse(input: EventEmitter & { pause(): void; resume(): void }): EventEmitter;
}
