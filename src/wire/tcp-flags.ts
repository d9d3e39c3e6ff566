/** TCP control bits (RFC 9293 3.1; AE is bit 7 of the thirteenth byte, RFC 9768, once NS of RFC 3540). */
export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;
export const AE = 0x100;
/** Every bit that `Packet.flags` can hold. */
export const FLAGS_MASK = 0x1ff;
