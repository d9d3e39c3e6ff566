/** GET /metrics on a TCP address, for a Prometheus on another machine. It serves figures to whoever asks, and nothing else. */
import { createServer, type Server } from 'node:http';
import { TcpfreezeError } from '../base/errors.ts';
import type { MetricsAddress } from '../policy/policy.ts';
import type { Metrics } from './metrics.ts';

/** A scrape is one short request; whoever is slower is cut off. */
const REQUEST_TIMEOUT_MILLIS = 10_000;
const CONNECTIONS_MAX = 64;

export class MetricsServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @throws TcpfreezeError METRICS_ADDRESS */
  static async listen({ host, port }: MetricsAddress, metrics: Metrics): Promise<MetricsServer> {
    const server = createServer((request, response) => {
      // The path alone counts; a scrape may carry parameters.
      if (request.method !== 'GET' || (request.url ?? '').split('?')[0] !== '/metrics') {
        response.writeHead(404, { 'content-type': 'text/plain' }).end('see /metrics\n');
        return;
      }
      metrics.text().then(
        (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
    });
    server.requestTimeout = REQUEST_TIMEOUT_MILLIS;
    server.headersTimeout = REQUEST_TIMEOUT_MILLIS;
    server.maxConnections = CONNECTIONS_MAX;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const where = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
        const message = `metrics cannot be served on ${where}: ${error.code ?? error.message}`;
        reject(new TcpfreezeError('METRICS_ADDRESS', message, 'choose another address or port (metrics)', 1, error));
      });
      server.listen({ host, port }, resolve);
    });
    return new MetricsServer(server);
  }

  /** Where it listens; the port is the kernel's choice when 0 was asked for. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}
