/** The commands that talk to a running gateway. */
import { EVENTS } from '../base/event-table.ts';
import type { Action, ActionJson } from '../control/api.ts';
import { ControlClient } from '../control/client.ts';
import type { LeaseJson } from '../control/lease-api.ts';
import { controlPath } from '../control/socket.ts';
import { eventListText, eventText, flowsText, statusText } from './show.ts';

export interface AskFlags {
  readonly control?: string;
  readonly json?: boolean;
}

function client(flags: AskFlags): ControlClient {
  return new ControlClient(controlPath(flags.control));
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export async function status(flags: AskFlags): Promise<void> {
  const answer = await client(flags).status();
  print(flags.json === true ? JSON.stringify(answer) : statusText(answer, Date.now()));
}

export async function flows(flags: AskFlags & { readonly frozen?: boolean }): Promise<void> {
  const answer = await client(flags).flows(flags.frozen === true);
  print(flags.json === true ? JSON.stringify(answer) : flowsText(answer, Date.now()));
}

export async function events(flags: AskFlags & { readonly follow?: boolean; readonly list?: boolean }): Promise<void> {
  if (flags.list === true) {
    print(flags.json === true ? JSON.stringify(EVENTS) : eventListText());
    return;
  }
  for await (const event of client(flags).events(flags.follow === true)) {
    print(flags.json === true ? JSON.stringify(event) : eventText(event));
  }
}

/** Reports a lease: what DHCP hooks call. */
export async function dhcpEvent(event: string, flags: AskFlags & Omit<LeaseJson, 'event'>): Promise<void> {
  const { control: _control, json: _json, ...rest } = flags;
  const answer = await client(flags).act('dhcp-event', { event, ...rest });
  print(flags.json === true ? JSON.stringify(answer) : answer.message);
}

export async function act(action: Action, flags: AskFlags & ActionJson): Promise<void> {
  const { control: _control, json: _json, ...body } = flags;
  const answer = await client(flags).act(action, body);
  print(flags.json === true ? JSON.stringify(answer) : answer.message);
}

export async function reload(flags: AskFlags): Promise<void> {
  const answer = await client(flags).reload();
  print(flags.json === true ? JSON.stringify(answer) : answer.message);
}
