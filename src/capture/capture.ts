/**
 * Capture files: what is read from them and written to them. The one to read first; formats are in files of their own.
 *
 * Reading.  classic pcap (microseconds and nanoseconds, both byte orders: pcap-reader.ts) and pcapng (both byte orders, several
 *           sections: pcapng-reader.ts), told apart by their first four bytes (capture-file.ts). One packet at a time in constant memory: what is
 *           not a packet is skipped, what is larger than any packet or block can be is refused.
 * Writing.  pcapng, little-endian, nanoseconds, a comment per packet (pcapng-writer.ts).
 * Errors.   A damaged file ends in one `CAPTURE_DAMAGED` that names the byte offset of the record that cannot be right; everything
 *           before it has been delivered.
 * Sources.  draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcap, https://www.tcpdump.org/linktypes.html.
 */
import { TcpfreezeError } from '../base/errors.ts';

/** Where packets were captured. */
export interface CaptureInterface {
  /** LINKTYPE_ value. */
  readonly linkType: number;
  /** Empty when the file does not say. */
  readonly name: string;
  /** Most bytes kept of a packet; 0: no limit is stated. */
  readonly snapLength: number;
}

export interface CapturedPacket {
  /** Seconds since 1970, and nanoseconds 0 .. 999 999 999. Meaningless without `hasTime`. */
  readonly seconds: number;
  readonly nanos: number;
  /** Simple packet blocks carry no time. */
  readonly hasTime: boolean;
  readonly interface: CaptureInterface;
  /** What was kept of the frame, link-layer header included. Valid until the next packet is asked for. */
  readonly bytes: Uint8Array;
  /** Bytes of the frame on the wire; less than kept when the file says so. */
  readonly originalLength: number;
  /** Byte offset in the file of the record. */
  readonly offset: number;
  /** opt_comment, the first one. */
  readonly comment: string | null;
}

/** Largest frame that is believed: MAXIMUM_SNAPLEN of libpcap (pcap-int.h), which no tool exceeds. */
export const FRAME_MAX = 262_144;

/** @param offset byte offset in the file of what is wrong */
export function damaged(offset: number, what: string): TcpfreezeError {
  return new TcpfreezeError(
    'CAPTURE_DAMAGED',
    `the capture is damaged at byte ${offset}: ${what}`,
    'record it again, or repair it with "editcap"',
  );
}
