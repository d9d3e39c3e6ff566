/**
 * HTTP and JSON over the Unix socket:
 *
 *     GET  /metrics             Prometheus text
 *     GET  /status              GET  /flows[?frozen=1]          GET  /events[?follow=1]   (one JSON document per line)
 *     POST /freeze  /resume  /abort       body: {link | host | prefix | flow, lead?, for?, class?}, durations in seconds
 *     POST /dhcp-event                     body: {event, interface, ...} as in lease-api.ts
 *     POST /reload
 *     /capture...               see captures.ts
 *
 * Errors are `{error: {code, message, remedy}}`: 400 the request is wrong, 404 and 405 no such thing, 409 the engine
 * refused, 503 the datapath is being restarted.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { TcpfreezeError } from '../base/errors.ts';
import type { Captures } from '../capture/captures.ts';
import { type Action, badRequest, type DoneJson, type FlowJson, type StatusJson, toErrorJson } from './api.ts';
import { stopCaptures, streamCapture, toCaptureJson, toCaptureRequest } from './captures.ts';
import type { EventHistory, EventJson } from './history.ts';
import type { Metrics } from './metrics.ts';
import { listenAt } from './socket.ts';

/** A request is a selector and two numbers. */
const MAX_BODY_BYTES = 64 * 1024;

/** A follower that lags further behind than this is cut off rather than stored for. */
const MAX_LAG_BYTES = 4 * 2 ** 20;

/** What the server serves; the daemon implements it. */
export interface ControlTarget {
  status(): Promise<StatusJson>;
  flows(frozenOnly: boolean): Promise<FlowJson[]>;
  act(action: Action, body: unknown): Promise<DoneJson>;
  /** Reads the configuration again. */
  reload(): Promise<DoneJson>;
  readonly history: EventHistory;
  readonly captures: Captures;
  readonly metrics: Pick<Metrics, 'text' | 'contentType'>;
}

export class ControlServer {
  readonly path: string;
  readonly #server: Server;
  readonly #cleanUp: () => void;

  private constructor(path: string, server: Server, cleanUp: () => void) {
    this.path = path;
    this.#server = server;
    this.#cleanUp = cleanUp;
  }

  /**
   * @param group who may use it besides the owner; null: the group of the process
   * @throws TcpfreezeError ALREADY_RUNNING, CONTROL_PATH, CONTROL_GROUP
   */
  static async listen(path: string, target: ControlTarget, group: string | null = null): Promise<ControlServer> {
    const server = createServer((request, response) => {
      serve(target, request, response).catch((error: unknown) => respondError(response, error));
    });
    const cleanUp = await listenAt(server, path, group);
    return new ControlServer(path, server, cleanUp);
  }

  /** Ends all connections and removes the socket. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
    this.#cleanUp();
  }
}

async function serve(target: ControlTarget, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const route = ROUTES[url.pathname];
  if (route === undefined) {
    respond(response, 404, toErrorJson(new TcpfreezeError('NOT_FOUND', `there is no ${url.pathname}`, '')));
    return;
  }
  if (request.method !== route.method) {
    response.setHeader('allow', route.method);
    const message = `${url.pathname} takes ${route.method} only`;
    respond(response, 405, toErrorJson(new TcpfreezeError('METHOD_NOT_ALLOWED', message, '')));
    return;
  }
  await route.serve(target, url, request, response);
}

interface Route {
  readonly method: 'GET' | 'POST';
  serve(target: ControlTarget, url: URL, request: IncomingMessage, response: ServerResponse): Promise<void>;
}

const ROUTES: Readonly<Record<string, Route>> = {
  '/status': {
    method: 'GET',
    serve: async (target, _url, _request, response) => respond(response, 200, await target.status()),
  },
  '/metrics': {
    method: 'GET',
    serve: async ({ metrics }, _url, _request, response) => {
      const text = await metrics.text();
      response.writeHead(200, { 'content-type': metrics.contentType }).end(text);
    },
  },
  '/flows': {
    method: 'GET',
    serve: async (target, url, _request, response) =>
      respond(response, 200, await target.flows(isSet(url.searchParams.get('frozen')))),
  },
  '/events': {
    method: 'GET',
    serve: async (target, url, _request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      for (const event of target.history.list()) response.write(`${JSON.stringify(event)}\n`);
      if (isSet(url.searchParams.get('follow'))) follow(target.history, response);
      else response.end();
    },
  },
  '/capture': {
    method: 'GET',
    serve: async ({ captures }, _url, _request, response) => respond(response, 200, captures.list().map(toCaptureJson)),
  },
  '/capture/start': {
    method: 'POST',
    serve: async ({ captures }, _url, request, response) => {
      const { status } = await captures.start(toCaptureRequest(await readJson(request), false));
      respond(response, 200, toCaptureJson(status));
    },
  },
  '/capture/stop': {
    method: 'POST',
    serve: async ({ captures }, _url, request, response) =>
      respond(response, 200, (await stopCaptures(captures, await readJson(request))).map(toCaptureJson)),
  },
  '/capture/stream': {
    method: 'POST',
    serve: async ({ captures }, _url, request, response) => streamCapture(captures, await readJson(request), response),
  },
  '/freeze': action('freeze'),
  '/resume': action('resume'),
  '/abort': action('abort'),
  '/dhcp-event': action('dhcp-event'),
  '/reload': {
    method: 'POST',
    serve: async (target, _url, _request, response) => respond(response, 200, await target.reload()),
  },
};

function action(kind: Action): Route {
  return {
    method: 'POST',
    serve: async (target, _url, request, response) => {
      const body = await readJson(request);
      respond(response, 200, await target.act(kind, body));
    },
  };
}

function isSet(value: string | null): boolean {
  return value !== null && value !== '0' && value !== 'false';
}

function follow(history: EventHistory, response: ServerResponse): void {
  // The headers leave at once, so that a follower knows it is connected before the first event.
  response.flushHeaders();
  const stop = history.follow((event: EventJson) => {
    if (response.writableLength > MAX_LAG_BYTES) response.destroy();
    else response.write(`${JSON.stringify(event)}\n`);
  });
  response.once('close', stop);
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw badRequest('the body is too large');
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text);
  } catch {
    throw badRequest('the body is not JSON');
  }
}

function respond(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

function respondError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const known = error instanceof TcpfreezeError ? error : new TcpfreezeError('INTERNAL', String(error), '');
  respond(response, statusOf(known), toErrorJson(known));
}

/** HTTP status for an error. */
function statusOf(error: TcpfreezeError): number {
  switch (error.code) {
    case 'BAD_REQUEST':
    case 'FILTER_INVALID':
      return 400;
    case 'INTERNAL':
    case 'BAD_REPLY':
      return 500;
    case 'DATAPATH_ENDED':
    case 'DATAPATH_FAILED':
    case 'TUN_GONE':
      return 503;
    default:
      return 409;
  }
}
