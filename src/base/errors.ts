/**
 * Errors that reach a person. Each has a stable code, and its message is one line that names the remedy.
 * Packets never cause one: what is wrong with a packet is counted, not thrown.
 */
export class TcpfreezeError extends Error {
  /** Stable identifier, upper snake case, e.g. `INTERFACE_UNKNOWN`. Scripts may rely on it. */
  readonly code: string;
  /** What the reader can do about it, a command where there is one. */
  readonly remedy: string;
  /** Process exit code: 1 it failed, 2 wrong usage. */
  readonly exitCode: 1 | 2;

  constructor(code: string, message: string, remedy: string, exitCode: 1 | 2 = 1, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TcpfreezeError';
    this.code = code;
    this.remedy = remedy;
    this.exitCode = exitCode;
  }

  /** The one line that the command line prints. */
  line(): string {
    return this.remedy === '' ? this.message : `${this.message}; ${this.remedy}`;
  }
}
