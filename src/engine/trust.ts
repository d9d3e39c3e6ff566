/** Which segments may be acted on. */
import { COUNTER } from '../base/counters.ts';
import type { Packet } from '../wire/packet.ts';
import { verifyChecksums } from '../wire/rewrite.ts';
import { VNET_F_DATA_VALID, VNET_F_NEEDS_CSUM } from '../wire/virtio.ts';

/**
 * Whether a segment's checksums are right, so that what it says may be acted on. A router forwards damaged packets and
 * leaves them to the endpoints; nobody may be quoted by them. What the kernel has checked (GRO, DATA_VALID) or not yet
 * summed (NEEDS_CSUM) is taken as it is (linux/virtio_net.h). A wrong one is counted.
 */
export function isTrusted(packet: Packet, counters: Float64Array): boolean {
  if (packet.gsoSize > 0) return true;
  if (packet.vnetLength > 0 && (packet.bytes[packet.start]! & (VNET_F_DATA_VALID | VNET_F_NEEDS_CSUM)) !== 0)
    return true;
  const isRight = verifyChecksums(packet);
  if (!isRight) counters[COUNTER.unsound]! += 1;
  return isRight;
}
