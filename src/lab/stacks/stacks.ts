/** All the stacks of the lab, in the order of the README's table. */
import { GVISOR } from './gvisor.ts';
import { HOST_KERNEL } from './host-kernel.ts';
import { LWIP } from './lwip.ts';
import { SLIRP } from './slirp.ts';
import type { Stack } from './stack.ts';
import { USER_MODE_LINUX } from './user-mode-linux.ts';

export const STACKS: readonly Stack[] = [HOST_KERNEL, USER_MODE_LINUX, SLIRP, GVISOR, LWIP];
