/**
 * The other end of the control socket, for the command line and for tests.
 */
import { type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import { TcpfreezeError } from '../base/errors.ts';
import type { Action, ActionJson, DoneJson, ErrorJson, FlowJson, StatusJson } from './api.ts';
import { CAPTURE_ID_HEADER, type CaptureBody, type CaptureJson } from './captures.ts';
import type { EventJson } from './history.ts';
import type { LeaseJson } from './lease-api.ts';

export class ControlClient {
  readonly #path: string;

  /** @param path of the control socket */
  constructor(path: string) {
    this.#path = path;
  }

  async status(): Promise<StatusJson> {
    return (await this.#json('GET', '/status')) as StatusJson;
  }

  async flows(frozenOnly: boolean): Promise<FlowJson[]> {
    return (await this.#json('GET', frozenOnly ? '/flows?frozen=1' : '/flows')) as FlowJson[];
  }

  /** Prometheus text. */
  async metrics(): Promise<string> {
    const response = await this.#open('GET', '/metrics');
    const answer = await text(response);
    if (response.statusCode !== 200) throw errorOf(answer, response);
    return answer;
  }

  async act(action: Action, body: ActionJson | LeaseJson): Promise<DoneJson> {
    return (await this.#json('POST', `/${action}`, body)) as DoneJson;
  }

  async reload(): Promise<DoneJson> {
    return (await this.#json('POST', '/reload')) as DoneJson;
  }

  async captures(): Promise<CaptureJson[]> {
    return (await this.#json('GET', '/capture')) as CaptureJson[];
  }

  async startCapture(body: CaptureBody): Promise<CaptureJson> {
    return (await this.#json('POST', '/capture/start', body)) as CaptureJson;
  }

  /** @param id undefined: all captures that write files */
  async stopCapture(id: number | undefined): Promise<CaptureJson[]> {
    return (await this.#json('POST', '/capture/stop', id === undefined ? {} : { id })) as CaptureJson[];
  }

  /** A capture as it comes, as bytes of a pcapng file; `id` is for `stopCapture`. */
  async streamCapture(body: CaptureBody): Promise<{ id: number; stream: IncomingMessage }> {
    const stream = await this.#open('POST', '/capture/stream', JSON.stringify(body));
    if (stream.statusCode !== 200) throw errorOf(await text(stream), stream);
    return { id: Number(stream.headers[CAPTURE_ID_HEADER]), stream };
  }

  /** Events so far, and with `follow` those to come until the gateway ends or the caller stops iterating. */
  async *events(follow: boolean): AsyncGenerator<EventJson> {
    const response = await this.#open('GET', follow ? '/events?follow=1' : '/events');
    if (response.statusCode !== 200) throw errorOf(await text(response), response);
    let cut = false;
    response.on('error', () => {
      cut = true;
    });
    try {
      for await (const line of createInterface({ input: response })) yield JSON.parse(line) as EventJson;
    } catch (error) {
      if (!cut) throw error;
    } finally {
      response.destroy();
    }
  }

  async #json(method: string, path: string, body?: object): Promise<unknown> {
    const response = await this.#open(method, path, body === undefined ? undefined : JSON.stringify(body));
    const answer = await text(response);
    if (response.statusCode !== 200) throw errorOf(answer, response);
    return JSON.parse(answer);
  }

  #open(method: string, path: string, body?: string): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json' };
      const call = request({ socketPath: this.#path, method, path, headers });
      call.once('response', resolve);
      call.once('error', (error: NodeJS.ErrnoException) => reject(connectError(this.#path, error)));
      call.end(body);
    });
  }
}

async function text(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** The gateway's own error, as it was before it crossed the socket. */
function errorOf(answer: string, response: IncomingMessage): TcpfreezeError {
  try {
    const { error } = JSON.parse(answer) as ErrorJson;
    return new TcpfreezeError(error.code, error.message, error.remedy, response.statusCode === 400 ? 2 : 1);
  } catch {
    const message = `the gateway answered with HTTP status ${response.statusCode}`;
    return new TcpfreezeError('BAD_ANSWER', message, 'check that the path is the control socket of a tcpfreeze');
  }
}

function connectError(path: string, error: NodeJS.ErrnoException): TcpfreezeError {
  switch (error.code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new TcpfreezeError(
        'NOT_RUNNING',
        `no gateway is running with the control socket ${path}`,
        'start one (tcpfreeze run --lan IF --wan IF), or name its socket with --control or TCPFREEZE_CONTROL',
        1,
        error,
      );
    case 'EACCES':
    case 'EPERM':
      return new TcpfreezeError(
        'CONTROL_FORBIDDEN',
        `you may not use the control socket ${path}`,
        'run as root, or join the group that owns it',
        1,
        error,
      );
    default:
      return new TcpfreezeError(
        'CONTROL_FAILED',
        `the control socket ${path} failed: ${error.code ?? error.message}`,
        'see the log of the gateway',
        1,
        error,
      );
  }
}
