/** Numbers of the pcapng format (draft-ietf-opsawg-pcapng, sections 3 to 4). */

export const SECTION_HEADER = 0x0a0d_0d0a;
export const INTERFACE_DESCRIPTION = 1;
/** Obsolete, still found. */
export const PACKET = 2;
export const SIMPLE_PACKET = 3;
/** Name resolution block. */
export const NAME_RESOLUTION = 4;
export const INTERFACE_STATISTICS = 5;
export const ENHANCED_PACKET = 6;

/** Byte-order magic of a section header, as read in the right order. */
export const BYTE_ORDER_MAGIC = 0x1a2b_3c4d;

/** Type, length, length again. */
export const BLOCK_OVERHEAD = 12;

/** Largest block that is believed; Wireshark's limit, too (wiretap/pcapng.c, MAX_BLOCK_SIZE). */
export const BLOCK_MAX = 16 * 2 ** 20;

export const OPT_END = 0;
export const OPT_COMMENT = 1;
export const SHB_HARDWARE = 2;
export const SHB_OS = 3;
export const SHB_USERAPPL = 4;
export const IF_NAME = 2;
export const IF_DESCRIPTION = 3;
export const IF_TSRESOL = 9;
export const IF_TSOFFSET = 14;
export const EPB_FLAGS = 2;
export const EPB_DROPCOUNT = 4;
export const NRB_END = 0;
export const NRB_IPV4 = 1;
export const NRB_IPV6 = 2;
export const ISB_STARTTIME = 2;
export const ISB_ENDTIME = 3;
export const ISB_IFRECV = 4;
export const ISB_IFDROP = 5;
export const ISB_FILTERACCEPT = 6;
export const ISB_USRDELIV = 8;

/** epb_flags, bits 0 and 1. */
export const DIRECTION_INBOUND = 1;
export const DIRECTION_OUTBOUND = 2;

/** Up to a multiple of four. */
export function padded(length: number): number {
  return (length + 3) & ~3;
}
