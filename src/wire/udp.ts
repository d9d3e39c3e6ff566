/** The UDP header (RFC 768), as far as a forwarder looks at it: for the packet printer and for counting. */

export const UDP_HEADER_LENGTH = 8;

/** Reusable decoder. */
export class UdpHeader {
  srcPort = 0;
  dstPort = 0;
  payloadAt = 0;
  payloadLength = 0;
  /** 0: the sender computed none (IPv4 only). */
  checksum = 0;

  /**
   * Reads the datagram in `[at, end)`. A length field of 0 means "up to the end" (RFC 2675 section 4).
   *
   * @returns false when it is shorter than a header or than it states
   */
  parse(view: DataView, at: number, end: number): boolean {
    if (at < 0 || end > view.byteLength || end - at < UDP_HEADER_LENGTH) return false;
    const stated = view.getUint16(at + 4);
    const length = stated === 0 ? end - at : stated;
    if (length < UDP_HEADER_LENGTH || length > end - at) return false;
    this.srcPort = view.getUint16(at);
    this.dstPort = view.getUint16(at + 2);
    this.checksum = view.getUint16(at + 6);
    this.payloadAt = at + UDP_HEADER_LENGTH;
    this.payloadLength = length - UDP_HEADER_LENGTH;
    return true;
  }
}
